"""Reading OCI layouts: folders and archives, several platforms, and layouts that are refused."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO

import pytest

from prodlock.failure import CANNOT_CHECK, Failure
from prodlock.image import archives, documents, layout, opened
from prodlock.tests.unit.image.examples import Layout, digest, stored, tar, write

LAYER = tar({"a": b"one"})
ARM = tar({"a": b"arm"})
UNKNOWN = {"os": "unknown", "architecture": "unknown"}


@pytest.fixture(autouse=True)
def amd64(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run as on a machine of this platform."""
    monkeypatch.setattr("platform.machine", lambda: "x86_64")


def content(files: Mapping[str, bytes], platform: str = "") -> bytes:
    """Return the content of the only file of an archived layout's image."""
    with stored(tar(dict(files))) as archive, opened.open_archive("x.tar", archive, platform=platform) as image:
        (file,) = image.image.files
        return image.content(file)


def refusal(files: Mapping[str, bytes], platform: str = "") -> str:
    """Return the message by which a layout is refused."""
    with pytest.raises(Failure) as failure:
        content(files, platform)
    assert failure.value.code == CANNOT_CHECK
    return str(failure.value)


def platform(text: str) -> dict[str, dict[str, str]]:
    """Return a descriptor's platform."""
    return {"platform": dict(zip(("os", "architecture", "variant"), text.split("/"), strict=False))}


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_an_archive_of_a_layout_is_read(pack: Callable[[bytes], bytes]) -> None:
    """It has no manifest.json."""
    made = Layout()
    assert content(made.finish(made.image(LAYER, pack=pack))) == b"one"


def test_the_only_image_may_be_of_another_platform() -> None:
    """It is verified without being run."""
    made = Layout()
    assert content(made.finish(made.image(LAYER, platform="linux/arm64"))) == b"one"


@pytest.mark.parametrize("stated", [True, False])
@pytest.mark.parametrize("nested", [True, False])
@pytest.mark.parametrize("wanted", ["", "linux/amd64", "linux/arm64", "linux/arm64/v8"])
def test_of_several_platforms_one_is_chosen(wanted: str, *, nested: bool, stated: bool) -> None:
    """The given one or the machine's, by the index or by the images' configurations; attestations are left out."""
    made = Layout()
    manifests = [
        made.image(LAYER) | (platform("linux/amd64") if stated else {}),
        made.image(ARM, platform="linux/arm64/v8") | (platform("linux/arm64/v8") if stated else {}),
        made.blob(b"{}", "manifest.v1+json") | {"platform": UNKNOWN},
    ]
    named = [made.index(*manifests)] if nested else manifests
    assert content(made.finish(*named), wanted) == (b"arm" if "arm" in wanted else b"one")


def test_images_of_other_platforms_need_not_be_there() -> None:
    """An index is often stored with one of its images."""
    made = Layout()
    missing = {"digest": digest(b"other"), "size": 5} | platform("linux/arm64")
    files = made.finish(made.index(missing, made.image(LAYER) | platform("linux/amd64")))
    assert content(files) == b"one"
    assert "blobs/sha256/" in refusal(files, "linux/arm64")


def test_a_platform_that_a_layout_lacks_is_refused() -> None:
    """The message lists those that there are."""
    made = Layout()
    manifests = [made.image(LAYER, platform="linux/s390x"), made.image(ARM, platform="linux/arm64")]
    files = made.finish(*manifests)
    assert "one image of linux/amd64 (got 1 of linux/arm64, 1 of linux/s390x)" in refusal(files)
    assert "one image of linux/arm/v7 (got" in refusal(files, "linux/arm/v7")
    # Also where there is only one image.
    assert "one image of linux/arm64 (got 1 of linux/s390x)" in refusal(made.finish(manifests[0]), "linux/arm64")


def test_two_images_of_one_platform_are_refused() -> None:
    """Which one is meant is not for the tool to choose."""
    made = Layout()
    files = made.finish(made.image(LAYER), made.image(ARM))
    assert "got 2 of linux/amd64" in refusal(files)


def test_an_image_with_two_names_is_one_image() -> None:
    """Its manifest is in the index twice."""
    made = Layout()
    image = made.image(LAYER)
    assert content(made.finish(image, image | {"annotations": {"org.opencontainers.image.ref.name": "x"}})) == b"one"


