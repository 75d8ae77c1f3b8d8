"""Obtain facts: what the layers and the configuration of an image hold. Nothing is judged here."""

from __future__ import annotations

import bz2
import hashlib
import io
import json
import lzma
import mmap
import posixpath
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import IO, NamedTuple, Protocol

from ops import engine
from ops.failure import CANNOT_CHECK, Failure
from ops.records import File, Image, Layer

# How much of a file is kept for the judges: enough for a script, or for the name in a METADATA file.
HEAD_BYTES = 1024
# What archives inside an image may unpack to before the check gives up on them.
_ARCHIVE_BYTES = 1 << 30
_ARCHIVE_DEPTH = 4
# A zip's last record and the longest comment behind it (https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT).
_ZIP_END = b"PK\x05\x06"
_ZIP_TAIL = 22 + 65535

# Says whether files of so many bytes are hashed.
Sizes = Callable[[int], bool]


class _Tar(NamedTuple):
    """An uncompressed tar within a mapped file: from a byte to a byte of it."""

    map: mmap.mmap
    start: int
    end: int


class _Unpacker(Protocol):
    """What the standard library's decompressors have in common."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /) -> bytes: ...


_GZIP = b"\x1f\x8b"
_UNPACKERS: dict[bytes, Callable[[], _Unpacker]] = {
    _GZIP: lambda: zlib.decompressobj(wbits=zlib.MAX_WBITS | 16),
    b"BZh": bz2.BZ2Decompressor,
    b"\xfd7zXZ\x00": lzma.LZMADecompressor,
}


def read(reference: str, archive: IO[bytes], hashed: Sizes) -> Image:
    """Return the facts of the one image in `archive`, a file that `docker save` wrote.

    Files of the sizes that `hashed` accepts get their sha256. Raises Failure, code 2, where a layer is not, to the
    last byte, what the image's configuration says it is.
    """
    try:
        with _mapped(archive) as saved, ThreadPoolExecutor(1) as pool:
            members = {member.name: member for member in _entries(_whole(saved))}
            manifest = json.loads(_content(saved, members["manifest.json"]))[0]
            settings = json.loads(_content(saved, members[manifest["Config"]]))
            diff_ids = settings["rootfs"]["diff_ids"]
            files: list[File] = []
            for number, (name, diff_id) in enumerate(zip(manifest["Layers"], diff_ids, strict=True)):
                with _layer(saved, members[name]) as tar:
                    # On the other core: hashing does not hold the interpreter's lock.
                    verified = pool.submit(_verify, tar, diff_id)
                    try:
                        files += _files(tar, number, hashed)
                    finally:
                        # In any case: the layer may not be let go of while it is being read.
                        verified.result()
        steps = settings.get("history") or []
        made = [step.get("created_by", "") for step in steps if not step.get("empty_layer")]
        made += ["unknown"] * (len(diff_ids) - len(made))
        return Image(
            reference=reference,
            layers=tuple(Layer(*pair) for pair in zip(diff_ids, made, strict=False)),
            config=settings.get("config") or {},
            history=tuple(step.get("created_by", "") for step in steps),
            files=tuple(files),
        )
    except (tarfile.TarError, zlib.error, KeyError, IndexError, TypeError, ValueError, EOFError) as error:
        raise Failure(
            f"The archive of {reference} can't be read ({error}): build or pull it again.", CANNOT_CHECK
        ) from error


def tree(reference: str, *folders: str) -> tuple[File, ...]:
    """Return the files below `folders` as a container of the image would see them, each with its sha256."""
    # Created, never started: starting one beside a running `docker save` takes a second longer.
    container = engine.output("create", "--pull=never", reference, echo=True).strip()
    try:
        return tuple(file for folder in folders for file in _folder(container, PurePosixPath(folder)))
    finally:
        engine.output("rm", container)


def _folder(container: str, folder: PurePosixPath) -> Iterator[File]:
    with tempfile.TemporaryFile() as archive:
        engine.write(archive, "cp", f"{container}:{folder}", "-")
        with _mapped(archive) as copied:
            yield from _files(_whole(copied), 0, _every_size, above=str(folder.parent))


def _every_size(_: int) -> bool:
    return True


def _mapped(archive: IO[bytes]) -> mmap.mmap:
    """Map a file into memory: thousands of small reads then cost no system calls."""
    return mmap.mmap(archive.fileno(), 0, access=mmap.ACCESS_READ)


def _whole(mapped: mmap.mmap) -> _Tar:
    return _Tar(mapped, 0, len(mapped))


def _entries(tar: _Tar) -> Iterator[tarfile.TarInfo]:
    """Give the entries of a tar; their offsets count from the start of the mapped file.

    Raises ReadError where something that is no entry follows: tarfile takes it for the end.
    """
    tar.map.seek(tar.start)
    with tarfile.open(fileobj=tar.map, mode="r:") as entries:
        for entry in entries:
            if entry.offset >= tar.end:
                return
            yield entry
        if tar.map[entries.offset : tar.end].strip(b"\0"):
            message = f"no tar entry at byte {entries.offset - tar.start}"
            raise tarfile.ReadError(message)


@contextmanager
def _layer(saved: mmap.mmap, member: tarfile.TarInfo) -> Iterator[_Tar]:
    """Give a layer's tar, which the containerd image store hands out compressed."""
    start, end = member.offset_data, member.offset_data + member.size
    if saved[start : start + 2] != _GZIP:
        yield _Tar(saved, start, end)
        return
    with tempfile.TemporaryFile() as plain:
        for chunk in _unpacked((saved[at : min(at + (1 << 20), end)] for at in range(start, end, 1 << 20)), _GZIP):
            plain.write(chunk)
        plain.flush()
        with _mapped(plain) as unpacked:
            yield _whole(unpacked)


