"""Read uv.lock, also of a workspace. A lock that does not match the pyproject.toml of a member is refused."""

from __future__ import annotations

import collections
import functools
import itertools
import platform
import tomllib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from prodlock.inside.lock.selection import (
    Requirement,
    Selection,
    Wanted,
    chosen,
    group,
    holds,
    index,
    known,
    normalized,
    packaging,
    pyproject,
    refuse_foreign,
)

Table = Mapping[str, Any]
# The sources of a member of the workspace, and of the project itself.
LOCAL = ("editable", "virtual", "directory")
PLATFORMS = (
    {"os_name": "posix", "sys_platform": "linux", "platform_system": "Linux", "platform_machine": "x86_64"},
    {"os_name": "posix", "sys_platform": "linux", "platform_system": "Linux", "platform_machine": "aarch64"},
    {"os_name": "posix", "sys_platform": "darwin", "platform_system": "Darwin", "platform_machine": "arm64"},
    {"os_name": "nt", "sys_platform": "win32", "platform_system": "Windows", "platform_machine": "AMD64"},
)
STALE = (
    "uv.lock must match pyproject.toml (got one generated before {} changed). To fix it: run `inv uv -- lock`, review "
    "what it changed, and commit it."
)


def select(lock: Path, wanted: Wanted) -> Selection:
    """Return what `uv sync` installs of the groups and extras. Raises ValueError where a lock is refused."""
    parsed = tomllib.loads(lock.read_text(encoding="utf-8"))
    if parsed.get("version") != 1:
        message = f"its version must be 1 (got {parsed.get('version')}). To fix it: run `inv uv -- lock`."
        raise ValueError(message)
    described = {member: pyproject(lock.parent / path) for member, path in members(parsed).items()}
    root = pyproject(lock.parent)
    inputs = compare(parsed, root, described, lock.parent)
    here = functools.partial(holds, environment=wanted.environment)
    python = (wanted.environment or {}).get("python_full_version") or platform.python_version()
    if not any(map(here, parsed.get("supported-markers") or [""])) or not _contains(parsed["requires-python"], python):
        message = f"it must be for Python {python} on this platform. To fix it: lock again for it."
        raise ValueError(message)
    graph = Graph(parsed, targets(parsed, root, wanted.package))
    both = [*wanted.groups, *wanted.dev_groups]
    known("extra", wanted.extras, graph.extras)
    known("group", both, {"main", "dev", *graph.groups})
    addresses = {_bare(one["url"]): index(one["url"]) for one in _uv(root).get("index", []) if "url" in one}
    main = chosen(graph.installed(wanted.extras, wanted.groups, addresses, here), foreign=wanted.foreign)
    everything = chosen(graph.installed(wanted.extras, both, addresses, here), foreign=wanted.foreign)
    default = _uv(root).get("default-groups", [])
    configured = {*map(normalized, both)}
    unused = [] if isinstance(default, str) else [name for name in default if normalized(name) not in configured]
    return Selection(main, everything, inputs, unused)


def members(lock: Table) -> dict[str, str]:
    """Return the folder of each member of a workspace, or of the project itself."""
    names = set(lock.get("manifest", {}).get("members", []))
    found = {}
    for package in lock.get("package", []):
        path = next((package["source"][kind] for kind in LOCAL if kind in package["source"]), None)
        if path is not None and (package["name"] in names or (not names and path == ".")):
            found[package["name"]] = path
    return found


def targets(lock: Table, root: Table, package: str) -> list[str]:
    """Return the members that are installed: the chosen one, the project at the root, or else all."""
    have = members(lock)
    if package:
        if normalized(package) not in have:
            message = (
                f"the member {package} must exist (got: {', '.join(sorted(have))}). To fix it: correct `package` in "
                "[tool.prodlock]."
            )
            raise ValueError(message)
        return [normalized(package)]
    name = normalized(root.get("project", {}).get("name", ""))
    return [name] if name in have else sorted(have)


