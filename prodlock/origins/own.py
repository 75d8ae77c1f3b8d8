"""Find the names of the distributions that a project builds itself, by the files that declare them."""

from __future__ import annotations

import ast
import configparser
import contextlib
import tomllib
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from prodlock.inside.lock.selection import normalized

# The project's folder, and those of a workspace's members.
_FOLDERS = ("", "*/", "*/*/")
# What a declaration that is not valid raises: another program reports it.
_FAULTS = (
    OSError, ValueError, KeyError, TypeError, AttributeError, SyntaxError, RecursionError, MemoryError,
    configparser.Error,
)  # fmt: skip


def names(root: Path) -> Iterator[str]:
    """Yield the normalized names of the distributions that a project and the members of its workspace build."""
    for folder in _FOLDERS:
        for file, read in _READERS.items():
            for path in root.glob(f"{folder}{file}"):
                with contextlib.suppress(*_FAULTS):
                    name = read(path.read_text(encoding="utf-8"))
                    if isinstance(name, str) and name:
                        yield normalized(name)


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
        # Of escape sequences that Python does not know, which are frequent in older files.
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
