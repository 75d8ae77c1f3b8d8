"""Opening an image: the content of its files, and reading while the archive is written."""

from __future__ import annotations

import gzip
import hashlib
import json
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO

import pytest

from prodlock.failure import CANNOT_CHECK, Failure
from prodlock.image import opened, reader
from prodlock.image import tar as tars
from prodlock.image.growing import Growing
from prodlock.image.records import File
from prodlock.tests.unit.image.examples import Layout, configuration, saved, stored, tar, write, zipped

LARGE = bytes(range(256)) * 8192
BELOW = {"a": b"one", "empty": b"", "large": LARGE, "x.zip": zipped({"m.py": b"import m"})}
ABOVE = {"a": b"two"}
LINKS = {
    "hard": (tarfile.LNKTYPE, "a"),
    "again": (tarfile.LNKTYPE, "large"),
    "soft": (tarfile.SYMTYPE, "a"),
    "lost": (tarfile.LNKTYPE, "none"),
}
LAYERS = (tar(BELOW, LINKS), tar(ABOVE))


def whole(archive: IO[bytes]) -> bytes:
    """Return the content of an archive."""
    archive.seek(0)
    return archive.read()


def contents(
    archive: IO[bytes], layers: opened.Layers | None = None, known: opened.Known | None = None
) -> dict[tuple[int, str], bytes]:
    """Return the content of each file of an image, by layer and path."""
    with opened.open_archive("x:1", archive, layers=layers, known=known) as image:
        return {(file.layer, file.path): image.content(file) for file in image.image.files if file.place >= 0}


CONTENTS = {(0, f"/{name}"): content for name, content in BELOW.items()}
CONTENTS |= {(0, "/hard"): b"one", (0, "/again"): LARGE, (1, "/a"): b"two"}


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_the_content_of_every_file_can_be_read(pack: Callable[[bytes], bytes]) -> None:
    """Of every layer; a hard link has the content of its file, and a symbolic link has none."""
    with saved(*LAYERS, pack=pack) as archive:
        assert contents(archive) == CONTENTS


def test_a_compressed_archive_is_read_alike() -> None:
    """`docker save` is often followed by gzip."""
    with saved(*LAYERS) as archive, stored(gzip.compress(whole(archive))) as compressed:
        assert contents(compressed) == CONTENTS


def test_every_regular_file_has_its_sha256() -> None:
    """Large ones too, which another thread hashes; archives in the image are not unpacked."""
    with saved(*LAYERS) as archive, opened.open_archive("x:1", archive) as image:
        files = {(file.layer, file.path): file for file in image.image.files}
    assert {key: files[key].sha256 for key in CONTENTS} == {
        key: hashlib.sha256(content).hexdigest() for key, content in CONTENTS.items()
    }
    assert set(files) - set(CONTENTS) == {(0, "/soft"), (0, "/lost")}
    assert not any(file.packed for file in files.values())


def test_the_records_are_those_of_the_checks() -> None:
    """But for what archives in the image contain."""
    with saved(*LAYERS) as archive, opened.open_archive("x:1", archive) as image:
        read = reader.read("x:1", archive, lambda _: True, trusted=lambda _path, _digest: True)
        assert image.image == read
        assert image.image.files == read.files


def test_a_symbolic_link_has_no_content() -> None:
    """A caller follows links; an entry without content is not an empty file."""
    with saved(*LAYERS) as archive, opened.open_archive("x:1", archive) as image:
        (link,) = (file for file in image.image.files if file.target == "a")
        with pytest.raises(ValueError, match="/soft is not a file"):
            image.content(link)


