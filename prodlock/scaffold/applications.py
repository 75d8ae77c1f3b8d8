"""Find the applications that a project's modules create."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from typing import NamedTuple

from prodlock.failure import Failure
from prodlock.scaffold.declared import Declared, toml
from prodlock.scaffold.tree import Tree

_CLASSES = frozenset({"FastAPI", "Starlette", "Litestar", "Quart", "BlackSheep"})
_MODULES = frozenset({"fastapi", "starlette", "litestar", "quart", "blacksheep"})
_USUAL = frozenset({"main", "app", "asgi", "server", "wsgi", "__init__", "__main__", "application"})
_ASIDE = re.compile(r"(?:^|/)(?:docs?|examples?|scripts?|samples?|benchmarks?|migrations|alembic)/|^setup\.py$")
_SERVERS = frozenset({"uvicorn", "gunicorn", "hypercorn", "granian", "daphne", "fastapi"})
_REFERENCE = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):([A-Za-z_]\w*)(?:\(\))?")


class Candidate(NamedTuple):
    """An application, or a function without required arguments that returns one."""

    path: str
    attribute: str
    is_factory: bool
    where: str

    @property
    def rank(self) -> tuple[bool, bool, bool]:
        """Return the order of preference, the best one first."""
        usual = PurePosixPath(self.path).stem in _USUAL
        return bool(_ASIDE.search(self.path)), self.is_factory, not usual


class Reference(NamedTuple):
    """A declared application: its module, its attribute (empty where not declared), and the place."""

    module: str
    attribute: str
    where: str


def servers(commands: Iterable[Declared]) -> Iterator[Declared]:
    """Yield the commands that start a server."""
    return (one for one in commands if one.program in _SERVERS)


def references(tree: Tree, commands: Iterable[Declared]) -> list[Reference]:
    """Return the applications that the project's files declare."""
    found = []
    for command in servers(commands):
        for word in command.words[1:]:
            if named := _REFERENCE.fullmatch(word):
                found.append(Reference(named[1], named[2], command.where))
            elif command.program == "fastapi" and word.endswith(".py"):
                found.append(Reference(word.removesuffix(".py").strip("./").replace("/", "."), "", command.where))
    for path in tree.named(r"pyproject\.toml"):
        tool = toml(tree, path).get("tool", {})
        entry = tool.get("fastapi", {}) if isinstance(tool, dict) else {}
        text = entry.get("entrypoint", "") if isinstance(entry, dict) else ""
        if named := _REFERENCE.fullmatch(str(text)):
            found.append(Reference(named[1], named[2], path))
    return found


def candidates(tree: Tree) -> list[Candidate]:
    """Return all applications of the project's modules."""
    readers = {path: _Module(tree.module(path)) for path in tree.python}
    # A factory, or an application that is mounted in another one, may be defined in another module.
    factories = {
        (PurePosixPath(path).parent.name if path.endswith("__init__.py") else PurePosixPath(path).stem, name)
        for path, one in readers.items()
        for name in one.factories
    }
    mounted = {pair for one in readers.values() for pair in one.mounted}
    found = []
    for path, one in readers.items():
        stem = PurePosixPath(path).stem
        for name, (line, is_factory) in one.applications(factories).items():
            if (stem, name) not in mounted:
                found.append(Candidate(path, name, is_factory, f"{path}:{line}"))
    return found


def choose(found: list[Candidate], named: list[Reference]) -> tuple[Candidate, str]:
    """Return the application of the service, and the place that decided. Raises Failure where that is not one."""
    if not found:
        raise Failure(
            "The project must create an application of FastAPI, Starlette, Litestar or Quart in a module (got none). "
            "To fix it: name it, for example with `--set application=app.main:app`."
        )
    for reference in named:
        suffix = reference.module.replace(".", "/")
        matching = [
            one
            for one in found
            if f"/{one.path}".endswith((f"/{suffix}.py", f"/{suffix}/__init__.py"))
            and reference.attribute in {"", one.attribute}
        ]
        if matching := _best(matching):
            if len(matching) == 1:
                return matching[0], f"{matching[0].where}, {reference.where}"
            found = matching
    best = _best(found)
    if len(best) > 1:
        listed = ", ".join(f"`{one.attribute}` ({one.where})" for one in best)
        example = f"{best[0].path.removesuffix('.py').replace('/', '.')}:{best[0].attribute}"
        raise Failure(
            f"The project must have one application that serves (got {listed}). To fix it: name it, for example with "
            f"`--set application={example}`."
        )
    return best[0], best[0].where


def _best(found: list[Candidate]) -> list[Candidate]:
    least = min((one.rank for one in found), default=None)
    return [one for one in found if one.rank == least]


