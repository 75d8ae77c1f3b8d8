"""Obtain facts: what the layers and the configuration of an image hold, as plain records. Nothing is judged here."""

from __future__ import annotations

import bz2
import gzip
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
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import IO, Any, NamedTuple

from ops import engine
from ops.failure import CANNOT_CHECK, Failure

# How much of a file is kept for the judges: enough for a script, or for the name in a METADATA file.
HEAD_BYTES = 1024
# What archives inside an image may unpack to before the check gives up on them.
_ARCHIVE_BYTES = 1 << 30
_ARCHIVE_DEPTH = 4
# Bytes of a zip's last record (https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT, 4.3.16).
_ZIP_END = 22


class File(NamedTuple):
    """One entry of a layer, or a member of an archive in one (its path then holds `!/`)."""

    path: str
    layer: int = 0
    size: int = 0
    mode: int = 0o644
    directory: bool = False
    # Where a symbolic link points; the same for every other entry.
    target: str = ""
    # Empty for anything but a regular file, and for one whose size was not asked for.
    sha256: str = ""
    # The first HEAD_BYTES; all of a distribution's RECORD.
    head: bytes = b""


@dataclass(frozen=True)
class Layer:
    """A layer: the sha256 of its uncompressed archive, and the Dockerfile instruction that made it."""

    diff_id: str
    instruction: str


@dataclass(frozen=True)
class Image:
    """An image as `docker save` gives it (https://github.com/opencontainers/image-spec/blob/main/config.md)."""

    reference: str
    layers: tuple[Layer, ...]
    config: Mapping[str, Any]
    # Every instruction, those that made no layer included.
    history: tuple[str, ...]
    files: tuple[File, ...] = field(repr=False)

    @property
    def size(self) -> int:
        """Bytes of all regular files in all layers, archive members not counted."""
        return sum(file.size for file in self.files if "!/" not in file.path)


# Says whether files of so many bytes are hashed.
Sizes = Callable[[int], bool]


def read(reference: str, archive: IO[bytes], hashed: Sizes) -> Image:
    """Return the facts of the one image in `archive`, a file that `docker save` wrote.

    Files of the sizes that `hashed` accepts get their sha256. Raises Failure, code 2, on a broken archive.
    """
    try:
        with _mapped(archive) as tar:
            members = {member.name: member for member in _entries(tar)}
            manifest = json.loads(_content(tar, members["manifest.json"]))[0]
            settings = json.loads(_content(tar, members[manifest["Config"]]))
            files: list[File] = []
            for number, name in enumerate(manifest["Layers"]):
                files += _layer_files(tar, members[name], number, hashed)
        steps = settings.get("history", [])
        made = [step.get("created_by", "") for step in steps if not step.get("empty_layer")]
        diff_ids = settings["rootfs"]["diff_ids"]
        layers = tuple(
            Layer(diff_id, made[number] if number < len(made) else "unknown") for number, diff_id in enumerate(diff_ids)
        )
        return Image(
            reference=reference,
            layers=layers,
            config=settings.get("config") or {},
            history=tuple(step.get("created_by", "") for step in steps),
            files=tuple(files),
        )
    except (tarfile.TarError, zlib.error, KeyError, IndexError, ValueError, EOFError) as error:
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


def _every_size(_: int) -> bool:
    return True


def _folder(container: str, folder: PurePosixPath) -> Iterator[File]:
    with tempfile.TemporaryFile() as archive:
        engine.write(archive, "cp", f"{container}:{folder}", "-")
        with _mapped(archive) as tar:
            yield from _files(tar, 0, 0, _every_size, above=str(folder.parent))


def _mapped(archive: IO[bytes]) -> mmap.mmap:
    """Map a file into memory: thousands of small reads then cost no system calls."""
    return mmap.mmap(archive.fileno(), 0, access=mmap.ACCESS_READ)


def _entries(tar: mmap.mmap, start: int = 0) -> Iterator[tarfile.TarInfo]:
    """Give the entries of the uncompressed tar that begins at `start`; their offsets count from 0."""
    tar.seek(start)
    with tarfile.open(fileobj=tar, mode="r:") as entries:
        yield from entries


