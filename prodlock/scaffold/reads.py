"""Find the variables that a service reads."""

from __future__ import annotations

import ast
import contextlib
import re
from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from prodlock import variables
from prodlock.scaffold import dynaconf
from prodlock.scaffold.modules import assigned, keyword, last, text
from prodlock.scaffold.tree import Tree

# What a container or an interpreter has in any case; PORT is the one that Compose publishes on the host.
_USUAL = re.compile(r"PORT|HOME|PATH|HOSTNAME|USER|TMPDIR|LANG|TZ|LC_\w+|PYTHON\w*|VIRTUAL_ENV|PWD")
_METHODS = frozenset({"get", "pop", "setdefault"})
# Classes of environs, starlette and decouple, whose objects read a variable when they are called.
_READERS = frozenset({"Env", "FileAwareEnv", "Config", "AutoConfig", "RepositoryEnv"})
# The variables of django-environ's methods without a name.
_URLS = {
    "db": "DATABASE_URL", "db_url": "DATABASE_URL", "cache": "CACHE_URL", "cache_url": "CACHE_URL",
    "email": "EMAIL_URL", "email_url": "EMAIL_URL", "search_url": "SEARCH_URL", "channels_url": "CHANNELS_URL",
}  # fmt: skip
# The function of dj_database_url, and the variable that it reads where it is given none.
_DATABASE, _DATABASE_URL = "dj_database_url", "DATABASE_URL"
# Classes may inherit from others.
_DEEPEST = 8


class Variable(NamedTuple):
    """Where a variable is read, and whether its reader fails, or may fail, where it is not set."""

    where: str
    is_required: bool


class _Read(NamedTuple):
    """One expression that reads a variable."""

    name: str
    line: int
    is_required: bool = False


def environment(tree: Tree, paths: Iterable[str]) -> dict[str, Variable]:
    """Return the variables that modules read. One with a default in one place is not required."""
    found: dict[str, Variable] = {}
    paths = list(paths)
    settings = _Settings(tree, paths)
    helpers = {name for path in paths for name in _helpers(tree.module(path))}
    for path in paths:
        for one in (*_read(tree.module(path), helpers), *settings.fields(path)):
            if is_variable(one.name):
                where, is_required = found.get(one.name, (f"{path}:{one.line}", True))
                found[one.name] = Variable(where, is_required and one.is_required)
    for name, where in dynaconf.variables(tree, paths).items():
        if is_variable(name):
            found.setdefault(name, Variable(where, is_required=False))
    return dict(sorted(found.items()))


def is_variable(name: str) -> bool:
    """Return whether a name is one of a variable that a container does not have in any case."""
    return bool(variables.VARIABLE.fullmatch(name)) and not _USUAL.fullmatch(name)


class _Environ:
    """The names that a module has for `os.environ` and `os.getenv`."""

    def __init__(self, nodes: Iterable[ast.AST]) -> None:
        nodes = list(nodes)
        imported = [
            (node.module if isinstance(node, ast.ImportFrom) else "", one.name, one.asname or one.name)
            for node in nodes
            if isinstance(node, ast.Import | ast.ImportFrom)
            for one in node.names
        ]
        modules = {"os", *(alias for module, name, alias in imported if (module, name) == ("", "os"))}
        self._mappings = {"environ", *(f"{module}.environ" for module in modules)}
        self._mappings |= {alias for module, name, alias in imported if (module, name) == ("os", "environ")}
        self._mappings |= {name for name, value, _ in assigned(nodes) if _dotted(value) in self._mappings}
        self._functions = {f"{module}.getenv" for module in modules}
        self._functions |= {alias for module, name, alias in imported if (module, name) == ("os", "getenv")}
        self._functions |= {f"{one}.get" for one in self._mappings}
        self._functions |= {name for name, value, _ in assigned(nodes) if _dotted(value) in self._functions}

    def key(self, node: ast.AST) -> ast.expr | None:
        """Return the name of the variable that an expression reads, or None where it reads none."""
        if isinstance(node, ast.Subscript):
            return node.slice if _dotted(node.value) in self._mappings else None
        if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.In | ast.NotIn):
            return node.left if _dotted(node.comparators[0]) in self._mappings else None
        if not isinstance(node, ast.Call):
            return None
        called = node.func
        reads = _dotted(called) in self._functions or (
            isinstance(called, ast.Attribute) and called.attr in _METHODS and _dotted(called.value) in self._mappings
        )
        return (node.args[0] if node.args else keyword(node, "key")) if reads else None


