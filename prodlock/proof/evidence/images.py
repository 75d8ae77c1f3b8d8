"""Read images of the Engine, or a file that `docker save` wrote."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from prodlock.docker import engine, saved
from prodlock.failure import Failure
from prodlock.image import reader
from prodlock.image.records import File
from prodlock.project import Project
from prodlock.proof.records import HOME, VENV


def saved_file(reference: str | None) -> Path | None:
    """Return the file that a reference names, or None where it names an image of the Engine.

    Raises Failure where it can be neither: Docker would take it for an option, or for an image of another name.
    """
    # An image's name may be longer than a file's.
    with contextlib.suppress(OSError, ValueError):
        if reference and Path(reference).is_file():
            return Path(reference)
    # An empty one is a variable of a script that is not set: the project's own image would be checked in its place.
    if reference is not None and not saved.REFERENCE.fullmatch(reference):
        raise Failure(
            f"--image must be the name of an image or a saved file (got {reference!r}). To fix it: name either."
        )
    return None


class Name(NamedTuple):
    """What the Engine calls an image, and the image's labels."""

    identifier: str
    labels: Mapping[str, str]


def names(project: Project, *references: str) -> list[Name]:
    """Return ids and labels of images. Raises Failure where the Engine lacks one."""
    form = "--format={{.Id}} {{json .Config.Labels}}"
    found = (line.split(" ", 1) for line in engine.output(project, "image", "inspect", form, *references).splitlines())
    return [Name(identifier, json.loads(labels) or {}) for identifier, labels in found]


@contextlib.contextmanager
def folders(project: Project, pool: Executor, reference: str, *paths: str) -> Iterator[list[Future[tuple[File, ...]]]]:
    """Read folders as a container of the image would see them: yield the files of each, with their sha256.

    The container is removed as soon as they have been copied, also after an interruption, for which the pool waits.
    """
    # Created, never started: starting one beside a running `docker save` takes a second longer.
    creating = pool.submit(engine.output, project, "create", "--pull=never", reference, echo=True, shielded=True)
    reading = [pool.submit(_folder, project, creating, path) for path in paths]
    removing = pool.submit(_remove, project, creating, reading)
    yield reading
    removing.result()


def _remove(project: Project, creating: Future[str], reading: Iterable[Future[tuple[File, ...]]]) -> None:
    """Remove a container whose folders have been read."""
    wait(reading)
    engine.output(project, "rm", creating.result().strip(), shielded=True)


def _folder(project: Project, creating: Future[str], path: str) -> tuple[File, ...]:
    container = creating.result().strip()
    with tempfile.TemporaryFile() as archive:
        engine.write(project, archive, "cp", f"{container}:{path}", "-")
        return reader.read_folder(archive, above=str(PurePosixPath(path).parent))


def base_files(project: Project, dev: str) -> Mapping[str, frozenset[str]]:
    """Return the sha256 of each file that dev has from the base image, by path.

    All at once: a folder of dev that was copied under another name consists of a thousand files.
    """
    own = (f"{VENV}/", f"{HOME}/")
    with ThreadPoolExecutor() as pool, folders(project, pool, dev, "/") as (reading,):
        files = reading.result()
    return {file.path: frozenset({file.sha256}) for file in files if not file.packed and not file.path.startswith(own)}
