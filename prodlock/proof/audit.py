"""Judge facts: pure functions, records in, findings out. Nothing is read, run or printed here."""

from __future__ import annotations

import functools
import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from prodlock.image.records import HEAD_BYTES, File, Image, is_library
from prodlock.project import SOURCES
from prodlock.proof import credentials, imports, rules, tooling
from prodlock.proof.rules import Finding, Rule

# Where the Dockerfile puts things.
VENV = "/opt/venv"
HOME = "/srv"
APP = "/srv/app"
_SHIPPED = tuple(f"{HOME}/{path}" for path in SOURCES)

# Shorter content says too little to be traced to an owner.
_TELLING_BYTES = 64
_IMPORTABLE = (".py", ".pyc", ".so", ".pyd")
_SOURCES = (".py", ".pyw")
_SHORT = 4
# Where the interpreter finds modules beside site-packages.
_ROOTS = re.compile(r"/srv/([^/.]+)|/usr/(?:local/)?lib/python3[^/]*/(?:lib-dynload/)?([^/.]+)")


@dataclass(frozen=True)
class Lock:
    """The versions of each distribution that the installer takes of poetry.lock, by normalized name."""

    main: Mapping[str, frozenset[str]]
    dev: Mapping[str, frozenset[str]]


@dataclass(frozen=True)
class Forbidden:
    """What the dev image has and production may not have. Each maps to the distribution that owns it."""

    distributions: frozenset[str]
    # Imported as a folder, or as a single file.
    packages: Mapping[str, str]
    modules: Mapping[str, str]
    scripts: Mapping[str, str]
    contents: Mapping[str, str]
    # What main's own wheels brought, as (path, sha256): never a leak, whatever it is called.
    allowed: frozenset[tuple[str, str]] = field(repr=False)
    # The files of the sources, which may be called as they like.
    app: frozenset[tuple[str, str]] = field(repr=False)
    # Modules by their dotted names, below packages that a distribution of main shares (`google.cloud.x`).
    submodules: Mapping[str, str] = field(default_factory=dict)
    # The distributions of main.
    locked: frozenset[str] = frozenset()

    def allows(self, path: str, digest: str) -> bool:
        """Return whether one of main's own wheels brought a file of this sha256 at a path."""
        return (path, digest) in self.allowed

    @functools.cached_property
    def sources(self) -> frozenset[str]:
        """The paths of the files of the sources."""
        return frozenset(path for path, _ in self.app)

    @functools.cached_property
    def brought(self) -> frozenset[tuple[str, str]]:
        """What main's wheels brought, by the path below whichever site-packages, and sha256."""
        return frozenset(("/".join(_inside(path)), digest) for path, digest in self.allowed)

    @functools.cached_property
    def named(self) -> re.Pattern[bytes]:
        """The names of what these distributions bring to import or to run, as a text may contain them."""
        # Short names are the end of many words, `copy` say; to look behind each name would take ten times as long.
        names = [rb"(?<!\w)" + name if len(name) < _SHORT else name for name in self._names.split(b"|")]
        return re.compile(rb"(?:%s)(?!\w)" % b"|".join(names))

    @functools.cached_property
    def _imported(self) -> re.Pattern[bytes]:
        """The same in the place of a module's name, and what may hide one: escapes, other letters, other encodings."""
        return re.compile(rb"(?<![\w.])(?:%s)(?!\w)|\\[NUux0-7]|[\x80-\xff]|coding[:=]" % self._names)

    @functools.cached_property
    def _names(self) -> bytes:
        tops = {name.partition(".")[0] for name in self.submodules}
        names = sorted(filter(None, {*self.packages, *self.modules, *self.scripts, *tops}))
        # Without names, what matches nothing.
        return b"|".join(re.escape(name.encode()) for name in names) or rb"(?!)"

    def may_import(self, source: bytes) -> bool:
        """Return whether a source may import something of these, and is worth being parsed."""
        return bool(self._imported.search(source))

    def tells(self, path: str, content: bytes) -> bool:
        """Return whether the content of a file is worth judging: most need not be kept."""
        if _is_source(path) and path.endswith(_SOURCES):
            return True
        if path.endswith(tooling.SHARED) or self.named.search(content) or self.tool(_name(path)):
            return True
        return any(marker in content for marker in credentials.MARKERS)

    def provider(self, name: str) -> str | None:
        """Return the distribution that a module, by its dotted name, comes from, where only that one has it."""
        parts = name.split(".")
        longer = (self.submodules.get(".".join(parts[:end])) for end in range(2, len(parts) + 1))
        return self.packages.get(parts[0]) or self.modules.get(parts[0]) or next(filter(None, longer), None)

    def tool(self, name: str) -> str | None:
        """Return the tool of development that a file or folder of this name belongs to."""
        owner = self._tool_files.get(name)
        if not owner and name.startswith(tooling.CHANGING):
            owner = next((one for form, one in tooling.PATTERNS if form.fullmatch(name)), None)
        return None if owner in self.locked else owner

    @functools.cached_property
    def _tool_files(self) -> Mapping[str, str]:
        made = {form.format(command): owner for command, owner in self.scripts.items() for form in tooling.OF_COMMAND}
        return made | tooling.FILES

    def variable(self, name: str, value: str) -> str | None:
        """Return the tool of development that reads a variable, or that its value names."""
        if name in tooling.NAMING:
            return self.provider(value.rpartition(".")[0] or value)
        match = tooling.VARIABLES.fullmatch(name)
        if match and match.lastgroup:
            owner = match[match.lastgroup] if match.lastgroup == "owner" else match.lastgroup
            return None if normalized(owner) in self.locked else normalized(owner)
        return next((owner for command, owner in self.scripts.items() if _is_of(name, command)), None)

    def owner(self, word: str) -> str | None:
        """Return the distribution that a word names: its own name, a script or an import of it."""
        name = normalized(word)
        if name in self.distributions:
            return name
        return self.scripts.get(word) or self.packages.get(word) or self.modules.get(word)


