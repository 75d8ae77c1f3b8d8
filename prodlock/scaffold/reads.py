"""Find the routes that a service has for probes, and the variables that it reads."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator

from prodlock import variables
from prodlock.scaffold.declared import COMPOSE, DOCKERFILES
from prodlock.scaffold.tree import Tree

_HEALTH = re.compile(r"(?:.*/)?(?:healthz?|health[-_]?check|livez?|liveness|ping|status|heartbeat|__heartbeat__)/?")
_READY = re.compile(r"(?:.*/)?(?:readyz?|readiness|health/ready)/?")
_METHODS = frozenset({"get", "api_route", "route", "add_api_route", "add_route", "Route", "head"})
_USUAL = re.compile(r"HOME|PATH|HOSTNAME|USER|TMPDIR|LANG|TZ|LC_\w+|PYTHON\w*|VIRTUAL_ENV|PWD")


def probes(tree: Tree, paths: Iterable[str]) -> tuple[tuple[str, str], tuple[str, str]]:
    """Return the paths of health and readiness with their places; empty where the service has none."""
    routes = list(_routes(tree, paths))
    declared = [
        (found, path)
        for path in (
            *tree.named(DOCKERFILES),
            *tree.named(COMPOSE),
            *tree.named(r"[^/]*(?:deploy|k8s|pod)[^/]*\.ya?ml"),
        )
        for found in re.findall(
            r"(?:localhost|127\.0\.0\.1|0\.0\.0\.0):\d+(/[\w./-]*)|httpGet:\s*\n?\s*path:\s*([\w./-]+)", tree.text(path)
        )
    ]
    named = [("".join(found), path) for found, path in declared]
    ready = next((one for one in routes if _READY.fullmatch(one[0])), ("", ""))
    health = [one for one in routes if _HEALTH.fullmatch(one[0])]
    for path, where in named:
        for route, line in routes:
            # The prefix of a route may be a setting.
            if path.rstrip("/") not in {"", ready[0]} and path.rstrip("/").endswith(route.rstrip("/")) and route != "/":
                return (path, f"{where}, {line}"), ready
    order = ("health", "live", "ping")
    health.sort(key=lambda one: next((n for n, word in enumerate(order) if word in one[0]), len(order)))
    return (health[0] if health else ("", "")), ready


def environment(tree: Tree, paths: Iterable[str]) -> dict[str, str]:
    """Return the variables that modules read, with their places."""
    found: dict[str, str] = {}
    paths = list(paths)
    # A class of settings may inherit from one of another module.
    classes = {
        node.name: node for path in paths for node in ast.walk(tree.module(path)) if isinstance(node, ast.ClassDef)
    }
    for path in paths:
        for name, line in _variables(tree.module(path), classes):
            if variables.VARIABLE.fullmatch(name) and not _USUAL.fullmatch(name) and not variables.decides_code(name):
                found.setdefault(name, f"{path}:{line}")
    return dict(sorted(found.items()))


def _text(node: ast.expr | None, names: dict[str, str]) -> str | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if isinstance(node, ast.Attribute):
        # A setting: its default, where it has one.
        return names.get(node.attr)
    if isinstance(node, ast.JoinedStr):
        parts = [_text(one.value if isinstance(one, ast.FormattedValue) else one, names) for one in node.values]
        return None if None in parts else "".join(part or "" for part in parts)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = _text(node.left, names), _text(node.right, names)
        return None if left is None or right is None else left + right
    return None


def _routes(tree: Tree, paths: Iterable[str]) -> Iterator[tuple[str, str]]:  # noqa: C901, PLR0912
    """Yield the paths of routes with their places, under the prefixes of their routers."""
    names: dict[str, str] = {}
    prefixes: dict[tuple[str, str], str] = {}
    included: dict[tuple[str, str], tuple[tuple[str, str], str]] = {}
    modules = {path: tree.module(path) for path in paths}
    for module in modules.values():
        for node in ast.walk(module):
            target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
            value = getattr(node, "value", None)
            if isinstance(target, ast.Name) and isinstance(value, ast.Constant) and isinstance(value.value, str):
                names.setdefault(target.id, value.value)
    origins = {path: _origins(tree, path, module) for path, module in modules.items()}
    for path, module in modules.items():
        for node in ast.walk(module):
            if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Call):
                target = node.targets[0] if isinstance(node, ast.Assign) else node.target
                if isinstance(target, ast.Name) and ast.unparse(node.value.func).endswith("Router"):
                    prefixes[path, target.id] = _text(_keyword(node.value, "prefix"), names) or ""
    for path, module in modules.items():
        for node in ast.walk(module):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr == "include_router"
                and node.args
            ):
                child = _origin(node.args[0], path, origins[path])
                parent = _origin(node.func.value, path, origins[path])
                included[child] = (parent, _text(_keyword(node, "prefix"), names) or "")
    for path, module in modules.items():
        for node in ast.walk(module):
            if not isinstance(node, ast.Call):
                continue
            function = node.func
            called = function.attr if isinstance(function, ast.Attribute) else ast.unparse(function)
            given = node.args[0] if node.args else _keyword(node, "path")
            route = _text(given, names)
            if called not in _METHODS or route is None or (not route.startswith("/") and route):
                continue
            owner = _origin(function.value, path, origins[path]) if isinstance(function, ast.Attribute) else (path, "")
            for _ in range(8):
                route = prefixes.get(owner, "") + route
                if owner not in included:
                    break
                owner, prefix = included[owner]
                route = prefix + route
            if re.fullmatch(r"(/[A-Za-z0-9._~-]+)+/?", route):
                yield route, f"{path}:{node.lineno}"


def _origins(tree: Tree, path: str, module: ast.Module) -> dict[str, tuple[str, str]]:  # noqa: ARG001
    """Return the module's file and the name that each imported name stands for."""
    found = {}
    for node in ast.walk(module):
        if isinstance(node, ast.ImportFrom):
            base = (node.module or "").replace(".", "/")
            for one in node.names:
                for suffix, name in ((f"{base}/{one.name}.py", ""), (f"{base}/{one.name}/__init__.py", ""),
                                     (f"{base}.py", one.name), (f"{base}/__init__.py", one.name)):  # fmt: skip
                    file = next((file for file in tree.python if f"/{file}".endswith(f"/{suffix.lstrip('/')}")), None)
                    if file:
                        found[one.asname or one.name] = (file, name)
                        break
    return found