def test_two_files_of_one_path_in_a_layer_are_refused() -> None:
    """An Engine keeps one of them. A folder may be there twice."""
    first, second = (tarfile.TarInfo(name) for name in ("a/b", "./a/../a/b"))
    folder = tarfile.TarInfo("a")
    folder.type = tarfile.DIRTYPE
    twice = b"".join(one.tobuf() for one in (folder, folder, first)) + bytes(1024)
    with saved(twice) as archive, opened.open_archive("x:1", archive) as image:
        assert [file.path for file in image.image.files] == ["/a", "/a", "/a/b"]
    for entries in ((first, second), (folder, tarfile.TarInfo("a"))):
        layer = b"".join(one.tobuf() for one in entries) + bytes(1024)
        with (
            saved(layer) as archive,
            pytest.raises(Failure, match="is there twice in a layer"),
            opened.open_archive("x:1", archive),
        ):
            pass


def test_a_hard_link_to_another_layer_is_described() -> None:
    """No Engine writes it, and Engines unpack it differently."""
    layer = tar({"a": b"x"}, {"b": (tarfile.LNKTYPE, "a"), "c": (tarfile.LNKTYPE, "other")})
    with saved(layer) as archive, opened.open_archive("x:1", archive) as image:
        extra = {file.path: file.extra for file in image.image.files}
    assert extra == {"/a": "", "/b": "", "/c": "a hard link to other, which its layer does not have"}


def test_a_hard_link_to_a_symbolic_link_is_that_link() -> None:
    """`cp --archive --link` makes them of an environment's interpreter."""
    layer = tar({}, {"python": (tarfile.SYMTYPE, "/usr/local/bin/python3"), "python3": (tarfile.LNKTYPE, "python")})
    with saved(layer) as archive, opened.open_archive("x:1", archive) as image:
        found = {file.path: (file.target, file.extra, file.sha256) for file in image.image.files}
    assert found == dict.fromkeys(("/python", "/python3"), ("/usr/local/bin/python3", "", ""))


def test_a_file_has_its_time() -> None:
    """Bytecode names its source by it."""
    entry = tarfile.TarInfo("a")
    entry.mtime = 1700000000.9
    packed = entry.tobuf(tarfile.PAX_FORMAT) + bytes(1024)
    with saved(packed) as archive, opened.open_archive("x:1", archive) as image:
        assert [file.mtime for file in image.image.files] == [1700000000]


