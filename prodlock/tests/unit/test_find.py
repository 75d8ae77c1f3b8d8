"""The result of the discovery: what `prodlock init` prints and what it writes."""

from __future__ import annotations

import contextlib
import random
import subprocess
import tomllib
from pathlib import Path

import pytest

from prodlock import configuration
from prodlock.failure import Failure
from prodlock.scaffold import toml
from prodlock.scaffold.find import Found, find
from prodlock.tests.unit.existing import APP, find_in, hashed, poetry_lock

SHOP = {
    "src/shop/main.py": "from shop.db import x\n" + APP + "@app.get('/healthcheck')\ndef x(): ...\n",
    "src/shop/db.py": "import os\nos.environ['DATABASE_URL']\n",
    "poetry.lock": poetry_lock({"prod": ["gunicorn"], "dev": ["pytest"]}),
    "pyproject.toml": '[project]\nname = "shop"\nrequires-python = ">=3.12"\n[tool.poetry.group.prod.dependencies]\n'
    "[project.optional-dependencies]\nx = []\n",
    "Dockerfile": 'FROM python:3.12\nEXPOSE 8080\nCMD ["uvicorn", "shop.main:app", "--port", "8080"]\n',
    "docker-compose.yml": "services:\n  db:\n    image: postgres:17\n",
    "tests/test_x.py": "",
}
GIVEN = {
    "sources": ["src"],
    "generated": ["static"],
    "tests": ["checks"],
    "import-from": ["src"],
    "directory": "src",
    "application": "shop.main:app",
    "server": "uvicorn shop.main:app",
    "port": 1,
    "health": "/x",
    "ready": "/y",
    "lock": "poetry.lock",
    "groups": ["main"],
    "extras": ["x"],
    "dev-groups": ["prod"],
    "package": "y",
    "base": "python:3.14",
    "commands": {"a": "b"},
    "services": {"c": "d"},
    "environment": ["Z"],
}


def test_keys_that_equal_the_default_are_printed_and_not_written(tmp_path: Path) -> None:
    """Only the sources and the application are written in any case."""
    found = find_in(tmp_path, {"app/main.py": APP, "tests/test_x.py": ""})
    assert found.keys == {"sources": ["app"], "application": "app.main:app"}
    assert {"base", "port", "health", "groups", "lock", "tests", "import-from"} <= set(found.all)


def test_the_keys_are_a_valid_configuration(tmp_path: Path) -> None:
    """What is written can be read again."""
    found = find_in(tmp_path, SHOP)
    assert found.keys == {
        "application": "shop.main:app",
        "import-from": ["src"],
        "groups": ["main", "prod"],
        "port": 8080,
        "sources": ["src/shop"],
        "health": "/healthcheck",
        "base": "python:3.12-slim-trixie",
        "environment": ["DATABASE_URL"],
        "services": {"db": "postgres:17"},
    }
    configuration.parse(tomllib.loads(toml.table(found.keys))["tool"]["prodlock"])


def test_the_report_has_an_aligned_line_for_each_key_with_its_place(tmp_path: Path) -> None:
    """As TOML, with the place behind it; the notes follow."""
    found = find_in(tmp_path, SHOP)
    title, *lines = found.report
    assert title == "Found in this project:"
    rows = [line for line in lines if line.startswith("  ")]
    assert len(rows) == len(found.all)
    assert len({line.index(" = ") for line in rows}) == 1
    assert len({line.index("  # ") for line in rows}) == 1
    assert tomllib.loads("\n".join(rows)) == found.all
    assert "CMD of Dockerfile" in next(row for row in rows if row.startswith("  port"))


def test_a_long_value_is_one_line_of_the_report() -> None:
    """Its place follows it."""
    found = Found()
    found.decide("environment", [f"VARIABLE_{number}" for number in range(30)], "app/settings.py")
    assert len(found.report) == 2
    assert found.report[1].endswith('"VARIABLE_29"]  # app/settings.py')


@pytest.mark.parametrize("key", GIVEN)
def test_a_given_key_is_used_and_not_written_again(tmp_path: Path, key: str) -> None:
    """Each key can be decided by an option; the report names it."""
    found = find_in(tmp_path, SHOP, {key: GIVEN[key]})
    assert (found.all[key], found.where[key]) == (GIVEN[key], "--set")
    assert key not in found.keys


def test_a_given_value_that_is_not_valid_is_refused_before_the_search(tmp_path: Path) -> None:
    """The message names the key."""
    with pytest.raises(Failure, match="`import-from` must be a list of paths"):
        find_in(tmp_path, SHOP, {"import-from": 1})


