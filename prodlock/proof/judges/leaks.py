"""Judge whether files are of the dev group, of this project's tests, or secrets."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import NamedTuple

from prodlock.image.records import HEAD_BYTES, File, Image, is_library
from prodlock.proof import rules
from prodlock.proof.judges import credentials, paths, tools
from prodlock.proof.judges.forbidden import IMPORTABLE_FILES, PYTHON_FILES, Forbidden
from prodlock.proof.judges.paths import in_site_packages, is_below
from prodlock.proof.records import HOME, Lock, module_of, normalized
from prodlock.proof.rules import Finding, Rule

# Archives that are not necessarily a distribution's.
_ARCHIVES = ("tar.gz", "zip")
# A module of the standard library, whose folders the interpreter searches beside site-packages and the sources.
_STANDARD = re.compile(r"/usr/(?:local/)?lib/python3[^/]*/(?:lib-dynload/)?([^/.]+)")
# A file of variables; its example shows which ones there are.
_VARIABLES = re.compile(rf"\.env(?:\.(?!{credentials.EXAMPLE}$).*)?")
# Shell scripts that need no first line to be recognized.
_SHELL_FILES = (".sh", ".bash")
# What may stand before a command.
_BEFORE_COMMAND = (
    r"(?:(?:(?:pdm|pipenv|poetry|rye|uv)[ \t]+run|command|do|elif|else|env|exec|if|nohup|sudo|then|time|until|while"
    r"|xargs|[!{])[ \t]+"
    r"|(?:dumb-init|(?:gosu|su-exec)[ \t]+[\w:.-]+|ionice|nice|setsid|stdbuf|tini|timeout)"
    r"(?:[ \t]+(?:-[\w=-]*|\d+[dhms]?)){0,5}[ \t]+"
    r"|\w{1,100}=(?:\"[^\"\n]{0,200}\"|'[^'\n]{0,200}'|[^\s;&|(\"']*)[ \t]+){0,20}"
)
# The rules that an unchanged file of the base image may break.
_MAY_BE_OF_BASE = (rules.DEV_CONTENT, rules.DEV_ONLY_IMPORT, rules.SECRET, rules.TOOL_TRACE)


def leaks(files: Iterable[File], forbidden: Forbidden, lock: Lock, image: Image | None = None) -> list[Finding]:
    """Return every leak among files: those of all layers of an image, or of a folder."""
    files = tuple(files)
    context = _Context(
        packages=frozenset(file.path.rpartition("/")[0] for file in files if "/__init__." in file.path),
        distributions=frozenset(match for file in files if (match := paths.distribution(file.path))),
        provided=frozenset(filter(None, (_provided(file.path, forbidden.sources.imported) for file in files))),
        sources={file.path: file.layer for file in files if forbidden.sources.include(file.path)},
    )
    grouped: dict[tuple[int, _Hit], int] = {}
    for file in files:
        if forbidden.allows(file.path, file.sha256):
            continue
        for hit in _judge(file, forbidden, lock, context):
            grouped[file.layer, hit] = grouped.get((file.layer, hit), 0) + (not file.directory)
    return [
        Finding(
            hit.rule, hit.what, hit.path, image.layers[layer].instruction if image else "", hit.why, count or 1, layer
        )
        for (layer, hit), count in grouped.items()
    ]


def _provided(path: str, folders: Iterable[str]) -> str:
    """Return the top-level module that a path provides in the standard library or in folders of sources, or ``."""
    if match := _STANDARD.match(path):
        return match[1]
    inside = (path.removeprefix(f"{folder}/") for folder in folders if path.startswith(f"{folder}/"))
    return next((re.split(r"[/.]", one, maxsplit=1)[0] for one in inside), "")


def may_be_of_base(findings: Iterable[Finding]) -> bool:
    """Return whether a finding may be about a file of the base image, which dev has at the same path."""
    return any(finding.rule in _MAY_BE_OF_BASE and finding.layer is not None for finding in findings)


def not_in_base(findings: Iterable[Finding], image: Image, base: Mapping[str, frozenset[str]]) -> list[Finding]:
    """Return the findings that are not about an unchanged file of the base image.

    Time zones, for example, are in the base image and in a distribution of dev. Takes the sha256 of the base image's
    files by path.
    """
    findings = list(findings)
    doubtful = {(finding.layer, finding.path) for finding in findings if finding.rule in _MAY_BE_OF_BASE}
    of_base = {
        (file.layer, file.path)
        for file in image.files
        if (file.layer, file.path) in doubtful and file.sha256 in base.get(file.path, ())
    }
    return [
        finding
        for finding in findings
        if finding.rule not in _MAY_BE_OF_BASE or (finding.layer, finding.path) not in of_base
    ]


class _Hit(NamedTuple):
    """A rule that a file breaks: what it is, the path to report, and the reason."""

    rule: Rule
    what: str
    path: str
    why: str


@dataclass(frozen=True)
class _Context:
    """Facts about all files that the judgement of one file depends on."""

    packages: frozenset[str]
    distributions: frozenset[tuple[str, str]]
    # Modules that the standard library and the sources provide.
    provided: frozenset[str]
    # The last layer that has a file of the sources.
    sources: Mapping[str, int]


def _judge(file: File, forbidden: Forbidden, lock: Lock, context: _Context) -> list[_Hit]:
    if file.directory:
        # Its files are judged one by one; only its name is judged here.
        hit = _as_tool_file(file, forbidden)
        return [hit] if hit else []
    hit = (
        _as_distribution(file, forbidden, lock, context)
        or _as_import(file, forbidden, context)
        or _as_script(file, forbidden, context)
        or _as_own_file(file, forbidden)
        or _as_content(file, forbidden)
        or _as_tool_file(file, forbidden)
    )
    return [hit] if hit else [*_as_importing(file, forbidden, context), *_as_secret(file, forbidden)]


def _as_distribution(file: File, forbidden: Forbidden, lock: Lock, context: _Context) -> _Hit | None:
    metadata = file.path.endswith(("/METADATA", "/PKG-INFO"))
    match = paths.distribution_match(file.path)
    if not match and not metadata:
        return None
    found = (normalized(match[1]), match[2]) if match else None
    where = file.path[: match.end()].rstrip("/!") if match else file.path
    stated = re.search(rb"^Name:[ \t]*(\S+)", file.head, re.MULTILINE | re.IGNORECASE) if metadata else None
    names = {found[0]} if found else set()
    if stated:
        names.add(normalized(stated[1].decode(errors="replace")))
    for name in sorted(names & forbidden.distributions):
        return _Hit(rules.DEV_DISTRIBUTION, name, where, "a distribution that only the dev group has")
    if where.endswith(_ARCHIVES):
        # Not necessarily a distribution: sales-2026.zip.
        return None
    for name in sorted(names - set(lock.main)):
        why = "the lock's main group does not need it in this environment"
        return _Hit(rules.UNLOCKED_DISTRIBUTION, name, where, why)
    if found and found[1] not in lock.main[found[0]]:
        locked = lock.main[found[0]]
        if any((found[0], version) in context.distributions for version in locked):
            return _Hit(
                rules.SECOND_VERSION,
                found[0],
                where,
                f"the lock has version {', '.join(sorted(locked))}, which is there as well",
            )
    return None


def _as_import(file: File, forbidden: Forbidden, context: _Context) -> _Hit | None:
    """Find a dev distribution's package anywhere, and its module in a folder that is not a package."""
    if not file.path.endswith(IMPORTABLE_FILES) or (file.path, file.sha256) in forbidden.source_files:
        return None
    if file.path.endswith(".pyc") and module_of(file.path) in forbidden.source_paths:
        # Dev has no bytecode of the sources.
        return None
    *folders, last = file.path.split("/")
    for number, folder in enumerate(folders):
        if folder in forbidden.packages:
            path = "/".join(folders[: number + 1])
            if path in context.packages or "/".join(folders[:number]) not in context.packages:
                return _Hit(rules.DEV_IMPORT, forbidden.packages[folder], path, f"imported as {folder}")
    name = last.split(".")[0]
    owner = forbidden.modules.get(name) or forbidden.packages.get(name)
    if folders[-1] == "__pycache__":
        folders.pop()
    if owner and "/".join(folders) not in context.packages:
        return _Hit(rules.DEV_IMPORT, owner, file.path, f"imported as {name}")
    return None


