"""Find the folder that a project's modules are imported from, and what a module imports of the project."""

from __future__ import annotations

import ast
import configparser
import posixpath
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from prodlock.scaffold.tree import Tree

_DESCRIBING = ("pyproject.toml", "alembic.ini", "uv.lock", "poetry.lock", "pylock.toml", "requirements.txt")


def import_folder(tree: Tree, path: str, declared: Iterable[str]) -> str:
    """Return the folder that a module is imported from, relative to the root.

    The one from which most of the project's own imports are found; `declared` has the declared names of the module.
    """
    folders = [parent.as_posix() for parent in PurePosixPath(path).parents]
    scores = {folder: _resolved(tree, path, folder) for folder in folders}
    most = max(scores.values())
    best = [folder for folder in folders if scores[folder] == most]
    for name in declared:
        for folder in best:
            if find(tree, name, [folder]) == path:
                return folder
    if most == 0 and any(isinstance(node, ast.ImportFrom) and node.level for node in ast.walk(tree.module(path))):
        # Relative imports need a package.
        best = best[1:] or best
    for folder in best:
        # The nearest folder that is not a package, and that another one describes or is the usual one.
        if not tree.has(_join(folder, "__init__.py")) and (
            folder == "." or folder.rpartition("/")[2] == "src" or _describes(tree, folder) or most
        ):
            return folder
    return best[-1]


def directory(tree: Tree, folder: str) -> str:
    """Return the folder that commands run in: the nearest one that describes a project."""
    for place in (PurePosixPath(folder), *PurePosixPath(folder).parents):
        if _describes(tree, place.as_posix()):
            return place.as_posix()
    return "."


def module_name(path: str, folder: str) -> str:
    """Return the name of a module that is imported from a folder."""
    name = posixpath.relpath(path, folder).removesuffix(".py").removesuffix("/__init__")
    return name.replace("/", ".")


def find(tree: Tree, name: str, folders: Iterable[str]) -> str | None:
    """Return the file of a module by its name."""
    for folder in folders:
        place = _join(folder, name.replace(".", "/"))
        for file in (f"{place}/__init__.py", f"{place}.py"):
            if tree.has(file):
                return file
    return None


def closure(tree: Tree, paths: Iterable[str], folders: list[str]) -> list[str]:
    """Return modules with all modules of the project that they import, also indirectly."""
    found: dict[str, None] = {}
    waiting = list(paths)
    while waiting:
        path = waiting.pop()
        if path not in found:
            found[path] = None
            waiting += [one for _, one in imports(tree, path, folders) if one]
    return sorted(found)


def imports(tree: Tree, path: str, folders: list[str]) -> Iterator[tuple[str, str | None]]:  # noqa: C901
    """Yield the modules that a module imports, with their files in the project."""
    for node in ast.walk(tree.module(path)):
        if isinstance(node, ast.Import):
            for one in node.names:
                yield from _absolute(tree, one.name, folders)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                package = PurePosixPath(path).parents[min(node.level, len(PurePosixPath(path).parents)) - 1].as_posix()
                base = _join(package, (node.module or "").replace(".", "/"))
                yield base, next((one for one in (f"{base}.py", f"{base}/__init__.py") if tree.has(one)), None)
                for one in node.names:
                    inner = find(tree, one.name, [base])
                    if inner:
                        yield one.name, inner
            else:
                yield from _absolute(tree, node.module or "", folders)
                for one in node.names:
                    inner = find(tree, f"{node.module}.{one.name}", folders)
                    if inner:
                        yield f"{node.module}.{one.name}", inner
        elif isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == "import_module" and node.args:
            given = node.args[0]
            if isinstance(given, ast.Constant) and isinstance(given.value, str):
                yield from _absolute(tree, given.value, folders)


def sources(paths: Iterable[str], folders: list[str]) -> list[str]:
    """Return the packages and modules at the top of the import folders that have all of the files."""
    found = set()
    for path in paths:
        inside = [one for one in folders if one == "." or path.startswith(f"{one}/")]
        folder = max(inside, key=len, default=".")
        top = posixpath.relpath(path, folder).split("/")[0]
        found.add(_join(folder, top))
    return sorted(found)


def migrations(tree: Tree, place: str) -> tuple[str, str] | None:
    """Return alembic.ini and the folder of its scripts, relative to the root, where the project has them."""
    path = _join(place, "alembic.ini")
    if not tree.has(path):
        return None
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read_string(tree.text(path))
        location = parser.get("alembic", "script_location")
    except configparser.Error:
        return None
    location = location.strip().removeprefix("%(here)s/")
    folder = posixpath.normpath(
        _join(place, location.replace(":", "/").replace(".", "/") if ":" in location else location)
    )
    return (path, folder) if any(one.startswith(f"{folder}/") for one in tree.files) else None


def data(tree: Tree, paths: Iterable[str], place: str) -> dict[str, str]:
    """Return the folders of templates and static files that modules name, with the modules."""
    found = {}
    for path in paths:
        for node in ast.walk(tree.module(path)):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func).rpartition(".")[2]
            if called not in {"Jinja2Templates", "StaticFiles", "FileSystemLoader"}:
                continue
            given = [one.value for one in node.keywords if one.arg in {"directory", "searchpath"}] or node.args[:1]
            for one in given:
                if isinstance(one, ast.Constant) and isinstance(one.value, str):
                    folder = posixpath.normpath(_join(place, one.value))
                    if not folder.startswith(("..", "/")) and re.fullmatch(r"[\w.@+/-]+", folder) and folder != ".":
                        found[folder] = f"{path}:{node.lineno}"
    return found


def _absolute(tree: Tree, name: str, folders: list[str]) -> Iterator[tuple[str, str | None]]:
    """Yield a module, and the packages that an import of it runs."""
    parts = name.split(".")
    yield name, find(tree, name, folders)
    for count in range(1, len(parts)):
        parent = find(tree, ".".join(parts[:count]), folders)
        if parent:
            yield name, parent


def _resolved(tree: Tree, path: str, folder: str) -> int:
    """Return how many of the project's imports are found from a folder."""
    found = {
        (one, name)
        for one in closure(tree, [path], [folder])
        for name, file in imports(tree, one, [folder])
        if file and name.split(".")[0] not in sys.stdlib_module_names and "/" not in name
        and find(tree, name, [folder])
    }  # fmt: skip
    return len(found)


def _describes(tree: Tree, folder: str) -> bool:
    return any(tree.has(_join(folder, name)) for name in _DESCRIBING)


def _join(folder: str, name: str) -> str:
    return posixpath.normpath(name if folder == "." else f"{folder}/{name}")
