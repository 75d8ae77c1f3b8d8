"""What git ignores: as `generated` it ships without a commit, as `sources` it is refused."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from prodlock import source
from prodlock.failure import Failure
from prodlock.project import Project
from prodlock.proof.records import GENERATED, SOURCES, ExpectedContents

PYPROJECT = '[tool.prodlock]\nsources = ["app"{}]\ngenerated = [{}]\n'


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository whose frontend is made by another build."""
    for path, text in {
        ".gitignore": "/dist/\n*.log\n",
        ".dockerignore": "*\n!app\n!dist\n",
        "app/main.py": "",
        "pyproject.toml": PYPROJECT.format("", '"dist"'),
    }.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text, encoding="utf-8")
    identity = ("-c", "user.name=x", "-c", "user.email=x@example.org")
    for words in (("init", "--quiet"), ("add", "--all"), (*identity, "commit", "--quiet", "--message=x")):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)  # noqa: S607
    (tmp_path / "dist").mkdir()
    (tmp_path / "dist/index.html").write_text("x", encoding="utf-8")
    return tmp_path


def test_generated_files_are_not_changes_of_the_commit(root: Path) -> None:
    """They are in the tree that the baseline is computed from."""
    project = Project(root)
    commit = source.commit(project)
    assert commit
    assert commit.changes == 0
    with source.build_tree(project, commit) as tree:
        assert (tree / "dist/index.html").read_text(encoding="utf-8") == "x"
    (root / "app/new.py").touch()
    changed = source.commit(project)
    assert changed
    assert changed.changes == 1


def test_generated_files_must_have_been_made(root: Path) -> None:
    """Otherwise production would lack them."""
    (root / "dist/index.html").unlink()
    (root / "dist").rmdir()
    project = Project(root)
    with (
        pytest.raises(Failure, match=r"`generated` .* must be files and folders that exist \(got no dist\)"),
        source.build_tree(project, source.commit(project)),
    ):
        pass


def test_sources_that_git_ignores_are_refused(root: Path) -> None:
    """A proof would compare them with nothing; a single ignored file in a folder of sources is another matter."""
    (root / "app/debug.log").touch()
    source.refuse_unavailable(Project(root), ["app"])
    with pytest.raises(Failure, match=r"`sources` .*\(got dist, which git ignores\)"):
        source.refuse_unavailable(Project(root), ["app", "dist"])


def test_sources_that_do_not_exist_are_refused(root: Path) -> None:
    """Docker would report a checksum that it can't compute."""
    with pytest.raises(Failure, match=r"`sources` .*\(got data, which does not exist\)"):
        source.refuse_unavailable(Project(root), ["app", "data"])


def test_a_submodule_in_the_sources_must_be_generated(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No commit of this repository has its files. What is generated ships without one."""
    source.refuse_submodules(Project(root), ["app", "missing"])
    other = tmp_path_factory.mktemp("other")
    identity = ("-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "protocol.file.allow=always")
    (other / "shared.py").write_text("", encoding="utf-8")
    for folder, words in (
        (other, ("init", "--quiet")),
        (other, ("add", "--all")),
        (other, ("commit", "--quiet", "--message=x")),
        (root, ("submodule", "--quiet", "add", str(other), "app/shared")),
        (root, ("commit", "--quiet", "--message=x")),
    ):
        subprocess.run(["git", *identity, *words], cwd=folder, check=True)  # noqa: S607
    with pytest.raises(
        Failure, match=r"`sources` .*\(got app/shared, of a submodule\)\. To fix it: name it in `generated`"
    ):
        source.refuse_submodules(Project(root), ["app"])
    changed = source.commit(Project(root))
    assert changed
    assert changed.changes
    text = PYPROJECT.format("", '"dist", "app/shared"')
    (root / "pyproject.toml").write_text(text, encoding="utf-8")
    subprocess.run(["git", *identity, "commit", "--quiet", "--all", "--message=x"], cwd=root, check=True)  # noqa: S607
    project = Project(root)
    source.refuse_submodules(project, ["app"])
    commit = source.commit(project)
    assert commit
    assert commit.changes == 0
    with source.build_tree(project, commit) as tree:
        assert (tree / "app/shared/shared.py").is_file()


def test_generated_files_are_an_origin_of_their_own() -> None:
    """Files beside them are sources."""
    rows = [[f"/srv/{path}", "file", 0o644, "0", 1, (0, 0), SOURCES, True] for path in ("dist/a", "dist2/a", "app/a")]
    contents = ExpectedContents.from_rows(rows, ["dist"])
    assert [contents.source_of(str(row[0])) for row in rows] == [GENERATED, SOURCES, SOURCES]
    assert not contents.provides("/srv/dist/a", "0")