def _as_script(file: File, forbidden: Forbidden, context: _Context) -> _Hit | None:
    if file.target:
        parts = (paths.name(file.path), *reversed(PurePosixPath(file.target).parts))
        owners = (forbidden.scripts.get(part) or forbidden.packages.get(part) for part in parts)
        linked = next(filter(None, owners), None)
        return _Hit(rules.DEV_COMMAND, linked, file.path, f"a link to {file.target}") if linked else None
    owner = forbidden.scripts.get(paths.name(file.path))
    if owner and (file.path.split("/")[-2] in {"bin", "sbin"} or file.mode & 0o111) and file.size:
        return _Hit(rules.DEV_COMMAND, owner, file.path, "a script of this distribution")
    names = _run_by(file, forbidden, context)
    if not names:
        return None
    owner = forbidden.provider(names[0]) or forbidden.owner(names[0])
    return _Hit(rules.DEV_COMMAND, str(owner), file.path, f"a script that runs {names[0]}")


def _run_by(file: File, forbidden: Forbidden, context: _Context) -> list[str]:
    """Return the modules and commands of dev distributions that a script imports or starts."""
    shebang = file.head.partition(b"\n")[0].decode(errors="replace") if file.head.startswith(b"#!") else ""
    if shebang:
        # `#!/opt/venv/bin/pytest`, `#!/usr/bin/env -S python -m pytest`
        words = [paths.name(word) for word in shebang.removeprefix("#!").split()]
        if named := [word for word in words if word in forbidden.scripts] or started(shebang, forbidden):
            return named
    if file.path.endswith(PYTHON_FILES) or not (shebang or file.path.endswith(_SHELL_FILES)):
        # `_as_importing` reads Python files.
        return []
    if "python" in shebang:
        return [name for name, _, _ in _needed(file.head, forbidden, context)]
    script = file.head.decode(errors="replace")
    return started(script, forbidden) or _commands(script, forbidden)


