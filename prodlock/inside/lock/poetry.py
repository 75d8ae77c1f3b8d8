"""Read poetry.lock. A lock that does not match pyproject.toml is refused."""

from __future__ import annotations

import functools
import hashlib
import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from prodlock.inside.lock.selection import (
    Requirement,
    Selection,
    Wanted,
    chosen,
    group,
    index,
    known,
    normalized,
    pyproject,
)

# Poetry's types of its default package index and of any other one.
INDEXES = {"pypi", "legacy"}
# Poetry's types of a file that no index serves.
FILES = {"url", "file"}
# The keys of [project] and of [tool.poetry] that Poetry's content hash covers, beside [dependency-groups].
PROJECT_KEYS = ("requires-python", "dependencies", "optional-dependencies")
POETRY_KEYS = ("dependencies", "source", "extras", "dev-dependencies")
# The first Poetry whose content hash covers [dependency-groups].
WITH_GROUPS = (2, 3)


def select(lock: Path, wanted: Wanted) -> Selection:
    """Return what `poetry install` installs of the groups and extras. Raises ValueError where a lock is refused."""
    text = lock.read_text(encoding="utf-8")
    described, parsed = pyproject(lock.parent), tomllib.loads(text)
    if not is_fresh(described, text):
        message = "pyproject.toml changed significantly since poetry.lock was last generated"
        raise SystemExit(message)
    if any("groups" not in package for package in parsed.get("package", [])):
        message = "it names no groups, which Poetry 2 writes. To fix it: run `inv poetry -- lock`."
        raise ValueError(message)
    groups = declared_groups(described)
    existing = {"main", "dev", *groups, *(name for package in parsed.get("package", []) for name in package["groups"])}
    known("group", [*wanted.groups, *wanted.dev_groups], existing)
    known("extra", wanted.extras, parsed.get("extras", {}))
    extras = frozenset(map(normalized, wanted.extras))
    configured = _with_included(described, {normalized(name) for name in (*wanted.groups, *wanted.dev_groups)})
    select_from = functools.partial(chosen, active=extras, environment=wanted.environment, foreign=wanted.foreign)
    main = select_from(requirements(parsed, wanted.groups))
    everything = select_from(requirements(parsed, [*wanted.groups, *wanted.dev_groups]))
    included = {one for name in configured for one in group(described, name)}
    unused = [
        name
        for name, optional in groups.items()
        if not optional
        and normalized(name) not in configured
        # A group that a configured one includes is installed with it.
        and not ({*group(described, name)} and included.issuperset(group(described, name)))
    ]
    return Selection(main, everything, "fresh", unused)


def _with_included(described: Mapping[str, Any], names: set[str]) -> set[str]:
    """Return groups with those that they include by `include-groups` of Poetry, which are installed with them."""
    own = described.get("tool", {}).get("poetry", {}).get("group", {})
    included = {normalized(name): {*map(normalized, table.get("include-groups", []))} for name, table in own.items()}
    found: set[str] = set()
    while names - found:
        found |= names
        names = names.union(*(included.get(name, set()) for name in names))
    return found


def declared_groups(described: Mapping[str, Any]) -> dict[str, bool]:
    """Return whether each group of a pyproject.toml that has requirements is optional."""
    own = described.get("tool", {}).get("poetry", {}).get("group", {})
    found = {name: table.get("optional", False) for name, table in own.items()}
    return {name: False for name in described.get("dependency-groups", {}) if [*group(described, name)]} | found


def requirements(lock: Mapping[str, Any], groups: Iterable[str]) -> Iterator[Requirement]:
    """Yield the requirements of groups of a parsed poetry.lock, for all environments.

    A package may have several versions, each for other environments.
    """
    names = {normalized(name) for name in groups}
    for package in lock.get("package", []):
        name, version = package["name"], package["version"]
        # `optional` decides nothing: Poetry also sets it for a package that only an extra excludes, and installs that.
        needed = [one for one in package["groups"] if normalized(one) in names]
        source = package.get("source", {"type": "pypi"})
        origin = "" if source["type"] in INDEXES else source["type"]
        files = tuple((file["file"], file["hash"]) for file in package["files"])
        address = index(source["url"]) if needed and source["type"] == "legacy" else ""
        link = source["url"] if origin in FILES else ""
        for one in needed:
            yield Requirement(name, version, files, marker(package.get("markers", ""), one), address, origin, link)


def marker(markers: str | Mapping[str, str], group: str) -> str:
    """Return the marker of a package in a group: the lock has one for all groups, or a table by group."""
    return markers if isinstance(markers, str) else markers.get(group, "")


def pinned(text: str, groups: Iterable[str]) -> Iterator[str]:
    """Yield name and version of each distribution in the groups of a lock's text, for all environments."""
    names = set(groups)
    for package in tomllib.loads(text)["package"]:
        if names & {*package["groups"]}:
            yield f"{package['name']} {package['version']}"


def is_fresh(pyproject: Mapping[str, Any], lock: str) -> bool:
    """Return whether a poetry.lock was made from a pyproject.toml, by its content hash: `poetry check --lock`."""
    stated = tomllib.loads(lock).get("metadata", {}).get("content-hash")
    made_by = re.match(r"#.* Poetry (\d+)\.(\d+)", lock)
    older = made_by is not None and (int(made_by[1]), int(made_by[2])) < WITH_GROUPS
    return stated in {content_hash(pyproject), content_hash(pyproject, with_groups=not older)}


def content_hash(pyproject: Mapping[str, Any], *, with_groups: bool = True) -> str:
    """Return the hash that Poetry writes into the lock of a pyproject.toml."""
    project = {key: pyproject["project"][key] for key in PROJECT_KEYS if key in pyproject.get("project", {})}
    groups = pyproject.get("dependency-groups", {}) if with_groups else {}
    poetry = pyproject.get("tool", {}).get("poetry", {})
    hashed: dict[str, Any] = {key: poetry[key] for key in (*POETRY_KEYS, "group") if key in poetry}
    if project or groups:
        hashed = {"tool": {"poetry": hashed}}
        hashed |= {name: table for name, table in (("project", project), ("dependency-groups", groups)) if table}
    else:
        # The hash of a project that has only [tool.poetry] is that of Poetry 1.
        hashed = dict.fromkeys(POETRY_KEYS) | hashed
    return hashlib.sha256(json.dumps(hashed, sort_keys=True).encode()).hexdigest()
