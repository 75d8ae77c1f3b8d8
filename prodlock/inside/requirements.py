"""Read poetry.lock: `python requirements.py pyproject.toml poetry.lock FOLDER`, in a build step.

No other module interprets the lock. A lock that does not match pyproject.toml is refused. Markers are evaluated
here, for the interpreter and the platform that run this program and without any of the project's own extras, as
`poetry install` does. The program writes:

- FOLDER/GROUP.txt: the list that the installer takes of each group in this environment: `name==version` and the sha256
  of each file, in pip's format (https://pip.pypa.io/en/stable/reference/requirements-file-format/). `poetry export`
  would write the same list from the lock, in three seconds that every build would wait for.
  A list begins with a comment for each distribution that has no wheel for this interpreter: install.py installs no
  such list. A group that a build does not install may have them.
- FOLDER/selection.json: the lists as data, with the sha256 of poetry.lock, for the proof.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import platform
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any, NamedTuple

# The version of selection.json.
SCHEMA = 1
# Poetry's types of its default package index and of any other one.
INDEXES = {"pypi", "legacy"}
# The keys of [project] and of [tool.poetry] that Poetry's content hash covers, beside [dependency-groups].
PROJECT_KEYS = ("requires-python", "dependencies", "optional-dependencies")
POETRY_KEYS = ("dependencies", "source", "extras", "dev-dependencies")
# The first Poetry whose content hash covers [dependency-groups].
WITH_GROUPS = (2, 3)
# Docker's names of the architectures, by the names that the kernel uses.
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


class Requirement(NamedTuple):
    """A distribution that a group of the lock needs, where the marker holds."""

    group: str
    name: str
    version: str
    marker: str
    # The hash of each of its files, as `ALGORITHM:DIGEST`, by the file's name.
    files: Mapping[str, str]
    # The address of its index, or an empty string for Poetry's default one.
    address: str


def requirements(lock: Mapping[str, Any]) -> Iterator[Requirement]:
    """Yield the requirements of each group of a parsed poetry.lock, for all environments.

    A package may have several versions, each for other environments. Raises ValueError for a distribution that does not
    come from a package index, and KeyError for a lock of a Poetry before 2.0, which does not state the groups.
    """
    for package in lock["package"]:
        name, version = package["name"], package["version"]
        source = package.get("source", {"type": "pypi"})
        if source["type"] not in INDEXES:
            message = f"{name}=={version} comes from a {source['type']}; only what a package index serves can be."
            raise ValueError(message)
        files = {file["file"]: file["hash"] for file in package["files"]}
        address = source["url"] if source["type"] == "legacy" else ""
        # `optional` decides nothing: Poetry also sets it for a package that only an extra excludes, and installs that.
        for group in package["groups"]:
            yield Requirement(group, name, version, marker(package.get("markers", ""), group), files, address)


def marker(markers: str | Mapping[str, str], group: str) -> str:
    """Return the marker of a package in a group: the lock has one for all groups, or a table by group."""
    return markers if isinstance(markers, str) else markers.get(group, "")


def holds(condition: str, environment: Mapping[str, str]) -> bool:
    """Return whether a marker holds for this interpreter, with the variables in `environment` replaced.

    No extra of the project is installed. Raises ValueError for an invalid marker.
    """
    if not condition:
        return True
    return bool(packaging("markers").Marker(condition).evaluate({"extra": ""} | dict(environment)))


def packaging(module: str) -> Any:  # noqa: ANN401
    """Return a module of the library `packaging`; the base image has pip's copy alone, a host has neither."""
    try:
        return importlib.import_module(f"packaging.{module}")
    except ModuleNotFoundError:
        return importlib.import_module(f"pip._vendor.packaging.{module}")


def selected(locked: Iterable[Requirement], environment: Mapping[str, str] | None = None) -> list[Requirement]:
    """Return the requirements that hold in this environment, without their markers.

    Raises ValueError where a marker can't be evaluated, and for two versions of one distribution: groups are installed
    in one environment.
    """
    chosen: list[Requirement] = []
    versions: dict[str, str] = {}
    for one in locked:
        try:
            wanted = holds(one.marker, environment or {})
        except ValueError as error:
            message = f"the marker of {one.name}=={one.version} can't be evaluated here: {error}"
            raise ValueError(message) from None
        if wanted:
            if versions.setdefault(one.name, one.version) != one.version:
                message = f"it has {one.name} {versions[one.name]} and {one.version} for one environment"
                raise ValueError(message)
            chosen.append(one._replace(marker=""))
    return chosen