def started(script: str, forbidden: Forbidden) -> list[str]:
    """Return the modules of dev distributions that a script or a command line imports, or starts by `python -m`."""
    # No pattern may match across lines: a file of empty lines would take hours.
    names = re.findall(
        r"(?:^[ \t]*|[ \t]-c[ \t]*[\"'][ \t]*)(?:from|import)[ \t]+(\w+)|(?:^|[ \t])-[bBdEiIOPqsSuvx]*m[ \t]*(\w+)",
        script,
        re.MULTILINE,
    )
    return [name for pair in names for name in pair if name in forbidden.packages or name in forbidden.modules]


def _commands(script: str, forbidden: Forbidden) -> list[str]:
    """Return the commands of dev distributions that a shell script starts: words in the place of a command."""
    first = script.partition("\n")[0]
    if first.startswith("#!") and "sh" not in first:
        return []
    words = re.findall(rf"(?:^|[;&|(])[ \t]*{_BEFORE_COMMAND}[\"']?([\w./-]+)", script, re.MULTILINE)
    return [paths.name(word) for word in words if paths.name(word) in forbidden.scripts]


def _needed(source: bytes, forbidden: Forbidden, context: _Context) -> Iterator[tuple[str, str, int]]:
    """Yield each module that a source imports and only dev has: its name, its distribution, and the line."""
    from prodlock.proof.judges import imports  # noqa: PLC0415 - few images have a source that must be parsed

    for found in imports.imported(source):
        if found.name.partition(".")[0] in context.provided:
            continue
        for name in (found.name, *(f"{found.name}.{member}" for member in found.members)):
            owner = forbidden.provider(name)
            if owner:
                yield name, owner, found.line
                break


def _as_importing(file: File, forbidden: Forbidden, context: _Context) -> Iterator[_Hit]:
    """Find imports of modules that only dev has, in a Python file or a line of a `.pth` file."""
    is_source, is_path_file = file.path.endswith(PYTHON_FILES), file.path.endswith(".pth")
    is_replaced = context.sources.get(file.path, file.layer) != file.layer
    if not (is_source or is_path_file) or is_replaced or not _is_whole(file) or _is_of_main(file, forbidden):
        return
    if not forbidden.may_import(file.head):
        return
    source = file.head
    if is_path_file:
        # Other lines name folders (https://docs.python.org/3/library/site.html).
        lines = source.splitlines()
        source = b"\n".join(line if line.startswith((b"import ", b"import\t")) else b"" for line in lines)
    owners: dict[str, _Hit] = {}
    for name, owner, line in _needed(source, forbidden, context):
        why = f"line {line} imports {name}, which only the dev group provides"
        owners.setdefault(owner, _Hit(rules.DEV_ONLY_IMPORT, owner, file.path, why))
    yield from owners.values()


