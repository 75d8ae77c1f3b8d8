"""Read the lock: the present one, and what the build of dev selected of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import PurePosixPath

from prodlock import generated
from prodlock.failure import CANNOT_CHECK, Failure
from prodlock.image.records import File
from prodlock.inside.lock import selection as locks
from prodlock.project import Project
from prodlock.proof.records import HOME, Lock

# Where dev has what its build selected of the lock.
_SELECTION = f"{HOME}/selection.json"


def read(project: Project) -> bytes:
    """Return the content of the lock, with that of development behind it where its format has two files.

    Raises Failure where it can't be read.
    """
    lock = project.configuration.lock
    try:
        return b"".join((project.root / path).read_bytes() for path in generated.locks(project.root, lock))
    except OSError as error:
        raise _unreadable(lock, error) from None


def selected(dev: str, files: Iterable[File], name: str, content: bytes) -> Lock:
    """Return what the build of dev selected of the lock, whose name and content are given.

    Raises Failure where dev does not state it, or was built from another lock; where the file is not a lock, for that
    reason.
    """
    try:
        selection = json.loads(next(file.head for file in files if file.path == _SELECTION))
        if selection["schema"] != locks.SCHEMA:
            difference = f"its {_SELECTION} is of another version of this project's build"
        elif selection["lock"] != hashlib.sha256(content).hexdigest():
            difference = f"{name} has changed since"
        else:
            return Lock.from_selection(selection)
    except StopIteration:
        difference = f"it has no {_SELECTION}, which every build of this project's dev image writes"
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        difference = f"its {_SELECTION} can't be read ({error!r})"
    # Only now: parsing a lock takes a twentieth of the check.
    try:
        locks.pinned(name, content.decode())
    except (ValueError, KeyError, TypeError) as error:
        raise _unreadable(name, error) from None
    raise stale(dev, difference)


def stale(image: str, difference: str) -> Failure:
    """Return the failure for an image that was built from another lock, other sources or another commit."""
    return Failure(
        f"{image} must not be stale (got: {difference}). To fix it: run `inv build`, then check again.", CANNOT_CHECK
    )


def _unreadable(name: str, error: Exception) -> Failure:
    reason: object = error
    if isinstance(error, KeyError):
        reason = f"it has no {error}"
    elif isinstance(error, OSError):
        reason = error.strerror
    if PurePosixPath(name).name == "poetry.lock":
        return Failure(
            f"{name} must be a lock of Poetry 2 (got: {reason}). To fix it: run `inv poetry -- lock`.", CANNOT_CHECK
        )
    return Failure(f"{name} must be a lock that can be read (got: {reason}). To fix it: lock again.", CANNOT_CHECK)
