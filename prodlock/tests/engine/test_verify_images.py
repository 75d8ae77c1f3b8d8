"""Images of a Docker Engine as `prodlock verify` opens them: by name, as a saved file, as an OCI layout."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from prodlock.failure import CANNOT_CHECK, Failure
from prodlock.image.records import File
from prodlock.origins import images
from prodlock.origins.records import Subject
from prodlock.project import Project
from prodlock.tests.engine.conftest import BASE, NAME, docker

IMAGE = f"{NAME}-verify:1"
DOCKERFILE = f"""\
FROM {BASE}
COPY note.txt empty /srv/
RUN ln /srv/note.txt /srv/hard && ln -s note.txt /srv/soft && head -c 3000000 /dev/zero >/srv/large
RUN rm /srv/empty
"""
NOTE = b"a note\n" * 1000


@pytest.fixture(autouse=True, scope="session", name="images")
def no_images() -> None:
    """No image of the project is built for these tests."""


@pytest.fixture(autouse=True, scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An image, and its archive."""
    folder = tmp_path_factory.mktemp("verify")
    (folder / "Dockerfile").write_text(DOCKERFILE, encoding="utf-8")
    (folder / "note.txt").write_bytes(NOTE)
    os.utime(folder / "note.txt", (1700000000, 1700000000))
    (folder / "empty").touch()
    docker("build", "--quiet", f"--tag={IMAGE}", ".", cwd=folder)
    docker("save", f"--output={folder / 'image.tar'}", IMAGE, cwd=folder)
    yield folder
    docker("image", "rm", IMAGE, cwd=folder)


@pytest.fixture(scope="module")
def layout(image: Path) -> Path:
    """A folder with an OCI layout of the image, whose layers are compressed."""
    folder = image / "layout"
    with tarfile.open(image / "image.tar") as archive:
        archive.extractall(folder, filter="data")
    (saved,) = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))

    def blob(content: bytes) -> dict[str, object]:
        sha256 = hashlib.sha256(content).hexdigest()
        (folder / "blobs" / "sha256" / sha256).write_bytes(content)
        return {"digest": f"sha256:{sha256}", "size": len(content)}

    (folder / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
    layers = [blob(gzip.compress((folder / name).read_bytes(), 1, mtime=0)) for name in saved["Layers"]]
    manifest = {"schemaVersion": 2, "config": blob((folder / saved["Config"]).read_bytes()), "layers": layers}
    index = {"schemaVersion": 2, "manifests": [blob(json.dumps(manifest).encode())]}
    (folder / "index.json").write_text(json.dumps(index), encoding="utf-8")
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}', encoding="utf-8")
    return folder


def contents(subject: Subject) -> dict[tuple[int, str], tuple[str, str, int]]:
    """Return sha256, target and time of each file, once the content of the image's own is the one of its sha256."""

    def checked(file: File) -> File:
        if file.layer >= subject.base_layers and file.place >= 0:
            assert hashlib.sha256(subject.content(file)).hexdigest() == file.sha256
        return file

    return {(file.layer, file.path): (*checked(file)[5:7], file.mtime) for file in subject.image.files}


def test_an_image_of_the_engine_has_its_files_and_its_base_image() -> None:
    """The base image is found; deleted files are in their layer."""
    with images.open_image(Project(), IMAGE, None) as subject:
        files = {(file.layer - subject.base_layers, file.path): file for file in subject.image.files}
        assert (subject.base, subject.base_found) == (BASE, True)
        assert subject.content(files[0, "/srv/note.txt"]) == subject.content(files[1, "/srv/hard"]) == NOTE
        assert files[0, "/srv/note.txt"].mtime == 1700000000
        assert (files[0, "/srv/empty"].size, files[2, "/srv/.wh.empty"].size) == (0, 0)
        assert files[1, "/srv/soft"].target == "note.txt"
        assert files[1, "/srv/large"].sha256 == hashlib.sha256(bytes(3_000_000)).hexdigest()
        assert "rm /srv/empty" in subject.image.layers[-1].instruction
        assert subject.base_id == docker("image", "inspect", "--format={{.Id}}", BASE, cwd=Path()).stdout.strip()


def test_saved_files_and_layouts_have_the_same_files(image: Path, layout: Path) -> None:
    """Whatever the archive's form is; a layout needs no manifest.json."""
    with images.open_image(Project(), IMAGE, BASE) as subject:
        expected, identifier = contents(subject), subject.image.identifier
    (layout / "manifest.json").unlink(missing_ok=True)
    with tarfile.open(image / "layout.tar", "w") as archive:
        archive.add(layout, ".")
    for reference in (image / "image.tar", layout, image / "layout.tar"):
        with images.open_image(Project(), str(reference), BASE) as subject:
            assert contents(subject) == expected
            assert subject.image.identifier == identifier


def test_a_base_image_can_be_a_file_or_a_layout(image: Path) -> None:
    """As the image can."""
    docker("save", f"--output={image / 'base.tar'}", BASE, cwd=image)
    with images.open_image(Project(), IMAGE, str(image / "base.tar")) as subject:
        assert (subject.base_layers, bool(subject.base_id)) == (len(subject.image.layers) - 3, True)
    with (
        pytest.raises(Failure, match="which has other layers than the first ones") as failure,
        images.open_image(Project(), BASE, str(image / "image.tar")),
    ):
        pass
    assert failure.value.code == CANNOT_CHECK


def test_an_image_that_the_engine_lacks_is_refused() -> None:
    """Docker's error has the same meaning in several versions."""
    with (
        pytest.raises(Failure, match=f"{NAME}-none:1 must be an image of the Engine") as failure,
        images.open_image(Project(), f"{NAME}-none:1", None),
    ):
        pass
    assert failure.value.code == CANNOT_CHECK