def _dotted(node: ast.expr) -> str:
    """Return a dotted name, or an empty string for another expression."""
    return ast.unparse(node) if isinstance(node, ast.Name | ast.Attribute) else ""


def _helpers(module: ast.Module) -> Iterator[str]:
    """Yield the functions of a module that read the variable that their first argument names."""
    environ = _Environ(ast.walk(module))
    for function in ast.walk(module):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            names = [one.arg for one in (*function.args.posonlyargs, *function.args.args) if one.arg != "self"][:1]
            keys = (environ.key(node) for node in ast.walk(function))
            if any(isinstance(key, ast.Name) and key.id in names for key in keys):
                yield function.name


def _read(module: ast.Module, helpers: AbstractSet[str]) -> Iterator[_Read]:
    """Yield the variables that a module reads by name."""
    nodes = list(ast.walk(module))
    environ = _Environ(nodes)
    # A handler of the error may follow.
    tried = {one for node in nodes if isinstance(node, ast.Try) for part in node.body for one in ast.walk(part)}
    # With the prefix of the variables.
    readers = {
        name: text(keyword(value, "env_prefix", "prefix")) or ""
        for name, value, _ in assigned(nodes)
        if isinstance(value, ast.Call) and last(value.func) in _READERS
    }
    # django-environ's `Env(DEBUG=(bool, False))`
    defaults = {
        one.arg
        for _, value, _ in assigned(nodes)
        if isinstance(value, ast.Call) and last(value.func) in _READERS
        for one in value.keywords
    }
    inner = _prefixed(nodes)
    constants = {name: text(value) for name, value, _ in assigned(module.body)}
    looped = _looped(module, nodes)
    imported = {
        one.asname or one.name
        for node in nodes
        if isinstance(node, ast.ImportFrom)
        for one in node.names
        if one.name in {"config", "env"}
    }
    databases = _databases(nodes)
    for node in nodes:
        keys, prefix = [environ.key(node)], ""
        is_required = isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load) and node not in tried
        if isinstance(node, ast.Call):
            called = node.func
            has_default = len(node.args) > 1 or bool(keyword(node, "default")) or node in tried
            # `env.str("X")`
            owner = last(called.value) if isinstance(called, ast.Attribute) else last(called)
            by_helper = last(called) in helpers and (isinstance(called, ast.Name) or last(called) not in _METHODS)
            if owner in readers and not node.args and last(called) in _URLS:
                yield _Read(_URLS[last(called)], node.lineno, not has_default)
            if _dotted(called) in databases:
                named = node.args[0] if node.args else keyword(node, "env")
                yield _Read(text(named) or _DATABASE_URL, node.lineno)
            if last(called) != "prefixed" and (
                _dotted(called) == "decouple.config"
                or owner in readers
                or last(called) in imported
                or by_helper
                or (owner in imported and owner == "env")
            ):
                is_required = not (has_default or by_helper)
                prefix = readers.get(owner, "") + inner.get(node, "")
                keys += node.args[:1] or [one.value for one in node.keywords[:1] if by_helper]
            # Options of typer and click, one or several.
            named = keyword(node, "envvar")
            keys += named.elts if isinstance(named, ast.List | ast.Tuple) else [named]
        for key in keys:
            names = [constants.get(key.id), *looped.get(key.id, ())] if isinstance(key, ast.Name) else [text(key)]
            for name in names:
                if name and variables.VARIABLE.fullmatch(prefix + name):
                    yield _Read(prefix + name, getattr(node, "lineno", 0), is_required and name not in defaults)


def _databases(nodes: Iterable[ast.AST]) -> set[str]:
    """Return the names that a module has for the function `config` of dj_database_url."""
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {f"{one.asname or one.name}.config" for one in node.names if one.name == _DATABASE}
        elif isinstance(node, ast.ImportFrom) and node.module == _DATABASE:
            found |= {one.asname or one.name for one in node.names if one.name == "config"}
    return found


