"""Reading of poetry.lock: the lists for the installer, and the selection for the proof."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.tags import Tag, sys_tags

from prodlock.inside.lock import poetry, selection

LINUX = {
    "os_name": "posix",
    "platform_machine": "x86_64",
    "platform_python_implementation": "CPython",
    "python_full_version": "3.13.5",
    "python_version": "3.13",
    "sys_platform": "linux",
}
HASHES = " --hash=sha256:aa --hash=sha256:bb"


def package(name: str, **settings: object) -> dict[str, Any]:
    """Return a package as poetry.lock has it."""
    files = [{"file": f"{name}.whl", "hash": "sha256:aa"}, {"file": f"{name}.tar.gz", "hash": "sha256:bb"}]
    return {"name": name, "version": "1.0", "groups": ["main"], "files": files} | settings


def select(packages: tuple[dict[str, Any], ...], *groups: str, **environment: str) -> list[selection.Requirement]:
    """Return the requirements of groups that are selected."""
    locked = poetry.requirements({"package": packages}, groups)
    return selection.chosen(locked, environment=LINUX | environment)


def chosen(*packages: dict[str, Any], **environment: str) -> dict[str, list[str]]:
    """Return name and version of the selected distributions, by group."""
    found = {group: select(packages, group, **environment) for group in ("main", "dev")}
    return {group: [f"{one.name} {one.version}" for one in listed] for group, listed in found.items() if listed}


def test_a_requirement_is_pinned_and_has_every_hash() -> None:
    """The installer may choose any of the files."""
    assert selection.lines(select((package("a"),), "main"), frozenset())[1:] == [f"a==1.0{HASHES}"]


def test_a_package_is_in_the_list_of_each_of_its_groups() -> None:
    """A distribution that main and dev both need is installed with either."""
    assert chosen(package("a", groups=["main", "dev"]), package("b", groups=["dev"])) == {
        "main": ["a 1.0"],
        "dev": ["a 1.0", "b 1.0"],
    }


@pytest.mark.parametrize(
    ("markers", "main", "dev"),
    [
        ("sys_platform == 'win32'", "sys_platform == 'win32'", "sys_platform == 'win32'"),
        ({"dev": "python_version < '3.15'"}, "", "python_version < '3.15'"),
    ],
)
def test_a_requirement_has_the_marker_of_its_group(markers: object, main: str, dev: str) -> None:
    """The lock has a string for all groups, or a table by group."""
    lock = {"package": [package("a", groups=["main", "dev"], markers=markers)]}
    assert [one.marker for one in poetry.requirements(lock, ["main", "dev"])] == [main, dev]


# By case: what Poetry 2.5 writes into the lock, and the groups with which `poetry install` then installs the package
# (test_lock.py of the Engine's tests compares a lock of these with the real one).
CASES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "no marker": ({}, ["main", "dev"]),
    "another platform": ({"markers": 'sys_platform == "win32"'}, []),
    "this platform": ({"markers": 'sys_platform == "linux" and platform_machine == "x86_64"'}, ["main", "dev"]),
    "an older Python": ({"markers": 'python_version < "3.13"'}, []),
    "this Python": ({"markers": 'python_full_version >= "3.13.0"'}, ["main", "dev"]),
    "main on another platform, dev here": ({"markers": {"main": 'sys_platform == "win32"'}}, ["dev"]),
    "main here, dev with an older Python": ({"markers": {"dev": 'python_version < "3.12"'}}, ["main"]),
    "each under its own": (
        {"markers": {"main": 'os_name == "nt"', "dev": 'os_name == "nt" or python_version >= "3.13"'}},
        ["dev"],
    ),
    "main by an extra, dev plainly": ({"markers": {"main": 'extra == "client"'}}, ["dev"]),
    "main by an extra and a Python": (
        {"markers": {"main": 'extra == "client" and python_version < "3.15"', "dev": 'python_version < "3.15"'}},
        ["dev"],
    ),
    "main by an extra or here": ({"markers": 'extra == "client" or sys_platform == "linux"'}, ["main", "dev"]),
    "an extra alone": ({"groups": ["main"], "optional": True, "markers": 'extra == "fast"'}, []),
    "two extras": ({"groups": ["main"], "optional": True, "markers": 'extra == "a" or extra == "b"'}, []),
    # Poetry calls this one optional as well, and installs it.
    "but for an extra": ({"groups": ["main"], "optional": True, "markers": 'extra != "cuda"'}, ["main"]),
}


@pytest.mark.parametrize("case", CASES)
def test_requirements_are_selected_by_their_markers(case: str) -> None:
    """Markers are evaluated for this interpreter and platform, without an extra of the project."""
    settings, groups = CASES[case]
    assert list(chosen(package("a", **({"groups": ["main", "dev"]} | settings)))) == groups


def test_the_version_for_the_environment_is_selected() -> None:
    """The lock may have another version for each Python."""
    older = package("a", version="1.0", markers='python_version < "3.13"')
    newer = package("a", version="2.0", groups=["main", "dev"], markers='python_version >= "3.13"')
    assert chosen(older, newer) == {"main": ["a 2.0"], "dev": ["a 2.0"]}
    assert chosen(older, newer, python_version="3.12", python_full_version="3.12.1") == {"main": ["a 1.0"]}


def test_selected_requirements_have_no_marker() -> None:
    """The installer evaluates no marker again."""
    found = select((package("a", markers='sys_platform == "linux"'),), "main")
    assert [one.marker for one in found] == [""]


def test_two_versions_for_one_environment_are_refused() -> None:
    """Poetry never locks them, but a merge of two locks may have them, also in two groups of one environment."""
    with pytest.raises(ValueError, match=r"it has a 1\.0 and 2\.0 for one environment"):
        select((package("a", version="1.0"), package("a", version="2.0", groups=["dev"])), "main", "dev")


def test_two_spellings_of_a_name_are_one_distribution() -> None:
    """A lock that was edited may have both."""
    with pytest.raises(ValueError, match=r"it has A\.B 1\.0 and 2\.0 for one environment"):
        chosen(package("a_b"), package("A.B", version="2.0"))


@pytest.mark.parametrize(
    "settings",
    [
        {"name": "a\n--index-url https://index.example"},
        {"name": "a ; python_version < '4'"},
        {"name": "--requirement"},
        {"version": "1.0\nb==2 --hash=sha256:bb"},
        {"version": "1.0 @ https://index.example/a.whl"},
        {"files": [{"file": "a.whl", "hash": "sha256:aa\n--no-binary :all:"}]},
    ],
)
def test_a_distribution_cannot_add_to_the_list_of_the_installer(settings: dict[str, Any]) -> None:
    """Otherwise the installer would read more than the judge."""
    with pytest.raises(ValueError, match=r" must have hashes \(got none, or other text\)\. To fix it: "):
        chosen(package("a") | settings)


@pytest.mark.parametrize("marker", ["sys_platform ==", 'sys_platform ~= "linux"', 'python_version < "3.13" and'])
def test_a_marker_that_cannot_be_evaluated_is_refused(marker: str) -> None:
    """The marker has a syntax error, or compares values that are not versions as versions."""
    with pytest.raises(ValueError, match=r"the marker of a==1\.0 must be one that can be evaluated here"):
        chosen(package("a", markers=marker))


def test_a_distribution_without_a_hash_is_refused() -> None:
    """A commit of a git repository has no hash in the lock."""
    source = {"type": "git", "url": "https://git.example/a"}
    with pytest.raises(ValueError, match=r"a==1\.0 must come from a package index \(got git\)"):
        chosen(package("a", source=source))


def test_another_index_is_listed_where_a_group_needs_it() -> None:
    """Poetry calls any index beside its default `legacy`; lists of groups that need none of its files leave it out."""
    source = {"type": "legacy", "url": "https://index.example/simple"}
    packages = (package("a", source=source), package("b", groups=["dev"]))
    found = {group: selection.lines(select(packages, group), frozenset())[1:] for group in ("main", "dev")}
    assert found["main"][0] == "--extra-index-url https://index.example/simple"
    assert [line.split("==")[0] for lines in found.values() for line in lines[-1:]] == ["a", "b"]


def test_an_index_with_credentials_is_refused() -> None:
    """Lists and layers would contain them."""
    source = {"type": "legacy", "url": "https://user:hunter2@index.example/simple"}
    with pytest.raises(ValueError, match=r"^the address of the index index\.example must not contain credentials"):
        chosen(package("a", source=source))


TAGS = frozenset({Tag("cp313", "cp313", "manylinux_2_17_x86_64"), Tag("py3", "none", "any")})


def files(*names: str) -> list[dict[str, str]]:
    """Return files as poetry.lock has them."""
    return [{"file": name, "hash": "sha256:aa"} for name in names]


def refused(*packages: dict[str, Any]) -> dict[str, list[str]]:
    """Return the distributions without a wheel for this environment, by group."""
    found = {}
    for group in ("main", "dev"):
        lines = selection.lines(select(packages, group), TAGS)
        if comments := [line for line in lines if line.startswith("#")]:
            found[group] = [re.findall(r"^# (.*) has no wheel for Python", line)[0] for line in comments]
    return found


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
    """Wheels for another Python, ABI, platform or C library are not installable; source distributions never are."""
    assert refused(package("a", files=files("a-1.0.tar.gz", name))) == ({} if installable else {"main": ["a 1.0"]})


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
def test_a_distribution_that_is_not_installed_needs_no_wheel(settings: dict[str, Any], groups: set[str]) -> None:
    """Its marker, its group or an extra excludes it."""
    assert set(refused(package("a", files=files("a-1.0.tar.gz"), **settings))) == groups


def test_this_projects_own_lock_has_every_wheel() -> None:
    """The control: no distribution of a valid lock is refused."""
    selected = poetry.select(Path("poetry.lock"), selection.Wanted())
    lines = selection.lines(selected.everything, frozenset(sys_tags()))
    assert lines
    assert not [line for line in lines if line.startswith("#")]


def program(folder: Path, lock: str | None = None, pyproject: str | None = None) -> None:
    """Run the program as the build does, on this project's files where no others are given."""
    for name, text in (("poetry.lock", lock), ("pyproject.toml", pyproject)):
        given = Path(name).read_text(encoding="utf-8") if text is None else text
        (folder / name).write_text(given, encoding="utf-8")
    command = [sys.executable, "-m", "prodlock.inside.lock", str(folder / "poetry.lock"), str(folder)]
    subprocess.run(command, check=True, capture_output=True, text=True)


