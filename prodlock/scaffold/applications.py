"""Find the applications that a project's modules create, and the one that serves."""

from __future__ import annotations

import ast
import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple, NoReturn

from prodlock.configuration import LOCKS
from prodlock.failure import Failure
from prodlock.scaffold import layout, locks, pyprojects
from prodlock.scaffold.declared import ASIDE, Declared, Deployment
from prodlock.scaffold.modules import Modules, assigned, created, keyword, last, module_name, text, top
from prodlock.scaffold.tree import Tree, is_inside, join

# BlackSheep's is called Application; Django has a function, and Channels a class around what it returns.
_CLASSES = frozenset(
    {"FastAPI", "Starlette", "Litestar", "Quart", "Application", "get_asgi_application", "ProtocolTypeRouter"}
)
_MODULES = frozenset({"fastapi", "starlette", "litestar", "quart", "blacksheep", "django", "channels"})
_WSGI = frozenset({"get_wsgi_application", "Flask"})
_FRAMEWORKS = "FastAPI, Starlette, Django, Litestar, Quart or BlackSheep"
_USUAL = frozenset({"main", "app", "asgi", "server", "wsgi", "__init__", "__main__", "application"})
# What the classes of middleware, and the names of what serves, are called.
_OUTER = re.compile(r"asgi|middleware", re.IGNORECASE)
_OUTERMOST = frozenset({"app", "application", "asgi"})
_ASIDE = re.compile(rf"{ASIDE.pattern}|(?:^|/)(?:docs_src|scripts?|migrations|alembic)/|^setup\.py$")
_REFERENCE = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):([A-Za-z_]\w*)(?:\((.*)\))?")


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
    """A declared application: its module, its attribute (empty where not declared), its file and its place."""

    module: str
    attribute: str
    path: str
    where: str
    # Deployment, development, and a module that starts a server.
    weight: int = 0
    # Gunicorn also serves WSGI applications.
    is_certain: bool = True


def references(tree: Tree, deployment: Deployment) -> list[Reference]:
    """Return the applications that the project's files declare."""
    found = [one for command in deployment.servers() for one in of_command(command)]
    for path in tree.named(r"pyproject\.toml"):
        entry = pyprojects.at(pyprojects.read(tree, path), "tool", "fastapi", "entrypoint")
        if named := _REFERENCE.fullmatch(str(entry)):
            found.append(Reference(named[1], named[2], path, path))
    for path in tree.python:
        found += _run(tree, path)
    return found


def of_command(command: Declared) -> Iterator[Reference]:
    """Yield the application that a serving command names."""
    weight = 0 if command.is_deployed else 1
    is_certain = command.program != "gunicorn" or "uvicorn" in " ".join(command.words)
    for word in command.words[1:]:
        if named := _REFERENCE.fullmatch(word):
            yield Reference(named[1], named[2], command.path, command.where, weight, is_certain)
        elif command.program == "fastapi" and word.endswith(".py"):
            module = posixpath.normpath(word).lstrip("/.").removesuffix(".py").replace("/", ".")
            yield Reference(module, "", command.path, command.where, weight)


def candidates(tree: Tree) -> list[Candidate]:
    """Return all applications of the project's modules."""
    readers = {path: _Module(tree.module(path)) for path in tree.python}
    # A factory, or an application that is mounted in another one, may be defined in another module.
    factories = {(_stem(path), name) for path, one in readers.items() for name in one.factories}
    mounted = {pair for one in readers.values() for pair in one.mounted}
    return [
        Candidate(path, name, is_factory, f"{path}:{line}")
        for path, one in readers.items()
        for name, (line, is_factory) in one.applications(factories).items()
        if not any(name == one and module and named_files([path], module) for module, one in mounted)
    ]


