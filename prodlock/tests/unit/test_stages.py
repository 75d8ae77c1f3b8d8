"""The options of the tools' containers, and the tests of Prodlock on the host."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from prodlock import site
from prodlock.docker import engine, linters, own_tests, stages
from prodlock.failure import Failure
from prodlock.project import Project

SETTINGS = {"EXTRA_INDEX_URL": "https://user:p%40ss@one.example/simple https://two.example/simple"}


def test_poetry_is_given_the_logins_of_its_sources(tmp_path: Path) -> None:
    """By name, for the sources on a host of EXTRA_INDEX_URL whose address has a login."""
    (tmp_path / "pyproject.toml").write_text(
        '[[tool.poetry.source]]\nname = "our-index"\nurl = "https://one.example/other/simple"\n'
        '[[tool.poetry.source]]\nname = "two"\nurl = "https://two.example/simple"\n',
        encoding="utf-8",
    )
    assert stages.poetry_logins(Project(tmp_path, {}), SETTINGS) == {
        "POETRY_HTTP_BASIC_OUR_INDEX_USERNAME": "user",
        "POETRY_HTTP_BASIC_OUR_INDEX_PASSWORD": "p@ss",
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[project]\ndynamic = ["version"]\n', "0"),
        ('[project]\nversion = "1"\n', None),
        ('[project]\ndynamic = ["readme"]\n', None),
        ("project = 1\n", None),
    ],
)
def test_uv_locks_a_project_whose_version_git_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, expected: str | None
) -> None:
    """The container has no git, and no lock has such a version."""
    (tmp_path / "pyproject.toml").write_text(text, encoding="utf-8")
    (tmp_path / "uv.lock").write_text("version = 1\n", encoding="utf-8")
    given: dict[str, str] = {}
    monkeypatch.setattr(stages, "_locking_tool", lambda _, __, settings: given.update(settings))
    monkeypatch.setattr(site, "environment", lambda _: {"INDEX_URL": "", "EXTRA_INDEX_URL": ""})
    stages.uv(Project(tmp_path, {}), ["lock"])
    assert given["UV_NO_SYNC"] == "1"
    assert given.get("SETUPTOOLS_SCM_PRETEND_VERSION") == expected


def test_a_checkout_whose_path_has_a_colon_is_refused(tmp_path: Path) -> None:
    """Docker would take what follows it as the path in the container."""
    (option, *_) = stages.on_working_tree(Project(tmp_path, {}), ":ro")
    assert option == f"--volume={tmp_path}:/srv:ro"
    with pytest.raises(Failure, match=r"must have no colon \(got .*/a:b\)\. To fix it: move or clone it"):
        stages.on_working_tree(Project(tmp_path / "a:b", {}))


def test_the_programs_of_a_tool_are_named_without_parent_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A project may be entered by a link, or be on another drive than the installed package."""
    (tmp_path / "Dockerfile").write_text("ARG BASE=x\nFROM $BASE\n", encoding="utf-8")
    (tmp_path / "docker-compose.yml").write_text("name: shop\n", encoding="utf-8")
    built: list[str] = []
    monkeypatch.setattr(engine, "build", lambda _, *args, **__: built.extend(args))
    stages.build(Project(tmp_path, {}), "poetry")
    assert {f"--file={stages.INSIDE}/Dockerfile", f"--build-context=prodlock={stages.INSIDE}"} <= set(built)
    monkeypatch.setattr(stages, "INSIDE", tmp_path / "prodlock" / "inside")
    stages.build(Project(tmp_path, {}), "poetry")
    assert {"--file=prodlock/inside/Dockerfile", "--build-context=prodlock=prodlock/inside"} <= set(built)


@pytest.mark.parametrize("tool", sorted(stages.TOOLS.keys() - {"sign"}))
def test_no_tool_writes_bytecode_into_the_working_tree(tool: str) -> None:
    """Python compares it with the source by second and size: `inv test --watch` could run what a save has replaced."""
    dockerfile = (stages.INSIDE / "Dockerfile").read_text(encoding="utf-8")
    found = re.findall(r"^FROM (\S+) AS (\S+)\n(.*?)(?=^FROM |\Z)", dockerfile, re.MULTILINE | re.DOTALL)
    built = {name: (parent, body) for parent, name, body in found}
    # The project's own image, which sets it as well.
    built["dev"] = ("scratch", (stages.INSIDE.parents[1] / "Dockerfile").read_text(encoding="utf-8"))
    stage, instructions = stages._STAGES.get(tool, "tool"), ""
    while stage in built:
        stage, body = built[stage]
        instructions += body
    assert re.search(r"^ENV .*\bPYTHONDONTWRITEBYTECODE=1", instructions, re.MULTILINE)