def test_manifests_of_other_content_are_left_out() -> None:
    """A signature or a chart has a configuration of another type."""
    made = Layout()
    other = {"schemaVersion": 2, "config": made.blob(b"chart", "x") | {"mediaType": "application/x"}, "layers": []}
    chart = made.blob(json.dumps(other).encode(), "manifest.v1+json")
    assert content(made.finish(chart, made.image(LAYER))) == b"one"
    assert "without an image" in refusal(made.finish(chart))


def test_a_manifest_json_is_read_as_docker_reads_it() -> None:
    """An archive of `docker save` is a layout as well; both must lead to the same image."""
    made = Layout()
    files = made.finish(made.image(LAYER, pack=bytes))
    other = made.image(ARM, pack=bytes)
    manifest = json.loads(made.files["blobs/" + str(other["digest"]).replace(":", "/")])
    docker = {
        "Config": "blobs/" + manifest["config"]["digest"].replace(":", "/"),
        "Layers": ["blobs/" + manifest["layers"][0]["digest"].replace(":", "/")],
    }
    files |= made.files | {"manifest.json": json.dumps([docker]).encode()}
    assert "index.json leads to another image" in refusal(files)


def damaged(kind: str) -> dict[str, bytes]:  # noqa: C901, PLR0911, PLR0912 - a list of cases
    """Return the files of a layout with one fault."""
    made = Layout()
    image = made.image(LAYER)
    path = "blobs/" + str(image["digest"]).replace(":", "/")
    manifest = json.loads(made.files[path])
    match kind:
        case "no oci-layout":
            files = made.finish(image)
            del files["oci-layout"]
            return files
        case "version":
            return made.finish(image) | {"oci-layout": b'{"imageLayoutVersion": "2.0.0"}'}
        case "no index":
            return made.files
        case "empty index":
            return made.finish()
        case "no manifests":
            return made.finish(image) | {"index.json": b'{"schemaVersion": 2}'}
        case "other blob":
            return made.finish(image) | {path: made.files[path] + b" "}
        case "other blob of the same size":
            return made.finish(image) | {path: made.files[path].replace(b"tar+gzip", b"tar+GZIP")}
        case "other configuration":
            at = "blobs/" + manifest["config"]["digest"].replace(":", "/")
            return made.finish(image) | {at: made.files[at].replace(b"serve", b"SERVE")}
        case "other layer":
            at = "blobs/" + manifest["layers"][0]["digest"].replace(":", "/")
            return made.finish(image) | {at: gzip.compress(LAYER, 1)}
        case "other size":
            return made.finish(image | {"size": 3})
        case "missing blob":
            files = made.finish(image)
            del files[path]
            return files
        case "missing layer":
            files = made.finish(image)
            del files["blobs/" + manifest["layers"][0]["digest"].replace(":", "/")]
            return files
        case "fewer layers":
            manifest["layers"] = []
            return made.finish(made.blob(json.dumps(manifest).encode(), "manifest.v1+json"))
        case "many layers":
            manifest["layers"] *= documents.MOST_LAYERS + 1
            return made.finish(made.blob(json.dumps(manifest).encode(), "manifest.v1+json"))
        case "many manifests":
            return made.finish(*(made.blob(b"%d" % number, "x") | platform("a/b") for number in range(300)))
        case "a manifest in capitals":
            manifest["Layers"] = manifest["layers"]
            return made.finish(made.blob(json.dumps(manifest).encode(), "manifest.v1+json"))
        case "a huge manifest":
            return made.finish(made.blob(b" " * (documents.MOST_BYTES + 1), "manifest.v1+json"))
        case "a deep manifest":
            return made.finish(made.blob(b"[" * 100_000, "manifest.v1+json"))
        case "a layer that is not the image's":
            manifest["layers"] = [made.blob(gzip.compress(ARM), "layer.v1.tar+gzip")]
            return made.finish(made.blob(json.dumps(manifest).encode(), "manifest.v1+json"))
    return made.finish(image | {"digest": kind})


@pytest.mark.parametrize(
    "kind",
    [
        "no oci-layout", "version", "no index", "empty index", "no manifests", "other blob",
        "other blob of the same size", "other configuration", "other layer", "other size", "missing blob",
        "missing layer", "fewer layers", "many layers", "many manifests", "a manifest in capitals", "a huge manifest",
        "a deep manifest", "a layer that is not the image's", "sha256:../../../etc/passwd", "sha256:/etc/passwd",
        "sha512:" + "0" * 128, "sha256:" + "0" * 63, "sha256:" + "A" * 64, "",
    ],
)  # fmt: skip
def test_a_hostile_layout_is_refused(kind: str, tmp_path: Path) -> None:
    """As an archive and as a folder."""
    files = damaged(kind)
    message = refusal(files)
    assert "must be readable" in message
    with pytest.raises(Failure, match="must be readable"), opened.open_folder("x", write(files, tmp_path)):
        pass