class Graph:
    """The packages of a lock, from the members that are installed."""

    def __init__(self, lock: Table, targets: list[str]) -> None:
        self._packages: dict[str, list[Table]] = {}
        for package in lock.get("package", []):
            self._packages.setdefault(package["name"], []).append(package)
        self._members = members(lock)
        self._targets = targets
        self._own = lock.get("manifest", {}).get("dependency-groups", {})
        roots = [self._packages[name][0] for name in targets]
        self.extras = {
            extra
            for one in roots
            for extra in (*one.get("optional-dependencies", {}), *one.get("metadata", {}).get("provides-extras", []))
        }
        self.groups = {
            name
            for one in (*roots, {"dev-dependencies": self._own})
            for name in (*one.get("dev-dependencies", {}), *one.get("metadata", {}).get("requires-dev", {}))
        }

    def installed(
        self, extras: Iterable[str], groups: Iterable[str], addresses: Mapping[str, str], condition: Callable[..., bool]
    ) -> list[Requirement]:
        """Return what the members need with extras and groups."""
        names = {normalized(name) for name in groups}
        wanted = {normalized(name) for name in extras}
        active = {f"{kind}-{len(one)}-{one}-{name}" for one in self._targets
                  for kind, chosen in (("extra", wanted), ("group", names)) for name in chosen}  # fmt: skip
        active |= {f"project-{len(one)}-{one}" for one in self._targets}
        while True:
            before = len(active)
            found = self._walk(wanted, names, addresses, functools.partial(condition, active=frozenset(active)), active)
            # An extra that a package asks for may decide markers of packages before it.
            if len(active) == before:
                return found

    def _walk(
        self,
        extras: Collection[str],
        groups: Collection[str],
        addresses: Mapping[str, str],
        condition: Callable[..., bool],
        active: set[str],
    ) -> list[Requirement]:
        queue: list[tuple[Table, str]] = []
        needed: list[Table] = []
        for name in self._targets:
            package = self._packages[name][0]
            if "main" in groups:
                queue.append((package, ""))
                queue += [(package, extra) for extra in sorted(extras)]
            needed += [one for key in sorted(groups) for one in package.get("dev-dependencies", {}).get(key, [])]
        needed += [one for key in sorted(groups) for one in self._own.get(key, [])]
        seen: dict[tuple[str, str, str], Requirement | None] = {}
        while queue or needed:
            if not needed:
                package, extra = queue.pop()
                key = (package["name"], package.get("version", ""), extra)
                if key not in seen:
                    seen[key] = self._requirement(package, addresses)
                    tables = package.get("optional-dependencies", {})
                    needed = [*(tables.get(extra, []) if extra else package.get("dependencies", []))]
                continue
            one = needed.pop()
            if not condition(one.get("marker", "")):
                continue
            for package in self._candidates(one, condition):
                asked = one.get("extra", one.get("extras", []))
                active |= {f"extra-{len(package['name'])}-{package['name']}-{extra}" for extra in asked}
                queue += [(package, extra) for extra in ("", *asked)]
        return list(dict.fromkeys(one for one in seen.values() if one))

    def _candidates(self, one: Table, condition: Callable[..., bool]) -> list[Table]:
        """Return the packages that a dependency may mean: its version, or the one for this environment."""
        found = [
            package
            for package in self._packages[normalized(one["name"])]
            if one.get("version") in (None, package.get("version")) and one.get("source") in (None, package["source"])
        ]
        if len(found) > 1:
            found = [one for one in found if any(map(condition, one.get("resolution-markers", [""])))]
        return found

    def _requirement(self, package: Table, addresses: Mapping[str, str]) -> Requirement | None:
        """Return the requirement of a package, or None for a member of the workspace."""
        source, name = package["source"], package["name"]
        if name in self._members:
            return None
        address = source.get("registry", "")
        files = [*package.get("wheels", []), *([package["sdist"]] if "sdist" in package else [])]
        if not address.startswith(("https://", "http://")):
            link = source.get("url") or source.get("path", "")
            hashed = tuple(map(_file, files)) if link else ()
            return Requirement(name, package.get("version", ""), hashed, origin=next(iter(source)), link=link)
        index(address)
        # Any other index is the default one of the user that locked.
        further = addresses.get(_bare(address), "")
        return Requirement(name, package["version"], tuple(map(_file, files)), address=further)


