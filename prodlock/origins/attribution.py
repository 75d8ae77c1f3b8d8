"""Give every file of every layer its origin. Contents decide; what the image states about itself only selects."""

from __future__ import annotations

import configparser
import contextlib
import hashlib
import itertools
import posixpath
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from prodlock.image.records import File, resolved
from prodlock.origins import debian, installers
from prodlock.origins.environments import LIBRARY, SITE, moved, prefix, rows, source_path
from prodlock.origins.records import (
    Attribution,
    Bytecode,
    Installed,
    Kind,
    Locked,
    Member,
    Origin,
    Package,
    Python,
    Repository,
    State,
    Subject,
    Wheel,
)
from prodlock.origins.visible import Layers, is_whiteout

EMPTY = hashlib.sha256(b"").hexdigest()
# What is added to a distribution's name and version where a file is its wheel, or a copy in a cache.
ARCHIVE, CACHED = ", the archive", ", in a cache"
# What useradd(8) and its like write.
ACCOUNTS = {
    f"/etc/{name}{end}" for name in ("passwd", "shadow", "group", "gshadow", "subuid", "subgid") for end in ("", "-")
}
# A line of these files: a name, and of a user or group a number that is not root's (passwd(5)).
_ACCOUNT = re.compile(rb"[a-z_][a-z0-9_-]*:(?:[^:]*:0*[1-9]\d{0,8}:[^\n]*|[!*]?::[^\n]*|\d+:\d+)")
# A line of any of these files, such as an account of root.
_ANY_ACCOUNT = re.compile(rb"(?:[A-Za-z_+][\w.$@-]*:[^\0]*)?")
_LIBRARY = "/lib/python"
# The lock of uv, which it leaves.
_UV_LOCK = re.compile(r"/tmp/uv-(?:[\w.-]+-)?[0-9a-f]+\.lock")  # noqa: S108 - a path of the image
# Where uv unpacks wheels in its cache, which may have any name.
UNPACKED = re.compile(r"/archive-v\d+/")
# https://bford.info/cachedir/
_CACHE_TAG = re.compile(rb"Signature: 8a477f597d28d172789f06886806bc55(?:\n#[^\n]*)*\n?")
# What Python imports or reads when it starts (https://docs.python.org/3/library/site.html).
_HOOKS = re.compile(r"(?:site|user)customize|.*\._?pth", re.DOTALL)
_MODULE = re.compile(r"([^.]+)\.(?:pyc?|(?:[\w-]+\.)?so)")
# Folders of commands.
COMMANDS = re.compile(r"(?s)(?:/.*)?/s?bin/[^/]+")
# Compares bytecode files with the sources at their paths.
Compare = Callable[[Sequence[File], Mapping[str, Sequence[File]]], Mapping[tuple[int, str], Bytecode]]
Key = tuple[int, str]


