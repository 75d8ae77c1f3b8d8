"""Import third-party modules in a process that is forked: its children then start with them.

The modules of the tree are imported by the children alone, so that each child has the newest ones.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import sys
from collections.abc import Iterable
from pathlib import Path

# A child has the threads of its parent no more, but the locks that they held: such a module can't be preloaded.
_THREADS = Path("/proc/self/task")


def imported_from_outside(root: Path) -> list[str]:
    """Return the imported modules whose files are not below a folder, in the order of their imports."""
    return [name for name in list(sys.modules) if (file := _file(name)) and not file.is_relative_to(root)]


def preload(names: Iterable[str], root: Path) -> str | None:
    """Import modules, and return None, or the name of the first one that must not be preloaded.

    That is a module that starts a thread, or imports one of the tree's. It stays imported: only a new process is
    without it. A module that can't be imported is left to the children.
    """
    for name in names:
        before = set(sys.modules)
        with contextlib.suppress(Exception):
            importlib.import_module(name)
        added = set(sys.modules) - before
        if added and (_thread_count() > 1 or any((file := _file(one)) and file.is_relative_to(root) for one in added)):
            return name
    # What exists now is never freed: the collector need not look at it again, and write to pages shared with children.
    gc.collect()
    gc.freeze()
    return None


def _file(name: str) -> Path | None:
    """Return the file of an imported module, or None where it has none, as the interpreter's own."""
    file = getattr(sys.modules.get(name), "__file__", None)
    return Path(file) if file and name != "__main__" else None


def _thread_count() -> int:
    return len(list(_THREADS.iterdir())) if _THREADS.exists() else 1
