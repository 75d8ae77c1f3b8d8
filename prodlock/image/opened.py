"""Open an image from a file or a folder: its records, and the content of each file while it is open."""

from __future__ import annotations

import re
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import IO, Any, NamedTuple, Protocol

from prodlock.image import archives, documents, layout, reader, tar
from prodlock.image.documents import Documents
from prodlock.image.growing import Growing
from prodlock.image.records import HEAD_BYTES, File, Image
from prodlock.image.tar import Tar

# A second thread hashes files from this size on: hashing does not hold the interpreter's lock.
_LARGE = 1 << 20
_THREADS = 2
# Layers from this size on are known to the next run.
_KNOWN = 1 << 20
# A sha256, and what an Engine calls a layer in an archive by it.
_SHA256 = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(rf"(?:blobs/sha256/)?({_SHA256.pattern})(?:\.tar)?")
# The place of the head among a file's fields.
_HEAD = File._fields.index("head")
_BLOCK = 512
# How much content is read before its memory is released.
_WINDOW = 64 << 20
_REFUSED = (*reader.UNREADABLE, archives.TooMuchError, archives.NoRoomError, archives.UnsupportedError)


class Known(Protocol):
    """The files of layers that were read before, without their heads, by the sha256 of a layer as a hexadecimal."""

    def read(self, digest: str) -> Sequence[File] | None:
        """Return the files of a layer, or None."""

    def write(self, digest: str, files: Sequence[File]) -> None:
        """Keep the files of a layer, which has that sha256."""


class _Layer(NamedTuple):
    """A layer that was read: its uncompressed content, and its files, numbered as of layer 0.

    Threads hash its large files while the next layers are read.
    """

    content: Tar
    read: list[File]
    # The sha256 of each large file, by its place.
    digests: Mapping[int, Future[str]]
    # The sha256 by which its files were known, or `` where they were read.
    known: str = ""

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
    # The layers that were not known, by their sha256.
    _new: Mapping[str, _Layer] = field(repr=False)
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

    def keep(self, known: Known) -> None:
        """Keep what was read of large layers, once they are verified."""
        for digest, layer in self._new.items():
            if layer.content.end - layer.content.start >= _KNOWN:
                known.write(digest, layer.files())

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


def follow(archive: IO[bytes], has_ended: Callable[[], bool], kept: ExitStack, known: Known | None = None) -> Layers:
    """Read each layer of an archive while a process writes it, until that process has ended.

    The layers can be read until `kept` is closed. An archive that is not valid is left to `open_archive`, which refuses
    it.
    """
    growing = Growing(archive, has_ended)
    layers: dict[tuple[int, int], _Layer] = {}
    at = 0
    reading = kept.enter_context(_reading(known))
    with suppress(*_REFUSED):
        try:
            while len(header := growing[at : at + _BLOCK]) == _BLOCK:
                entry = tarfile.TarInfo.frombuf(header, tarfile.ENCODING, "surrogateescape")
                if entry.size < 0:
                    break
                start, end = at + _BLOCK, at + _BLOCK + entry.size
                if entry.isreg() and _is_layer(growing[start : min(start + _BLOCK, end)]):
                    name = _NAME.fullmatch(entry.name)
                    layers[start, end] = _layer(Tar(growing, start, end), name[1] if name else "", reading)
                at = end + -entry.size % _BLOCK
        finally:
            # The threads of the pool must not wait for the rest.
            growing.stopped = True
    return layers


def _is_layer(head: bytes) -> bool:
    return head[257:262] == b"ustar" or head.startswith((archives.GZIP, archives.ZSTD))


@contextmanager
def open_archive(
    reference: str,
    archive: IO[bytes],
    *,
    platform: str = "",
    layers: Layers | None = None,
    known: Known | None = None,
) -> Iterator[Opened]:
    """Open the one image in a file that `docker save` wrote, or the image of a platform in an archive of an OCI layout.

    `layers` were read while the file was written; the files of `known` ones are not read again. Raises Failure, code 2,
    as `reader.read` does. The layers are hashed while the block uses the image: where one is not what the image's
    configuration names, the end of the block raises.
    """
    with ExitStack() as kept:
        with reader.refusing(reference):
            found = _archive_documents(reference, archive, platform, kept)
            opened = _open(reference, found, kept, layers or {}, known)
        yield opened
        _finish(reference, opened, known)


