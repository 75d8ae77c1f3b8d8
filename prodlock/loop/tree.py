"""Find the project that a program of the loop works on.

`inv` sets PRODLOCK_ROOT to the project's root, by default the current folder, and PRODLOCK_LOCK to the lock relative to
it. The programs run in the folder in which the project's commands run, which may be one below the root.
"""

from __future__ import annotations

import os
from pathlib import Path

_LOCK = "poetry.lock"


def root() -> Path:
    """Return the project's root. Raises SystemExit where it is not a folder."""
    found = Path(os.environ.get("PRODLOCK_ROOT") or Path.cwd()).absolute()
    if not found.is_dir():
        raise SystemExit(f"PRODLOCK_ROOT must be a folder (got {found}). To fix it: correct it, or leave it out.")
    return found


def lock() -> str:
    """Return the path of the lock, relative to the root."""
    return os.environ.get("PRODLOCK_LOCK") or _LOCK


def vendored(folder: Path) -> tuple[str, ...]:
    """Return the folders below a root that hold a copy of this package's files, which no program of the loop runs."""
    return () if (folder / "prodlock" / "__init__.py").exists() else ("prodlock",)
