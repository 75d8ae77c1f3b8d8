"""Read tar archives in mapped files. Archives that readers understand differently are refused."""

from __future__ import annotations

import functools
import hashlib
import io
import mmap
import posixpath
import re
import struct
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, NamedTuple, Self, TypeAlias, cast

from prodlock.image import archives
from prodlock.image.growing import Growing

# A file that is complete, or one that is still written.
Mapped: TypeAlias = mmap.mmap | Growing
# How much of a mapped file stays in memory.
_WINDOW = 16 << 20
_BLOCK = 512
_SMALL = 64 << 10
# The names of extended headers that only repeat what the entry has a field for (pax(1)).
_PLAIN_HEADERS = {"atime", "ctime", "gid", "linkpath", "mtime", "path", "size", "uid"}
# The longest name, link target or extended attribute that is accepted.
_NAME_BYTES = 4096
# A number in a tar's header: octal digits, or binary behind a first bit (tar(5)).
_NUMBER = re.compile(rb"[0-7]+[ \0]*|[\x80\xff].{11}", re.DOTALL)
_OCTAL = re.compile(rb"[0-7]+[ \0]*")
_NO_LINK = bytes(100)
# The headers that may precede an entry: one extended header, or GNU's long name and long link.
_PRECEDING = {b"", b"x", b"L", b"K", b"LK", b"KL"}
_RECORD = re.compile(rb"(\d{1,9}) ([^=]+)=")
# The records of an extended header that have a number, and such a number (pax(1)).
_NUMBERED = {b"atime", b"ctime", b"gid", b"mtime", b"size", b"uid"}
_DECIMAL = re.compile(rb"-?\d{1,20}(\.\d{1,9})?")
# The name of a user or a group, or none (useradd(8)).
_OWNER = re.compile(r"[a-z_][a-z0-9_-]{0,31}|")
# A file, a hard link, a symbolic link, a folder. Readers take other types for one of these, or leave them out.
_PLAIN_TYPES = {tarfile.REGTYPE, tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.DIRTYPE}
# Of a header: name, mode, user, group, size, time, checksum, link, names of user and group, device, prefix.
_FIELDS = struct.Struct("100s8s8s8s12s12s8sx100s8x32s32s8s8s155s12x")
_KINDS = {
    tarfile.CHRTYPE: "a character device",
    tarfile.BLKTYPE: "a block device",
    tarfile.FIFOTYPE: "a named pipe",
}


class Tar(NamedTuple):
    """An uncompressed tar within a mapped file: from a byte to a byte of it."""

    map: Mapped
    start: int
    end: int


