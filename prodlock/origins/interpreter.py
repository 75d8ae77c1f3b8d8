"""Find the interpreter of an image: its standard library, its version, and the variables of markers.

Everything comes from the image's files and configuration: no container runs.
"""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from prodlock.failure import CANNOT_CHECK, Failure
from prodlock.image.records import File
from prodlock.origins.records import Python, Subject

_LIBRARY = re.compile(r"(?P<prefix>.*)/lib(?:64)?/python(?P<minor>3\.\d+)(?P<threads>t?)/os\.pyc?")
_SITE = re.compile(r".*/python(?P<minor>3\.\d+)?(?P<threads>t?)3?/(?:site|dist)-packages")
# A version as markers have it, of CPython's own header, of Debian (`3.13.0~rc2-1`), or of a venv (`3.13.5.final.0`).
_VERSION = re.compile(r"(?:\d+:)?(3\.\d+\.\d+)(?:\.?~?(a|alpha|b|beta|c|rc|candidate)\.?(\d+))?")
_STAGES = {"alpha": "a", "beta": "b", "c": "rc", "candidate": "rc"}
# The names that the kernel uses, by those of an image's configuration.
_MACHINES = {"amd64": "x86_64", "arm64": "aarch64", "386": "i686", "loong64": "loongarch64"}
_ARM = {"v5": "armv5tel", "v6": "armv6l", "v7": "armv7l", "v8": "armv8l"}
# How many symbolic links a path may lead through, as on Linux.
_LINKS = 40


@dataclass(frozen=True)
class _Library:
    """A standard library."""

    path: str
    # What it is installed below, such as /usr/local.
    prefix: str
    # The version without its last part, and `t` for a build with free threading.
    minor: str
    threads: str

    @property
    def name(self) -> str:
        """The name of the interpreter's folders."""
        return f"python{self.minor}{self.threads}"


def find(subject: Subject) -> Python:
    """Return the interpreter of an image; of several, the one that most of the distributions are installed for.

    Raises Failure, code 2, where the image has none, or where its version can't be found.
    """
    image = _Image(subject)
    library = image.library()
    version = image.version(library)
    machine = _machine(subject)
    environment = {
        "implementation_name": "cpython",
        "implementation_version": version,
        "os_name": "posix",
        "platform_machine": machine,
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_system": "Linux",
        "platform_version": "",
        "python_full_version": version,
        "python_version": library.minor,
        "sys_platform": "linux",
    }
    return Python(version, library.path, environment)


def _machine(subject: Subject) -> str:
    """Return the machine that an image is for, by the name that its kernel uses."""
    document = subject.image.document
    architecture, system = str(document.get("architecture", "")), document.get("os", "")
    if system != "linux" or not architecture:
        raise Failure(
            f"{subject.image.reference} must be an image for Linux (got {system or 'no system'}/"
            f"{architecture or 'no architecture'}). To fix it: name an image for Linux.",
            CANNOT_CHECK,
        )
    if architecture == "arm":
        return _ARM.get(str(document.get("variant", "")), "armv7l")
    return _MACHINES.get(architecture, architecture)