@pytest.mark.parametrize("text", ["", "[tool.poetry]\nsource = 1\n", "[[tool.poetry.source]]\nname = 1\n", "x ="])
def test_poetry_reports_an_invalid_project_file(tmp_path: Path, text: str) -> None:
    """No login is given for it."""
    (tmp_path / "pyproject.toml").write_text(text, encoding="utf-8")
    assert stages.poetry_logins(Project(tmp_path, {}), SETTINGS) == {}


@pytest.mark.parametrize(
    ("linter", "linted"),
    [
        ("hadolint", {"Dockerfile", "images/my base.Dockerfile"}),
        ("shellcheck", {".ci/run", "bin/start it"}),
    ],
)
def test_linters_get_the_files_of_the_project(tmp_path: Path, linter: str, linted: set[str]) -> None:
    """Names may have spaces. Environments and packages of JavaScript are others' files."""
    names = ("Dockerfile", "images/my base.Dockerfile", ".ci/run", "bin/start it", "bin/a.py")
    first = {"Dockerfile": "FROM scratch\n", ".py": "#!/usr/bin/python3\n"}
    for folder in ("", ".venv/", ".venv-images/", "frontend/node_modules/x/"):
        for name in names:
            place = tmp_path / f"{folder}{name}"
            place.parent.mkdir(parents=True, exist_ok=True)
            text = next((text for end, text in first.items() if name.endswith(end)), "#!/bin/sh\n")
            place.write_text(text, encoding="ascii")
    program = tmp_path / "node_modules" / linter
    program.parent.mkdir()
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n', encoding="ascii")
    program.chmod(0o755)
    done = subprocess.run(
        ["/bin/sh", "-c", linters.LINTERS[linter]],
        cwd=tmp_path,
        env={"PATH": f"{program.parent}:{os.environ['PATH']}"},
        check=True,
        capture_output=True,
        text=True,
    )
    assert {line.removeprefix("./") for line in done.stdout.splitlines()} == linted


@pytest.mark.parametrize("commands", [linters.LINTERS, linters.FIXERS])
def test_the_spelling_of_others_is_neither_checked_nor_changed(commands: dict[str, str]) -> None:
    """The other linters leave out these packages without an option."""
    assert "--skip=node_modules" in commands["codespell"].split()


# Instead of the environment's interpreter: pytest that removes its containers after an interruption.
PYTEST = f"""\
#!{sys.executable}
import pathlib, time
try:
    pathlib.Path("started").touch()
    time.sleep(30)
except KeyboardInterrupt:
    time.sleep(0.5)
    pathlib.Path("removed").touch()
"""
# In the background, a shell makes a program ignore Ctrl-C, and so what that starts.
RUN = """\
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from prodlock.docker import own_tests
from prodlock.failure import interrupt_on_termination
from prodlock.project import Project
interrupt_on_termination()
own_tests.run(Project(), [])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize(("send", "number"), [(os.killpg, signal.SIGINT), (os.kill, signal.SIGTERM)])
def test_interrupted_tests_end_before_the_task(tmp_path: Path, send: Callable[[int, int], None], number: int) -> None:
    """A terminal sends Ctrl-C to both; a signal to the task alone is passed on."""
    interpreter = tmp_path / own_tests.FOLDER / "bin" / "python"
    interpreter.parent.mkdir(parents=True)
    interpreter.write_text(PYTEST, encoding="utf-8")
    interpreter.chmod(0o755)
    locked = (stages.INSIDE / "requirements" / "test.txt").read_bytes()
    (tmp_path / own_tests.FOLDER / "installed.txt").write_bytes(locked)
    path = {"PYTHONPATH": str(stages.INSIDE.parents[1])}
    with subprocess.Popen(
        [sys.executable, "-c", RUN], cwd=tmp_path, env=os.environ | path, start_new_session=True, stderr=subprocess.PIPE
    ) as task:
        while not (tmp_path / "started").exists():
            assert task.poll() is None
            time.sleep(0.02)
        send(task.pid, number)
        task.wait(20)
        assert (tmp_path / "removed").exists()
