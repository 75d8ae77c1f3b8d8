"""Opening the image that is verified, and finding its base image: with a stand-in for the Engine."""

from __future__ import annotations

from pathlib import Path

import pytest

from prodlock.failure import CANNOT_CHECK, Failure
from prodlock.origins import images
from prodlock.project import Project
from prodlock.tests.unit.image.examples import Layout, saved, tar, write
from prodlock.tests.unit.origins.stand_in import StandIn

SYSTEM, PYTHON, VENV, APP = (tar({name: name.encode() * 30_000}) for name in ("system", "python", "venv", "app"))
SHOP = (SYSTEM, PYTHON, VENV, APP)


@pytest.fixture
def engine(tmp_path: Path) -> StandIn:
    """An Engine with the image `shop:1`, an image below it, and another one."""
    made = StandIn(tmp_path / "engine")
    made.add(SHOP, "shop:1")
    made.add((SYSTEM, PYTHON), "python:3.13")
    made.add((PYTHON,), "other:1")
    return made


def project(engine: StandIn | None, folder: Path) -> Project:
    """Return a project on whose PATH only the stand-in is."""
    return Project(folder, {"PATH": str(engine.path) if engine else str(folder / "nowhere")})


@pytest.fixture
def shop(engine: StandIn, tmp_path: Path) -> Project:
    """A project with that Engine."""
    return project(engine, tmp_path)


def archive(folder: Path, *layers: bytes, name: str = "shop.tar") -> str:
    """Write what `docker save` does, and return the path."""
    with saved(*layers) as made:
        made.seek(0)
        (folder / name).write_bytes(made.read())
    return str(folder / name)


def refusal(project: Project, reference: str, base: str | None = None, platform: str = "") -> str:
    """Return the message by which an image is refused, with exit code 2."""
    with pytest.raises(Failure) as failure, images.open_image(project, reference, base, platform=platform):
        pass
    assert failure.value.code == CANNOT_CHECK
    return str(failure.value)


def base_of(project: Project, reference: str, base: str | None = None) -> tuple[str, int]:
    """Return the name of an image's base image, and the number of its layers."""
    with images.open_image(project, reference, base) as subject:
        return subject.base, subject.base_layers


def test_an_image_of_the_engine_is_saved_and_read(shop: Project, engine: StandIn) -> None:
    """By its id; the base image is the longest prefix of its layers."""
    engine.add((SYSTEM,), "debian:13")
    with images.open_image(shop, "shop:1", None) as subject:
        assert (subject.base, subject.base_layers, subject.base_found) == ("python:3.13", 2, True)
        assert subject.base_id == f"sha256:{1:064x}"
        assert subject.image.reference == "shop:1"
        assert [subject.content(file)[:6] for file in subject.image.files] == [
            b"system",
            b"python",
            b"venvve",
            b"appapp",
        ]
    assert [call for call in engine.calls if call.startswith("save")] == [f"save sha256:{0:064x}"]


def test_podman_is_used_where_docker_is_not_installed(tmp_path: Path) -> None:
    """It has the same commands."""
    engine = StandIn(tmp_path / "engine", "podman")
    engine.add(SHOP, "localhost/shop:1")
    engine.add((SYSTEM,), "docker.io/library/debian:13")
    found = project(engine, tmp_path)
    assert base_of(found, "localhost/shop:1") == ("docker.io/library/debian:13", 1)
    assert "`podman image ls`" in refusal(found, "other:1")


def test_docker_is_used_where_both_are_installed(tmp_path: Path) -> None:
    """An image that was built here is Docker's."""
    docker, podman = StandIn(tmp_path / "docker"), StandIn(tmp_path / "podman", "podman")
    docker.add(SHOP, "shop:1")
    both = Project(tmp_path, {"PATH": f"{podman.path}:{docker.path}"})
    assert base_of(both, "shop:1", "scratch") == ("scratch", 0)


def test_a_saved_file_is_read_without_an_engine(tmp_path: Path) -> None:
    """A build server need not have one; neither need the base image be more than a file or a folder."""
    alone = project(None, tmp_path)
    shop, base = archive(tmp_path, *SHOP), archive(tmp_path, SYSTEM, PYTHON, name="base.tar")
    assert base_of(alone, shop, base) == (base, 2)
    layout = Layout()
    folder = write(layout.finish(layout.image(SYSTEM)), tmp_path / "base")
    assert base_of(alone, shop, str(folder)) == (str(folder), 1)
    assert base_of(alone, str(write(layout.finish(layout.image(*SHOP)), tmp_path / "shop")), base) == (base, 2)
    assert base_of(alone, shop, "scratch") == ("scratch", 0)


