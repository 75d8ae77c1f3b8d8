"""Find a project's lock, and read what it has for the environment of an image."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from prodlock import configuration
from prodlock.configuration import Configuration
from prodlock.failure import CANNOT_CHECK, Failure
from prodlock.inside.lock import poetry, selection, uv
from prodlock.inside.lock.selection import Requirement, Selection, Wanted, normalized
from prodlock.origins import lists
from prodlock.origins.records import Locked, Python

_NAMES = ("poetry.lock", "uv.lock", "pylock.toml", "pylock.*.toml")
_LISTS = ("requirements*.txt", "requirements/*.txt")
_DEVELOPMENT = re.compile(
    r"(?:.*[-_.])?(?:dev\w*|tests?|testing|lint\w*|docs?|typ(?:ing|es)|ci)(?:[-_.].*)?", re.IGNORECASE
)
# The locks that are compared with the pyproject.toml beside them.
_OF_PYPROJECT = {"poetry.lock", "uv.lock"}
# The origins of what is a folder of the project or beside it.
_FOLDERS = {"directory", "editable", "virtual"}
# What the readers raise for a file that is not a lock, or not one for the image.
_FAULTS = (ValueError, KeyError, TypeError, AttributeError, IndexError, OSError, RecursionError, SystemExit)
# The command that makes a lock, as a message of a build has it.
_COMMAND = re.compile(r"`inv (poetry|uv) -- lock`")


@dataclass(frozen=True)
class _Names:
    """The groups and extras of a lock."""

    groups: frozenset[str]
    extras: frozenset[str]
    # A list for pip has no groups: all of it is installed.
    has_groups: bool = True


def find(root: Path) -> Path:
    """Return the lock of the project in a folder: that of [tool.prodlock], or else the only one.

    A member of a workspace has its lock in a folder above it, in the same repository. Raises Failure, code 2, where
    there is no lock, or more than one.
    """
    if _table(root).get("lock"):
        return root / _configured(root).lock
    highest = top(root)
    found: list[Path] = []
    for folder in [root, *root.absolute().parents]:
        found = _locks(folder)
        if found or folder.absolute() == highest:
            break
    if len(found) == 1:
        return found[0]
    got = ", ".join(path.name if path.parent == root else str(path) for path in found)
    if not got:
        lists_here = [path for pattern in _LISTS for path in sorted(root.glob(pattern))]
        plain = ", ".join(path.name for path in lists_here if not lists.is_hashed(path))
        got = f"{plain}, without hashes" if plain else "none"
    raise Failure(
        f"{root} must have one lock: poetry.lock, uv.lock, pylock.toml, or requirements with hashes (got {got}). "
        "To fix it: lock with hashes, or name the lock with --lock FILE.",
        CANNOT_CHECK,
    )


def top(root: Path) -> Path:
    """Return the folder of the repository that a project is in, or the project's own where there is none."""
    folder = root.absolute()
    return next((one for one in (folder, *folder.parents) if (one / ".git").exists()), folder)


def _locks(folder: Path) -> list[Path]:
    """Return the locks in a folder, without those of development."""
    found = [path for pattern in _NAMES for path in sorted(folder.glob(pattern))]
    found += [path for pattern in _LISTS for path in sorted(folder.glob(pattern)) if lists.is_hashed(path)]
    chosen = [path for path in dict.fromkeys(found) if path.is_file() and not _DEVELOPMENT.fullmatch(path.stem)]
    beside = {selection.dev_lock(path) for path in chosen}
    beside |= {other for path in chosen if path.suffix == ".txt" for other in _included(path)}
    return [path for path in chosen if path not in beside]


def _included(path: Path) -> list[Path]:
    """Return the lists that a list includes; none where one of them can't be read."""
    with suppress(ValueError, OSError):
        return [*lists.included([path])][1:]
    return []


