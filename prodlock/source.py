"""Read the commit that a build is made from, and derive the labels of production from it.

The labels depend on the commit alone, so that an image does not depend on when and where it is built
(https://github.com/opencontainers/image-spec/blob/main/annotations.md, https://reproducible-builds.org/specs/source-date-epoch/).
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import posixpath
import re
import shlex
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from prodlock import configuration
from prodlock.failure import Failure
from prodlock.project import COMPOSE_FILES, OVERRIDES, Project

# The files that describe a build, beside those that .dockerignore allows.
DESCRIBING = (".dockerignore", *COMPOSE_FILES, *OVERRIDES)
# The modes of executables, symbolic links and submodules, and the length of an object name by SHA-1 (git-ls-tree(1)).
_EXECUTABLE, _LINK, _SUBMODULE = "100755", "120000", "160000"
_SHA1_DIGITS = 40
# How many bytes of contents one git command prints.
_PORTION = 64 << 20
# How many changed files git is asked about: the arguments of a command are limited.
_MOST_ASKED = 100
# What a pattern of .dockerignore consists of (https://docs.docker.com/build/concepts/context/#syntax).
_TOKENS = re.compile(r"\*\*/?|\[[^\]]*\]|\\.|.", re.DOTALL)
# The first character of a change in `git status --porcelain=v2`, and the number of fields before its path.
_CHANGED = {"1": 8, "u": 10}
# Variables by which git finds its programs, its configuration and a remote repository. Any other one may make it read
# another repository, understand paths in another way, or print more than was asked for (git(1)).
_GIT_VARIABLES = re.compile(
    r"GIT_(?:ALLOW_PROTOCOL|ASKPASS|CONFIG\w*|DISCOVERY_ACROSS_FILESYSTEM|EXEC_PATH|HTTP_\w+|PROXY_\w+|SSH\w*|SSL_\w+)"
)


class Commit(NamedTuple):
    """The commit that is checked out: its hash, its time in seconds since 1970, and how many files differ from it."""

    revision: str
    seconds: int
    changes: int

    def __str__(self) -> str:
        """Return the commit as messages print it."""
        if self.changes:
            files = "1 file that differs" if self.changes == 1 else f"{self.changes} files that differ"
            return f"commit {self.revision} with {files}"
        return f"commit {self.revision}, clean"


def commit(project: Project) -> Commit | None:
    """Return the commit that is checked out, or None where the project is in no git repository.

    Raises Failure where git can't read the repository.
    """
    folder = repository(project.root)
    if not folder:
        return None
    # What a build reads is compared below, byte for byte: in a fresh clone, `git status` would read all of it as well.
    inputs = build_inputs(project)
    records = _status(project, ".", *(f":(exclude,literal){path}" for path in inputs))
    revision = next(record.split(" ")[2] for record in records if record.startswith("# branch.oid "))
    top, prefix, log = _places(project)
    _refuse_other(folder, top)
    if revision == "(initial)":
        _refuse_lost(project, log)
        return None
    committed = _committed(project, revision, inputs)
    if not committed and not _git(project, "ls-tree", "-z", revision):
        # The repository of a folder above, which does not contain the project.
        return None
    # Git decides whether permissions count (`core.fileMode`).
    if chmodded := [path for path, (mode, _) in committed.items() if _has_other_rights(project.root / path, mode)]:
        records += _status(project, *(f":(literal){path}" for path in chmodded))
    staged = ("diff-index", "--cached", "--name-only", "--relative", "-z", "--no-renames", revision, "--", ".")
    changed = {_changed_path(record).removeprefix(prefix) for record in records if record[:1] in _CHANGED}
    changed.update(filter(None, _git(project, *staged).split("\0")))
    seconds = _git(project, "log", "-1", "--no-show-signature", "--format=%ct", revision)
    return Commit(revision, int(seconds), len(changed | _differing(project, inputs, committed)))


def _status(project: Project, *paths: str) -> list[str]:
    """Return the records of `git status` about the commit and about tracked files that differ from it.

    An untracked file counts where a build reads it, which `_differing` finds out.
    """
    options = ("--porcelain=v2", "-z", "--branch", "--untracked-files=no", "--no-renames")
    return _git(project, "status", *options, "--", *paths).split("\0")


def _places(project: Project) -> tuple[str, str, str]:
    """Return the folder of the working tree, the project's path in it with a `/`, and the file of the log of HEAD."""
    printed = _git(project, "rev-parse", "--show-toplevel", "--show-prefix", "--git-path", "logs/HEAD")
    # The folder's name may contain any character, also a line break.
    top, prefix, log = printed.removesuffix("\n").rsplit("\n", 2)
    return top, prefix, log