class Region(io.RawIOBase):
    """A part of a mapped file, as a file of its own."""

    def __init__(self, mapped: Mapped, start: int, end: int) -> None:
        self._map, self._start, self._end, self._at = mapped, start, end, start

    def readinto(self, buffer: Any, /) -> int:  # noqa: ANN401
        """Read the next bytes."""
        content = self._map[self._at : min(self._at + len(buffer), self._end)]
        buffer[: len(content)] = content
        self._at += len(content)
        return len(content)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Set the position."""
        self._at = max(self._start, (self._start, self._at, self._end)[whence] + offset)
        return self.tell()

    def tell(self) -> int:
        """Return the position."""
        return self._at - self._start

    def seekable(self) -> bool:
        """Return True."""
        return True

    def readable(self) -> bool:
        """Return True."""
        return True


class Header(tarfile.TarInfo):
    """A header whose common form is read in half of the time; any other form is left to tarfile."""

    __slots__ = ()

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """Return the header of a block, as tarfile does."""
        return cls.plain(bytes(buf), encoding, errors) or super().frombuf(buf, encoding, errors)

    @classmethod
    def plain(cls, block: bytes, encoding: str, errors: str) -> Self | None:
        """Return the header of a file, a folder or a link in the common form, or None for any other block."""
        kind = block[156:157]
        if kind not in _PLAIN_TYPES or len(block) != _BLOCK:
            return None
        name, mode, uid, gid, size, mtime, checksum, link, uname, gname, major, minor, prefix = _FIELDS.unpack(block)
        if not _OCTAL.fullmatch(size):
            return None
        header = cls(name.partition(b"\0")[0].decode(encoding, errors))
        try:
            header.chksum = _number(checksum)
            header.mode, header.uid, header.gid = _number(mode), _number(uid), _number(gid)
            header.size, header.mtime = int(size.rstrip(b" \0"), 8), _number(mtime)
            header.devmajor, header.devminor = _number(major), _number(minor)
        except ValueError:
            return None
        # The sum of all bytes, with spaces in place of the sum (tar(5)).
        if _sum(block) - _sum(checksum) + 8 * ord(" ") != header.chksum:
            return None
        header.type = kind
        if link != _NO_LINK:
            header.linkname = _text(link, encoding, errors)
        header.uname, header.gname = _text(uname, encoding, errors), _text(gname, encoding, errors)
        if kind == tarfile.DIRTYPE:
            header.name = header.name.rstrip("/")
        if prefix[0]:
            header.name = f"{_text(prefix, encoding, errors)}/{header.name}"
        return header


def _sum(block: bytes) -> int:
    """Return the sum of at most 512 bytes.

    The low half of an Adler-32 checksum is the sum and 1, modulo 65521 (RFC 1950), which no sum of ASCII reaches.
    """
    return (zlib.adler32(block) & 0xFFFF) - 1 if block.isascii() else sum(block)


@functools.lru_cache(4096)
def _number(field: bytes) -> int:
    """Return an octal number. Raises ValueError for another form."""
    return int(field.rstrip(b" \0") or b"0", 8)


@functools.lru_cache(4096)
def _text(field: bytes, encoding: str, errors: str) -> str:
    return field.partition(b"\0")[0].decode(encoding, errors)


def map_file(archive: IO[bytes]) -> mmap.mmap:
    """Map a file into memory: thousands of small reads then cost no system calls."""
    return mmap.mmap(archive.fileno(), 0, access=mmap.ACCESS_READ)


def release(mapped: Mapped, start: int, end: int) -> None:
    """Release the memory of a part that was read: a large image takes no more memory than a small one."""
    start -= start % mmap.PAGESIZE
    # Windows has no such advice, and releases mapped memory without it.
    if hasattr(mapped, "madvise") and end > start:
        mapped.madvise(mmap.MADV_DONTNEED, start, end - start)


def entries(tar: Tar) -> Iterator[tarfile.TarInfo]:
    """Yield the entries of a tar; their offsets count from the start of the mapped file.

    Raises ReadError for bytes that are not an entry, which tarfile takes for the end, and for an entry that is larger
    than the tar, has holes, or would be unpacked outside of its folder.
    """
    tar.map.seek(tar.start)
    limited = archives.Limited(tar.map)
    forgotten = tar.start
    with tarfile.open(fileobj=cast("IO[bytes]", limited), mode="r:", tarinfo=Header) as archive:
        entry = archives.next_entry(archive, limited)
        while entry is not None and entry.offset < tar.end:
            if archive.pax_headers:
                message = "a header for all entries, which not every reader heeds"
                raise tarfile.ReadError(message)
            _check_headers(tar, entry)
            following = archive.offset
            while entry:
                _check_entry(tar, entry)
                yield entry
                if following - forgotten > _WINDOW:
                    release(tar.map, forgotten, following)
                    forgotten = following
                # What tarfile has no part in takes a third of its time.
                entry = _plain_entry(tar, following)
                if entry:
                    following = entry.offset_data + (entry.size + -entry.size % _BLOCK) * entry.isreg()
            archive.offset = following
            entry = archives.next_entry(archive, limited)
        if entry is not None:
            return
        for at in range(archive.offset, tar.end, _WINDOW):
            if tar.map[at : min(at + _WINDOW, tar.end)].strip(b"\0"):
                message = f"no tar entry at byte {archive.offset - tar.start}"
                raise tarfile.ReadError(message)


def _plain_entry(tar: Tar, at: int) -> Header | None:
    """Return the entry at a place of a tar where it has one header in the common form, or None."""
    end = at + _BLOCK
    header = Header.plain(tar.map[at:end], tarfile.ENCODING, "surrogateescape") if end <= tar.end else None
    if header:
        header.offset, header.offset_data = at, end
    return header


def _check_entry(tar: Tar, entry: tarfile.TarInfo) -> None:
    """Raise ReadError for an entry that is larger than the tar, has holes, or leads out of its folder."""
    if entry.size < 0 or (entry.isreg() and entry.offset_data + entry.size > tar.end):
        message = f"an entry of {entry.size} bytes, which is more than there is"
        raise tarfile.ReadError(message)
    if entry.issparse():
        message = "an entry with holes"
        raise tarfile.ReadError(message)
    if ".." in entry.name and posixpath.normpath(entry.name.lstrip("/")).startswith(".."):
        message = f"an entry outside of the image: {entry.name}"
        raise tarfile.ReadError(message)


def _check_headers(tar: Tar, entry: tarfile.TarInfo) -> None:
    """Raise ReadError for headers that readers understand differently, or that contain hidden bytes."""
    kinds, sound, at = b"", True, entry.offset
    while at < entry.offset_data - _BLOCK:
        kind = tar.map[at + 156 : at + 157]
        size = int(tar.map[at + 124 : at + 136].rstrip(b" \0") or b"0", 8)
        body = tar.map[at + _BLOCK : at + _BLOCK + size]
        padding = tar.map[at + _BLOCK + size : at + _BLOCK + size + -size % _BLOCK]
        whole = _records(body) == size if kind == b"x" else size <= _NAME_BYTES and b"\0" not in body.rstrip(b"\0")
        sound = sound and whole and not padding.strip(b"\0")
        kinds += kind
        at += _BLOCK + size + len(padding)
    sound = sound and kinds in _PRECEDING and bool(_NUMBER.fullmatch(tar.map[at + 124 : at + 136]))
    if not sound or max(len(entry.name), len(entry.linkname)) > _NAME_BYTES:
        message = "a header that not every reader understands alike"
        raise tarfile.ReadError(message)


def _records(body: bytes) -> int:
    """Return how many bytes of an extended header are records: `LENGTH NAME=VALUE`, LENGTH counts all (pax(1)).

    Each name once, and numbers where they are required: of two values a reader uses one, and does not show the other.
    """
    at, names = 0, set()
    while match := _RECORD.match(body, at):
        end, name = at + int(match[1]), match[2]
        sound = match.end() < end and body[end - 1 : end] == b"\n" and name not in names
        if not sound or (name in _NUMBERED and not _DECIMAL.fullmatch(body[match.end() : end - 1])):
            break
        names.add(name)
        at = end
    return at


def describe_extra(tar: Tar, entry: tarfile.TarInfo) -> str:
    """Describe what an entry is or contains beyond a plain file, folder or link; `` for nothing."""
    # An extended attribute holds bytes, or rights (https://man7.org/linux/man-pages/man7/xattr.7.html).
    carried = sorted(set(entry.pax_headers) - _PLAIN_HEADERS) if entry.pax_headers else []
    end = entry.offset_data + entry.size * entry.isreg()
    if end % _BLOCK and tar.map[end : min(end + -end % _BLOCK, tar.end)].strip(b"\0"):
        carried.append("bytes behind its end")
    if not (_is_owner(entry.uname) and _is_owner(entry.gname)):
        carried.append(f"the owner {entry.uname}:{entry.gname}")
    if entry.linkname and not (entry.issym() or entry.islnk()):
        carried.append(f"a link's target, {entry.linkname}")
    if entry.type not in _PLAIN_TYPES:
        kind = _KINDS.get(entry.type, f"an entry of type {entry.type!r}")
        carried.append(f"{kind} {entry.devmajor}:{entry.devminor}" if entry.isdev() and not entry.isfifo() else kind)
    return ", ".join(carried)


@functools.lru_cache(64)
def _is_owner(name: str) -> bool:
    """Return whether a text is the name of a user or a group, or empty."""
    return _OWNER.fullmatch(name) is not None


@contextmanager
def plain(packed: Tar, *, bare: bool = False, budget: archives.Budget | None = None) -> Iterator[Tar]:
    """Yield a tar, unpacked where it is compressed, as layers of the containerd image store are.

    `budget` is for several of them. Raises ReadError where a `bare` one contains more than what it compresses.
    """
    mapped, start, end = packed
    magic = archives.layer_magic(mapped[start : min(start + 4, end)])
    if not magic:
        yield packed
        return
    budget = budget or archives.Budget.of(0)
    budget.grow(end - start)
    chunks = (mapped[at : min(at + (1 << 20), end)] for at in range(start, end, 1 << 20))
    with tempfile.TemporaryFile() as file:
        for chunk in archives.unpacked(chunks, magic, budget, whole=True, bare=bare):
            archives.store(file, chunk)
        file.flush()
        release(mapped, start, end)
        with map_file(file) as unpacked:
            yield Tar(unpacked, 0, len(unpacked))


def sha256_of(part: Tar) -> str:
    """Return the sha256 of a part of a mapped file."""
    if part.end - part.start <= _SMALL:
        # A copy is cheaper than a view.
        return hashlib.sha256(part.map[part.start : part.end]).hexdigest()
    digest = hashlib.sha256()
    for at in range(part.start, part.end, _WINDOW):
        end = min(at + _WINDOW, part.end)
        mapped = part.map.until(end) if isinstance(part.map, Growing) else part.map
        with memoryview(mapped) as view, view[at:end] as window:
            digest.update(window)
        if end < part.end:
            release(part.map, at, end)
    return digest.hexdigest()


def sha256_of_stream(content: IO[bytes]) -> str:
    """Return the sha256 of a file."""
    content.seek(0)
    digest = hashlib.sha256()
    while chunk := content.read(1 << 20):
        digest.update(chunk)
    return digest.hexdigest()