def test_the_base_image_of_a_file_is_found_on_the_engine(shop: Project, tmp_path: Path) -> None:
    """The file may have been saved elsewhere."""
    assert base_of(shop, archive(tmp_path, *SHOP)) == ("python:3.13", 2)


def test_a_base_image_in_a_file_has_the_id_that_the_engine_has_it_by(shop: Project, tmp_path: Path) -> None:
    """Its interpreter can then be run."""
    for layers, identifier in (((SYSTEM, PYTHON), f"sha256:{1:064x}"), ((SYSTEM,), "")):
        with images.open_image(shop, "shop:1", archive(tmp_path, *layers, name="base.tar")) as subject:
            assert subject.base_id == identifier


@pytest.mark.parametrize(
    "names", [(), ("shop:0",), ("registry.example.org/team/shop:2",), ("copy:1", "shop:0"), ("shop:latest",)]
)
def test_an_earlier_build_is_not_the_base_image(shop: Project, engine: StandIn, names: tuple[str, ...]) -> None:
    """It may have all but the last layer, and its packages would count as the base image's."""
    engine.add(SHOP[:3], *names)
    assert base_of(shop, "shop:1") == ("python:3.13", 2)


def test_an_earlier_build_is_not_the_base_image_of_a_file(shop: Project, engine: StandIn, tmp_path: Path) -> None:
    """Its names are those of the same layers on the Engine, and those in the file."""
    engine.add(SHOP[:3], "shop:0")
    assert base_of(shop, archive(tmp_path, *SHOP)) == ("python:3.13", 2)


def test_an_image_of_the_same_layers_is_not_the_base_image(shop: Project, engine: StandIn) -> None:
    """All that the image contains would be the base image's."""
    engine.add(SHOP, "copy:1")
    assert base_of(shop, "shop:1") == ("python:3.13", 2)


def test_a_pulled_image_is_preferred_as_base_image(shop: Project, engine: StandIn) -> None:
    """One that was built here may be a stage of the same Dockerfile."""
    engine.add((SYSTEM,), "debian:13", pulled=True)
    assert base_of(shop, "shop:1") == ("debian:13", 1)


def test_without_a_base_image_one_must_be_given(engine: StandIn, tmp_path: Path) -> None:
    """Before the image is saved; and in the same words where there is no Engine."""
    engine.add((APP, VENV), "alone:1")
    shop = project(engine, tmp_path)
    assert refusal(shop, "alone:1").startswith("A base image must be given (got no local image with the first")
    assert not [call for call in engine.calls if call.startswith("save")]
    file = archive(tmp_path, APP, VENV)
    assert refusal(project(None, tmp_path), file) == refusal(shop, file)


def test_a_base_image_that_is_not_one_is_refused(shop: Project, tmp_path: Path) -> None:
    """Whether it is on the Engine, in a file or the image again."""
    for base in ("other:1", archive(tmp_path, PYTHON, SYSTEM), archive(tmp_path, *SHOP, APP, name="later.tar")):
        message = refusal(shop, "shop:1", base)
        assert f"--base must be the image that shop:1 was built on (got {base}, which has other layers" in message
    assert "(got shop:1, which has all layers of shop:1)" in refusal(shop, "shop:1", "shop:1")
    assert "python:3 must be an image of the Engine, a saved file or an OCI layout" in refusal(
        shop, "shop:1", "python:3"
    )


def test_an_image_without_a_layer_of_the_base_image_may_have_copies_of_its_files(
    shop: Project, engine: StandIn, tmp_path: Path
) -> None:
    """It was built from nothing. The base image is on the Engine, in a file or in a folder."""
    engine.add((APP, VENV), "alone:1")
    layout = Layout()
    folder = write(layout.finish(layout.image(SYSTEM, PYTHON)), tmp_path / "base")
    for base in ("python:3.13", archive(tmp_path, SYSTEM, PYTHON, name="base.tar"), str(folder)):
        with images.open_image(shop, "alone:1", base) as subject:
            assert (subject.base, subject.base_layers, subject.base_id) == (base, 0, f"sha256:{1:064x}")
            assert [file.path for file in subject.base_files] == ["/system", "/python"]
            assert [subject.base_content(file)[:6] for file in subject.base_files] == [b"system", b"python"]
            assert [file.path for file in subject.image.files] == ["/app", "/venv"]
            assert subject.copied
    # An image that has a layer of it was built on another version, or on nothing of it.
    assert "which has other layers" in refusal(shop, "alone:1", archive(tmp_path, VENV, SYSTEM, name="base.tar"))
    with images.open_image(shop, "shop:1", "python:3.13") as subject:
        assert not subject.copied


