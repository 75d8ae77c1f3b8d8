"""Let one task of a kind run in a checkout at a time."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def lock(file: Path) -> Iterator[bool | None]:
    """Lock an existing file until this process ends; yield whether that succeeded, or None where there are no locks.

    A lock file could be left behind; a lock cannot. Windows and some file systems have none.
    """
    if sys.platform == "win32":
        yield None
        return
    import fcntl  # noqa: PLC0415 - Windows has none

    with file.open("rb") as locked:
        try:
            fcntl.flock(locked, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        except OSError:
            yield None
        else:
            yield True
