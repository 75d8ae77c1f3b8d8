"""Unpack archives within an image, bounded in bytes and in memory."""

from __future__ import annotations

import bz2
import contextlib
import importlib
import io
import lzma
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import IO, Any, Protocol, cast

# What the archives of one image may unpack to, all together.
BUDGET_BYTES = 1 << 30
# What a compressed layer or image may unpack to, as a multiple of its size, beyond a start.
_RATIO = 50
_START_BYTES = 64 << 20
# Larger content goes through a file on the disk.
_IN_MEMORY = 8 << 20
# What is read of a tar before its first or next member is known: a header that asks for more is a trap.
_HEADER_BYTES = 64 << 10
# How long a zip's directory may be.
_DIRECTORY_BYTES = 16 << 20
_CHUNK = 1 << 20
# What a compressed stream counts for besides what it holds: even an empty one costs time.
_STREAM_BYTES = 4096
# How much of a stream is read before it is unpacked; no stream is shorter.
_STREAM_HEAD = 12
_FEXTRA = 4
_FIELD_BYTES = 64
# A zip's last record and the longest comment behind it (https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT).
ZIP_END = b"PK\x05\x06"
ZIP_TAIL = 22 + 65535
GZIP = b"\x1f\x8b"
ZSTD = b"\x28\xb5\x2f\xfd"
_SNIFFED = 512


class TooMuchError(Exception):
    """An archive holds more than can be looked into."""


class NoRoomError(Exception):
    """The disk has no room for what is unpacked."""


class UnsupportedError(Exception):
    """A layer is compressed by Zstandard, which this Python can't unpack."""


class _Unpacker(Protocol):
    """The interface of the standard library's decompressors."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


_UNPACKERS: dict[bytes, Callable[[], _Unpacker]] = {
    GZIP: lambda: zlib.decompressobj(wbits=zlib.MAX_WBITS | 16),
    b"BZh": bz2.BZ2Decompressor,
    b"\xfd7zXZ\x00": lambda: lzma.LZMADecompressor(memlimit=128 << 20),
}
# Layers may be compressed by Zstandard as well (https://github.com/opencontainers/image-spec/blob/main/layer.md), which
# the standard library has from Python 3.14 on.
_LAYER_UNPACKERS = dict(_UNPACKERS)
LAYER_ERRORS: tuple[type[Exception], ...] = (zlib.error,)
with contextlib.suppress(ImportError):
    _zstd = importlib.import_module("compression.zstd")
    _LAYER_UNPACKERS[ZSTD] = _zstd.ZstdDecompressor
    LAYER_ERRORS += (_zstd.ZstdError,)
_DAMAGED = (
    tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError, EOFError, ValueError, RuntimeError,
    NotImplementedError, OverflowError, RecursionError, MemoryError,
)  # fmt: skip


class Budget:
    """The number of bytes that may still be unpacked."""

    def __init__(self, left: int = BUDGET_BYTES) -> None:
        self.left = left

    @classmethod
    def of(cls, packed: int) -> Budget:
        """Return the budget for a number of compressed bytes."""
        return cls(_START_BYTES + _RATIO * packed)

    def grow(self, packed: int) -> None:
        """Add what a further number of compressed bytes may unpack to."""
        self.left += _RATIO * packed

    def take(self, count: int) -> None:
        """Count unpacked bytes. Raises TooMuchError where there are too many."""
        self.left -= count
        if self.left < 0:
            raise TooMuchError


class Limited(io.RawIOBase):
    """A file from which, while `allowed` is set, only so many bytes are read."""

    def __init__(self, file: Any) -> None:  # noqa: ANN401
        self._file = file
        self.allowed: int | None = _HEADER_BYTES

    def read(self, size: int = -1, /) -> bytes:
        """Read bytes. Raises TooMuchError where more are asked for than are allowed."""
        allowed = self.allowed
        if allowed is None:
            content: bytes = self._file.read(size)
            return content
        if size > allowed:
            raise TooMuchError
        content = self._file.read(size if size >= 0 else allowed + 1)
        if len(content) > allowed:
            raise TooMuchError
        self.allowed = allowed - len(content)
        return content

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Set the position."""
        self._file.seek(offset, whence)
        return self.tell()

    def tell(self) -> int:
        """Return the position."""
        place: int = self._file.tell()
        return place

    def seekable(self) -> bool:
        """Return True."""
        return True

    def readable(self) -> bool:
        """Return True."""
        return True


