"""Summarize the origins of an image's files: by kind, by folder, and what is not proven."""

from __future__ import annotations

import itertools
import posixpath
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from prodlock.image.records import File
from prodlock.origins.records import Attribution, Kind, Origin

# The depth of a folder that is summed up: a hostile image has paths with thousands of folders.
_DEPTH = 32
# In a picture: from which share of all bytes a folder has a place of its own, and from which it is divided.
_SMALL, _LARGE = 0.002, 0.02


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


def cells(files: Sequence[File], whole: int) -> list[Total]:
    """Return the folders that files are in, as few as a picture can show, the largest first.

    A large folder is divided into its folders and the rest; what is small in comparison with `whole` bytes stays one.
    """
    sizes: Counter[str] = Counter()
    numbers: Counter[str] = Counter()
    folders: dict[str, set[str]] = defaultdict(set)
    for folder, size, number in _by_folder(files):
        above = parents(folder)
        for parent, child in itertools.pairwise(above):
            folders[parent].add(child)
        for name in above:
            sizes[name] += size
            numbers[name] += number

    def deepest(folder: str) -> str:
        while same := [child for child in folders[folder] if numbers[child] == numbers[folder]]:
            (folder,) = same
        return folder

    def divided(folder: str) -> Iterator[Total]:
        large = [child for child in folders[folder] if sizes[child] >= whole * _SMALL]
        if not large or sizes[folder] < whole * _LARGE:
            yield Total(deepest(folder), numbers[folder], sizes[folder])
            return
        for child in large:
            yield from divided(child)
        rest = sizes[folder] - sum(sizes[child] for child in large)
        if rest:
            number = numbers[folder] - sum(numbers[child] for child in large)
            yield Total(f"{folder.rstrip('/')}/*", number, rest)

    return sorted(divided("/"), key=lambda total: (-total.size, total.name)) if sizes["/"] else []


def parents(path: str) -> Sequence[str]:
    """Return the folders above an absolute path, from the root; deeper ones than a report shows are left out."""
    parts = path.split("/", _DEPTH)[1:-1]
    return ["/", *("/" + "/".join(parts[:end]) for end in range(1, len(parts) + 1))]


def _below(files: Iterable[File]) -> Counter[str]:
    """Return how many of the files are below each folder."""
    below: Counter[str] = Counter()
    for folder, _, number in _by_folder(files):
        for above in parents(folder):
            below[above] += number
    return below


def _by_folder(files: Iterable[File]) -> Iterator[tuple[str, int, int]]:
    """Yield each folder with a slash at its end, and the bytes and the number of the files in it.

    Folders are far fewer than files.
    """
    sizes: Counter[str] = Counter()
    numbers: Counter[str] = Counter()
    for file in files:
        folder = file.path[: file.path.rfind("/") + 1]
        sizes[folder] += file.size
        numbers[folder] += 1
    for folder, number in numbers.items():
        yield folder, sizes[folder], number


def _common(files: Iterable[File]) -> str:
    """Return the deepest folder that has all the files."""
    return posixpath.commonpath({posixpath.dirname(file.path) for file in files})
