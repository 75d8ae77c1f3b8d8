"""Open an image from a file or a folder: its records, and the content of each file while it is open."""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import IO, Any, NamedTuple

from prodlock.image import archives, documents, layout, reader, tar
from prodlock.image.documents import Documents
from prodlock.image.growing import Growing
from prodlock.image.records import File, Image
from prodlock.image.tar import Tar

# A second thread hashes files from this size on: hashing does not hold the interpreter's lock.
_LARGE = 1 << 20
_THREADS = 2
_BLOCK = 512
# How much content is read before its memory is released.
_WINDOW = 64 << 20
_REFUSED = (*reader.UNREADABLE, archives.TooMuchError, archives.NoRoomError, archives.UnsupportedError)


class _Layer(NamedTuple):
    """A layer that was read: its uncompressed content, and its files, numbered as of layer 0.

    Threads hash its large files while the next layers are read.
    """

    content: Tar
    read: list[File]
    # The sha256 of each large file, by its place.
    digests: Mapping[int, Future[str]]

    def files(self) -> list[File]:
        """Return the files, once all of them are hashed."""
        if not self.digests:
            return self.read
        found = {place: digest.result() for place, digest in self.digests.items()}
        return [file._replace(sha256=found[file.place]) if file.place in found else file for file in self.read]


# The layers that were read while the archive was written, by where they are in it.
Layers = Mapping[tuple[int, int], _Layer]


@dataclass
class Opened:
    """An image whose files can be read."""

    image: Image
    # The names that it has in its archive.
    names: tuple[str, ...]
    _layers: tuple[Tar, ...] = field(repr=False)
    # The sha256 of each layer, which a thread computes, with the one that it must be.
    _checks: tuple[tuple[Future[str], str], ...] = field(repr=False)
    _read: int = 0

    @cached_property
    def _sizes(self) -> Mapping[tuple[int, int], int]:
        return {(file.layer, file.place): file.size for file in self.image.files if file.size}

    def verify(self) -> None:
        """Raise ReadError where a layer is not the one that the image's configuration names."""
        for found, wanted in self._checks:
            if found.result() != wanted:
                message = f"a layer is not sha256:{wanted}"
                raise tarfile.ReadError(message)

    def content(self, file: File) -> bytes:
        """Return the content of a regular file, or of the file that a hard link leads to."""
        if file.place < 0:
            message = f"{file.path} is not a file"
            raise ValueError(message)
        layer = self._layers[file.layer]
        size = file.size or self._sizes.get((file.layer, file.place), 0)
        start = layer.start + file.place
        content = layer.map[start : start + size]
        self._read += size
        if self._read > _WINDOW:
            self._read = 0
            for one in self._layers:
                tar.release(one.map, one.start, one.end)
        return content


def follow(archive: IO[bytes], has_ended: Callable[[], bool], kept: ExitStack) -> Layers:
    """Read each layer of an archive while a process writes it, until that process has ended.

    The layers can be read until `kept` is closed. An archive that is not valid is left to `open_archive`, which refuses
    it.
    """
    growing = Growing(archive, has_ended)
    layers: dict[tuple[int, int], _Layer] = {}
    budget = archives.Budget.of(0)
    at = 0
    unpacked, pool = kept.enter_context(_reading())
    with suppress(*_REFUSED):
        try:
            while len(header := growing[at : at + _BLOCK]) == _BLOCK:
                entry = tarfile.TarInfo.frombuf(header, tarfile.ENCODING, "surrogateescape")
                if entry.size < 0:
                    break
                start, end = at + _BLOCK, at + _BLOCK + entry.size
                if entry.isreg() and _is_layer(growing[start : min(start + _BLOCK, end)]):
                    layers[start, end] = _layer(Tar(growing, start, end), budget, unpacked, pool)
                at = end + -entry.size % _BLOCK
        finally:
            # The threads of the pool must not wait for the rest.
            growing.stopped = True
    return layers


def _is_layer(head: bytes) -> bool:
    return head[257:262] == b"ustar" or head.startswith((archives.GZIP, archives.ZSTD))


@contextmanager
def open_archive(
    reference: str, archive: IO[bytes], *, platform: str = "", layers: Layers | None = None
) -> Iterator[Opened]:
    """Open the one image in a file that `docker save` wrote, or the image of a platform in an archive of an OCI layout.

    `layers` were read while the file was written. Raises Failure, code 2, as `reader.read` does. The layers are hashed
    while the block uses the image: where one is not what the image's configuration names, the end of the block raises.
    """
    with ExitStack() as kept:
        with reader.refusing(reference):
            found = _archive_documents(reference, archive, platform, kept)
            opened = _open(reference, found, kept, layers or {})
        yield opened
        with reader.refusing(reference):
            opened.verify()