def test_the_program_marks_the_list_of_a_group_that_cannot_be_installed(tmp_path: Path) -> None:
    """Lists of other groups stay without a mark: dev does not stop production."""
    text = Path("poetry.lock").read_text(encoding="utf-8")
    entry = (
        '[[package]]\nname = "docopt"\nversion = "0.6.2"\ngroups = ["dev"]\n'
        'files = [{file = "docopt-0.6.2.tar.gz", hash = "sha256:aa"}]\n\n'
    )
    program(tmp_path, text.replace("[[package]]", f"{entry}[[package]]", 1))
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    first = {path.stem: path.read_text(encoding="utf-8").splitlines()[0] for path in tmp_path.glob("*.txt")}
    assert first["dev"].startswith(f"# docopt 0.6.2 has no wheel for Python {version} on {sys.platform}/")
    assert " To fix it: lock a version that has one" in first["dev"]
    assert not first["main"].startswith("#")


def test_the_selection_names_the_files() -> None:
    """Only a sha256 identifies a wheel."""
    files = [{"file": "a.whl", "hash": "sha256:bb"}, {"file": "a.zip", "hash": "md5:cc"}]
    assert selection.record(select((package("a", files=files),), "main")[0]) == {
        "name": "a",
        "version": "1.0",
        "sha256": ["bb"],
    }