def _is_of(variable: str, command: str) -> bool:
    """Return whether a variable is called after a command: PYTEST_ADDOPTS after pytest."""
    prefix = re.sub(r"\W", "_", command).upper()
    return variable == prefix or variable.startswith(f"{prefix}_")


def normalized(name: str) -> str:
    """Return a distribution's name as the name normalization rules have it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def lock_from(selection: Mapping[str, Any]) -> Lock:
    """Return what a selection, as requirements.py writes it, has in the main and the dev group."""
    main, dev = (
        {normalized(one["name"]): frozenset({one["version"]}) for one in selection["groups"].get(group, [])}
        for group in ("main", "dev")
    )
    return Lock(main, dev)


def forbidden(dev: Iterable[File], lock: Lock) -> Forbidden:
    """Return what must not be in production: all that dev's distributions outside the lock's main group own.

    Takes the files of the dev image's virtual environment and home folder. Ownership is what each
    distribution's RECORD says (https://packaging.python.org/en/latest/specifications/recording-installed-packages/),
    and a module's bytecode belongs to whom the module belongs.
    """
    files = {file.path: file for file in dev}
    recorded = dict(_owners(files.values()))
    owners = {path: recorded[_source(path)] for path in files if _source(path) in recorded}
    main = {path: files[path] for path, name in owners.items() if name in lock.main}
    only_dev = {path: name for path, name in owners.items() if path not in main and ".dist-info/" not in path}
    app = {path: file for path, file in files.items() if _is_source(path)}
    own = {path: file for path, file in files.items() if _within(path, HOME) and path not in app}

    main_imports = {_import_name(path) for path in main}
    imports = {
        path: name
        for path, name in only_dev.items()
        if not _within(path, f"{VENV}/bin") and _import_name(path) not in main_imports
    }
    contents = {files[path].sha256: name for path, name in only_dev.items() if files[path].size >= _TELLING_BYTES}
    mine = {
        file.sha256: f"{path.removeprefix(HOME + '/')} of this project"
        for path, file in own.items()
        if file.size >= _TELLING_BYTES
    }
    return Forbidden(
        distributions=frozenset(recorded.values()) - set(lock.main),
        packages={_import_name(path): name for path, name in imports.items() if _in_package(path)},
        modules={_import_name(path): name for path, name in imports.items() if not _in_package(path)},
        scripts={_name(path): name for path, name in only_dev.items() if _within(path, f"{VENV}/bin")},
        contents=_without(mine, app.values()) | _without(contents, main.values()),
        allowed=frozenset((path, file.sha256) for path, file in main.items()),
        app=frozenset((path, file.sha256) for path, file in app.items()),
        submodules=_submodules(only_dev, main),
        locked=frozenset(lock.main),
    )


def _submodules(only_dev: Mapping[str, str], main: Iterable[str]) -> dict[str, str]:
    """Return the modules of dev that main does not have, below the packages that both have."""
    shared = {prefix for path in main for prefix in _prefixes(path)}
    return {
        prefix: name
        for path, name in only_dev.items()
        for prefix in _prefixes(path)
        if prefix not in shared and prefix.partition(".")[0] in shared
    }


def _prefixes(path: str) -> list[str]:
    """Return the dotted names of a module in site-packages and of the packages that it is in."""
    if not path.endswith(_IMPORTABLE) or "/site-packages/" not in path or "/__pycache__/" in path:
        return []
    *folders, last = _inside(path)
    parts = [*folders, last.split(".")[0]]
    parts = parts[:-1] if parts[-1] == "__init__" else parts
    return [".".join(parts[:end]) for end in range(1, len(parts) + 1)] if all(map(str.isidentifier, parts)) else []


def leaks(files: Iterable[File], forbidden: Forbidden, lock: Lock, image: Image | None = None) -> list[Finding]:
    """Return every leak among files, those of all layers where they are an image's."""
    files = tuple(files)
    around = _Surroundings(
        packages=frozenset(file.path.rpartition("/")[0] for file in files if "/__init__." in file.path),
        distributions=frozenset(match for file in files if (match := _distribution(file.path))),
        provided=frozenset(root[1] or root[2] for file in files if (root := _ROOTS.match(file.path))),
        sources={file.path: file.layer for file in files if _is_source(file.path)},
    )
    grouped: dict[tuple[int, _Hit], int] = {}
    for file in files:
        if forbidden.allows(file.path, file.sha256):
            continue
        for hit in _judge(file, forbidden, lock, around):
            grouped[file.layer, hit] = grouped.get((file.layer, hit), 0) + (not file.directory)
    return [
        Finding(
            hit.rule, hit.what, hit.path, image.layers[layer].instruction if image else "", hit.why, count or 1, layer
        )
        for (layer, hit), count in grouped.items()
    ]