def test_memory_is_released_and_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The content of all files is read with little memory."""
    monkeypatch.setattr(opened, "_WINDOW", 4)
    released: list[int] = []
    release = tars.release

    def count(mapped: tars.Mapped, start: int, end: int) -> None:
        released.append(start)
        release(mapped, start, end)

    monkeypatch.setattr(tars, "release", count)
    with saved(*LAYERS) as archive:
        assert contents(archive) == CONTENTS
    assert len(released) > len(LAYERS)


@pytest.mark.parametrize(
    "pack", [lambda layer: gzip.compress(layer)[:-40], lambda layer: layer.replace(b"two", b"TWO"), lambda _: b""]
)
def test_a_layer_that_is_not_the_images_is_refused(pack: Callable[[bytes], bytes]) -> None:
    """As the checks refuse it."""
    with saved(*LAYERS, pack=pack) as archive, pytest.raises(Failure, match="must be readable") as failure:
        contents(archive)
    assert failure.value.code == CANNOT_CHECK


def test_a_layer_is_compared_at_the_latest_when_the_image_is_closed() -> None:
    """It is hashed while the image is used. A result of the block is not returned then."""

    def use(archive: IO[bytes]) -> str:
        with opened.open_archive("x:1", archive) as image:
            file = next(file for file in image.image.files if file.path == "/a" and file.layer == 1)
            assert image.content(file) == b"TWO"
            return "used"

    with saved(*LAYERS, pack=lambda layer: layer.replace(b"two", b"TWO")) as archive:
        with pytest.raises(Failure, match="a layer is not sha256:") as failure:
            use(archive)
        assert failure.value.code == CANNOT_CHECK


def test_an_error_of_the_caller_is_not_one_of_the_archive() -> None:
    """The archive is read when the image is opened."""
    with saved(*LAYERS) as archive, pytest.raises(KeyError), opened.open_archive("x:1", archive):
        raise KeyError


def test_two_images_in_an_archive_are_refused() -> None:
    """`docker save A B` writes both."""
    files = {"manifest.json": b'[{"Config": "a", "Layers": []}, {"Config": "b", "Layers": []}]'}
    with stored(tar(files)) as archive, pytest.raises(Failure, match=r"it has 2 images, not one.*save it alone"):
        contents(archive)


def test_a_repeated_layer_may_be_a_link() -> None:
    """Docker before version 25 writes `ID/layer.tar` for each layer, the second one as a link."""
    layer = tar({"a": b"one"})
    files = {
        "manifest.json": b'[{"Config": "config.json", "Layers": ["1/layer.tar", "2/layer.tar"]}]',
        "config.json": configuration(layer, layer),
        "1/layer.tar": layer,
    }
    with stored(tar(files, {"2/layer.tar": (tarfile.SYMTYPE, "../1/layer.tar")})) as archive:
        assert contents(archive) == {(0, "/a"): b"one", (1, "/a"): b"one"}


class Writer:
    """A process that writes an archive in small pieces."""

    def __init__(self, content: bytes, piece: int, seconds: float = 0) -> None:
        self.file = tempfile.NamedTemporaryFile()  # noqa: SIM115
        self._thread = threading.Thread(target=self._write, args=(content, piece, seconds))
        self._thread.start()

    def _write(self, content: bytes, piece: int, seconds: float) -> None:
        with Path(self.file.name).open("wb", buffering=0) as to:
            for at in range(0, len(content), piece):
                to.write(content[at : at + piece])
                time.sleep(seconds)

    def has_ended(self) -> bool:
        """Return whether all is written."""
        return not self._thread.is_alive()

    def join(self) -> None:
        """Wait until all is written."""
        self._thread.join()


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize("piece", [5000, 1 << 20])
def test_layers_are_read_while_the_archive_is_written(piece: int, pack: Callable[[bytes], bytes]) -> None:
    """Their files are the same as those of a finished archive."""
    with saved(*LAYERS, pack=pack) as archive, ExitStack() as kept:
        writer = Writer(whole(archive), piece)
        layers = opened.follow(writer.file, writer.has_ended, kept)
        writer.join()
        assert len(layers) == 2
        assert contents(writer.file, layers=layers) == contents(archive) == CONTENTS


def test_what_was_read_while_it_was_written_is_not_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise nothing would be saved."""
    with saved(*LAYERS) as archive, ExitStack() as kept:
        layers = opened.follow(archive, lambda: True, kept)
        monkeypatch.setattr(reader, "layer_files", None)
        assert contents(archive, layers=layers) == CONTENTS


@pytest.mark.parametrize("end", [0, 100, 600, 5000, -600, -1])
def test_an_archive_that_ends_too_soon_is_refused_when_it_is_opened(end: int) -> None:
    """The process that wrote it may have failed, and has its own message."""
    with saved(*LAYERS) as archive, ExitStack() as kept, stored(whole(archive).rstrip(b"\0")[:end]) as short:
        layers = opened.follow(short, lambda: True, kept)
        with pytest.raises(Failure, match="must be readable"):
            contents(short, layers=layers)


def test_a_damaged_layer_is_refused_though_it_was_read_while_it_was_written() -> None:
    """Its digest is compared when the image is opened."""
    with saved(*LAYERS, pack=lambda layer: layer.replace(b"two", b"TWO")) as archive, ExitStack() as kept:
        layers = opened.follow(archive, lambda: True, kept)
        assert len(layers) == 2
        with pytest.raises(Failure, match="a layer is not"):
            contents(archive, layers=layers)


