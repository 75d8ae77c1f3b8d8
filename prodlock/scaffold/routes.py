"""Find the routes that a service has for probes."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import TypeAlias

from prodlock.scaffold.declared import Deployment
from prodlock.scaffold.modules import Modules, assigned, keyword, last, text
from prodlock.scaffold.yaml import Value

_HEALTH = re.compile(
    r"(?:.*/)?_{0,2}(?:healthz?|health[-_]?check|livez?|liveness|alive|ping|heartbeat)_{0,2}/?"
    r"|(?:/api)?(?:/v\d+)?/status/?"
)
_READY = re.compile(r"(?:.*/)?_{0,2}(?:readyz?|readiness|health/ready)_{0,2}/?")
# The usual names, the best one first.
_ORDER = ("health", "live", "ping")
_METHODS = frozenset({"get", "api_route", "route", "add_api_route", "add_route", "Route", "head"})
_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)+/?")
_DECLARED = re.compile(
    r"(?:localhost|127\.0\.0\.1|0\.0\.0\.0)(?::\S*?\d+\S*?)?(/[\w./-]*)|httpGet:\s*\n?\s*(?:port:[^\n]*\n\s*)?path:\s*([\w./-]+)"
)
# What takes lists of routes.
_OWNERS = frozenset({"Router", "Litestar", "Starlette", "FastAPI", "Mount"})
_LIST = (ast.List, ast.Tuple)
# Routers are included in others.
_DEEPEST = 8

# A path, and its place; both are empty where there is none.
Probe: TypeAlias = tuple[str, str]
# The file that defines an object, and its name there.
_Owner: TypeAlias = tuple[str, str]


def probes(modules: Modules, paths: list[str], folders: list[str], deployment: Deployment) -> tuple[Probe, Probe]:
    """Return the paths of health and readiness."""
    routes = list(_Routes(modules, paths, folders).all())
    ready = next((one for one in routes if _READY.fullmatch(one[0])), ("", ""))
    for declared, where in _declared(modules, deployment):
        bare = declared.rstrip("/")
        for route, line in routes:
            # The prefix of a route may be a setting.
            if bare not in {"", ready[0].rstrip("/")} and route != "/" and bare.endswith(route.rstrip("/")):
                return (declared, f"{where}, {line}"), ready
    health = [one for one in routes if _HEALTH.fullmatch(one[0])]
    health.sort(key=lambda one: next((n for n, word in enumerate(_ORDER) if word in one[0]), len(_ORDER)))
    return (health[0] if health else ("", "")), ready


def _declared(modules: Modules, deployment: Deployment) -> Iterator[Probe]:
    """Yield the paths that health checks of the project's files ask for."""
    tree = modules.tree
    manifests = tree.named(r"[^/]*(?:deploy|k8s|pod)[^/]*\.ya?ml")
    texts = [(path, tree.text(path)) for path in deployment.dockerfiles]
    # What other services of a Compose file name is not a check of health.
    checks = (
        (path, keys.get("healthcheck", Value())) for path, one in deployment.compose.items() for keys in one.values()
    )
    texts += [(path, " ".join(value)) for path, value in checks]
    texts += [(path, tree.text(path)) for path in manifests]
    for path, one in texts:
        for found in _DECLARED.findall(one):
            yield "".join(found), path


