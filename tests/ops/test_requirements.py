"""What poetry.lock says, as lists for the installer."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.tags import Tag, sys_tags

from ops import requirements


def package(name: str, **settings: object) -> dict[str, Any]:
    """Return a package as poetry.lock has it."""
    files = [{"file": f"{name}.whl", "hash": "sha256:aa"}, {"file": f"{name}.tar.gz", "hash": "sha256:bb"}]
    return {"name": name, "version": "1.0", "groups": ["main"], "files": files} | settings


def test_a_requirement_is_pinned_and_has_every_hash() -> None:
    """Whichever file the installer chooses, its hash is there."""
    assert requirements.lists({"package": [package("a")]}) == {"main": ["a==1.0 --hash=sha256:aa --hash=sha256:bb"]}


def test_a_package_is_in_the_list_of_each_of_its_groups() -> None:
    """What main and dev both need is installed with either."""
    found = requirements.lists({"package": [package("a", groups=["main", "dev"]), package("b", groups=["dev"])]})
    assert {group: [line.split("==")[0] for line in lines] for group, lines in found.items()} == {
        "main": ["a"],
        "dev": ["a", "b"],
    }


@pytest.mark.parametrize(
    ("markers", "main", "dev"),
    [
        ("sys_platform == 'win32'", " ; sys_platform == 'win32'", " ; sys_platform == 'win32'"),
        ({"dev": "python_version < '3.15'"}, "", " ; python_version < '3.15'"),
    ],
)
def test_a_marker_is_for_all_groups_or_for_one(markers: object, main: str, dev: str) -> None:
    """The lock has a string, or a table by group."""
    found = requirements.lists({"package": [package("a", groups=["main", "dev"], markers=markers)]})
    hashes = " --hash=sha256:aa --hash=sha256:bb"
    assert found == {"main": [f"a==1.0{main}{hashes}"], "dev": [f"a==1.0{dev}{hashes}"]}


def test_what_only_an_extra_needs_is_left_out() -> None:
    """Nothing asks for the project's own extras."""
    assert requirements.lists({"package": [package("a", optional=True)]}) == {}


def test_what_no_hash_covers_is_refused() -> None:
    """A git repository's commit, say."""
    source = {"type": "git", "url": "https://git.example/a"}
    with pytest.raises(ValueError, match=r"a==1\.0 comes from a git; only what a package index serves"):
        requirements.lists({"package": [package("a", source=source)]})


def test_another_index_is_named_where_something_comes_from_it() -> None:
    """Poetry calls any index beside its default `legacy`; a group that needs nothing of it does not ask it."""
    source = {"type": "legacy", "url": "https://index.example/simple"}
    found = requirements.lists({"package": [package("a", source=source), package("b", groups=["dev"])]})
    assert found["main"][0] == "--extra-index-url https://index.example/simple"
    assert [line.split("==")[0] for lines in found.values() for line in lines[-1:]] == ["a", "b"]


TAGS = frozenset({Tag("cp313", "cp313", "manylinux_2_17_x86_64"), Tag("py3", "none", "any")})


def files(*names: str) -> list[dict[str, str]]:
    """Return files as poetry.lock has them."""
    return [{"file": name, "hash": "sha256:aa"} for name in names]


@pytest.mark.parametrize(
    ("name", "installable"),
    [
        ("a-1.0-py3-none-any.whl", True),
        ("a-1.0-py2.py3-none-any.whl", True),
        ("a-1.0-1build-cp313-cp313-manylinux_2_17_x86_64.manylinux2014_x86_64.whl", True),
        ("a-1.0.tar.gz", False),
        ("a-1.0.zip", False),
        ("a-1.0-py2-none-any.whl", False),
        ("a-1.0-cp312-cp312-manylinux_2_17_x86_64.whl", False),
        ("a-1.0-cp313-cp313t-manylinux_2_17_x86_64.whl", False),
        ("a-1.0-cp313-cp313-musllinux_1_2_x86_64.whl", False),
        ("a-1.0-cp313-cp313-manylinux_2_17_aarch64.whl", False),
        ("a-1.0-cp313-cp313-win_amd64.whl", False),
        ("nonsense.whl", False),
    ],
)
def test_a_wheel_is_installable_by_its_tags(name: str, installable: bool) -> None:  # noqa: FBT001
    """Another Python, another binary interface, another platform, another C library, a source distribution."""
    lock = {"package": [package("a", files=files("a-1.0.tar.gz", name))]}
    assert requirements.without_wheel(lock, TAGS) == ({} if installable else {"main": ["a 1.0"]})


