"""Summarize the origins of an image's files: by kind, by folder, and what is not proven."""

from __future__ import annotations

import posixpath
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from prodlock.image.records import File
from prodlock.verify.records import Attribution, Kind, Origin


class Total(NamedTuple):
    """Files and their bytes under a name: a kind of origin, a folder, a package."""

    name: str
    files: int
    size: int


class Row(NamedTuple):
    """What an image has of a kind of origin, and how much of that is not proven."""

    kind: Kind
    files: int
    size: int
    unproven_files: int = 0
    unproven_size: int = 0


def rows(attribution: Attribution) -> list[Row]:
    """Return a row for each kind of origin that the image has, and for unexplained files always."""
    files: dict[tuple[Kind, bool], list[int]] = defaultdict(list)
    for file, origin in attribution.files:
        files[origin.kind, origin.proven].append(file.size)
    found = []
    for kind in Kind:
        # Unexplained files are a kind of their own: there is nothing to prove.
        proven, unproven = files[kind, True], files[kind, False]
        if proven or unproven or kind is Kind.UNEXPLAINED:
            claimed = [] if kind is Kind.UNEXPLAINED else unproven
            total = proven + unproven
            found.append(Row(kind, len(total), sum(total), len(claimed), sum(claimed)))
    return found


def unexplained(attribution: Attribution) -> list[File]:
    """Return the files without an origin."""
    return [file for file, origin in attribution.files if origin.kind is Kind.UNEXPLAINED]


def unproven(attribution: Attribution) -> list[tuple[Kind, Total]]:
    """Return what the image's own records state, by kind and name, the largest of each kind first."""
    files: dict[Origin, list[int]] = defaultdict(list)
    for file, origin in attribution.files:
        if not origin.proven and origin.kind is not Kind.UNEXPLAINED:
            files[origin].append(file.size)
    totals = [(origin.kind, Total(origin.what, len(sizes), sum(sizes))) for origin, sizes in files.items()]
    order = list(Kind)
    return sorted(totals, key=lambda one: (order.index(one[0]), -one[1].size, one[1].name))


def unexplained_folders(attribution: Attribution) -> list[Total]:
    """Return the folders of the unexplained files, the largest first.

    A folder that has no other files stands for all below it; of other folders, their own files count.
    """
    missing = unexplained(attribution)
    if not missing:
        return []
    everything = _below(file for file, _ in attribution.files)
    whole = {folder for folder, files in _below(missing).items() if files == everything[folder]}
    groups: dict[str, list[File]] = defaultdict(list)
    for file in missing:
        above = parents(file.path)
        groups[next((folder for folder in above if folder in whole), above[-1])].append(file)
    totals = [Total(_common(files), len(files), sum(file.size for file in files)) for files in groups.values()]
    return sorted(totals, key=lambda total: (-total.size, -total.files, total.name))


def _below(files: Iterable[File]) -> Counter[str]:
    """Return how many of the files are below each folder."""
    below: Counter[str] = Counter()
    # Folders are far fewer than files.
    for folder, number in Counter(posixpath.dirname(file.path) for file in files).items():
        for above in parents(f"{folder.rstrip('/')}/"):
            below[above] += number
    return below


def parents(path: str) -> Sequence[str]:
    """Return the folders above an absolute path, from the root."""
    parts = path.split("/")[1:-1]
    return ["/", *("/" + "/".join(parts[:end]) for end in range(1, len(parts) + 1))]


def _common(files: Iterable[File]) -> str:
    """Return the deepest folder that has all the files."""
    return posixpath.commonpath({posixpath.dirname(file.path) for file in files})