def test_a_lock_pins_names_with_versions() -> None:
    """The distributions are those of a group, for all environments."""
    text = '[[package]]\nname = "{0}"\nversion = "1"\ngroups = {1}\nmarkers = "python_version < \'3\'"\n'
    lock = text.format("a", ["main", "dev"]) + text.format("b", ["dev"])
    assert selection.pinned("poetry.lock", lock) == {"a 1"}
    assert selection.pinned("poetry.lock", lock, ["dev"]) == {"a 1", "b 1"}


@pytest.mark.parametrize("text", ["", "<<<<<<< HEAD\n", '[[package]]\nname = "a"\nversion = "1"\n'])
def test_an_invalid_lock_pins_nothing(text: str) -> None:
    """The file is empty, has a merge conflict, or is a lock of a Poetry before 2.0."""
    with pytest.raises((ValueError, KeyError)):
        selection.pinned("poetry.lock", text)


def test_the_program_reads_this_projects_own_lock(tmp_path: Path) -> None:
    """As in the build."""
    program(tmp_path)
    document = json.loads((tmp_path / "selection.json").read_text())
    assert document["lock"] == hashlib.sha256(Path("poetry.lock").read_bytes()).hexdigest()
    names = {group: {one["name"] for one in listed} for group, listed in document["groups"].items()}
    assert names.keys() == {"main", "dev"}
    assert "fastapi" in names["main"]
    assert "pytest" in names["dev"]
    # What main has is not listed again, and colorama is for Windows.
    assert not names["dev"] & (names["main"] | {"colorama"})


