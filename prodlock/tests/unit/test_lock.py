"""Locks of the real tools: what is selected of them is what the tool that owns the format exports."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import packaging.markers
import pytest
from packaging.requirements import Requirement as Line

from prodlock.inside.lock import poetry, pylock, requirements, selection, uv

LOCKS = Path(__file__).parent / "locks"
ROOT = Path(__file__).parents[3]
HERE = packaging.markers.default_environment()
# In each the locks select something else.
ENVIRONMENTS: dict[str, Mapping[str, str]] = {
    "the image": {"sys_platform": "linux", "python_version": "3.13", "python_full_version": "3.13.5"},
    "an older Python": {"sys_platform": "linux", "python_version": "3.11", "python_full_version": "3.11.9"},
    "Windows": {"sys_platform": "win32", "os_name": "nt", "python_version": "3.13", "python_full_version": "3.13.5"},
    "macOS": {"sys_platform": "darwin", "python_version": "3.12", "python_full_version": "3.12.1"},
}
# By case: the lock, what is configured, and the exports of main and of both.
BOTH = ("client", "fast")
Case = tuple[str, selection.Wanted, str, str]
CASES: dict[str, Case] = {
    "poetry": ("poetry/poetry.lock", selection.Wanted(), "main", "dev"),
    "poetry, extras and a group": ("poetry/poetry.lock", selection.Wanted(("main", "jobs"), BOTH), "more", ""),
    "uv": ("uv/uv.lock", selection.Wanted(), "main", "dev"),
    "uv, an extra and a group": ("uv/uv.lock", selection.Wanted(("main", "jobs"), ("all",)), "more", ""),
    "uv, a member": ("uv/uv.lock", selection.Wanted(extras=("fast",), package="backend"), "backend", ""),
    "pylock": (
        "pylock/pylock.toml",
        selection.Wanted(extras=BOTH, dev_lock=LOCKS / "pylock/pylock.dev.toml"),
        "main",
        "dev",
    ),
    "requirements": (
        "requirements/requirements.txt",
        selection.Wanted(extras=BOTH, dev_lock=LOCKS / "requirements/requirements-dev.txt"),
        "main",
        "dev",
    ),
}


def variables(changed: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of markers, those of this interpreter but for some."""
    return {name: str(value) for name, value in HERE.items()} | dict(changed)


def exported(lock: str, name: str) -> set[str]:
    """Return name and version of each distribution of an export that this environment needs."""
    text = (LOCKS / lock).with_name("exported").joinpath(f"{name}.txt").read_text(encoding="utf-8")
    lines = [Line(line) for line in text.splitlines()]
    return {f"{line.name}{line.specifier}" for line in lines if not line.marker or line.marker.evaluate()}


def names(listed: Sequence[selection.Requirement]) -> set[str]:
    """Return name and version of each distribution."""
    return {f"{one.name}=={one.version}" for one in listed}