def _refuse_other(folder: Path, top: str) -> None:
    """Raise Failure where git reads another repository than the one of a folder."""
    if not folder.samefile(top):
        # By configuration, or because `.git` is not valid: then git takes the repository of a folder above.
        raise _unreadable(f"git reads the repository of {top} instead of the one of {folder}", f"restore {folder}/.git")


def _refuse_lost(project: Project, log: str) -> None:
    """Raise Failure where the log of HEAD has a commit, and HEAD has none: the repository is not a new one."""
    if (project.root / log).exists():
        raise _unreadable("HEAD names a branch without a commit", "check out a branch that has one, or commit")


def head(project: Project) -> str:
    """Return the hash of the commit that is checked out, or an empty string without a repository or a commit."""
    folder = repository(project.root)
    if not folder:
        return ""
    top, _, log = _places(project)
    _refuse_other(folder, top)
    found = _git(project, "cat-file", "--batch-check=%(objectname) %(objecttype)", given=b"HEAD\n").split()
    if found[1:] == ["commit"]:
        return found[0]
    _refuse_lost(project, log)
    return ""


def contents(project: Project, revision: str, wanted: Callable[[int], bool]) -> Iterator[tuple[str, bytes]]:
    """Yield path and content of each file of the whole repository at a commit, of those whose sizes are wanted."""
    portion: list[tuple[str, str]] = []
    total = 0
    for entry in filter(None, _git(project, "ls-tree", "-r", "-l", "-z", "--full-tree", revision).split("\0")):
        described, path = entry.split("\t", 1)
        mode, _, name, size = described.split()
        if mode in {_LINK, _SUBMODULE}:
            continue
        if not size.isdigit():
            raise _missing(path, name)
        if not wanted(int(size)):
            continue
        portion.append((name, path))
        total += int(size)
        if total > _PORTION:
            yield from _contents(project, portion)
            portion, total = [], 0
    yield from _contents(project, portion)


def _contents(project: Project, blobs: Iterable[tuple[str, str]]) -> Iterator[tuple[str, bytes]]:
    """Yield path and content of each blob, given by its object name and path."""
    given = "".join(f"{name}\n" for name, _ in blobs).encode()
    output = io.BytesIO(_git_bytes(project, "cat-file", "--batch", given=given) if given else b"")
    for name, path in blobs:
        described = output.readline().split()
        if described[1:2] != [b"blob"]:
            raise _missing(path, name)
        yield path, output.read(int(described[2]))
        output.read(1)


def _changed_path(record: str) -> str:
    """Return the path in a record of `git status --porcelain=v2 -z`."""
    return record.split(" ", _CHANGED[record[0]])[-1]


def differing(project: Project, revision: str) -> set[str]:
    """Return the build inputs that are added, removed, or differ from a commit byte for byte.

    `git status` may hide differences: a flag of the index marks a file as unchanged, a filter converts contents.
    Permissions are not compared: a build sets its own.
    """
    inputs = build_inputs(project)
    return _differing(project, inputs, _committed(project, revision, inputs))


