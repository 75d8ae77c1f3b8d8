"""Judge facts: pure functions, records in, findings out. Nothing is read, run or printed here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from ops import rules
from ops.records import File, Image
from ops.rules import Finding, Rule

# Where the Dockerfile puts things.
VENV = "/opt/venv"
HOME = "/srv"
APP = "/srv/app"

# Shorter content says too little to be traced to an owner.
_TELLING_BYTES = 64
_IMPORTABLE = (".py", ".pyc", ".so", ".pyd")


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
    # The files of app/, which may be called as they like.
    app: frozenset[tuple[str, str]] = field(repr=False)

    def allows(self, path: str, digest: str) -> bool:
        """Return whether one of main's own wheels brought a file of this sha256 at a path."""
        return (path, digest) in self.allowed

    def owner(self, word: str) -> str | None:
        """Return the distribution that a word names: its own name, a script or an import of it."""
        name = normalized(word)
        if name in self.distributions:
            return name
        return self.scripts.get(word) or self.packages.get(word) or self.modules.get(word)


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
    app = {path: file for path, file in files.items() if _within(path, APP)}
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
    )


def leaks(files: Iterable[File], forbidden: Forbidden, lock: Lock, image: Image | None = None) -> list[Finding]:
    """Return every leak among files, those of all layers where they are an image's."""
    files = tuple(files)
    around = _Surroundings(
        packages=frozenset(file.path.rpartition("/")[0] for file in files if "/__init__." in file.path),
        distributions=frozenset(match for file in files if (match := _distribution(file.path))),
    )
    grouped: dict[tuple[int, _Hit], int] = {}
    for file in files:
        if forbidden.allows(file.path, file.sha256):
            continue
        hit = _judge(file, forbidden, lock, around)
        if hit:
            grouped[file.layer, hit] = grouped.get((file.layer, hit), 0) + 1
    return [
        Finding(hit.rule, hit.what, hit.path, image.layers[layer].instruction if image else "", hit.why, count, layer)
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
    """Return how an image differs from the lock's groups and from `app/` (paths below it and their sha256), or ``."""
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
        path.removeprefix(APP + "/"): file.sha256
        for path, file in last.items()
        if _within(path, APP) and file.sha256 and "/__pycache__/" not in path
    }
    for path in sorted(app.keys() | built.keys()):
        if built.get(path) != app.get(path):
            return f"app/{path} has changed since"
    return ""


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
        site_packages = PurePosixPath(file.path).parent.parent
        for line in file.head.decode().splitlines():
            relative = line.rsplit(",", 2)[0].strip('"')
            yield _joined(site_packages, relative), found[0]


def _joined(folder: PurePosixPath, relative: str) -> str:
    parts = list(folder.parts)
    for part in PurePosixPath(relative).parts:
        if part == "..":
            parts.pop()
        else:
            parts.append(part)
    return str(PurePosixPath(*parts))


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


def _judge(file: File, forbidden: Forbidden, lock: Lock, around: _Surroundings) -> _Hit | None:
    if file.directory:
        # What it holds is judged.
        return None
    return (
        _as_distribution(file, forbidden, lock, around)
        or _as_import(file, forbidden, around)
        or _as_script(file, forbidden)
        or _as_own_file(file)
        or _as_content(file, forbidden)
    )


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


def _as_script(file: File, forbidden: Forbidden) -> _Hit | None:
    if file.target:
        for part in (_name(file.path), *reversed(PurePosixPath(file.target).parts)):
            owner = forbidden.scripts.get(part) or forbidden.packages.get(part)
            if owner:
                return _Hit(rules.DEV_COMMAND, owner, file.path, f"a link to {file.target}")
        return None
    owner = forbidden.scripts.get(_name(file.path))
    if owner and (file.path.split("/")[-2] in {"bin", "sbin"} or file.mode & 0o111) and file.size:
        return _Hit(rules.DEV_COMMAND, owner, file.path, "a script of it")
    if file.head.startswith(b"#!"):
        script = file.head.decode(errors="replace")
        for name in started(script, forbidden) or _commands(script, forbidden):
            return _Hit(rules.DEV_COMMAND, str(forbidden.owner(name)), file.path, f"a script that runs {name}")
    return None


def started(script: str, forbidden: Forbidden) -> list[str]:
    """Return what of the dev distributions a script or a command line imports, or starts by `python -m`."""
    names = re.findall(r"^\s*(?:from|import)\s+(\w+)|(?:^|\s)-m\s*(\w+)", script, re.MULTILINE)
    return [name for pair in names for name in pair if name in forbidden.packages or name in forbidden.modules]


def _commands(script: str, forbidden: Forbidden) -> list[str]:
    """Return what of the dev distributions a shell script starts: a word in the place of a command."""
    if "sh" not in script.partition("\n")[0]:
        return []
    prefix = r"(?:(?:command|do|else|env|exec|if|nohup|sudo|then|time|xargs)\s+|\w+=\S*\s+)*"
    words = re.findall(rf"(?:^|[;&|(])\s*{prefix}[\"']?([\w./-]+)", script, re.MULTILINE)
    return [_name(word) for word in words if _name(word) in forbidden.scripts]


def _as_content(file: File, forbidden: Forbidden) -> _Hit | None:
    owner = forbidden.contents.get(file.sha256)
    return _Hit(rules.DEV_CONTENT, owner, file.path, "its content, byte for byte, is a file of it") if owner else None


def _as_own_file(file: File) -> _Hit | None:
    parts = PurePosixPath(file.path).parts
    for number, part in enumerate(parts):
        if part in {".git", ".env"} or part.startswith(".env."):
            return _Hit(
                rules.PRIVATE_FILE, part, str(PurePosixPath(*parts[: number + 1])), "it does not belong in an image"
            )
    if _within(file.path, HOME) and not _within(file.path, APP):
        return _Hit(rules.PROJECT_FILE, parts[2], str(PurePosixPath(*parts[:3])), f"only app/ belongs in {HOME}")
    return None