def test_an_index_that_is_named_twice_is_read_once() -> None:
    """Indexes of indexes could otherwise be read without end."""
    made = Layout()
    inner = made.index(made.image(LAYER))
    assert content(made.finish(made.index(inner, inner), inner)) == b"one"


@pytest.mark.parametrize("name", ["index.json", "oci-layout", "blobs", "blobs/sha256", "layer"])
def test_a_link_out_of_the_folder_is_refused(name: str, tmp_path: Path) -> None:
    """A layout may come from an archive of another user."""
    made = Layout()
    files = made.finish(made.image(LAYER))
    folder = write(files, tmp_path / "layout")
    if name == "layer":
        (name,) = (path for path, blob in files.items() if blob.startswith(b"\x1f\x8b"))
    (folder / name).rename(tmp_path / "outside")
    (folder / name).symlink_to(tmp_path / "outside")
    with pytest.raises(Failure, match="leads out of the folder"), opened.open_folder("x", folder):
        pass


def test_a_link_within_the_folder_is_followed(tmp_path: Path) -> None:
    """Some tools store equal blobs once."""
    made = Layout()
    folder = write(made.finish(made.image(LAYER)), tmp_path)
    (folder / "index.json").rename(folder / "other.json")
    (folder / "index.json").symlink_to("other.json")
    with opened.open_folder("x", folder) as image:
        assert [file.path for file in image.image.files] == ["/a"]


@pytest.mark.parametrize("name", ["index.json", "blobs"])
def test_links_in_a_loop_are_refused(name: str, tmp_path: Path) -> None:
    """A message, and no traceback."""
    made = Layout()
    folder = write(made.finish(made.image(LAYER)), tmp_path / "layout")
    (folder / name).rename(tmp_path / "moved")
    (folder / name).symlink_to(name)
    with pytest.raises(Failure, match="must be readable"), opened.open_folder("x", folder):
        pass


def test_a_repeated_layer_is_unpacked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is unpacked stays on the disk until the image is closed."""
    made = Layout()
    files = made.finish(made.image(LAYER, LAYER, LAYER))
    folder = write(files, tmp_path)
    unpacked: list[int] = []
    store = archives.store

    def count(file: IO[bytes], content: bytes) -> int:
        unpacked.append(len(content))
        return store(file, content)

    monkeypatch.setattr(archives, "store", count)
    with opened.open_folder("x", folder) as image:
        assert [(file.layer, image.content(file)) for file in image.image.files] == [(n, b"one") for n in range(3)]
    with stored(tar(files)) as archive, opened.open_archive("x", archive) as image:
        assert len(image.image.files) == 3
    assert len(unpacked) == 2


def test_layers_that_unpack_to_too_much_in_all_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each alone would be accepted."""
    monkeypatch.setattr(archives, "_START_BYTES", 600_000)
    made = Layout()
    layers = [tar({"a": bytes(400_000 + number)}) for number in range(4)]
    assert "must not unpack to far more than its size" in refusal(made.finish(made.image(*layers)))
    for layer in layers:
        with stored(tar(made.finish(made.image(layer)))) as archive, opened.open_archive("x", archive):
            pass


def test_layers_compressed_by_zstandard_have_one_message() -> None:
    """The standard library unpacks them from Python 3.14 on."""
    made = Layout()
    message = refusal(made.finish(made.image(LAYER, pack=lambda layer: b"\x28\xb5\x2f\xfd" + layer)))
    assert "Zstandard" in message or "must be readable" in message


@pytest.mark.parametrize(
    ("machine", "platform"), [("x86_64", "linux/amd64"), ("aarch64", "linux/arm64"), ("AMD64", "linux/amd64")]
)
def test_the_platform_of_the_machine_is_named_as_docker_names_it(
    machine: str, platform: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On macOS and Windows as well, where containers are Linux's."""
    monkeypatch.setattr("platform.machine", lambda: machine)
    assert layout.own_platform() == platform
