"""Read the project's Dockerfile."""

from __future__ import annotations

import re
import shlex

from prodlock.failure import Failure
from prodlock.project import Project


def read(project: Project) -> str:
    """Return the text of the Dockerfile. Raises Failure where it can't be read."""
    try:
        return (project.root / project.configuration.dockerfile).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise _unreadable(error) from None


def default(project: Project, argument: str) -> str:
    """Return the default of a build argument, or an empty string where it has none.

    Raises Failure where the Dockerfile can't be read.
    """
    found = re.search(rf"^ARG {argument}=(.*)$", read(project), re.MULTILINE)
    try:
        return "".join(shlex.split(found[1])[:1]) if found else ""
    except ValueError as error:
        raise _unreadable(error) from None


def _unreadable(error: Exception) -> Failure:
    reason = getattr(error, "strerror", None) or error
    return Failure(
        f"The Dockerfile must be a readable text (got: {reason}). To fix it: restore it, or run `prodlock upgrade`, "
        "which writes a missing one."
    )
