"""Expected failures: a message with its remedy and an exit code, never a traceback."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

FAILED = 1
CANNOT_CHECK = 2
INTERRUPTED = 130


class Failure(Exception):
    """An expected failure: `str()` is the message for the user, `code` the exit code."""

    def __init__(self, message: str, code: int = FAILED) -> None:
        super().__init__(message)
        self.code = code


def unreadable(name: object, error: OSError) -> str:
    """Return the message for a file that can't be read, or for a full disk where its content is unpacked."""
    return (
        f"{name} must be readable (got: {error.strerror or error}). To fix it: restore it, change its mode, or free "
        "space on the disk (TMPDIR names another folder)."
    )


class Terminated(KeyboardInterrupt):
    """An interruption by a signal to this process alone: no child process has received it."""


def terminate(_number: int, _frame: FrameType | None) -> None:
    """Handle a signal by raising Terminated."""
    raise Terminated


def interrupt_on_termination() -> None:
    """Let SIGTERM and a closed terminal end this program as Ctrl-C does, so that it leaves nothing running."""
    for name in ("SIGTERM", "SIGHUP"):
        # Windows has no SIGHUP; `nohup` ignores it on purpose.
        number = getattr(signal, name, None)
        if number and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, terminate)


def discard_output() -> None:
    """Discard what the interpreter would write at its end: the reader of the output has ended, as `head` does."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