def declared(lock: Lock, denied: Iterable[str]) -> list[Finding]:
    """Return what the lock has in the main group and the project denies it: names, or patterns like `pytest-*`."""
    why = "pyproject.toml declares it, or something that needs it, in the main group"
    patterns = [normalized(name.replace("*", "\0")).replace("\0", "*") for name in denied]
    return [
        Finding(rules.DENIED, name, "poetry.lock", "", why)
        for name in sorted(lock.main)
        if any(fnmatchcase(name, pattern) for pattern in patterns)
    ]


def staleness(files: Iterable[File], groups: Iterable[Mapping[str, frozenset[str]]], app: Mapping[str, str]) -> str:
    """Return how an image differs from the lock's groups and from the sources (paths and their sha256), or ``."""
    # Of a path in several layers the last one counts.
    last = {file.path: file for file in files if not file.packed}
    held: dict[str, set[str]] = {}
    for path in last:
        if _within(path, VENV) and (found := _distribution(path)):
            held.setdefault(found[0], set()).add(found[1])
    for group in groups:
        for name, versions in group.items():
            if name not in held:
                return f"it lacks {name}, which poetry.lock has"
            if not held[name] & versions:
                return f"it has {name} {', '.join(sorted(held[name]))}, poetry.lock has {', '.join(sorted(versions))}"
    built = {
        path.removeprefix(HOME + "/"): file.sha256
        for path, file in last.items()
        if _is_source(path) and file.sha256 and "/__pycache__/" not in path
    }
    for path in sorted(app.keys() | built.keys()):
        if built.get(path) != app.get(path):
            return f"{path} has changed since"
    return ""


def _is_source(path: str) -> bool:
    """Return whether a path is one of the sources, or the bytecode of one."""
    module = _source(path)
    return any(module == source or _within(module, source) for source in _SHIPPED)


def _without(contents: Mapping[str, str], legal: Iterable[File]) -> dict[str, str]:
    """Return the contents that no legal file has."""
    known = {file.sha256 for file in legal}
    return {digest: owner for digest, owner in contents.items() if digest not in known}


def _owners(files: Iterable[File]) -> Iterator[tuple[str, str]]:
    """Give each path in the virtual environment's RECORDs with the normalized name of its distribution."""
    for file in files:
        # Not the metadata of what a distribution carries inside itself: those files are its own.
        found = _distribution(file.path) if _RECORD.fullmatch(file.path) else None
        if not found:
            continue
        site_packages = file.path.rsplit("/", 2)[0]
        for line in file.head.decode().splitlines():
            relative = line.rsplit(",", 2)[0].strip('"')
            # Paths of `pathlib` would take a tenth of the check.
            yield posixpath.normpath(posixpath.join(site_packages, relative)), found[0]


