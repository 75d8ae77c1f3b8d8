"""The reports of tests, which are copied from a container: nothing is written outside of reports/."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from prodlock.docker.reports import extract
from prodlock.failure import Failure


def archive(*members: tuple[str, bytes, bytes]) -> io.BytesIO:
    """Return a tar of members: name, type, content or target."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, kind, content in members:
            member = tarfile.TarInfo(name)
            member.type, member.uid, member.mode = kind, 10001, 0o4755
            if kind == tarfile.REGTYPE:
                member.size = len(content)
            else:
                member.linkname = content.decode()
            tar.addfile(member, io.BytesIO(content))
    packed.seek(0)
    return packed


def test_files_are_written_and_others_stay(tmp_path: Path) -> None:
    """A former file of the same name is replaced; one of another name stays."""
    (tmp_path / "reports").mkdir()
    for name in ("junit.xml", "notes.txt"):
        (tmp_path / "reports" / name).write_bytes(b"older")
    members = [
        ("reports", tarfile.DIRTYPE, b""),
        ("reports/junit.xml", tarfile.REGTYPE, b"<testsuites/>"),
        ("reports/htmlcov/index.html", tarfile.REGTYPE, b"<html>"),
    ]
    assert extract(archive(*members), tmp_path, {name for name, *_ in members}) == 2
    found = {path.relative_to(tmp_path).as_posix(): path.read_bytes() for path in tmp_path.rglob("*.*")}
    assert found == {
        "reports/junit.xml": b"<testsuites/>",
        "reports/notes.txt": b"older",
        "reports/htmlcov/index.html": b"<html>",
    }
    # Not the container's modes.
    assert not (tmp_path / "reports/junit.xml").stat().st_mode & 0o4111


def test_a_file_that_was_not_written_stays(tmp_path: Path) -> None:
    """The image has it as well; meanwhile it may have changed on the host."""
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports/module.py").write_bytes(b"edited")
    members = [("reports/module.py", tarfile.REGTYPE, b"older"), ("reports/new.xml", tarfile.REGTYPE, b"1")]
    assert extract(archive(*members), tmp_path, {"reports/new.xml"}) == 1
    assert (tmp_path / "reports/module.py").read_bytes() == b"edited"


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_left_out(tmp_path: Path, kind: bytes) -> None:
    """The regular file beside them is written; git ignores a folder that is created for it."""
    members = [("reports/x", kind, b"/etc/passwd"), ("reports/y", tarfile.REGTYPE, b"1")]
    assert extract(archive(*members), tmp_path, {name for name, *_ in members}) == 1
    assert {path.name for path in (tmp_path / "reports").iterdir()} == {".gitignore", "y"}


@pytest.mark.parametrize("name", ["/etc/x", "reports/../app/x", "../x", "app/x", "reports", "reports/../../x", "."])
def test_a_file_outside_of_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    """Nothing is written."""
    with pytest.raises(Failure, match="A report must be a file in reports/ "):
        extract(archive((name, tarfile.REGTYPE, b"1")), tmp_path, {name})
    assert list(tmp_path.rglob("*")) == []


def test_a_link_on_the_host_leads_nowhere_else(tmp_path: Path) -> None:
    """A folder or file in reports/ that is a link is not followed out of it."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "x").write_bytes(b"unchanged")
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports/folder").symlink_to(outside)
    (tmp_path / "reports/x").symlink_to(outside / "x")
    for name in ("reports/folder/x", "reports/x"):
        with pytest.raises(Failure, match="A report must be a file in reports/ "):
            extract(archive((name, tarfile.REGTYPE, b"1")), tmp_path, {name})
    assert (outside / "x").read_bytes() == b"unchanged"


def test_a_folder_that_cannot_be_written_is_a_failure(tmp_path: Path) -> None:
    """The message names it."""
    (tmp_path / "reports/x").mkdir(parents=True)
    with pytest.raises(Failure, match=r"reports/ must be writable \(got: Is a directory: "):
        extract(archive(("reports/x", tarfile.REGTYPE, b"1")), tmp_path, {"reports/x"})