def _is_whole(file: File) -> bool:
    """Return whether all of a file's content that is judged was kept."""
    return len(file.head) == file.size or len(file.head) > HEAD_BYTES


def _is_of_main(file: File, forbidden: Forbidden) -> bool:
    """Return whether one of main's wheels provides a file, in whichever site-packages."""
    return ("/".join(in_site_packages(file.path)), file.sha256) in forbidden.allowed_in_site_packages


def _as_tool_file(file: File, forbidden: Forbidden) -> _Hit | None:
    """Find the configuration or the cache of a dev tool, by its name."""
    if is_library(file.path):
        # The standard library contains settings of its authors' tools: `tomllib/mypy.ini`.
        return None
    parts = file.path.split("/")
    for number, part in enumerate(parts):
        owner = forbidden.tool_owner(part)
        if owner:
            path = "/".join(parts[: number + 1])
            is_of_main = any(is_below(one, path) for one, _ in forbidden.allowed) if file.directory else False
            if is_of_main or _is_of_main(file, forbidden):
                return None
            return _Hit(rules.TOOL_TRACE, owner, path, "a name that only this tool uses")
    if parts[-1] in tools.SHARED and (match := tools.SECTION.search(file.head)):
        owner = match[1].decode()
        if owner not in forbidden.locked:
            return _Hit(rules.TOOL_TRACE, owner, file.path, f"it has settings of {owner}")
    return None


def _as_secret(file: File, forbidden: Forbidden) -> Iterator[_Hit]:
    """Find credentials by the format of the content, or by the name of the file that holds them."""
    kinds = credentials.formatted(file.head) if _is_whole(file) else []
    if credentials.SETTINGS.search(file.path):
        kinds = credentials.found(credentials.decoded(file.head))
    why = "a file that everyone who has the image can read contains it"
    if not kinds and file.size and credentials.FILES.search(file.path):
        kinds, why = [paths.name(file.path)], "a file of this name contains credentials"
    if kinds and not _is_of_main(file, forbidden):
        yield from (_Hit(rules.SECRET, kind, file.path, why) for kind in kinds)


def _as_content(file: File, forbidden: Forbidden) -> _Hit | None:
    owner = forbidden.contents.get(file.sha256)
    return (
        _Hit(rules.DEV_CONTENT, owner, file.path, "it equals, byte for byte, a file of this distribution")
        if owner
        else None
    )


def _as_own_file(file: File, forbidden: Forbidden) -> _Hit | None:
    parts = file.path.split("/")
    is_suspicious = "/.git" in file.path or "/.env" in file.path
    for number, part in enumerate(parts if is_suspicious else ()):
        if part == ".git" or _VARIABLES.fullmatch(part):
            return _Hit(rules.PRIVATE_FILE, part, "/".join(parts[: number + 1]), "it does not belong in an image")
    if is_below(file.path, HOME) and not forbidden.sources.include(file.path):
        # In a folder of which the sources are a part, the next folder or file is the leak.
        depth = 4 if any(is_below(place, "/".join(parts[:3])) for place in forbidden.sources.copied) else 3
        path = "/".join(parts[:depth])
        return _Hit(rules.PROJECT_FILE, path.removeprefix(f"{HOME}/"), path, f"only the sources belong in {HOME}")
    return None


def denied(lock: Lock, names: Iterable[str], file: str) -> list[Finding]:
    """Return what the main group of a lock, with its file, has of denied distributions: names, or patterns (`x-*`)."""
    why = "pyproject.toml declares it, or something that needs it, in the main group"
    patterns = [normalized(name.replace("*", "\0")).replace("\0", "*") for name in names]
    return [
        Finding(rules.DENIED, name, file, "", why)
        for name in sorted(lock.main)
        if any(fnmatchcase(name, pattern) for pattern in patterns)
    ]