def _file(file: Table) -> tuple[str, str]:
    place = file.get("filename") or file.get("path") or unquote(urlsplit(file["url"]).path)
    return place.rpartition("/")[2], file.get("hash", "")


def _bare(address: str) -> str:
    """Return the address of an index as uv locks it: without credentials."""
    parts = urlsplit(address)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])).rstrip("/")


def _uv(described: Table) -> dict[str, Any]:
    return dict(described.get("tool", {}).get("uv", {}))


@functools.cache
def _specifiers(text: str) -> Any:  # noqa: ANN401
    return packaging("specifiers").SpecifierSet("" if text == "*" else text)


def _contains(specifiers: str, version: str) -> bool:
    return bool(_specifiers(specifiers).contains(version, prereleases=True))


def compare(lock: Table, root: Table, described: Mapping[str, Table], folder: Path) -> str:
    """Return whether a lock is `fresh`, as `uv lock --check` without a resolution, or `unknown`.

    A lock records the requirements that it was made from; those that a build backend computes are not compared.
    Raises SystemExit where a lock is stale.
    """
    _compare_members(root, described, folder)
    declared = [one["project"]["requires-python"] for one in described.values() if "requires-python" in one["project"]]
    if declared and _bounds(declared) != _bounds([lock["requires-python"]]):
        _stale("requires-python")
    environments = _environments(lock["requires-python"])
    same = functools.partial(_same, environments)
    own, packages = _uv(root), {one["name"]: one for one in lock.get("package", [])}
    dynamic = False
    for member, table in described.items():
        sources = own.get("sources", {}) | _uv(table).get("sources", {})
        metadata = packages[member].get("metadata", {})
        if {"dependencies", "optional-dependencies"} & {*table["project"].get("dynamic", [])}:
            dynamic = True
        else:
            _compare_project(member, table["project"], metadata, functools.partial(same, sources))
        _compare_groups(metadata.get("requires-dev", {}), table, functools.partial(same, sources))
    _compare_settings(lock, root, environments, functools.partial(same, own.get("sources", {})))
    # The root of a workspace may be no project.
    _compare_conflicts(lock, described if "project" in root else {"": root, **described})
    return "unknown" if dynamic else "fresh"


def _compare_settings(lock: Table, root: Table, environments: list[dict[str, str]], same: Callable[..., bool]) -> None:
    """Compare what the root sets for all members."""
    own, manifest = (collections.defaultdict(list, one) for one in (_uv(root), lock.get("manifest", {})))
    options = lock.get("options", {})
    if "project" not in root:
        _compare_groups(manifest.get("dependency-groups", {}), root, same)
    # Of the last four, what only the lock has may be of an option of the command.
    differing = {
        "constraint-dependencies": not same(manifest["constraints"], {"": own["constraint-dependencies"]}),
        "override-dependencies": not same(manifest["overrides"], {"": own["override-dependencies"]}),
        "exclude-dependencies": {*manifest["excludes"]} != {*map(normalized, own["exclude-dependencies"])},
        "dependency-metadata": _stated(manifest, environments) != _stated(own, environments),
        "environments": _differ(environments, lock.get("supported-markers", []), own["environments"]),
        "required-environments": _differ(environments, lock.get("required-markers", []), own["required-environments"]),
        "resolution": own.get("resolution") not in (None, options.get("resolution-mode", "highest")),
        "prerelease": own.get("prerelease") not in (None, options.get("prerelease-mode", "if-necessary-or-explicit")),
        "fork-strategy": own.get("fork-strategy") not in (None, options.get("fork-strategy", "requires-python")),
        "exclude-newer": "exclude-newer" in own and not options.keys() & {"exclude-newer", "exclude-newer-span"},
    }
    if changed := [name for name, differs in differing.items() if differs]:
        _stale(f"{changed[0]} of [tool.uv]")


