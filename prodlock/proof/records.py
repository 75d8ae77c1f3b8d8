"""Evidence as plain records: what `evidence` collects and `judges` judge."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from prodlock.image.records import Declaration

# Where the Dockerfile installs the environment, and the folder that the service runs in.
VENV = "/opt/venv"
HOME = "/srv"

# The sources of entries that the stage `golden` names.
BASE = "the base image"
SOURCES = "the sources"
# The origin of files that git ignores and another build makes: no commit is claimed for them.
GENERATED = "generated files"


def normalized(name: str) -> str:
    """Return the normalized name of a distribution (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def module_of(path: str) -> str:
    """Return the path of the source of a module's bytecode (PEP 3147), any other path unchanged."""
    match = re.fullmatch(r"(.*)/__pycache__/([^/.]+)\.[^/]*\.pyc", path) if path.endswith(".pyc") else None
    return f"{match[1]}/{match[2]}.py" if match else path


@dataclass(frozen=True)
class Lock:
    """The versions of each distribution that an installer takes from the lock, by normalized name."""

    main: Mapping[str, frozenset[str]]
    dev: Mapping[str, frozenset[str]]
    # How it relates to pyproject.toml: `fresh` where it states what it was made from, else `consistent` or `unknown`.
    inputs: str = "fresh"
    # The digest of the lock's content.
    sha256: str = ""

    @classmethod
    def from_selection(cls, selection: Mapping[str, Any]) -> Lock:
        """Return the groups main and dev of a selection.json, which `inside/lock` writes."""
        main, dev = (
            {normalized(one["name"]): frozenset({one["version"]}) for one in selection["groups"].get(group, [])}
            for group in ("main", "dev")
        )
        return cls(main, dev, str(selection.get("inputs", "unknown")), selection["lock"])


@dataclass(frozen=True)
class Sources:
    """What the Dockerfile's stage `sources` takes into production."""

    # The path in the project of each file or folder that is copied, by its path in the image.
    copied: Mapping[str, str]
    # The sha256 of each file, by its path in the image.
    files: Mapping[str, str] = field(default_factory=dict, repr=False)
    # The folders of the image that modules are imported from.
    imported: tuple[str, ...] = (HOME,)

    def include(self, path: str) -> bool:
        """Return whether a path of the image is one of the sources, or the bytecode of one."""
        module = module_of(path)
        return module.startswith(self._folders) or module in self.copied

    @functools.cached_property
    def _folders(self) -> tuple[str, ...]:
        # To join them for each of thousands of paths would take a fiftieth of the narrow check.
        return tuple(f"{place}/" for place in self.copied)


class ExpectedEntry(NamedTuple):
    """A file, link or folder that production must contain."""

    path: str
    kind: str
    mode: int
    # The sha256 of a file, the target of a link.
    content: str
    size: int
    owner: tuple[int, int]
    # Where it comes from: a wheel, the base image, the sources, the build.
    source: str


@dataclass(frozen=True)
class ExpectedContents:
    """All that production must contain, by path, and nothing else. A folder may have several sources."""

    entries: Mapping[str, tuple[ExpectedEntry, ...]]
    # The sha256 of each file of the base image that production does not take.
    base: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @classmethod
    def from_rows(cls, rows: Iterable[Iterable[Any]], generated: Iterable[str] = ()) -> ExpectedContents:
        """Return the contents that the rows of `inside/golden.py` describe; sources at some paths are generated."""
        places = tuple(f"{HOME}/{path}/" for path in generated)
        entries: dict[str, tuple[ExpectedEntry, ...]] = {}
        base: dict[str, frozenset[str]] = {}
        for path, kind, mode, content, size, owner, source, taken in rows:
            if taken:
                made = source == SOURCES and f"{path}/".startswith(places)
                entry = ExpectedEntry(path, kind, mode, content, size, tuple(owner), GENERATED if made else source)
                entries[path] = (*entries.get(path, ()), entry)
            elif kind == "file":
                base[path] = base.get(path, frozenset()) | {content}
        return cls(entries, base)

    def at(self, path: str) -> tuple[ExpectedEntry, ...]:
        """Return the entries of a path."""
        return self.entries.get(path, ())

    def provides(self, path: str, digest: str) -> bool:
        """Return whether a wheel or the base image, not the sources, provides a file of this sha256 at a path."""
        return any(one.content == digest and one.source not in {SOURCES, GENERATED} for one in self.at(path))

    def source_of(self, path: str) -> str:
        """Return where the entry at a path comes from, or `` where there is none."""
        entries = self.at(path)
        return entries[-1].source if entries else ""


@dataclass(frozen=True)
class ComposeProject:
    """The Compose project, resolved as `docker compose --profile prod config` returns it, and what it refers to."""

    document: Mapping[str, Any]
    # Its images are called `NAME:TARGET`.
    name: str
    # The working tree, without symlinks.
    root: str
    # Each place of this machine that is mounted, without symlinks.
    real: Mapping[str, str]
    # References to images of this project by another name.
    aliases: frozenset[str]
    # The variables of the service's settings.
    variables: frozenset[str]
    # The files and folders of the project that production's sources come from.
    sources: tuple[str, ...]
    # The Compose file, and what it alone makes of the project where an override file changes that.
    file: str = "docker-compose.yml"
    without_override: ComposeProject | None = None
    dockerfile: str = "Dockerfile"
    # The further commands of the image that the project declares, by the name of their service.
    commands: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def services(self) -> Mapping[str, Mapping[str, Any]]:
        """The services that are started with the profile, by name."""
        return self.document.get("services") or {}


class Expected(NamedTuple):
    """What production must be."""

    # Wheels, Debian packages and the version of Python, as the stage `golden` states them; its rows are the contents.
    golden: Mapping[str, Any]
    contents: ExpectedContents
    declaration: Declaration
    project: ComposeProject
    # Name and version of each distribution that was added to the lock since the size budget was set.
    added: frozenset[str]