def _inside(path: str) -> list[str]:
    return path.partition("/site-packages/")[2].removeprefix("__pycache__/").split("/")


def _import_name(path: str) -> str:
    """Return the name by which a file in site-packages is imported: its package's, or the module's own."""
    return _inside(path)[0].split(".")[0]


def _in_package(path: str) -> bool:
    return len(_inside(path)) > 1


def _source(path: str) -> str:
    """Return the path of the source of a module's bytecode (PEP 3147); any other path as it is."""
    match = re.fullmatch(r"(.*)/__pycache__/([^/.]+)\.[^/]*\.pyc", path) if path.endswith(".pyc") else None
    return f"{match[1]}/{match[2]}.py" if match else path


def _within(path: str, folder: str) -> bool:
    return path.startswith(folder + "/")


def _name(path: str) -> str:
    return path.rpartition("/")[2]


_RECORD = re.compile(rf"{VENV}/lib/[^/]+/site-packages/[^/]+\.dist-info/RECORD")
_METADATA_FOLDER = re.compile(r"/([^/!]+?)-([^/!-]+)(?:-py[\d.][^/!]*)?\.(?:dist-info|egg-info|egg)(?:/|$)")
_PACKED = re.compile(r"/([A-Za-z0-9][\w.]*?)-(\d[^/!-]*)(?:-[^/!]+)?\.(?:whl|tar\.gz|zip)(?:!|$)")
_DATA_TOO = ("tar.gz", "zip")


def _distribution(path: str) -> tuple[str, str] | None:
    """Return the normalized name and the version of the distribution whose metadata or archive this path is in."""
    match = _distribution_part(path)
    return (normalized(match[1]), match[2]) if match else None


def _distribution_part(path: str) -> re.Match[str] | None:
    # Most paths need no regular expression to be told apart.
    if "-info" in path or ".egg" in path:
        return _METADATA_FOLDER.search(path)
    if ".whl" in path or ".tar.gz" in path or ".zip" in path:
        return _PACKED.search(path)
    return None


class _Hit(NamedTuple):
    """The rule that a file breaks, what it is, the path to report, and the reason."""

    rule: Rule
    what: str
    path: str
    why: str


@dataclass(frozen=True)
class _Surroundings:
    """What the judgement of one file needs to know of all others."""

    packages: frozenset[str]
    distributions: frozenset[tuple[str, str]]
    # Modules that the standard library and the sources provide.
    provided: frozenset[str]
    # The last layer that has a file of the sources.
    sources: Mapping[str, int]


def _judge(file: File, forbidden: Forbidden, lock: Lock, around: _Surroundings) -> list[_Hit]:
    if file.directory:
        # What it contains is judged, but for its name.
        hit = _as_tool_file(file, forbidden)
        return [hit] if hit else []
    hit = (
        _as_distribution(file, forbidden, lock, around)
        or _as_import(file, forbidden, around)
        or _as_script(file, forbidden, around)
        or _as_own_file(file)
        or _as_content(file, forbidden)
        or _as_tool_file(file, forbidden)
    )
    return [hit] if hit else [*_as_importing(file, forbidden, around), *_as_secret(file, forbidden)]


def _as_distribution(file: File, forbidden: Forbidden, lock: Lock, around: _Surroundings) -> _Hit | None:
    metadata = file.path.endswith(("/METADATA", "/PKG-INFO"))
    match = _distribution_part(file.path)
    if not match and not metadata:
        return None
    found = (normalized(match[1]), match[2]) if match else None
    where = file.path[: match.end()].rstrip("/!") if match else file.path
    stated = re.search(rb"^Name: *(\S+)", file.head, re.MULTILINE) if metadata else None
    names = {found[0]} if found else set()
    if stated:
        names.add(normalized(stated[1].decode(errors="replace")))
    for name in sorted(names & forbidden.distributions):
        return _Hit(rules.DEV_DISTRIBUTION, name, where, "a distribution that only the dev group has")
    if where.endswith(_DATA_TOO):
        # sales-2026.zip is no distribution of anybody's.
        return None
    for name in sorted(names - set(lock.main)):
        why = "poetry.lock's main group does not need it in this environment"
        return _Hit(rules.UNLOCKED_DISTRIBUTION, name, where, why)
    if found and found[1] not in lock.main[found[0]]:
        locked = lock.main[found[0]]
        if any((found[0], version) in around.distributions for version in locked):
            return _Hit(
                rules.SECOND_VERSION,
                found[0],
                where,
                f"poetry.lock has version {', '.join(sorted(locked))}, which is there as well",
            )
    return None