def _committed(project: Project, revision: str, inputs: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Return mode and object name of each build input in a commit, by its path; no submodule that is generated."""
    return {
        path: (mode, name)
        for path, mode, name in _tree(project, revision, *inputs)
        if not (mode == _SUBMODULE and _is_generated(project, path))
    }


def _differing(project: Project, inputs: Iterable[str], committed: Mapping[str, tuple[str, str]]) -> set[str]:
    """Return the same as `differing` for the build inputs and what a commit has of them."""
    added = (path for path in _present(project, inputs) if path not in committed and not _is_generated(project, path))
    found = {*filter(_reaches_build(project), added)}
    for path, (mode, name) in committed.items():
        content = _content(project.root / path, mode)
        if content is None or _blob_name(content, name) != name:
            found.add(path)
    # No commit is claimed for the bytes of what is generated; but git must see no change of it.
    return found - {*_converted(project, (path for path in found if _is_generated(project, path)), committed)}


def build_inputs(project: Project) -> tuple[str, ...]:
    """Return the files and folders that a build reads: those that .dockerignore allows, and those that describe it."""
    lines = _dockerignore(project)
    if not lines:
        # Without a .dockerignore a build reads everything.
        return (".",)
    # Docker cleans patterns alike; nothing above the project reaches a build.
    cleaned = (posixpath.normpath(line[1:].strip().strip("/")) for line in lines if line.startswith("!"))
    allowed = [path for path in cleaned if not f"{path}/".startswith("../")]
    # Cut a pattern to the folder before its first special character.
    folders = [re.sub(r"[^/]*[*?\[].*", "", path).rstrip("/") or "." for path in allowed]
    described = project.configuration
    # For a .dockerignore that lists exclusions instead of what it allows.
    read = (*described.sources, described.lock, "prodlock", "pyproject.toml")
    return (*_describing(project), *read, *folders)


def _describing(project: Project) -> tuple[str, ...]:
    """Return the files that describe a build, which are read even where .dockerignore excludes them."""
    described = project.configuration
    files = (described.dockerfile, f"{described.dockerfile}.dockerignore", described.compose)
    return (*DESCRIBING, *filter(None, files))


def _dockerignore(project: Project) -> list[str]:
    """Return the lines, without surrounding spaces, of the file that excludes from builds; none without it."""
    file = project.root / dockerignore(project)
    try:
        # Like names of files, patterns may be of any encoding. Docker ignores a byte order mark.
        text = file.read_text(encoding="utf-8-sig", errors="surrogateescape")
    except FileNotFoundError:
        return []
    # No file has a name with a null character.
    return [line.strip() for line in text.splitlines() if "\0" not in line]


def dockerignore(project: Project) -> str:
    """Return the file that excludes from builds: the one of the Dockerfile takes precedence.

    https://docs.docker.com/build/concepts/context/#filename-and-location
    """
    own = f"{project.configuration.dockerfile}.dockerignore"
    return own if (project.root / own).is_file() else ".dockerignore"


def _reaches_build(project: Project) -> Callable[[str], bool]:
    """Return a function that returns whether a build reads a path: the last matching line of .dockerignore decides."""
    lines, describing = [*_parsed(_dockerignore(project))][::-1], {*_describing(project)}

    def reaches(path: str) -> bool:
        return path in describing or not next((excludes for excludes, line in lines if line.fullmatch(path)), False)

    return reaches


def _parsed(lines: Iterable[str]) -> Iterator[tuple[bool, re.Pattern[str]]]:
    """Yield whether a line of .dockerignore excludes, and a pattern for the paths at and below those that it names.

    Comments and lines that Docker refuses are left out.
    """
    for line in lines:
        text = posixpath.normpath(line.removeprefix("!").strip()).lstrip("/")
        with contextlib.suppress(re.error):
            if line and not line.startswith("#"):
                yield not line.startswith("!"), re.compile(f"{_TOKENS.sub(_expression, text)}(?:/.*)?", re.DOTALL)


def _expression(token: re.Match[str]) -> str:
    """Return the regular expression for a token of a pattern, as Docker translates it."""
    text, pattern = token[0], token.string
    if text.startswith("**"):
        # Docker compares the end of a path with what has no other special character.
        is_any = token.end() == len(pattern) or re.fullmatch(r"\*\*[^/*?\[\\][^*?\[\\]*", pattern)
        return ".*" if is_any else "(?:.*/)?"
    if len(text) > 1 and text[0] == "[":
        return "[" + text[1:].replace("[", r"\[")
    return {"*": "[^/]*", "?": "[^/]"}.get(text) or re.escape(text[-1])


def _is_generated(project: Project, path: str) -> bool:
    """Return whether a path is at or below one that another build makes, and that no commit has."""
    return any(f"{path}/".startswith(f"{one}/") for one in project.configuration.generated)


def refuse_unavailable(project: Project, sources: Iterable[str]) -> None:
    """Raise Failure where one of the sources does not exist, or where git ignores it: no commit has it."""
    paths = [*sources]
    if names := [path for path in paths if not (project.root / path).exists()]:
        raise Failure(
            f"`sources` in [tool.prodlock] must be files and folders of the project (got {', '.join(names)}, which "
            f"{'does' if len(names) == 1 else 'do'} not exist). To fix it: correct the path, or remove it."
        )
    if names := ignored(project, paths):
        raise Failure(
            f"`sources` in [tool.prodlock] must be files and folders that git keeps (got {', '.join(names)}, which git "
            "ignores). To fix it: name it in `generated` where another build makes it, or remove it from .gitignore."
        )


def refuse_submodules(project: Project, sources: Iterable[str]) -> None:
    """Raise Failure where a submodule is at or below one of the sources: no commit of this repository has its files."""
    if not repository(project.root):
        return
    staged = _git(project, "--literal-pathspecs", "ls-files", "--stage", "-z", "--", *sources).split("\0")
    paths = [entry.partition("\t")[2] for entry in staged if entry.startswith(_SUBMODULE)]
    if names := [path for path in paths if not _is_generated(project, path)]:
        raise Failure(
            f"`sources` in [tool.prodlock] must be files that a commit of this repository has (got {', '.join(names)}, "
            "of a submodule). To fix it: name it in `generated`, or copy its files into the repository."
        )


def refuse_converted(project: Project, made_from: Commit | None) -> None:
    """Raise Failure where git has other bytes of a build input than the working tree, and reports no change of it.

    A filter such as the one of Git LFS, or `core.autocrlf`, converts contents. Then no image is made of the commit's.
    """
    if not (made_from and made_from.changes):
        return
    inputs = build_inputs(project)
    committed = _committed(project, made_from.revision, inputs)
    if converted := _converted(project, _differing(project, inputs, committed), committed):
        raise Failure(
            f"What a build reads must be what the commit has, byte for byte (got {', '.join(converted[:3])}, which git "
            "converts). To fix it: check out with core.autocrlf=false, or name what a filter such as Git LFS converts "
            "in `generated` under [tool.prodlock]."
        )


def _converted(project: Project, paths: Iterable[str], committed: Mapping[str, tuple[str, str]]) -> list[str]:
    """Return those of the first hundred differing paths that git, which converts them, takes for the commit's."""
    files = (path for path in sorted(paths) if path in committed and not (project.root / path).is_symlink())
    asked = [path for path in files if (project.root / path).is_file()][:_MOST_ASKED]
    names = _git(project, "hash-object", "--", *asked).split() if asked else []
    return [path for path, name in zip(asked, names, strict=True) if committed[path][1] == name]


def ignored(project: Project, paths: list[str]) -> list[str]:
    """Return those of paths that git ignores."""
    if not repository(project.root):
        return []
    tracked = _git(project, "ls-files", "-z", "--", *paths).split("\0") if paths else []
    untracked = [path for path in paths if not any(f"{one}/".startswith(f"{path}/") for one in tracked)]
    # Without a pattern that matches, git exits with 1.
    listed = ("ls-files", "-z", "--others", "--ignored", "--exclude-standard", "--directory", "--", *untracked)
    found = _git(project, *listed).split("\0") if untracked else []
    return [path for path in untracked if any(f"{path}/".startswith(f"{one.rstrip('/')}/") for one in found if one)]


def _present(project: Project, paths: Iterable[str]) -> Iterator[str]:
    """Yield the files at or below paths of the working tree, without bytecode, which no build reads."""
    for path in paths:
        place = project.root / path
        if place.is_dir() and not place.is_symlink():
            for folder, folders, files in os.walk(place):
                within = Path(folder).relative_to(project.root)
                folders[:] = [
                    name
                    for name in folders
                    if name not in {".git", "__pycache__"} and not (not within.parts and name.startswith(".venv"))
                ]
                links = [name for name in folders if Path(folder, name).is_symlink()]
                start = f"{within.as_posix()}/" if within.parts else ""
                # In a worktree, `.git` is a file.
                yield from (f"{start}{name}" for name in (*files, *links) if name != ".git")
        elif os.path.lexists(place):
            yield path


def _tree(project: Project, revision: str, *paths: str) -> Iterator[tuple[str, str, str]]:
    """Yield path, mode and object name of each file that a commit has at or below paths of the project."""
    for entry in filter(
        None, _git(project, "--literal-pathspecs", "ls-tree", "-r", "-z", revision, "--", *paths).split("\0")
    ):
        described, path = entry.split("\t", 1)
        mode, _, name = described.split(" ")[:3]
        yield path, mode, name


def _has_other_rights(place: Path, mode: str) -> bool:
    """Return whether a file is executable where git's mode is not, or the reverse."""
    try:
        found = place.lstat().st_mode
    except OSError:
        return False
    return stat.S_ISREG(found) and bool(found & stat.S_IXUSR) != (mode == _EXECUTABLE)


def _content(place: Path, mode: str) -> bytes | None:
    """Return the content that git would store for a file or a link, or None where there is none of this kind."""
    try:
        if mode == _LINK:
            return os.fsencode(place.readlink())
        return None if place.is_symlink() else place.read_bytes()
    except OSError:
        return None


def _blob_name(content: bytes, like: str) -> str:
    """Return git's object name for a content (https://git-scm.com/book/en/v2/Git-Internals-Git-Objects)."""
    kind = hashlib.sha1 if len(like) == _SHA1_DIGITS else hashlib.sha256
    return kind(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _text(table: Mapping[str, Any], *names: str) -> str:
    """Return a string of pyproject.toml by its path of keys, or an empty string where it is not set."""
    value: object = table
    for name in names:
        if not isinstance(value, Mapping):
            break
        value = value.get(name, {})
    else:
        if isinstance(value, str) or value == {}:
            return str(value or "")
    raise Failure(f"{'.'.join(names)} in pyproject.toml must be a string (got {value!r}). To fix it: correct it.")


def arguments(project: Project, made_from: Commit | None) -> dict[str, str]:
    """Return the build arguments in docker-compose.yml; a SOURCE_DATE_EPOCH in the environment takes precedence."""
    from prodlock import site  # noqa: PLC0415 - the narrow check builds nothing

    epoch = site.epoch(project)
    table = configuration.pyproject(project.root)
    found = {"VERSION": _text(table, "project", "version"), "SOURCE": _text(table, "project", "urls", "source")}
    if made_from:
        seconds = made_from.seconds if epoch is None else epoch
        if not 0 <= seconds <= site.LAST_SECOND:
            raise Failure(
                f"The time of commit {made_from.revision} must be in the years 1970 to 9999 (got {seconds} seconds "
                "since 1970). To fix it: commit again with the right time (`git commit --amend --no-edit`), or set "
                "SOURCE_DATE_EPOCH."
            )
        found |= {
            "REVISION": made_from.revision + ("-dirty" if made_from.changes else ""),
            "CREATED": datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "SOURCE_DATE_EPOCH": str(seconds),
        }
    return found


@contextmanager
def build_tree(project: Project, made_from: Commit | None) -> Iterator[Path]:
    """Yield a folder with what a build of a commit reads, or, without a commit, the working tree.

    .dockerignore is the working tree's.
    """
    if not made_from:
        yield project.root
        return
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder)
        committed, reaches = _committed(project, made_from.revision, build_inputs(project)), _reaches_build(project)
        modes = {path: mode for path, (mode, _) in committed.items() if mode != _SUBMODULE and reaches(path)}
        # Blob by blob: a checkout applies filters, and `git archive` the export attributes of .gitattributes.
        for path, content in _contents(project, [(committed[path][1], path) for path in modes]):
            place = tree / path
            place.parent.mkdir(parents=True, exist_ok=True)
            if modes[path] == _LINK:
                place.symlink_to(os.fsdecode(content))
            else:
                place.write_bytes(content)
        # It may be a link.
        excluding = dockerignore(project)
        (tree / excluding).unlink(missing_ok=True)
        with contextlib.suppress(FileNotFoundError):
            shutil.copyfile(project.root / excluding, tree / excluding)
        for path in project.configuration.generated:
            _copy_generated(project.root / path, tree / path)
        yield tree


def _copy_generated(origin: Path, place: Path) -> None:
    """Copy a file or folder that another build makes. Raises Failure where it has not been made."""
    if not origin.exists():
        raise Failure(
            f"`generated` in [tool.prodlock] must be files and folders that exist (got no {origin.name}). To fix it: "
            "run the build that makes it."
        )
    place.parent.mkdir(parents=True, exist_ok=True)
    if origin.is_dir():
        shutil.copytree(origin, place, symlinks=True, dirs_exist_ok=True)
    else:
        shutil.copyfile(origin, place)


def locked_since(project: Project, setting: str) -> str:
    """Return the lock at the last commit that changed a setting of pyproject.toml, or an empty string."""
    if not repository(project.root):
        return ""
    options = ("-1", "--no-show-signature", "--format=%H", f"-G^{setting}")
    revision = _git(project, "-c", "log.showRoot=true", "log", *options, "--", "pyproject.toml").strip()
    lock = project.configuration.lock
    if not revision or not _git(project, "ls-tree", revision, "--", lock):
        return ""
    return _git(project, "show", f"{revision}:./{lock}")


def has_commit(project: Project, revision: str) -> bool:
    """Return whether a revision is a commit of this repository."""
    if not (re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", revision) and repository(project.root)):
        return False
    return _git_bytes(project, "cat-file", "--batch-check", given=revision.encode()).split()[1:2] == [b"commit"]


def repository(root: Path) -> Path | None:
    """Return the nearest folder, the given one or one above it, that has a git repository, or None."""
    root = root.resolve()
    return next((folder for folder in (root, *root.parents) if os.path.lexists(folder / ".git")), None)


def _git(project: Project, *args: str, given: bytes = b"") -> str:
    """Return the output of a git command. Raises Failure where it fails."""
    return _git_bytes(project, *args, given=given).decode(errors="surrogateescape")


def _git_bytes(project: Project, *args: str, given: bytes = b"") -> bytes:
    # A hook or a script may have set others.
    environment = {
        name: value
        for name, value in project.environment.items()
        if not name.startswith("GIT_") or _GIT_VARIABLES.fullmatch(name)
    }
    # The messages that are read below, in English.
    environment["LC_ALL"] = "C"
    command = ["git", "--no-optional-locks", "--no-replace-objects", *args]
    try:
        done = subprocess.run(command, cwd=project.root, env=environment, input=given, capture_output=True, check=False)
    except OSError as error:
        raise _unreadable(f"{error.strerror or error}: git", "install git") from None
    if done.returncode:
        printed = done.stderr.decode(errors="replace").strip()
        reason = next((line for line in printed.splitlines() if line.startswith("fatal: ")), printed)
        remedy = "make git read this repository"
        if "dubious ownership" in printed:
            trusted = shlex.quote(str(repository(project.root)))
            remedy = f"run `git config --global --add safe.directory {trusted}`, or make your user its owner"
        raise _unreadable(reason.removeprefix("fatal: ") or f"exit code {done.returncode}", remedy)
    return done.stdout


def _missing(path: str, name: str) -> Failure:
    return _unreadable(f"no content of {path}, {name}", "run `git fsck`, and fetch what is missing")


def _unreadable(reason: str, remedy: str) -> Failure:
    return Failure(f"git must be able to read the repository (got: {reason}). To fix it: {remedy}.")