def choose(tree: Tree, found: list[Candidate], named: Iterable[Reference]) -> tuple[Candidate, str]:
    """Return the application of the service, and the place that decided. Raises Failure where that is not one."""
    weighed = sorted(named, key=lambda one: one.weight)
    for weight in dict.fromkeys(one.weight for one in weighed):
        matching: dict[tuple[str, str], tuple[Candidate, str]] = {}
        unclear: list[Candidate] = []
        for reference in (one for one in weighed if one.weight == weight):
            resolved = _resolved(tree, reference, found)
            unclear += resolved if len(resolved) > 1 else []
            for one in resolved if len(resolved) == 1 else []:
                matching.setdefault((one.path, one.attribute), (one, reference.where))
        if len(matching) > 1:
            _refuse(tree, {one: f"`{_name(one)}` ({where})" for one, where in matching.values()})
        if matching:
            one, where = next(iter(matching.values()))
            return one, f"{one.where}, {where}"
        # Commands name one of these.
        found = list(dict.fromkeys(unclear)) or found
    best = _best(found)
    if not best:
        _refuse_none(tree)
    if len(best) > 1:
        _refuse(tree, {one: f"`{one.attribute}` ({one.where})" for one in best})
    return best[0], best[0].where


def _refuse_none(tree: Tree) -> NoReturn:
    """Raise Failure with what a project has instead of an application."""
    factories = (
        f"`{name}` ({path}:{one.lineno}), which takes arguments"
        for path in tree.python
        for name, one in _Module(tree.module(path)).factories.items()
    )
    if factory := next(factories, ""):
        raise Failure(
            f"The project must create an application of {_FRAMEWORKS} in a module, for a server to import (got "
            f"{factory}). To fix it: call it in a module, such as `app = create_app(...)`."
        )
    if not any(tree.has(name) for name in LOCKS) and (lock := locks.above_root(tree.root)):
        raise Failure(
            f"The project must create an application of {_FRAMEWORKS} in a module (got none in this folder, which "
            f"is a part of the project of {lock}). To fix it: run `prodlock init` in {lock.parent}, and name the "
            "application there, for example with `--set application=app.main:app`."
        )
    if wsgi := min(_wsgi(tree), key=lambda one: one.rank, default=None):
        raise Failure(
            f"The project must create an application of {_FRAMEWORKS} in a module (got a WSGI application, "
            f"`{wsgi.attribute}` ({wsgi.where})). To fix it: create one of ASGI, in Django with "
            "`get_asgi_application`; or name this one and a server for it, which the lock has, with "
            f"`--set application={_name(wsgi)} --set 'server=gunicorn --bind=0.0.0.0:8000 {_name(wsgi)}'`."
        )
    invalid = next((error for path in tree.python if (error := tree.error(path))), "")
    raise Failure(
        f"The project must create an application of {_FRAMEWORKS} in a module (got "
        f"none{f', and {invalid}' if invalid else ''}). To fix it: "
        f"{'correct that module, or ' if invalid else ''}name the application, for example with `--set "
        "application=app.main:app`."
    )


def _wsgi(tree: Tree) -> Iterator[Candidate]:
    """Yield the WSGI applications of Django and Flask that modules create."""
    for path, name, line in created(tree, _WSGI):
        yield Candidate(path, name, is_factory=False, where=f"{path}:{line}")


def calls(tree: Tree, deployment: Deployment, factory: Candidate) -> Iterator[str]:
    """Yield the calls of a factory with arguments, which no server repeats, with their places."""
    for command in deployment.servers():
        for word in command.words[1:]:
            if (named := _REFERENCE.fullmatch(word)) and named[2] == factory.attribute and named[3]:
                yield f"`{word}` ({command.where})"
    for path in tree.python:
        for _, one in _runs(tree, path):
            if isinstance(one, ast.Call) and last(one.func) == factory.attribute and (one.args or one.keywords):
                yield f"`{ast.unparse(one)}` ({path}:{one.lineno})"


def named_files(paths: Iterable[str], module: str) -> list[str]:
    """Return the files that a module's name may mean, whatever folder it is imported from."""
    suffix = module.replace(".", "/")
    return [one for one in paths if f"/{one}".endswith((f"/{suffix}.py", f"/{suffix}/__init__.py"))]


def _refuse(tree: Tree, listed: Mapping[Candidate, str]) -> None:
    first = next(iter(listed))
    folder = layout.import_folder(Modules(tree), first.path, [])
    name = module_name(first.path, folder)
    remedy = f"name it, for example with `--set application={name}:{first.attribute}`"
    if len(named_files(tree.python, name)) > 1 and folder != ".":
        remedy += f" and `--set 'import-from=[\"{folder}\"]'`"
    places = [layout.directory(tree, posixpath.dirname(one.path) or ".") for one in listed]
    if len(set(places)) > 1 and all(any(tree.has(join(place, lock)) for lock in LOCKS) for place in places):
        # Each is a project of its own.
        remedy = f"run `prodlock init` in the folder of one, such as {places[0]}"
    raise Failure(
        f"The project must have one application that serves (got {', '.join(listed.values())}). To fix it: {remedy}."
    )