def _as_import(file: File, forbidden: Forbidden, around: _Surroundings) -> _Hit | None:
    """Find a package of a dev distribution's name anywhere, a module of it where it would be imported by that name."""
    if not file.path.endswith(_IMPORTABLE) or (file.path, file.sha256) in forbidden.app:
        return None
    if file.path.endswith(".pyc") and _source(file.path) in forbidden.sources:
        # Bytecode of the sources, which dev does not have.
        return None
    *folders, last = file.path.split("/")
    for number, folder in enumerate(folders):
        if folder in forbidden.packages:
            path = "/".join(folders[: number + 1])
            if path in around.packages or "/".join(folders[:number]) not in around.packages:
                return _Hit(rules.DEV_IMPORT, forbidden.packages[folder], path, f"imported as {folder}")
    name = last.split(".")[0]
    owner = forbidden.modules.get(name) or forbidden.packages.get(name)
    if folders[-1] == "__pycache__":
        folders.pop()
    if owner and "/".join(folders) not in around.packages:
        return _Hit(rules.DEV_IMPORT, owner, file.path, f"imported as {name}")
    return None


def _as_script(file: File, forbidden: Forbidden, around: _Surroundings) -> _Hit | None:
    if file.target:
        parts = (_name(file.path), *reversed(PurePosixPath(file.target).parts))
        owners = (forbidden.scripts.get(part) or forbidden.packages.get(part) for part in parts)
        linked = next(filter(None, owners), None)
        return _Hit(rules.DEV_COMMAND, linked, file.path, f"a link to {file.target}") if linked else None
    owner = forbidden.scripts.get(_name(file.path))
    if owner and (file.path.split("/")[-2] in {"bin", "sbin"} or file.mode & 0o111) and file.size:
        return _Hit(rules.DEV_COMMAND, owner, file.path, "a script of it")
    names = _run_by(file, forbidden, around)
    if not names:
        return None
    owner = forbidden.provider(names[0]) or forbidden.owner(names[0])
    return _Hit(rules.DEV_COMMAND, str(owner), file.path, f"a script that runs {names[0]}")


def _run_by(file: File, forbidden: Forbidden, around: _Surroundings) -> list[str]:
    """Return what of the dev distributions a script imports or starts."""
    shebang = file.head.partition(b"\n")[0].decode(errors="replace") if file.head.startswith(b"#!") else ""
    if file.path.endswith(_SOURCES) or not (shebang or file.path.endswith(_SHELL)):
        # A module is read as one, whatever starts it.
        return []
    if "python" in shebang:
        return [name for name, _, _ in _needed(file.head, forbidden, around)]
    script = file.head.decode(errors="replace")
    return started(script, forbidden) or _commands(script, forbidden)


def started(script: str, forbidden: Forbidden) -> list[str]:
    """Return what of the dev distributions a script or a command line imports, or starts by `python -m`."""
    # No pattern may look across lines: a file of empty ones would take hours.
    names = re.findall(r"^[ \t]*(?:from|import)[ \t]+(\w+)|(?:^|[ \t])-m[ \t]*(\w+)", script, re.MULTILINE)
    return [name for pair in names for name in pair if name in forbidden.packages or name in forbidden.modules]


def _commands(script: str, forbidden: Forbidden) -> list[str]:
    """Return what of the dev distributions a shell script starts: a word in the place of a command."""
    first = script.partition("\n")[0]
    if first.startswith("#!") and "sh" not in first:
        return []
    words = re.findall(rf"(?:^|[;&|(])[ \t]*{_BEFORE}[\"']?([\w./-]+)", script, re.MULTILINE)
    return [_name(word) for word in words if _name(word) in forbidden.scripts]


_SHELL = (".sh", ".bash")
# What may stand before a command.
_BEFORE = (
    r"(?:(?:(?:pdm|pipenv|poetry|rye|uv)[ \t]+run|command|do|else|env|exec|if|nohup|sudo|then|time|xargs)[ \t]+"
    r"|\w{1,100}=(?:\"[^\"\n]{0,200}\"|'[^'\n]{0,200}'|[^\s;&|(\"']*)[ \t]+){0,20}"
)