class _Module:
    """The names of a module that are classes of applications, factories, and mounted applications."""

    def __init__(self, module: ast.Module) -> None:  # noqa: C901
        self._body = list(_top(module.body))
        self._classes: set[str] = set()
        self._imported: dict[str, tuple[str, str]] = {}
        for node in ast.walk(module):
            if isinstance(node, ast.ImportFrom):
                for name in node.names:
                    origin = ((node.module or "").rpartition(".")[2], name.name)
                    self._imported[name.asname or name.name] = origin
                    if (node.module or "").split(".")[0] in _MODULES and name.name in _CLASSES:
                        self._classes.add(name.asname or name.name)
            elif isinstance(node, ast.Import):
                for name in node.names:
                    if name.name.split(".")[0] in _MODULES:
                        self._classes |= {f"{name.asname or name.name}.{one}" for one in _CLASSES}
        for statement in self._body:
            if isinstance(statement, ast.ClassDef) and any(
                ast.unparse(one) in self._classes for one in statement.bases
            ):
                self._classes.add(statement.name)
        # All functions that return an application, also those with required arguments.
        self.factories: dict[str, ast.FunctionDef] = {}
        functions = [one for one in self._body if isinstance(one, ast.FunctionDef)]
        # A factory may call another one, which is defined before or after it.
        for _ in range(2):
            for function in functions:
                if self._returns(function):
                    self.factories[function.name] = function
        self.mounted = set(self._mounted(module))

    def applications(self, elsewhere: set[tuple[str, str]]) -> dict[str, tuple[int, bool]]:
        """Return the names of applications with their lines, and whether each is a factory."""
        known: set[str] = set()
        found: dict[str, tuple[int, bool]] = {}
        wrapped: set[str] = set()
        imported = {name for name, origin in self._imported.items() if origin in elsewhere}
        for name, value, line in _assigned(self._body):
            if value is not None and self._is_application(value, known, imported):
                wrapped |= {one.id for one in ast.walk(value) if isinstance(one, ast.Name) and one.id in known - {name}}
                known.add(name)
                found[name] = (line, False)
        for name, function in self.factories.items():
            arguments = function.args
            required = len(arguments.posonlyargs) + len(arguments.args) - len(arguments.defaults)
            if not required and None not in arguments.kw_defaults and not name.startswith("_"):
                found[name] = (function.lineno, True)
        return {name: one for name, one in found.items() if name not in wrapped and ("", name) not in self.mounted}

    def _is_application(self, value: ast.expr | None, known: set[str], factories: Iterable[str] = ()) -> bool:
        if not isinstance(value, ast.Call):
            return False
        called = ast.unparse(value.func)
        if called in self._classes or called in self.factories or called in factories:
            return True
        # A middleware around an application.
        given = [
            *value.args[:1],
            *(one.value for one in value.keywords if one.arg in {"app", "asgi_app", "other_asgi_app"}),
        ]
        return called.rpartition(".")[2][:1].isupper() and any(
            (isinstance(one, ast.Name) and one.id in known) or self._is_application(one, known, factories)
            for one in given
        )

    def _returns(self, function: ast.FunctionDef) -> bool:
        if function.returns is not None and ast.unparse(function.returns).strip("\"'") in self._classes:
            return not any(isinstance(one, ast.Yield) for one in ast.walk(function))
        known: set[str] = set()
        for name, value, _ in _assigned(one for one in ast.walk(function) if isinstance(one, ast.stmt)):
            if self._is_application(value, known):
                known.add(name)
        return any(
            isinstance(node, ast.Return)
            and (
                self._is_application(node.value, known) or (isinstance(node.value, ast.Name) and node.value.id in known)
            )
            for node in ast.walk(function)
        )

    def _mounted(self, module: ast.Module) -> Iterator[tuple[str, str]]:
        """Yield the module and the name of each imported application that this module mounts; its own as well."""
        for node in ast.walk(module):
            if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in {"mount", "Mount"}:
                given = [*node.args[1:2], *(one.value for one in node.keywords if one.arg == "app")]
                for one in given:
                    if isinstance(one, ast.Name):
                        yield self._imported.get(one.id, ("", one.id))
                    elif isinstance(one, ast.Attribute):
                        yield ast.unparse(one.value).rpartition(".")[2], one.attr


def _top(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements that an import runs: not those of `if __name__ == "__main__"`."""
    for statement in body:
        yield statement
        if isinstance(statement, ast.If) and "__name__" not in ast.unparse(statement.test):
            yield from _top([*statement.body, *statement.orelse])
        elif isinstance(statement, ast.Try):
            yield from _top([*statement.body, *(one for handler in statement.handlers for one in handler.body)])
        elif isinstance(statement, ast.With):
            yield from _top(statement.body)


def _assigned(body: Iterable[ast.stmt]) -> Iterator[tuple[str, ast.expr | None, int]]:
    for statement in body:
        targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        value = statement.value if isinstance(statement, ast.Assign | ast.AnnAssign) else None
        for target in targets:
            if isinstance(target, ast.Name) and value is not None:
                yield target.id, value, statement.lineno
