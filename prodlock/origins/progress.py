"""Print the state of a long step in one line of a terminal."""

from __future__ import annotations

import os
import sys
import time
from types import TracebackType
from typing import Self, TextIO

# Seconds until a step is long.
_PATIENCE = 2.0
_COLUMNS = 80
# A carriage return and "clear to the end of the line" (ECMA-48).
_CLEAR = "\r\x1b[K"


class Progress:
    """The line for the state of a step, on a terminal and after two seconds. The end of the block clears it.

    Any other output, such as a log of CI, gets no line.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._started = time.monotonic()
        self._is_shown = False

    def __enter__(self) -> Self:
        """Begin the step."""
        return self

    def __call__(self, state: str) -> None:
        """Print the state of the step in the place of the last one."""
        if self._stream.isatty() and time.monotonic() - self._started >= _PATIENCE:
            # A line that is broken could not be cleared. Some terminals have no size.
            width = os.get_terminal_size(self._stream.fileno()).columns or _COLUMNS
            self._write(f"{_CLEAR}{state[: width - 1]}")
            self._is_shown = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Clear the line."""
        if self._is_shown:
            self._write(_CLEAR)

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()
