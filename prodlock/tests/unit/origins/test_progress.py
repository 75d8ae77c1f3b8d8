"""The line for the state of a long step."""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path

import pytest

from prodlock.origins import progress


@pytest.mark.parametrize(("patience", "printed"), [(0.0, "\r\x1b[K1 of 2\r\x1b[K2 of 2\r\x1b[K"), (60.0, "")])
def test_a_terminal_gets_one_line_for_a_long_step(
    monkeypatch: pytest.MonkeyPatch, patience: float, printed: str
) -> None:
    """It is updated in place, and cleared at the end."""
    monkeypatch.setattr(progress, "_PATIENCE", patience)
    terminal, other = os.openpty()
    with os.fdopen(other, "w", encoding="utf-8") as stream, progress.Progress(stream) as line:
        line("1 of 2")
        line("2 of 2")
    read = b""
    # A terminal whose other end is closed gives what is left, and then an error.
    with contextlib.suppress(OSError), os.fdopen(terminal, "rb", buffering=0) as shown:
        while part := shown.read(999):
            read += part
    assert read.decode() == printed


def test_other_output_gets_no_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A log of CI keeps what is printed."""
    monkeypatch.setattr(progress, "_PATIENCE", 0.0)
    for stream in (io.StringIO(), (tmp_path / "log").open("w+", encoding="utf-8")):
        with progress.Progress(stream) as line:
            line("1 of 2")
        stream.seek(0)
        assert stream.read() == ""
        stream.close()