def _needed(source: bytes, forbidden: Forbidden, around: _Surroundings) -> Iterator[tuple[str, str, int]]:
    """Give each module that a source imports and only dev has: its name, its distribution, and the line."""
    for found in imports.imported(source):
        if found.name.partition(".")[0] in around.provided:
            continue
        for name in (found.name, *(f"{found.name}.{member}" for member in found.members)):
            owner = forbidden.provider(name)
            if owner:
                yield name, owner, found.line
                break


def _as_importing(file: File, forbidden: Forbidden, around: _Surroundings) -> Iterator[_Hit]:
    """Find a Python file, or a line of a `.pth` file, that imports what only dev has."""
    is_source, is_path_file = file.path.endswith(_SOURCES), file.path.endswith(".pth")
    is_replaced = around.sources.get(file.path, file.layer) != file.layer
    if not (is_source or is_path_file) or is_replaced or not _is_whole(file) or _is_brought(file, forbidden):
        return
    if not forbidden.may_import(file.head):
        return
    source = file.head
    if is_path_file:
        # Other lines are folders (https://docs.python.org/3/library/site.html).
        lines = source.splitlines()
        source = b"\n".join(line if line.startswith((b"import ", b"import\t")) else b"" for line in lines)
    owners: dict[str, _Hit] = {}
    for name, owner, line in _needed(source, forbidden, around):
        why = f"line {line} imports {name}, which only the dev group provides"
        owners.setdefault(owner, _Hit(rules.DEV_ONLY_IMPORT, owner, file.path, why))
    yield from owners.values()


def _is_whole(file: File) -> bool:
    """Return whether all that is to be judged of a file's content was kept."""
    return len(file.head) == file.size or len(file.head) > HEAD_BYTES


def _is_brought(file: File, forbidden: Forbidden) -> bool:
    """Return whether one of main's wheels brought a file, into whichever site-packages."""
    return ("/".join(_inside(file.path)), file.sha256) in forbidden.brought


def _as_tool_file(file: File, forbidden: Forbidden) -> _Hit | None:
    """Find what has the name of a dev tool's configuration or cache."""
    if is_library(file.path):
        # Its packages have settings of their authors' tools: `tomllib/mypy.ini`.
        return None
    parts = file.path.split("/")
    for number, part in enumerate(parts):
        owner = forbidden.tool(part)
        if owner:
            path = "/".join(parts[: number + 1])
            brought = any(_within(one, path) for one, _ in forbidden.allowed) if file.directory else False
            if brought or _is_brought(file, forbidden):
                return None
            return _Hit(rules.TOOL_TRACE, owner, path, "a name that only this tool uses")
    if parts[-1] in tooling.SHARED and (match := tooling.SECTION.search(file.head)):
        owner = match[1].decode()
        if owner not in forbidden.locked:
            return _Hit(rules.TOOL_TRACE, owner, file.path, f"it has settings of {owner}")
    return None


def _as_secret(file: File, forbidden: Forbidden) -> Iterator[_Hit]:
    """Find credentials by the format of the content, or by the name of the file that holds them."""
    kinds = credentials.formatted(file.head) if b"\0" not in file.head and _is_whole(file) else []
    why = "a file that everyone who has the image can read contains it"
    if not kinds and file.size and credentials.FILES.search(file.path):
        kinds, why = [_name(file.path)], "a file of this name contains credentials"
    if kinds and not _is_brought(file, forbidden):
        yield from (_Hit(rules.SECRET, kind, file.path, why) for kind in kinds)


def _as_content(file: File, forbidden: Forbidden) -> _Hit | None:
    owner = forbidden.contents.get(file.sha256)
    return _Hit(rules.DEV_CONTENT, owner, file.path, "its content, byte for byte, is a file of it") if owner else None


def _as_own_file(file: File) -> _Hit | None:
    parts = file.path.split("/")
    for number, part in enumerate(parts):
        if part in {".git", ".env"} or part.startswith(".env."):
            return _Hit(rules.PRIVATE_FILE, part, "/".join(parts[: number + 1]), "it does not belong in an image")
    if _within(file.path, HOME) and not _is_source(file.path):
        depth = 4 if any(_within(source, "/".join(parts[:3])) for source in _SHIPPED) else 3
        path = "/".join(parts[:depth])
        return _Hit(rules.PROJECT_FILE, path.removeprefix(f"{HOME}/"), path, f"only the sources belong in {HOME}")
    return None
