"""Derive what production may not contain from the dev image: all that only the dev group provides."""

from __future__ import annotations

import functools
import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from prodlock.image.records import File
from prodlock.proof.judges import credentials, paths, tools
from prodlock.proof.judges.paths import in_site_packages, is_below
from prodlock.proof.records import HOME, VENV, Lock, Sources, module_of, normalized

# Python source files, and all files that the interpreter imports.
PYTHON_FILES = (".py", ".pyw")
IMPORTABLE_FILES = (".py", ".pyc", ".so", ".pyd")
# Shorter content is not evidence of its owner.
_TRACEABLE_BYTES = 64
# Shorter names are the end of many words, such as `copy`.
_SHORT_NAME = 4
_RECORD = re.compile(rf"{VENV}/lib/[^/]+/site-packages/[^/]+\.dist-info/RECORD")


@dataclass(frozen=True)
class Forbidden:
    """What the dev image has and production may not have. Each mapping leads to the distribution that owns it."""

    distributions: frozenset[str]
    # Imported as a folder, or as a single file.
    packages: Mapping[str, str]
    modules: Mapping[str, str]
    scripts: Mapping[str, str]
    # Owners by the sha256 of a file.
    contents: Mapping[str, str]
    # Path and sha256 of each file of main's wheels: never a leak, whatever its name is.
    allowed: frozenset[tuple[str, str]] = field(repr=False)
    # What the stage `sources` copies, and path and sha256 of each of these files in dev: they may have any name.
    sources: Sources
    source_files: frozenset[tuple[str, str]] = field(repr=False)
    # Modules by their dotted names, below packages that a distribution of main shares (`google.cloud.x`).
    submodules: Mapping[str, str] = field(default_factory=dict)
    # The distributions of main.
    locked: frozenset[str] = frozenset()

    def allows(self, path: str, digest: str) -> bool:
        """Return whether one of main's wheels provides a file of this sha256 at a path."""
        return (path, digest) in self.allowed

    @functools.cached_property
    def source_paths(self) -> frozenset[str]:
        """The paths of the sources' files."""
        return frozenset(path for path, _ in self.source_files)

    @functools.cached_property
    def allowed_in_site_packages(self) -> frozenset[tuple[str, str]]:
        """Path below whichever site-packages and sha256 of each file of main's wheels."""
        return frozenset(("/".join(in_site_packages(path)), digest) for path, digest in self.allowed)

    @functools.cached_property
    def _named(self) -> Mapping[bytes, bytes]:
        """The names of modules and scripts of these distributions, each with a pattern of it as a text may contain it.

        Before a longer name may be other letters: `python -mpytest`.
        """
        names = {name: re.escape(name) for name in self._names}
        return {
            name: (rb"(?<!\w)" if len(escaped) < _SHORT_NAME else b"") + escaped + rb"(?!\w)"
            for name, escaped in names.items()
        }

    @functools.cached_property
    def _imported(self) -> re.Pattern[bytes]:
        """The same in the place of a module's name, and what may hide one: escapes, other letters, other encodings."""
        # Without names, a pattern that never matches.
        names = b"|".join(map(re.escape, self._names)) or rb"(?!)"
        return re.compile(rb"(?<![\w.])(?:%s)(?!\w)|\\[NUux0-7]|[\x80-\xff]|coding[:=]" % names)

    @functools.cached_property
    def _names(self) -> tuple[bytes, ...]:
        tops = {name.partition(".")[0] for name in self.submodules}
        return tuple(
            name.encode() for name in sorted(filter(None, {*self.packages, *self.modules, *self.scripts, *tops}))
        )

    def _names_one(self, text: bytes) -> bool:
        """Return whether a text contains one of the names."""
        # One pattern of all names takes three times as long.
        return any(name in text and re.search(pattern, text) for name, pattern in self._named.items())

    def may_import(self, source: bytes) -> bool:
        """Return whether a source may import a module of these distributions, so that it has to be parsed."""
        return bool(self._imported.search(source))

    def is_relevant(self, path: str, content: bytes) -> bool:
        """Return whether the content of a file has to be judged. Most files need not be kept."""
        if self.sources.include(path) and path.endswith(PYTHON_FILES):
            return True
        if path.endswith(tools.SHARED) or self._names_one(content) or self.tool_owner(paths.name(path)):
            return True
        # The settings of a client may have a login in each line.
        return bool(credentials.SETTINGS.search(path)) or credentials.may_have(content)

    def provider(self, name: str) -> str | None:
        """Return the distribution that provides a module, by its dotted name, where no distribution of main does."""
        parts = name.split(".")
        longer = (self.submodules.get(".".join(parts[:end])) for end in range(2, len(parts) + 1))
        return self.packages.get(parts[0]) or self.modules.get(parts[0]) or next(filter(None, longer), None)

    def tool_owner(self, name: str) -> str | None:
        """Return the dev tool that a file or folder of this name belongs to."""
        owner = self._tool_files.get(name)
        if not owner and name.startswith(tools.CHANGING):
            owner = next((one for form, one in tools.PATTERNS if form.fullmatch(name)), None)
        return None if owner in self.locked else owner

    @functools.cached_property
    def _tool_files(self) -> Mapping[str, str]:
        made = {form.format(command): owner for command, owner in self.scripts.items() for form in tools.OF_COMMAND}
        return made | tools.FILES

    def variable_owner(self, name: str, value: str) -> str | None:
        """Return the dev tool that reads a variable, or that its value names."""
        if name in tools.NAMING:
            return self.provider(value.rpartition(".")[0] or value)
        match = tools.VARIABLES.fullmatch(name)
        if match and match.lastgroup:
            owner = match[match.lastgroup] if match.lastgroup == "owner" else match.lastgroup
            return None if normalized(owner) in self.locked else normalized(owner)
        # Of some tools the variables are listed one by one: their names are used in other fields as well.
        others = {command: owner for command, owner in self.scripts.items() if owner not in tools.VARIABLES.groupindex}
        return next((owner for command, owner in others.items() if _is_named_after(name, command)), None)

    def owner(self, word: str) -> str | None:
        """Return the distribution that a word names: its own name, a script or an import of it."""
        name = normalized(word)
        if name in self.distributions:
            return name
        return self.scripts.get(word) or self.packages.get(word) or self.modules.get(word)