@pytest.mark.parametrize(
    ("settings", "groups"),
    [
        ({"groups": ["main", "dev"]}, {"main", "dev"}),
        ({"groups": ["dev"]}, {"dev"}),
        ({"markers": "sys_platform == 'win32'"}, set()),
        ({"markers": "python_version >= '3'"}, {"main"}),
        ({"groups": ["main", "dev"], "markers": {"main": "sys_platform == 'win32'"}}, {"dev"}),
        ({"optional": True, "markers": "extra == 'x'"}, set()),
    ],
)
def test_what_is_not_installed_needs_no_wheel(settings: dict[str, Any], groups: set[str]) -> None:
    """By its marker, its group, or as part of an extra."""
    lock = {"package": [package("a", files=files("a-1.0.tar.gz"), **settings)]}
    assert set(requirements.without_wheel(lock, TAGS)) == groups


def test_this_projects_own_lock_has_a_wheel_for_everything() -> None:
    """The control: no false alarm."""
    lock = tomllib.loads(Path("poetry.lock").read_text(encoding="utf-8"))
    assert requirements.without_wheel(lock, frozenset(sys_tags())) == {}


def test_the_program_marks_the_list_of_a_group_that_can_not_be_installed(tmp_path: Path) -> None:
    """Only that one: what production does not need does not stop it."""
    text = Path("poetry.lock").read_text(encoding="utf-8")
    entry = (
        '[[package]]\nname = "docopt"\nversion = "0.6.2"\ngroups = ["dev"]\n'
        'files = [{file = "docopt-0.6.2.tar.gz", hash = "sha256:aa"}]\n\n'
    )
    lock = tmp_path / "poetry.lock"
    lock.write_text(text.replace("[[package]]", f"{entry}[[package]]", 1), encoding="utf-8")
    subprocess.run([sys.executable, "ops/requirements.py", str(lock), str(tmp_path)], check=True)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    first = {path.stem: path.read_text(encoding="utf-8").splitlines()[0] for path in tmp_path.glob("*.txt")}
    assert first["dev"].startswith(f"# docopt 0.6.2 has no wheel for Python {version} on {sys.platform}/")
    assert " To fix it: lock a version that has one" in first["dev"]
    assert not first["main"].startswith("#")


def test_the_program_writes_a_file_for_each_group(tmp_path: Path) -> None:
    """For this project's own lock, as the build runs it."""
    subprocess.run([sys.executable, "ops/requirements.py", "poetry.lock", str(tmp_path)], check=True)
    lock = tomllib.loads(Path("poetry.lock").read_text(encoding="utf-8"))
    assert {path.stem for path in tmp_path.iterdir()} == {group for one in lock["package"] for group in one["groups"]}
    assert any(line.startswith("fastapi==") for line in (tmp_path / "main.txt").read_text().splitlines())


def test_a_lock_without_groups_gets_a_sentence(tmp_path: Path) -> None:
    """A Poetry before 2.0 made it."""
    lock = tmp_path / "poetry.lock"
    lock.write_text('[[package]]\nname = "a"\nversion = "1"\nfiles = []\n', encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "ops/requirements.py", str(lock), str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr == "poetry.lock can't be installed: it names no groups; make it anew with `inv poetry -- lock`\n"