def entries(archive: tarfile.TarFile, file: Limited) -> Iterator[tarfile.TarInfo]:
    """Yield the entries of a tar that reads `file`, without keeping them."""
    while (entry := next_entry(archive, file)) is not None:
        yield entry


def next_entry(archive: tarfile.TarFile, file: Limited) -> tarfile.TarInfo | None:
    """Return the next entry of a tar that reads `file`, without keeping it, or None at the end."""
    file.allowed = _HEADER_BYTES
    entry = archive.next()
    file.allowed = None
    archive.members.clear()  # type: ignore[attr-defined]
    return entry


def looks_packed(head: bytes) -> bool:
    """Return whether content that begins so may be an archive or compressed."""
    return head.startswith((b"PK\x03\x04", *_UNPACKERS)) or head[257:262] == b"ustar"


def layer_magic(head: bytes) -> bytes:
    """Return how a layer that is compressed begins, or nothing for another one. Raises UnsupportedError."""
    if head.startswith(ZSTD) and ZSTD not in _LAYER_UNPACKERS:
        raise UnsupportedError
    return next((magic for magic in (GZIP, ZSTD) if head.startswith(magic)), b"")


def is_archive(file: IO[bytes], size: int) -> bool:
    """Return whether a file may be an archive.

    A zip may follow other content (a zipapp's first line, a cache's header): its directory is at its end.
    """
    file.seek(0)
    if looks_packed(file.read(_SNIFFED)):
        return True
    file.seek(max(0, size - ZIP_TAIL))
    return ZIP_END in file.read(ZIP_TAIL)


def members(file: IO[bytes], size: int, budget: Budget) -> Iterator[tuple[str, IO[bytes], int]]:
    """Yield name, content and size of each file in a zip, a tar or a compressed file, as far as it can be read.

    A damaged or encrypted member has no content. Each content must be read before the next member is.
    Raises TooMuchError.
    """
    file.seek(0)
    head = file.read(_SNIFFED)
    for magic in _UNPACKERS:
        if head.startswith(magic):
            with tempfile.SpooledTemporaryFile(_IN_MEMORY) as plain:
                length = _unpack_to(plain, file, magic, budget)
                plain.seek(0)
                if plain.read(_SNIFFED)[257:262] == b"ustar":
                    yield from _untar(plain, budget)
                elif length:
                    yield "content", plain, length
            return
    if head[257:262] == b"ustar":
        yield from _untar(file, budget)
    else:
        yield from _unzip(file, size, budget)


def store(plain: IO[bytes], content: bytes) -> int:
    """Write unpacked bytes and return their number. Raises NoRoomError where they can't be written."""
    try:
        return plain.write(content)
    except OSError as error:
        raise NoRoomError(str(error)) from None


def unpacked(
    chunks: Iterator[bytes], magic: bytes, budget: Budget, *, whole: bool = False, bare: bool = False
) -> Iterator[bytes]:
    """Yield the content of compressed chunks, one stream after the other, up to what is not a stream.

    Raises ReadError there, if the `whole` has to be compressed, and where a gzip stream that has to be `bare` bears
    more than what it compresses; and TooMuchError.
    """
    unpacker: _Unpacker | None = None
    rest = b""
    for packed in chunks:
        rest += packed
        while rest:
            if not unpacker:
                if len(rest) < _STREAM_HEAD:
                    break
                unpacker = _begun(rest, magic, bare=bare)
            if not unpacker:
                if not whole:
                    return
                _check_end(None, rest)
                rest = b""
                break
            for piece in _pieces(unpacker, rest):
                budget.take(len(piece))
                yield piece
            rest = b""
            if unpacker.eof:
                rest = unpacker.unused_data
                unpacker = None
                budget.take(_STREAM_BYTES)
    if whole:
        _check_end(unpacker, rest)