def _name(one: Candidate) -> str:
    return f"{module_name(one.path.removeprefix('src/'), '.')}:{one.attribute}"


def _resolved(tree: Tree, reference: Reference, found: Sequence[Candidate]) -> list[Candidate]:
    """Return the applications that a reference may mean."""
    files = named_files(tree.python, reference.module)
    # The folder that the declaring file is in, or the one of a Dockerfile in a folder for such files.
    folder = posixpath.dirname(reference.path) or "."
    exact = [one for one in files if one in {*named_files([join(folder, _file(reference.module))], reference.module)}]
    beneath = [one for one in files if is_inside(one, folder)]
    for near in (exact, beneath, files):
        matching = [one for one in found if one.path in near and reference.attribute in {"", one.attribute}]
        if not matching and reference.attribute and reference.is_certain:
            # What no call of a framework's class gives, such as an imported application.
            matching = [
                Candidate(path, reference.attribute, is_factory=False, where=path)
                for path in near
                if reference.attribute in _bound(tree.module(path))
            ]
        if matching:
            return _best(matching)
    return []


def _file(module: str) -> str:
    return f"{module.replace('.', '/')}.py"


def _bound(module: ast.Module) -> set[str]:
    """Return the names that a module binds."""
    body = list(top(module.body))
    names = {name for name, _, _ in assigned(body)}
    names |= {one.name for one in body if isinstance(one, ast.FunctionDef)}
    return names | {one.asname or one.name for node in body if isinstance(node, ast.ImportFrom) for one in node.names}


def _run(tree: Tree, path: str) -> Iterator[Reference]:
    """Yield the applications that calls of Uvicorn name."""
    for node, application in _runs(tree, path):
        if named := _REFERENCE.fullmatch(text(application) or ""):
            yield Reference(named[1], named[2], path, f"{path}:{node.lineno}", weight=2)


def run_ports(tree: Tree) -> Iterator[tuple[int, str]]:
    """Yield the ports of the modules that start a server, with their places."""
    for path in tree.python:
        for node, _ in _runs(tree, path):
            # The default of a variable as well.
            values = [
                one.value for one in ast.walk(keyword(node, "port") or node.func) if isinstance(one, ast.Constant)
            ]
            ports = [int(str(one)) for one in values if re.fullmatch(r"[1-9]\d{0,4}", str(one))]
            if len(ports) == 1:
                yield ports[0], f"{path}:{node.lineno}"


def _runs(tree: Tree, path: str) -> Iterator[tuple[ast.Call, ast.expr]]:
    """Yield the calls of `uvicorn.run` and `uvicorn.Config` in a module, with their applications."""
    if "uvicorn" not in tree.text(path):
        return
    nodes = list(ast.walk(tree.module(path)))
    names = {
        f"{one.asname or one.name}.{name}" if isinstance(node, ast.Import) else one.asname or one.name
        for node in nodes
        for name in ("run", "Config")
        if isinstance(node, ast.Import) or (isinstance(node, ast.ImportFrom) and node.module == "uvicorn")
        for one in node.names
        if one.name == ("uvicorn" if isinstance(node, ast.Import) else name)
    }
    for node in nodes:
        if isinstance(node, ast.Call) and ast.unparse(node.func) in names:
            application = node.args[0] if node.args else keyword(node, "app")
            if application is not None:
                yield node, application


def _best(found: Iterable[Candidate]) -> list[Candidate]:
    listed = list(dict.fromkeys(found))
    least = min((one.rank for one in listed), default=None)
    return [one for one in listed if one.rank == least]


def _stem(path: str) -> str:
    place = PurePosixPath(path)
    return place.parent.name if place.name == "__init__.py" else place.stem


