"""The progress line of a long step."""

from __future__ import annotations

import io
import re
import sys
import time

import pytest

from prodlock.setup import progress


def test_other_outputs_get_a_line_at_the_start_and_one_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    """A log file would keep every update."""
    with progress.progress("Building x"):
        pass
    first, last = capsys.readouterr().err.splitlines()
    assert first == "Building x: started"
    assert re.fullmatch(r"Building x: done, \d+ s", last)


def test_a_failure_ends_the_line(capsys: pytest.CaptureFixture[str]) -> None:
    """The exception is raised again."""
    with pytest.raises(KeyboardInterrupt), progress.progress("Building x"):
        raise KeyboardInterrupt
    assert re.fullmatch(r"Building x: failed, \d+ s", capsys.readouterr().err.splitlines()[-1])


def test_a_terminals_line_is_updated_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has one line feed, at its end."""
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(progress, "_INTERVAL", 0.01)
    with progress.progress("Building x"):
        time.sleep(0.05)
    text = terminal.getvalue()
    assert text.count("\rBuilding x: running, 0 s") > 1
    assert text.count("\n") == 1
    assert text.endswith("\r\x1b[KBuilding x: done, 0 s\n")
