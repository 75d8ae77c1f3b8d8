"""Reading what `docker save` writes: layers, links, archives in archives, compressed layers."""

from __future__ import annotations

import bz2
import errno
import gzip
import hashlib
import io
import json
import lzma
import tarfile
import time
import zipfile
from collections.abc import Callable
from typing import IO

import pytest

from prodlock.failure import CANNOT_CHECK, Failure
from prodlock.image import archives, documents, reader
from prodlock.image import tar as tars
from prodlock.image.growing import Growing
from prodlock.image.records import HEAD_BYTES, Image
from prodlock.tests.unit.image.examples import saved, stored, tar, zipped


def read(*layers: bytes, pack: Callable[[bytes], bytes] = bytes, history: bool = True) -> Image:
    """Return an image of these layers."""
    with saved(*layers, pack=pack, history=history) as archive:
        return reader.read("x:1", archive, lambda _: True)


def paths(facts: Image) -> list[str]:
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
    assert file.head == content[:HEAD_BYTES]


def test_only_files_of_requested_sizes_are_hashed() -> None:
    """Most files have a size that no forbidden file has."""
    with saved(tar({"a": b"12", "b": b"123"})) as archive:
        facts = reader.read("x:1", archive, lambda size: size == 3)
    assert [bool(file.sha256) for file in facts.files] == [False, True]


@pytest.mark.parametrize("path", ["x-1.dist-info/RECORD", "srv/selection.json"])
def test_documents_of_dev_are_kept_whole(path: str) -> None:
    """Those of dev list the owners of files, and the lock's selection; an image under test could fill the memory."""
    record = b"a.py,,\n" * 1000
    packed = tar({path: record})
    (file,) = read(packed).files
    assert file.head == record[:HEAD_BYTES]
    with stored(packed) as archive, tars.map_file(archive) as mapped:
        options = reader._Options(0, lambda _: True, archives.Budget(), documents=True)
        (file,) = reader._files(tars.Tar(mapped, 0, len(mapped)), options)
    assert file.head == record


def kept_bytes(layers: tuple[bytes, ...], **more: Callable[[str, str], bool]) -> dict[str, int]:
    """Return how many bytes are kept of each file of which more than the head is."""
    with saved(*layers) as archive:
        facts = reader.read("x:1", archive, lambda _: False, relevant=lambda _, text: b"pytest" in text, **more)
    assert all(file.sha256 for file in facts.files if len(file.head) > HEAD_BYTES)
    return {f"{file.path} {file.layer}": len(file.head) for file in facts.files if len(file.head) > HEAD_BYTES}


TEXT = b"#" * 5000 + b"pytest"


def test_a_relevant_text_is_kept_whole_and_hashed() -> None:
    """Also within an archive; not what only fills memory."""
    packed = zipped({"b.py": TEXT, "c.py": TEXT[:-1]})
    layer = tar({"a.py": TEXT, "c.py": TEXT[:-1], "d.bin": b"\0" + TEXT, "x.zip": packed})
    assert kept_bytes((layer,)) == {"/a.py 0": len(TEXT), "/x.zip!/b.py 0": len(TEXT)}


def test_a_relevant_text_in_utf_16_is_kept_whole() -> None:
    """The mark of the byte order begins it."""
    wide = [mark + TEXT.replace(b"#", b"#\0") for mark in (b"\xff\xfe", b"\xfe\xff")]
    kept = {"/a.txt 0": len(wide[0]), "/b.txt 0": len(wide[1])}
    assert kept_bytes((tar({"a.txt": wide[0], "b.txt": wide[1], "c.txt": wide[0][2:]}),)) == kept


def test_a_very_long_text_is_kept_in_part() -> None:
    """What stands behind it is not seen."""
    assert kept_bytes((tar({"a.py": TEXT + b"#" * reader.TEXT_BYTES}),)) == {"/a.py 0": reader.TEXT_BYTES}
    assert kept_bytes((tar({"a.py": b"#" * reader.TEXT_BYTES + TEXT}),)) == {}


def test_trusted_texts_are_not_kept() -> None:
    """The locked wheels' files need no reading."""
    assert kept_bytes((tar({"a.py": TEXT, "b.py": TEXT}),), trusted=lambda path, _: path == "/a.py") == {
        "/b.py 0": len(TEXT)
    }


