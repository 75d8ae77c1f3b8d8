"""Find a project's lock, and what production and development install of it."""

from __future__ import annotations

import codecs
import posixpath
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any

from prodlock import generated
from prodlock.failure import Failure
from prodlock.inside.lock import poetry, pylock, requirements, selection, uv
from prodlock.inside.lock.selection import Requirement, normalized
from prodlock.scaffold import pyprojects
from prodlock.scaffold.installs import Installed
from prodlock.scaffold.tree import Tree, is_inside, join

_DEVELOPMENT = re.compile(
    r"(?:.*-)?(?:dev\w*|tests?|testing|pytest|lint\w*|docs?|typ(?:e|ing)\w*|mypy|ci|format\w*|ruff|debug|notebooks?"
    r"|qa|quality|cov|coverage|pre-commit|style|bench\w*)(?:-.*)?"
)
_NAMES = ("poetry.lock", "uv.lock", "pylock.toml")
_REQUIREMENTS = re.compile(r"(?:.*/)?(?:requirements(?:[-_.](?:prod|production|main|base|lock))?\.(?:txt|lock)|"
                           r"requirements/(?:base|prod|production|main|requirements)\.txt)")  # fmt: skip
_PRODUCTION = re.compile(r"prod(?:uction)?\.(?:txt|lock)$")
# Locks of other tools, and the commands that write a list of them.
_OTHERS = {
    "pdm.lock": "run `pdm export --prod --output requirements.txt`",
    "Pipfile.lock": "run `pipenv requirements --hash > requirements.txt`",
}
# The major versions of poetry.lock.
_POETRY = ("1", "2")
# What a name of a requirement ends at.
_REQUIREMENT = re.compile(r"[A-Za-z0-9][\w.-]*")


@dataclass(frozen=True)
class Lock:
    """A lock, the member of its workspace, its groups and extras, and the versions that production installs."""

    path: str
    package: str
    groups: tuple[str, ...]
    extras: tuple[str, ...]
    dev_groups: tuple[str, ...]
    versions: Mapping[str, str]
    # Groups and extras that the project has and no image installs.
    further_groups: tuple[str, ...] = ()
    further_extras: tuple[str, ...] = ()
    # Distributions of production whose lock names files, and no wheel.
    without_wheels: tuple[str, ...] = ()
    # Whether the dev image has pytest.
    has_pytest: bool = True


def is_development(group: str) -> bool:
    """Return whether a group, or an extra, is one for development, by its name."""
    return bool(_DEVELOPMENT.fullmatch(normalized(group)))


def path(tree: Tree, place: str, wanted: str = "") -> str:
    """Return the lock of the project in a folder, or above it: the wanted one, or else the first one with hashes.

    Raises Failure where there is none.
    """
    if wanted:
        _check(tree, wanted)
        return wanted
    without = []
    for folder in dict.fromkeys((place, *(parent.as_posix() for parent in PurePosixPath(place).parents))):
        for name in _NAMES:
            if tree.has(join(folder, name)):
                return join(folder, name)
        for one in _listed(tree, folder):
            if _hashed(tree.text(one)) and one.endswith(".txt"):
                return one
            without.append(one)
    got, remedy = _lacking(tree, place, without)
    raise Failure(f"The project must have a lock with the hashes of its dependencies (got {got}). To fix it: {remedy}.")


def _lacking(tree: Tree, place: str, lists: Sequence[str]) -> tuple[str, str]:
    """Return what a project has instead of a lock, and the remedy; `lists` has its lists of requirements."""
    if lists:
        target = f"{lists[0].removesuffix('.lock').removesuffix('.txt')}.txt"
        fault, remedy = _fault(tree.text(lists[0]))
        if not tree.text(lists[0]) and (tree.root / lists[0]).stat().st_size:
            fault, remedy = "is not a text in UTF-8", "save it as UTF-8"
        got = f"{lists[0]}, which " + ("is not a list .txt" if lists[0].endswith(".lock") else fault)
        return got, remedy.rstrip(".") or (
            f"lock it, for example `uv pip compile --generate-hashes {lists[0]} --output-file {target}`, or use "
            "`poetry lock` or `uv lock`"
        )
    if ignored := [name for name in (*_NAMES, "requirements.txt") if (tree.root / place / name).is_file()]:
        return f"{join(place, ignored[0])}, which git ignores", "remove it from .gitignore, and commit it"
    if others := [name for name in _OTHERS if tree.has(join(place, name))]:
        return join(place, others[0]), _OTHERS[others[0]]
    if above := above_root(tree.root):
        return (
            f"none, and {above}",
            f"run `prodlock init` in {above.parent}, which has the lock of this project as well",
        )
    if any(pyprojects.at(content, "tool", "poetry") for _, content in pyprojects.own(tree, place)):
        return "none", "run `poetry lock`"
    return "none", "lock the dependencies with `poetry lock`, `uv lock` or `pip lock`"