def _begun(head: bytes, magic: bytes, *, bare: bool) -> _Unpacker | None:
    """Return the unpacker of the stream that begins here, or None where none begins."""
    if not head.startswith(magic):
        return None
    if bare and magic == GZIP and not _is_bare(head):
        message = "a compressed layer with more in it than the layer"
        raise tarfile.ReadError(message)
    return _LAYER_UNPACKERS[magic]()


def _check_end(unpacker: _Unpacker | None, rest: bytes) -> None:
    """Raise ReadError where a stream has not ended, or where more than padding is behind the last."""
    if unpacker or rest.strip(b"\0"):
        message = "a stream that ends too soon" if unpacker else "bytes behind what is compressed"
        raise tarfile.ReadError(message)


def _is_bare(head: bytes) -> bool:
    """Return whether a gzip stream bears no name, no comment, and no field but a short one (RFC 1952, 2.3.1).

    eStargz has such a field in its last stream.
    """
    flags, length = head[3], int.from_bytes(head[10:12], "little")
    return flags == 0 or (flags == _FEXTRA and length <= _FIELD_BYTES)


def _pieces(unpacker: _Unpacker, packed: bytes) -> Iterator[bytes]:
    """Unpack a little at a time: an archive bomb is stopped early."""
    piece = unpacker.decompress(packed, _CHUNK)
    while piece:
        yield piece
        if unpacker.eof:
            return
        # zlib returns the rest of the input, the others keep it.
        piece = unpacker.decompress(getattr(unpacker, "unconsumed_tail", b""), _CHUNK)


def _unpack_to(plain: IO[bytes], file: IO[bytes], magic: bytes, budget: Budget) -> int:
    file.seek(0)
    count = 0
    try:
        for chunk in unpacked(iter(lambda: file.read(_CHUNK), b""), magic, budget):
            count += store(plain, chunk)
    except _DAMAGED:
        pass
    return count


def _untar(file: IO[bytes], budget: Budget) -> Iterator[tuple[str, IO[bytes], int]]:
    end = file.seek(0, io.SEEK_END)
    file.seek(0)
    limited = Limited(file)
    try:
        with tarfile.open(fileobj=limited, mode="r:") as archive:
            for entry in entries(archive, limited):
                whole = entry.isreg() and entry.offset_data + entry.size <= end
                member = archive.extractfile(entry) if whole else None
                size = entry.size if member else 0
                budget.take(size)
                yield entry.name, member or io.BytesIO(), size
    except _DAMAGED:
        return


def _unzip(file: IO[bytes], size: int, budget: Budget) -> Iterator[tuple[str, IO[bytes], int]]:
    file.seek(max(0, size - ZIP_TAIL))
    tail = file.read(ZIP_TAIL)
    at = tail.rfind(ZIP_END)
    # How long the directory is; a zip64's is given as the largest number.
    if at >= 0 and int.from_bytes(tail[at + 12 : at + 16], "little") > _DIRECTORY_BYTES:
        raise TooMuchError
    limited = Limited(file)
    # The length of a zip64's directory is elsewhere: it is bounded as well.
    limited.allowed = 2 * _DIRECTORY_BYTES
    try:
        with zipfile.ZipFile(cast("IO[bytes]", limited)) as archive:
            limited.allowed = None
            for info in archive.infolist():
                budget.take(info.compress_size)
                with tempfile.SpooledTemporaryFile(_IN_MEMORY) as plain:
                    yield info.filename, plain, _member_to(plain, archive, info, budget)
    except _DAMAGED:
        return


def _member_to(plain: IO[bytes], archive: zipfile.ZipFile, info: zipfile.ZipInfo, budget: Budget) -> int:
    """Unpack a member and return its size: 0 for one that is encrypted or damaged, of which the name is judged."""
    count = 0
    try:
        with archive.open(info) as member:
            while chunk := member.read(_CHUNK):
                budget.take(len(chunk))
                count += store(plain, chunk)
    except _DAMAGED:
        plain.seek(0)
        plain.truncate()
        return 0
    return count