def test_an_interruption_ends_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """They wait for bytes of a large file that the process does not write any more."""

    def interrupt(*_: object) -> Iterator[File]:
        yield File("/large", size=1 << 20, place=0)
        raise KeyboardInterrupt

    monkeypatch.setattr(reader, "layer_files", interrupt)
    with (
        saved(*LAYERS) as archive,
        stored(whole(archive)[:3000]) as short,
        pytest.raises(KeyboardInterrupt),
        ExitStack() as kept,
    ):
        opened.follow(short, lambda: False, kept)


def test_a_read_of_a_growing_file_waits_for_its_bytes() -> None:
    """And returns less only where the process has ended."""
    writer = Writer(b"0123456789", 1, 0.01)
    growing = Growing(writer.file, writer.has_ended)
    assert growing[0:3] == b"012"
    growing.seek(8)
    assert growing.read(5) == b"89"
    assert growing.tell() == 10
    assert growing.find(b"4", 0, 10) == 4
    assert growing[20:30] == b""
    writer.join()


def test_the_configuration_is_read_without_the_layers() -> None:
    """Of a base image nothing else is needed."""
    with (
        saved(*LAYERS, pack=lambda layer: layer.replace(b"two", b"TWO")) as archive,
        tempfile.TemporaryDirectory() as at,
    ):
        path = Path(at) / "base.tar"
        path.write_bytes(whole(archive))
        document = opened.configuration("base.tar", path)
    assert document["config"] == {"Cmd": ["serve"]}


def test_a_layout_folder_can_be_read(tmp_path: Path) -> None:
    """Its layers are compressed."""
    layout = Layout()
    folder = write(layout.finish(layout.image(*LAYERS)), tmp_path)
    with opened.open_folder("x", folder) as image:
        files = image.image.files
        assert {(file.layer, file.path): image.content(file) for file in files if file.place >= 0} == CONTENTS
    assert opened.configuration("x", folder)["os"] == "linux"


def test_a_file_has_one_record(tmp_path: Path) -> None:
    """However its archive is stored."""
    layout = Layout()
    folder = write(layout.finish(layout.image(*LAYERS)), tmp_path)
    with saved(*LAYERS) as archive, opened.open_archive("x", archive) as one, opened.open_folder("x", folder) as other:
        assert one.image.files == other.image.files
        assert isinstance(one.image.files[0], File)


class Records(dict[str, Sequence[File]]):
    """Known layers."""

    def read(self, digest: str) -> Sequence[File] | None:
        """Return the files of a layer without their heads."""
        files = self.get(digest)
        return None if files is None else [file._replace(head=b"") for file in files]

    def write(self, digest: str, files: Sequence[File]) -> None:
        """Keep the files of a layer."""
        self[digest] = files


def digest_of(layer: bytes) -> str:
    """Return the sha256 of a layer."""
    return hashlib.sha256(layer).hexdigest()


def named(*layers: bytes, names: Sequence[str] = ()) -> IO[bytes]:
    """Return an archive that calls its layers by their sha256, as an Engine does, or by other names."""
    digests = names or [digest_of(layer) for layer in layers]
    blobs = {f"blobs/sha256/{digest}": layer for digest, layer in zip(digests, layers, strict=True)}
    manifest = [{"Config": "config.json", "Layers": list(blobs)}]
    return stored(tar({"manifest.json": json.dumps(manifest).encode(), "config.json": configuration(*layers)} | blobs))


