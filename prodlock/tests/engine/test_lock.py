"""Real locks of the real Poetry: what it installs, what is built, and what the checks compare with are the same."""

from __future__ import annotations

import itertools
import json
import re
import tomllib
from pathlib import Path

import pytest

from prodlock.docker import stages
from prodlock.inside.lock import poetry
from prodlock.project import Project
from prodlock.tests.engine.conftest import COPY, ROOT, check, content, docker, inv, sentence
from prodlock.tests.unit.test_poetry_lock import EDITS, PYPROJECT

SITE = "/opt/venv/lib/python3.13/site-packages"
# None of it adds to production: what another platform, another Python or an extra would need, and two versions of one
# package. dev needs httpx and pytest plainly, and certifi, which main needs for requests on Windows alone.
NEEDED = """\
    "annotated-types<0.7 ; python_version < '3.13'",
    "annotated-types>=0.7 ; python_version >= '3.13'",
    "requests ; sys_platform == 'win32'",
    "tomli ; python_version < '3.12'",
]

[project.optional-dependencies]
client = ["httpx"]
fast = ["uvloop ; sys_platform != 'win32'"]
test = ["pytest"]
"""


def installed(copy: Path, group: str) -> set[str]:
    """Return name and version of each distribution that `poetry install` would install of a group."""
    done = inv("poetry", "--", "install", "--dry-run", "--no-root", f"--only={group}", cwd=copy)
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.findall(r"^ +- Installing (\S+) \(([^)]+)\)(?!.*Skipped)", done.stdout, re.MULTILINE)
    return {f"{name} {version}" for name, version in found}


def held(reference: str) -> set[str]:
    """Return name and version of each distribution that an image has."""
    found = (re.fullmatch(rf"{SITE}/([^/]+)-([^/-]+)\.dist-info", path) for path in content(reference))
    return {f"{match[1].replace('_', '-')} {match[2]}" for match in found if match}


@pytest.fixture
def other_lock(copy: Path) -> Path:
    """A copy of the project with extras and markers, locked and built."""
    text = (copy / "pyproject.toml").read_text(encoding="utf-8")
    # Poetry leaves out what no supported Python needs.
    text = text.replace('requires-python = ">=3.13,<3.14"', 'requires-python = ">=3.11"')
    start = text.index("]\n", text.index("\ndependencies = ["))
    (copy / "pyproject.toml").write_text(text[:start] + NEEDED + text[start + 2 :], encoding="utf-8")
    locked = inv("poetry", "--", "lock", cwd=copy)
    assert locked.returncode == 0, locked.stdout + locked.stderr
    done = inv("build", cwd=copy)
    assert done.returncode == 0, done.stderr
    return copy


def test_what_poetry_installs_is_built_and_judged(other_lock: Path) -> None:
    """With extras, markers of platforms and Pythons, two versions, and packages that main and dev need otherwise."""
    packages = tomllib.loads((other_lock / "poetry.lock").read_text(encoding="utf-8"))["package"]
    markers = {package["name"]: package.get("markers", "") for package in packages if "main" in package["groups"]}
    assert markers["pytest"] == {"main": 'extra == "test"'}
    assert markers["certifi"].keys() == {"main"}
    assert 'extra == "fast"' in markers["uvloop"]
    assert "python_version" in markers["tomli"]
    assert [package["name"] for package in packages].count("annotated-types") == 2
    main, dev = installed(other_lock, "main"), installed(other_lock, "dev")
    beyond = {one.split()[0] for one in dev - main}
    assert {"certifi", "httpx", "pytest"} <= beyond

    assert held(f"{COPY}:prod") == main
    assert held(f"{COPY}:dev") == main | dev
    code, narrow = check(cwd=other_lock)
    # In particular, pytest in an extra is not pytest in main.
    assert (code, narrow["findings"]) == (0, [])
    assert set(narrow["forbidden"]) == beyond
    done = inv("check-prod", "--json", cwd=other_lock)
    whole = json.loads(done.stdout)
    assert (done.returncode, whole["findings"]) == (0, [])
    assert {f"{wheel['name']} {wheel['version']}" for wheel in whole["wheels"]} == main

    assert "httpx" in leaked(other_lock, "httpx")
    assert "certifi" in leaked(other_lock, "certifi")

    # A comment: whatever has changed in it.
    with (other_lock / "poetry.lock").open("a", encoding="utf-8") as file:
        file.write("# changed\n")
    for name in ("check-prod-has-no-pytest", "check-prod"):
        done = inv(name, cwd=other_lock)
        said = (
            f"{COPY}:dev must not be stale (got: poetry.lock has changed since). To fix it: run `inv build`, then "
            "check again."
        )
        assert (done.returncode, sentence(done)) == (2, said)
        # Nothing is built to find that out.
        assert "docker build" not in done.stderr


