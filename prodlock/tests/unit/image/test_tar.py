"""Headers of tar archives: the fast reader reads each as tarfile does."""

from __future__ import annotations

import io
import random
import tarfile
import tempfile
from typing import Literal

import pytest

from prodlock.image import archives, tar
from prodlock.image.tar import Header, Tar

NAMES = ("a", "usr/lib/x.py", "d/", "n" * 99, "p" * 80 + "/" + "n" * 90, "caf\u00e9", "\udcff")
KINDS = (
    tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE,
    tarfile.FIFOTYPE, tarfile.GNUTYPE_SPARSE, tarfile.GNUTYPE_LONGNAME, b"x", b"9",
)  # fmt: skip
# Where numbers, texts and the type are.
FIELDS = [(0, 100), (100, 108), (108, 116), (124, 136), (136, 148), (148, 156), (156, 157), (265, 297), (329, 337)]
FIELDS += [(337, 345), (345, 500), (0, 512)]


def outcome(reader: type[tarfile.TarInfo], block: bytes) -> dict[str, object] | str:
    """Return what a header contains, or the error."""
    try:
        entry = reader.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.TarError as error:
        return f"{type(error).__name__}: {error}"
    names = ("name", "mode", "uid", "gid", "size", "mtime", "chksum", "type", "linkname", "uname", "gname", "devmajor")
    return {name: getattr(entry, name) for name in (*names, "devminor", "pax_headers")}


def summed(block: bytes) -> bytes:
    """Return a header with the checksum of its content."""
    total = sum(block[:148]) + sum(block[156:]) + 256
    return block[:148] + b"%06o\0 " % total + block[156:]


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NAMES)
def test_headers_are_read_as_tarfile_reads_them(name: str, kind: bytes, form: Literal[0, 1]) -> None:
    """Of every type."""
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode, entry.uid, entry.size, entry.mtime = kind, 0o755, 1000, 12345, 1700000000
    entry.linkname, entry.uname = "target", "www-data"
    block = entry.tobuf(form, "utf-8", "surrogateescape")[-512:]
    assert outcome(Header, block) == outcome(tarfile.TarInfo, block)
    # The fields of a sparse entry are where a long name's begin is.
    assert isinstance(outcome(Header, block), dict) or kind == tarfile.GNUTYPE_SPARSE


def test_damaged_headers_are_read_as_tarfile_reads_them() -> None:
    """Of 6,000, with and without the right checksum; the same are refused."""
    chance = random.Random(1)  # noqa: S311
    accepted = 0
    for _ in range(6000):
        entry = tarfile.TarInfo(chance.choice(NAMES[:4]))
        entry.type, entry.size = chance.choice(KINDS), chance.randrange(1 << 33)
        block = bytearray(entry.tobuf(tarfile.USTAR_FORMAT))
        for _ in range(chance.randrange(1, 4)):
            at = chance.randrange(*chance.choice(FIELDS))
            block[at] = chance.choice([0, 32, 48, 55, 56, 95, 43, 45, 111, 128, 255, chance.randrange(256)])
        for damaged in (bytes(block), summed(bytes(block))):
            read = outcome(Header, damaged)
            assert read == outcome(tarfile.TarInfo, damaged)
            accepted += isinstance(read, dict)
    assert 1000 < accepted < 11000


@pytest.mark.parametrize("block", [b"", bytes(511), bytes(512), b"0" * 512, b"\xff" * 512, bytes(513)])
def test_blocks_that_are_not_headers_are_refused_as_tarfile_refuses_them(block: bytes) -> None:
    """With the same errors, by which the end of an archive is found."""
    assert outcome(Header, block) == outcome(tarfile.TarInfo, block)
    assert isinstance(outcome(Header, block), str)


def archive(chance: random.Random) -> bytearray:
    """Return a tar of some entries: of the common form, with a long name, with an extended header, of other types."""
    stream = io.BytesIO()
    form = chance.choice([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
    with tarfile.open(fileobj=stream, mode="w", format=form) as to:
        for _ in range(chance.randrange(1, 7)):
            entry = tarfile.TarInfo(chance.choice([*NAMES[:6], "../x", "a/../b", "/abs"]))
            entry.type = chance.choice([*KINDS[:5], tarfile.REGTYPE, tarfile.REGTYPE])
            if form == tarfile.PAX_FORMAT and chance.random() < 0.3:
                entry.pax_headers = {"SCHILY.xattr.user.x": "1"}
            content = bytes(chance.randrange(1100)) if entry.isreg() else b""
            entry.size = len(content)
            to.addfile(entry, io.BytesIO(content))
    return bytearray(stream.getvalue())


def read(content: bytes) -> list[tuple[object, ...]] | str:
    """Return the entries of a tar that begins behind other bytes, or the error."""
    found: list[tuple[object, ...]] = []
    with tempfile.TemporaryFile() as file:
        file.write(b"x" * 512 + content + b"y" * 1024)
        file.flush()
        with tar.map_file(file) as mapped:
            part = Tar(mapped, 512, 512 + len(content))
            try:
                for one in tar.entries(part):
                    about = (one.name, one.type, one.size, one.mode, one.uid, one.gid, one.mtime, one.linkname)
                    found.append((*about, one.offset, one.offset_data, tar.describe_extra(part, one)))
            except (tarfile.TarError, archives.TooMuchError, ValueError) as error:
                return f"{type(error).__name__}: {error}"
    return found


def test_archives_are_read_as_tarfile_reads_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole ones and damaged ones: with and without the fast reader, the same entries or the same error."""
    chance = random.Random(2)  # noqa: S311
    contents = []
    for number in range(600):
        content = archive(chance)
        for _ in range(chance.randrange(3) if number % 3 else 0):
            block = 512 * chance.randrange(len(content) // 512)
            at = block + chance.randrange(*chance.choice(FIELDS))
            content[at] = chance.choice([0, 32, 48, 49, 55, 120, 128, 255, chance.randrange(256)])
            if chance.random() < 0.5:
                content[block : block + 512] = summed(bytes(content[block : block + 512]))
        contents.append(bytes(content[: -512 * chance.randrange(4)] if number % 5 == 1 else content))
    fast = [read(content) for content in contents]
    with monkeypatch.context() as patch:
        patch.setattr(Header, "plain", classmethod(lambda *_: None))
        assert [read(content) for content in contents] == fast
    assert 200 < sum(isinstance(one, list) for one in fast) < 500
