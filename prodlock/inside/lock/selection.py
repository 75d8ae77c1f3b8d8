"""What the formats of locks share: requirements, their markers, and the lists for the installer."""

from __future__ import annotations

import fnmatch
import functools
import hashlib
import importlib
import operator
import platform
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

# The version of selection.json.
SCHEMA = 2
# Docker's names of the architectures, by the names that the kernel uses.
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
# The comparison of an extra, or of a group, in a marker: `packaging` evaluates one extra at a time.
EXTRA = re.compile(
    r"""extra\s*(?P<operator>[!=]=)\s*(?P<quote>["'])(?P<name>[^"']*)(?P=quote)"""
    r"""|(?P<quote2>["'])(?P<name2>[^"']*)(?P=quote2)\s*"""
    r"""(?P<operator2>[!=]=|not\s+in|in)\s*(?P<kind>extras?|dependency_groups)\b"""
)
# The comparison of a value that is rarely a valid version, such as 6.8.0-45-generic: `packaging` before 26 raises then.
SYSTEM = re.compile(
    r"""\bplatform_(?P<variable>release|version)\s*(?P<operator>[<>=!]=|[<>])\s*(?P<quote>["'])(?P<value>[^"']*)(?P=quote)"""
)
COMPARED = {
    "<": operator.lt, "<=": operator.le, "==": operator.eq, "!=": operator.ne, ">=": operator.ge, ">": operator.gt,
}  # fmt: skip
ALWAYS, NEVER = "os_name != ''", "os_name == ''"


class Wanted(NamedTuple):
    """What a project installs of its lock."""

    groups: Sequence[str] = ("main",)
    extras: Sequence[str] = ()
    dev_groups: Sequence[str] = ("dev",)
    # The member of a workspace that is installed.
    package: str = ""
    dev_lock: Path | None = None
    # The variables of markers (PEP 508) in the environment; None for that of this interpreter.
    environment: Mapping[str, str] | None = None
    # Whether what no package index serves is returned as well, with its origin.
    foreign: bool = False


class Requirement(NamedTuple):
    """A distribution that a lock pins, where the marker holds."""

    name: str
    version: str
    # The name and the hash of each of its files, as `ALGORITHM:DIGEST`; requirements in pip's format name no files.
    files: tuple[tuple[str, str], ...]
    marker: str = ""
    # The addresses of its indexes, separated by spaces; an empty string for the default one.
    address: str = ""
    # Where it comes from if not from an index, such as `git`: then a build can't install it.
    origin: str = ""
    # The address of its file, or the file's path from the lock's folder, where no index serves it.
    link: str = ""


class Selection(NamedTuple):
    """What is installed in one environment."""

    main: list[Requirement]
    # `main` and the groups for development.
    everything: list[Requirement]
    # How the lock relates to pyproject.toml: `fresh`, `consistent` or `unknown`.
    inputs: str
    # Groups that the owning tool installs by default, and that are not configured.
    unused: Sequence[str] = ()


def normalized(name: str) -> str:
    """Return the normalized name of a distribution, an extra or a group (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def packaging(module: str) -> Any:  # noqa: ANN401
    """Return a module of the library `packaging`; the base image has pip's copy alone, a host has neither."""
    try:
        return importlib.import_module(f"packaging.{module}")
    except ModuleNotFoundError:
        return importlib.import_module(f"pip._vendor.packaging.{module}")


@functools.cache
def _parsed(condition: str) -> Any:  # noqa: ANN401
    return packaging("markers").Marker(condition)


