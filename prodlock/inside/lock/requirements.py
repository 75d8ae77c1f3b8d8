"""Read requirements with hashes, in pip's format. They do not record what they were made from."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from prodlock.inside.lock.selection import (
    Requirement,
    Selection,
    Wanted,
    chosen,
    consistent,
    default_index,
    index,
    normalized,
    pyproject,
)

PIN = re.compile(
    r"(?P<name>[A-Za-z0-9][\w.-]*)\s*(?:\[[^\]]*\])?\s*={2,3}\s*(?P<version>[^\s;,*]+)\s*(?:;(?P<marker>.*))?"
)
HASH = re.compile(r"\s--hash[=\s]\s*(\w+:[0-9a-fA-F]+)")
INDEX = re.compile(r"(?:-i|--index-url|--extra-index-url)[=\s]\s*(\S+)")
# Another file of requirements, or constraints, which is one of the locks.
INCLUDED = re.compile(r"(?:-r|-c|--requirement|--constraint)[=\s]?\s*(\S+)")
# Options that are the installer's own, or change nothing for wheels with hashes.
IGNORED = re.compile(
    r"(?:--(?:require-hashes|prefer-binary|pre|(?:only-binary|trusted-host)(?:=|\s+)[^\s=-]\S*)(?:\s+|$))+"
)

# What else a line may be, and what to do about it.
REMEDIES = (
    (
        re.compile(r"-e\b|--editable\b|file:|\.{0,2}/|\.+(?:\[|$)"),
        "remove the line: `sources` of [tool.prodlock] ships the project's own code",
    ),
    (
        re.compile(r"-c|--constraint"),
        "lock with the constraints (`uv pip compile --generate-hashes --constraints FILE`), and remove the line: "
        "locked versions need none",
    ),
    (
        re.compile(r"-r|--requirement"),
        "lock all files into one list (`uv pip compile --generate-hashes FILE FILE --output-file LIST`)",
    ),
    (
        re.compile("-"),
        "remove the option: the options that a list may have are those that name package indexes and hashes",
    ),
    (
        re.compile(""),
        "lock what a package index serves, with hashes (`uv pip compile --generate-hashes`, `pip-compile "
        "--generate-hashes`)",
    ),
)


def select(lock: Path, wanted: Wanted) -> Selection:
    """Return what pip installs of a list, and of that of development. Raises ValueError where a list is refused."""
    main = [*requirements(lock.read_text(encoding="utf-8-sig"))]
    further = wanted.dev_lock
    added = requirements(further.read_text(encoding="utf-8-sig"), {lock.name}) if further else ()
    return selected(main, added, lock.parent, wanted)


def selected(main: Sequence[Requirement], added: Iterable[Requirement], folder: Path, wanted: Wanted) -> Selection:
    """Return what is installed of requirements and those of development, for the pyproject.toml in a folder."""
    select_from = functools.partial(chosen, environment=wanted.environment, foreign=wanted.foreign)
    found = Selection(select_from(main), select_from([*main, *added]), "")
    return found._replace(inputs=consistent(pyproject(folder), wanted, found))


def requirements(text: str, included: Iterable[str] = ()) -> Iterator[Requirement]:
    """Yield the requirements of a list, for all environments.

    Raises ValueError for a line that is not a pinned distribution of a package index, and for one without hashes.
    """
    addresses: list[str] = []
    found: list[Requirement] = []
    # A comment begins at the line's start or behind a space; a backslash joins lines.
    for line in re.sub(r"(?m)(?:^|[ \t])#.*$", "", text).replace("\\\r\n", " ").replace("\\\n", " ").splitlines():
        stripped = line.strip()
        if not stripped or IGNORED.fullmatch(stripped):
            continue
        if indexed := INDEX.fullmatch(stripped):
            named = index(indexed[1].strip("\"'"))
            if named.rstrip("/") != default_index().rstrip("/"):
                addresses.append(named)
        elif (file := INCLUDED.fullmatch(stripped)) and Path(file[1]).name in included:
            continue
        else:
            pin = PIN.fullmatch(HASH.sub("", stripped).strip())
            if not pin:
                # An address may have a password.
                shown = re.sub(r"//[^/@\s]*@", "//", HASH.sub("", stripped))
                remedy = next(text for pattern, text in REMEDIES if pattern.match(stripped))
                message = f"each line must be NAME==VERSION with hashes (got {shown!r}). To fix it: {remedy}."
                raise ValueError(message)
            # pip compares digests without their case.
            hashes = tuple(("", digest.lower()) for digest in HASH.findall(stripped))
            name = normalized(pin["name"])
            if not hashes:
                message = (
                    f"{name}=={pin['version']} must have hashes (got none). To fix it: lock with hashes "
                    "(`uv pip compile --generate-hashes`, `pip-compile --generate-hashes`)."
                )
                raise ValueError(message)
            found.append(Requirement(name, pin["version"], hashes, (pin["marker"] or "").strip()))
    # An index counts for the whole list, wherever its line is.
    return (one._replace(address=" ".join(addresses)) for one in found)


def pinned(text: str, groups: Iterable[str]) -> Iterator[str]:
    """Yield name and version of each distribution of a list, for all environments: it has no groups."""
    del groups
    return (f"{one.name} {one.version}" for one in requirements(text))