def _layer_files(tar: mmap.mmap, member: tarfile.TarInfo, number: int, hashed: Sizes) -> Iterator[File]:
    """Give the files of one layer, which the containerd image store hands out compressed."""
    start, end = member.offset_data, member.offset_data + member.size
    if tar[start : start + 2] != b"\x1f\x8b":
        yield from _files(tar, start, number, hashed)
        return
    with tempfile.TemporaryFile() as plain:
        unpack = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        for chunk in range(start, end, 1 << 20):
            plain.write(unpack.decompress(tar[chunk : min(chunk + (1 << 20), end)]))
        plain.flush()
        with _mapped(plain) as unpacked:
            yield from _files(unpacked, 0, number, hashed)


def _files(tar: mmap.mmap, start: int, layer: int, hashed: Sizes, above: str = "/") -> Iterator[File]:
    """Give a record for each entry of the uncompressed tar at `start`, and for the members of archives in it.

    The tar's names are relative to the folder `above`.
    """
    root = above.rstrip("/") + "/"
    regular: dict[str, File] = {}
    for entry in _entries(tar, start):
        path = posixpath.normpath(root + entry.name)
        if entry.isreg():
            head, digest = _read_regular(tar, entry, path, hashed)
            regular[path] = File(path, layer, entry.size, entry.mode, sha256=digest, head=head)
            yield regular[path]
            if _is_archive(tar, entry, head):
                yield from _members(path, _content(tar, entry), layer, hashed)
        elif entry.islnk() and (linked := regular.get(posixpath.normpath(root + entry.linkname))):
            yield File(path, layer, 0, entry.mode, sha256=linked.sha256, head=linked.head)
        else:
            yield File(path, layer, 0, entry.mode, entry.isdir(), entry.linkname)


def _read_regular(tar: mmap.mmap, entry: tarfile.TarInfo, path: str, hashed: Sizes) -> tuple[bytes, str]:
    if not hashed(entry.size):
        return tar[entry.offset_data : entry.offset_data + min(entry.size, HEAD_BYTES)], ""
    content = _content(tar, entry)
    return _head(path, content), hashlib.sha256(content).hexdigest()


def _head(path: str, content: bytes) -> bytes:
    return content if path.endswith(".dist-info/RECORD") else content[:HEAD_BYTES]


def _content(tar: mmap.mmap, entry: tarfile.TarInfo) -> bytes:
    return tar[entry.offset_data : entry.offset_data + entry.size]


_COMPRESSED = {b"\x1f\x8b": gzip.decompress, b"BZh": bz2.decompress, b"\xfd7zXZ\x00": lzma.decompress}


def _is_archive(tar: mmap.mmap, entry: tarfile.TarInfo, head: bytes) -> bool:
    # A zip may stand behind anything (a zipapp's first line, a cache's own header): its directory is at its end.
    end = entry.offset_data + entry.size
    return _looks_packed(head) or (entry.size > _ZIP_END and tar[end - _ZIP_END : end - _ZIP_END + 4] == b"PK\x05\x06")


def _looks_packed(head: bytes) -> bool:
    return head.startswith((b"PK\x03\x04", *_COMPRESSED)) or head[257:262] == b"ustar"


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
        if _looks_packed(data[:HEAD_BYTES]):
            yield from _members(member, data, layer, hashed, depth + 1)


def _unpack(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Give name and content of each file in a zip, a tar or a compressed file."""
    try:
        if zipfile.is_zipfile(io.BytesIO(content)):
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                for info in archive.infolist():
                    # An encrypted member shows only its name.
                    yield info.filename, b"" if info.is_dir() or info.flag_bits & 1 else archive.read(info)
            return
        for magic, decompress in _COMPRESSED.items():
            if content.startswith(magic):
                content = decompress(content)
                if content[257:262] != b"ustar":
                    yield "content", content
                    return
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as entries:
            for entry in entries:
                member = entries.extractfile(entry) if entry.isreg() else None
                yield entry.name, member.read() if member else b""
    except (zipfile.BadZipFile, tarfile.TarError, lzma.LZMAError, OSError, EOFError, ValueError, NotImplementedError):
        return