@pytest.mark.parametrize(
    ("entry", "error"),
    [
        ("", "it names no groups, which Poetry 2 writes. To fix it: run `inv poetry -- lock`."),
        ('groups = ["main"]\nmarkers = "x"\n', "the marker of a==1 must be one that can be evaluated here (got: "),
    ],
)
def test_a_lock_that_cannot_be_installed_is_an_error_message(tmp_path: Path, entry: str, error: str) -> None:
    """A lock of a Poetry before 2.0 has no groups; a marker may be damaged."""
    hashed = poetry.content_hash({})
    text = f'[[package]]\nname = "a"\nversion = "1"\nfiles = []\n{entry}[metadata]\ncontent-hash = "{hashed}"\n'
    with pytest.raises(subprocess.CalledProcessError) as failed:
        program(tmp_path, text, "")
    assert failed.value.returncode == 1
    assert failed.value.stderr.startswith(f"poetry.lock can't be installed: {error}")
    assert "Traceback" not in failed.value.stderr


PYPROJECT = """
[project]
name = "a"
version = "1"
requires-python = ">=3.11"
dependencies = ["x"]
[project.optional-dependencies]
e = ["y"]
[dependency-groups]
dev = ["z"]
[tool.poetry]
package-mode = false
[tool.poetry.group.g.dependencies]
w = "*"
"""
# By edit: the text that is replaced, its replacement, and whether the lock is stale afterwards.
EDITS = {
    "nothing": ("", "", False),
    "the version": ('version = "1"', 'version = "2"', False),
    "a description": ('version = "1"', 'version = "1"\ndescription = "d"', False),
    "a setting of another tool": ("[tool.poetry]", "[tool.ruff]\nline-length = 120\n[tool.poetry]", False),
    "another setting of Poetry": ("package-mode = false", "package-mode = true", False),
    "a comment": ('dependencies = ["x"]', 'dependencies = ["x"] # needed', False),
    "a dependency": ('dependencies = ["x"]', 'dependencies = ["x", "y"]', True),
    "an extra": ('e = ["y"]', 'e = ["y", "x"]', True),
    "a group": ('dev = ["z"]', 'dev = ["z", "x"]', True),
    "a group of Poetry's": ('w = "*"', 'w = "^1"', True),
    "the Python": (">=3.11", ">=3.12", True),
    "an index": ("[tool.poetry]\n", '[tool.poetry]\nsource = [{name = "i", url = "https://index.example"}]\n', True),
}


@pytest.mark.parametrize("edit", EDITS)
def test_a_lock_is_fresh_until_a_dependency_changes(edit: str) -> None:
    """The Engine's tests compare the same edits with the real Poetry."""
    old, new, stale = EDITS[edit]
    assert old in PYPROJECT
    lock = f'[metadata]\ncontent-hash = "{poetry.content_hash(tomllib.loads(PYPROJECT))}"\n'
    assert poetry.is_fresh(tomllib.loads(PYPROJECT.replace(old, new, 1)), lock) != stale


def test_the_lock_of_an_older_poetry_does_not_cover_groups() -> None:
    """A lock of a Poetry before 2.3 is fresh whatever the groups are; one of a newer Poetry is not."""
    parsed = tomllib.loads(PYPROJECT)
    body = f'[metadata]\ncontent-hash = "{poetry.content_hash(parsed, with_groups=False)}"\n'
    for version, fresh in (("2.2.1", True), ("1.8.5", True), ("2.3.0", False), ("10.0.0", False)):
        comment = f"# This file is automatically @generated by Poetry {version} and should not be changed by hand.\n"
        assert poetry.is_fresh(parsed, comment + body) == fresh


@pytest.mark.parametrize("lock", ["", "[metadata]\n"])
def test_a_lock_without_a_content_hash_is_stale(lock: str) -> None:
    """Such a lock does not state what it was made from."""
    assert not poetry.is_fresh(tomllib.loads(PYPROJECT), lock)


def test_this_projects_own_lock_is_fresh() -> None:
    """Its content hash was written by Poetry."""
    pyproject = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))
    assert poetry.is_fresh(pyproject, Path("poetry.lock").read_text(encoding="utf-8"))


def test_the_program_refuses_a_stale_lock(tmp_path: Path) -> None:
    """The message is Poetry's own, and no list is written."""
    text = Path("pyproject.toml").read_text(encoding="utf-8")
    with pytest.raises(subprocess.CalledProcessError) as failed:
        program(tmp_path, None, text.replace('requires-python = ">=3.13,', 'requires-python = ">=3.12,'))
    assert failed.value.stderr == "pyproject.toml changed significantly since poetry.lock was last generated\n"
    assert not [*tmp_path.glob("*.txt")]


def test_a_pyproject_that_is_not_toml_is_an_error_message(tmp_path: Path) -> None:
    """The message repeats the parser's error, without a traceback."""
    with pytest.raises(subprocess.CalledProcessError) as failed:
        program(tmp_path, None, "[project\n")
    assert failed.value.stderr.startswith("pyproject.toml must be valid TOML (got: ")
