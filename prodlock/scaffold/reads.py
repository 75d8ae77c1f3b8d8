"""Find the variables that a service reads."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator

from prodlock import variables
from prodlock.scaffold.modules import assigned, keyword, last, text
from prodlock.scaffold.tree import Tree

# What a container or an interpreter has in any case; PORT is the one that Compose publishes on the host.
_USUAL = re.compile(r"PORT|HOME|PATH|HOSTNAME|USER|TMPDIR|LANG|TZ|LC_\w+|PYTHON\w*|VIRTUAL_ENV|PWD")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_READS = re.compile(r"(?:os\.)?(?:getenv|environ\.(?:get|pop|setdefault))")
_ENVIRONMENTS = frozenset({"os.environ", "environ"})
# Classes of environs, starlette and decouple, whose objects read a variable when they are called.
_READERS = frozenset({"Env", "FileAwareEnv", "Config", "AutoConfig", "RepositoryEnv"})
# Classes may inherit from others.
_DEEPEST = 8


def environment(tree: Tree, paths: Iterable[str]) -> dict[str, str]:
    """Return the variables that modules read, with their places."""
    found: dict[str, str] = {}
    paths = list(paths)
    settings = _Settings(tree, paths)
    for path in paths:
        for name, line in (*_read(tree.module(path)), *settings.fields(path)):
            if variables.VARIABLE.fullmatch(name) and not _USUAL.fullmatch(name):
                found.setdefault(name, f"{path}:{line}")
    return dict(sorted(found.items()))


def _read(module: ast.Module) -> Iterator[tuple[str, int]]:
    """Yield the variables that a module reads by name."""
    nodes = list(ast.walk(module))
    readers = {
        name for name, value, _ in assigned(nodes) if isinstance(value, ast.Call) and last(value.func) in _READERS
    }
    imported = {
        one.asname or one.name
        for node in nodes
        if isinstance(node, ast.ImportFrom)
        for one in node.names
        if one.name in {"config", "env"} or (node.module, one.name) == ("os", "getenv")
    }
    for node in nodes:
        name: str | None = None
        if isinstance(node, ast.Subscript) and ast.unparse(node.value) in _ENVIRONMENTS:
            name = text(node.slice)
        elif isinstance(node, ast.Call) and node.args:
            called = node.func
            # `env.str("X")`
            owner = last(called.value) if isinstance(called, ast.Attribute) else last(called)
            if _READS.fullmatch(ast.unparse(called)) or owner in readers or last(called) in imported or (
                owner in imported and owner == "env"
            ):  # fmt: skip
                name = text(node.args[0])
        if name and _NAME.fullmatch(name):
            yield name, getattr(node, "lineno", 0)


class _Settings:
    """The classes of settings of modules; each may inherit from one of another module."""

    def __init__(self, tree: Tree, paths: list[str]) -> None:
        nodes = [(path, node) for path in paths for node in ast.walk(tree.module(path))]
        self._classes = {node.name: (path, node) for path, node in nodes if isinstance(node, ast.ClassDef)}
        self._settings = {"BaseSettings"}
        self._settings |= {
            one.asname
            for _, node in nodes
            if isinstance(node, ast.ImportFrom)
            for one in node.names
            if one.name == "BaseSettings" and one.asname
        }
        bases = {last(base) for _, node in self._classes.values() for base in node.bases}
        called = {last(node.func) for _, node in nodes if isinstance(node, ast.Call)}
        # The fields of a class that others inherit from are read with the prefixes of these.
        self._read = (set(self._classes) - bases) | (called & set(self._classes))

    def fields(self, path: str) -> Iterator[tuple[str, int]]:
        """Yield the variables of the classes that a module defines."""
        for name, (file, node) in self._classes.items():
            lineage = self._lineage(node)
            if file == path and name in self._read and self._is_settings(lineage):
                given = [_options(one) for one in reversed(lineage)]
                options = {key: value for one in given for key, value in one.items()}
                for one in lineage:
                    yield from _fields(
                        one, str(options.get("env_prefix", "")), exact=bool(options.get("case_sensitive"))
                    )

    def _lineage(self, node: ast.ClassDef) -> list[ast.ClassDef]:
        """Return a class with the classes of the project that it inherits from."""
        found = [node]
        for one in found:
            for base in one.bases:
                _, parent = self._classes.get(last(base), ("", one))
                if parent not in found and len(found) < _DEEPEST:
                    found.append(parent)
        return found

    def _is_settings(self, lineage: list[ast.ClassDef]) -> bool:
        return any(last(base) in self._settings for one in lineage for base in one.bases)


def _options(node: ast.ClassDef) -> dict[str, object]:
    """Return the options of a class of settings: of its header, its `model_config` or its class `Config`."""
    found: dict[str, object] = {}
    for inner in (*node.keywords, *(one for part in node.body for one in _option_nodes(part))):
        if isinstance(inner, ast.keyword) and inner.arg and isinstance(inner.value, ast.Constant):
            found[inner.arg] = inner.value.value
        elif isinstance(inner, ast.Dict):
            pairs = zip(inner.keys, inner.values, strict=True)
            found |= {text(key) or "": value.value for key, value in pairs if isinstance(value, ast.Constant)}
        elif isinstance(inner, ast.Assign):
            found |= {name: value.value for name, value, _ in assigned([inner]) if isinstance(value, ast.Constant)}
    return found


def _option_nodes(part: ast.stmt) -> Iterator[ast.AST]:
    if isinstance(part, ast.ClassDef) and part.name == "Config":
        yield from part.body
    for name, value, _ in assigned([part]):
        if name == "model_config":
            yield from value.keywords if isinstance(value, ast.Call) else [value]


def _fields(node: ast.ClassDef, prefix: str, *, exact: bool) -> Iterator[tuple[str, int]]:
    for field in node.body:
        if not isinstance(field, ast.AnnAssign) or not isinstance(field.target, ast.Name):
            continue
        name = field.target.id
        if name.startswith("_") or name == "model_config" or "ClassVar" in ast.unparse(field.annotation):
            continue
        for one in _aliases(field) or [prefix + name]:
            yield one if exact else one.upper(), field.lineno


def _aliases(field: ast.AnnAssign) -> list[str]:
    """Return the names that a field has instead of its own."""
    calls = [one for part in (field.value, field.annotation) if part for one in ast.walk(part)]
    values = [
        keyword(one, "validation_alias") or keyword(one, "alias") or keyword(one, "env")
        for one in calls
        if isinstance(one, ast.Call)
    ]
    return [name for value in values if value for one in ast.walk(value) if (name := text(one))]
