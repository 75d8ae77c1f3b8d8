"""The evidence about an image is complete, or there is no verdict."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from prodlock.failure import CANNOT_CHECK, Failure
from prodlock.origins import command, environments, images, own
from prodlock.origins.command import check_base
from prodlock.origins.records import Locked
from prodlock.origins.visible import Layers
from prodlock.project import Project
from prodlock.tests.unit.origins.subjects import distribution, requirement, subject

LOCKED = Locked(
    "uv.lock",
    {"shop": requirement("shop", "1")},
    {name: requirement(name, "1") for name in ("pytest", "pip")},
    "fresh",
)


def test_a_wrong_lock_is_refused_before_an_image_is_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To save an image takes seconds."""
    monkeypatch.setattr(images, "open_image", None)
    with pytest.raises(Failure, match=r"^The lock must be a file that exists \(got .*none\.lock\)") as raised:
        command.verify(Project(tmp_path), "shop:1", command.Options(locks=[tmp_path / "none.lock"]))
    assert raised.value.code == CANNOT_CHECK


@pytest.mark.parametrize(("name", "refused"), [("shop", True), ("pytest", True), ("pip", False), ("other", False)])
def test_a_stage_of_the_image_is_not_taken_for_its_base_image(name: str, refused: bool) -> None:  # noqa: FBT001
    """One that was found, and that has a locked distribution, also of development; a given one is trusted."""
    image = subject(distribution(name, "1", {f"{name}.py": b"x"})[0], {"/app/x": b"x"})
    installed = environments.find(image, Layers(image.image.files))
    check_base(image, installed, LOCKED)
    found = replace(image, base_found=True)
    if refused:
        with pytest.raises(Failure, match=rf"^A base image must be given \(got base .* has {name}, .* To fix it: "):
            check_base(found, installed, LOCKED)
    else:
        check_base(found, installed, LOCKED)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("pyproject.toml", '[project]\nname = "Shop.API"\n'),
        ("pyproject.toml", '[tool.poetry]\nname = "shop_api"\n'),
        ("setup.cfg", "[metadata]\nname = shop-api\nversion = %(x)s\n"),
        ("setup.py", 'from setuptools import setup\n\nsetup(\n    name="shop_api",\n)\n'),
        ("setup.py", 'import setuptools\nx = "\\d"\nsetuptools.setup(version="1", name="shop-api")\n'),
    ],
)
@pytest.mark.parametrize("folder", ["", "backend", "packages/backend"])
def test_the_distributions_that_the_project_builds_have_a_name(
    tmp_path: Path, folder: str, file: str, text: str
) -> None:
    """By each of the files that declare it, in the project's folder or a member's."""
    (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    (tmp_path / folder / file).write_text(text, encoding="utf-8")
    assert own.names([tmp_path], LOCKED) == {"shop-api"}


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("pyproject.toml", "project = 1\n"),
        ("pyproject.toml", "["),
        ("setup.cfg", "name = shop\n"),
        ("setup.cfg", "[options]\n"),
        ("setup.py", "setup("),
        ("setup.py", "setup(name=read_name())\n"),
        ("setup.py", "other(name='shop')\n"),
    ],
)
def test_a_declaration_without_a_valid_name_has_none(tmp_path: Path, file: str, text: str) -> None:
    """Nothing of the project is run to compute one."""
    (tmp_path / file).write_text(text, encoding="utf-8")
    assert own.names([tmp_path], LOCKED) == frozenset()


def test_the_members_of_a_workspace_are_where_it_declares_them(tmp_path: Path) -> None:
    """At any depth. A pattern that is not valid has none."""
    members = ["services/*/api", "libs/python/**/", "/", 1]
    (tmp_path / "pyproject.toml").write_text(f"[tool.uv.workspace]\nmembers = {members}\n", encoding="utf-8")
    for folder in ("services/shop/api", "libs/python/a/b/money", "other/a/b/stray"):
        (tmp_path / folder).mkdir(parents=True)
        text = f'[project]\nname = "{folder.rpartition("/")[2]}"\n'
        (tmp_path / folder / "pyproject.toml").write_text(text, encoding="utf-8")
    assert own.names([tmp_path], LOCKED) == {"api", "money"}


def test_a_distribution_of_the_lock_is_not_the_projects_own(tmp_path: Path) -> None:
    """The repository may have a copy of it: the lock decides what the image must have."""
    for name in ("shop", "pytest", "api"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "setup.cfg").write_text(f"[metadata]\nname = {name}\n", encoding="utf-8")
    assert own.names([tmp_path, tmp_path], LOCKED) == {"api"}