def test_a_layer_without_files_is_not_common(shop: Project, engine: StandIn, tmp_path: Path) -> None:
    """Each WORKDIR of a folder that exists makes one."""
    empty = bytes(1024)
    engine.add((APP, empty), "alone:1")
    with images.open_image(shop, "alone:1", archive(tmp_path, SYSTEM, empty, name="base.tar")) as subject:
        assert subject.copied


@pytest.mark.parametrize("reference", ["./shop.tar", "../shop", "", "--all", "a b", "shop\n", "x" * 600])
def test_what_can_not_name_an_image_is_refused(shop: Project, engine: StandIn, reference: str) -> None:
    """Docker would take it for an option, or for another image."""
    assert f"IMAGE must be the name of an image, a saved file or an OCI layout (got {reference!r})" in refusal(
        shop, reference
    )
    assert "--base must be the name" in refusal(shop, "shop:1", reference)
    assert not [call for call in engine.calls if reference and reference in call]


def test_a_folder_may_have_the_name_of_an_image(shop: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A project's package often has; it is not an OCI layout."""
    (tmp_path / "shop:1").mkdir()
    monkeypatch.chdir(tmp_path)
    assert base_of(shop, "shop:1") == ("python:3.13", 2)
    assert "IMAGE must be an OCI layout where it is a folder (got ./shop:1" in refusal(shop, "./shop:1")


def test_an_image_that_does_not_exist_has_one_message(shop: Project, tmp_path: Path) -> None:
    """It may have been meant as a file."""
    assert refusal(shop, "shop.tar").startswith("shop.tar must be an image of the Engine, a saved file or")
    assert "`docker` or `podman` must be a program on PATH" in refusal(project(None, tmp_path), "shop:1")


def test_a_failed_save_is_reported_as_docker_reports_it(shop: Project, engine: StandIn) -> None:
    """However far the archive was read."""
    engine.break_down()
    assert "unable to export" in refusal(shop, "shop:1", "scratch")


def test_an_image_of_other_layers_than_the_engine_states_is_refused(shop: Project, engine: StandIn) -> None:
    """The base image was found by what the Engine states."""
    engine.add(SHOP, "odd:1", stated=(SYSTEM, PYTHON, APP))
    assert "odd:1 must have the layers that the Engine states (got others)" in refusal(shop, "odd:1", "scratch")


def test_a_file_that_is_not_an_image_is_refused(shop: Project, tmp_path: Path) -> None:
    """A message, and no traceback."""
    (tmp_path / "poetry.lock").write_text("x" * 1000, encoding="utf-8")
    (tmp_path / "empty").touch()
    for name in ("poetry.lock", "empty"):
        assert "must be readable (got" in refusal(shop, str(tmp_path / name), "scratch")


@pytest.mark.parametrize("platform", ["arm64", "linux/", "linux/arm/v7/x", "a b/c", "--x"])
def test_a_platform_that_is_not_one_is_refused(shop: Project, platform: str) -> None:
    """Before anything is read."""
    assert f"--platform must be OS/ARCHITECTURE, such as linux/amd64 (got {platform!r})" in refusal(
        shop, "shop:1", platform=platform
    )


def test_an_image_of_another_platform_than_the_given_one_is_refused(shop: Project, tmp_path: Path) -> None:
    """An archive of `docker save` has one image, of one platform."""
    layout = Layout()
    folder = write(layout.finish(layout.image(*SHOP, platform="linux/arm64/v8")), tmp_path / "shop")
    with images.open_image(shop, str(folder), "scratch", platform="linux/arm64") as subject:
        assert subject.image.document["architecture"] == "arm64"
    assert "one image of linux/amd64 (got 1 of linux/arm64/v8)" in refusal(
        shop, str(folder), "scratch", platform="linux/amd64"
    )
    assert "must be an image of linux/amd64 (got one of unknown/unknown)" in refusal(
        shop, archive(tmp_path, *SHOP), "scratch", platform="linux/amd64"
    )


def test_nothing_is_left_behind(shop: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The saved image is removed when it is closed."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    with images.open_image(shop, "shop:1", None):
        pass
    assert list((tmp_path / "temporary").iterdir()) == []
