"""Find the folder that a project's modules are imported from, and the one that commands run in."""

from __future__ import annotations

import posixpath
import sys
from collections.abc import Iterable
from pathlib import PurePosixPath

from prodlock.scaffold.declared import ASIDE
from prodlock.scaffold.modules import Modules
from prodlock.scaffold.tree import Tree, is_inside, is_test, join

_DESCRIBING = (
    "pyproject.toml", "alembic.ini", "uv.lock", "poetry.lock", "pylock.toml", "requirements.txt",
)  # fmt: skip


def import_folder(modules: Modules, path: str, declared: Iterable[str]) -> str:
    """Return the folder that a module is imported from, relative to the root.

    The one from which most of the project's own imports are found; `declared` has the declared names of the module.
    """
    tree = modules.tree
    folders = [parent.as_posix() for parent in PurePosixPath(path).parents]
    scores = {folder: _resolved(modules, path, folder) for folder in folders}
    most = max(scores.values())
    best = [folder for folder in folders if scores[folder] == most]
    for name in declared:
        for folder in best:
            if modules.find(name, [folder]) == path:
                return folder
    if most == 0 and any(one.level for one in modules.imported(path)):
        # Relative imports need a package.
        best = best[1:] or best
    for folder in best:
        # The nearest folder that is not a package, and that another one describes or is the usual one.
        if not tree.has(join(folder, "__init__.py")) and (
            folder == "." or posixpath.basename(folder) == "src" or _describes(tree, folder) or most
        ):
            return folder
    return best[-1]


def with_members(modules: Modules, path: str, folders: list[str]) -> list[str]:
    """Return import folders with those beside them from which more of the application's imports are found.

    The root may have a package of settings, and another project of the repository, such as a member of a workspace, the
    modules that several services share.
    """
    projects = [file for file in modules.tree.named(r"pyproject\.toml") if not (ASIDE.search(file) or is_test(file))]
    places = [posixpath.dirname(file) or "." for file in projects]
    options = dict.fromkeys([".", *(one for place in places for one in (join(place, "src"), place))])
    found, more = list(folders), ""

    def count(*further: str) -> int:
        return len(modules.closure([path], [*found, *further]))

    while more := next((one for one in options if count(one) > count()), ""):
        found.append(more)
    return found


def directory(tree: Tree, folder: str) -> str:
    """Return the folder that commands run in: the nearest one that describes a project."""
    for place in (PurePosixPath(folder), *PurePosixPath(folder).parents):
        if _describes(tree, place.as_posix()):
            return place.as_posix()
    return "."


def tops(paths: Iterable[str], folders: list[str]) -> list[str]:
    """Return the packages and modules at the top of the import folders that have all of the files."""
    found = set()
    for path in paths:
        folder = max((one for one in folders if is_inside(path, one)), key=len, default=".")
        found.add(join(folder, posixpath.relpath(path, folder).split("/")[0]))
    return sorted(found)


def _resolved(modules: Modules, path: str, folder: str) -> int:
    """Return how many of the project's absolute imports are found from a folder."""
    found = {
        (one, imported.module)
        for one in modules.closure([path], [folder])
        for imported in modules.imported(one)
        if not imported.level
        and imported.module.split(".")[0] not in sys.stdlib_module_names
        and any(
            modules.find(name, [folder])
            for name in (imported.module, *(f"{imported.module}.{name}" for name, _ in imported.names))
        )
    }
    return len(found)


def _describes(tree: Tree, folder: str) -> bool:
    return any(tree.has(join(folder, name)) for name in _DESCRIBING)
