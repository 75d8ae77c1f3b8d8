"""Judge that an image is a closed world: every byte of every layer is promised, and every promise is kept.

Pure functions, as in audit.py. What may be there is what golden.py says of the base image, the locked wheels and the
app; nothing is asked of the image itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from prodlock.image.records import File, Image
from prodlock.proof import rules
from prodlock.proof.rules import Finding, Rule

# What golden.py calls them.
BASE = "the base image"
SHIPPED = "the sources"
# Which rule a path breaks that nothing accounts for. The first match counts.
_UNACCOUNTED = (
    (re.compile(r"/srv/(app|prodlock)(/|$)"), rules.UNACCOUNTED_SOURCE),
    (re.compile(r"/srv(/|$)"), rules.PROJECT_FILE),
    (re.compile(r"/root(/|$)|/home(/|$)|.*/\.cache(/|$)"), rules.UNACCOUNTED_CACHE),
    (re.compile(r".*(/__pycache__(/|$)|\.pyc$)"), rules.UNACCOUNTED_BYTECODE),
    (re.compile(r".*/site-packages(/|$)"), rules.UNACCOUNTED_MODULE),
)
# The same for a file whose content is not the promised one.
_CHANGED = (
    (re.compile(r".*\.pyc$"), rules.UNACCOUNTED_BYTECODE),
    (re.compile(r"/srv/(app|prodlock)/"), rules.CHANGED_SOURCE),
)


class Promised(NamedTuple):
    """What must be at a path: a file, link or folder, and where it comes from."""

    path: str
    kind: str
    mode: int
    # The sha256 of a file, the target of a link.
    content: str
    size: int
    owner: tuple[int, int]
    source: str


@dataclass(frozen=True)
class World:
    """All that an image must hold, by path, and nothing else. Of a folder there may be several promises."""

    promised: Mapping[str, tuple[Promised, ...]]
    # The sha256 of what the base image has at a path: only what production takes of it is promised.
    base: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def at(self, path: str) -> tuple[Promised, ...]:
        """Return all that is promised at a path."""
        return self.promised.get(path, ())

    def brought(self, path: str, digest: str) -> bool:
        """Return whether a wheel or the base image, not the sources, brings a file of this sha256 to a path."""
        return any(one.content == digest and one.source != SHIPPED for one in self.at(path))

    def in_base(self, path: str) -> frozenset[str]:
        """Return the sha256 of what the base image has at a path."""
        return self.base.get(path, frozenset())

    def source(self, path: str) -> str:
        """Return where the file at a path comes from, or `` where none is promised."""
        choices = self.at(path)
        return choices[-1].source if choices else ""


def world_from(rows: Iterable[Iterable[Any]]) -> World:
    """Return the world that golden.py's rows describe."""
    promised: dict[str, tuple[Promised, ...]] = {}
    base: dict[str, frozenset[str]] = {}
    for path, kind, mode, content, size, owner, source, taken in rows:
        if taken:
            one = Promised(path, kind, mode, content, size, tuple(owner), source)
            promised[path] = (*promised.get(path, ()), one)
        elif kind == "file":
            base[path] = base.get(path, frozenset()) | {content}
    return World(promised, base)


def kind(file: File) -> str:
    """Return what an entry of a layer is."""
    return "folder" if file.directory else "link" if file.target and not file.sha256 else "file"


# The rule that a file breaks, and how.
Verdict = tuple[Rule, str] | None


def deleted(file: File, _world: World) -> Verdict:
    """Judge a whiteout (https://github.com/opencontainers/image-spec/blob/main/layer.md#whiteouts)."""
    name = PurePosixPath(file.path).name
    return (rules.DELETED, f"deletes what a layer below still holds: {name[4:]}") if name.startswith(".wh.") else None


def unpromised(file: File, world: World) -> Verdict:
    """Judge the path."""
    if file.path in world.promised:
        return None
    path = topmost(file.path, world)
    rule = next((rule for place, rule in _UNACCOUNTED if place.match(path)), rules.UNACCOUNTED)
    why = "neither the lock, nor the sources, nor what production takes of the base image has it"
    return rule, why


def of_another_kind(file: File, world: World) -> Verdict:
    """Judge whether it is a file, a link or a folder."""
    kinds = {choice.kind for choice in world.at(file.path)}
    wrong = kinds and kind(file) not in kinds
    return (rules.WRONG_KIND, f"a {kind(file)}, which must be a {' or '.join(sorted(kinds))}") if wrong else None


def led_elsewhere(file: File, world: World) -> Verdict:
    """Judge the target of a link."""
    targets = {choice.content for choice in world.at(file.path) if choice.kind == "link"}
    wrong = targets and kind(file) == "link" and file.target not in targets
    must_be = " or ".join(sorted(targets))
    return (rules.WRONG_LINK, f"a link to {file.target}, which must lead to {must_be}") if wrong else None


def changed(file: File, world: World) -> Verdict:
    """Judge the content of a file."""
    contents = {choice.content: choice for choice in world.at(file.path) if choice.kind == "file"}
    if not contents or kind(file) != "file" or file.sha256 in contents:
        return None
    rule = next((rule for place, rule in _CHANGED if place.match(file.path)), rules.CHANGED)
    return rule, f"not, byte for byte, what {list(contents.values())[-1].source} has there"


def permitted_otherwise(file: File, world: World) -> Verdict:
    """Judge the permissions; those of a link mean nothing."""
    modes = {choice.mode for choice in world.at(file.path)}
    wrong = modes and kind(file) != "link" and file.mode not in modes
    must_be = " or ".join(f"{mode:o}" for mode in sorted(modes))
    return (rules.WRONG_MODE, f"permissions {file.mode:o}, which must be {must_be}") if wrong else None


