"""Read pylock.toml (PEP 751), and pylock.dev.toml. They do not record what they were made from."""

from __future__ import annotations

import functools
import platform
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from prodlock.inside.lock.selection import (
    Requirement,
    Selection,
    Wanted,
    chosen,
    consistent,
    default_index,
    holds,
    index,
    known,
    normalized,
    packaging,
    pyproject,
)


def select(lock: Path, wanted: Wanted) -> Selection:
    """Return what is installed of a lock, and of that of development. Raises ValueError where a lock is refused."""
    parsed = _suitable(tomllib.loads(lock.read_text(encoding="utf-8")), wanted.environment)
    extras = frozenset(map(normalized, wanted.extras))
    if parsed.get("extras"):
        known("extra", wanted.extras, parsed["extras"])
    groups, dev = ({normalized(name) for name in names} for names in (wanted.groups, wanted.dev_groups))
    existing = {"main", "dev", *parsed.get("dependency-groups", []), *parsed.get("default-groups", [])}
    if parsed.get("dependency-groups"):
        known("group", [*wanted.groups, *wanted.dev_groups], existing)
    if "main" in groups:
        # The project's own requirements are a group that is installed by default, whatever its name.
        groups |= {normalized(name) for name in parsed.get("default-groups", [])} - dev
    select_from = functools.partial(chosen, environment=wanted.environment, foreign=wanted.foreign)
    main = select_from(requirements(parsed), extras | groups)
    everything = select_from([*main, *select_from(requirements(parsed), extras | groups | dev)])
    if wanted.dev_lock:
        further = _suitable(tomllib.loads(wanted.dev_lock.read_text(encoding="utf-8")), wanted.environment)
        everything = select_from([*everything, *select_from(requirements(further), extras | groups | dev)])
    selected = Selection(main, everything, "")
    return selected._replace(inputs=consistent(pyproject(lock.parent), wanted, selected))


def _suitable(lock: Mapping[str, Any], environment: Mapping[str, str] | None) -> Mapping[str, Any]:
    """Return a parsed lock. Raises ValueError for one for other environments."""
    environments, wanted = lock.get("environments", []), lock.get("requires-python", "")
    holding = [holds(one, environment=environment) for one in environments or [""]]
    if not any(holding) or not _includes(
        wanted, (environment or {}).get("python_full_version") or platform.python_version()
    ):
        message = f"it must be for this environment (got Python {wanted} and {environments}). To fix it: lock again."
        raise ValueError(message)
    return lock


def requirements(lock: Mapping[str, Any]) -> Iterator[Requirement]:
    """Yield the requirements of a parsed lock, for all environments.

    Raises ValueError for a lock of another version.
    """
    version = str(lock.get("lock-version"))
    if version.partition(".")[0] != "1":
        message = f"its lock-version must be 1.0 (got {version}). To fix it: lock with a tool that writes version 1.0."
        raise ValueError(message)
    for package in lock["packages"]:
        name = normalized(package["name"])
        if package.get("directory", {}).get("path", "").strip("./") == "" and "directory" in package:
            # This entry is the project itself.
            continue
        marker = package.get("marker", "")
        if origin := next((key for key in ("vcs", "directory", "archive") if key in package), ""):
            archive = package.get("archive", {})
            link = archive.get("url") or archive.get("path", "")
            hashed = (_file(archive),) if archive.get("hashes") else ()
            yield Requirement(name, package.get("version", ""), hashed, marker, origin=origin, link=link)
            continue
        files = [*package.get("wheels", []), *([package["sdist"]] if "sdist" in package else [])]
        address = package.get("index", "")
        address = "" if address.rstrip("/") == default_index().rstrip("/") else index(address)
        yield Requirement(name, package["version"], tuple(map(_file, files)), marker, address)


def _includes(specifier: str, version: str) -> bool:
    return not specifier or packaging("specifiers").SpecifierSet(specifier).contains(version, prereleases=True)


def _file(file: Mapping[str, Any]) -> tuple[str, str]:
    """Return the name and a hash of a file."""
    place = file.get("name") or file.get("path") or unquote(urlsplit(file["url"]).path)
    hashes = file["hashes"]
    algorithm = "sha256" if "sha256" in hashes else next(iter(hashes), "")
    return place.rpartition("/")[2], f"{algorithm}:{hashes[algorithm]}" if algorithm else ""


def pinned(text: str, groups: Iterable[str]) -> Iterator[str]:
    """Yield name and version of each distribution of a lock's text, for all environments and groups."""
    del groups
    packages = tomllib.loads(text)["packages"]
    return (f"{normalized(package['name'])} {package['version']}" for package in packages if "version" in package)