@dataclass(frozen=True)
class Evidence:
    """All that the origin of a file is derived from."""

    subject: Subject
    python: Python
    locked: Locked
    installed: tuple[Installed, ...]
    # The wheel of a distribution, by the layer and the path of its metadata.
    wheels: Mapping[Key, Wheel]
    repository: Repository
    # Of the files above the base image, by layer and path.
    debian: Mapping[Key, Package]
    layers: Layers
    # The names of the distributions that the project itself builds.
    own: frozenset[str] = frozenset()

    @cached_property
    def files(self) -> tuple[File, ...]:
        """The files and links of all layers, without whiteouts."""
        return tuple(file for file in self.subject.image.stored if not is_whiteout(file))

    @cached_property
    def base_files(self) -> tuple[File, ...]:
        """The files and links of the base image, without whiteouts."""
        return tuple(file for file in self.subject.base_files if not is_whiteout(file))

    @cached_property
    def seen(self) -> Mapping[str, File]:
        """The files and links that a container sees, by path."""
        return {file.path: file for file in self.files if self.layers.is_seen(file.path, file.layer)}

    @cached_property
    def links(self) -> Mapping[str, str]:
        """The targets of the links that a container sees, by path."""
        return {path: file.target for path, file in self.seen.items() if file.target and not file.sha256}

    @cached_property
    def expected(self) -> Mapping[str, list[tuple[Wheel, Member, bool]]]:
        """The files of the locked wheels by the paths that they may be installed at; whether each is a script."""
        found: dict[str, list[tuple[Wheel, Member, bool]]] = {}
        for one in self.installed:
            if wheel := self.wheels.get((one.layer, one.info)):
                for path, member, script in installers.places(wheel, one.site, self.python):
                    places = found.setdefault(path, [])
                    if not any(known is member for _, known, _ in places):
                        places.append((wheel, member, script))
        return found

    @cached_property
    def sites(self) -> frozenset[str]:
        """The folders that have distributions. Metadata that a build leaves beside the project's sources makes none."""
        return frozenset(
            one.site
            for one in self.installed
            if not (one.name in self.own and one.info.endswith(".egg-info")) or SITE.fullmatch(one.site)
        )

    def site_of(self, path: str) -> str:
        """Return the folder of an environment that a path is in, or an empty string."""
        if match := SITE.match(path):
            return match[0]
        return next((one for one in self.sites if path.startswith(f"{one}/")), "")

    def top_of(self, path: str) -> str:
        """Return the package, module or metadata of an environment that a path is in, or an empty string."""
        site = self.site_of(path)
        return "/".join([site, *path.removeprefix(f"{site}/").split("/")[:1]]) if site else ""


def attribute(evidence: Evidence, compare: Compare) -> Attribution:
    """Return the origin of every file."""
    found = _Attributor(evidence)
    for file in evidence.files:
        if origin := found.direct(file):
            found.origins[file.layer, file.path] = origin
    found.add_empty()
    compiled = found.add_bytecode(compare)
    found.add_links()
    unexplained = Origin(Kind.UNEXPLAINED)
    files = tuple((file, found.origins.get((file.layer, file.path), unexplained)) for file in evidence.files)
    deleted = {
        (file.layer, file.path): by
        for file in evidence.files
        if (by := evidence.layers.deletion(file.path, file.layer)) is not None
    }
    return Attribution(files, deleted, compiled)