def test_the_standard_library_is_not_read_but_a_second_copy_is() -> None:
    """Nor are modules beside it taken for it."""
    library = "usr/local/lib/python3.13"
    names = ("json/decoder.py", "site.py", "sitecustomize.py", "x.pth", "site-packages/x.py", "_pyrepl/x.py")
    below = tar({f"{library}/{name}": TEXT for name in names})
    above = tar({f"{library}/site.py": TEXT})
    kept = {f"/{library}/{name} 0": len(TEXT) for name in ("sitecustomize.py", "x.pth", "site-packages/x.py")}
    assert kept_bytes((below,)) == kept
    assert kept_bytes((below, above)) == kept | {f"/{library}/site.py 1": len(TEXT)}


def test_too_many_texts_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded; an image that can't be judged is not clean."""
    monkeypatch.setattr(reader, "_KEPT_BYTES", 2 * len(TEXT))
    assert len(kept_bytes((tar({"a.py": TEXT, "b.py": TEXT}),))) == 2
    for layer in (
        tar({"a.py": TEXT, "b.py": TEXT, "c.py": TEXT}),
        tar({"x.zip": zipped(dict.fromkeys("abc", TEXT))}),
    ):
        with pytest.raises(Failure, match="of texts to judge") as failure:
            kept_bytes((layer,))
        assert failure.value.code == CANNOT_CHECK


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
def test_archives_are_recognized_by_content(kind: str) -> None:
    """Whatever their name is, such as `data`."""
    content = b"print('hello')"
    found = {
        file.path: file.sha256 for file in read(tar({"data": PACKERS[kind]({"pytest/__init__.py": content})})).files
    }
    inner = "/data!/inner!/pytest/__init__.py" if kind == "zip in a tar.gz" else "/data!/pytest/__init__.py"
    assert found[inner] == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("name", ["./pytest/x.py", "pytest//x.py", "a/../pytest/x.py", "/pytest/x.py"])
def test_a_path_has_one_spelling(name: str) -> None:
    """In a layer as in an archive in it."""
    assert paths(read(tar({name: b"", "z": tar({name: b""})}))) == ["/pytest/x.py", "/z", "/z!/pytest/x.py"]


def test_a_compressed_file_is_unpacked() -> None:
    """One file, compressed, is a member called content."""
    facts = read(tar({"notes.gz": gzip.compress(b"text")}))
    assert paths(facts) == ["/notes.gz", "/notes.gz!/content"]


@pytest.mark.parametrize("magic", [b"PK\x03\x04", b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b" " * 257 + b"ustar"])
def test_a_file_that_looks_like_an_archive_has_no_members(magic: bytes) -> None:
    """A broken archive has no members; it does not stop the check."""
    assert paths(read(tar({"data": magic + b"garbage" * 100}))) == ["/data"]


def test_compressed_layers_are_read_alike() -> None:
    """The containerd image store hands out gzip: same files, same hashes."""
    layer = tar({"a": b"one", "b.zip": zipped({"c": b"two"})})
    assert read(layer, pack=gzip.compress).files == read(layer).files


def in_many_streams(layer: bytes) -> bytes:
    """Return a layer as eStargz has it: a gzip stream for each kilobyte."""
    return b"".join(gzip.compress(layer[at : at + 1024]) for at in range(0, len(layer), 1024))


def test_a_layer_of_many_streams_is_read_to_its_end() -> None:
    """One after the other, they are one tar."""
    layer = tar({"a": b"1" * 3000, "b": b"2" * 3000})
    assert read(layer, pack=in_many_streams).files == read(layer).files


