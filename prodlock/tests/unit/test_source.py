"""The commit that a build is made from, as the user and the labels are told of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from prodlock import site, source
from prodlock.failure import Failure
from prodlock.project import Project
from prodlock.source import Commit


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (0, "commit abc, clean"),
        (1, "commit abc with 1 file that differs"),
        (2, "commit abc with 2 files that differ"),
    ],
)
def test_a_commit_says_whether_the_tree_was_clean(changes: int, said: str) -> None:
    """Uncommitted changes are counted."""
    assert str(Commit("abc", 0, changes)) == said


def test_the_labels_come_from_the_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its hash and its time, in UTC."""
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    found = source.arguments(Project(), Commit("abc", 1_700_000_000, 0))
    assert found["REVISION"] == "abc"
    assert found["CREATED"] == "2023-11-14T22:13:20Z"
    assert found["SOURCE_DATE_EPOCH"] == "1700000000"
    assert found["VERSION"]


def test_a_change_that_is_not_committed_shows_in_the_revision() -> None:
    """What was built is not what the commit holds."""
    assert source.arguments(Project(), Commit("abc", 0, 1))["REVISION"] == "abc-dirty"


def test_a_time_that_is_set_goes_before_the_commits(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the specification of SOURCE_DATE_EPOCH has it."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1")
    assert source.arguments(Project(), Commit("abc", 5, 0))["CREATED"] == "1970-01-01T00:00:01Z"


@pytest.mark.parametrize("made_from", [Commit("abc", 5, 0), None])
@pytest.mark.parametrize("time", ["soon", "-1", "1.5", "9e16", "99999999999999", "\uff19", " 1"])
def test_source_date_epoch_must_be_seconds_of_a_date(
    monkeypatch: pytest.MonkeyPatch, time: str, made_from: Commit | None
) -> None:
    """Whole seconds since 1970, of a year with four digits; Docker reads the variable without a commit too."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", time)
    with pytest.raises(Failure, match=r"^SOURCE_DATE_EPOCH must be a whole number from 0 to 253402300799 \(got"):
        source.arguments(Project(), made_from)


@pytest.mark.parametrize("seconds", [999_999_999_999, -1])
def test_a_commit_time_that_no_label_can_hold_is_refused(monkeypatch: pytest.MonkeyPatch, seconds: int) -> None:
    """Git accepts times beyond the year 9999. SOURCE_DATE_EPOCH goes before them."""
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    with pytest.raises(Failure, match=r"^The time of commit abc must be in the years 1970 to 9999 \(got"):
        source.arguments(Project(), Commit("abc", seconds, 0))
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1")
    assert source.arguments(Project(), Commit("abc", seconds, 0))["SOURCE_DATE_EPOCH"] == "1"


def test_source_date_epoch_may_be_the_last_second_of_a_date(monkeypatch: pytest.MonkeyPatch) -> None:
    """The labels hold years of four digits."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", str(site.LAST_SECOND))
    assert source.arguments(Project(), Commit("abc", 5, 0))["CREATED"] == "9999-12-31T23:59:59Z"


def test_a_time_that_is_empty_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a variable that a script clears."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "")
    assert source.arguments(Project(), Commit("abc", 5, 0))["SOURCE_DATE_EPOCH"] == "5"


@pytest.mark.parametrize("text", ["[project]\nname = 'x'\n", "[tool.poetry]\n"])
def test_a_project_needs_no_version(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str) -> None:
    """Poetry asks for none where a project is no package."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pyproject.toml").write_text(text, encoding="utf-8")
    assert source.arguments(Project(), None) == {"VERSION": "", "SOURCE": ""}


@pytest.mark.parametrize("content", [b"[project]\nname = 'x' version = '1'\n", b"\xff", None])
def test_a_broken_pyproject_gets_a_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes) -> None:
    """A typo, another encoding, no file."""
    monkeypatch.chdir(tmp_path)
    if content:
        (tmp_path / "pyproject.toml").write_bytes(content)
    with pytest.raises(Failure, match=r"pyproject\.toml can't be read"):
        source.arguments(Project(), None)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("project = 'x'\n", "project.version"),
        ("[project]\nversion = 1\n", "project.version"),
        ("[project]\nversion = ['1']\n", "project.version"),
        ("[project]\nurls = 'https://x'\n", "project.urls.source"),
        ("[project.urls]\nsource = false\n", "project.urls.source"),
    ],
)
def test_what_the_labels_take_of_pyproject_must_be_strings(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, name: str
) -> None:
    """Anything else gets a message that names the setting."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pyproject.toml").write_text(text, encoding="utf-8")
    with pytest.raises(Failure, match=rf"^{name} in pyproject\.toml must be a string \(got "):
        source.arguments(Project(), None)


def test_without_a_commit_nothing_is_made_up() -> None:
    """No revision and no time."""
    assert set(source.arguments(Project(), None)) == {"VERSION", "SOURCE"}