def holds(condition: str, active: AbstractSet[str] = frozenset(), environment: Mapping[str, str] | None = None) -> bool:
    """Return whether a marker holds for this interpreter, with the variables in `environment` replaced.

    `active` has the extras and groups that are installed, normalized. Raises ValueError for an invalid marker.
    """

    def evaluated(found: re.Match[str]) -> str:
        is_positive = (found["operator"] or found["operator2"]) in {"==", "in"}
        is_active = normalized(found["name"] or found["name2"] or "") in active
        return ALWAYS if is_active == is_positive else NEVER

    def compared(found: re.Match[str]) -> str:
        default = platform.release() if found["variable"] == "release" else platform.version()
        value = (environment or {}).get(f"platform_{found['variable']}", default)
        try:
            packaging("version").Version(value)
        except ValueError:
            # PEP 508 compares what is not a version as text.
            return ALWAYS if COMPARED[found["operator"]](value, found["value"]) else NEVER
        return found[0]

    plain = SYSTEM.sub(compared, EXTRA.sub(evaluated, condition))
    return not plain or bool(_parsed(plain).evaluate({"extra": ""} | dict(environment or {})))


def chosen(
    locked: Iterable[Requirement],
    active: AbstractSet[str] = frozenset(),
    environment: Mapping[str, str] | None = None,
    *,
    foreign: bool = False,
) -> list[Requirement]:
    """Return the requirements that hold in this environment, each once and without a marker.

    Raises ValueError for one that no package index serves, except with `foreign`, for a marker that can't be evaluated,
    and for two versions of one distribution.
    """
    found: dict[str, Requirement] = {}
    for one in locked:
        try:
            wanted = holds(one.marker, active, environment)
        except ValueError as error:
            got = " ".join(str(error).split())
            message = (
                f"the marker of {one.name}=={one.version} must be one that can be evaluated here (got: {got}). To fix "
                "it: lock again."
            )
            raise ValueError(message) from None
        if wanted and foreign and one.origin:
            found.setdefault(normalized(one.name), one._replace(marker=""))
        elif wanted:
            refuse_foreign(one)
            if (same := found.setdefault(normalized(one.name), one._replace(marker=""))).version != one.version:
                message = (
                    f"it has {one.name} {same.version} and {one.version} for one environment. To fix it: lock again, "
                    "with the versions of the runtime as constraints of those for development."
                )
                raise ValueError(message)
            # One line of the installer's list: nothing in it may begin another one.
            words = " ".join((one.name, one.version, *(digest for _, digest in one.files)))
            if not re.fullmatch(r"[A-Za-z0-9][\w.-]* [\w.!+]+( \w+:\w+)+", words, re.ASCII):
                message = (
                    f"{one.name}=={one.version} must have hashes (got none, or other text). To fix it: lock again."
                )
                raise ValueError(message)
    return [found[name] for name in sorted(found)]


def index(address: str) -> str:
    """Return the address of a package index. Raises ValueError for one with credentials."""
    parts = urlsplit(address)
    if parts.username or parts.password or "$" in address:
        message = (
            f"the address of the index {parts.hostname} must not contain credentials (got some). To fix it: remove "
            "them from it and from the lock, and pass them to the build as a secret."
        )
        raise ValueError(message)
    return address


def foreign(distribution: str, origin: str) -> str:
    """Return the message for a distribution that does not come from a package index."""
    return (
        f"{distribution} must come from a package index (got {origin}). To fix it: lock a release that an index "
        "serves, for example a wheel on an index of your own."
    )


def refuse_foreign(one: Requirement) -> None:
    """Raise ValueError for a requirement that does not come from a package index."""
    if one.origin:
        raise ValueError(foreign(f"{one.name}=={one.version}" if one.version else one.name, one.origin))


def default_index() -> str:
    """Return pip's default index, or an empty string where there is no pip."""
    try:
        return str(importlib.import_module("pip._internal.models.index").PyPI.simple_url)
    except ModuleNotFoundError:
        return ""


def known(kind: str, names: Iterable[str], existing: Iterable[str]) -> None:
    """Raise ValueError for the name of a group or an extra that does not exist."""
    have = {normalized(name) for name in existing}
    for name in names:
        if normalized(name) not in have:
            message = (
                f"the {kind} {name} must exist (got: {', '.join(sorted(have)) or 'none'}). To fix it: correct the name "
                "in [tool.prodlock]."
            )
            raise ValueError(message)