@pytest.mark.parametrize("environment", ENVIRONMENTS)
@pytest.mark.parametrize("case", CASES)
def test_the_selection_is_what_the_owning_tool_exports(
    case: str, environment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With extras, groups, markers of platforms and Pythons, and two versions of one distribution."""
    monkeypatch.setattr(packaging.markers, "default_environment", lambda: HERE | ENVIRONMENTS[environment])  # type: ignore[operator]
    lock, wanted, main, dev = CASES[case]
    selected = selection.reader(lock).select(LOCKS / lock, wanted)
    assert names(selected.main) == exported(lock, main)
    if dev:
        assert names(selected.everything) == exported(lock, dev)
        assert names(selected.everything) > names(selected.main)
    assert selected.inputs == ("fresh" if lock.endswith(".lock") else "consistent")


@pytest.mark.parametrize("environment", ENVIRONMENTS)
@pytest.mark.parametrize("case", CASES)
def test_a_given_environment_selects_what_its_interpreter_selects(
    case: str, environment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`prodlock verify` reads a lock for an image on a host with another Python or system."""
    lock, wanted, main, dev = CASES[case]
    # Markers are evaluated with all variables given: none is of this interpreter.
    monkeypatch.setattr(packaging.markers, "default_environment", lambda: dict.fromkeys(HERE, "0"))
    given = wanted._replace(environment=variables(ENVIRONMENTS[environment]))
    selected = selection.reader(lock).select(LOCKS / lock, given)
    monkeypatch.setattr(packaging.markers, "default_environment", lambda: HERE | ENVIRONMENTS[environment])  # type: ignore[operator]
    assert names(selected.main) == exported(lock, main)
    assert not dev or names(selected.everything) == exported(lock, dev)


@pytest.mark.parametrize("kind", ["uv", "pylock"])
def test_a_lock_for_another_python_than_the_given_one_is_refused(kind: str) -> None:
    """By its requires-python."""
    lock = LOCKS / kind / LOCK_OF[kind]
    older = variables({"python_version": "3.9", "python_full_version": "3.9.1"})
    with pytest.raises(ValueError, match=r"it must be for (Python 3\.9\.1|this environment)"):
        selection.reader(lock.name).select(lock, selection.Wanted(environment=older))


def copied(tmp_path: Path, kind: str) -> Path:
    """Return a copy of a project with a lock."""
    return Path(shutil.copytree(LOCKS / kind, tmp_path / kind))


def run(lock: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the program as the build does, and write the lists beside the lock."""
    command = [sys.executable, "-m", "prodlock.inside.lock", *options, str(lock), str(lock.parent / "out")]
    return subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)


LOCK_OF = {
    "poetry": "poetry.lock",
    "uv": "uv.lock",
    "pylock": "pylock.toml",
    "requirements": "requirements.txt",
}


@pytest.mark.parametrize("kind", LOCK_OF)
def test_the_program_writes_lists_and_selection(tmp_path: Path, kind: str) -> None:
    """dev.txt has what development adds; the selection has the same as data."""
    lock = copied(tmp_path, kind) / LOCK_OF[kind]
    done = run(lock)
    assert done.returncode == 0, done.stderr
    document = json.loads((lock.parent / "out/selection.json").read_text())
    assert document["lock"] == selection.digest(lock, selection.dev_lock(lock))
    listed = {}
    for name, group in document["groups"].items():
        lines = (lock.parent / f"out/{name}.txt").read_text().splitlines()
        listed[name] = [line.split(" --hash=")[0] for line in lines if not line.startswith(("#", "--"))]
        assert listed[name] == [f"{one['name']}=={one['version']}" for one in group]
        assert all(one["sha256"] for one in group)
    assert any(line.startswith("pytest==") for line in listed["dev"])
    assert any(line.startswith("click==") for line in listed["main"])
    assert not {*listed["main"]} & {*listed["dev"]}


@pytest.mark.parametrize("module", ["poetry", "uv", "pylock", "requirements"])
def test_a_format_needs_its_own_module_and_the_shared_ones_only(tmp_path: Path, module: str) -> None:
    """A build step mounts the folder alone; a project's copy has the module of its format, without packages above."""
    folder = tmp_path / "prodlock/inside/lock"
    folder.mkdir(parents=True)
    for name in ("__init__", "__main__", "selection", module):
        shutil.copy(Path(selection.__file__).with_name(f"{name}.py"), folder)
    lock = copied(tmp_path, module) / LOCK_OF[module]
    command = [sys.executable, "-m", "prodlock.inside.lock", str(lock), str(tmp_path / "out")]
    done = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_host_runs_the_program_with_another_interpreter(tmp_path: Path) -> None:
    """`inv venv` runs the file: the interpreter of the new environment does not have the package."""
    lock = copied(tmp_path, "uv") / "uv.lock"
    program = str(Path(selection.__file__).with_name("__main__.py"))
    done = subprocess.run(
        [sys.executable, "-I", program, str(lock), str(tmp_path / "out")],
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("kind", LOCK_OF)
@pytest.mark.parametrize(("option", "term"), [("--group", "group"), ("--dev-group", "group"), ("--extra", "extra")])
def test_a_name_that_does_not_exist_is_refused(tmp_path: Path, kind: str, option: str, term: str) -> None:
    """The message lists those that exist."""
    done = run(copied(tmp_path, kind) / LOCK_OF[kind], option, "absent")
    assert done.returncode == 1
    existing = "dev, jobs, lint, main" if term == "group" else ".*client.*"
    assert re.search(rf"the {term} absent must exist \(got: {existing}\)\. To fix it: ", done.stderr), done.stderr


def test_a_member_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    """The message lists the members; other formats have none."""
    done = run(copied(tmp_path, "uv") / "uv.lock", "--package=absent")
    assert "the member absent must exist (got: backend, orders, orders-lib). To fix it: " in done.stderr
    done = run(copied(tmp_path, "pylock") / "pylock.toml", "--package=backend")
    assert "`package` must name a member of a uv workspace (got 'backend' and pylock.toml)" in done.stderr


# By case: the lock, an edit of one of its files as (file, old, new), and a part of the refusal.
REFUSED: dict[str, tuple[str, str, str, str, str]] = {
    "git, poetry": (
        "poetry",
        "poetry.lock",
        r"\[\[package\]\]",
        '[[package]]\nname = "g"\nversion = "1"\ngroups = ["main"]\nfiles = []\nsource = {type = "git"}\n\n[[package]]',
        "g==1 must come from a package index (got git). To fix it: lock a release that an index serves",
    ),
    "git, uv": (
        "uv",
        "uv.lock",
        r'("click"\nversion = .*\nsource = ){.*}',
        r'\1{ git = "https://g.example/c" }',
        "click",
    ),
    "path, uv": (
        "uv",
        "uv.lock",
        r'("click"\nversion = .*\nsource = ){.*}',
        r'\1{ path = "../c.whl" }',
        "(got path)",
    ),
    "folder, uv": (
        "uv",
        "uv.lock",
        r'("click"\nversion = .*\nsource = ){.*}',
        r'\1{ directory = "../c" }',
        "(got directory)",
    ),
    "archive, pylock": (
        "pylock",
        "pylock.toml",
        r'name = "click"\n',
        'name = "click"\narchive = {url = "https://a.example/c.zip"}\n',
        " must come from a package index (got archive)",
    ),
    "git, requirements": (
        "requirements",
        "requirements.txt",
        "^click==",
        "click @ git+https://user:hunter2@g.example/c\nclick==",
        "each line must be NAME==VERSION with hashes (got 'click @ git+https://g.example/c')",
    ),
    **{
        f"{line}, requirements": ("requirements", "requirements.txt", "^click==", f"{line}\nclick==", message)
        for line, message in {
            "-e .": "(got '-e .'). To fix it: remove the line: `sources` of [tool.prodlock] ships",
            "--editable=libs/x": "To fix it: remove the line: `sources` of [tool.prodlock] ships",
            "./libs/x": "To fix it: remove the line: `sources` of [tool.prodlock] ships",
            ".[fast]": "To fix it: remove the line: `sources` of [tool.prodlock] ships",
            "-r x.txt": "(got '-r x.txt'). To fix it: lock all files into one list",
            "-c constraints.txt": "(got '-c constraints.txt'). To fix it: lock with the constraints",
            "--no-index": "(got '--no-index'). To fix it: remove the option",
        }.items()
    },
    "a range": ("requirements", "requirements.txt", "^click==", "click>=", "each line must be NAME==VERSION"),
    "no hash, requirements": ("requirements", "requirements.txt", "^click==", "a==1\nclick==", "a==1 must have hashes"),
    "no hash, uv": ("uv", "uv.lock", r'(click-[^"]*whl", )hash = "[^"]*", ', r"\1", "must have hashes (got none, or"),
    "no hash, pylock": ("pylock", "pylock.toml", r"hashes = { sha256 = .*? }", "hashes = {}", "must have hashes"),
    "an old uv.lock": (
        "uv",
        "uv.lock",
        r"\Aversion = 1",
        "version = 0",
        "its version must be 1 (got 0). To fix it: run",
    ),
    "another version of PEP 751": (
        "pylock",
        "pylock.toml",
        'lock-version = "1.0"',
        'lock-version = "2.0"',
        "its lock-version must be 1.0 (got 2.0). To fix it: ",
    ),
    "another Python, pylock": ("pylock", "pylock.toml", 'python = ">=3.11', 'python = ">=3.99', "this environment"),
    "credentials, requirements": (
        "requirements",
        "requirements.txt",
        r"\A",
        "--extra-index-url https://user:hunter2@i.example/simple\n",
        "the address of the index i.example must not contain credentials",
    ),
    "credentials, pylock": (
        "pylock",
        "pylock.toml",
        r'index = "https://',
        'index = "https://user:hunter2@',
        "the address of the index index.example must not contain credentials",
    ),
    "two versions": (
        "requirements",
        "requirements.txt",
        "^click==(.*)",
        r"click==0.1 --hash=sha256:00\nclick==\1",
        "0.1",
    ),
    "a requirement that is not met": (
        "pylock",
        "pyproject.toml",
        '"click>=8"',
        '"click>=99"',
        "it must have a version of 'click>=99' of pyproject.toml (got version",
    ),
    "a requirement that is absent": (
        "requirements",
        "pyproject.toml",
        '"click>=8"',
        '"click>=8", "flask"',
        "it must have a version of 'flask' of pyproject.toml (got none). To fix it: lock again.",
    ),
    "a merge conflict": ("uv", "uv.lock", r"\A", "<<<<<<< HEAD\n", "uv.lock can't be installed: "),
}


@pytest.mark.parametrize(
    ("kind", "package"),
    [
        (
            "poetry",
            'name = "g"\nversion = "1"\ngroups = ["main"]\nfiles = []\nmarkers = "{}"\nsource = {{type = "git"}}\n',
        ),
        ("pylock", 'name = "g"\nmarker = "{}"\nvcs = {{type = "git", url = "https://g.example/g"}}\n'),
    ],
)
def test_a_distribution_of_another_environment_may_come_from_anywhere(tmp_path: Path, kind: str, package: str) -> None:
    """Only what is installed must come from a package index."""
    lock = copied(tmp_path, kind) / LOCK_OF[kind]
    text = lock.read_text(encoding="utf-8")
    table = "[[package]]" if kind == "poetry" else "[[packages]]"
    for marker, code in (("sys_platform == 'win32'", 0), ("extra == 'other'", 0), ("sys_platform != 'win32'", 1)):
        lock.write_text(text.replace(table, f"{table}\n{package.format(marker)}\n{table}", 1), encoding="utf-8")
        done = run(lock)
        assert (done.returncode, "must come from a package index" in done.stderr) == (code, bool(code)), done.stderr


@pytest.mark.parametrize("case", REFUSED)
def test_a_lock_that_cannot_be_installed_is_refused(tmp_path: Path, case: str) -> None:
    """One message, without a traceback and without a password; no list is written."""
    kind, name, old, new, message = REFUSED[case]
    folder = copied(tmp_path, kind)
    text = (folder / name).read_text(encoding="utf-8")
    changed, count = re.subn(old, new, text, count=1, flags=re.MULTILINE)
    assert count
    (folder / name).write_text(changed, encoding="utf-8")
    done = run(folder / LOCK_OF[kind])
    assert done.returncode == 1, done.stdout
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert "hunter2" not in done.stderr
    assert not (folder / "out").exists()


# A project with conflicting groups, of which another group includes one, and its lock as uv 0.13 writes it.
CONFLICTING = """[project]
name = "shop"
version = "1"
requires-python = ">=3.11"
[dependency-groups]
g_1 = []
new = []
all = [{include-group = "new"}]
[tool.uv]
environments = "sys_platform == 'linux'"
conflicts = [[{group = "New"}, {package = "Shop", group = "G_1"}]]
"""
CONFLICTS = """version = 1
requires-python = ">=3.11"
supported-markers = ["sys_platform == 'linux'"]
conflicts = [[
    { package = "shop", group = "g-1" },
    { package = "shop", group = "new" },
], [
    { package = "shop", group = "all" },
    { package = "shop", group = "g-1" },
]]
[[package]]
name = "shop"
version = "1"
source = { virtual = "." }
[package.metadata.requires-dev]
all = []
g-1 = []
new = []
"""


# By edit of a workspace: the file, the text, its replacement, and what has changed, or `` for a fresh lock.
EDITS: dict[str, tuple[str, str, str, str]] = {
    "nothing": ("pyproject.toml", "", "", ""),
    "the version": ("pyproject.toml", 'version = "1.0"', 'version = "2.0"', ""),
    "spelling": ("pyproject.toml", '"Backend[fast]"', '"backend [Fast]"', ""),
    "an equal marker": ("pyproject.toml", "python_version < '3.12'", "python_full_version < '3.12.0'", ""),
    "spaces": ("pyproject.toml", "httpx ~= 0.28", "httpx~=0.28", ""),
    "a Python in between": ("pyproject.toml", '">=3.11"', '">=3.11, !=3.12.*"', ""),
    "a source for another extra": (
        "pyproject.toml",
        "[tool.uv.sources]",
        '[tool.uv.sources]\nhttpx = [{index = "x", extra = "all"}]\ncodespell = {index = "x", group = "jobs"}',
        "",
    ),
    "a source for an extra": (
        "pyproject.toml",
        "[tool.uv.sources]",
        '[tool.uv.sources]\nhttpx = [{index = "x", extra = "client"}]',
        "the extra client of orders",
    ),
    "a source for a group": (
        "pyproject.toml",
        "[tool.uv.sources]",
        '[tool.uv.sources]\ntyping-extensions = [{index = "x", group = "jobs"}]',
        "the group jobs",
    ),
    "an exclusion": (
        "pyproject.toml",
        "[tool.uv.work",
        '[tool.uv]\nexclude-dependencies = ["certifi"]\n[tool.uv.work',
        "exclude-dependencies of [tool.uv]",
    ),
    "the resolution": (
        "pyproject.toml",
        "[tool.uv.work",
        '[tool.uv]\nresolution = "lowest-direct"\n[tool.uv.work',
        "resolution of [tool.uv]",
    ),
    "the same resolution": (
        "pyproject.toml",
        "[tool.uv.work",
        '[tool.uv]\nresolution = "highest"\nprerelease = "if-necessary-or-explicit"\n[tool.uv.work',
        "",
    ),
    "the resolution of a lock": (
        "uv.lock",
        "[manifest]\n",
        '[options]\nresolution-mode = "lowest"\n\n[manifest]\n',
        "",
    ),
    "pre-releases": (
        "pyproject.toml",
        "[tool.uv.work",
        '[tool.uv]\nprerelease = "allow"\n[tool.uv.work',
        "prerelease of [tool.uv]",
    ),
    "the strategy of forks": (
        "pyproject.toml",
        "[tool.uv.work",
        '[tool.uv]\nfork-strategy = "fewest"\n[tool.uv.work',
        "fork-strategy of [tool.uv]",
    ),
    "a last day": (
        "pyproject.toml",
        "[tool.uv.work",
        '[tool.uv]\nexclude-newer = "2026-01-01"\n[tool.uv.work',
        "exclude-newer of [tool.uv]",
    ),
    "the metadata of a distribution": (
        "pyproject.toml",
        "[tool.uv.work",
        '[[tool.uv.dependency-metadata]]\nname = "httpx"\nrequires-dist = ["certifi"]\n[tool.uv.work',
        "dependency-metadata of [tool.uv]",
    ),
    "an equal Python": ("pyproject.toml", '">=3.11"', '">=3.11, <4"', ""),
    "a requirement": ("pyproject.toml", '"Backend[fast]"', '"Backend[fast]", "flask"', "a requirement of orders"),
    "a specifier": ("pyproject.toml", "httpx ~= 0.28", "httpx ~= 0.27", "the extra client of orders"),
    "a marker": ("pyproject.toml", "sys_platform == 'win32'", "sys_platform == 'darwin'", "a requirement of orders"),
    "an extra of a requirement": ("pyproject.toml", "Backend[fast]", "Backend", "a requirement of orders"),
    "a new extra": ("pyproject.toml", "client = [", "x = []\nclient = [", "the extras of orders"),
    "a group": ("pyproject.toml", "pytest>=8", "pytest>=9", "the group dev"),
    "a group that another includes": ("pyproject.toml", '"codespell"', '"codespell", "ruff"', "the group"),
    "the Python": ("pyproject.toml", '">=3.11"', '">=3.12"', "requires-python"),
    "a source": ("pyproject.toml", "backend = {workspace = true}", "", "a requirement of orders"),
    "the Python of a group": (
        "pyproject.toml",
        "[tool.uv.work",
        '[tool.uv.dependency-groups]\ndev = {requires-python = ">=3.12"}\n[tool.uv.work',
        "the group dev",
    ),
    "a constraint": (
        "pyproject.toml",
        "[tool.uv.work",
        '[tool.uv]\nconstraint-dependencies = ["idna<3"]\n[tool.uv.work',
        "constraint",
    ),
    "conflicts": (
        "pyproject.toml",
        "[tool.uv.work",
        '[tool.uv]\nconflicts = [[{extra = "client"}, {group = "dev"}]]\n[tool.uv.work',
        "conflicts of [tool.uv]",
    ),
    "a member's conflicts": (
        "backend/pyproject.toml",
        "[project]",
        '[tool.uv]\nconflicts = [[{extra = "fast"}, {package = "orders", extra = "client"}]]\n[project]',
        "conflicts of [tool.uv]",
    ),
    "the environments": (
        "pyproject.toml",
        "[tool.uv.work",
        "[tool.uv]\nenvironments = [\"sys_platform == 'linux'\"]\n[tool.uv.work",
        "environments of [tool.uv]",
    ),
    "a member's requirement": ("backend/pyproject.toml", "click>=8", "click>=7", "a requirement of backend"),
    "a member's name": ("lib/pyproject.toml", '"orders-lib"', '"orders-library"', "the member orders-library"),
}


@pytest.mark.parametrize("edit", EDITS)
def test_a_uv_lock_is_fresh_until_an_input_changes(tmp_path: Path, edit: str) -> None:
    """What `uv lock --check` reports, without an index: but for a version, which installs nothing again."""
    name, old, new, changed = EDITS[edit]
    folder = copied(tmp_path, "uv")
    text = (folder / name).read_text(encoding="utf-8")
    assert old in text
    (folder / name).write_text(text.replace(old, new, 1), encoding="utf-8")
    done = run(folder / "uv.lock")
    if changed:
        assert f"uv.lock must match pyproject.toml (got one generated before {changed}" in done.stderr
        assert "To fix it: run `inv uv -- lock`" in done.stderr
    assert (done.returncode != 0) == bool(changed), done.stderr


def test_settings_of_a_uv_lock_are_compared_by_their_meaning(tmp_path: Path) -> None:
    """Names and markers of exclusions and of stated metadata have another form in the lock."""
    folder = copied(tmp_path, "uv")
    recorded = """excludes = ["typing-extensions"]
dependency-metadata = [
    { name = "idna", version = "3.6", requires-dist = ["click>=8 ; python_full_version < '3.14'"] },
    { name = "sniffio" },
]
"""
    declared = """
[[tool.uv.dependency-metadata]]
name = "Sniffio"
requires-dist = []

[[tool.uv.dependency-metadata]]
name = "idna"
version = "3.6"
requires-dist = ["Click >= 8; python_version<'3.14'"]

[tool.uv]
exclude-dependencies = ["Typing_Extensions"]
"""
    for name, old, new in (("uv.lock", "[manifest]\n", f"[manifest]\n{recorded}"), ("pyproject.toml", "", declared)):
        text = (folder / name).read_text(encoding="utf-8")
        changed = text.replace(old, new, 1) if old else text + new
        (folder / name).write_text(changed, encoding="utf-8")
    done = run(folder / "uv.lock")
    assert done.returncode == 0, done.stderr


def test_conflicts_of_a_uv_lock_are_compared_by_their_meaning(tmp_path: Path) -> None:
    """Their order and the spelling of names do not matter; uv adds those of groups that include a declared one."""
    (tmp_path / "uv.lock").write_text(CONFLICTS, encoding="utf-8")
    file = tmp_path / "pyproject.toml"
    file.write_text(CONFLICTING, encoding="utf-8")
    assert run(tmp_path / "uv.lock").returncode == 0
    declared = 'conflicts = [[{group = "New"}, {package = "Shop", group = "G_1"}]]'
    assert declared in CONFLICTING
    for changed in ("", declared.replace("New", "all"), declared.replace("]]", ', {group = "all"}]]')):
        file.write_text(CONFLICTING.replace(declared, changed), encoding="utf-8")
        assert "before conflicts of [tool.uv] changed" in run(tmp_path / "uv.lock").stderr, changed
    file.write_text(CONFLICTING.replace("'linux'", "'win32'"), encoding="utf-8")
    assert "before environments of [tool.uv] changed" in run(tmp_path / "uv.lock").stderr


def test_a_new_member_makes_a_uv_lock_stale(tmp_path: Path) -> None:
    """Its folder matches a pattern of the workspace."""
    folder = copied(tmp_path, "uv")
    text = (folder / "pyproject.toml").read_text(encoding="utf-8")
    (folder / "pyproject.toml").write_text(text.replace('"lib"]', '"li*"]'), encoding="utf-8")
    assert run(folder / "uv.lock").returncode == 0
    shutil.copytree(folder / "lib", folder / "lite")
    member = folder / "lite/pyproject.toml"
    member.write_text(member.read_text(encoding="utf-8").replace("orders-lib", "lite"), encoding="utf-8")
    assert "(got one generated before the member lite changed)" in run(folder / "uv.lock").stderr
    with member.open("a", encoding="utf-8") as file:
        file.write("[tool.uv]\nmanaged = false\n")
    assert run(folder / "uv.lock").returncode == 0


def test_a_lock_of_an_older_uv_does_not_record_extras(tmp_path: Path) -> None:
    """It is fresh until a requirement of an extra changes."""
    folder = copied(tmp_path, "uv")
    lock, file = folder / "uv.lock", folder / "pyproject.toml"
    text, count = re.subn(r"^provides-extras = .*\n", "", lock.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert count
    lock.write_text(text, encoding="utf-8")
    assert run(lock, "--extra=client").returncode == 0
    file.write_text(file.read_text(encoding="utf-8").replace("httpx ~= 0.28", "httpx ~= 0.27"), encoding="utf-8")
    assert "before the extra client of orders changed" in run(lock).stderr


def test_a_group_is_limited_to_its_python() -> None:
    """As uv locks it: also what the group includes, but not the included group itself."""
    table = {
        "dependency-groups": {
            "Dev": ["a>=1 ; os_name == 'x' or os_name == 'y'", {"include-group": "lint"}],
            "lint": ["b"],
        },
        "tool": {"uv": {"dependency-groups": {"dev": {"requires-python": ">=3.12,<4"}}}},
    }
    markers = [Line(one).marker for one in selection.group(table, "dev")]
    assert [*selection.group(table, "lint")] == ["b"]
    for python, expected in (("3.11.9", False), ("3.12.0", True), ("4.0.0", False)):
        environment = {"python_full_version": python, "os_name": "y"}
        assert [one and one.evaluate(environment) for one in markers] == [expected, expected]


def test_requirements_that_a_backend_computes_are_not_compared(tmp_path: Path) -> None:
    """The selection states so."""
    folder = copied(tmp_path, "pylock")
    text = (folder / "pyproject.toml").read_text(encoding="utf-8")
    dynamic = re.sub(r"dependencies = \[.*?\n\]", 'dynamic = ["dependencies"]', text, count=1, flags=re.DOTALL)
    (folder / "pyproject.toml").write_text(dynamic, encoding="utf-8")
    wanted = selection.Wanted(dev_lock=folder / "pylock.dev.toml")
    assert pylock.select(folder / "pylock.toml", wanted).inputs == "unknown"
    (folder / "pyproject.toml").unlink()
    assert pylock.select(folder / "pylock.toml", wanted).inputs == "unknown"


def test_a_group_that_poetry_installs_and_no_image_has_is_reported(tmp_path: Path) -> None:
    """A group that a configured one includes is installed with it."""
    folder = copied(tmp_path, "poetry")
    done = run(folder / "poetry.lock")
    assert done.returncode == 0
    assert done.stderr.startswith(
        "The group jobs of poetry.lock is installed in no image. To fix it: name it in `groups`"
    )
    assert json.loads((folder / "out/selection.json").read_text())["unused"] == ["jobs"]
    assert run(folder / "poetry.lock", "--group=main", "--group=jobs").stderr == ""


def test_a_group_that_poetry_includes_is_not_reported(tmp_path: Path) -> None:
    """Poetry's `include-groups` installs a group with the one that includes it, through several of them."""
    text = """[tool.poetry]
package-mode = false
[tool.poetry.group.dev]
include-groups = ["Lint_1"]
[tool.poetry.group.lint-1]
include-groups = ["test"]
[tool.poetry.group.test.dependencies]
pytest = "*"
[tool.poetry.group.jobs.dependencies]
celery = "*"
"""
    (tmp_path / "pyproject.toml").write_text(text, encoding="utf-8")
    hashed = selection.reader("poetry.lock").content_hash(tomllib.loads(text))
    (tmp_path / "poetry.lock").write_text(f'[metadata]\ncontent-hash = "{hashed}"\n', encoding="utf-8")
    done = run(tmp_path / "poetry.lock")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "out/selection.json").read_text())["unused"] == ["jobs"]


def test_indexes_of_each_format_are_listed() -> None:
    """The default one of the user that locked is not: INDEX_URL replaces it."""
    pylocked = pylock.select(LOCKS / "pylock/pylock.toml", CASES["pylock"][1])
    assert selection.lines(pylocked.main, frozenset())[-len(pylocked.main) - 1] == (
        "--extra-index-url https://index.example/simple"
    )
    text = "--extra-index-url https://a.example/simple\n-i https://b.example/simple\nx==1 --hash=sha256:00\n"
    listed = selection.lines(requirements.requirements(text), frozenset())
    assert listed[:2] == ["--extra-index-url https://a.example/simple", "--extra-index-url https://b.example/simple"]
    assert {one.address for one in uv.select(LOCKS / "uv/uv.lock", selection.Wanted()).main} == {""}


def test_an_index_of_uv_is_listed_where_pyproject_names_it(tmp_path: Path) -> None:
    """Its credentials are not in the lock, and are refused in pyproject.toml."""
    folder = copied(tmp_path, "uv")
    file = folder / "pyproject.toml"
    text = file.read_text(encoding="utf-8")
    file.write_text(f'{text}\n[[tool.uv.index]]\nurl = "https://index.example/simple/"\n', encoding="utf-8")
    selected = uv.select(folder / "uv.lock", selection.Wanted())
    assert {one.address for one in selected.main} == {"https://index.example/simple/"}
    file.write_text(f'{text}\n[[tool.uv.index]]\nurl = "https://u:p@index.example/simple"\n', encoding="utf-8")
    with pytest.raises(ValueError, match=r"the index index\.example must not contain credentials"):
        uv.select(folder / "uv.lock", selection.Wanted())


@pytest.mark.parametrize(
    ("marker", "active", "result"),
    [
        ("extra == 'a'", {"a"}, True),
        ("extra == 'a' and extra == 'b'", {"a", "b"}, True),
        ("extra != 'a'", {"a"}, False),
        ("'a' == extra", set(), False),
        ("'A_b' in extras", {"a-b"}, True),
        ("'a' not in extras", {"a"}, False),
        ("'dev' in dependency_groups or os_name == 'none'", {"dev"}, True),
        ("extra == 'extra-6-orders-cpu' and sys_platform == 'none'", {"extra-6-orders-cpu"}, False),
    ],
)
def test_extras_and_groups_of_markers_are_evaluated(marker: str, active: set[str], result: Any) -> None:  # noqa: ANN401
    """Several may be installed; uv writes those that conflict with their project."""
    assert selection.holds(marker, active) == result


@pytest.mark.parametrize(
    ("marker", "result"),
    [
        ("platform_release >= '5' and platform_version != 'x'", True),
        ("sys_platform == 'none' and platform_release >= '20.0'", False),
        ("platform_release < '7' and platform_version < '10'", True),
        ("platform_release == '6.8.0-45-generic'", True),
    ],
)
def test_a_kernel_whose_release_is_not_a_version_is_compared_as_a_text(
    monkeypatch: pytest.MonkeyPatch,
    marker: str,
    result: bool,  # noqa: FBT001
) -> None:
    """The library of some images raises an exception for it."""
    kernel = {"platform_release": "6.8.0-45-generic", "platform_version": "#45-Ubuntu SMP"}
    assert selection.holds(marker, environment=kernel) == result
    for name in ("release", "version"):
        monkeypatch.setattr(f"platform.{name}", lambda name=name: kernel[f"platform_{name}"])
    assert selection.holds(marker) == result
    assert selection.holds("platform_release >= '5'", environment={"platform_release": "10.1"})


@pytest.mark.parametrize(
    "line", ["--pre -r more.txt", "--only-binary=:all: --index-url https://i.example/simple", "--prefer-binaries"]
)
def test_an_option_behind_an_ignored_one_is_refused(line: str) -> None:
    """Of one line pip takes several: a list, or an index, would be left out."""
    with pytest.raises(ValueError, match=re.escape(f"(got {line!r})")):
        list(requirements.requirements(f"{line}\n"))


@pytest.mark.parametrize(
    "line",
    [
        "--require-hashes", "--pre", "--prefer-binary", "--only-binary :all:", "--only-binary=a,b",
        "--trusted-host i.example", "--pre --only-binary :all:  --require-hashes",
    ],
)  # fmt: skip
def test_an_option_of_the_installer_is_ignored(line: str) -> None:
    """It changes nothing for wheels with hashes."""
    assert list(requirements.requirements(f"  {line} # as locked\n")) == []


def test_a_digest_of_a_list_is_read_without_its_case() -> None:
    """As pip compares it."""
    (one,) = requirements.requirements("a==1 --hash=sha256:00FF\n")
    assert selection.record(one)["sha256"] == ["00ff"]


def test_what_development_adds_is_found_beside_the_lock(tmp_path: Path) -> None:
    """The first name that exists counts."""
    for lock, other in (("pylock.toml", "pylock.dev.toml"), ("a.txt", "a-dev.txt"), ("b.txt", "dev-b.txt")):
        assert selection.dev_lock(tmp_path / lock) is None
        (tmp_path / other).touch()
        assert selection.dev_lock(tmp_path / lock) == tmp_path / other
    assert selection.dev_lock(tmp_path / "uv.lock") is None


@pytest.mark.parametrize(("kind", "lock"), LOCK_OF.items())
def test_a_lock_pins_names_with_versions(kind: str, lock: str) -> None:
    """For all environments, without an evaluation of markers: the host has no library for them."""
    text = (LOCKS / kind / lock).read_text(encoding="utf-8")
    found = {line.split()[0] for line in selection.pinned(lock, text)}
    assert {"annotated-types", "click", "colorama", "exceptiongroup"} <= found
    assert "pytest" not in found


def test_the_wheels_of_one_distribution_are_judged_by_their_tags() -> None:
    """The control: what no build needs is not judged."""
    one = selection.Requirement("a", "1", (("a-1.tar.gz", "sha256:00"),))
    assert selection.lines([one], frozenset())[0].startswith("# a 1 has no wheel for Python ")
    assert poetry.select(LOCKS / "poetry/poetry.lock", selection.Wanted()).inputs == "fresh"


@pytest.mark.parametrize("kind", ["pylock", "requirements"])
def test_a_lock_without_what_development_adds_is_refused(tmp_path: Path, kind: str) -> None:
    """The remedy names the second file; a project whose image has no development group needs none."""
    lock = copied(tmp_path, kind) / LOCK_OF[kind]
    further = selection.dev_lock(lock)
    assert further
    further.unlink()
    done = run(lock)
    assert done.returncode == 1
    assert (
        "it must have a version of 'pytest>=8' of pyproject.toml (got none). To fix it: lock again, and what"
        in done.stderr
    )
    assert run(lock, "--dev-group=jobs").returncode == 0
    # The name of the second file may be any.
    other = shutil.copy((LOCKS / kind / further.name), tmp_path / f"other{further.suffix}")
    assert run(lock, f"--dev-lock={other}").returncode == 0


def test_a_marker_that_cannot_be_evaluated_is_refused_in_one_line() -> None:
    """With a remedy; the library explains it in several lines."""
    one = selection.Requirement("a", "1", (("a.whl", "sha256:0"),), "unknown == 'x'")
    with pytest.raises(ValueError, match=r"^the marker of a==1 must be .* \(got: [^\n]*\)\. To fix it: lock again\.$"):
        selection.chosen([one])
