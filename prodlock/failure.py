"""Expected failures: a message with its remedy and an exit code, never a traceback."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType

from prodlock import collector

FAILED = 1
CANNOT_CHECK = 2
INTERRUPTED = 130
# What errors of the system are about that name no file.
_UNNAMED = {errno.ENOENT: "The current folder", errno.ENOSPC: "The disk"}


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


def inaccessible(error: OSError) -> Failure:
    """Return the failure for a file or folder that can't be used. Raises the error where it concerns neither."""
    name = _UNNAMED.get(error.errno or 0) if error.filename is None else error.filename
    if name is None:
        raise error
    return Failure(
        f"{name} must be accessible (got: {error.strerror}). To fix it: restore it, change its mode or its owner, or "
        "free space on the disk.",
        CANNOT_CHECK,
    )


class Terminated(KeyboardInterrupt):
    """An interruption by a signal to this process alone: no child process has received it."""


# Windows has no SIGHUP.
SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


def interrupt_on_termination() -> None:
    """Let SIGTERM and a closed terminal end this program as Ctrl-C does, so that it leaves nothing running.

    The first signal interrupts. Later ones have no effect: between the steps of the cleanup as well, a second Ctrl-C
    would leave the rest behind.
    """
    _handle(_interrupt)


def _handle(handler: Callable[[int, FrameType | None], None]) -> None:
    for number in SIGNALS:
        # `nohup` ignores SIGHUP on purpose, and a shell ignores Ctrl-C for what it starts in the background.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


def _interrupt(number: int, _frame: FrameType | None) -> None:
    _handle(_ignore)
    raise KeyboardInterrupt if number == signal.SIGINT else Terminated


def _ignore(_number: int, _frame: FrameType | None) -> None:
    """Do nothing. Unlike SIG_IGN, programs that are started do not inherit it."""


def run(body: Callable[[], int | None]) -> tuple[int, str]:
    """Run the body of a command or a task; return its exit code, and the message of an expected failure.

    SIGTERM and a closed terminal interrupt it.
    """
    open_closed_streams()
    interrupt_on_termination()
    collector.skip_at_exit()
    try:
        code = body()
        print(end="", flush=True)
    except Failure as failure:
        return failure.code, str(failure)
    except KeyboardInterrupt:
        return INTERRUPTED, "Interrupted."
    except BrokenPipeError:
        discard_output()
        return FAILED, ""
    except OSError as error:
        refused = inaccessible(error)
        return refused.code, str(refused)
    return code or 0, ""


def open_closed_streams() -> None:
    """Open the null device in place of a standard input or standard error that is closed, for this and its children.

    A closed standard output stays closed: what can't be printed there is an error.
    """
    for number in (0, 2):
        try:
            os.fstat(number)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            os.dup2(null, number)
            os.set_inheritable(number, True)  # noqa: FBT003 - it has no keyword
            if null != number:
                os.close(null)
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115


def discard_output() -> None:
    """Discard what the interpreter would write at its end: the reader of the output has ended, as `head` does."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