def _differ(environments: Iterable[Mapping[str, str]], locked: Collection[str], listed: Collection[str] | str) -> bool:
    """Return whether locked and declared markers differ in one of the environments."""
    declared = [listed] if isinstance(listed, str) else listed
    return any(_hold(locked, one) != _hold(declared, one) for one in environments)


def _stated(settings: Table, environments: Iterable[Mapping[str, str]]) -> dict[tuple[str, Any], Any]:
    """Return what is stated of distributions in place of their own metadata, in each environment."""
    return {
        (normalized(one["name"]), one.get("version")): _in_each(
            environments, _entries({"": one.get("requires-dist", [])}, {})
        )
        for one in settings.get("dependency-metadata", [])
    }


def _bounds(specifiers: Iterable[str]) -> list[str]:
    """Return the first and the last Python that specifiers allow: uv does not lock again for one in between."""
    pythons = [f"3.{minor}.{patch}" for minor in range(6, 31) for patch in range(0, 31, 2)]
    allowed = [python for python in pythons if all(_contains(one, python) for one in specifiers)]
    return [*allowed[:1], *allowed[-1:]]


def _environments(specifiers: str) -> list[dict[str, str]]:
    """Return the environments in which requirements are compared: uv writes markers in another form."""
    return [
        platforms | {"python_version": f"3.{minor}", "python_full_version": f"3.{minor}.9"}
        for minor, platforms in itertools.product(range(6, 20), PLATFORMS)
        if _contains(specifiers, f"3.{minor}.9")
    ]


def _same(
    environments: Iterable[Mapping[str, str]],
    sources: Table,
    left: Collection[Table],
    right: Mapping[str, Iterable[str]],
    extra: str = "",
) -> bool:
    """Return whether locked and declared requirements are the same in each environment.

    Takes the declared ones by where they are: `extra NAME`, `group NAME`, or an empty string for elsewhere.
    """
    return _in_each(environments, left, extra) == _in_each(environments, _entries(right, sources))


def _compare_members(root: Table, described: Mapping[str, Table], folder: Path) -> None:
    workspace = _uv(root).get("workspace", {})
    excluded = {path for pattern in workspace.get("exclude", []) for path in folder.glob(pattern)}
    present = {path for pattern in workspace.get("members", []) for path in folder.glob(pattern)} - excluded
    tables = [root, *(pyproject(path) for path in sorted(present))]
    # A folder of another tool's may match a pattern as well.
    names = {normalized(one["project"]["name"]) for one in tables if "project" in one and _uv(one).get("managed", True)}
    if added := names - described.keys():
        _stale(f"the member {min(added)}")
    for member, table in described.items():
        if normalized(table.get("project", {}).get("name", "")) != member:
            _stale(f"the pyproject.toml of {member}")


def _compare_project(member: str, project: Table, metadata: Table, same: Callable[..., bool]) -> None:
    optional = {normalized(name): one for name, one in project.get("optional-dependencies", {}).items()}
    # uv before 0.6 does not record them: there the requirements of each one are compared alone.
    if "provides-extras" in metadata and {*map(normalized, metadata["provides-extras"])} != optional.keys():
        _stale(f"the extras of {member}")
    for extra in ("", *optional):
        declared = {"": project.get("dependencies", []), f"extra {extra}": optional.get(extra, [])}
        if not same(metadata.get("requires-dist", []), declared, extra):
            _stale(f"{f'the extra {extra}' if extra else 'a requirement'} of {member}")


def _compare_groups(locked: Table, table: Table, same: Callable[..., bool]) -> None:
    declared = {normalized(name) for name in table.get("dependency-groups", {})}
    legacy = _uv(table).get("dev-dependencies", [])
    for name in declared | set(locked) | ({"dev"} if legacy else set()):
        listed = [*group(table, name), *(legacy if name == "dev" else [])]
        if not same(locked.get(name, []), {f"group {name}": listed}):
            _stale(f"the group {name}")


