"""Find the names of the distributions that a project builds itself, by the files that declare them."""

from __future__ import annotations

import ast
import configparser
import contextlib
import tomllib
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from prodlock.inside.lock.selection import normalized
from prodlock.origins.records import Locked

# The project's folder, and those below it that mostly have the members of a workspace.
_FOLDERS = ("", "*/", "*/*/")
# What a declaration that is not valid raises: another program reports it.
_FAULTS = (
    OSError, ValueError, NotImplementedError, KeyError, TypeError, AttributeError, SyntaxError, RecursionError,
    MemoryError, configparser.Error,
)  # fmt: skip


def names(folders: Iterable[Path], locked: Locked) -> frozenset[str]:
    """Return the normalized names of the distributions that projects and the members of their workspaces build.

    What the lock has is none of them: a repository may have a copy of it, or an example of its name.
    """
    distinct = dict.fromkeys(folder.absolute() for folder in folders)
    found = frozenset(name for folder in distinct for name in _declared(folder))
    return found - locked.main.keys() - locked.dev.keys()


def _declared(root: Path) -> Iterator[str]:
    """Yield the names that the files of a project declare."""
    for folder in dict.fromkeys((*_FOLDERS, *_members(root))):
        for file, read in _READERS.items():
            # Not every pattern of a workspace is one for glob.
            with contextlib.suppress(*_FAULTS):
                for path in root.glob(f"{folder}{file}"):
                    yield from _name(path, read)


def _name(path: Path, read: Callable[[str], object]) -> Iterator[str]:
    with contextlib.suppress(*_FAULTS):
        name = read(path.read_text(encoding="utf-8"))
        if isinstance(name, str) and name:
            yield normalized(name)


def _members(root: Path) -> Iterator[str]:
    """Yield the patterns of the folders of a workspace's members.

    https://docs.astral.sh/uv/concepts/projects/workspaces/
    """
    with contextlib.suppress(*_FAULTS):
        document = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
        yield from (f"{one.rstrip('/')}/" for one in document["tool"]["uv"]["workspace"]["members"])


def _of_pyproject(text: str) -> object:
    document = tomllib.loads(text)
    return document.get("project", {}).get("name") or document.get("tool", {}).get("poetry", {}).get("name")


def _of_setup_cfg(text: str) -> object:
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.read_string(text)
    return parser.get("metadata", "name", fallback="")


def _of_setup_py(text: str) -> object:
    """Return the name that a call of setup() has as a literal; the file is not run."""
    with warnings.catch_warnings():
        # Older files often have invalid escape sequences.
        warnings.simplefilter("ignore")
        tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {"setup", "setuptools.setup"}:
            found = [one.value for one in node.keywords if one.arg == "name"]
            return ast.literal_eval(found[0]) if found else ""
    return ""


_READERS: Mapping[str, Callable[[str], object]] = {
    "pyproject.toml": _of_pyproject,
    "setup.cfg": _of_setup_cfg,
    "setup.py": _of_setup_py,
}
