"""Headers of tar archives: the fast reader reads each as tarfile does."""

from __future__ import annotations

import random
import tarfile
from typing import Literal

import pytest

from prodlock.image.tar import Header

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
