"""What the checks say before they look at an image, and how they print."""

from __future__ import annotations

import hashlib
import io
import json
import re
import sys
from pathlib import Path

import pytest

from ops import check, engine, requirements, rules
from ops.failure import CANNOT_CHECK, FAILED, Failure
from ops.records import File
from ops.report import Report
from ops.rules import Finding


def settings(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> object:
    """Return the settings that a pyproject.toml with this text under [tool.lockstep] has."""
    monkeypatch.setattr(engine, "ROOT", folder)
    (folder / "pyproject.toml").write_text(f"[tool.lockstep]\n{text}\n", encoding="utf-8")
    return check._settings()


@pytest.mark.parametrize(
    "text", ['denied-in-main = ["pip", "pytest-*"]', "size-budget-mb = 70", "size-budget-mb = 0.5"]
)
def test_sound_settings_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """As pyproject.toml has them."""
    assert settings(tmp_path, monkeypatch, text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('denied-in-main = "pytest"', "must be a list of names"),
        ("denied-in-main = [1]", "must be a list of names"),
        ('size-budget-mb = "70"', "must be a number"),
    ],
)
def test_settings_that_mean_nothing_get_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: str
) -> None:
    """One name would deny each of its letters, and so nothing at all."""
    with pytest.raises(Failure, match=said):
        settings(tmp_path, monkeypatch, text)


def test_a_bill_needs_a_folder(tmp_path: Path) -> None:
    """It says so before it proves anything."""
    with pytest.raises(Failure, match=f"there is no folder {tmp_path}/missing") as failure:
        check.sbom(None, str(tmp_path / "missing" / "bill.json"))
    assert failure.value.code == CANNOT_CHECK


def test_any_name_can_be_printed_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of no encoding, and also where standard output knows 256 characters."""
    printed = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(printed, encoding="cp1252", newline="", write_through=True))
    read = {"layers": 1, "files": 1, "bytes": 1, "seconds": 1, "memory": 1}
    report = Report(
        "x:1",
        "sha256:1",
        [Finding(rules.UNACCOUNTED, "a file", "/\u65e5\udcff", "", "nobody promised it")],
        "",
        read,
        {},
    )
    assert check._printed(report, as_json=False) == FAILED
    assert rb"LEAK a file: /\u65e5\udcff" in printed.getvalue()


LOCK = b'[[package]]\r\nname = "a"\r\nversion = "1"\r\ngroups = ["main"]\r\n'


def selection(**changes: object) -> File:
    """Return the file of dev that states what its build took of poetry.lock."""
    groups = {"main": [{"name": "a", "version": "1", "sha256": ["12"]}]}
    # Of its bytes, line ends included, as a build sees them.
    digest = hashlib.sha256(LOCK).hexdigest()
    written = {"schema": requirements.SCHEMA, "lock": digest, "groups": groups} | changes
    return File("/srv/selection.json", head=json.dumps(written).encode())


def test_what_the_build_of_dev_took_of_the_lock_is_believed() -> None:
    """Where it was built from the lock that is here."""
    assert check._lock("x:dev", [File("/srv/a"), selection()], LOCK).main == {"a": {"1"}}


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ([], "x:dev is stale: it has no /srv/selection.json, which every build of this project's dev image writes."),
        ([selection()._replace(path="/opt/venv/selection.json")], "x:dev is stale: it has no /srv/selection.json"),
        ([selection(lock="56")], "x:dev is stale: poetry.lock has changed since. Run `inv build`, then check again."),
        ([selection(schema=0)], "x:dev is stale: its /srv/selection.json is of another version of this project's"),
        ([selection(groups=[])], "x:dev is stale: its /srv/selection.json can't be read"),
        ([selection(groups={"main": [{"name": "a"}]})], "x:dev is stale: its /srv/selection.json can't be read"),
        ([selection(groups={"main": [{"name": 1, "version": []}]})], "x:dev is stale: its /srv/selection.json can't"),
        ([File("/srv/selection.json", head=b"[]")], "x:dev is stale: its /srv/selection.json can't be read"),
        ([File("/srv/selection.json", head=b"\xff{")], "x:dev is stale: its /srv/selection.json can't be read"),
    ],
)
def test_a_dev_image_of_another_lock_is_stale(files: list[File], said: str) -> None:
    """Or one that does not state what it was built from: then nothing is known of main."""
    with pytest.raises(Failure, match=re.escape(said)) as failure:
        check._lock("x:dev", files, LOCK)
    assert failure.value.code == CANNOT_CHECK


@pytest.mark.parametrize("files", [[], [selection()]], ids=["a dev that states nothing", "a dev of another lock"])
@pytest.mark.parametrize(
    "content",
    [b"", b"<<<<<<< HEAD\n" + LOCK, LOCK.replace(b"groups", b"group"), b"package = 1\n", b'package = ["a"]\n', b"\xff"],
)
def test_what_is_no_lock_gets_a_sentence(files: list[File], content: bytes) -> None:
    """An empty file, a merge conflict, a lock of a Poetry before 2.0, other TOML, other bytes."""
    with pytest.raises(Failure, match=r"poetry\.lock can't be read \(.+\): make it anew with `inv poetry -- lock`"):
        check._lock("x:dev", files, content)


def test_without_a_lock_nothing_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is asked of Docker."""
    monkeypatch.setattr(engine, "ROOT", tmp_path)
    with pytest.raises(Failure, match=r"poetry\.lock can't be read \(.+\): make it anew with `inv poetry -- lock`"):
        check._lock_content()