def above_root(root: Path) -> Path | None:
    """Return the lock of the workspace that a folder of a repository is in, or None."""
    below = root.resolve()
    for folder in below.parents:
        if (below / ".git").exists():
            break
        if found := next((folder / name for name in _NAMES if (folder / name).is_file()), None):
            return found
        below = folder
    return None


def read(tree: Tree, lock: str, application: str, installed: Installed, given: Mapping[str, object]) -> Lock:
    """Return what is installed of a lock. `given` has keys that are decided already.

    Raises Failure where the lock is not valid, or has what can't be installed.
    """
    reader = _Reader(tree, lock, application, installed)
    package = str(given.get("package", reader.package))
    reader.refuse_unknown(given)
    groups, further_groups = reader.runtime()
    extras, further_extras = reader.extras()
    dev_groups = reader.development()
    wanted = _given(given, "groups", groups), _given(given, "extras", extras)
    further = _given(given, "dev-groups", dev_groups)
    production = _installed(reader, package, *wanted)
    developing = {normalized(one.name) for one in _installed(reader, package, *wanted, further)}
    for one in generated.locks(tree.root, lock)[1:]:
        developing |= set(_names(tree, one))
    without = [
        f"{one.name} {one.version}"
        for one in production
        if any(name for name, _ in one.files) and not any(name.endswith(".whl") for name, _ in one.files)
    ]
    return Lock(
        lock,
        package,
        groups,
        extras,
        dev_groups,
        {normalized(one.name): one.version for one in production},
        further_groups,
        further_extras,
        tuple(without),
        "pytest" in developing,
    )


def _installed(
    reader: _Reader, package: str, groups: Sequence[str], extras: Sequence[str], further: Sequence[str] = ()
) -> list[Requirement]:
    """Return what an image installs. Raises Failure where that is not possible."""
    try:
        return reader.requirements(package, groups, extras, further)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        reason = str(error).rstrip(".")
        if isinstance(error, KeyError):
            # Poetry writes groups from version 2.
            reason = f"it has no {error}" + (", Poetry 1 wrote it" if error.args == ("groups",) else "")
        for_tests = f" for the groups {', '.join(further)} of the dev image" if further else ""
        remedy = " To fix it: lock again"
        if further:
            remedy += " without it, or name other groups, for example `--set 'dev-groups=[\"test\"]'`"
        raise Failure(
            f"{reader.path} can't be installed{for_tests}: {reason}.{'' if 'To fix it' in reason else f'{remedy}.'}"
        ) from None


def _check(tree: Tree, wanted: str) -> None:
    """Raise Failure where a wanted lock is not a lock with hashes."""
    if not tree.has(wanted):
        raise Failure(
            f"`lock` must be a file of the project, which git does not ignore (got {wanted}). To fix it: correct its "
            "path."
        )
    try:
        selection.reader(wanted)
    except ValueError as error:
        raise Failure(str(error)) from None


def _listed(tree: Tree, folder: str) -> Iterator[str]:
    """Yield the lists of requirements in a folder, and in its folder `requirements`: first those of production."""
    for one in sorted(tree.files, key=lambda one: not _PRODUCTION.search(one)):
        if posixpath.dirname(one) in {"" if folder == "." else folder, join(folder, "requirements")} and (
            _REQUIREMENTS.fullmatch(one)
        ):  # fmt: skip
            yield one


def _hashed(text: str) -> bool:
    """Return whether each requirement of a list has hashes. A list with other faults is refused with their reason."""
    pins = [line for line in re.sub(r"\\\r?\n", " ", text).splitlines() if _REQUIREMENT.match(line.strip())]
    return bool(pins) and all(requirements.HASH.search(line) for line in pins)


def _fault(text: str) -> tuple[str, str]:
    """Return what a list lacks, and the remedy for a line of a list that has hashes otherwise."""
    if not requirements.HASH.search(text):
        return ("lacks hashes" if any(_named(text.splitlines())) else "has no requirements"), ""
    try:
        list(requirements.requirements(text))
    except ValueError as error:
        reason, _, remedy = str(error).partition(" To fix it: ")
        return f"lacks hashes: {reason.rstrip('.')}", remedy
    return "lacks hashes", ""