@contextmanager
def open_folder(reference: str, folder: Path, *, platform: str = "", known: Known | None = None) -> Iterator[Opened]:
    """Open the image of a platform in an OCI layout. Raises Failure, code 2, as `open_archive` does."""
    with ExitStack() as kept:
        with reader.refusing(reference):
            found = layout.read(reference, layout.in_folder(folder, kept), platform)
            opened = _open(reference, found, kept, {}, known)
        yield opened
        _finish(reference, opened, known)


def _finish(reference: str, opened: Opened, known: Known | None) -> None:
    with reader.refusing(reference):
        opened.verify()
    if known is not None:
        opened.keep(known)


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


def _open(reference: str, found: Documents, kept: ExitStack, read: Layers, known: Known | None) -> Opened:
    layers: list[_Layer] = []
    # Each sha256 with the one that it must be.
    checks: list[tuple[Future[str], str]] = []
    # What is unpacked stays until the image is closed: of a layer that is there twice only once.
    done: dict[Tar, tuple[_Layer, Future[str]]] = {}
    new: dict[str, _Layer] = {}
    reading = kept.enter_context(_reading(known))
    for number, (stored, diff_id) in enumerate(found.layers):
        digest = diff_id.removeprefix("sha256:")
        if stored not in done:
            layer = read.get((stored.start, stored.end))
            if not layer or layer.known not in {"", digest}:
                layer = _layer(stored, digest, reading)
            # Only now: while an Engine sends an archive, it needs the cores.
            done[stored] = layer, reading.pool.submit(tar.sha256_of, layer.content)
        layer, whole = done[stored]
        checks.append((whole, digest))
        if found.stored:
            # Of a layer that is not compressed, both are the same.
            is_plain = layer.content == stored
            checks.append((whole if is_plain else reading.pool.submit(tar.sha256_of, stored), found.stored[number]))
        layers.append(layer)
        if not layer.known:
            new[digest] = layer
    contents = [layer.files() for layer in layers]
    files = (
        # `_replace` takes four times as long.
        File._make((file.path, number, *file[2:])) if number else file
        for number, content in enumerate(contents)
        for file in content
    )
    image = reader.image_of(reference, found, files)
    return Opened(image, found.names, tuple(layer.content for layer in layers), tuple(checks), new)


class _Reading(NamedTuple):
    """What layers are read with: a stack for what is unpacked, and how much that may be; threads; known layers."""

    unpacked: ExitStack
    budget: archives.Budget
    pool: ThreadPoolExecutor
    known: Known | None


@contextmanager
def _reading(known: Known | None) -> Iterator[_Reading]:
    """Yield what layers are read with. The threads end before the stack is closed.

    They leave out what they have not begun where the block raises an error.
    """
    with ExitStack() as unpacked, ThreadPoolExecutor(_THREADS) as pool:
        try:
            yield _Reading(unpacked, archives.Budget.of(0), pool, known)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _layer(stored: Tar, digest: str, reading: _Reading) -> _Layer:
    """Read a layer, unpacked where it is compressed. The sha256 of each large file follows.

    `digest` is what the archive states of the layer, by which it may be known.
    """
    content = reading.unpacked.enter_context(tar.plain(stored, bare=True, budget=reading.budget))
    # Of a hostile image, the digest may be any text, such as a path.
    found = reading.known.read(digest) if reading.known is not None and _SHA256.fullmatch(digest) else None
    if found is not None:
        return _Layer(content, list(_with_heads(content, found)), {}, known=digest)
    files: list[File] = []
    digests: dict[int, Future[str]] = {}
    # Whether each path is a folder: of two files of a path, an Engine keeps one.
    folders: dict[str, bool] = {}
    for file in reader.layer_files(content, lambda size: size < _LARGE):
        if file.size >= _LARGE:
            start = content.start + file.place
            digests[file.place] = reading.pool.submit(tar.sha256_of, Tar(content.map, start, start + file.size))
        if file.path in folders and not (file.directory and folders[file.path]):
            message = f"{file.path} is there twice in a layer"
            raise tarfile.ReadError(message)
        folders[file.path] = file.directory
        files.append(file)
    return _Layer(content, files, digests)


def _with_heads(content: Tar, files: Sequence[File]) -> Iterator[File]:
    """Yield the files of a layer with their heads."""
    sizes = {file.place: file.size for file in files if file.size}
    released = content.start
    for file in files:
        # A hard link has the content of its file.
        size = min(sizes.get(file.place, 0), HEAD_BYTES)
        start = content.start + file.place
        yield File._make((*file[:_HEAD], content.map[start : start + size], *file[_HEAD + 1 :])) if size else file
        if start - released > _WINDOW:
            tar.release(content.map, released, start)
            released = start