def check(given: Sequence[Path]) -> None:
    """Raise Failure, code 2, where files can't be a lock: by their names, and by what is beside them."""
    if absent := [one for one in given if not one.is_file()]:
        raise Failure(
            f"The lock must be a file that exists (got {absent[0]}). To fix it: correct the path.", CANNOT_CHECK
        )
    if len(given) > 1 and any(one.suffix != ".txt" for one in given):
        got = ", ".join(map(str, given))
        raise Failure(
            f"--lock must be given once, or name lists of requirements (got {got}). To fix it: name one lock.",
            CANNOT_CHECK,
        )
    lock = given[0]
    if lock.name in _OF_PYPROJECT and not lock.with_name("pyproject.toml").is_file():
        raise Failure(
            f"{lock} must have the pyproject.toml that it was made from beside it (got none). To fix it: name the lock "
            "in the project's folder with --lock FILE.",
            CANNOT_CHECK,
        )
    try:
        selection.reader(lock.name)
    except ValueError as error:
        raise Failure(str(error).replace("`lock` in [tool.prodlock]", "--lock"), CANNOT_CHECK) from None


def read(root: Path, given: Sequence[Path], groups: Sequence[str], extras: Sequence[str], python: Python) -> Locked:
    """Return what a lock has for the environment of an image; several lists of requirements are one lock.

    Without groups, or without extras: those of production in [tool.prodlock], or else the group main and no extra. The
    groups for development are all others that the lock has. Takes files that `check` accepts. Raises Failure, code 2,
    where the lock is not valid, does not match pyproject.toml, or does not have one of the groups and extras.
    """
    own, lock = _configured(root), given[0]
    with _refusals(lock):
        package = own.package or _member(root, lock)
        names = _names(lock, package)
        _check("group", groups, names.groups | {"main"}, lock)
        _check("extra", extras, names.extras, lock)
        wanted = Wanted(
            [*(groups or own.groups)], [*(extras or own.extras)], (), package, None, python.environment, foreign=True
        )
        runtime = {normalized(one) for one in wanted.groups}
        others = sorted((names.groups | {"main"}) - runtime) if names.has_groups else []
        selected = _select(given, wanted, others)
    listed = [_located(one, lock.parent) for one in (*selected.main, *selected.everything)]
    local = frozenset(normalized(one.name) for one in listed if one.origin in _FOLDERS)
    main = {normalized(one.name): one for one in listed[: len(selected.main)] if normalized(one.name) not in local}
    named = {normalized(one.name): one for one in listed if normalized(one.name) not in local}
    added = {name: one for name, one in named.items() if name not in main}
    return Locked(", ".join(map(str, given)), main, added, selected.inputs, local)


def _located(one: Requirement, folder: Path) -> Requirement:
    """Return a requirement with the path of its file, where the lock in a folder names a file."""
    path = unquote(one.link.removeprefix("file://"))
    return one._replace(link=str(folder / path)) if path and "://" not in path else one


def _select(locks: Sequence[Path], wanted: Wanted, others: Sequence[str]) -> Selection:
    """Return what is installed in production, and with the groups for development.

    Two groups may exclude each other; another is not for this environment, or has what no index serves. So where they
    can't be selected together each one is selected alone, and one that can't be selected adds nothing: what an image
    has of it is outside of the lock.
    """
    beside = (selection.dev_lock(lock) for lock in locks)
    further = next((lock for lock in beside if lock and lock not in locks), None)

    def select(wanted: Wanted) -> Selection:
        if locks[0].suffix == ".txt":
            return lists.select(locks, wanted)
        found: Selection = selection.reader(locks[0].name).select(locks[0], wanted)
        return found

    try:
        return select(wanted._replace(dev_groups=others, dev_lock=further))
    except _FAULTS:
        found = select(wanted)
        for one in (wanted._replace(dev_lock=further), *(wanted._replace(dev_groups=(name,)) for name in others)):
            try:
                found = found._replace(everything=[*select(one).everything, *found.everything])
            except _FAULTS:
                continue
    return found