def _given(given: Mapping[str, object], key: str, found: tuple[str, ...]) -> tuple[str, ...]:
    value = given.get(key)
    return tuple(map(str, value)) if isinstance(value, list) else found


class _Reader:
    """A lock with the files that describe its project."""

    def __init__(self, tree: Tree, lock: str, application: str, installed: Installed) -> None:
        self._tree = tree
        self.path = lock
        self._installed = installed
        self._folder = posixpath.dirname(lock) or "."
        self._root = pyprojects.read(tree, join(self._folder, pyprojects.NAME))
        self._content = self._parsed()
        self.package, self._described = "", self._root
        if lock.endswith("uv.lock"):
            self.package, self._described = self._member(application)

    def refuse_unknown(self, given: Mapping[str, object]) -> None:
        """Raise Failure where a given group or extra is not one of the project's."""
        groups = {"main", "dev", *self._groups()}
        extras = {name for names in self.extras() for name in names}
        for key, have in (("groups", groups), ("dev-groups", groups), ("extras", extras)):
            for name in _given(given, key, ()):
                if normalized(name) not in map(normalized, have):
                    raise Failure(
                        f"`{key}` must be names that the project has (got {name}, and the project has "
                        f"{', '.join(sorted(have)) or 'none'}). To fix it: correct the name."
                    )

    def runtime(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the groups of production, and those that no image installs."""
        named = {normalized(name) for name in self._installed.groups}
        others = [name for name in self._groups() if not is_development(name)]
        excluded = {normalized(name) for name in self._installed.excluded}
        default = set() if self._installed.no_defaults else self._defaults()
        default = {name for name in default if normalized(name) not in excluded}
        runtime = [name for name in others if name in default or normalized(name) in named]
        return ("main", *runtime), tuple(name for name in others if name not in runtime)

    def development(self) -> tuple[str, ...]:
        """Return the groups of the dev image."""
        found = [name for name in self._groups() if is_development(name) and self._has(name)]
        return tuple(found) or ("dev",)

    def extras(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the project's own extras of production, and the others."""
        optional = pyprojects.table(self._described, "project", "optional-dependencies")
        have = sorted({*optional, *pyprojects.table(self._described, "tool", "poetry", "extras")})
        named = {normalized(name) for name in self._installed.extras}
        chosen = [name for name in have if self._installed.all_extras or normalized(name) in named]
        return tuple(chosen), tuple(name for name in have if name not in chosen)

    def requirements(
        self, package: str, groups: Sequence[str], extras: Sequence[str], further: Sequence[str]
    ) -> list[Requirement]:
        """Return what an image installs, for all environments; the dev image has further groups.

        Raises ValueError where the lock is refused.
        """
        has_further, groups = bool(further), [*groups, *further]
        if self.path.endswith("poetry.lock"):
            wanted = {normalized(one) for one in extras}
            return list(_needed(poetry.requirements(self._content, groups), wanted))
        if self.path.endswith("uv.lock"):
            graph = uv.Graph(self._content, uv.targets(self._content, dict(self._root), package))
            return list(_needed(graph.installed(extras, groups, {}, lambda *_, **__: True), set()))
        if self.path.endswith(".toml"):
            active = {normalized(one) for one in (*groups, *extras, *pyprojects.texts(self._content, "default-groups"))}
            return list(_needed(pylock.requirements(self._content), active))
        listed = list(requirements.requirements(self._tree.text(self.path)))
        for path in generated.locks(self._tree.root, self.path)[1:] if has_further else ():
            # It may name the first one.
            listed += requirements.requirements(self._tree.text(path), {posixpath.basename(self.path)})
        return listed

    def _parsed(self) -> dict[str, Any]:
        if self.path.endswith(".txt"):
            return {}
        try:
            content = tomllib.loads(self._tree.text(self.path))
        except (ValueError, RecursionError) as error:
            raise Failure(
                f"{self.path} must be a valid lock (got: {error}). To fix it: restore it, or lock again."
            ) from None
        if fault := self._unsuitable(content):
            raise Failure(f"{self.path} must be a lock that a build can read (got {fault}). To fix it: lock again.")
        return content

    def _unsuitable(self, content: Mapping[str, Any]) -> str:
        """Return why a build can't read a lock, or an empty string."""
        if (self._tree.root / self.path).read_bytes().startswith(codecs.BOM_UTF8):
            return "a byte order mark at its start"
        if self.path.endswith(".toml"):
            return ""
        if not content.get("package"):
            return "no packages"
        if self.path.endswith("uv.lock"):
            version, supported = str(content.get("version")), {"1"}
        else:
            version = str(pyprojects.at(content, "metadata", "lock-version") or _POETRY[-1])
            supported = {*_POETRY}
        return "" if version.partition(".")[0] in supported else f"version {version} of its format"

    def _groups(self) -> list[str]:
        """Return the groups that a project has and that its lock may have."""
        declared = pyprojects.table(self._described, "dependency-groups")
        groups = {name for name, value in declared.items() if value}
        if self.path.endswith("poetry.lock"):
            groups |= set(pyprojects.table(self._root, "tool", "poetry", "group"))
            if pyprojects.at(self._root, "tool", "poetry", "dev-dependencies"):
                groups.add("dev")
        elif self.path.endswith("uv.lock"):
            # An environment of tests has the workspace's own group as well.
            groups |= {name for name in pyprojects.table(self._root, "dependency-groups") if name == "dev"}
            if pyprojects.at(self._described, "tool", "uv", "dev-dependencies"):
                groups.add("dev")
        elif listed := pyprojects.texts(self._content, "dependency-groups"):
            # The project's own requirements may be a group as well.
            groups = set(listed) - (set(pyprojects.texts(self._content, "default-groups")) - groups)
        return sorted(groups - {"main"})

    def _defaults(self) -> set[str]:
        """Return the groups that the tool of the lock installs without an option."""
        if self.path.endswith("poetry.lock"):
            poetry_groups = pyprojects.table(self._root, "tool", "poetry", "group")
            return {name for name in self._groups() if not pyprojects.at(poetry_groups, name, "optional")}
        if self.path.endswith("uv.lock"):
            return set(pyprojects.texts(self._described, "tool", "uv", "default-groups"))
        return set(pyprojects.texts(self._content, "default-groups"))

    def _has(self, group: str) -> bool:
        """Return whether the lock has what a group declares; lists and pylock.toml may have some groups only."""
        if self.path.endswith(("poetry.lock", "uv.lock")):
            optional = pyprojects.at(self._root, "tool", "poetry", "group", group, "optional")
            return not (self.path.endswith("poetry.lock") and optional and group != "dev")
        if group in pyprojects.texts(self._content, "dependency-groups"):
            return True
        locked = set()
        for path in generated.locks(self._tree.root, self.path):
            locked |= set(_names(self._tree, path))
        declared = pyprojects.texts(self._described, "dependency-groups", group)
        # A requirement with a marker may hold in no environment of the lock.
        return locked.issuperset(_named(one for one in declared if ";" not in one))

    def _member(self, application: str) -> tuple[str, Mapping[str, Any]]:
        """Return the name of the workspace's member that has the application, and what describes it."""
        patterns = pyprojects.texts(self._root, "tool", "uv", "workspace", "members")
        for file in self._tree.named(r"pyproject\.toml"):
            folder = posixpath.dirname(file) or "."
            inside = posixpath.relpath(folder, self._folder)
            if inside != "." and is_inside(application, folder) and any(
                fnmatchcase(inside, posixpath.normpath(one)) for one in patterns
            ):  # fmt: skip
                described = pyprojects.read(self._tree, file)
                return str(pyprojects.at(described, "project", "name") or ""), described
        return "", self._root


def _needed(requirements: Iterable[Requirement], extras: set[str]) -> Iterator[Requirement]:
    """Yield the requirements that are not of other extras, or groups, only.

    Raises ValueError for one that does not come from a package index.
    """
    for one in requirements:
        named = {normalized(found["name"] or found["name2"]) for found in selection.EXTRA.finditer(one.marker)}
        if not named or named & extras:
            selection.refuse_foreign(one)
            yield one


def _names(tree: Tree, path: str) -> Iterator[str]:
    """Yield the names of a lock's distributions."""
    if path.endswith(".toml"):
        for one in pyprojects.tables(pyprojects.read(tree, path), "packages"):
            yield normalized(str(one.get("name")))
    else:
        yield from _named(tree.text(path).splitlines())


def _named(listed: Iterable[str]) -> Iterator[str]:
    """Yield the names of requirements."""
    for line in listed:
        if found := _REQUIREMENT.match(line.strip()):
            yield normalized(found[0])
