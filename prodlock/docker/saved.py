"""Find and save images of the Engine, Docker's or Podman's."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import IO, Any, NamedTuple

from prodlock.docker import engine
from prodlock.docker.failures import describe
from prodlock.failure import CANNOT_CHECK, Failure
from prodlock.project import Project

# What may name an image (https://pkg.go.dev/github.com/distribution/reference): no path, and no option.
REFERENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,511}")
_PLATFORM = re.compile(r"[a-z0-9]+/[a-z0-9_]+(/[a-z0-9]+)?")
# What Docker and Podman print for the name of an image that they do not have.
MISSING = re.compile(r"no such image|image not known|no such object|failed to find image", re.IGNORECASE)


class Local(NamedTuple):
    """An image of the Engine."""

    identifier: str
    names: tuple[str, ...]
    # The digests of its layers, uncompressed.
    diff_ids: tuple[str, ...]
    # Whether it has a digest of a registry.
    pulled: bool


def check_platform(platform: str) -> None:
    """Raise Failure where `--platform` is not the name of a platform."""
    if not _PLATFORM.fullmatch(platform):
        raise Failure(
            f"--platform must be OS/ARCHITECTURE, such as linux/amd64 (got {platform!r}). To fix it: name one."
        )


def program(project: Project) -> str:
    """Return the program that has the Engine: `docker`, or `podman` where only that is installed.

    Raises Failure, code 2, where neither is.
    """
    for name in engine.PROGRAMS:
        if shutil.which(name, path=project.environment.get("PATH")):
            return name
    raise Failure(
        "`docker` or `podman` must be a program on PATH (got neither). To fix it: install one, or give a file that "
        "`docker save` wrote, or an OCI layout.",
        CANNOT_CHECK,
    )


def find(project: Project, reference: str) -> Local:
    """Return an image of the Engine by its name or id. Raises Failure, code 2, where there is none."""
    name = program(project)
    args = ("image", "inspect", reference)
    code, out, err = engine.result(project, *args, program=name)
    if code:
        if MISSING.search(err):
            raise Failure(
                f"{reference} must be an image of the Engine, a saved file or an OCI layout (got none of that name). "
                f"To fix it: pull or build the image (`{name} image ls` lists what there is), or give the path of a "
                "file.",
                CANNOT_CHECK,
            )
        raise Failure(describe(args, code, err, name), CANNOT_CHECK)
    (image,) = _inspected(out)
    return image


def every(project: Project) -> list[Local]:
    """Return the images of the Engine. Raises Failure, code 2, where they can't be listed."""
    name = program(project)
    args = ("image", "ls", "--quiet", "--no-trunc")
    code, out, err = engine.result(project, *args, program=name)
    if code:
        raise Failure(describe(args, code, err, name), CANNOT_CHECK)
    identifiers = sorted(set(out.split()))
    if not identifiers:
        return []
    # Where another process has removed some meanwhile, the rest is printed nevertheless.
    _, out, _ = engine.result(project, "image", "inspect", *identifiers, program=name)
    return list(_inspected(out))


def saving(project: Project, to: IO[bytes], identifier: str) -> AbstractContextManager[Callable[[], bool]]:
    """Save an image to a file, which a block reads meanwhile: see `engine.writing`."""
    return engine.writing(project, to, "save", identifier, program=program(project))


def _inspected(printed: str) -> Iterable[Local]:
    try:
        documents: list[dict[str, Any]] = json.loads(printed or "[]")
    except ValueError:
        raise Failure(
            "The Engine must list its images as JSON (got another text). To fix it: try again, or update Docker or "
            "Podman.",
            CANNOT_CHECK,
        ) from None
    for document in documents:
        yield Local(
            document["Id"],
            tuple(document.get("RepoTags") or ()),
            tuple((document.get("RootFS") or {}).get("Layers") or ()),
            bool(document.get("RepoDigests")),
        )