def owned_otherwise(file: File, world: World) -> Verdict:
    """Judge the owner: what the service owns it could change."""
    owners = {choice.owner for choice in world.at(file.path)}
    wrong = owners and file.owner not in owners
    must_be = " or ".join(f"{user}:{group}" for user, group in sorted(owners))
    found = f"{file.owner[0]}:{file.owner[1]}"
    return (rules.WRONG_OWNER, f"owned by {found}, which must be {must_be}") if wrong else None


def loaded(file: File, _world: World) -> Verdict:
    """Judge what an entry carries beside its content."""
    return (rules.EXTRA_DATA, f"it has {file.extra}") if file.extra else None


Judge = Callable[[File, World], Verdict]
# Each finds that a file may not be there as it is. The first verdict counts.
JUDGES: tuple[Judge, ...] = (
    deleted, unpromised, of_another_kind, led_elsewhere, changed, permitted_otherwise, owned_otherwise, loaded,
)  # fmt: skip


def unaccounted(image: Image, world: World, judges: Iterable[Judge] = JUDGES) -> list[Finding]:
    """Return every file of every layer that is not, or not as, promised; and every promise that is not kept."""
    judges = tuple(judges)
    grouped: dict[tuple[int, str, Rule, str], list[File]] = {}
    for file in image.files:
        # What is packed into a promised file is promised; what is packed into another is found with it.
        if file.packed:
            continue
        verdict = next(filter(None, (judge(file, world) for judge in judges)), None)
        if verdict:
            path = file.path if verdict[0] is rules.DELETED else topmost(file.path, world)
            grouped.setdefault((file.layer, path, *verdict), []).append(file)
    found = [
        Finding(rule, kind(files[0]), path, image.layers[layer].instruction, why, count(files), layer)
        for (layer, path, rule, why), files in grouped.items()
    ]
    return found + missing(image, world)


def count(files: Iterable[File]) -> int:
    """Return how many files and links there are, 1 where there are folders alone."""
    return sum(not file.directory for file in files) or 1


def missing(image: Image, world: World) -> list[Finding]:
    """Return what must be there and is not, in what a container would see; one finding for a folder's of one source."""
    # The layer that has a path last; that deletes it, or all that layers below have in it.
    held, removed, emptied = {}, {}, {}
    for file in image.files:
        if file.packed:
            continue
        folder, _, name = file.path.rpartition("/")
        if name == ".wh..wh..opq":
            emptied[folder] = file.layer
        elif name.startswith(".wh."):
            removed[f"{folder}/{name[4:]}"] = file.layer
        else:
            held[file.path] = file.layer

    def is_seen(path: str) -> bool:
        layer = held.get(path, -1)
        above = [str(folder) for folder in PurePosixPath(path).parents]
        later = [removed.get(step, -1) for step in (path, *above)] + [emptied.get(step, -1) for step in above]
        return layer >= 0 and max(later) <= layer

    lost: dict[tuple[str, str], list[Promised]] = {}
    for path, choices in world.promised.items():
        if not is_seen(path):
            for one in choices:
                lost.setdefault((path.rpartition("/")[0], one.source), []).append(one)
    return [
        Finding(
            rules.MISSING,
            one.kind if len(group) == 1 else "files",
            one.path if len(group) == 1 else folder,
            "",
            f"must be there and is not: {source} has it",
            len(group),
        )
        for (folder, source), group in lost.items()
        for one in group[:1]
    ]


def topmost(path: str, world: World) -> str:
    """Return the topmost folder above a path that is not promised, or the path: one finding for all that is in it."""
    at = PurePosixPath(path)
    unknown = [step for step in (*reversed(at.parents), at) if str(step) != "/" and str(step) not in world.promised]
    return str(unknown[0]) if unknown else path


def differing(prod: Iterable[File], dev: Iterable[File]) -> list[Finding]:
    """Return the files that production and dev both have, and not alike: what was tested is not what ships."""
    # Of a path in several layers the last one counts.
    shipped = {file.path: file for file in prod if not (file.packed or file.directory)}
    tested = {file.path: file for file in dev if not (file.packed or file.directory)}
    return [
        Finding(rules.UNTESTED, "file", path, "", "dev has another content there: what was tested is not what ships")
        for path in sorted(shipped.keys() & tested.keys())
        if (shipped[path].sha256, shipped[path].target) != (tested[path].sha256, tested[path].target)
    ]


def sizes(image: Image, world: World) -> dict[str, int]:
    """Return the bytes that each source has in the image, the largest first; bytecode counts with its source."""
    found: dict[str, int] = {}
    for file in image.stored:
        source = world.source(file.path).removeprefix("bytecode of ") or "unaccounted"
        found[source] = found.get(source, 0) + file.size
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def over_budget(sizes: Mapping[str, int], budget: float | None, came: frozenset[str]) -> list[Finding]:
    """Return the finding that an image is larger than pyproject.toml allows, with what is largest in it.

    And with the largest of what came into the lock since the budget was set. The budget is in MB, sizes are in bytes.
    """
    total = sum(sizes.values()) / 1e6
    if budget is None or total <= budget:
        return []
    why = f"{total:.1f} MB, more than size-budget-mb = {budget:g}; the largest: {_largest(sizes)}"
    since = {source: size for source, size in sizes.items() if source in came}
    if since:
        why += f"; new since the budget was set: {_largest(since)}"
    return [Finding(rules.OVER_BUDGET, "size-budget-mb", "pyproject.toml", "", why)]


def _largest(sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{source} {size / 1e6:.1f} MB" for source, size in list(sizes.items())[:5])
