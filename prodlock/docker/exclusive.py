"""Let one task of a kind run in a checkout at a time."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path


@contextmanager
def lock(file: Path) -> Iterator[bool | None]:
    """Lock a file until this process ends; yield whether that succeeded, or None where there are no locks.

    An existing file: a lock file could be left behind, a lock cannot. Windows and some file systems have none.
    """
    if sys.platform == "win32":
        yield None
        return
    import fcntl  # noqa: PLC0415 - Windows has none

    with ExitStack() as stack:
        locked: bool | None = None
        try:
            fcntl.flock(stack.enter_context(file.open("rb")), fcntl.LOCK_EX | fcntl.LOCK_NB)
            locked = True
        except BlockingIOError:
            locked = False
        except OSError:
            # No locks, or no file: what needs it reports that.
            pass
        yield locked
