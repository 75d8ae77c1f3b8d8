"""Judge that an image is a closed world: every byte of every layer is promised, and every promise is kept.

Pure functions, as in audit.py. What may be there is what golden.py says of the base image, the locked wheels and the
app; nothing is asked of the image itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from ops.audit import Finding
from ops.records import File, Image

# What golden.py calls them.
BASE = "the base image"
APP = "app/"
# Beyond these, permissions let others write, or let a program act as its owner (setuid, setgid).
_HARMLESS = 0o755


# What a finding is called here; others are called by what they are of.
KINDS = {"file", "files", "folder", "link"}


class Promised(NamedTuple):
    """What may be at a path: a file, link or folder, and where it comes from."""

    path: str
    kind: str
    mode: int
    # The sha256 of a file, the target of a link.
    content: str
    size: int
    owner: tuple[int, int]
    source: str
    required: bool


@dataclass(frozen=True)
class World:
    """All that may be in an image, by path. The base image and the build may promise different things at one path."""

    promised: Mapping[str, tuple[Promised, ...]]

    @property
    def required(self) -> Iterator[Promised]:
        """What must be there as well."""
        for choices in self.promised.values():
            yield from (choice for choice in choices if choice.required)

    def at(self, path: str) -> tuple[Promised, ...]:
        """Return all that is promised at a path."""
        return self.promised.get(path, ())

    def brought(self, path: str, digest: str) -> bool:
        """Return whether a file of this sha256 comes to a path from elsewhere: a wheel, the base image; not `app/`."""
        return any(one.content == digest and one.source != APP for one in self.at(path))

    def base(self, path: str) -> set[str]:
        """Return the sha256 of what the base image has at a path."""
        return {one.content for one in self.at(path) if one.source == BASE}

    def source(self, path: str) -> str:
        """Return where the file at a path comes from, or `` where none is promised."""
        choices = self.at(path)
        return choices[-1].source if choices else ""


def world_from(rows: Iterable[Iterable[Any]]) -> World:
    """Return the world that golden.py's rows describe."""
    promised: dict[str, tuple[Promised, ...]] = {}
    for path, kind, mode, content, size, owner, source, required in rows:
        one = Promised(path, kind, mode, content, size, tuple(owner), source, required)
        promised[one.path] = (*promised.get(one.path, ()), one)
    return World(promised)


def kind(file: File) -> str:
    """Return what an entry of a layer is."""
    return "folder" if file.directory else "link" if file.target and not file.sha256 else "file"


def deleted(file: File, _world: World) -> str:
    """Judge a whiteout (https://github.com/opencontainers/image-spec/blob/main/layer.md#whiteouts)."""
    hidden = PurePosixPath(file.path).name
    return f"deletes what a layer below still holds: {hidden[4:]}" if hidden.startswith(".wh.") else ""


def unpromised(file: File, world: World) -> str:
    """Judge the path."""
    return "" if file.path in world.promised else "neither the lock, nor app/, nor the base image has it"


def of_another_kind(file: File, world: World) -> str:
    """Judge whether it is a file, a link or a folder."""
    kinds = {choice.kind for choice in world.at(file.path)}
    return f"a {kind(file)}, which must be a {' or '.join(sorted(kinds))}" if kinds and kind(file) not in kinds else ""


def led_elsewhere(file: File, world: World) -> str:
    """Judge the target of a link."""
    targets = {choice.content for choice in world.at(file.path) if choice.kind == "link"}
    wrong = targets and kind(file) == "link" and file.target not in targets
    return f"a link to {file.target}, which must lead to {' or '.join(sorted(targets))}" if wrong else ""


def changed(file: File, world: World) -> str:
    """Judge the content of a file."""
    contents = {choice.content: choice for choice in world.at(file.path) if choice.kind == "file"}
    wrong = contents and kind(file) == "file" and file.sha256 not in contents
    return f"not, byte for byte, what {list(contents.values())[-1].source} has there" if wrong else ""


def permitted_too_much(file: File, world: World) -> str:
    """Judge the permissions: nobody but root may write, but to a folder that is for everyone; nothing is setuid."""
    shared = file.directory and file.mode in modes(file.path, world)
    return f"permissions {file.mode:o}" if file.mode & ~_HARMLESS and kind(file) != "link" and not shared else ""


def modes(path: str, world: World) -> set[int]:
    """Return the permissions that are promised at a path."""
    return {choice.mode for choice in world.at(path)}


def made_executable(file: File, world: World) -> str:
    """Judge the permission to execute a file."""
    plain = file.path in world.promised and not any(mode & 0o111 for mode in modes(file.path, world))
    return "executable, and must not be" if plain and kind(file) == "file" and file.mode & 0o111 else ""


def unreadable(file: File, world: World) -> str:
    """Judge whether the service, which is not root, can read what it should."""
    shut = ~file.mode & (0o005 if file.directory else 0o004) and file.mode not in modes(file.path, world)
    return f"permissions {file.mode:o} keep the service out" if shut and kind(file) != "link" else ""


def owned(file: File, world: World) -> str:
    """Judge the owner: what the service owns it could change."""
    owners = {choice.owner for choice in world.at(file.path)} | {(0, 0)}
    return f"owned by {file.owner[0]}:{file.owner[1]}, not by root" if file.owner not in owners else ""


def loaded(file: File, _world: World) -> str:
    """Judge what an entry carries beside its content."""
    return f"it has {file.extra}" if file.extra else ""


Rule = Callable[[File, World], str]
# Each says why a file may not be there as it is, or ``. The first that has something to say is heard.
RULES: tuple[Rule, ...] = (
    deleted, unpromised, of_another_kind, led_elsewhere, changed, permitted_too_much, made_executable, unreadable,
    owned, loaded,
)  # fmt: skip


def unaccounted(image: Image, world: World, rules: Iterable[Rule] = RULES) -> list[Finding]:
    """Return every file of every layer that is not, or not as, promised; and every promise that is not kept."""
    rules = tuple(rules)
    grouped: dict[tuple[int, str, str], list[File]] = {}
    for file in image.files:
        # What is packed into a promised file is promised; what is packed into another is found with it.
        if file.packed:
            continue
        why = next(filter(None, (rule(file, world) for rule in rules)), "")
        if why:
            path = topmost(file.path, world) if why == unpromised(file, world) else file.path
            grouped.setdefault((file.layer, path, why), []).append(file)
    found = [
        Finding(kind(files[0]), path, image.layers[layer].instruction, why, count(files), layer)
        for (layer, path, why), files in grouped.items()
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
    for one in world.required:
        if not is_seen(one.path):
            lost.setdefault((one.path.rpartition("/")[0], one.source), []).append(one)
    return [
        Finding(
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
        Finding("file", path, "", "dev has another content there: what was tested is not what ships")
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
    why = f"{total:.1f} MB, of which {_largest(sizes)}"
    since = {source: size for source, size in sizes.items() if source in came}
    if since:
        why += f"; new since the budget was set: {_largest(since)}"
    return [Finding(f"more than {budget} MB", "pyproject.toml", "", why)]


def _largest(sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{source} {size / 1e6:.1f} MB" for source, size in list(sizes.items())[:5])