def _looped(module: ast.Module, nodes: Iterable[ast.AST]) -> dict[str, list[str | None]]:
    """Return the texts that the variables of loops over lists have."""
    lists = {name: value for name, value, _ in assigned(module.body)}
    found: dict[str, list[str | None]] = {}
    for node in nodes:
        if isinstance(node, ast.For | ast.comprehension) and isinstance(node.target, ast.Name):
            items = lists.get(node.iter.id) if isinstance(node.iter, ast.Name) else node.iter
            if isinstance(items, ast.List | ast.Tuple | ast.Set):
                found.setdefault(node.target.id, []).extend(map(text, items.elts))
    return found


def _prefixed(nodes: Iterable[ast.AST]) -> dict[ast.AST, str]:
    """Return the prefixes of the expressions in blocks such as `with env.prefixed("X_"):`."""
    found: dict[ast.AST, str] = {}
    for node in (one for one in nodes if isinstance(one, ast.With)):
        for given in (item.context_expr for item in node.items):
            if isinstance(given, ast.Call) and last(given.func) == "prefixed" and given.args:
                for inner in (one for statement in node.body for one in ast.walk(statement)):
                    found[inner] = found.get(inner, "") + (text(given.args[0]) or "")
    return found


class _Settings:
    """The classes of settings of modules; each may inherit from one of another module."""

    def __init__(self, tree: Tree, paths: list[str]) -> None:
        nodes = [(path, node) for path in paths for node in ast.walk(tree.module(path))]
        # Modules may have classes of one name.
        self._classes: dict[str, list[tuple[str, ast.ClassDef]]] = {}
        for path, node in nodes:
            if isinstance(node, ast.ClassDef):
                self._classes.setdefault(node.name, []).append((path, node))
        self._settings = {"BaseSettings"}
        self._settings |= {
            one.asname
            for _, node in nodes
            if isinstance(node, ast.ImportFrom)
            for one in node.names
            if one.name == "BaseSettings" and one.asname
        }
        # The texts that modules assign, for an `env_prefix` with a name.
        self._texts = {
            name: value
            for name, value, _ in assigned(node for _, node in nodes)
            if text(value) or isinstance(value, ast.BinOp | ast.JoinedStr)
        }
        bases = {last(base) for one in self._classes.values() for _, node in one for base in node.bases}
        called = {last(node.func) for _, node in nodes if isinstance(node, ast.Call)}
        # The fields of a class that others inherit from are read with the prefixes of these.
        self._read = (set(self._classes) - bases) | (called & set(self._classes))

    def fields(self, path: str) -> Iterator[_Read]:
        """Yield the variables of the classes that a module defines."""
        for name, classes in self._classes.items():
            for file, node in classes:
                if file == path and name in self._read and self._is_settings(lineage := self._lineage(path, node)):
                    yield from self._of_class(path, lineage)

    def _of_class(self, path: str, lineage: list[ast.ClassDef]) -> Iterator[_Read]:
        options = {key: value for one in reversed(lineage) for key, value in _options(one).items()}
        prefix, delimiter = (self._text(options.get(key)) for key in ("env_prefix", "env_nested_delimiter"))
        exact = options.get("case_sensitive")
        for one in lineage:
            seen: set[ast.AnnAssign] = set()
            for name, field in _fields(one, prefix):
                nested = self._nested(path, field.annotation, name + delimiter, delimiter) if delimiter else ()
                names = [name, *nested]
                # Either a model as a whole or its fields are set, and one of a field's aliases.
                is_required = _is_required(field) and len(names) == 1 and field not in seen
                seen.add(field)
                for each in names:
                    exactly = each if isinstance(exact, ast.Constant) and exact.value else each.upper()
                    yield _Read(exactly, field.lineno, is_required)

    def _nested(
        self, path: str, annotation: ast.expr, prefix: str, delimiter: str, seen: tuple[str, ...] = ()
    ) -> Iterator[str]:
        """Yield the variables of the fields of the models that a field is annotated with."""
        for name in (last(one) for one in _walked(annotation) if isinstance(one, ast.Name | ast.Attribute)):
            if name in self._classes and name not in seen:
                for one in self._lineage(path, self._class(path, name)):
                    for inner, field in _fields(one, prefix, aliased=prefix):
                        yield inner
                        yield from self._nested(path, field.annotation, inner + delimiter, delimiter, (*seen, name))

    def _class(self, path: str, name: str) -> ast.ClassDef:
        """Return the class of a name, that of a module before one of another module."""
        classes = self._classes[name]
        return next((node for file, node in classes if file == path), classes[0][1])

    def _lineage(self, path: str, node: ast.ClassDef) -> list[ast.ClassDef]:
        """Return a class with the classes of the project that it inherits from."""
        found = [node]
        for one in found:
            for name in map(last, one.bases):
                parent = self._class(path, name) if name in self._classes else one
                if parent not in found and len(found) < _DEEPEST:
                    found.append(parent)
        return found

    def _is_settings(self, lineage: list[ast.ClassDef]) -> bool:
        return any(last(base) in self._settings for one in lineage for base in one.bases)

    def _text(self, node: ast.expr | None, depth: int = 0) -> str:
        """Return the text that an expression gives, with the texts of the names in it."""
        parts: list[ast.expr] = []
        if isinstance(node, ast.BinOp):
            parts = [node.left, node.right]
        elif isinstance(node, ast.JoinedStr):
            parts = [one.value if isinstance(one, ast.FormattedValue) else one for one in node.values]
        elif isinstance(node, ast.Name | ast.Attribute) and last(node) in self._texts and depth < _DEEPEST:
            parts = [self._texts[last(node)]]
        return text(node) or "".join(self._text(one, depth + 1) for one in parts)