def _origin(node: ast.expr, path: str, origins: dict[str, tuple[str, str]]) -> tuple[str, str]:
    if isinstance(node, ast.Name):
        return origins.get(node.id, (path, node.id))
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in origins:
        return origins[node.value.id][0], node.attr
    return path, ast.unparse(node)


def _keyword(node: ast.Call, name: str) -> ast.expr | None:
    return next((one.value for one in node.keywords if one.arg == name), None)


def _variables(module: ast.Module, classes: dict[str, ast.ClassDef]) -> Iterator[tuple[str, int]]:
    for node in ast.walk(module):
        if isinstance(node, ast.Subscript) and ast.unparse(node.value) in {"os.environ", "environ"}:
            if isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, str):
                yield node.slice.value, node.lineno
        elif isinstance(node, ast.Call) and node.args:
            called, first = ast.unparse(node.func), node.args[0]
            if isinstance(first, ast.Constant) and isinstance(first.value, str) and re.fullmatch(
                r"(?:os\.)?(?:getenv|environ\.(?:get|pop|setdefault))|(?:auto)?config|env(?:\.\w+)?", called
            ) and re.fullmatch(r"[A-Z_][A-Z0-9_]*", first.value):  # fmt: skip
                yield first.value, node.lineno
    for node in ast.walk(module):
        if isinstance(node, ast.ClassDef) and _is_settings(node, classes):
            yield from _fields(node)


def _is_settings(node: ast.ClassDef, classes: dict[str, ast.ClassDef], depth: int = 0) -> bool:
    return depth < 8 and any(  # noqa: PLR2004
        (name := ast.unparse(one).rpartition(".")[2]).endswith("BaseSettings")
        or (name in classes and _is_settings(classes[name], classes, depth + 1))
        for one in node.bases
    )


def _fields(node: ast.ClassDef) -> Iterator[tuple[str, int]]:
    prefix = ""
    for inner in ast.walk(node):
        if isinstance(inner, ast.keyword) and inner.arg == "env_prefix" and isinstance(inner.value, ast.Constant):
            prefix = str(inner.value.value)
        elif isinstance(inner, ast.Assign) and ast.unparse(inner.targets[0]) == "env_prefix":
            prefix = str(getattr(inner.value, "value", ""))
    for field in node.body:
        if not isinstance(field, ast.AnnAssign) or not isinstance(field.target, ast.Name):
            continue
        name = field.target.id
        if name.startswith("_") or name == "model_config" or "ClassVar" in ast.unparse(field.annotation):
            continue
        calls = [one for part in (field.value, field.annotation) if part for one in ast.walk(part)]
        aliases = [
            text.value
            for call in calls
            if isinstance(call, ast.Call)
            for one in call.keywords
            if one.arg in {"validation_alias", "alias", "env"}
            for text in ast.walk(one.value)
            if isinstance(text, ast.Constant) and isinstance(text.value, str)
        ]
        for text in [alias.upper() for alias in aliases] or [(prefix + name).upper()]:
            yield text, field.lineno
