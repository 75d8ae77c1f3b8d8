"""Find the variables that settings of Dynaconf read: a prefix and the name that code asks for, such as SHOP_DEBUG."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from prodlock.scaffold.modules import assigned, keyword, last, text
from prodlock.scaffold.tree import Tree

_CLASSES = frozenset({"Dynaconf", "LazySettings"})
# The prefix that objects without one have, and the variable that names the environment.
_PREFIX, _SWITCHER = "DYNACONF", "ENV_FOR_DYNACONF"
_READERS = frozenset({"get", "get_fresh", "exists", "get_environ"})


def variables(tree: Tree, paths: Iterable[str]) -> dict[str, str]:
    """Return the variables that modules read by objects of Dynaconf, with their places."""
    modules = {path: list(ast.walk(tree.module(path))) for path in paths if tree.has(path)}
    objects: dict[str, str] = {}
    found: dict[str, str] = {}
    for path, nodes in modules.items():
        for name, value, line in assigned(nodes):
            if isinstance(value, ast.Call) and last(value.func) in _CLASSES:
                objects[name] = _prefix(value)
                if switcher := _switcher(value):
                    found.setdefault(switcher, f"{path}:{line}")
        if any(isinstance(node, ast.ImportFrom) and node.module == "dynaconf" for node in nodes):
            objects |= dict.fromkeys(_imported(nodes), f"{_PREFIX}_")
    for path, nodes in modules.items() if objects else ():
        for prefix, name, line in _read(nodes, objects):
            found.setdefault(f"{prefix}{name.replace('.', '__').upper()}", f"{path}:{line}")
    return found


def _prefix(call: ast.Call) -> str:
    given = keyword(call, "envvar_prefix", "envvar_prefix_for_dynaconf")
    if isinstance(given, ast.Constant) and given.value is False:
        return ""
    return f"{text(given) or _PREFIX}_"


def _switcher(call: ast.Call) -> str:
    """Return the variable that names the environment, or an empty string where there are no environments."""
    named, environments = text(keyword(call, "env_switcher")), keyword(call, "environments")
    return named or (_SWITCHER if environments and ast.unparse(environments) != "False" else "")


def _imported(nodes: Iterable[ast.AST]) -> Iterator[str]:
    """Yield the names of the object that Dynaconf itself has."""
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module == "dynaconf":
            yield from (one.asname or one.name for one in node.names if one.name == "settings")


def _read(nodes: Iterable[ast.AST], objects: dict[str, str]) -> Iterator[tuple[str, str, int]]:
    """Yield the prefixes and the names that expressions read of objects, with their lines."""
    nodes = list(nodes)
    called = {node.func for node in nodes if isinstance(node, ast.Call)}
    for node in nodes:
        name: str | None = None
        owner: ast.AST = node
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _READERS:
            owner, name = node.func.value, text(node.args[0]) if node.args else None
        elif isinstance(node, ast.Call) and last(node.func) == "Validator":
            names = filter(None, map(text, node.args))
            yield from ((prefix, one, node.lineno) for prefix in {*objects.values()} for one in names)
        elif isinstance(node, ast.Subscript):
            owner, name = node.value, text(node.slice)
        elif isinstance(node, ast.Attribute) and node not in called:
            parts = ast.unparse(node).split(".")
            first = next((number for number, part in enumerate(parts) if part in objects), len(parts))
            # Other parts, such as calls, are not names.
            if all(map(str.isidentifier, parts)) and parts[first + 1 :]:
                yield objects[parts[first]], ".".join(parts[first + 1 :]), node.lineno
        if name and isinstance(owner, ast.Name | ast.Attribute) and last(owner) in objects:
            yield objects[last(owner)], name, getattr(node, "lineno", 0)