@dataclass
class _Attributor:
    """The origins that were found, and what finding them needs."""

    evidence: Evidence
    origins: dict[Key, Origin] = field(default_factory=dict)

    def __post_init__(self) -> None:
        evidence = self.evidence
        self._base: dict[str, set[str]] = {}
        self._base_contents: dict[str, list[str]] = {}
        # The contents of an interpreter's files, by their paths in the library.
        self._base_library: dict[str, set[str]] = {}
        for file in evidence.base_files:
            self._base.setdefault(file.path, set()).add(file.sha256 or f"-> {file.target}")
            if file.size:
                self._base_contents.setdefault(file.sha256, []).append(file.path)
            if _LIBRARY in file.path:
                self._base_library.setdefault(file.path.partition(_LIBRARY)[2], set()).add(file.sha256)
        # Of each metadata folder the distributions, of all layers.
        self._infos: dict[str, list[Installed]] = {}
        for one in evidence.installed:
            self._infos.setdefault(one.info, []).append(one)
        self._programs = {posixpath.basename(path) for path in self._base if COMMANDS.fullmatch(path)}
        # What a wheel declares comes before what the project itself does.
        self._commands = self._entries(of_wheels=False) | self._entries(of_wheels=True)
        self._programs |= {name for wheel in evidence.wheels.values() for name in wheel.commands}
        self._modules = sys.stdlib_module_names | {
            name.partition("/")[0].partition(".")[0] for wheel in evidence.wheels.values() for name in wheel.members
        }
        archives = (*evidence.locked.main.values(), *evidence.locked.dev.values())
        self._archives = {
            digest.removeprefix("sha256:"): f"{one.name} {one.version}" for one in archives for _, digest in one.files
        }
        # The paths in wheels that a content has.
        self._members: dict[str, dict[str, Wheel]] = {}
        for wheel in evidence.wheels.values():
            for name, member in wheel.members.items():
                if member.size:
                    self._members.setdefault(member.sha256, {})[name] = wheel
        configurations = [file for file in evidence.files if file.path.endswith("/pyvenv.cfg")]
        contents = {file.path: evidence.subject.content(file) for file in configurations if file.sha256}
        interpreters = {
            posixpath.dirname(file.path)
            for file in evidence.base_files
            if file.sha256 and installers.PYTHON_NAME.fullmatch(posixpath.basename(file.path))
        }
        # The prompt of each environment, by its folder.
        self._environments = {
            posixpath.dirname(path): installers.prompt_of(content)
            for path, content in contents.items()
            # Beside the base image's interpreter, it would lead that one to another library.
            if installers.is_configuration(content)
            and interpreters.isdisjoint({posixpath.dirname(path), f"{posixpath.dirname(path)}/bin"})
        }
        self._newer = {posixpath.dirname(path) for path, content in contents.items() if installers.is_newer(content)}

    def direct(self, file: File) -> Origin | None:
        """Return the origin of a file by its path and its content, or None where none is found by these alone."""
        if file.layer < self.evidence.subject.base_layers:
            return Origin(Kind.BASE)
        if (file.sha256 or f"-> {file.target}") in self._base.get(file.path, ()):
            return Origin(Kind.BASE, file.path)
        if not file.sha256:
            return self._of_debian(file) or self._of_environment(file)
        origin = self._of_wheel(file) or self._of_metadata(file) or self._of_command(file) or self._of_environment(file)
        if origin or file.path in self.evidence.expected or file.path in self._commands:
            # In a wheel's place only what the wheel has is expected.
            return origin
        return self._of_repository(file) or self._of_archive(file) or self._of_debian(file) or self._copied(file)

    def _is_disguised(self, file: File, source: str) -> bool:
        """Return whether a content, or what a link leads to, is run or imported under the name of something else.

        `source` is the path that it has in the repository, in a wheel or in the base image.
        """
        path = file.path
        name, original = posixpath.basename(path), posixpath.basename(source)
        if LIBRARY.search(path) and not SITE.match(path):
            return True
        if path.endswith(".pyc") and name != original:
            # Python may run it whatever its source has.
            return True
        if f"{source}/__init__.py" in self.evidence.seen:
            # A link to a package.
            path, source = f"{path}/__init__.py", f"{source}/__init__.py"
        place, module = _module(path)
        # Without an ending, it is not a module.
        is_module = "." in posixpath.basename(path) and module in self._modules
        if module != _module(source)[1] and (
            _HOOKS.fullmatch(module) or (is_module and f"{place}/__init__.py" not in self.evidence.seen)
        ):
            return True
        if installers.PYTHON_NAME.fullmatch(name):
            return not installers.PYTHON_NAME.fullmatch(original)
        if name == original:
            return False
        is_command = bool(file.mode & 0o111 or COMMANDS.fullmatch(path)) and name in self._programs
        is_library = ".so" in name and path in self._base and name.partition(".so")[0] != original.partition(".so")[0]
        return is_command or is_library

    def _of_wheel(self, file: File) -> Origin | None:
        for wheel, member, script in self.evidence.expected.get(file.path, ()):
            if file.sha256 == member.sha256 or (
                script and installers.is_script_of(self.evidence.subject.content(file), member)
            ):
                return Origin(Kind.WHEEL, f"{wheel.name} {wheel.version}")
        return None

    def _of_metadata(self, file: File) -> Origin | None:
        """Return the origin of what an installer writes into a distribution's metadata."""
        info, _, name = file.path.rpartition("/")
        for one in self._infos.get(info, ()):
            wheel, what = self.evidence.wheels.get((one.layer, one.info)), f"{one.name} {one.version}"
            if not wheel and one.name not in self.evidence.own:
                continue
            content = self.evidence.subject.content(file)
            if installers.is_written(name, content, one):
                return Origin(Kind.INSTALLER, what)
            if name == "RECORD" and wheel and self._is_record(one, wheel, content):
                return Origin(Kind.INSTALLER, what)
            if not wheel and installers.is_metadata(name, content):
                # The project's build backend wrote it: nothing here can repeat that.
                return Origin(Kind.INSTALLER, what, proven=False)
        return None

    def _is_record(self, one: Installed, wheel: Wheel, content: bytes) -> bool:
        def has(path: str, digest: str) -> bool:
            held = (self.evidence.seen.get(place) for place in (path, moved(path, one.site)))
            return any(file and file.sha256 and installers.encoded(file.sha256) == digest for file in held)

        places = list(installers.places(wheel, one.site, self.evidence.python))
        # Their first line may have been changed since, as pipx does: they are judged by their own contents.
        commands = {path for path, _ in self._scripts(one)} | {path for path, _, script in places if script}
        record = rows(content.decode(errors="replace"), posixpath.dirname(one.info))
        rest = {path: digest for path, digest in record.items() if path not in commands}
        return installers.is_record_of(rest, wheel, (path for path, _, _ in places), has)

    def _scripts(self, one: Installed) -> Iterable[tuple[str, str]]:
        """Return the paths of the commands that a distribution declares, each with its entry point."""
        wheel, commands = self.evidence.wheels.get((one.layer, one.info)), {}
        if wheel:
            commands = dict(wheel.commands)
            if wheel.name == "pip" and "pip" in commands:
                # pip adds a command of its own for the version of Python.
                commands[f"pip{self.evidence.python.minor}"] = commands["pip"]
        elif one.name in self.evidence.own:
            file = self.evidence.seen.get(f"{one.info}/entry_points.txt")
            text = self.evidence.subject.content(file).decode(errors="replace") if file and file.sha256 else ""
            with contextlib.suppress(configparser.Error):
                # Its metadata is not proven: it may not have the name of a command of the base image.
                declared = installers.declared(text)
                commands = {name: entry for name, entry in declared if name not in self._programs}
        return [(f"{prefix(one.site)}/bin/{name}", entry) for name, entry in commands.items()]

    def _entries(self, *, of_wheels: bool) -> dict[str, list[str]]:
        """Return the entry points of each command by its path: several distributions may declare one command."""
        found: dict[str, list[str]] = {}
        for one in self.evidence.installed:
            if ((one.layer, one.info) in self.evidence.wheels) == of_wheels:
                for path, entry in self._scripts(one):
                    found.setdefault(path, []).append(entry)
        return found

    def _of_command(self, file: File) -> Origin | None:
        entries = dict.fromkeys(self._commands.get(file.path, ()))
        script = self.evidence.subject.content(file) if entries else b""
        entry = next((one for one in entries if installers.starts(script, one)), None)
        return Origin(Kind.INSTALLER, entry) if entry else None

    def _of_environment(self, file: File) -> Origin | None:
        """Return the origin of the files of a virtual environment."""
        folder, _, name = file.path.rpartition("/")
        top, _, last = folder.rpartition("/")
        content = self.evidence.subject.content
        if folder in self._environments:
            is_known = (
                name == "pyvenv.cfg"
                or (name == "lib64" and file.target == "lib")
                or (name == ".gitignore" and file.sha256 and _ignores_all(content(file)))
                or (name == "CACHEDIR.TAG" and file.sha256 and _CACHE_TAG.fullmatch(content(file)))
                or (name == ".lock" and file.sha256 == EMPTY)
            )
            return Origin(Kind.INSTALLER, folder) if is_known else None
        if last == "bin" and top in self._environments and file.sha256 and installers.is_activation(name):
            text, prompts = content(file), [one for one in (self._environments[top], posixpath.basename(top)) if one]
            digest = installers.skeleton_digest(text, top, prompts)
            is_known = digest in installers.SKELETONS or self._is_activation_of_base(name, text)
            # Of a version that is newer than this program, nothing is known: its scripts are named, and not proven.
            return Origin(Kind.INSTALLER, top, proven=is_known) if is_known or top in self._newer else None
        is_lock = _UV_LOCK.fullmatch(file.path) or (name == ".lock" and folder in self._targets)
        if file.sha256 == EMPTY and is_lock:
            return Origin(Kind.INSTALLER, "uv")
        if name in {"_virtualenv.py", "_virtualenv.pth"} and file.sha256:
            known = installers.skeleton_digest(content(file), "\0") in installers.SKELETONS
            return Origin(Kind.INSTALLER, "virtualenv") if known else None
        return Origin(Kind.INSTALLER, "the project's own sources") if self._is_own_editable(file) else None

    @cached_property
    def _targets(self) -> frozenset[str]:
        """The folders that `uv pip install --target` and `--prefix` have installed to, and left a lock in."""
        return frozenset(folder for site in self.evidence.sites for folder in (site, prefix(site)))

    def _is_own_editable(self, file: File) -> bool:
        """Return whether a file is one with which the project's own distributions are editable."""
        folder, _, name = file.path.rpartition("/")
        if not name.endswith(".pth") or not file.sha256:
            return name.startswith("__editable___") and self._is_own_finder(file)
        content = self.evidence.subject.content(file)
        finder = self.evidence.seen.get(f"{folder}/{installers.finder_of(content)}.py")
        return self._is_own_path(folder, content) or (finder is not None and self._is_own_finder(finder))

    def _is_activation_of_base(self, name: str, text: bytes) -> bool:
        """Return whether a script is what the base image's module venv makes."""
        folder = f"{self.evidence.python.library}/venv/scripts"
        for place in (f"{folder}/common/{name}", f"{folder}/posix/{name}"):
            file = self.evidence.seen.get(place)
            if file and file.sha256 in self._base.get(place, ()):
                form = installers.activation_form(self.evidence.subject.content(file))
                return form.fullmatch(text.replace(b"\r\n", b"\n")) is not None
        return False

    def _is_own_path(self, site: str, content: bytes) -> bool:
        """Return whether a .pth file only adds folders, with which the project's own distributions are editable."""
        lines = [line.strip() for line in content.decode(errors="replace").splitlines() if line.strip()]
        return (
            self._has_own(site)
            and bool(lines)
            and all(re.fullmatch(r"/[^\0;]*", line) and line.rstrip("/") in self._folders for line in lines)
        )

    def _is_own_finder(self, file: File) -> bool:
        """Return whether a module of setuptools only adds packages, with which the project's own are editable."""
        folders = installers.editable_folders(self.evidence.subject.content(file)) if file.sha256 else []
        return (
            self._has_own(posixpath.dirname(file.path))
            and bool(folders)
            and all(folder in self._folders or f"{folder}.py" in self.evidence.seen for folder in folders)
        )

    def _has_own(self, site: str) -> bool:
        return any(one.name in self.evidence.own for one in self.evidence.installed if one.site == site)

    @cached_property
    def _folders(self) -> frozenset[str]:
        """The folders that have files, and those above them."""
        folders = {posixpath.dirname(file.path) for file in self.evidence.files}
        return frozenset(part for folder in folders for part in (folder, posixpath.dirname(folder)))

    def _of_repository(self, file: File) -> Origin | None:
        paths = self.evidence.repository.files.get(file.sha256, ())
        if not paths and file.head.startswith(b"#!") and COMMANDS.fullmatch(file.path):
            # A script of the project's own package: its installer has replaced the first line.
            rest = installers.body(self.evidence.subject.content(file))
            paths = self.evidence.repository.files.get(hashlib.sha256(rest).hexdigest(), ()) if rest else ()
        # In site-packages, a file of the repository is only expected as one of the project's own package.
        if paths and SITE.match(file.path):
            is_own = any(file.path in one.record for one in self.evidence.installed if one.name in self.evidence.own)
            name = posixpath.basename(file.path)
            paths = [path for path in paths if is_own and posixpath.basename(path) == name]
        # Of several files with this content, the one whose path is most like the file's.
        for path in sorted(paths, key=lambda one: (-_common(file.path, one), "test" in one)):
            if not self._is_disguised(file, path):
                return Origin(Kind.REPOSITORY, path)
        return None

    def _of_archive(self, file: File) -> Origin | None:
        """Return the origin of a wheel itself, and of what an installer's cache has unpacked of it."""
        if what := self._archives.get(file.sha256):
            return Origin(Kind.WHEEL, f"{what}{ARCHIVE}")
        if "cache" not in file.path and not UNPACKED.search(file.path):
            return None
        for path, wheel in self._members.get(file.sha256, {}).items():
            # Without the parts that the wheel's path ends with: a module may have the name `cache`.
            place, _ = _roots(file.path, path)
            if "cache" in place or UNPACKED.search(place):
                return Origin(Kind.WHEEL, f"{wheel.name} {wheel.version}{CACHED}")
        return None

    def _of_debian(self, file: File) -> Origin | None:
        package = self.evidence.debian.get((file.layer, file.path))
        in_environment = any(file.path.startswith(f"{folder}/") for folder in self._environments)
        if package and debian.PLACES.fullmatch(file.path) and not in_environment:
            return Origin(Kind.DEBIAN, f"{package.name} {package.version}".strip(), proven=False)
        if file.path in ACCOUNTS and file.sha256 and self._has_accounts(file):
            return Origin(Kind.DEBIAN, "accounts", proven=self._adds_accounts(file))
        return None

    def _has_accounts(self, file: File) -> bool:
        """Return whether each line of a file is an account or empty."""
        return all(map(_ANY_ACCOUNT.fullmatch, self.evidence.subject.content(file).splitlines()))

    def _adds_accounts(self, file: File) -> bool:
        """Return whether a list of accounts is the base image's with accounts that have no rights of root added."""
        content = self.evidence.subject.content
        lines = set(content(file).splitlines())
        before = [
            set(self.evidence.subject.base_content(one).splitlines())
            for one in self.evidence.base_files
            if one.path == file.path.rstrip("-") and one.sha256
        ]
        return bool(before) and lines >= before[-1] and all(map(_ACCOUNT.fullmatch, lines - before[-1]))

    def _copied(self, file: File) -> Origin | None:
        """Return the origin of a copy of one of the base image's files, or of a wheel's, such as collectstatic makes.

        In the folders of an interpreter, only at the same place of another prefix; a module, only under its name.
        """
        if _LIBRARY in file.path and file.sha256 in self._base_library.get(file.path.partition(_LIBRARY)[2], ()):
            return Origin(Kind.BASE, file.path)
        if self.evidence.site_of(file.path) or file.path.endswith(".pyc"):
            return None
        origins = {path: Origin(Kind.BASE, path) for path in self._base_contents.get(file.sha256, ())}
        for path, wheel in self._members.get(file.sha256, {}).items():
            origins.setdefault(path, Origin(Kind.WHEEL, f"{wheel.name} {wheel.version}"))
        name = posixpath.basename(file.path)
        if _MODULE.fullmatch(name):
            origins = {path: origin for path, origin in origins.items() if posixpath.basename(path) == name}
        return next((origin for path, origin in origins.items() if not self._is_disguised(file, path)), None)

    def add_empty(self) -> None:
        """Add the repository's empty files: where the files beside them are of the same folder of the repository."""
        pairs = set()
        for file in self.evidence.files:
            origin = self.origins.get((file.layer, file.path))
            if origin and origin.kind is Kind.REPOSITORY:
                pairs.add(_roots(file.path, origin.what))
        for file in self.evidence.files:
            key = (file.layer, file.path)
            if file.sha256 != EMPTY or key in self.origins:
                continue
            for place, folder in pairs:
                path = folder + file.path.removeprefix(place)
                if file.path.startswith(place) and path in self.evidence.repository.empty:
                    self.origins[key] = Origin(Kind.REPOSITORY, path)

    def add_bytecode(self, compare: Compare) -> Mapping[Key, Bytecode]:
        """Add the bytecode of files that are accounted for, and return how all of it compares with its source."""
        files = [
            file
            for file in self.evidence.files
            if file.path.endswith(".pyc") and file.sha256 and (file.layer, file.path) not in self.origins
        ]
        wanted = {source_path(file.path, self.evidence.subject.bytecode_folder) for file in files}
        # A source may be a link, such as uv makes to its cache on request.
        links = {file.path: file.target for file in self.evidence.files if file.path in wanted and file.target}
        wanted |= {
            posixpath.normpath(posixpath.join(posixpath.dirname(path), target)) for path, target in links.items()
        }
        sources: dict[str, list[File]] = {}
        for file in self.evidence.files:
            if file.path in wanted:
                sources.setdefault(file.path, []).append(file)
        # In a folder for all bytecode, the path of a source may lead through links.
        ends: dict[str, list[str]] = {}
        for path in wanted - sources.keys():
            ends.setdefault(resolved(path, self.evidence.links), []).append(path)
        for file in self.evidence.files if ends else ():
            for path in ends.get(file.path, ()):
                sources.setdefault(path, []).append(file)
        compared = compare(files, sources) if files else {}
        for file in files:
            result = compared.get((file.layer, file.path))
            if not result or not result.source or result.state not in {State.EQUAL, State.UNVERIFIED}:
                continue
            of = self.origins.get((result.source.layer, result.source.path))
            if of and of.kind is not Kind.UNEXPLAINED:
                what = of.what or str(of.kind)
                proven = of.proven and result.state is State.EQUAL
                self.origins[file.layer, file.path] = Origin(Kind.BYTECODE, what, proven=proven)
        return compared

    def add_links(self) -> None:
        """Add the links that lead to what is accounted for."""
        folders = {posixpath.dirname(file.path) for file in self.evidence.files}
        for folder in list(folders):
            above = folder
            while above not in ("", "/"):
                above = posixpath.dirname(above)
                folders.add(above)
        for file in self.evidence.files:
            key = (file.layer, file.path)
            if key in self.origins or file.sha256 or not file.target:
                continue
            if self.evidence.site_of(file.path) or file.path in self.evidence.expected or file.path in self._commands:
                continue
            # Another layer may have another link at this path.
            end = resolved(posixpath.join(posixpath.dirname(file.path), file.target), self.evidence.links)
            held = self.evidence.seen.get(end)
            of = self.origins.get((held.layer, held.path)) if held else None
            # A name of a system's own program may lead to another one of it, such as `sh` to `bash`.
            if of and _is_choice(file, of):
                self.origins[key] = of
            elif self._is_disguised(file, end):
                continue
            elif of and of.kind is not Kind.UNEXPLAINED:
                self.origins[key] = of
            elif end in folders:
                self.origins[key] = Origin(Kind.INSTALLER, f"a link to {end}")