def _compare_conflicts(lock: Table, described: Mapping[str, Table]) -> None:
    """Compare the extras, groups and members that can't be installed together."""
    declared = {
        _conflict(one, member) for member, table in described.items() for one in _uv(table).get("conflicts", [])
    }
    locked = {_conflict(one) for one in lock.get("conflicts", [])}
    # uv adds conflicts of the groups that include a declared one.
    including = {
        (member, "", normalized(name))
        for member, table in described.items()
        for name, listed in table.get("dependency-groups", {}).items()
        if any(isinstance(one, Mapping) for one in listed)
    }
    if declared - locked or any(not one & including for one in locked - declared):
        _stale("conflicts of [tool.uv]")


def _conflict(items: Iterable[Table], member: str = "") -> frozenset[tuple[str, str, str]]:
    """Return the members, extras and groups of a conflict, normalized; a member's own may name no package."""
    return frozenset(
        (normalized(one.get("package", member)), normalized(one.get("extra", "")), normalized(one.get("group", "")))
        for one in items
    )


def _hold(markers: Iterable[str], environment: Mapping[str, str]) -> bool | None:
    """Return whether one of some markers holds in an environment, or None where there are none."""
    found = [holds(one, environment=environment) for one in markers]
    return any(found) if found else None


def _stale(changed: str) -> None:
    raise SystemExit(STALE.format(changed))


def _entries(declared: Mapping[str, Iterable[str]], sources: Table) -> list[dict[str, Any]]:
    """Return declared requirements, by where they are, as uv.lock has them."""
    normal = {normalized(name): one for name, one in sources.items()}
    return [entry for where, texts in declared.items() for one in texts for entry in _parsed(one, normal, where)]


def _parsed(text: str, sources: Table, where: str) -> list[dict[str, Any]]:
    """Return a declared requirement as uv.lock has it: once for each of its sources, and once for where none holds.

    A source may be for one extra or group alone.
    """
    one = packaging("requirements").Requirement(text)
    given = sources.get(normalized(one.name), [])
    entry = {"name": one.name, "extras": one.extras, "specifier": str(one.specifier)}
    found: list[dict[str, Any]] = []
    for source in given if isinstance(given, list) else [given]:
        limits = [f"{key} {normalized(source[key])}" for key in ("extra", "group") if key in source]
        if limits and where not in limits:
            continue
        markers = [f"({marker})" for marker in (str(one.marker or ""), source.get("marker", "")) if marker]
        kind = next((key for key in ("workspace", "index", "git", "url", "path") if key in source), "")
        found.append(entry | {"kind": kind, "marker": " and ".join(markers)})
    rest = {"kind": "url" if one.url else "", "marker": str(one.marker or "")}
    return [*found, entry | rest | {"unless": [each["marker"] for each in found]}]


def _in_each(
    environments: Iterable[Mapping[str, str]], required: Collection[Table], active: str = ""
) -> list[set[tuple[Any, ...]]]:
    """Return the requirements that hold in each environment."""
    return [_holding(required, one, active) for one in environments]


def _holding(required: Iterable[Table], environment: Mapping[str, str], active: str) -> set[tuple[Any, ...]]:
    """Return the requirements that hold in an environment."""
    found = set()
    for one in required:
        unless = any(holds(marker, environment=environment) for marker in one.get("unless", []))
        if unless or not holds(one.get("marker", ""), frozenset({active}), environment):
            continue
        # A locked requirement states its kind by a key.
        kind = one.get("kind", next((key for key in ("index", "git", "url", "path", *LOCAL) if key in one), ""))
        kind = "local" if kind in {"workspace", "path", *LOCAL} else kind
        specifier = "" if kind in {"local", "git", "url"} else one.get("specifier", "")
        extras = frozenset(map(normalized, one.get("extras", [])))
        found.add((normalized(one["name"]), extras, _specifiers(specifier), kind))
    return found


def pinned(text: str, groups: Iterable[str]) -> Iterator[str]:
    """Yield name and version of each distribution in the groups, with all extras, for all environments."""
    lock = tomllib.loads(text)
    graph = Graph(lock, sorted(members(lock)))
    for one in graph.installed(graph.extras, groups, {}, lambda *_, **__: True):
        refuse_foreign(one)
        yield f"{one.name} {one.version}"