@contextmanager
def open_folder(reference: str, folder: Path, *, platform: str = "") -> Iterator[Opened]:
    """Open the image of a platform in an OCI layout. Raises Failure, code 2, as `open_archive` does."""
    with ExitStack() as kept:
        with reader.refusing(reference):
            found = layout.read(reference, layout.in_folder(folder, kept), platform)
            opened = _open(reference, found, kept, {})
        yield opened
        with reader.refusing(reference):
            opened.verify()


def configuration(reference: str, path: Path, *, platform: str = "") -> Mapping[str, Any]:
    """Return the configuration of the image in a file or a folder; no layer is read."""
    with ExitStack() as kept, reader.refusing(reference):
        if path.is_dir():
            return layout.read(reference, layout.in_folder(path, kept), platform).document
        return _archive_documents(reference, kept.enter_context(path.open("rb")), platform, kept).document


def _archive_documents(reference: str, archive: IO[bytes], platform: str, kept: ExitStack) -> Documents:
    file = kept.enter_context(tar.map_file(archive))
    saved = kept.enter_context(tar.plain(Tar(file, 0, len(file))))
    members = documents.members(saved)
    if layout.VERSION in members and "manifest.json" not in members:
        return layout.read(reference, layout.in_archive(saved, members), platform)
    return documents.of_saved(saved, members)


def _open(reference: str, found: Documents, kept: ExitStack, read: Layers) -> Opened:
    layers: list[_Layer] = []
    # Each sha256 with the one that it must be.
    checks: list[tuple[Future[str], str]] = []
    # What is unpacked stays until the image is closed: of a layer that is there twice only once.
    done: dict[Tar, tuple[_Layer, Future[str]]] = {}
    budget = archives.Budget.of(0)
    unpacked, pool = kept.enter_context(_reading())
    for number, (stored, diff_id) in enumerate(found.layers):
        if stored not in done:
            layer = read.get((stored.start, stored.end)) or _layer(stored, budget, unpacked, pool)
            # Only now: while an Engine sends an archive, it needs the cores.
            done[stored] = layer, pool.submit(tar.sha256_of, layer.content)
        layer, whole = done[stored]
        checks.append((whole, diff_id.removeprefix("sha256:")))
        if found.stored:
            # Of a layer that is not compressed, both are the same.
            is_plain = layer.content == stored
            checks.append((whole if is_plain else pool.submit(tar.sha256_of, stored), found.stored[number]))
        layers.append(layer)
    contents = [layer.files() for layer in layers]
    files = (
        # `_replace` takes four times as long.
        File._make((file.path, number, *file[2:])) if number else file
        for number, content in enumerate(contents)
        for file in content
    )
    image = reader.image_of(reference, found, files)
    return Opened(image, found.names, tuple(layer.content for layer in layers), tuple(checks))


@contextmanager
def _reading() -> Iterator[tuple[ExitStack, ThreadPoolExecutor]]:
    """Yield a stack for what is unpacked, and threads, which end before the stack is closed.

    They leave out what they have not begun where the block raises an error.
    """
    with ExitStack() as unpacked, ThreadPoolExecutor(_THREADS) as pool:
        try:
            yield unpacked, pool
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _layer(stored: Tar, budget: archives.Budget, kept: ExitStack, pool: ThreadPoolExecutor) -> _Layer:
    """Read a layer, unpacked where it is compressed. The sha256 of each large file follows."""
    content = kept.enter_context(tar.plain(stored, bare=True, budget=budget))
    files: list[File] = []
    digests: dict[int, Future[str]] = {}
    # Whether each path is a folder: of two files of a path, an Engine keeps one.
    folders: dict[str, bool] = {}
    for file in reader.layer_files(content, lambda size: size < _LARGE):
        if file.size >= _LARGE:
            start = content.start + file.place
            digests[file.place] = pool.submit(tar.sha256_of, Tar(content.map, start, start + file.size))
        if file.path in folders and not (file.directory and folders[file.path]):
            message = f"{file.path} is there twice in a layer"
            raise tarfile.ReadError(message)
        folders[file.path] = file.directory
        files.append(file)
    return _Layer(content, files, digests)
