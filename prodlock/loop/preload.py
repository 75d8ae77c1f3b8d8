"""Import third-party modules in a process that is forked: its children then start with them.

The modules of the tree are imported by the children alone, so that each child has the newest ones.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import sys
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

_THREADS = Path("/proc/self/task")


def of_tree(root: Path, names: Iterable[str]) -> set[str]:
    """Return those of the imported modules that are files or folders below a folder."""
    return {name for name in names if root in _parents(name)}


def imported(root: Path, ignored: Iterable[str]) -> list[str]:
    """Return the imported modules in the order of their imports, without some and without those below a folder."""
    names = list(sys.modules)
    left_out = of_tree(root, names).union(ignored)
    return [name for name in names if name not in left_out]


class Preloader:
    """Imports modules in this process, those alone that its children can inherit."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._tried = set(sys.modules)

    def preload(self, modules: Iterable[str]) -> list[str]:
        """Import modules, in the order in which a child has imported them, and return those that are unfit.

        Unfit is a module that starts a thread when it is imported: a fork has the locks that the thread held, but not
        the thread. And one that imports a module of the tree, which would not be read again. A module that can't be
        imported is left to the children.
        """
        names = [name for name in modules if name not in self._tried]
        self._tried.update(names)
        unfit = []
        while names:
            fit = self._fit(names)
            _import(names[:fit])
            unfit += names[fit : fit + 1]
            names = names[fit + 1 :]
        gc.collect()
        # The children neither examine nor copy these objects.
        gc.freeze()
        return unfit

    def _fit(self, names: Sequence[str]) -> int:
        """Return how many of the modules, in their order, can be imported before an unfit one. A fork tries."""
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 1)
            os.dup2(nowhere, 2)
            for name in names:
                before = set(sys.modules)
                _import([name])
                if len(list(_THREADS.iterdir())) > 1 or of_tree(self._root, sys.modules.keys() - before):
                    break
                os.write(writing, b".")
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            count = len(pipe.read())
        os.waitpid(child, 0)
        return count


def _import(names: Iterable[str]) -> None:
    """Import modules where that is possible: some exist only after another one was imported."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in names:
            # A module may end the program when it is imported.
            with contextlib.suppress(Exception, SystemExit):
                importlib.import_module(name)


def _parents(name: str) -> list[Path]:
    """Return the folders that an imported module is in; none for a module of the interpreter."""
    module = sys.modules.get(name)
    file = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", None) or ()), None)
    return list(Path(file).parents) if isinstance(file, str) else []