def _verify(tar: _Tar, diff_id: str) -> None:
    """Raise ReadError where a layer is not the one that the image's configuration names."""
    with memoryview(tar.map) as view, view[tar.start : tar.end] as layer:
        digest = "sha256:" + hashlib.sha256(layer).hexdigest()
    if digest != diff_id:
        message = f"a layer is not {diff_id}"
        raise tarfile.ReadError(message)


def _unpacked(chunks: Iterator[bytes], magic: bytes) -> Iterator[bytes]:
    """Give what compressed chunks hold, in however many streams one after the other; stop at what is no stream."""
    unpacker = _UNPACKERS[magic]()
    for packed in chunks:
        rest = packed
        while rest:
            yield unpacker.decompress(rest)
            rest = b""
            if unpacker.eof:
                rest = unpacker.unused_data
                if rest and not rest.startswith(magic):
                    return
                unpacker = _UNPACKERS[magic]()


def _files(tar: _Tar, layer: int, hashed: Sizes, above: str = "/") -> Iterator[File]:
    """Give a record for each entry of an uncompressed tar, and for the members of archives in it.

    The tar's names are relative to the folder `above`.
    """
    root = above.rstrip("/") + "/"
    regular: dict[str, File] = {}
    for entry in _entries(tar):
        path = posixpath.normpath(root + entry.name)
        if entry.isreg():
            head, digest = _read_regular(tar.map, entry, path, hashed)
            regular[path] = File(path, layer, entry.size, entry.mode, sha256=digest, head=head)
            yield regular[path]
            if _is_archive(tar.map, entry, head):
                yield from _members(path, _content(tar.map, entry), layer, hashed)
        elif entry.islnk() and (linked := regular.get(posixpath.normpath(root + entry.linkname))):
            yield File(path, layer, 0, entry.mode, sha256=linked.sha256, head=linked.head)
        else:
            yield File(path, layer, 0, entry.mode, entry.isdir(), entry.linkname)


def _read_regular(mapped: mmap.mmap, entry: tarfile.TarInfo, path: str, hashed: Sizes) -> tuple[bytes, str]:
    if not hashed(entry.size):
        return mapped[entry.offset_data : entry.offset_data + min(entry.size, HEAD_BYTES)], ""
    content = _content(mapped, entry)
    return _head(path, content), hashlib.sha256(content).hexdigest()


def _head(path: str, content: bytes) -> bytes:
    return content if path.endswith(".dist-info/RECORD") else content[:HEAD_BYTES]


def _content(mapped: mmap.mmap, entry: tarfile.TarInfo) -> bytes:
    return mapped[entry.offset_data : entry.offset_data + entry.size]


def _is_archive(mapped: mmap.mmap, entry: tarfile.TarInfo, head: bytes) -> bool:
    # A zip may stand behind anything (a zipapp's first line, a cache's own header): its directory is at its end.
    end = entry.offset_data + entry.size
    return _looks_packed(head) or _ZIP_END in mapped[max(entry.offset_data, end - _ZIP_TAIL) : end]


def _looks_packed(head: bytes) -> bool:
    return head.startswith((b"PK\x03\x04", *_UNPACKERS)) or head[257:262] == b"ustar"


def _members(path: str, content: bytes, layer: int, hashed: Sizes, depth: int = 1) -> Iterator[File]:
    """Give the members of an archive, and of archives in it; nothing for what only looks like one."""
    unpacked = 0
    for name, data in _unpack(content):
        unpacked += len(data)
        if depth > _ARCHIVE_DEPTH or unpacked > _ARCHIVE_BYTES:
            raise Failure(
                f"{path} is an archive too deep or too large to look into: remove it from the image.", CANNOT_CHECK
            )
        member = f"{path}!{posixpath.normpath('/' + name)}"
        digest = hashlib.sha256(data).hexdigest() if hashed(len(data)) else ""
        yield File(member, layer, len(data), sha256=digest, head=_head(member, data))
        if _looks_packed(data[:HEAD_BYTES]) or _ZIP_END in data[-_ZIP_TAIL:]:
            yield from _members(member, data, layer, hashed, depth + 1)


def _unpack(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Give name and content of each file in a zip, a tar or a compressed file, as far as it can be read."""
    for magic in _UNPACKERS:
        if content.startswith(magic):
            content = _as_far_as_possible(content, magic)
            if content and content[257:262] != b"ustar":
                yield "content", content
                return
    if content[257:262] == b"ustar":
        yield from _untar(content)
    elif zipfile.is_zipfile(io.BytesIO(content)):
        yield from _unzip(content)


def _as_far_as_possible(content: bytes, magic: bytes) -> bytes:
    plain = io.BytesIO()
    try:
        for chunk in _unpacked(iter([content]), magic):
            plain.write(chunk)
            if plain.tell() > _ARCHIVE_BYTES:
                break
    except (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError):
        pass
    return plain.getvalue()


def _untar(content: bytes) -> Iterator[tuple[str, bytes]]:
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as entries:
            for entry in entries:
                member = entries.extractfile(entry) if entry.isreg() else None
                yield entry.name, member.read() if member else b""
    except (tarfile.TarError, OSError, ValueError):
        return


def _unzip(content: bytes) -> Iterator[tuple[str, bytes]]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for info in archive.infolist():
                yield info.filename, _member(archive, info)
    except (zipfile.BadZipFile, OSError, ValueError):
        return


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """Return a member's content, nothing where it is encrypted or damaged: its name still tells."""
    try:
        return archive.read(info)
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError, EOFError, ValueError, RuntimeError):
        return b""
