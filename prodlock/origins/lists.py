"""Read lists of requirements in pip's format, with the lists that they include, as one lock."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from prodlock.inside.lock import requirements, selection
from prodlock.inside.lock.selection import Selection, Wanted

# Another list whose requirements are installed as well, or whose versions are limits: of these each is pinned anyway
# (https://pip.pypa.io/en/stable/reference/requirements-file-format/).
_INCLUDED = re.compile(r"(?:-r|--requirement)(?:[=\s]\s*|(?=[^\s=]))(?P<file>[^#]*[^#\s])(?:\s+#.*)?")
_LIMITS = re.compile(r"(?:-c|--constraint)[=\s]?\s*\S.*")
# Options that choose where and how pip gets a distribution: its hash decides what an image may have.
_SOURCES = re.compile(
    r"(?:--no-index|(?:-f|--find-links|--no-binary|--only-binary|--use-feature)[=\s]\s*\S+)(?:\s+#.*)?"
)
# A folder of the project's own code, editable or not, as `uv export` lists the project and the members of a workspace.
_FOLDER = re.compile(
    r"(?:(?:-e|--editable=?)\s*(?:file:)?(?P<editable>[^\s:;#\[]+)|(?:file:)?(?P<folder>\.{1,2}|\.{0,2}/[^\s:;#\[]*))"
    r"(?<!\.whl)(?<!\.zip)(?<!\.gz)(?:\[[^\]]*\])?(?:\s*;[^#]*)?(?:\s+#.*)?"
)
# A file or a folder that no index serves: `NAME @ ADDRESS`, or the address or path of a wheel alone.
_LINK = re.compile(
    r"(?:(?P<name>[A-Za-z0-9][\w.-]*)\s*(?:\[[^\]]*\])?\s*@\s*)?"
    r"(?P<link>(?:https?|file)://[^\s;#]+|\.{0,2}/[^\s;#]+|[^\s;#@]+\.whl)"
    r"(?:#(?:\S*&)?sha256=(?P<digest>[0-9a-fA-F]{64})\S*|#\S*)?\s*(?:;(?P<marker>.*))?"
)


def select(lists: Sequence[Path], wanted: Wanted) -> Selection:
    """Return what pip installs of lists, and of those of development. Raises ValueError where one is refused."""
    files = [*included(lists)]
    main = [one for file in files for one in _requirements(file)]
    further = [wanted.dev_lock] if wanted.dev_lock else []
    added = [one for file in included(further, files) for one in _requirements(file)]
    return requirements.selected(main, added, lists[0].parent, wanted)


def is_hashed(file: Path) -> bool:
    """Return whether a list, or one that it includes, has hashes; not where one can't be read."""
    try:
        return any(requirements.HASH.search(_text(one)) for one in included([file]))
    except (ValueError, OSError):
        return False


def included(lists: Iterable[Path], known: Iterable[Path] = ()) -> Iterator[Path]:
    """Yield lists and those that they include, each once and without the known ones.

    Raises ValueError for an address.
    """
    seen = {file.resolve() for file in known}
    pending = [*lists]
    while pending:
        file = pending.pop(0)
        if file.resolve() in seen:
            continue
        seen.add(file.resolve())
        yield file
        for line in _text(file).splitlines():
            if match := _INCLUDED.fullmatch(line.strip()):
                name = match["file"].strip("\"'")
                if "://" in name:
                    message = f"{file.name} must include files (got an address). To fix it: save the list as a file."
                    raise ValueError(message)
                pending.append(file.parent / name)


def _requirements(file: Path) -> Iterator[selection.Requirement]:
    """Yield the requirements in a list itself."""
    # A comment begins at the line's start or behind a space, and a backslash joins lines.
    text = re.sub(r"(?m)(?:^|[ \t])#.*$", "", _text(file))
    rest: list[str] = []
    for line in re.sub(r"\\\r?\n", " ", text).splitlines():
        if folder := _FOLDER.fullmatch(line.strip()):
            yield from _local(file.parent / (folder["editable"] or folder["folder"]))
        elif linked := _linked(line, file):
            yield linked
        elif not any(form.fullmatch(line.strip()) for form in (_INCLUDED, _LIMITS, _SOURCES)):
            rest.append(line)
    try:
        yield from requirements.requirements("\n".join(rest))
    except ValueError as error:
        message = f"{file.name}: {error}"
        raise ValueError(message) from None


def _local(folder: Path) -> Iterator[selection.Requirement]:
    """Yield the requirement of a folder of the project's own code, where its pyproject.toml has a name."""
    if name := selection.pyproject(folder).get("project", {}).get("name", ""):
        yield selection.Requirement(selection.normalized(name), "", (), origin="directory")


def _linked(line: str, file: Path) -> selection.Requirement | None:
    """Return the requirement of a line that names a file with its hash, or a folder; None for any other line."""
    match = _LINK.fullmatch(requirements.HASH.sub("", line).strip())
    if not match or (not match["name"] and not match["link"].endswith(".whl")):
        return None
    link = match["link"]
    named = unquote(urlsplit(link).path).rpartition("/")[2]
    digests = requirements.HASH.findall(line) or [f"sha256:{one}" for one in (match["digest"],) if one]
    name = selection.normalized(match["name"] or named.partition("-")[0])
    marker = (match["marker"] or "").strip()
    if not digests:
        is_folder = not link.startswith("http") and not re.search(r"\.(?:whl|zip|gz|bz2|xz)$", link)
        return selection.Requirement(name, "", (), marker, origin="directory") if is_folder else None
    # The version of a wheel is in its name; that of an sdist is not compared.
    version = named.split("-")[1] if named.endswith(".whl") and named.count("-") > 1 else ""
    files = tuple((named, digest.lower()) for digest in digests)
    place = link if "://" in link else str(file.parent.absolute() / link)
    return selection.Requirement(name, version, files, marker, origin="url", link=place)


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8-sig", errors="replace")
