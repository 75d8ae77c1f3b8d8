"""Read the lock: the present poetry.lock, and what the build of dev selected of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable

from prodlock.failure import CANNOT_CHECK, Failure
from prodlock.image.records import File
from prodlock.inside.lock import selection as locks
from prodlock.project import Project
from prodlock.proof.records import HOME, Lock

# Where dev has what its build selected of poetry.lock.
_SELECTION = f"{HOME}/selection.json"


def read(project: Project) -> bytes:
    """Return the content of poetry.lock. Raises Failure where it can't be read."""
    try:
        return (project.root / "poetry.lock").read_bytes()
    except OSError as error:
        raise _unreadable(error) from None


def selected(dev: str, files: Iterable[File], content: bytes) -> Lock:
    """Return what the build of dev selected of poetry.lock, whose content is given.

    Raises Failure where dev does not state it, or was built from another lock; where poetry.lock is not a lock, for
    that reason.
    """
    try:
        selection = json.loads(next(file.head for file in files if file.path == _SELECTION))
        if selection["schema"] != locks.SCHEMA:
            difference = f"its {_SELECTION} is of another version of this project's build"
        elif selection["lock"] != hashlib.sha256(content).hexdigest():
            difference = "poetry.lock has changed since"
        else:
            return Lock.from_selection(selection)
    except StopIteration:
        difference = f"it has no {_SELECTION}, which every build of this project's dev image writes"
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        difference = f"its {_SELECTION} can't be read ({error!r})"
    # Only now: parsing a lock takes a twentieth of the check.
    try:
        locks.pinned("poetry.lock", content.decode())
    except (ValueError, KeyError, TypeError) as error:
        raise _unreadable(error) from None
    raise stale(dev, difference)


def stale(image: str, difference: str) -> Failure:
    """Return the failure for an image that was built from another lock, other sources or another commit."""
    return Failure(f"{image} is stale: {difference}. Run `inv build`, then check again.", CANNOT_CHECK)


def _unreadable(error: Exception) -> Failure:
    reason = f"it has no {error}" if isinstance(error, KeyError) else error
    return Failure(
        f"poetry.lock must be a lock of Poetry 2 (got: {reason}). To fix it: run `inv poetry -- lock`.", CANNOT_CHECK
    )
