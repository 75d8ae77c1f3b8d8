"""Open the image that is verified, and find how much of it is its base image."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from prodlock.docker import registry, saved
from prodlock.docker.saved import Local
from prodlock.failure import CANNOT_CHECK, Failure, unreadable
from prodlock.image import layout, opened
from prodlock.image.opened import Opened
from prodlock.image.records import matches, platform_of
from prodlock.origins import cache
from prodlock.origins.layers import KeptLayers
from prodlock.origins.records import Copied, Subject
from prodlock.project import Project

# The digest of a layer without files, which any image may have.
_EMPTY = "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"
# The base image of an image that was built from nothing, as Dockerfiles write it.
SCRATCH = "scratch"


class _Base(NamedTuple):
    """A base image: its name, its layers, its id where the Engine has it, whether it was found there."""

    name: str
    diff_ids: tuple[str, ...]
    identifier: str = ""
    found: bool = False


@contextmanager
def open_image(project: Project, reference: str, base: str | None, *, platform: str = "") -> Iterator[Subject]:
    """Open an image: a name on the Engine, a file that `docker save` wrote, or an OCI layout (a folder or a file).

    A name with a digest is pulled where the Engine does not have it.

    `base` is such a reference as well, or `scratch`; without it, the base image is the longest prefix of the layers
    among the Engine's images. Of an image that has no layer of `base`, the files are compared with those of `base`.
    Raises Failure, code 2, where either can't be read or found.
    """
    with ExitStack() as kept:
        try:
            subject = _subject(project, reference, base, platform, kept)
        except Failure as failure:
            raise Failure(str(failure), CANNOT_CHECK) from None
        except OSError as error:
            name = error.filename or "The image"
            raise Failure(unreadable(name, error), CANNOT_CHECK) from None
        yield subject


def _subject(project: Project, reference: str, base: str | None, platform: str, kept: ExitStack) -> Subject:
    if platform:
        saved.check_platform(platform)
    path = _path("IMAGE", reference)
    if not path:
        registry.pull_missing(project, reference, program=saved.program(project), platform=platform)
    local = None if path else saved.find(project, reference)
    given = None if base is None else _given(project, base, platform)
    listed: Callable[[], Sequence[Local]] = tuple
    if given is None or (given.diff_ids and not given.identifier):
        # The Engine lists its images while a file is read.
        listed = kept.enter_context(ThreadPoolExecutor(1)).submit(_images, project).result
    # Before an image is saved: a wrong base image is refused without that work.
    chosen = _base((reference, *local.names), local.diff_ids, given, listed) if local else None
    subject = kept.enter_context(_opened(project, reference, path, local, platform))
    image = subject.image
    stated = platform_of(image.document)
    if platform and not matches(stated, platform):
        raise Failure(
            f"{reference} must be an image of {platform} (got one of {stated}). To fix it: build or pull that one, or "
            "leave out --platform."
        )
    if not chosen:
        diff_ids = tuple(layer.diff_id for layer in image.layers)
        chosen = _base((reference, *subject.names), diff_ids, given, listed)
    identifier = chosen.identifier or _identifier(chosen.diff_ids, listed())
    copied = None
    if base and _is_apart(chosen.diff_ids, tuple(layer.diff_id for layer in image.layers)):
        copied = _copied(project, base, platform, kept)
    return Subject(
        image,
        chosen.name,
        0 if copied else len(chosen.diff_ids),
        subject.content,
        chosen.found,
        identifier,
        copied,
    )


def _copied(project: Project, base: str, platform: str, kept: ExitStack) -> Copied:
    """Return the base image of an image that has copies of its files."""
    path = _path("--base", base)
    opened_base = kept.enter_context(
        _opened(project, base, path, None if path else saved.find(project, base), platform)
    )
    layers = opened_base.image.layers
    return Copied(opened_base.image.files, tuple(layer.diff_id for layer in layers), opened_base.content)


def _path(option: str, reference: str) -> Path | None:
    """Return the file or the folder that a reference names, or None for the name of an image.

    A folder without an OCI layout may have the name of an image: many projects do.
    """
    # An image's name may be longer than a file's.
    with suppress(OSError, ValueError):
        path = Path(reference)
        if path.is_file() or (path / layout.VERSION).is_file():
            return path
        if reference and path.is_dir() and not saved.REFERENCE.fullmatch(reference):
            raise Failure(
                f"{option} must be an OCI layout where it is a folder (got {reference}, without a file "
                f"{layout.VERSION}). To fix it: name the folder that has the layout."
            )
    if not saved.REFERENCE.fullmatch(reference):
        raise Failure(
            f"{option} must be the name of an image, a saved file or an OCI layout (got {reference!r}). To fix it: "
            "name one that exists."
        )
    return None


@contextmanager
def _opened(
    project: Project, reference: str, path: Path | None, local: Local | None, platform: str
) -> Iterator[Opened]:
    known = KeptLayers(cache.folder(project.environment))
    with ExitStack() as kept:
        if path and path.is_dir():
            yield kept.enter_context(opened.open_folder(reference, path, platform=platform, known=known))
        elif path:
            archive = kept.enter_context(path.open("rb"))
            yield kept.enter_context(opened.open_archive(reference, archive, platform=platform, known=known))
        elif local:
            file = kept.enter_context(tempfile.TemporaryFile())
            # By its id: a name without a tag would bring every tag of it.
            with saved.saving(project, file, local.identifier) as has_ended:
                layers = opened.follow(file, has_ended, kept, known)
            image = kept.enter_context(opened.open_archive(reference, file, layers=layers, known=known))
            if tuple(layer.diff_id for layer in image.image.layers) != local.diff_ids:
                raise Failure(
                    f"{reference} must have the layers that the Engine states (got others). To fix it: build or pull "
                    "it again."
                )
            yield image


def _given(project: Project, reference: str, platform: str) -> _Base:
    """Return the base image that a user has named; of a file or a folder only the configuration is read."""
    if reference == SCRATCH:
        return _Base(SCRATCH, ())
    if path := _path("--base", reference):
        document: Mapping[str, Any] = opened.configuration(reference, path, platform=platform)
        return _Base(reference, tuple(document["rootfs"]["diff_ids"]))
    local = saved.find(project, reference)
    return _Base(reference, local.diff_ids, local.identifier)


def _images(project: Project) -> Sequence[Local]:
    """Return the images of the Engine; none where there is no Engine."""
    with suppress(Failure):
        return saved.every(project)
    return ()


def _base(
    names: Sequence[str], diff_ids: tuple[str, ...], given: _Base | None, images: Callable[[], Sequence[Local]]
) -> _Base:
    """Return the base image of an image of these names and layers. Raises Failure where there is none."""
    reference = names[0]
    if given:
        if not (_is_below(given.diff_ids, diff_ids) or _is_apart(given.diff_ids, diff_ids)):
            got = "all layers" if given.diff_ids == diff_ids else "other layers than the first ones"
            raise Failure(
                f"--base must be the image that {reference} was built on (got {given.name}, which has {got} of "
                f"{reference}). To fix it: name the image of its Dockerfile's last FROM, of the version that it was "
                "built with."
            )
        return given
    if found := _longest(names, diff_ids, images()):
        return _Base(found.names[0], found.diff_ids, found.identifier, found=True)
    raise Failure(
        f"A base image must be given (got no local image with the first layers of {reference}). To fix it: pull "
        "the image of its Dockerfile's last FROM, or name it with --base (of an image that was built from nothing, the "
        "image whose files it has, or `--base scratch`)."
    )


def _longest(names: Sequence[str], diff_ids: tuple[str, ...], images: Sequence[Local]) -> Local | None:
    """Return the image with the most of the first layers of an image, among pulled ones where one of these has some.

    An image without a name, or with the image's name in another version or registry, may be an earlier build of the
    same Dockerfile.
    """
    same = {name for image in images if image.diff_ids == diff_ids for name in image.names}
    own = {_short(name) for name in (*names, *same)}
    candidates = [
        image
        for image in images
        if image.names
        and own.isdisjoint(_short(name) for name in image.names)
        and image.diff_ids
        and _is_below(image.diff_ids, diff_ids)
    ]
    return max(candidates, key=lambda image: (image.pulled, len(image.diff_ids)), default=None)


def _short(name: str) -> str:
    """Return the name of an image without registry, owner, tag and digest."""
    return re.sub(r"(:[^/:]*)?(@.*)?$", "", name).rpartition("/")[2]


def _is_below(base: tuple[str, ...], diff_ids: tuple[str, ...]) -> bool:
    """Return whether layers are the first ones of an image, and not all of them."""
    return len(base) < len(diff_ids) and diff_ids[: len(base)] == base


def _is_apart(base: tuple[str, ...], diff_ids: tuple[str, ...]) -> bool:
    """Return whether an image has none of the layers: it can only have copies of their files."""
    return bool(base) and not {*base} & {*diff_ids} - {_EMPTY}


def _identifier(diff_ids: tuple[str, ...], images: Sequence[Local]) -> str:
    """Return the id of an image of the Engine that has these layers, or nothing where there is none."""
    return next((image.identifier for image in images if diff_ids and image.diff_ids == diff_ids), "")