def pyproject(folder: Path) -> dict[str, Any]:
    """Return the content of a folder's pyproject.toml, which may be absent. Exits where it is not valid TOML."""
    file = folder / "pyproject.toml"
    try:
        return tomllib.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    except ValueError as error:
        message = f"pyproject.toml must be valid TOML (got: {error}). To fix it: correct it."
        raise SystemExit(message) from None


def group(described: Mapping[str, Any], name: str, within: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield the requirements of a dependency group, with those of the groups that it includes (PEP 735).

    uv may limit a group to some versions of Python: its requirements have them in their markers.
    """
    groups = {normalized(key): value for key, value in described.get("dependency-groups", {}).items()}
    settings = described.get("tool", {}).get("uv", {}).get("dependency-groups", {})
    limits = {normalized(key): value.get("requires-python", "") for key, value in settings.items()}
    python = limits.get(normalized(name), "")
    if name in within:
        message = f"the group {name} must not include itself. To fix it: correct [dependency-groups]."
        raise ValueError(message)
    for one in groups.get(normalized(name), []):
        listed = [one] if isinstance(one, str) else group(described, one["include-group"], (*within, name))
        yield from (_limited(text, python) if python else text for text in listed)


def _limited(text: str, python: str) -> str:
    """Return a requirement that holds for some versions of Python alone."""
    one = packaging("requirements").Requirement(text)
    markers = [f"({one.marker})"] if one.marker else []
    specifiers = packaging("specifiers").SpecifierSet(python)
    markers += [f"python_full_version {each.operator} '{each.version}'" for each in specifiers]
    one.marker = packaging("markers").Marker(" and ".join(markers))
    return str(one)


def consistent(described: Mapping[str, Any], wanted: Wanted, selected: Selection) -> str:
    """Compare the declared requirements that hold here with the locked versions; return the kind of agreement.

    For locks that do not record what they were made from. Raises ValueError for a requirement that is not met.
    """
    project = described.get("project", {})
    optional = {normalized(name): value for name, value in project.get("optional-dependencies", {}).items()}
    if not project and "dependency-groups" not in described:
        return "unknown"
    known("extra", wanted.extras, optional)
    known("group", [*wanted.groups, *wanted.dev_groups], {"main", "dev", *described.get("dependency-groups", {})})
    runtime = [*project.get("dependencies", [])] if "main" in wanted.groups else []
    runtime += [one for extra in wanted.extras for one in optional[normalized(extra)]]
    runtime += [one for name in wanted.groups for one in group(described, name)]
    further = [one for name in wanted.dev_groups for one in group(described, name)]
    parse = packaging("requirements").Requirement
    for declared, locked in ((runtime, selected.main), (further, selected.everything)):
        versions = {normalized(one.name): one.version for one in locked}
        followed: set[str] = set()
        for text in declared:
            one = parse(text)
            name = normalized(one.name)
            if one.marker and not holds(str(one.marker), environment=wanted.environment):
                continue
            if name == normalized(project.get("name", "")):
                # A requirement of the project's own extras. The loop continues with what is appended.
                own = {normalized(extra) for extra in one.extras} - followed
                followed |= own
                declared += [line for extra in sorted(own) for line in optional.get(extra, [])]
            elif name not in versions or not (one.url or one.specifier.contains(versions[name], prereleases=True)):
                got = f"version {versions[name]}" if name in versions else "none"
                message = f"it must have a version of {text!r} of pyproject.toml (got {got}). To fix it: lock again."
                if declared is further and wanted.dev_lock is None:
                    message = (
                        message[:-1] + ", and what development adds beside it, in pylock.dev.toml or NAME-dev.txt."
                    )
                raise ValueError(message)
    return "unknown" if {"dependencies", "optional-dependencies"} & {*project.get("dynamic", [])} else "consistent"


def lines(listed: Iterable[Requirement], tags: AbstractSet[Any]) -> list[str]:
    """Return a list for the installer, in pip's format.

    It begins with a comment for each distribution without a wheel, and the addresses of further indexes.
    """
    listed = list(listed)
    refused = [f"# {refusal(f'{one.name} {one.version}')}" for one in listed if not installable(one, tags)]
    addresses = sorted({f"--extra-index-url {address}" for one in listed for address in one.address.split()})
    pins = [f"{one.name}=={one.version}" + "".join(f" --hash={digest}" for _, digest in one.files) for one in listed]
    return refused + addresses + pins


def record(one: Requirement) -> dict[str, Any]:
    """Return a requirement as selection.json has it. Only a sha256 identifies a wheel."""
    digests = {digest.removeprefix("sha256:") for _, digest in one.files if digest.startswith("sha256:")}
    return {"name": one.name, "version": one.version, "sha256": sorted(digests)}


def installable(one: Requirement, tags: AbstractSet[Any]) -> bool:
    """Return whether a distribution has a wheel with one of the tags, or does not name its files."""
    names = packaging("utils")
    for file, _ in one.files:
        try:
            if not file or names.parse_wheel_filename(file)[3] & tags:
                return True
        except names.InvalidWheelFilename:
            continue
    return False


def refusal(distribution: str) -> str:
    """Return the message for a distribution without a wheel."""
    machine = platform.machine()
    architecture = ARCHITECTURES.get(machine, machine)
    return (
        f"{distribution} has no wheel for Python {sys.version_info.major}.{sys.version_info.minor} on "
        f"{sys.platform}/{architecture}, and nothing is built from source. To fix it: lock a version that has one, or "
        "another distribution; or build a wheel, publish it on an index of your own, and lock that."
    )


def dev_lock(lock: Path) -> Path | None:
    """Return the lock beside another one that has what development adds, or None.

    Beside pylock.toml it is pylock.dev.toml, beside NAME.txt the first of NAME-dev.txt, dev-NAME.txt and dev.txt.
    """
    names = {".toml": ["pylock.dev.toml"], ".txt": [f"{lock.stem}-dev.txt", f"dev-{lock.stem}.txt", "dev.txt"]}
    beside = names.get(lock.suffix, []) if lock.suffix == ".txt" or lock.name.startswith("pylock.") else []
    return next((file for name in beside if (file := lock.with_name(name)) != lock and file.is_file()), None)


def digest(lock: Path, further: Path | None) -> str:
    """Return the sha256 of a lock, with that of development behind it where there is one."""
    return hashlib.sha256(b"".join(one.read_bytes() for one in (lock, further) if one)).hexdigest()


def reader(lock: str) -> Any:  # noqa: ANN401
    """Return the module for a lock's format. Raises ValueError where no format has such a name."""
    name = Path(lock).name
    formats = {
        "poetry.lock": "poetry",
        "uv.lock": "uv",
        "pylock.toml": "pylock",
        "pylock.*.toml": "pylock",
        "*.txt": "requirements",
    }
    module = next((module for pattern, module in formats.items() if fnmatch.fnmatch(name, pattern)), None)
    if module is None:
        message = (
            f"The lock must be a poetry.lock, uv.lock, pylock.toml or NAME.txt (got {name}). To fix it: name another "
            "with `lock` in [tool.prodlock]."
        )
        raise ValueError(message)
    return importlib.import_module(f"prodlock.inside.lock.{module}")


def pinned(lock: str, text: str, groups: Iterable[str] = ("main",)) -> frozenset[str]:
    """Return name and version of each distribution of a lock's text in the groups, for all environments.

    Raises ValueError or KeyError where it is not a lock.
    """
    return frozenset(reader(lock).pinned(text, groups))
