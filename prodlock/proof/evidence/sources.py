"""Read what ships of the project: the Dockerfile's stage `sources`, the one place that names it."""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from prodlock import generated
from prodlock.docker import dockerfile, engine
from prodlock.failure import Failure
from prodlock.project import Project
from prodlock.proof.records import Sources

_STAGE = "sources"
_FROM = re.compile(r"FROM\s+(?:--\S+\s+)*\S+(?:\s+AS\s+(?P<name>\S+))?", re.IGNORECASE)
_COPY = re.compile(r"(?:COPY|ADD)\s+(?P<options>(?:--\S+\s+)*)(?P<paths>.+)", re.IGNORECASE)
# What only a build resolves: other contexts and stages, options that leave out files or keep their folders, patterns,
# variables, JSON, here-documents, archives that ADD extracts.
_UNRESOLVED = re.compile(
    r"--(?:from|exclude)=|--parents\b|[*?\[$\"]|<<|://|^\s*ADD\s.*\.(?:tar|tgz|tbz2?|txz)\b", re.IGNORECASE
)


@dataclass(frozen=True)
class Copy:
    """A file or folder that the stage copies: its path in the project and its path in the image."""

    origin: str
    place: str
    # Whether the origin is a path of the project.
    is_plain: bool


def copies(project: Project) -> list[Copy]:
    """Return what the stage copies. Raises Failure where the Dockerfile has no such stage."""
    found = list(_copies(project, dockerfile.read(project)))
    if not found:
        raise Failure(
            f"The Dockerfile must have a stage `{_STAGE}` that copies what ships (got none). To fix it: write "
            f"`FROM scratch AS {_STAGE}` and below it `COPY app /srv/app`."
        )
    return found


def _copies(project: Project, text: str) -> Iterator[Copy]:
    stage = ""
    lines = (line for line in text.splitlines() if not line.lstrip().startswith("#"))
    for instruction in re.sub(r"\\\s*\n", " ", "\n".join(lines)).splitlines():
        if match := _FROM.match(instruction.strip()):
            stage = (match["name"] or "").lower()
        elif stage == _STAGE and (match := _COPY.match(instruction.strip())):
            is_plain = not _UNRESOLVED.search(instruction)
            *origins, to = match["paths"].split()
            for origin in origins:
                # A file keeps its name in a folder; of a folder, the content is copied.
                is_file = to.endswith("/") and not (is_plain and (project.root / origin).is_dir())
                place = PurePosixPath("/", to, *([PurePosixPath(origin).name] if is_file else []))
                yield Copy(PurePosixPath(origin.lstrip("/")).as_posix(), str(place), is_plain)


def of_working_tree(project: Project) -> Sources:
    """Return the sources in the working tree, or of a build where the stage copies more than plain paths.

    Files that .dockerignore excludes are among them; to ask a build takes a tenth of the narrow check.
    """
    found = copies(project)
    if not all(one.is_plain for one in found):
        return of_build(project)
    files = {}
    for one in found:
        origin = project.root / one.origin
        for path in origin.rglob("*") if origin.is_dir() else (origin,):
            if path.is_file() and not path.is_symlink() and "__pycache__" not in path.parts:
                place = str(PurePosixPath(one.place, path.relative_to(origin).as_posix()))
                files[place] = hashlib.sha256(path.read_bytes()).hexdigest()
    return Sources(_places(found), files, _imported(project))


def of_build(project: Project) -> Sources:
    """Return the sources as a build of the stage gives them: without the files that .dockerignore excludes."""
    with tarfile.open(fileobj=io.BytesIO(archive(project, project.root))) as tar:
        members = {f"/{entry.name}": tar.extractfile(entry) for entry in tar if entry.isreg()}
        files = {path: hashlib.sha256(file.read()).hexdigest() for path, file in members.items() if file}
    return Sources(_places(copies(project)), files, _imported(project))


def archive(project: Project, tree: Path) -> bytes:
    """Return the tar that a build of the stage gives, with a folder of the project's files as its context.

    Raises Failure where the folder lacks what the stage copies.
    """
    for one in copies(project):
        if one.is_plain and not (tree / one.origin).exists():
            owner, remedy = ("project", "restore") if tree == project.root else ("commit", "commit")
            raise Failure(
                f"The {owner} must have `{one.origin}`, which the stage `{_STAGE}` copies (got none). "
                f"To fix it: {remedy} it, then check again."
            )
    options = (
        "--quiet",
        f"--file={project.configuration.dockerfile}",
        f"--target={_STAGE}",
        "--output=type=tar,dest=-",
    )
    with tempfile.TemporaryFile() as tar:
        engine.write(project, tar, "build", *options, str(tree))
        return tar.read()


def _imported(project: Project) -> tuple[str, ...]:
    return generated.import_path(project.configuration)


def _places(found: list[Copy]) -> dict[str, str]:
    return {one.place: one.origin if one.is_plain else "" for one in found}
