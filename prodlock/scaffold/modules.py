"""Read which names a module imports, and from which modules of the project."""

from __future__ import annotations

import ast
import posixpath
import re
from collections.abc import Container, Iterable, Iterator
from pathlib import PurePosixPath
from typing import NamedTuple

from prodlock.scaffold.tree import Tree, is_test, join

# A text that may name a module, or a name in one.
_DOTTED = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+(?::\w+)?")


class Imported(NamedTuple):
    """An import of a module, and the names that are taken of it: (name, name in this module)."""

    module: str
    level: int
    names: tuple[tuple[str, str], ...] = ()


class Reference(NamedTuple):
    """A module that a text names, or a package whose modules a value selects. `level` counts its leading dots."""

    name: str
    level: int = 0
    is_selection: bool = False


class Modules:
    """The modules of a project, and their imports."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self._imported: dict[str, tuple[Imported, ...]] = {}
        self._references: dict[str, tuple[Reference, ...]] = {}

    def imported(self, path: str) -> tuple[Imported, ...]:
        """Return the imports of a module."""
        if path not in self._imported:
            nodes = ast.walk(self.tree.module(path))
            self._imported[path] = tuple(one for node in nodes for one in _imported(node))
        return self._imported[path]

    def find(self, name: str, folders: Iterable[str]) -> str | None:
        """Return the file of a module by its name."""
        for folder in folders:
            place = join(folder, name.replace(".", "/"))
            for file in (f"{place}/__init__.py", f"{place}.py"):
                if self.tree.has(file):
                    return file
        return None

    def closure(self, paths: Iterable[str], folders: list[str]) -> list[str]:
        """Return modules with all modules of the project that they import, also indirectly."""
        found: dict[str, None] = {}
        waiting = list(paths)
        while waiting:
            path = waiting.pop()
            if path not in found:
                found[path] = None
                waiting += [one for _, one in self.imports(path, folders) if one]
                waiting += self.named(path, folders)
        return sorted(found)

    def named(self, path: str, folders: list[str]) -> Iterator[str]:
        """Yield the files of the modules that texts of a module name, for a library that imports them."""
        for one in self._referred(path):
            if one.is_selection:
                places = [_package(path, one.level)] if one.level else folders
                selected = [join(folder, one.name.replace(".", "/")) for folder in places]
                yield from (file for file in self.tree.python if posixpath.dirname(file) in selected)
            elif (file := self.find(one.name, folders)) and not is_test(file):
                yield file

    def missing(self, path: str, folders: list[str]) -> Iterator[str]:
        """Yield the modules that a module imports, or may name in texts, and that no folder has."""
        imported = {
            one.module: [name for name, _ in one.names] for one in self.imported(path) if one.module and not one.level
        }
        for module, members in imported.items():
            if not self.find(module, folders):
                yield from (module, *(f"{module}.{name}" for name in members))
        names = [one.name for one in self._referred(path) if not one.level]
        yield from (name for name in names if not self.find(name, folders))

    def imports(self, path: str, folders: list[str]) -> Iterator[tuple[str, str | None]]:
        """Yield the modules that a module imports, with their files in the project."""
        for one in self.imported(path):
            base = _package(path, one.level) if one.level else ""
            places = [base] if one.level else folders
            if one.module:
                yield from self._with_packages(one.module, places)
            else:
                yield base, self.find("__init__", [base])
            for name, _ in one.names:
                full = f"{one.module}.{name}".lstrip(".")
                if inner := self.find(full, places):
                    yield full, inner

    def origins(self, path: str, folders: list[str]) -> dict[str, tuple[str, str]]:
        """Return the file and the name there of each name that a module takes of another one of the project.

        The name there is empty where it is a module.
        """
        found = {}
        for one in self.imported(path):
            places = [_package(path, one.level)] if one.level else folders
            for name, alias in one.names:
                if module := self.find(f"{one.module}.{name}".lstrip("."), places):
                    found[alias] = (module, "")
                elif file := self.find(one.module or "__init__", places):
                    found[alias] = (file, name)
        return found

    def _referred(self, path: str) -> tuple[Reference, ...]:
        """Return what the texts of a module may name."""
        if path not in self._references:
            self._references[path] = tuple(_references(list(ast.walk(self.tree.module(path)))))
        return self._references[path]

    def _with_packages(self, name: str, folders: list[str]) -> Iterator[tuple[str, str | None]]:
        """Yield a module, and the packages that an import of it runs."""
        yield name, self.find(name, folders)
        parts = name.split(".")
        for count in range(1, len(parts)):
            if parent := self.find(".".join(parts[:count]), folders):
                yield name, parent


def module_name(path: str, folder: str) -> str:
    """Return the name of a module that is imported from a folder."""
    name = posixpath.relpath(path, folder).removesuffix(".py").removesuffix("/__init__")
    return name.replace("/", ".")


def assigned(body: Iterable[ast.AST]) -> Iterator[tuple[str, ast.expr, int]]:
    """Yield the names that statements assign, with the values and the lines."""
    for one in body:
        if isinstance(one, ast.Assign):
            for target in one.targets:
                if isinstance(target, ast.Name):
                    yield target.id, one.value, one.lineno
                elif isinstance(target, ast.Tuple) and isinstance(one.value, ast.Tuple):
                    pairs = zip(target.elts, one.value.elts, strict=False)
                    yield from ((name.id, value, one.lineno) for name, value in pairs if isinstance(name, ast.Name))
        elif isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name) and one.value is not None:
            yield one.target.id, one.value, one.lineno


def created(tree: Tree, classes: Container[str]) -> Iterator[tuple[str, str, int]]:
    """Yield each object of these classes that a module creates when it is imported: the module, the name, the line."""
    for path in tree.python:
        for name, value, line in assigned(top(tree.module(path).body)):
            if isinstance(value, ast.Call) and last(value.func) in classes:
                yield path, name, line


def top(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements that an import runs: not those of `if __name__ == "__main__"`."""
    for statement in body:
        yield statement
        if isinstance(statement, ast.If) and "__name__" not in ast.unparse(statement.test):
            yield from top([*statement.body, *statement.orelse])
        elif isinstance(statement, ast.Try):
            yield from top([*statement.body, *statement.orelse, *statement.finalbody])
        elif isinstance(statement, ast.With):
            yield from top(statement.body)


