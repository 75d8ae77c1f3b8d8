"""Read the contents of the project's files, which are the origin of a file of an image wherever that lies."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from prodlock import source
from prodlock.failure import CANNOT_CHECK, Failure
from prodlock.origins.records import Repository
from prodlock.project import Project

# How many bytes a file may have whose content is read though no file of the image has its size: a text with other
# line ends, or a pointer to another content.
_SMALL = 1 << 20
# A file that Git LFS keeps elsewhere (https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md).
_POINTER = re.compile(rb"version https://git-lfs\.github\.com/spec/v1\n(?:.*\n)*?oid sha256:([0-9a-f]{64})\n")
_MOST_POINTER = 1024
# The first line of a script, which an installer replaces; what follows it identifies the script.
_FIRST_LINE = re.compile(rb"#!.*python.*\n")
# A Dockerfile, and a here-document in it (https://docs.docker.com/reference/dockerfile/#here-documents).
_DOCKERFILE = re.compile(r"(?:.*/)?(?:[^/]+\.)?(?:Dockerfile|Containerfile)(?:\.[^/]+)?", re.IGNORECASE)
_HERE_DOCUMENT = re.compile(
    rb"(?m)^[^#\n][^\n]*?<<(?P<dash>-?)(?P<quote>[\"']?)(?P<end>\w+)(?P=quote)[^\n]*\n(?P<text>(?:[^\n]*\n)*?)\t*(?P=end)$"
)
# How many digits of a commit's hash are printed.
_ABBREVIATED = 7


def read(project: Project, sources: Sequence[str] = (), sizes: Collection[int] = ()) -> Repository:
    """Return the files of the commit that is checked out, or those of the folders `sources` in the working tree.

    Contents larger than 1 MiB are read where their size is one of `sizes`, those of the image's files. Texts count with
    the line ends of Windows too, which git writes there by default, and scripts of Python without their first line.
    Here-documents of Dockerfiles count as files.
    Raises Failure, code 2, where git can't read the repository, or a source is not there.
    """
    if sources:
        return _repository(f"the working tree ({', '.join(sources)})", _present(project, sources, sizes))
    try:
        revision = source.head(project)
        if not revision:
            return Repository("no file, because the folder has no commit", {})
        contents = source.contents(project, revision, lambda size: size <= _SMALL or size in sizes)
        return _repository(f"commit {revision[:_ABBREVIATED]}", contents)
    except Failure as failure:
        raise Failure(str(failure), CANNOT_CHECK) from None


def _repository(name: str, contents: Iterator[tuple[str, bytes]]) -> Repository:
    found: dict[str, list[str]] = {}
    empty = set()
    for path, content in contents:
        if not content:
            empty.add(path)
            continue
        digests = [hashlib.sha256(content).hexdigest()]
        if len(content) <= _MOST_POINTER and (pointer := _POINTER.match(content)):
            digests.append(pointer[1].decode())
        if len(content) <= _SMALL and b"\n" in content and b"\0" not in content and b"\r" not in content:
            digests.append(hashlib.sha256(content.replace(b"\n", b"\r\n")).hexdigest())
        if (first := _FIRST_LINE.match(content)) and (rest := content[first.end() :]):
            digests.append(hashlib.sha256(rest).hexdigest())
        if len(content) <= _SMALL and _DOCKERFILE.fullmatch(path):
            digests += [hashlib.sha256(text).hexdigest() for text in here_documents(content)]
        for digest in digests:
            found.setdefault(digest, []).append(path)
    return Repository(name, found, frozenset(empty))


def here_documents(dockerfile: bytes) -> Iterator[bytes]:
    """Yield the files that the here-documents of a Dockerfile write, where no variable is in them."""
    for match in _HERE_DOCUMENT.finditer(dockerfile.replace(b"\r\n", b"\n")):
        if text := match["text"]:
            yield re.sub(rb"(?m)^\t+", b"", text) if match["dash"] else text


def _present(project: Project, sources: Sequence[str], sizes: Collection[int]) -> Iterator[tuple[str, bytes]]:
    """Yield path and content of the files at or below paths of the project."""
    for name in sources:
        place = project.root / name
        if not name or not place.exists():
            raise Failure(
                f"--source must be a folder or file that exists (got {name or 'nothing'}). To fix it: correct "
                "the path.",
                CANNOT_CHECK,
            )
        for file in _files(place):
            try:
                size = file.stat().st_size
                if size <= _SMALL or size in sizes:
                    yield Path(os.path.relpath(file, project.root)).as_posix(), file.read_bytes()
            except OSError as error:
                raise Failure(
                    f"{file} must be a file that can be read (got: {error.strerror}). To fix it: correct its "
                    "permissions.",
                    CANNOT_CHECK,
                ) from None


def _files(place: Path) -> Iterator[Path]:
    """Yield the files at or below a path, without links, bytecode, and what git and virtual environments have."""
    if place.is_file():
        yield place
    for folder, folders, files in os.walk(place):
        if "pyvenv.cfg" in files:
            folders.clear()
            continue
        folders[:] = sorted(name for name in folders if name not in {".git", "__pycache__"})
        yield from (Path(folder, name) for name in sorted(files) if _is_regular(Path(folder, name)))


def _is_regular(file: Path) -> bool:
    return file.is_file() and not file.is_symlink()