def _walked(annotation: ast.expr) -> Iterator[ast.AST]:
    """Yield the nodes of an annotation, and of those that are texts in it."""
    for node in ast.walk(annotation):
        yield node
        with contextlib.suppress(SyntaxError, ValueError, RecursionError):
            yield from ast.walk(ast.parse(text(node) or "", mode="exec"))


def _options(node: ast.ClassDef) -> dict[str, ast.expr]:
    """Return the options of a class of settings: of its header, its `model_config` or its class `Config`."""
    found: dict[str, ast.expr] = {}
    for inner in (*node.keywords, *(one for part in node.body for one in _option_nodes(part))):
        if isinstance(inner, ast.keyword) and inner.arg:
            found[inner.arg] = inner.value
        elif isinstance(inner, ast.Dict):
            found |= {text(key) or "": value for key, value in zip(inner.keys, inner.values, strict=True)}
        elif isinstance(inner, ast.Assign):
            found |= {name: value for name, value, _ in assigned([inner])}
    return found


def _option_nodes(part: ast.stmt) -> Iterator[ast.AST]:
    if isinstance(part, ast.ClassDef) and part.name == "Config":
        yield from part.body
    for name, value, _ in assigned([part]):
        if name == "model_config":
            yield from value.keywords if isinstance(value, ast.Call) else [value]


def _fields(node: ast.ClassDef, prefix: str, aliased: str = "") -> Iterator[tuple[str, ast.AnnAssign]]:
    """Yield the fields of a class with the names of their variables; an alias has another prefix."""
    for field in node.body:
        if not isinstance(field, ast.AnnAssign) or not isinstance(field.target, ast.Name):
            continue
        name = field.target.id
        if name.startswith("_") or name == "model_config" or "ClassVar" in ast.unparse(field.annotation):
            continue
        for one in [aliased + alias for alias in _aliases(field)] or [prefix + name]:
            yield one, field


def _is_required(field: ast.AnnAssign) -> bool:
    """Return whether a field of a class of settings has no default."""
    value = field.value
    annotated = [one for one in ast.walk(field.annotation) if isinstance(one, ast.Call)]
    calls = [value] if isinstance(value, ast.Call) and last(value.func) == "Field" else annotated
    if any(keyword(one, "default") or keyword(one, "default_factory") for one in calls):
        return False
    if isinstance(value, ast.Call) and last(value.func) == "Field":
        value = value.args[0] if value.args else None
    return value is None or (isinstance(value, ast.Constant) and value.value is ...)


def _aliases(field: ast.AnnAssign) -> list[str]:
    """Return the names that a field has instead of its own."""
    calls = [one for part in (field.value, field.annotation) if part for one in ast.walk(part)]
    values = [
        keyword(one, "validation_alias") or keyword(one, "alias") or keyword(one, "env")
        for one in calls
        if isinstance(one, ast.Call)
    ]
    return [name for value in values if value for one in ast.walk(value) if (name := text(one))]