def test_a_large_layer_is_known_once_it_is_verified() -> None:
    """To read a small one takes no longer than to look for it."""
    known = Records()
    with saved(*LAYERS) as archive, opened.open_archive("x:1", archive, known=known):
        assert not known
    assert known.keys() == {digest_of(LAYERS[0])}


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_a_known_layer_is_not_read_again(pack: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """Its files are the same, with their heads and contents; so are those of a folder."""
    known = Records()
    with saved(*LAYERS, pack=pack) as archive, opened.open_archive("x:1", archive, known=known) as image:
        files = image.image.files
    known |= {digest_of(LAYERS[1]): [file._replace(layer=0) for file in files if file.layer]}
    monkeypatch.setattr(reader, "layer_files", None)
    with saved(*LAYERS, pack=pack) as archive, opened.open_archive("x:1", archive, known=known) as image:
        assert image.image.files == files
        assert {(one.layer, one.path): image.content(one) for one in files if one.place >= 0} == CONTENTS


def test_the_memory_of_a_known_layer_is_released(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each head is on another page of the archive: an image of two gigabytes took 400 MB more."""
    known = Records()
    with saved(*LAYERS) as archive, opened.open_archive("x:1", archive, known=known):
        pass
    monkeypatch.setattr(opened, "_WINDOW", 1 << 20)
    released: list[int] = []
    monkeypatch.setattr(tars, "release", lambda _map, start, end: released.append(end - start))
    with saved(*LAYERS) as archive, opened.open_archive("x:1", archive, known=known) as image:
        image.verify()
    assert len(released) == 1
    assert released[0] > len(LARGE)


def test_a_known_layer_is_not_read_while_the_archive_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """An Engine calls it by its sha256."""
    known = Records()
    with named(*LAYERS) as archive, opened.open_archive("x:1", archive, known=known) as image:
        files = image.image.files
        known |= {digest_of(LAYERS[1]): [file._replace(layer=0) for file in files if file.layer]}
    monkeypatch.setattr(reader, "layer_files", None)
    with ExitStack() as kept, named(*LAYERS) as archive:
        writer = Writer(whole(archive), 5000)
        layers = opened.follow(writer.file, writer.has_ended, kept, known)
        writer.join()
        with opened.open_archive("x:1", writer.file, layers=layers, known=known) as image:
            assert image.image.files == files


def test_the_name_of_a_layer_is_not_trusted() -> None:
    """Its files are those of the layer that the configuration names."""
    known = Records({digest_of(LAYERS[0]): [File("/forged")]})
    names = [digest_of(LAYERS[0]), digest_of(b"")]
    with named(LAYERS[1], LAYERS[1] + bytes(512), names=names) as archive, ExitStack() as kept:
        layers = opened.follow(archive, lambda: True, kept, known)
        assert [file.path for layer in layers.values() for file in layer.files()] == ["/forged", "/a"]
        with opened.open_archive("x:1", archive, layers=layers, known=known) as image:
            assert [file.path for file in image.image.files] == ["/a", "/a"]


def test_a_layer_that_only_claims_to_be_a_known_one_is_refused() -> None:
    """And it is not kept: the configuration names another content."""
    for known in (Records(), Records({digest_of(LAYERS[1]): [File("/a", size=3, place=512)]})):
        before = dict(known)
        with (
            saved(*LAYERS, pack=lambda layer: layer.replace(b"two", b"TWO")) as archive,
            pytest.raises(Failure, match="a layer is not"),
        ):
            contents(archive, known=known)
        assert known == before


@pytest.mark.parametrize("digest", ["/dev/zero", "../" * 12 + "etc/hostname", "AB" * 32, "ab" * 31, ""])
def test_a_digest_that_is_none_is_not_looked_up(digest: str) -> None:
    """The configuration of a hostile image may have any text in its place, and entries are files."""

    class Refusing(Records):
        def read(self, digest: str) -> Sequence[File] | None:
            raise AssertionError(digest)

    document = json.loads(configuration(LAYERS[1])) | {"rootfs": {"diff_ids": [f"sha256:{digest}"]}}
    manifest = [{"Config": "config.json", "Layers": ["0"]}]
    files = {"manifest.json": json.dumps(manifest).encode(), "config.json": json.dumps(document).encode()}
    with stored(tar(files | {"0": LAYERS[1]})) as archive, pytest.raises(Failure, match="a layer is not sha256:"):
        contents(archive, known=Refusing())