def without_end(layer: bytes) -> bytes:
    """Return a tar without the empty blocks that end it."""
    return layer.rstrip(b"\0").ljust(-(-len(layer.rstrip(b"\0")) // 512) * 512, b"\0")


def test_a_layer_without_end_blocks_is_read() -> None:
    """It ends at its own end, not at what follows it in the archive."""
    assert paths(read(without_end(tar({"a": b"one"})), tar({"b": b"two"}))) == ["/a", "/b"]


@pytest.mark.parametrize(
    "pack",
    [
        lambda layer: b"\x28\xb5\x2f\xfd" + layer,
        lambda layer: gzip.compress(layer[:-1]),
        lambda layer: gzip.compress(layer)[:-40],
        lambda layer: layer.replace(b"two", b"TWO"),
        lambda _: b"",
    ],
    ids=["zstd", "a byte missing", "truncated", "changed", "empty"],
)
def test_a_layer_that_is_not_the_images_is_refused(pack: Callable[[bytes], bytes]) -> None:
    """What was not read to the last byte can't be called clean."""
    with pytest.raises(Failure, match=r"must be (readable|uncompressed)"):
        read(tar({"a": b"one", "b": b"two"}), pack=pack)


def test_a_layer_with_a_broken_entry_is_refused() -> None:
    """Everything behind it would go unseen."""
    layer = bytearray(tar({"a": b"one", "b": b"two"}))
    layer[1024:1030] = b"\xff" * 6
    with pytest.raises(Failure, match="no tar entry at byte 1024"):
        read(bytes(layer))


def test_a_broken_entry_is_refused_while_its_layer_is_still_hashed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The unpacked layer may not be let go of before its last reader has finished."""

    def hash_slowly(tar: tars.Tar, _diff_id: str) -> None:
        assert not isinstance(tar.map, Growing)
        with memoryview(tar.map):
            time.sleep(0.05)

    monkeypatch.setattr(reader, "_verify", hash_slowly)
    layer = bytearray(tar({"a": b"one", "b": b"two"}))
    layer[1024:1030] = b"\xff" * 6
    with pytest.raises(Failure, match="no tar entry at byte 1024"):
        read(bytes(layer), pack=gzip.compress)


def test_bytes_far_behind_a_layers_end_are_refused() -> None:
    """A tar may end in any number of empty blocks, and be no tar behind them."""
    with pytest.raises(Failure, match="no tar entry"):
        read(tar({"a": b"one"}) + bytes(17 << 20) + b"TOKEN=1".ljust(512, b"\0"))


def test_bytes_behind_a_compressed_layer_are_refused() -> None:
    """The layer's digest does not cover them, and they are pulled with the image."""
    with pytest.raises(Failure, match="bytes behind what is compressed"):
        read(tar({"a": b"one"}), pack=lambda layer: gzip.compress(layer) + b"TOKEN=1")


def with_flag(flag: int, field: bytes) -> Callable[[bytes], bytes]:
    """Return what packs a layer into a gzip stream that bears one more field (RFC 1952, 2.3.1)."""

    def pack(layer: bytes) -> bytes:
        packed = gzip.compress(layer)
        return packed[:3] + bytes([flag]) + packed[4:10] + field + packed[10:]

    return pack


FIELDS = {
    "a comment": with_flag(16, b"TOKEN=1\0"),
    "a name": with_flag(8, b"TOKEN=1\0"),
    "a long field": with_flag(4, (65).to_bytes(2, "little") + b"x" * 65),
}


@pytest.mark.parametrize("kind", FIELDS)
def test_extra_data_in_a_compressed_layer_is_refused(kind: str) -> None:
    """No digest of the configuration covers it."""
    layer = tar({"a": b"one"})
    assert gzip.decompress(FIELDS[kind](layer)) == layer
    with pytest.raises(Failure, match="more in it than the layer"):
        read(layer, pack=FIELDS[kind])


def test_a_compressed_layer_may_have_a_short_field() -> None:
    """As eStargz does in its last stream."""
    footer = with_flag(4, (26).to_bytes(2, "little") + b"SG" + b"x" * 24)
    assert paths(read(tar({"a": b"one"}), pack=lambda layer: gzip.compress(layer) + footer(b""))) == ["/a"]


def test_streams_may_begin_anywhere() -> None:
    """Also where one chunk of what is read ends."""
    layer = tar({"a": b"1" * 3000})
    packed = in_many_streams(layer)
    for size in (1, 7, 20):
        chunks = iter(packed[at : at + size] for at in range(0, len(packed), size))
        plain = archives.unpacked(chunks, archives.GZIP, archives.Budget(), whole=True, bare=True)
        assert b"".join(plain) == layer


@pytest.mark.parametrize(
    ("behind", "error"),
    [(bytes(30) + b"x", "bytes behind"), (b"x", "bytes behind"), (gzip.compress(b"x")[:-1], "soon")],
    ids=["far behind", "too short", "without an end"],
)
def test_bytes_behind_the_last_stream_are_refused(behind: bytes, error: str) -> None:
    """Far behind it, too short for a stream, or a stream without its end."""
    chunks = iter([gzip.compress(b"one"), *(behind[at : at + 10] for at in range(0, len(behind), 10))])
    with pytest.raises(tarfile.ReadError, match=error):
        list(archives.unpacked(chunks, archives.GZIP, archives.Budget(), whole=True))


def damaged(files: dict[str, bytes]) -> bytes:
    """Return a zip whose first member has changed since it was packed."""
    return zipped(files).replace(b"first", b"FIRST", 1).replace(b"print", b"PRINT", 1)


@pytest.mark.parametrize(
    "packed",
    [
        damaged({"pytest/__init__.py": b"print(1)"}),
        gzip.compress(tar({"pytest/__init__.py": b"print(1)"})) + b"garbage",
        b"#!/bin/sh\n" + zipped({"pytest/__init__.py": b"print(1)"})[:-2] + b"\x05\x00hello",
        gzip.compress(tar({"pytest/__init__.py": b"print(1)", "z": bytes(range(256)) * 900}))[:-200],
    ],
    ids=["damaged zip", "trailing garbage", "zip with a comment", "truncated tar.gz"],
)
def test_names_in_a_damaged_archive_are_read(packed: bytes) -> None:
    """As far as it can be read."""
    assert "/data!/pytest/__init__.py" in paths(read(tar({"data": packed})))


def test_an_archive_that_goes_too_deep_is_refused() -> None:
    """What can't be looked into can't be called clean."""
    data = b"x"
    for _ in range(8):
        data = zipped({"inner": data})
    with pytest.raises(Failure, match="too deep or too large") as failure:
        read(tar({"data": data}))
    assert failure.value.code == CANNOT_CHECK


@pytest.mark.parametrize(
    ("files", "got"),
    [
        ({"usr/bin/python": b"x"}, r"no manifest\.json, which `docker save` writes and `docker export` does not"),
        ({"manifest.json": b"7"}, "documents that are not an image's"),
        ({"manifest.json": b"[7]"}, "documents that are not an image's"),
        (
            {"manifest.json": b'[{"Config": "c", "Layers": []}]', "c": b'{"rootfs": {"diff_ids": ["x"]}}'},
            "0 layers, and digests of 1",
        ),
        (
            {"manifest.json": b'[{"Config": "c", "Layers": []}]', "c": b'{"config": {"Env": [7]}}'},
            "a setting that is not text",
        ),
    ],
)
def test_the_cause_is_named_where_an_archive_is_not_an_image(files: dict[str, bytes], got: str) -> None:
    """In the terms of the specification, not of Python."""
    with stored(tar(files)) as archive, pytest.raises(Failure, match=rf"must be readable \(got: {got}\)"):
        reader.read("x:1", archive, lambda _: True)


@pytest.mark.parametrize(
    "broken", [b"", b"nonsense" * 100, tar({"manifest.json": b"[]"}), tar({"manifest.json": b"{"})]
)
def test_a_broken_archive_is_refused(broken: bytes) -> None:
    """Exit code 2 and a sentence, not a traceback."""
    with stored(broken) as archive, pytest.raises(Failure, match=r"The archive of x:1 must be readable") as failure:
        reader.read("x:1", archive, lambda _: True)
    assert failure.value.code == CANNOT_CHECK


def entry(name: str, **facts: object) -> bytes:
    """Return a tar of one entry with these header fields, true or not."""
    member = tarfile.TarInfo(name)
    for key, value in facts.items():
        setattr(member, key, value)
    return member.tobuf(tarfile.GNU_FORMAT) + b"\0" * 1024


HOSTILE = {
    "a way out": (entry("../../etc/passwd"), "outside of the image"),
    "a way out below a folder": (entry("a/../../x"), "outside of the image"),
    "an absurd size": (entry("x", size=1 << 60), "more than there is"),
    "a size below nothing": (entry("x", size=-1), "must be readable"),
    "holes": (entry("x", type=tarfile.GNUTYPE_SPARSE), "holes"),
    "a name of 17 MB": (entry("././@LongLink", type=tarfile.GNUTYPE_LONGNAME, size=17 << 20), "broken or hostile"),
    "extended headers of 17 MB": (entry("x", type=tarfile.XHDTYPE, size=17 << 20), "broken or hostile"),
    "extended headers without an end": (entry("x", type=tarfile.XHDTYPE)[:512] * 2000, "broken or hostile"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_layer_is_refused(kind: str) -> None:
    """A sentence, exit code 2, and no more memory than any other."""
    layer, error = HOSTILE[kind]
    with pytest.raises(Failure, match=error) as failure:
        read(layer)
    assert failure.value.code == CANNOT_CHECK


@pytest.mark.parametrize(
    "manifest",
    [
        b"null", b"{}", b"[1]", b'"x"', b"[" * 100_000, b'[{"Config": "x"}]', b'[{"Config": 1, "Layers": 2}]',
        b'[{"Config": "manifest.json", "Layers": []}]',
        b'[{"Config": "x", "Config": "manifest.json", "Layers": []}]', b"[{}, {}]", b"\xff",
    ],
)  # fmt: skip
def test_a_hostile_manifest_is_refused(manifest: bytes) -> None:
    """Whatever it is instead."""
    with (
        stored(tar({"manifest.json": manifest})) as archive,
        pytest.raises(Failure, match="must be readable") as failure,
    ):
        reader.read("x:1", archive, lambda _: True)
    assert failure.value.code == CANNOT_CHECK


def indexed(manifests: dict[str, dict[str, object]], *more: dict[str, object]) -> IO[bytes]:
    """Return a saved image of one layer, x, with an index of these manifests, and of further descriptors."""
    layer = tar({"x": b"1"})
    config = json.dumps({"rootfs": {"diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()]}}).encode()
    docker = [{"Config": "blobs/sha256/c", "Layers": ["blobs/sha256/l"]}]
    index = {"manifests": [{"digest": f"sha256:{name}"} for name in manifests] + [*more]}
    blobs = {f"blobs/sha256/{name}": json.dumps(manifest).encode() for name, manifest in manifests.items()}
    blobs |= {"blobs/sha256/c": config, "blobs/sha256/l": layer, "blobs/sha256/other": config}
    documents = {"index.json": json.dumps(index).encode(), "manifest.json": json.dumps(docker).encode()}
    return stored(tar(blobs | documents))


def oci(config: str, *layers: str) -> dict[str, object]:
    """Return a manifest as an OCI layout has it."""
    return {"config": {"digest": f"sha256:{config}"}, "layers": [{"digest": f"sha256:{one}"} for one in layers]}


SOUND: dict[str, dict[str, dict[str, object]]] = {
    "the same image": {"m": oci("c", "l")},
    "by way of an index": {"i": {"manifests": [{"digest": "sha256:m"}]}, "m": oci("c", "l")},
    "an index that leads to itself": {"i": {"manifests": [{"digest": "sha256:i"}]}, "m": oci("c", "l")},
    "another platform, which is not there": {"m": oci("c", "l"), "n": oci("arm", "l2")},
}
ABSENT: dict[str, object] = {"digest": "sha256:absent"}
ATTESTATION: dict[str, object] = {"digest": "sha256:a", "platform": {"os": "unknown", "architecture": "unknown"}}


@pytest.mark.parametrize("kind", SOUND)
def test_an_index_that_leads_to_the_same_image_is_read(kind: str) -> None:
    """Also beside what BuildKit attests, and what is not in the archive."""
    with indexed(SOUND[kind], ABSENT, ATTESTATION) as archive:
        assert paths(reader.read("x:1", archive, lambda _: True)) == ["/x"]


@pytest.mark.parametrize(
    "manifests",
    [
        {"m": oci("other", "l")},
        {"m": oci("c", "other")},
        {"m": oci("c", "l", "other")},
        {"m": oci("c", "l"), "n": oci("other", "l")},
        {"i": {"manifests": [{"digest": "sha256:n"}]}, "n": oci("other", "l"), "m": oci("c", "l")},
        {"m": {"config": {}, "layers": []}},
    ],
)
def test_an_index_that_leads_to_another_image_is_refused(manifests: dict[str, dict[str, object]]) -> None:
    """One Engine goes by index.json, another by manifest.json: they would load different images."""
    with indexed(manifests) as archive, pytest.raises(Failure, match="must be readable") as failure:
        reader.read("x:1", archive, lambda _: True)
    assert failure.value.code == CANNOT_CHECK


def test_a_trusted_archive_is_not_unpacked() -> None:
    """What a locked wheel packs, it may pack; changed by one byte it is looked into again."""
    packed = zipped({"pytest.py": b""})
    for content, seen in ((packed, ["/a.zip"]), (b"#" + packed, ["/a.zip", "/a.zip!/pytest.py"])):
        digest = hashlib.sha256(packed).hexdigest()
        with saved(tar({"a.zip": content})) as archive:
            facts = reader.read("x:1", archive, lambda _: True, lambda *found: found == ("/a.zip", digest))  # noqa: B023
        assert paths(facts) == seen


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_streams_count_even_if_they_are_empty(monkeypatch: pytest.MonkeyPatch, pack: Callable[[bytes], bytes]) -> None:
    """A megabyte of them takes a second to go through."""
    monkeypatch.setattr(archives, "BUDGET_BYTES", 1 << 20)
    monkeypatch.setattr(archives.Budget, "__init__", lambda self, _left=0: setattr(self, "left", 1 << 20))
    assert paths(read(tar({"data": pack(b"") * 200}))) == ["/data"]
    with pytest.raises(Failure, match="too deep or too large"):
        read(tar({"data": pack(b"") * 300}))


def test_a_layer_of_empty_streams_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """They unpack to nothing, and would take minutes."""
    monkeypatch.setattr(archives, "_START_BYTES", 1 << 20)
    with pytest.raises(Failure, match="far more than its size"):
        read(tar({"x": b""}), pack=lambda layer: gzip.compress(layer) + gzip.compress(b"") * 1000)


@pytest.mark.parametrize("pack", [gzip.compress, bytes], ids=["a layer", "a file"])
def test_a_full_disk_is_reported_as_such(monkeypatch: pytest.MonkeyPatch, pack: Callable[[bytes], bytes]) -> None:
    """It would be passed over, and what is in it be missed."""

    class Full(io.BytesIO):
        def write(self, _: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    with saved(tar({"a.gz": gzip.compress(b"content")}), pack=pack) as archive:
        monkeypatch.setattr("tempfile.SpooledTemporaryFile", lambda _: Full())
        monkeypatch.setattr("tempfile.TemporaryFile", Full)
        with pytest.raises(Failure, match=r"room to unpack .*TMPDIR") as failure:
            reader.read("x:1", archive, lambda _: True)
    assert failure.value.code == CANNOT_CHECK


def test_a_saved_image_may_be_compressed() -> None:
    """`docker save | gzip`."""
    plain = saved(tar({"a": b"one"}))
    plain.seek(0)
    with plain, stored(gzip.compress(plain.read())) as archive:
        assert paths(reader.read("x:1", archive, lambda _: True)) == ["/a"]


@pytest.mark.parametrize(
    "bomb",
    [
        lambda: gzip.compress(bytes(4 << 20)),
        lambda: lzma.compress(bytes(4 << 20)),
        lambda: bz2.compress(bytes(4 << 20)),
        lambda: zip_of_zeros(4 << 20),
    ],
    ids=["gzip", "xz", "bz2", "zip"],
)
def test_a_bomb_is_refused(monkeypatch: pytest.MonkeyPatch, bomb: Callable[[], bytes]) -> None:
    """As soon as it has unpacked to more than it may."""
    monkeypatch.setattr(archives.Budget, "__init__", lambda self, _left=0: setattr(self, "left", 2 << 20))
    with pytest.raises(Failure, match="too deep or too large") as failure:
        read(tar({"data": bomb()}))
    assert failure.value.code == CANNOT_CHECK


def zip_of_zeros(count: int) -> bytes:
    """Return a zip of one large, empty member."""
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x", bytes(count))
    return written.getvalue()


def test_a_layer_that_unpacks_to_far_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The containerd store compresses layers; none by a thousand."""
    monkeypatch.setattr(archives, "_START_BYTES", 0)
    with pytest.raises(Failure, match="far more than its size") as failure:
        read(tar({"x": bytes(4 << 20)}), pack=gzip.compress)
    assert failure.value.code == CANNOT_CHECK


def test_a_zip_with_an_endless_directory_is_refused() -> None:
    """It would be read as a whole."""
    packed = bytearray(zipped({"x": b""}))
    end = packed.rfind(archives.ZIP_END)
    packed[end + 12 : end + 16] = b"\xff" * 4
    with pytest.raises(Failure, match="too deep or too large"):
        read(tar({"data": bytes(packed)}))


def test_a_name_of_unknown_encoding_is_read() -> None:
    """And can be written back as it was."""
    name = b"caf\xe9".decode(errors="surrogateescape")
    assert paths(read(tar({name: b""}))) == [f"/{name}"]


@pytest.mark.parametrize(
    ("facts", "extra"),
    [
        ({"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 3}, "a character device 1:3"),
        ({"type": tarfile.BLKTYPE}, "a block device 0:0"),
        ({"type": tarfile.FIFOTYPE}, "a named pipe"),
        ({"pax_headers": {"SCHILY.xattr.security.capability": "x"}}, "SCHILY.xattr.security.capability"),
        ({"pax_headers": {"mtime": "1.5"}}, ""),
    ],
)
def test_extra_data_of_an_entry_is_recorded(facts: dict[str, object], extra: str) -> None:
    """Rights and bytes can be there."""
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w", format=tarfile.PAX_FORMAT) as archive:
        member = tarfile.TarInfo("x")
        for key, value in facts.items():
            setattr(member, key, value)
        archive.addfile(member)
    (file,) = read(written.getvalue()).files
    assert file.extra == extra


def test_bytes_behind_the_end_of_a_file_are_recorded() -> None:
    """A tar has room for them up to the next block."""
    layer = bytearray(tar({"x": b"abc"}))
    layer[515:520] = b"TOKEN"
    (file,) = read(bytes(layer)).files
    assert file.extra == "bytes behind its end"


def test_an_owner_is_recorded() -> None:
    """By number: names mean nothing in another image."""
    (file,) = read(entry("x", uid=10001, gid=7)).files
    assert file.owner == (10001, 7)


def raw(kind: bytes, body: bytes = b"", name: str = "x") -> bytes:
    """Return a header of some kind, and its body."""
    member = tarfile.TarInfo(name)
    member.type, member.size = kind, len(body)
    return member.tobuf(tarfile.GNU_FORMAT) + body.ljust(-(-len(body) // 512) * 512, b"\0")


def pax(**fields: str) -> bytes:
    """Return an extended header."""
    body = b""
    for name, value in fields.items():
        text = f" {name}={value}\n"
        length = len(text) + 2
        body += f"{length + (length > 99)}{text}".encode()
    return raw(tarfile.XHDTYPE, body)


END = bytes(1024)
TWOFOLD = {
    "a header for all": raw(tarfile.XGLTYPE, b"12 comment=x\n") + raw(tarfile.REGTYPE) + END,
    "two extended headers": pax(mtime="1") + pax(comment="xyz") + raw(tarfile.REGTYPE) + END,
    "both kinds of them": pax(mtime="1") + raw(tarfile.GNUTYPE_LONGNAME, b"y\0") + raw(tarfile.REGTYPE) + END,
    "text behind the records": raw(tarfile.XHDTYPE, b"12 mtime=1.5\nTOKEN=1") + raw(tarfile.REGTYPE) + END,
    "a name twice": raw(tarfile.XHDTYPE, b"10 path=a\n10 path=y\n") + raw(tarfile.REGTYPE) + END,
    "text for a number": raw(tarfile.XHDTYPE, b"17 mtime=TOKEN=1\n") + raw(tarfile.REGTYPE) + END,
    "text behind a long name": raw(tarfile.GNUTYPE_LONGNAME, b"y\0TOKEN=1\0") + raw(tarfile.REGTYPE) + END,
    "a size without a number": raw(tarfile.REGTYPE)[:124] + b"\0" + b"00000001000" + raw(tarfile.REGTYPE)[136:] + END,
    "a name of many folders": raw(tarfile.GNUTYPE_LONGNAME, b"a/" * 4000 + b"\0") + raw(tarfile.REGTYPE) + END,
}  # fmt: skip


@pytest.mark.parametrize("kind", TWOFOLD)
def test_headers_that_readers_understand_differently_are_refused(kind: str) -> None:
    """What this check reads must be what an Engine unpacks, and nothing may travel in between."""
    with pytest.raises(Failure) as failure:
        read(TWOFOLD[kind])
    assert failure.value.code == CANNOT_CHECK


def test_long_names_are_read_alike() -> None:
    """As Go and GNU tar write them."""
    name = "folder/" * 30 + "x"
    for style in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        written = io.BytesIO()
        with tarfile.open(fileobj=written, mode="w", format=style) as archive:
            archive.addfile(tarfile.TarInfo(name))
        assert paths(read(written.getvalue())) == [f"/{name}"]


def test_an_unusual_owner_name_is_recorded() -> None:
    """A name that no system has could be any text."""
    (file,) = read(entry("x", uname="TOKEN=1")).files
    assert file.extra == "the owner TOKEN=1:"
    (file,) = read(entry("x", uname="root", gname="shadow")).files
    assert file.extra == ""


def test_a_target_of_an_entry_that_is_not_a_link_is_recorded() -> None:
    """Nothing shows it."""
    (file,) = read(entry("x", type=tarfile.DIRTYPE, linkname="TOKEN=1")).files
    assert file.extra == "a link's target, TOKEN=1"


def test_a_saved_image_with_a_repeated_name_is_refused() -> None:
    """Which of them counts, each Engine decides."""
    first, second = tar({"manifest.json": b"[]"}), tar({"./manifest.json": b"[]"})
    with stored(first[:1024] + second) as archive, pytest.raises(Failure, match="is there twice"):
        reader.read("x:1", archive, lambda _: True)


@pytest.mark.parametrize(
    "document",
    [
        {"created": None},
        {"config": ["a"]},
        {"config": {"Labels": ["a"]}},
        {"config": {"Env": [1]}},
        {"config": {"Cmd": 1}},
        {"config": {"Healthcheck": {"Test": [None]}}},
        {"history": [{"created_by": None}]},
        {"history": [{"comment": []}]},
        {"history": ["x"]},
    ],
)
def test_a_configuration_of_other_types_is_refused(document: dict[str, object]) -> None:
    """No traceback: a sentence."""
    packed = {
        "c": json.dumps({"rootfs": {"diff_ids": []}} | document).encode(),
        "manifest.json": b'[{"Config": "c", "Layers": []}]',
    }
    with stored(tar(packed)) as archive, pytest.raises(Failure, match="must be readable") as failure:
        reader.read("x:1", archive, lambda _: True)
    assert failure.value.code == CANNOT_CHECK


def test_members_of_archives_are_marked() -> None:
    """A path of the layer's own may look like theirs."""
    assert [file.packed for file in read(tar({"a!/b": b"", "z": zipped({"c": b""})})).files] == [False, False, True]


@pytest.mark.parametrize("kind", [tarfile.CONTTYPE, tarfile.AREGTYPE, b"Q"], ids=["contiguous", "old", "unknown"])
def test_a_file_of_an_unusual_type_is_reported(kind: bytes) -> None:
    """Readers take it for a file, for something else, or leave it out."""
    entry = tarfile.TarInfo("x")
    entry.type = kind
    (file,) = read(entry.tobuf(tarfile.USTAR_FORMAT) + bytes(1024)).files
    assert file.extra == f"an entry of type {kind!r}"


def renamed(name: str, old: bytes, new: bytes) -> IO[bytes]:
    """Return a saved image in which one of its documents has another text in place of one of the same length."""
    with saved(tar({"a": b"x"})) as archive:
        content = archive.read() if archive.seek(0) == 0 else b""
    document = content.index(name.encode().ljust(100, b"\0"))
    return stored(content[:document] + content[document:].replace(old, new, 1))


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("config.json", b'"config"', b'"Config"'),
        ("config.json", b'"rootfs"', b'"rootFS"'),
        ("config.json", b'"Cmd"', b'"cmd"'),
        ("config.json", b'"created_by"', b'"Created_by"'),
        ("manifest.json", b'"Layers"', b'"layers"'),
    ],
)
def test_a_name_in_another_case_is_refused(name: str, old: bytes, new: bytes) -> None:
    """Docker reads it as the known name; other readers overlook it."""
    with renamed(name, old, old) as archive:
        assert reader.read("x:1", archive, lambda _: True).files
    with renamed(name, old, new) as archive, pytest.raises(Failure, match="must be readable"):
        reader.read("x:1", archive, lambda _: True)


@pytest.mark.parametrize("name", ["config", "Cmd", "user", "ENV"])
def test_a_label_may_have_any_name(name: str) -> None:
    """Names of labels are the user's, in any spelling."""
    document = json.dumps({"config": {"Labels": {name: "x", name.swapcase(): "y"}}}).encode()
    assert documents.parsed(document, documents.CONFIGURATION)["config"]["Labels"][name] == "x"


@pytest.mark.parametrize("name", ["\u017fhell", "wor\u212aingdir", "ENTRYPOINT"])
def test_a_name_that_go_case_folds_is_refused(name: str) -> None:
    """The long s and the Kelvin sign count as s and k there."""
    with pytest.raises(ValueError, match="which Docker reads as"):
        documents.parsed(json.dumps({"config": {name: []}}).encode(), documents.CONFIGURATION)