# What `poetry check --lock` asks, for each folder of edited files.
ACCEPTED = """
import json, sys, tomllib
from pathlib import Path
from poetry.packages.locker import Locker
print(json.dumps({
    folder.name: Locker(folder / "poetry.lock", tomllib.loads((folder / "pyproject.toml").read_text())).is_fresh()
    for folder in Path("/edits").iterdir()
}))
"""


def edited() -> dict[str, tuple[str, str]]:
    """Return pairs of a pyproject.toml and a lock: of this project, and edits of others after they were locked."""
    own = [(ROOT / name).read_text(encoding="utf-8") for name in ("pyproject.toml", "poetry.lock")]
    pairs = {"this project": (own[0], own[1])}
    bases = {
        "project": PYPROJECT,
        "Poetry 1": '[tool.poetry]\nname = "a"\nversion = "1"\n[tool.poetry.dependencies]\npython = "^3.11"\n',
        "groups": '[dependency-groups]\na = ["b"]\n',
    }
    # Before 2.3 Poetry wrote a hash without the groups.
    for base, with_groups, version in itertools.product(bases, (True, False), ("2.5.1", "2.2.1")):
        digest = poetry.content_hash(tomllib.loads(bases[base]), with_groups=with_groups)
        lock = f'# @generated by Poetry {version} and so on\n[metadata]\ncontent-hash = "{digest}"\n'
        for edit, (old, new, _) in EDITS.items():
            pairs[f"{base}, {with_groups}, {version}, {edit}"] = (bases[base].replace(old, new, 1), lock)
    return pairs


def test_a_lock_is_fresh_where_poetry_accepts_it(tmp_path: Path) -> None:
    """By Poetry's own code: unchanged files, edits that need a new lock, and edits that need none."""
    fresh = {}
    for number, (name, (pyproject, lock)) in enumerate(edited().items()):
        folder = tmp_path / f"{number} {name}"
        folder.mkdir()
        (folder / "pyproject.toml").write_text(pyproject, encoding="utf-8")
        (folder / "poetry.lock").write_text(lock, encoding="utf-8")
        fresh[folder.name] = poetry.is_fresh(tomllib.loads(pyproject), lock)
    run = (
        "run",
        "--rm",
        "--network=none",
        "--user=0",
        f"--volume={tmp_path}:/edits:ro",
        stages.build(Project(), "poetry"),
    )
    accepted = json.loads(docker(*run, "python", "-c", ACCEPTED).stdout)
    assert fresh == accepted
    assert fresh["0 this project"]
    assert 20 < sum(accepted.values()) < len(accepted) - 20


def leaked(copy: Path, name: str) -> set[str]:
    """Return what the narrow check finds in production with a package of dev's in it."""
    tag = f"{COPY}:leaky"
    recipe = f"FROM {COPY}:prod\nCOPY --from={COPY}:dev {SITE}/{name} {SITE}/{name}\n"
    docker("build", "--quiet", f"--tag={tag}", "-", input=recipe)
    try:
        code, report = check(f"--image={tag}", cwd=copy)
    finally:
        docker("rmi", tag)
    assert code == 1
    return {finding["what"] for finding in report["findings"]}
