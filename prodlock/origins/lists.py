"""Read lists of requirements in pip's format, with the lists that they include, as one lock."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from prodlock.inside.lock import requirements, selection
from prodlock.inside.lock.selection import Selection, Wanted

# Another list whose requirements are installed as well, or whose versions are limits: of these each is pinned anyway
# (https://pip.pypa.io/en/stable/reference/requirements-file-format/).
_INCLUDED = re.compile(r"(?:-r|--requirement)(?:[=\s]\s*|(?=[^\s=]))(?P<file>[^#]*[^#\s])(?:\s+#.*)?")
_LIMITS = re.compile(r"(?:-c|--constraint)[=\s]?\s*\S.*")
# A folder of the project's own code, editable or not, as `uv export` lists the project and the members of a workspace.
_FOLDER = re.compile(
    r"(?:(?:-e|--editable=?)\s*(?:file:)?[^\s:;#\[]+|(?:file:)?(?:\.{1,2}|\.{0,2}/[^\s:;#\[]*))"
    r"(?<!\.whl)(?<!\.zip)(?<!\.gz)(?:\[[^\]]*\])?(?:\s*;[^#]*)?(?:\s+#.*)?"
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
    lines = _text(file).splitlines(keepends=True)
    other = (_INCLUDED, _LIMITS, _FOLDER)
    own = (line for line in lines if not any(form.fullmatch(line.strip()) for form in other))
    try:
        yield from requirements.requirements("".join(own))
    except ValueError as error:
        message = f"{file.name}: {error}"
        raise ValueError(message) from None


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8-sig", errors="replace")
