"""Read images of the Engine, or a file that `docker save` wrote."""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Generator, Mapping
from pathlib import Path, PurePosixPath

from prodlock.docker import engine
from prodlock.failure import Failure
from prodlock.image import reader
from prodlock.image.records import File
from prodlock.project import Project
from prodlock.proof.records import HOME, VENV

# What may name an image (https://pkg.go.dev/github.com/distribution/reference): no path, and no option.
_REFERENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,511}")


def saved_file(reference: str | None) -> Path | None:
    """Return the file that a reference names, or None where it names an image of the Engine.

    Raises Failure where it can be neither: Docker would take it for an option, or for an image of another name.
    """
    # An image's name may be longer than a file's.
    with contextlib.suppress(OSError, ValueError):
        if reference and Path(reference).is_file():
            return Path(reference)
    # An empty one is a variable of a script that is not set: the project's own image would be checked in its place.
    if reference is not None and not _REFERENCE.fullmatch(reference):
        raise Failure(
            f"--image must be the name of an image or a saved file (got {reference!r}). To fix it: name either."
        )
    return None


def identifiers(project: Project, *references: str) -> list[str]:
    """Return the ids of images. Raises Failure where the Engine lacks one."""
    return engine.output(project, "image", "inspect", "--format={{.Id}}", *references).split()


def folders(project: Project, reference: str, *paths: str) -> Generator[tuple[File, ...], None, None]:
    """Yield the files below each folder as a container of the image would see them, each with its sha256."""
    # Created, never started: starting one beside a running `docker save` takes a second longer.
    container = engine.output(project, "create", "--pull=never", reference, echo=True).strip()
    try:
        for path in paths:
            with tempfile.TemporaryFile() as archive:
                engine.write(project, archive, "cp", f"{container}:{path}", "-")
                yield reader.read_folder(archive, above=str(PurePosixPath(path).parent))
    finally:
        engine.output(project, "rm", container)


def base_files(project: Project, dev: str) -> Mapping[str, frozenset[str]]:
    """Return the sha256 of each file that dev has from the base image, by path.

    All at once: a folder of dev that was copied under another name consists of a thousand files.
    """
    own = (f"{VENV}/", f"{HOME}/")
    (files,) = folders(project, dev, "/")
    return {file.path: frozenset({file.sha256}) for file in files if not file.packed and not file.path.startswith(own)}