class _Image:
    """The files of an image that show which interpreters it has."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._files: dict[str, File] = {}
        self._libraries: dict[str, _Library] = {}
        # The folders of distributions, with how many each has, and the virtual environments.
        self._sites: Counter[str] = Counter()
        self._environments: list[str] = []
        for file in subject.image.stored:
            path = file.path
            self._files[path] = file
            if path.endswith((".dist-info/METADATA", ".egg-info/PKG-INFO")) and file.layer >= subject.base_layers:
                self._sites[posixpath.dirname(posixpath.dirname(path))] += 1
            elif path.endswith(("/os.py", "/os.pyc")) and (found := _LIBRARY.fullmatch(path)):
                place = posixpath.dirname(path)
                self._libraries[place] = _Library(place, found["prefix"], found["minor"], found["threads"])
            elif path.endswith("/pyvenv.cfg"):
                self._environments.append(posixpath.dirname(path))

    def library(self) -> _Library:
        """Return the standard library that most distributions are installed for, or else the first one on PATH."""
        if not self._libraries:
            raise Failure(
                f"{self._subject.image.reference} must have CPython (got no standard library, such as "
                "/usr/local/lib/python3.13/os.py). To fix it: name an image that a Python program runs in.",
                CANNOT_CHECK,
            )
        ordered = sorted(self._libraries.values(), key=lambda one: (self._place(one), one.path))
        counted: Counter[_Library] = Counter()
        for site, count in self._sites.items():
            if (library := self._of(site, ordered)) is not None:
                counted[library] += count
        # `max` returns the first of several with the same number.
        return max(ordered, key=lambda one: counted[one])

    def _place(self, library: _Library) -> int:
        """Return the place in PATH of a library's interpreter, or one behind all."""
        folders = self._variable("PATH").split(":")
        binary = f"{library.prefix}/bin"
        return folders.index(binary) if binary in folders else len(folders)

    def _of(self, site: str, libraries: list[_Library]) -> _Library | None:
        """Return the library that the distributions in a folder are for, or None where the folder does not show it."""
        found = _SITE.fullmatch(site)
        if not found:
            return None
        same = [one for one in libraries if found["minor"] in {None, one.minor} and found["threads"] == one.threads]
        place = posixpath.dirname(site)
        environment = posixpath.dirname(posixpath.dirname(place))
        prefixes = [one.prefix for one in same if one.path == place]
        if environment in self._environments:
            home = self._settings(environment).get("home", "")
            prefixes.append(posixpath.dirname(self._resolved(home)))
        elif site.endswith("/dist-packages"):
            # Debian's interpreter alone has folders of this name.
            prefixes.append("/usr")
        return next((one for prefix in prefixes for one in same if one.prefix == prefix), same[0] if same else None)

    def version(self, library: _Library) -> str:
        """Return the version of an interpreter, by the first record of it that fits."""
        for text in self._versions(library):
            found = _VERSION.match(text)
            if found and found[1].rpartition(".")[0] == library.minor:
                stage = found[2] and f"{_STAGES.get(found[2], found[2])}{found[3]}"
                return f"{found[1]}{stage or ''}"
        raise Failure(
            f"The version of the interpreter of {library.path} must be in the image (got no patchlevel.h, "
            "PYTHON_VERSION, package or binary with it). To fix it: set `ENV PYTHON_VERSION` in the Dockerfile.",
            CANNOT_CHECK,
        )

    def _versions(self, library: _Library) -> Iterator[str]:
        """Yield the versions that records of an image state, the strongest first. Some may be of other interpreters."""
        header = self._text(f"{library.prefix}/include/{library.name}/patchlevel.h")
        yield from re.findall(r'(?m)^#define PY_VERSION\s+"([^"]+)"', header)
        if library.prefix == "/usr":
            yield from self._packages(library)
        else:
            yield self._variable("PYTHON_VERSION")
        # Python 3.14 has it (PEP 739).
        details = self._text(f"{library.path}/build-details.json")
        yield ".".join(re.findall(r'"(?:major|minor|micro)":\s*(\d+)', details.partition('"implementation"')[2])[:3])
        for environment in self._environments:
            settings = self._settings(environment)
            home = posixpath.dirname(self._resolved(settings.get("home", "")))
            if home == library.prefix:
                yield settings.get("version_info") or settings.get("version", "")
        yield from re.findall(r"/cpython-(3[^-/]*)-", library.prefix)
        conda = f"{library.prefix}/conda-meta/python-"
        yield from (path.removeprefix(conda) for path in self._files if path.startswith(conda))
        yield from self._binaries(library)

    def _packages(self, library: _Library) -> Iterator[str]:
        """Yield the versions of a distribution's packages of an interpreter."""
        names = f"(?:lib)?python{re.escape(library.minor)}(?:-minimal|-stdlib)?"
        records = [path for path in self._files if path.startswith("/var/lib/dpkg/status.d/")]
        for path in ("/var/lib/dpkg/status", *records):
            yield from re.findall(rf"(?ms)^Package: {names}$.*?^Version: (\S+)$", self._text(path))
        for path in ("/lib/apk/db/installed", "/usr/lib/apk/db/installed"):
            yield from re.findall(r"(?m)^P:python3\nV:(\S+)$", self._text(path))

    def _binaries(self, library: _Library) -> Iterator[str]:
        """Yield the versions in an interpreter's binaries."""
        binary = re.compile(rf"{re.escape(library.prefix)}/(?:lib\S*/lib{library.name}\.so[.\d]*|bin/{library.name})")
        version = re.compile(rb"\0(" + re.escape(library.minor).encode() + rb"\.\d+(?:(?:a|b|rc)\d+)?)\+?\0")
        for path, file in self._files.items():
            if binary.fullmatch(path) and file.sha256:
                yield from (one.decode() for one in version.findall(self._subject.content(file)))

    def _settings(self, environment: str) -> Mapping[str, str]:
        """Return the keys of an environment's pyvenv.cfg, in lower case."""
        lines = self._text(f"{environment}/pyvenv.cfg").splitlines()
        pairs = (line.partition("=") for line in lines if "=" in line)
        return {key.strip().lower(): value.strip() for key, _, value in pairs}

    def _variable(self, name: str) -> str:
        """Return a variable of the image's configuration, or an empty string."""
        pairs = dict(str(one).partition("=")[::2] for one in self._subject.image.config.get("Env") or [])
        return pairs.get(name, "")

    def _text(self, path: str) -> str:
        """Return a text of the image, or an empty string where it does not have the file."""
        file = self._files.get(path)
        if file is None or not file.sha256:
            return ""
        return self._subject.content(file).decode(errors="replace")

    def _resolved(self, path: str) -> str:
        """Return a path with the symbolic links of the image followed."""
        for _ in range(_LINKS):
            parts = path.split("/")
            steps = ("/".join(parts[:end]) for end in range(2, len(parts) + 1))
            link = next((step for step in steps if step in self._files and self._files[step].target), None)
            if link is None:
                break
            rest = path[len(link) :]
            path = posixpath.normpath(posixpath.join(posixpath.dirname(link), self._files[link].target)) + rest
        return path