def _names(lock: Path, package: str) -> _Names:
    """Return the groups and extras of a lock. Raises ValueError or a similar error for a file that is not a lock."""
    described = selection.pyproject(lock.parent)
    declared = described.get("dependency-groups", {}).keys()
    optional = described.get("project", {}).get("optional-dependencies", {}).keys()
    if lock.suffix == ".txt":
        # The list has what it was made with, which pyproject.toml may name.
        return _Names(_normalized(declared), _normalized(optional), has_groups=False)
    parsed = tomllib.loads(lock.read_text(encoding="utf-8"))
    if lock.name == "poetry.lock":
        locked = {name for one in parsed.get("package", []) for name in one.get("groups", [])}
        return _Names(_normalized({*locked, *poetry.declared_groups(described)}), _normalized(parsed.get("extras", {})))
    if lock.name == "uv.lock":
        graph = uv.Graph(parsed, uv.targets(parsed, described, package))
        return _Names(_normalized(graph.groups), _normalized(graph.extras))
    further = selection.dev_lock(lock)
    listed = [parsed, *([tomllib.loads(further.read_text(encoding="utf-8"))] if further else [])]
    groups = {name for one in listed for name in one.get("dependency-groups", [])}
    return _Names(
        _normalized(groups or declared), _normalized(parsed.get("extras") or optional), has_groups=bool(groups)
    )


def _normalized(names: Iterable[str]) -> frozenset[str]:
    return frozenset(map(normalized, names))


def _check(kind: str, given: Sequence[str], existing: frozenset[str], lock: Path) -> None:
    """Raise Failure where a lock does not have a group, or an extra, of the command line."""
    for name in given:
        if normalized(name) not in existing:
            raise Failure(
                f"--{kind} must be one that {lock.name} has (got {name}; it has {', '.join(sorted(existing)) or 'none'}"
                "). To fix it: correct the name.",
                CANNOT_CHECK,
            )


def _member(root: Path, lock: Path) -> str:
    """Return the member of a workspace in a project's folder, where the lock is in another folder."""
    if lock.name != "uv.lock" or root.resolve() == lock.parent.resolve():
        return ""
    name = normalized(selection.pyproject(root).get("project", {}).get("name", ""))
    return name if name in uv.members(tomllib.loads(lock.read_text(encoding="utf-8"))) else ""


@contextmanager
def _refusals(lock: Path) -> Iterator[None]:
    """Raise Failure, code 2, for what the readers raise."""
    try:
        yield
    except SystemExit as exit_:
        reason, _, remedy = _COMMAND.sub(r"`\1 lock`", str(exit_)).partition(" To fix it: ")
        if not remedy:
            reason, remedy = f"{lock.name} must match pyproject.toml (got: {reason}).", "run `poetry lock`."
        raise Failure(f"{reason} To fix it: {remedy}", CANNOT_CHECK) from None
    except _FAULTS as error:
        text = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        reason, _, remedy = _COMMAND.sub(r"`\1 lock`", text).partition(" To fix it: ")
        raise Failure(
            f"{lock} must be a lock for the image (got: {reason.rstrip('.')}). To fix it: "
            f"{remedy or 'lock again, or name another lock with --lock FILE.'}",
            CANNOT_CHECK,
        ) from None


def _table(root: Path) -> Mapping[str, Any]:
    """Return [tool.prodlock] of a project, which may be absent."""
    if not (root / "pyproject.toml").is_file():
        return {}
    try:
        tool = configuration.pyproject(root).get("tool", {})
    except Failure as failure:
        raise Failure(str(failure), CANNOT_CHECK) from None
    table = tool.get("prodlock", {}) if isinstance(tool, Mapping) else {}
    return table if isinstance(table, Mapping) else {}


def _configured(root: Path) -> Configuration:
    """Return the configuration of a project, which is the default one where it has no [tool.prodlock]."""
    try:
        return configuration.of_table(root, _table(root))
    except Failure as failure:
        raise Failure(str(failure), CANNOT_CHECK) from None
