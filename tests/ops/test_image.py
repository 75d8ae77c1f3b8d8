"""Reading what `docker save` writes: layers, links, archives in archives, compressed layers."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import json
import lzma
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from typing import IO

import pytest

from ops import image
from ops.failure import CANNOT_CHECK, Failure


def tar(files: dict[str, bytes], links: dict[str, tuple[bytes, str]] | None = None) -> bytes:
    """Return a tar of files, and of links as (type, target)."""
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        for name, (kind, target) in (links or {}).items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, target
            archive.addfile(entry)
    return written.getvalue()


def zipped(files: dict[str, bytes]) -> bytes:
    """Return a zip of files."""
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return written.getvalue()


def saved(*layers: bytes, pack: Callable[[bytes], bytes] = bytes) -> IO[bytes]:
    """Return what `docker save` writes for an image of these layers."""
    config = {
        "config": {"Cmd": ["serve"]},
        "rootfs": {"diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest() for layer in layers]},
        "history": [{"created_by": "ENV a=b", "empty_layer": True}]
        + [{"created_by": f"COPY {number}"} for number in range(len(layers))],
    }
    blobs = {f"blobs/sha256/{number}": pack(layer) for number, layer in enumerate(layers)}
    manifest = [{"Config": "config.json", "Layers": list(blobs)}]
    return stored(
        tar(blobs | {"config.json": json.dumps(config).encode(), "manifest.json": json.dumps(manifest).encode()})
    )


def stored(content: bytes) -> IO[bytes]:
    """Return a file with this content."""
    file = tempfile.TemporaryFile()  # noqa: SIM115
    file.write(content)
    file.flush()
    return file


def read(*layers: bytes, pack: Callable[[bytes], bytes] = bytes) -> image.Image:
    """Return the facts of an image of these layers."""
    with saved(*layers, pack=pack) as archive:
        return image.read("x:1", archive, lambda _: True)


def paths(facts: image.Image) -> list[str]:
    """Return the paths of all files."""
    return [file.path for file in facts.files]


def test_every_layer_is_read_with_its_instruction() -> None:
    """A file that a later layer deletes is still there, under the instruction that brought it."""
    facts = read(tar({"a/b.txt": b"one"}), tar({"a/.wh.b.txt": b""}))
    assert [(file.path, file.layer) for file in facts.files] == [("/a/b.txt", 0), ("/a/.wh.b.txt", 1)]
    assert [layer.instruction for layer in facts.layers] == ["COPY 0", "COPY 1"]
    assert facts.history == ("ENV a=b", "COPY 0", "COPY 1")
    assert facts.config == {"Cmd": ["serve"]}


def test_a_file_has_its_size_its_hash_and_its_head() -> None:
    """The head is all that is kept of the content."""
    content = b"x" * 5000
    (file,) = read(tar({"f": content})).files
    assert (file.size, file.sha256) == (5000, hashlib.sha256(content).hexdigest())
    assert file.head == content[: image.HEAD_BYTES]


def test_only_sizes_that_were_asked_for_are_hashed() -> None:
    """Most files can't be a forbidden one: their size says so."""
    with saved(tar({"a": b"12", "b": b"123"})) as archive:
        facts = image.read("x:1", archive, lambda size: size == 3)
    assert [bool(file.sha256) for file in facts.files] == [False, True]


def test_a_record_is_kept_whole() -> None:
    """Ownership needs every line of it."""
    record = b"a.py,,\n" * 1000
    (file,) = read(tar({"x-1.dist-info/RECORD": record})).files
    assert file.head == record


def test_links_keep_their_targets() -> None:
    """A symbolic link points somewhere, a hard link is the file again."""
    links = {"soft": (tarfile.SYMTYPE, "/opt/x"), "hard": (tarfile.LNKTYPE, "f")}
    file, soft, hard = read(tar({"f": b"content"}, links)).files
    assert soft.target == "/opt/x"
    assert (hard.sha256, hard.head) == (file.sha256, b"content")


PACKERS: dict[str, Callable[[dict[str, bytes]], bytes]] = {
    "zip": zipped,
    "tar": tar,
    "tar.gz": lambda files: gzip.compress(tar(files)),
    "tar.bz2": lambda files: bz2.compress(tar(files)),
    "tar.xz": lambda files: lzma.compress(tar(files)),
    "zip behind a script": lambda files: b"#!/bin/sh\n" + b"#" * 2000 + zipped(files),
    "zip in a tar.gz": lambda files: gzip.compress(tar({"inner": zipped(files)})),
}


@pytest.mark.parametrize("kind", PACKERS)
def test_archives_are_looked_into_by_content(kind: str) -> None:
    """The name says nothing: `data` is opened for what it is."""
    content = b"print('hello')"
    found = {
        file.path: file.sha256 for file in read(tar({"data": PACKERS[kind]({"pytest/__init__.py": content})})).files
    }
    inner = "/data!/inner!/pytest/__init__.py" if kind == "zip in a tar.gz" else "/data!/pytest/__init__.py"
    assert found[inner] == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("name", ["./pytest/x.py", "pytest//x.py", "a/../pytest/x.py"])
def test_a_path_has_one_spelling(name: str) -> None:
    """In a layer as in an archive in it."""
    assert paths(read(tar({name: b"", "z": tar({name: b""})}))) == ["/pytest/x.py", "/z", "/z!/pytest/x.py"]


def test_a_compressed_file_is_looked_into() -> None:
    """One file, compressed, is a member called content."""
    facts = read(tar({"notes.gz": gzip.compress(b"text")}))
    assert paths(facts) == ["/notes.gz", "/notes.gz!/content"]


@pytest.mark.parametrize("magic", [b"PK\x03\x04", b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b" " * 257 + b"ustar"])
def test_what_only_looks_like_an_archive_is_a_file(magic: bytes) -> None:
    """A broken archive has no members; it does not stop the check."""
    assert paths(read(tar({"data": magic + b"garbage" * 100}))) == ["/data"]


def test_compressed_layers_are_read_alike() -> None:
    """The containerd image store hands out gzip: same files, same hashes."""
    layer = tar({"a": b"one", "b.zip": zipped({"c": b"two"})})
    assert read(layer, pack=gzip.compress).files == read(layer).files


def test_an_archive_that_goes_too_deep_is_refused() -> None:
    """What can't be looked into can't be called clean."""
    data = b"x"
    for _ in range(8):
        data = zipped({"inner": data})
    with pytest.raises(Failure, match="too deep or too large") as failure:
        read(tar({"data": data}))
    assert failure.value.code == CANNOT_CHECK


@pytest.mark.parametrize(
    "broken", [b"", b"nonsense" * 100, tar({"manifest.json": b"[]"}), tar({"manifest.json": b"{"})]
)
def test_a_broken_archive_is_refused(broken: bytes) -> None:
    """Exit code 2 and a sentence, not a traceback."""
    with stored(broken) as archive, pytest.raises(Failure, match=r"The archive of x:1 can't be read") as failure:
        image.read("x:1", archive, lambda _: True)
    assert failure.value.code == CANNOT_CHECK