@pytest.mark.parametrize("name", [name for name in SHOP if not name.endswith("/test_x.py")])
def test_no_input_gives_a_traceback(tmp_path: Path, name: str) -> None:
    """Each file in turn is damaged in many ways: the search succeeds, or fails with a message."""
    find_in(tmp_path, SHOP)
    chosen = random.Random(name)  # noqa: S311 - the same inputs each time
    good = SHOP[name].encode()
    for _ in range(20):
        damaged = bytearray(good)
        for _ in range(chosen.randint(1, 6)):
            start = chosen.randrange(len(good))
            part = chosen.choice(
                [b"", b"[", b"]", b'"', b"'", b"\xff", b"\n- ", b": ", b"1", b"=", b"${", b"\\", b"\x00"]
            )
            damaged[start : start + chosen.randint(0, 8)] = part
        (tmp_path / name).write_bytes(damaged)
        with contextlib.suppress(Failure):
            find(tmp_path)


@pytest.mark.parametrize("name", ["pyproject.toml", "poetry.lock", "uv.lock", "pylock.toml"])
@pytest.mark.parametrize("value", ["1", '"x"', "[1]", "{x = 1}", "[[]]"])
def test_no_type_of_a_key_gives_a_traceback(tmp_path: Path, name: str, value: str) -> None:
    """Each key that is read has another type than the usual one."""
    find_in(tmp_path, {"main.py": APP, "requirements.txt": hashed()})
    for path in (
        "tool", "tool.poetry", "tool.poetry.group", "tool.poetry.group.x", "tool.poetry.extras", "tool.uv",
        "tool.uv.workspace", "tool.uv.workspace.members", "tool.uv.default-groups", "tool.fastapi", "tool.pytest",
        "tool.pytest.ini_options", "tool.pytest.ini_options.testpaths", "tool.aerich", "tool.poe", "dependency-groups",
        "dependency-groups.x", "project", "project.name", "project.optional-dependencies", "project.requires-python",
        "package", "packages", "manifest", "manifest.members", "version", "lock-version", "default-groups", "extras",
    ):  # fmt: skip
        (tmp_path / name).write_text(f"{path} = {value}\n")
        with contextlib.suppress(Failure):
            find(tmp_path)


@pytest.mark.parametrize(
    ("module", "place"),
    [
        ("from importlib.metadata import version\nv = version('Shop_api')\n", "shop/__init__.py:2"),
        ("import importlib.metadata as m\nv = m.version(__package__)\n", "shop/__init__.py:2"),
        ("from importlib import metadata\nv = metadata.metadata('shop-api')['Summary']\n", "shop/__init__.py:2"),
        ("import pkg_resources\nv = pkg_resources.get_distribution('shop.api').version\n", "shop/__init__.py:2"),
        (
            "from importlib.metadata import version\ntry:\n    v = version('shop-api')\nexcept Exception:\n    ...\n",
            "",
        ),
        ("from importlib.metadata import version\nv = version('fastapi')\n", ""),
        ("from .v import version\nv = version('shop-api')\n", ""),
    ],
)
def test_a_read_of_the_projects_own_metadata_is_reported(tmp_path: Path, module: str, place: str) -> None:
    """No image has it, because none installs the project; not where the error is caught."""
    project = {"pyproject.toml": '[project]\nname = "shop-api"\n', "shop/__init__.py": module, "shop/main.py": APP}
    notes = [one for one in find_in(tmp_path, project).notes if "metadata" in one]
    assert [f"is read at {place}. To fix it: catch PackageNotFoundError" in one for one in notes] == [True] * bool(
        place
    )


def test_a_submodule_or_a_linked_folder_is_reported(tmp_path: Path) -> None:
    """Its modules are not read, so that they are not among the sources."""
    (tmp_path / "common").symlink_to("shared", target_is_directory=True)
    (tmp_path / "lib").mkdir()
    commit = "git -c user.name=x -c user.email=x@example.org commit --quiet --allow-empty --message=x"
    for folder, command in (
        (tmp_path, "git init --quiet"),
        (tmp_path / "lib", "git init --quiet"),
        (tmp_path / "lib", commit),
        (tmp_path, "git add lib"),
    ):
        subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    found = find_in(tmp_path, {"main.py": APP, "shared/x.py": ""})
    assert any("Not read" in one and ": common, lib. To fix it" in one for one in found.notes)
