"""Read pyproject.toml files that any tool may have written."""

from __future__ import annotations

import posixpath
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

from prodlock import configuration
from prodlock.failure import Failure
from prodlock.scaffold.tree import Tree

NAME = "pyproject.toml"
# The tables and the lists of texts that are read in a project's own files.
_TABLES = (
    "project", "project.optional-dependencies", "dependency-groups", "tool", "tool.poetry", "tool.poetry.group",
    "tool.poetry.dependencies", "tool.poetry.extras", "tool.uv", "tool.uv.workspace", "tool.pytest",
    "tool.pytest.ini_options", "tool.alembic",
)  # fmt: skip
_LISTS = ("tool.uv.workspace.members", "tool.uv.workspace.exclude")
_TEXTS = ("project.name", "project.requires-python", "tool.poetry.dependencies.python", "tool.alembic.script_location")


def read(tree: Tree, path: str) -> Mapping[str, Any]:
    """Return the content of a TOML file, which is empty where it can't be read."""
    try:
        return tomllib.loads(tree.text(path))
    except (ValueError, RecursionError):
        return {}


def at(given: object, *keys: str) -> object:
    """Return the value at keys, or None where a table or a key is missing."""
    for key in keys:
        given = given.get(key) if isinstance(given, Mapping) else None
    return given


def table(given: object, *keys: str) -> Mapping[str, Any]:
    """Return the table at keys, which is empty where there is none."""
    found = at(given, *keys)
    return found if isinstance(found, Mapping) else {}


def texts(given: object, *keys: str) -> list[str]:
    """Return the texts of a list at keys, or the words of one text."""
    found = at(given, *keys)
    if isinstance(found, str):
        return found.split()
    return [one for one in found if isinstance(one, str)] if isinstance(found, list) else []


def tables(given: object, *keys: str) -> list[Mapping[str, Any]]:
    """Return the tables of a list at keys."""
    found = at(given, *keys)
    return [one for one in found if isinstance(one, Mapping)] if isinstance(found, list) else []


def own(tree: Tree, place: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the project's own files, that in a folder and that at the root, with their content."""
    for folder in dict.fromkeys((place, ".")):
        path = posixpath.normpath(f"{folder}/{NAME}")
        if tree.has(path):
            yield path, read(tree, path)


def check(tree: Tree, path: str) -> None:
    """Raise Failure where a file of the project is not valid, or a key of it has a wrong type."""
    if not tree.has(path):
        return
    try:
        content = configuration.toml(tree.root / path)
    except (OSError, ValueError, RecursionError) as error:
        raise Failure(f"{path} must be a TOML file that can be read (got: {error}). To fix it: correct it.") from None
    kinds: tuple[tuple[tuple[str, ...], type, str], ...] = (
        (_TABLES, dict, "a table"), (_LISTS, list, "a list of texts"), (_TEXTS, str, "a text"),
    )  # fmt: skip
    for names, kind, text in kinds:
        for name in names:
            value = at(content, *name.split("."))
            if value is not None and not _is(value, kind):
                raise Failure(f"{path}: `{name}` must be {text} (got {value!r}). To fix it: correct it.")
    for pattern in (*texts(content, "tool", "uv", "workspace", "members"),
                    *texts(content, "tool", "uv", "workspace", "exclude")):  # fmt: skip
        if not pattern or pattern.startswith("/"):
            raise Failure(
                f"{path}: the members of a workspace must be folders in it (got {pattern!r}). To fix it: correct them."
            )


def _is(value: object, kind: type) -> bool:
    return isinstance(value, kind) and (not isinstance(value, list) or all(isinstance(one, str) for one in value))