def _is_named_after(variable: str, command: str) -> bool:
    """Return whether a variable has a command's name: PYTEST_ADDOPTS and pytest."""
    prefix = re.sub(r"\W", "_", command).upper()
    return variable == prefix or variable.startswith(f"{prefix}_")


def derive(dev: Iterable[File], lock: Lock, sources: Sources) -> Forbidden:
    """Return what production may not contain: all that dev's distributions outside of the lock's main group own.

    Takes the files of the dev image's virtual environment and home folder. Ownership is what each distribution's
    RECORD states (https://packaging.python.org/en/latest/specifications/recording-installed-packages/); a module's
    bytecode belongs to the owner of the module.
    """
    files = {file.path: file for file in dev}
    recorded = dict(_owners(files.values()))
    owners = {path: recorded[module_of(path)] for path in files if module_of(path) in recorded}
    main = {path: files[path] for path, name in owners.items() if name in lock.main}
    dev_only = {path: name for path, name in owners.items() if path not in main and ".dist-info/" not in path}
    shipped = {path: file for path, file in files.items() if sources.include(path)}
    unshipped = {path: file for path, file in files.items() if is_below(path, HOME) and path not in shipped}

    main_imports = {_import_name(path) for path in main}
    imports = {
        path: name
        for path, name in dev_only.items()
        if not is_below(path, f"{VENV}/bin") and _import_name(path) not in main_imports
    }
    contents = {files[path].sha256: name for path, name in dev_only.items() if files[path].size >= _TRACEABLE_BYTES}
    own_contents = {
        file.sha256: f"{path.removeprefix(HOME + '/')} of this project"
        for path, file in unshipped.items()
        if file.size >= _TRACEABLE_BYTES
    }
    return Forbidden(
        distributions=frozenset(recorded.values()) - set(lock.main),
        packages={_import_name(path): name for path, name in imports.items() if _is_in_package(path)},
        modules={_import_name(path): name for path, name in imports.items() if not _is_in_package(path)},
        scripts={paths.name(path): name for path, name in dev_only.items() if is_below(path, f"{VENV}/bin")},
        contents=_without(own_contents, shipped.values()) | _without(contents, main.values()),
        allowed=frozenset((path, file.sha256) for path, file in main.items()),
        sources=sources,
        source_files=frozenset((path, file.sha256) for path, file in shipped.items()),
        submodules=_submodules(dev_only, main),
        locked=frozenset(lock.main),
    )


def _submodules(dev_only: Mapping[str, str], main: Iterable[str]) -> dict[str, str]:
    """Return the modules that only dev has, below the packages that main has as well."""
    shared = {prefix for path in main for prefix in _prefixes(path)}
    return {
        prefix: name
        for path, name in dev_only.items()
        for prefix in _prefixes(path)
        if prefix not in shared and prefix.partition(".")[0] in shared
    }


def _prefixes(path: str) -> list[str]:
    """Return the dotted names of a module in site-packages and of the packages that contain it."""
    if not path.endswith(IMPORTABLE_FILES) or "/site-packages/" not in path or "/__pycache__/" in path:
        return []
    *folders, last = in_site_packages(path)
    parts = [*folders, last.split(".")[0]]
    parts = parts[:-1] if parts[-1] == "__init__" else parts
    return [".".join(parts[:end]) for end in range(1, len(parts) + 1)] if all(map(str.isidentifier, parts)) else []


def _without(contents: Mapping[str, str], legal: Iterable[File]) -> dict[str, str]:
    """Return the contents that no legal file has."""
    known = {file.sha256 for file in legal}
    return {digest: owner for digest, owner in contents.items() if digest not in known}


def _owners(files: Iterable[File]) -> Iterator[tuple[str, str]]:
    """Yield each path in the virtual environment's RECORDs with the normalized name of its distribution."""
    for file in files:
        # Metadata that a distribution vendors is the distribution's own.
        found = paths.distribution(file.path) if _RECORD.fullmatch(file.path) else None
        if not found:
            continue
        site_packages = file.path.rsplit("/", 2)[0]
        for line in file.head.decode().splitlines():
            relative = line.rsplit(",", 2)[0].strip('"')
            # `pathlib` would take a tenth of the check.
            yield posixpath.normpath(posixpath.join(site_packages, relative)), found[0]


def _import_name(path: str) -> str:
    """Return the name by which a file in site-packages is imported: its package's, or the module's own."""
    return in_site_packages(path)[0].split(".")[0]


def _is_in_package(path: str) -> bool:
    return len(in_site_packages(path)) > 1