def _is_choice(file: File, of: Origin) -> bool:
    """Return whether a link is a command that leads to a program of the system, and is none of Python's."""
    is_python = installers.PYTHON_NAME.fullmatch(posixpath.basename(file.path))
    return of.kind in {Kind.BASE, Kind.DEBIAN} and not is_python and bool(COMMANDS.fullmatch(file.path))


def _module(path: str) -> tuple[str, str]:
    """Return the folder that a module or package is imported from, and its name; of another file the file's name."""
    folder, _, name = path.rpartition("/")
    match = _MODULE.fullmatch(name)
    if match and match[1] == "__init__":
        folder, _, name = folder.rpartition("/")
        return folder, name
    return folder, match[1] if match else name


def _ignores_all(content: bytes) -> bool:
    """Return whether a .gitignore has the line `*` and comments alone."""
    return {line.strip() for line in content.splitlines() if not line.startswith(b"#")} == {b"*"}


def _common(place: str, path: str) -> int:
    """Return how many parts two paths have in common at their ends."""
    pairs = zip(reversed(place.split("/")), reversed(path.split("/")), strict=False)
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))


def _roots(place: str, path: str) -> tuple[str, str]:
    """Return what is left of a path of the image and of one of the repository without the parts that both end with."""
    one, other = place.split("/"), path.split("/")
    while one and other and one[-1] == other[-1]:
        one.pop()
        other.pop()
    return "/".join([*one, ""]), "/".join([*other, ""]) if other else ""
