"""What `prodlock verify` works with, as plain records."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from pathlib import PurePosixPath
from typing import NamedTuple

from prodlock.image.records import File, Image
from prodlock.inside.lock.selection import Requirement


class Kind(StrEnum):
    """The kinds of origins, in the order of a report."""

    BASE = "base image"
    WHEEL = "locked wheels"
    BYTECODE = "bytecode"
    INSTALLER = "installer"
    REPOSITORY = "repository"
    DEBIAN = "Debian packages"
    UNEXPLAINED = "unexplained"


class Origin(NamedTuple):
    """Where a file comes from."""

    kind: Kind
    # A distribution and its version, a path of the repository, a package: what of this kind it is.
    what: str = ""
    # False where the image's own records state it, or where it could not be compared.
    proven: bool = True


class Python(NamedTuple):
    """The interpreter of an image."""

    # Such as 3.13.5, and the path of its standard library.
    version: str
    library: str
    # The variables of markers in the image (PEP 508).
    environment: Mapping[str, str]

    @property
    def minor(self) -> str:
        """The first two numbers of the version, such as 3.13."""
        return ".".join(self.version.split(".")[:2])


class Copied(NamedTuple):
    """A base image whose files an image has copies of, instead of its layers."""

    files: tuple[File, ...]
    # The digests of its layers.
    diff_ids: tuple[str, ...]
    # Returns the content of a regular file of the base image.
    content: Callable[[File], bytes]


@dataclass(frozen=True)
class Subject:
    """The image that is verified, and how much of it is its base image."""

    image: Image
    # The name of the base image, and how many layers of the image are the base image's.
    base: str
    base_layers: int
    # Returns the content of a regular file of the image.
    content: Callable[[File], bytes] = field(repr=False)
    # Whether the base image was found among the images of the Engine, and not given.
    base_found: bool = False
    # The id of an image of the Engine that has the base image's layers and no others; nothing where it has none.
    base_id: str = ""
    # The base image of an image that was built from nothing, and that has copies of the base image's files.
    copied: Copied | None = field(default=None, repr=False)
    # The files in a cache that links of an environment lead to, by layer and path.
    linked: frozenset[tuple[int, str]] = frozenset()

    @cached_property
    def base_files(self) -> tuple[File, ...]:
        """The files and links of the base image."""
        if self.copied:
            return tuple(file for file in self.copied.files if not (file.directory or file.packed))
        return tuple(file for file in self.image.stored if file.layer < self.base_layers)

    @property
    def base_diff_ids(self) -> tuple[str, ...]:
        """The digests of the base image's layers."""
        if self.copied:
            return self.copied.diff_ids
        return tuple(layer.diff_id for layer in self.image.layers[: self.base_layers])

    @cached_property
    def linked_folders(self) -> frozenset[str]:
        """The folders that `linked` files are below."""
        return frozenset(str(folder) for _, path in self.linked for folder in PurePosixPath(path).parents)

    @cached_property
    def bytecode_folder(self) -> str:
        """The folder in which Python has the bytecode of all sources (PYTHONPYCACHEPREFIX), or an empty string."""
        values = (str(one).partition("PYTHONPYCACHEPREFIX=") for one in self.image.config.get("Env") or ())
        folder = next((value for before, name, value in values if name and not before), "")
        return posixpath.normpath(folder) if re.fullmatch(r"/[^/].*", folder) else ""

    def base_content(self, file: File) -> bytes:
        """Return the content of one of `base_files`."""
        return (self.copied or self).content(file)


class Locked(NamedTuple):
    """What a lock has for the environment of an image, by the normalized name of the distribution."""

    # The path of the lock.
    file: str
    main: Mapping[str, Requirement]
    # What the groups for development add.
    dev: Mapping[str, Requirement]
    # How the lock relates to pyproject.toml: `fresh`, `consistent` or `unknown`.
    inputs: str
    # The names of the distributions that are folders beside the lock: code of the project.
    local: frozenset[str] = frozenset()


class Member(NamedTuple):
    """A file of a wheel."""

    sha256: str
    size: int
    # The sha256 of what follows the first line, of a script: installers replace that line.
    body: str = ""


@dataclass(frozen=True)
class Wheel:
    """The contents of a wheel, whose sha256 the lock has."""

    name: str
    version: str
    file: str
    sha256: str
    # By their paths in the wheel.
    members: Mapping[str, Member]
    # The commands that its entry_points.txt declares, each with its `MODULE:FUNCTION`.
    commands: Mapping[str, str] = field(default_factory=dict)


class Installed(NamedTuple):
    """A distribution that an image has metadata of: a folder NAME.dist-info or NAME.egg-info in a layer."""

    # The name in its normalized form (PEP 503).
    name: str
    version: str
    # The folder of the modules, and that of the metadata.
    site: str
    info: str
    layer: int
    # Whether a later layer deletes the metadata.
    deleted: bool
    # The tags in WHEEL; none where it was not installed from a wheel.
    tags: frozenset[str]
    # The path of each file in RECORD with its hash, `sha256=...` or nothing.
    record: Mapping[str, str]
    # The program that installed it, by its INSTALLER.
    installer: str
    # The address that it was installed from, and whether it is editable (direct_url.json).
    address: str = ""
    editable: bool = False


class State(StrEnum):
    """What a comparison of bytecode with its source gave."""

    EQUAL = "equal"
    # The source is accounted for, and no interpreter of this version could compile it.
    UNVERIFIED = "unverified"
    # It is of another version of its source than the image has.
    STALE = "stale"
    DIFFERENT = "different"
    # The image has no source of it.
    WITHOUT_SOURCE = "without a source"


class Bytecode(NamedTuple):
    """What a bytecode file is, compared with its source."""

    state: State
    source: File | None = None


class Repository(NamedTuple):
    """The project's files."""

    # Such as `commit 1a2b3c4`, or the folders that were given.
    name: str
    # The paths of each content, by its sha256. Empty files are not among them.
    files: Mapping[str, Sequence[str]]
    # The paths of empty files, which no content identifies.
    empty: frozenset[str] = frozenset()


class Package(NamedTuple):
    """A Debian package by dpkg's own records."""

    name: str
    version: str


@dataclass(frozen=True)
class Attribution:
    """The origin of every file of an image."""

    # In the order of `image.stored`, without whiteouts: each file or link with its origin.
    files: tuple[tuple[File, Origin], ...]
    # The later layer that deletes a file, by the file's layer and path.
    deleted: Mapping[tuple[int, str], int]
    # How bytecode compares with its source, by layer and path.
    bytecode: Mapping[tuple[int, str], Bytecode] = field(default_factory=dict)
