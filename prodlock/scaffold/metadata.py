"""Find where a service reads the metadata of its own distribution, which no image installs."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator

from prodlock.inside.lock.selection import normalized
from prodlock.scaffold import pyprojects
from prodlock.scaffold.modules import last, text
from prodlock.scaffold.tree import Tree

_READERS = frozenset({"version", "metadata", "distribution", "get_distribution"})
_LIBRARIES = re.compile(r"\b(?:importlib[._]metadata|importlib import metadata|pkg_resources)\b")


def reads(tree: Tree, paths: Iterable[str]) -> Iterator[str]:
    """Yield the places where modules read the metadata of a project of the repository, and expect it to be there."""
    names = set()
    for file in tree.named(r"pyproject\.toml"):
        content = pyprojects.read(tree, file)
        names |= {
            normalized(name)
            for keys in (("project",), ("tool", "poetry"))
            if isinstance(name := pyprojects.at(content, *keys, "name"), str)
        }
    for path in paths:
        if not _LIBRARIES.search(tree.text(path)):
            continue
        module = tree.module(path)
        caught = {
            inner
            for node in ast.walk(module)
            if isinstance(node, ast.Try) and node.handlers
            for statement in node.body
            for inner in ast.walk(statement)
        }
        for node in ast.walk(module):
            if (
                isinstance(node, ast.Call)
                and last(node.func) in _READERS
                and node.args
                and node not in caught
                and (normalized(text(node.args[0]) or "") in names or ast.unparse(node.args[0]) == "__package__")
            ):
                yield f"{path}:{node.lineno}"