def binds(module: ast.Module, name: str) -> bool:
    """Return whether a module may bind a name, in any statement."""
    for node in ast.walk(module):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id == name:
            return True
        if text(node) == name:
            # As in `globals()["app"] = ...`.
            return True
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and (
            # PEP 562
            node.name in {name, "__getattr__"}
        ):
            return True
        if isinstance(node, ast.Import | ast.ImportFrom) and any(
            one.name == "*" or (one.asname or one.name.split(".")[0]) == name for one in node.names
        ):
            return True
    return False


def text(node: ast.AST | None) -> str | None:
    """Return the value of a node that is a text."""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def last(node: ast.expr) -> str:
    """Return the last part of a dotted name: the name of the function that a call calls."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def keyword(call: ast.Call, *names: str) -> ast.expr | None:
    """Return the value of a call's keyword argument, the first of several names."""
    return next((one.value for one in call.keywords if one.arg in names), None)


def _imported(node: ast.AST) -> Iterator[Imported]:
    if isinstance(node, ast.Import):
        yield from (Imported(one.name, 0) for one in node.names)
    elif isinstance(node, ast.ImportFrom):
        yield Imported(node.module or "", node.level, tuple((one.name, one.asname or one.name) for one in node.names))
    elif isinstance(node, ast.Call) and last(node.func) == "import_module" and node.args and text(node.args[0]):
        name = text(node.args[0]) or ""
        if not name.startswith("."):
            yield Imported(name, 0)


def _references(nodes: list[ast.AST]) -> Iterator[Reference]:
    """Yield what may be names of modules: "shop.urls", "shop.logs.Formatter", and those of INSTALLED_APPS."""
    for given in map(text, nodes):
        if given and _DOTTED.fullmatch(given):
            name = given.partition(":")[0]
            # A text such as "config.yaml" names no module `config`.
            yield from (Reference(one) for one in (name, name.rpartition(".")[0]) if "." in one)
    for node in nodes:
        if isinstance(node, ast.Call) and last(node.func) == "import_module" and node.args:
            yield from _selected(node.args[0])
    for name, value, _ in assigned(nodes):
        if name.endswith("_APPS") and isinstance(value, ast.List | ast.Tuple):
            yield from (Reference(given) for given in map(text, value.elts) if given)


def _selected(node: ast.expr) -> Iterator[Reference]:
    """Yield the package whose modules a value selects."""
    while isinstance(node, ast.BinOp) and isinstance(node.left, ast.BinOp):
        node = node.left
    if isinstance(node, ast.JoinedStr | ast.BinOp):
        first = next(ast.iter_child_nodes(node), None)
        first = first.value if isinstance(first, ast.FormattedValue) else first
        given = "." if isinstance(first, ast.Name) and first.id in {"__name__", "__package__"} else text(first) or ""
        if re.fullmatch(r"\.+|\.*[A-Za-z_]\w*(?:\.\w+)*\.", given):
            name = given.lstrip(".")
            yield Reference(name.rstrip("."), len(given) - len(name), is_selection=True)


def _package(path: str, level: int) -> str:
    """Return the folder of the package that a relative import starts from."""
    parents = PurePosixPath(path).parents
    return parents[min(level, len(parents)) - 1].as_posix()
