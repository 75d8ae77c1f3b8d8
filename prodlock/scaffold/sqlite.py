"""Find the SQLite databases that a service has as files where production can't write."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator

from prodlock.scaffold.modules import last, text
from prodlock.scaffold.tree import Tree, join

# The address of SQLAlchemy and its relatives, with the path of a file.
_ADDRESS = re.compile(r"sqlite(?:\+\w+)?:///(?P<path>[^?]+).*")
# Django's files.
_FILE = re.compile(r"(?!django\.)(?P<path>[\w./-]+\.sqlite3?)")
_MODULES = frozenset({"sqlite3", "aiosqlite"})
_WRITABLE = re.compile(r"/(?:tmp|dev/shm)/.*|:memory:|file:.*")


def files(tree: Tree, paths: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield the files of databases that modules name, with their places; not those that the project has as data."""
    for path in paths:
        if "sqlite" in tree.text(path):
            for node in ast.walk(tree.module(path)):
                named = _named(node)
                if named and not _WRITABLE.fullmatch(named) and not tree.has(join(".", named)):
                    yield named, f"{path}:{getattr(node, 'lineno', 0)}"


def _named(node: ast.AST) -> str:
    """Return the path of a database that an expression names, or an empty string."""
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "connect"
        and node.args
    ):
        return (text(node.args[0]) or "") if last(node.func.value) in _MODULES else ""
    found = _ADDRESS.fullmatch(text(node) or "") or _FILE.fullmatch(text(node) or "")
    return found["path"] if found else ""