class _Routes:
    """The routes of modules, under the prefixes of their routers."""

    def __init__(self, modules: Modules, paths: list[str], folders: list[str]) -> None:
        tree = modules.tree
        self._nodes = {path: list(ast.walk(tree.module(path))) for path in paths}
        self._origins = {path: modules.origins(path, folders) for path in paths}
        # The constants of all modules, and the defaults of settings.
        self._names: dict[str, str] = {}
        self._prefixes: dict[_Owner, str] = {}
        self._included: dict[_Owner, tuple[_Owner, str]] = {}
        # The functions and the controllers of Litestar that decorators are of.
        self._handlers: dict[ast.AST, _Owner] = {}
        # What has the routes of Starlette's lists, and the lists.
        self._listed: dict[ast.AST, _Owner] = {}
        self._lists: dict[_Owner, ast.expr] = {}
        for nodes in self._nodes.values():
            for name, value, _ in assigned(nodes):
                if (given := text(value)) is not None:
                    self._names.setdefault(name, given)
        for path, nodes in self._nodes.items():
            self._lists |= {(path, name): value for name, value, _ in assigned(nodes) if isinstance(value, _LIST)}
        for path, nodes in self._nodes.items():
            for name, value, _ in assigned(nodes):
                if isinstance(value, ast.Call) and last(value.func).endswith("Router"):
                    self._prefixes[path, name] = self._text(keyword(value, "prefix")) or ""
            self._declarative(path, nodes)
            for node in nodes:
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
                    self._include(path, node, node.func)

    def all(self) -> Iterator[Probe]:
        """Yield the path of each route with its place."""
        for path, nodes in self._nodes.items():
            for node in nodes:
                if isinstance(node, ast.Call) and last(node.func) in _METHODS:
                    given = node.args[0] if node.args else keyword(node, "path")
                    owner = self._owner(node.func.value, path) if isinstance(node.func, ast.Attribute) else ("", "")
                    owner = self._handlers.get(node) or self._listed.get(node) or owner
                    route = _slashed(self._text(given)) if node in self._handlers else self._text(given)
                    if route is not None and (not route or route.startswith("/")):
                        full = self._full(route, owner)
                        if _PATH.fullmatch(full):
                            yield full, f"{path}:{node.lineno}"

    def _declarative(self, path: str, nodes: list[ast.AST]) -> None:
        """Record the routes that lists of Litestar and of Starlette have."""
        names = {value: name for name, value, _ in assigned(nodes) if isinstance(value, ast.Call)}
        for node in nodes:
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                self._handle(path, node)
            elif isinstance(node, ast.Call) and last(node.func) in _OWNERS:
                self._register(path, node, names.get(node, ast.unparse(node)))

    def _handle(self, path: str, node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        """Record the owner of Litestar's decorators: a function, or a controller with its path."""
        functions: list[ast.AST] = [node]
        if isinstance(node, ast.ClassDef):
            if not any(last(base).endswith("Controller") for base in node.bases):
                return
            self._prefixes[path, node.name] = _slashed(
                next((self._text(value) for name, value, _ in assigned(node.body) if name == "path"), "")
            )
            functions = [*node.body]
        for one in functions:
            if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef):
                for decorator in one.decorator_list:
                    if isinstance(decorator, ast.Call) and isinstance(decorator.func, ast.Name):
                        self._handlers.setdefault(decorator, (path, node.name))

    def _register(self, path: str, node: ast.Call, name: str) -> None:
        """Record what a router, a mount or an application has in lists, with its path."""
        own = path, name
        if last(node.func) == "Mount":
            self._prefixes[own] = _slashed(self._text(node.args[0] if node.args else keyword(node, "path")))
            if mounted := next(iter([*node.args[1:2], keyword(node, "app")]), None):
                self._included[self._owner(mounted, path)] = (own, "")
        elif handlers := keyword(node, "route_handlers"):
            self._prefixes[own] = _slashed(self._text(keyword(node, "path")) or self._text(next(iter(node.args), None)))
            for one in handlers.elts if isinstance(handlers, _LIST) else ():
                self._included[self._owner(one, path)] = (own, "")
        routes = keyword(node, "routes")
        routes = self._lists.get(self._owner(routes, path)) if isinstance(routes, ast.Name) else routes
        for one in routes.elts if isinstance(routes, _LIST) else ():
            self._listed[one] = own
            self._included.setdefault(self._owner(one, path), (own, ""))

    def _include(self, path: str, node: ast.Call, function: ast.Attribute) -> None:
        parent = self._owner(function.value, path)
        if function.attr == "include_router":
            self._included[self._owner(node.args[0], path)] = (parent, self._text(keyword(node, "prefix")) or "")
        elif function.attr == "mount" and len(node.args) > 1:
            self._included[self._owner(node.args[1], path)] = (parent, self._text(node.args[0]) or "")

    def _full(self, route: str, owner: _Owner) -> str:
        for _ in range(_DEEPEST):
            route = self._prefixes.get(owner, "") + route
            if owner not in self._included:
                break
            owner, prefix = self._included[owner]
            route = prefix + route
        return route

    def _owner(self, node: ast.expr, path: str) -> _Owner:
        if isinstance(node, ast.Name):
            file, name = self._origins[path].get(node.id, ("", ""))
            return (file, name) if name else (path, node.id)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            file, name = self._origins[path].get(node.value.id, ("", ""))
            if file and not name:
                return file, node.attr
        return path, ast.unparse(node)

    def _text(self, node: ast.expr | None) -> str | None:
        """Return the text that an expression gives; a setting gives its default."""
        if isinstance(node, ast.Name | ast.Attribute):
            return self._names.get(last(node))
        if isinstance(node, ast.JoinedStr):
            return self._joined([one.value if isinstance(one, ast.FormattedValue) else one for one in node.values])
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            return self._joined([node.left, node.right])
        return text(node)

    def _joined(self, nodes: list[ast.expr]) -> str | None:
        parts = [self._text(one) for one in nodes]
        return None if None in parts else "".join(part or "" for part in parts)


def _slashed(path: str | None) -> str:
    """Return a path of Litestar with a slash before it and none behind it; it is empty where it is not known."""
    return f"/{path.strip('/')}" if path and path.strip("/") else ""
