"""What the checks say before they look at an image, and how they print."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from ops import check, engine, rules
from ops.failure import CANNOT_CHECK, FAILED, Failure
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


def test_no_secret_is_printed() -> None:
    """Neither in the instruction nor in the reason of a finding, whichever judge wrote it."""
    said = "RUN curl -H 'Authorization: Bearer abc' x"
    (told,) = check._told([Finding(rules.SETTING, "Cmd", "configuration", said, f"Cmd is {said}")])
    assert "abc" not in told.instruction + told.why
