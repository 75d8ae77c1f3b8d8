"""Judge that an image is a closed world: it contains what its sources provide, byte for byte, and nothing else.

What is expected comes from the stage `golden`, never from the image under test.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import PurePosixPath

from prodlock.image.records import File, Image
from prodlock.proof import rules
from prodlock.proof.judges.paths import is_below
from prodlock.proof.records import GENERATED, HOME, SOURCES, ExpectedContents, ExpectedEntry
from prodlock.proof.rules import Finding, Rule

# The rule that an unexpected path breaks where it is not among the sources. The first match counts.
_UNACCOUNTED = (
    (re.compile(rf"{HOME}(/|$)"), rules.PROJECT_FILE),
    (re.compile(r"/root(/|$)|/home(/|$)|.*/\.cache(/|$)"), rules.UNACCOUNTED_CACHE),
    (re.compile(r".*(/__pycache__(/|$)|\.pyc$)"), rules.UNACCOUNTED_BYTECODE),
    (re.compile(r".*/site-packages(/|$)"), rules.UNACCOUNTED_MODULE),
)


def kind(file: File) -> str:
    """Return what an entry of a layer is."""
    return "folder" if file.directory else "link" if file.target and not file.sha256 else "file"


# The rule that a file breaks, and how it does.
Verdict = tuple[Rule, str] | None


def deleted(file: File, _expected: ExpectedContents) -> Verdict:
    """Judge a whiteout (https://github.com/opencontainers/image-spec/blob/main/layer.md#whiteouts)."""
    name = PurePosixPath(file.path).name
    return (rules.DELETED, f"deletes what a layer below still holds: {name[4:]}") if name.startswith(".wh.") else None


def unexpected(file: File, expected: ExpectedContents) -> Verdict:
    """Judge the path."""
    if file.path in expected.entries:
        return None
    path = topmost(file.path, expected)
    folder = path.rpartition("/")[0]
    if is_below(folder, HOME) and any(entry.source in {SOURCES, GENERATED} for entry in expected.at(folder)):
        rule = rules.UNACCOUNTED_SOURCE
    else:
        rule = next((rule for place, rule in _UNACCOUNTED if place.match(path)), rules.UNACCOUNTED)
    why = "neither the lock, nor the sources, nor what production takes of the base image has it"
    return rule, why


def wrong_kind(file: File, expected: ExpectedContents) -> Verdict:
    """Judge whether it is a file, a link or a folder."""
    kinds = {entry.kind for entry in expected.at(file.path)}
    wrong = kinds and kind(file) not in kinds
    return (rules.WRONG_KIND, f"a {kind(file)}, which must be a {' or '.join(sorted(kinds))}") if wrong else None


def wrong_target(file: File, expected: ExpectedContents) -> Verdict:
    """Judge the target of a link."""
    targets = {entry.content for entry in expected.at(file.path) if entry.kind == "link"}
    wrong = targets and kind(file) == "link" and file.target not in targets
    must_be = " or ".join(sorted(targets))
    return (rules.WRONG_LINK, f"a link to {file.target}, which must lead to {must_be}") if wrong else None


def changed(file: File, expected: ExpectedContents) -> Verdict:
    """Judge the content of a file."""
    contents = {entry.content: entry for entry in expected.at(file.path) if entry.kind == "file"}
    if not contents or kind(file) != "file" or file.sha256 in contents:
        return None
    source = list(contents.values())[-1].source
    rule = rules.CHANGED_SOURCE if source in {SOURCES, GENERATED} else rules.CHANGED
    if file.path.endswith(".pyc"):
        rule = rules.UNACCOUNTED_BYTECODE
    return rule, f"not, byte for byte, what {source} has there"


def wrong_mode(file: File, expected: ExpectedContents) -> Verdict:
    """Judge the permissions. Those of a link have no effect."""
    modes = {entry.mode for entry in expected.at(file.path)}
    wrong = modes and kind(file) != "link" and file.mode not in modes
    must_be = " or ".join(f"{mode:o}" for mode in sorted(modes))
    return (rules.WRONG_MODE, f"permissions {file.mode:o}, which must be {must_be}") if wrong else None


def wrong_owner(file: File, expected: ExpectedContents) -> Verdict:
    """Judge the owner: the service could change the files that it owns."""
    owners = {entry.owner for entry in expected.at(file.path)}
    wrong = owners and file.owner not in owners
    must_be = " or ".join(f"{user}:{group}" for user, group in sorted(owners))
    found = f"{file.owner[0]}:{file.owner[1]}"
    return (rules.WRONG_OWNER, f"owned by {found}, which must be {must_be}") if wrong else None


def extra_data(file: File, _expected: ExpectedContents) -> Verdict:
    """Judge what an entry contains beside its content: devices, extended attributes."""
    return (rules.EXTRA_DATA, f"it has {file.extra}") if file.extra else None


Judge = Callable[[File, ExpectedContents], Verdict]
# The first verdict on a file counts.
JUDGES: tuple[Judge, ...] = (
    deleted, unexpected, wrong_kind, wrong_target, changed, wrong_mode, wrong_owner, extra_data,
)  # fmt: skip


def unaccounted(image: Image, expected: ExpectedContents, judges: Iterable[Judge] = JUDGES) -> list[Finding]:
    """Return every entry of every layer that differs from what is expected, and what is missing."""
    judges = tuple(judges)
    grouped: dict[tuple[int, str, Rule, str], list[File]] = {}
    for file in image.files:
        # What an archive contains is judged with the archive.
        if file.packed:
            continue
        verdict = next(filter(None, (judge(file, expected) for judge in judges)), None)
        if verdict:
            path = file.path if verdict[0] is rules.DELETED else topmost(file.path, expected)
            grouped.setdefault((file.layer, path, *verdict), []).append(file)
    found = [
        Finding(rule, kind(files[0]), path, image.layers[layer].instruction, why, count(files), layer)
        for (layer, path, rule, why), files in grouped.items()
    ]
    return found + missing(image, expected)


def count(files: Iterable[File]) -> int:
    """Return how many files and links there are, 1 where there are folders alone."""
    return sum(not file.directory for file in files) or 1


def missing(image: Image, expected: ExpectedContents) -> list[Finding]:
    """Return what is missing from a container's file system: one finding for the files of a folder from one source."""
    # The last layer that contains a path, that deletes it, or that hides all of its content in the layers below.
    held, removed, emptied = {}, {}, {}
    for file in image.files:
        if file.packed:
            continue
        folder, _, name = file.path.rpartition("/")
        if name == ".wh..wh..opq":
            emptied[folder or "/"] = file.layer
        elif name.startswith(".wh."):
            removed[f"{folder}/{name[4:]}"] = file.layer
        else:
            held[file.path] = file.layer

    def is_seen(path: str) -> bool:
        layer = held.get(path, -1)
        above = [str(folder) for folder in PurePosixPath(path).parents]
        later = [removed.get(step, -1) for step in (path, *above)] + [emptied.get(step, -1) for step in above]
        return layer >= 0 and max(later) <= layer

    lost: dict[tuple[str, str], list[ExpectedEntry]] = {}
    for path, promised in expected.entries.items():
        if not is_seen(path):
            for one in promised:
                lost.setdefault((path.rpartition("/")[0], one.source), []).append(one)
    return [
        Finding(
            rules.MISSING,
            one.kind if len(group) == 1 else "files",
            one.path if len(group) == 1 else folder,
            "",
            f"it is missing, and {source} has it",
            len(group),
        )
        for (folder, source), group in lost.items()
        for one in group[:1]
    ]


def topmost(path: str, expected: ExpectedContents) -> str:
    """Return the topmost unexpected folder above a path, or the path: one finding stands for all that is in it."""
    at = PurePosixPath(path)
    unknown = [step for step in (*reversed(at.parents), at) if str(step) != "/" and str(step) not in expected.entries]
    return str(unknown[0]) if unknown else path


def differing(prod: Iterable[File], dev: Iterable[File]) -> list[Finding]:
    """Return the files that differ between production and dev: what was tested is not what ships."""
    # Of a path in several layers the last one counts.
    shipped = {file.path: file for file in prod if not (file.packed or file.directory)}
    tested = {file.path: file for file in dev if not (file.packed or file.directory)}
    return [
        Finding(
            rules.UNTESTED, "file", path, "", "its content in dev is another one: what was tested is not what ships"
        )
        for path in sorted(shipped.keys() & tested.keys())
        if (shipped[path].sha256, shipped[path].target) != (tested[path].sha256, tested[path].target)
    ]


def sizes(image: Image, expected: ExpectedContents) -> dict[str, int]:
    """Return the bytes that come from each source, the largest first. Bytecode counts with its source."""
    found: dict[str, int] = {}
    for file in image.stored:
        source = expected.source_of(file.path).removeprefix("bytecode of ") or "unaccounted"
        found[source] = found.get(source, 0) + file.size
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def over_budget(sizes: Mapping[str, int], budget: float | None, added: frozenset[str]) -> list[Finding]:
    """Return the finding that an image is larger than its budget in MB, with the largest sources, sizes in bytes.

    And with the largest of the distributions that were added to the lock since the budget was set.
    """
    total = sum(sizes.values()) / 1e6
    if budget is None or total <= budget:
        return []
    why = f"{total:.1f} MB, more than size-budget-mb = {budget:g}; the largest: {_largest(sizes)}"
    since = {source: size for source, size in sizes.items() if source in added}
    if since:
        why += f"; new since the budget was set: {_largest(since)}"
    return [Finding(rules.OVER_BUDGET, "size-budget-mb", "pyproject.toml", "", why)]


def _largest(sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{source} {size / 1e6:.1f} MB" for source, size in list(sizes.items())[:5])
