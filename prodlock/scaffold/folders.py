"""Find the files and folders of data that a project's modules name by a path."""

from __future__ import annotations

import ast
import posixpath
import re
from collections.abc import Iterator

from prodlock.scaffold.modules import Modules, assigned, keyword, last, text
from prodlock.scaffold.tree import is_inside, is_test

# Classes with an argument that names folders.
_READERS = {
    "Jinja2Templates": "directory",
    "StaticFiles": "directory",
    "FileSystemLoader": "searchpath",
    # Names of Litestar.
    "TemplateConfig": "directory",
    "create_static_files_router": "directories",
    "StaticFilesConfig": "directories",
}
# The options of Quart that name folders beside the module, and their defaults.
_BESIDE = (("static_folder", "static"), ("template_folder", "templates"))
# Functions and methods that return the path that they are given.
_SAME = frozenset({
    "Path", "PurePath", "PosixPath", "resolve", "absolute", "abspath", "realpath", "normpath", "as_posix", "str",
    "fspath", "expanduser",
})  # fmt: skip
# A name may stand for another one.
_DEEPEST = 12
# A longer text is not a path.
_LONGEST = 200


class Folders:
    """The paths that modules name: those that begin with a slash are relative to the root, others to a folder."""

    def __init__(self, modules: Modules, paths: list[str], folders: list[str], place: str) -> None:
        self._modules = modules
        self._paths = paths
        self._place = place
        self._values = {path: _names(modules.tree.module(path)) for path in paths}
        self._origins = {path: modules.origins(path, folders) for path in paths}

    def named(self) -> dict[str, str]:
        """Return the paths of data, relative to the root, with their places."""
        found: dict[str, str] = {}
        for path in self._paths:
            for value, line in self._of_module(path):
                place = self._place_of(value)
                # A folder that has the module is one of the sources.
                if not place.startswith("..") and not is_inside(path, place) and not _is_private(place):
                    found.setdefault(place, f"{path}:{line}")
        return found

    def _of_module(self, path: str) -> Iterator[tuple[str, int]]:
        waiting: list[ast.AST] = [self._modules.tree.module(path)]
        while waiting:
            node = waiting.pop()
            read = [value for one in _read(node) if (value := self._value(one, path)) is not None]
            read += [*self._files(node, path), *self._beside(node, path), *self._listed(node, path)]
            joined = self._value(node, path) if _joins(node) else None
            line = getattr(node, "lineno", 0)
            yield from ((one, line) for one in read)
            # A path that begins with `__file__`, and that exists. Its parts are other paths.
            if joined and joined.startswith("/") and self._exists(joined):
                yield joined, line
            # What git ignores is made by a build or a run, and the folder around it is not meant.
            elif not (joined and joined.startswith("/") and self._modules.tree.ignored(_inside(joined))):
                waiting += ast.iter_child_nodes(node)

    def _files(self, node: ast.AST, path: str) -> Iterator[str]:
        """Yield the file of the project that an expression names, or the folder of those that a pattern matches."""
        name = self._place_of(self._pattern(node, path)) if _names_file(node) else ""
        before, star, after = name.partition("*")
        folder = posixpath.dirname(before)
        if name and not star and self._modules.tree.has(name):
            yield f"/{name}"
        elif folder and "." in after.rpartition("*")[2]:
            # A value decides which of them is read.
            whole = re.compile("[^/]+".join(map(re.escape, name.split("*"))))
            if any(whole.fullmatch(file) for file in self._modules.tree.files):
                yield f"/{folder}"

    def _beside(self, node: ast.AST, path: str) -> Iterator[str]:
        """Yield the folders that an application of Quart reads."""
        if isinstance(node, ast.Call) and last(node.func) == "Quart":
            for option, default in _BESIDE:
                given = keyword(node, option)
                value = self._value(given, path) if given else default
                place = posixpath.join(f"/{posixpath.dirname(path)}", value or "")
                if value and self._exists(place):
                    yield place

    def _listed(self, node: ast.AST, path: str) -> Iterator[str]:
        """Yield the folder of the project whose files an expression lists."""
        if isinstance(node, ast.Call) and last(node.func) in {"glob", "rglob", "iterdir", "listdir", "scandir", "walk"}:
            method = node.func.value if isinstance(node.func, ast.Attribute) else None
            for one in (method, *node.args[:1], keyword(node, "path", "top")):
                value = self._value(one, path) if one else None
                if value and self._modules.tree.has_folder(self._place_of(value)):
                    yield value

    def _pattern(self, node: ast.AST, path: str, depth: int = 0) -> str:
        """Return the path that an expression gives, with a star for each part that is not certain."""
        given = text(node)
        if given is not None:
            return re.sub(r"\{\w*\}|%s", "*", given)
        parts, separator = _split(node)
        if not parts or depth > _DEEPEST:
            return self._value(node, path) or "*"
        return separator.join(self._pattern(one, path, depth + 1) for one in parts)

    def _place_of(self, value: str) -> str:
        """Return a path relative to the root."""
        return posixpath.normpath(value.lstrip("/") if value.startswith("/") else f"{self._place}/{value}")

    def _exists(self, value: str) -> bool:
        place = _inside(value)
        return self._modules.tree.has(place) or self._modules.tree.has_folder(place)

    def _value(self, node: ast.AST, path: str, depth: int = 0) -> str | None:
        """Return the path that an expression gives, or None where that is not certain."""
        given = text(node)
        if given is not None or depth > _DEEPEST:
            # Nothing of the project has an absolute path.
            return None if given is None or given.startswith("/") else given
        if isinstance(node, ast.Name):
            return self._name(node.id, path, depth)
        if isinstance(node, ast.Attribute | ast.Subscript):
            return self._attribute(node, path, depth)
        if isinstance(node, ast.Call):
            return self._call(node, path, depth)
        parts, separator = _split(node)
        return self._joined(parts, path, depth, separator) if parts else None

    def _joined(self, parts: list[ast.expr], path: str, depth: int, separator: str) -> str | None:
        values = []
        for index, one in enumerate(parts):
            value = one.value if index and isinstance(one, ast.Constant) else self._value(one, path, depth + 1)
            if not isinstance(value, str):
                return None
            values.append(value)
        return separator.join(values)

    def _name(self, name: str, path: str, depth: int) -> str | None:
        if name == "__file__":
            return f"/{path}"
        if name in self._values[path]:
            return self._value(self._values[path][name], path, depth + 1)
        file, origin = self._origins[path].get(name, ("", ""))
        return self._name(origin, file, depth + 1) if origin and file in self._values and depth < _DEEPEST else None

    def _attribute(self, node: ast.Attribute | ast.Subscript, path: str, depth: int) -> str | None:
        if isinstance(node, ast.Subscript):
            # `parents[1]`
            if isinstance(node.value, ast.Attribute) and node.value.attr == "parents":
                count = node.slice.value if isinstance(node.slice, ast.Constant) else None
                value = self._value(node.value.value, path, depth + 1)
                return _parent(value, count + 1) if value and isinstance(count, int) else None
            return None
        if node.attr == "parent":
            return _parent(self._value(node.value, path, depth + 1), 1)
        if isinstance(node.value, ast.Name):
            file, origin = self._origins[path].get(node.value.id, ("", ""))
            if file in self._values and not origin:
                return self._name(node.attr, file, depth + 1)
        # A setting: the default of the only one with this name.
        values = {file: one[node.attr] for file, one in self._values.items() if node.attr in one}
        return self._value(*next((one, file) for file, one in values.items()), depth + 1) if len(values) == 1 else None

    def _call(self, node: ast.Call, path: str, depth: int) -> str | None:
        called, arguments = last(node.func), node.args
        method = isinstance(node.func, ast.Attribute) and node.func.value
        if called == "dirname" and arguments:
            return _parent(self._value(arguments[0], path, depth + 1), 1)
        if called in {"cwd", "getcwd"}:
            return posixpath.normpath(f"/{self._place}")
        if called == "joinpath" and method:
            return self._joined([method, *arguments], path, depth, "/")
        if called in {"join", *_SAME} and arguments:
            return self._joined(arguments, path, depth, "/")
        return self._value(method, path, depth + 1) if called in _SAME and method else None