class _Module:
    """The names of a module that are classes of applications, factories, and mounted applications."""

    def __init__(self, module: ast.Module) -> None:
        self._body = list(top(module.body))
        self._imported: dict[str, tuple[str, str]] = {}
        self._classes: set[str] = set()
        self._own = {one.name for one in self._body if isinstance(one, ast.ClassDef)}
        for node in ast.walk(module):
            self._import(node)
        for statement in self._body:
            if isinstance(statement, ast.ClassDef) and any(
                ast.unparse(one) in self._classes for one in statement.bases
            ):
                self._classes.add(statement.name)
        # All functions that return an application, also those with required arguments.
        self.factories: dict[str, ast.FunctionDef] = {}
        # A module that has no class of applications returns none.
        functions = [one for one in self._body if isinstance(one, ast.FunctionDef) and self._classes]
        # A factory may call another one, which is defined before or after it.
        for _ in range(2):
            self.factories |= {one.name: one for one in functions if self._returns(one)}
        self.mounted = set(self._mounted(module))

    def applications(self, elsewhere: set[tuple[str, str]]) -> dict[str, tuple[int, bool]]:
        """Return the names of applications with their lines, and whether each is a factory."""
        created: set[str] = set()
        found: dict[str, tuple[int, bool]] = {}
        wrapped: set[str] = set()
        imported = {
            name for name, (module, own) in self._imported.items() if (module.rpartition(".")[2], own) in elsewhere
        }
        for name, value, line in assigned(self._body):
            if self._is_application(value, created, imported, name):
                names = {one.id for one in ast.walk(value) if isinstance(one, ast.Name)}
                wrapped |= names & (created - {name})
                created.add(name)
                found[name] = (line, False)
        for name, function in self.factories.items():
            if not _requires(function.args) and not name.startswith("_"):
                found[name] = (function.lineno, True)
        return {name: one for name, one in found.items() if name not in wrapped and ("", name) not in self.mounted}

    def _import(self, node: ast.AST) -> None:
        if isinstance(node, ast.ImportFrom):
            module = node.module or ""
            for name in node.names:
                self._imported[name.asname or name.name] = (module, name.name)
                if module.split(".")[0] in _MODULES and name.name in _CLASSES:
                    self._classes.add(name.asname or name.name)
        elif isinstance(node, ast.Import):
            for name in node.names:
                if name.name.split(".")[0] in _MODULES:
                    self._classes |= {f"{name.asname or name.name}.{one}" for one in _CLASSES}

    def _is_application(
        self, value: ast.expr | None, created: set[str], factories: Iterable[str] = (), name: str = ""
    ) -> bool:
        if not isinstance(value, ast.Call):
            return False
        called = ast.unparse(value.func)
        if called in self._classes or called in self.factories or called in factories:
            return True
        # A middleware around an application: other objects take one as well, such as a client of tests.
        outer = last(value.func)
        if not (outer in self._own or _OUTER.search(outer) or name in {*created, *_OUTERMOST}):
            return False
        inner = [*value.args[:2], keyword(value, "app", "asgi_app", "other_asgi_app")]
        return outer[:1].isupper() and any(
            (isinstance(one, ast.Name) and one.id in created) or self._is_application(one, created, factories, name)
            for one in inner
        )

    def _returns(self, function: ast.FunctionDef) -> bool:
        if function.returns is not None and ast.unparse(function.returns).strip("\"'") in self._classes:
            return not any(isinstance(one, ast.Yield) for one in ast.walk(function))
        created: set[str] = set()
        for name, value, _ in assigned(ast.walk(function)):
            if self._is_application(value, created):
                created.add(name)
        returned = [node.value for node in ast.walk(function) if isinstance(node, ast.Return)]
        return any(
            self._is_application(one, created) or (isinstance(one, ast.Name) and one.id in created) for one in returned
        )

    def _mounted(self, module: ast.Module) -> Iterator[tuple[str, str]]:
        """Yield the module and the name of each imported application that this module mounts; its own as well."""
        for node in ast.walk(module):
            if isinstance(node, ast.Call) and last(node.func) in {"mount", "Mount"}:
                for one in (*node.args[1:2], keyword(node, "app")):
                    if isinstance(one, ast.Name):
                        yield self._imported.get(one.id, ("", one.id))
                    elif isinstance(one, ast.Attribute):
                        owner = last(one.value)
                        yield ".".join(self._imported.get(owner, (owner,))).lstrip("."), one.attr


def _requires(arguments: ast.arguments) -> bool:
    """Return whether a function has arguments without a default."""
    positional = len(arguments.posonlyargs) + len(arguments.args) - len(arguments.defaults)
    return positional > 0 or None in arguments.kw_defaults