def lists(listed: Iterable[Requirement], groups: Iterable[str]) -> dict[str, list[str]]:
    """Return the lines of the list of each group: the addresses of further indexes, then the requirements."""
    lines: dict[str, list[str]] = {group: [] for group in groups}
    indexes: dict[str, set[str]] = {group: set() for group in lines}
    for one in listed:
        condition = f" ; {one.marker}" if one.marker else ""
        hashes = "".join(f" --hash={digest}" for digest in one.files.values())
        lines[one.group].append(f"{one.name}=={one.version}{condition}{hashes}")
        if one.address:
            indexes[one.group].add(f"--extra-index-url {one.address}")
    return {group: sorted(indexes[group]) + lines[group] for group in lines}


def selection(chosen: Iterable[Requirement], groups: Iterable[str], digest: str) -> dict[str, Any]:
    """Return the content of selection.json. `digest` is the sha256 of poetry.lock."""
    found: dict[str, list[dict[str, Any]]] = {group: [] for group in groups}
    for one in chosen:
        hashes = sorted(value.removeprefix("sha256:") for value in one.files.values() if value.startswith("sha256:"))
        found[one.group].append({"name": one.name, "version": one.version, "sha256": hashes})
    return {"schema": SCHEMA, "lock": digest, "groups": found}


def pinned(text: str, group: str) -> frozenset[str]:
    """Return name and version of each distribution in a group of a poetry.lock's text, for all environments.

    Raises ValueError or KeyError where it is not a lock.
    """
    packages = tomllib.loads(text)["package"]
    return frozenset(f"{package['name']} {package['version']}" for package in packages if group in package["groups"])


def without_wheel(chosen: Iterable[Requirement], tags: AbstractSet[Any]) -> dict[str, list[str]]:
    """Return the distributions of each group that have no wheel with one of the tags."""
    groups: dict[str, list[str]] = {}
    for one in chosen:
        if not any(installable(file, tags) for file in one.files):
            groups.setdefault(one.group, []).append(f"{one.name} {one.version}")
    return groups


def installable(file: str, tags: AbstractSet[Any]) -> bool:
    """Return whether a file of a package index is a wheel with one of the tags."""
    names = packaging("utils")
    try:
        return bool(names.parse_wheel_filename(file)[3] & tags)
    except names.InvalidWheelFilename:
        return False


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


def refusal(distribution: str) -> str:
    """Return the message for a distribution without a wheel."""
    machine = platform.machine()
    architecture = ARCHITECTURES.get(machine, machine)
    return (
        f"{distribution} has no wheel for Python {sys.version_info.major}.{sys.version_info.minor} on "
        f"{sys.platform}/{architecture}, and nothing is built from source. To fix it: lock a version that has one, or "
        "another distribution; or build a wheel, publish it on an index of your own, and lock that."
    )


def main(pyproject: str, lock: str, folder: str) -> None:
    """Write the lists and the selection."""
    content = Path(lock).read_bytes()
    try:
        described = tomllib.loads(Path(pyproject).read_text(encoding="utf-8"))
    except ValueError as error:
        sys.exit(f"pyproject.toml must be valid TOML (got: {error}). To fix it: correct it.")
    try:
        if not is_fresh(described, content.decode()):
            sys.exit("pyproject.toml changed significantly since poetry.lock was last generated")
        locked = list(requirements(tomllib.loads(content.decode())))
        chosen = selected(locked)
        refused = without_wheel(chosen, frozenset(packaging("tags").sys_tags()))
    except ValueError as error:
        sys.exit(f"poetry.lock can't be installed: {error}")
    except KeyError:
        sys.exit("poetry.lock can't be installed: it names no groups. To fix it: run `inv poetry -- lock`.")
    # A group has a list even where no distribution of it is selected.
    groups = sorted({one.group for one in locked})
    here = lists(chosen, groups)
    for group, distributions in refused.items():
        here[group][:0] = [f"# {refusal(distribution)}" for distribution in distributions]
    place = Path(folder)
    place.mkdir(exist_ok=True)
    for group, lines in here.items():
        (place / f"{group}.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    document = selection(chosen, groups, hashlib.sha256(content).hexdigest())
    (place / "selection.json").write_text(json.dumps(document), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
