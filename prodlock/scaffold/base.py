"""Keep the generated files as they were written: the base of the next three-way merge.

One file with a line for each: it is not to be read, and copies would double the lines of a project.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from prodlock import vendored
from prodlock.failure import Failure
from prodlock.generated import Rendered
from prodlock.scaffold.changes import Changes


def dump(files: Mapping[str, Rendered]) -> str:
    """Return the content of the file for generated files by their paths."""
    return json.dumps({path: one.text for path, one in files.items()}, indent=0, ensure_ascii=False) + "\n"


def load(changes: Changes) -> dict[str, str]:
    """Return the generated files as they were written, by their paths. Raises Failure where that can't be read."""
    try:
        found = json.loads(changes.before(vendored.BASE) or "")
        if isinstance(found, dict) and all(isinstance(text, str) for text in found.values()):
            return found
        reason = "other data"
    except ValueError as error:
        reason = f"{error}"
    raise Failure(
        f"{vendored.BASE} must have the generated files as Prodlock wrote them (got: {reason}). To fix it: restore it "
        f"(`git restore {vendored.BASE}`)."
    )