def _read(node: ast.AST) -> Iterator[ast.expr]:
    """Yield the arguments of a call that name folders."""
    if isinstance(node, ast.Call) and (folder := keyword(node, "localedir")):
        yield folder
    if isinstance(node, ast.Call) and last(node.func) in _READERS:
        value = keyword(node, _READERS[last(node.func)]) or next(iter(node.args), None)
        yield from value.elts if isinstance(value, ast.List | ast.Tuple) else [value] if value else []


def _names_file(node: ast.AST) -> bool:
    """Return whether an expression may name a file: a text with a suffix, or one that is put together."""
    given = text(node)
    if given is not None:
        return len(given) <= _LONGEST and not given.startswith("/") and bool(re.search(r"[^./]\.\w+$", given))
    return bool(_split(node)[0])


def _split(node: ast.AST) -> tuple[list[ast.expr], str]:
    """Return the parts of an expression that joins them, and what is between them."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div | ast.Add):
        return [node.left, node.right], "/" if isinstance(node.op, ast.Div) else ""
    if isinstance(node, ast.JoinedStr):
        return [one.value if isinstance(one, ast.FormattedValue) else one for one in node.values], ""
    return [], ""


def _joins(node: ast.AST) -> bool:
    """Return whether an expression joins paths."""
    if isinstance(node, ast.BinOp):
        return isinstance(node.op, ast.Div)
    return (
        isinstance(node, ast.Call) and last(node.func) in {"join", "joinpath"} and isinstance(node.func, ast.Attribute)
    )


def _names(module: ast.Module) -> dict[str, ast.expr]:
    """Return the values of the names that a module, or a class of it, assigns."""
    bodies = [module.body, *(node.body for node in module.body if isinstance(node, ast.ClassDef))]
    return {name: value for body in bodies for name, value, _ in assigned(body)}


def _parent(value: str | None, count: int) -> str | None:
    if value is None or not value.startswith("/"):
        return None
    return posixpath.normpath(value + "/.." * count)


def _inside(value: str) -> str:
    return posixpath.normpath(value).lstrip("/")


def _is_private(path: str) -> bool:
    return path == "." or any(part.startswith(".") for part in path.split("/")) or is_test(f"{path}/")
