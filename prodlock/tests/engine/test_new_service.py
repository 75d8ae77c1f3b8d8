"""A new service by `prodlock init NAME`, with the installed package and without this repository."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from prodlock.tests.engine.conftest import NAME, PORT, REPOSITORY, answers, committed, docker, edit, git, until

PROJECT = f"{NAME}-shop"


class Adopter(NamedTuple):
    """A folder, and the programs of the virtual environment that Prodlock is installed in."""

    root: Path
    programs: Path

    def run(self, program: str, *args: str) -> subprocess.CompletedProcess[str]:
        """Run an installed program in the folder, without this repository on the path of modules."""
        environment = os.environ | {"PRODLOCK_PROJECT": PROJECT, "COMPOSE_PROJECT_NAME": PROJECT, "PYTHONPATH": ""}
        command = [str(self.programs / program), *args]
        return subprocess.run(command, cwd=self.root, env=environment, capture_output=True, text=True, check=False)

    def done(self, program: str, *args: str) -> str:
        """Run a program that must succeed, and return what it printed."""
        done = self.run(program, *args)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Adopter]:
    """A new service, committed and built."""
    folder = tmp_path_factory.mktemp("adopter")
    venv.create(folder / "venv", with_pip=True)
    adopter = Adopter(folder / "shop", folder / "venv" / ("Scripts" if sys.platform == "win32" else "bin"))
    adopter.root.mkdir()
    adopter.done("python", "-m", "pip", "install", "--quiet", str(REPOSITORY / "prodlock"))
    adopter.done("prodlock", "init", "shop")
    committed(adopter.root)
    adopter.done("inv", "build")
    yield adopter
    adopter.run("inv", "clean")


def test_the_installed_package_is_used(shop: Adopter) -> None:
    """Not the vendored folder of the service, and not this repository."""
    printed = shop.done("python", "-c", "import prodlock; print(prodlock.__file__)")
    assert printed.startswith(str(shop.programs.parent))


def test_its_tests_pass(shop: Adopter) -> None:
    """Without network, in the dev image."""
    assert " passed in " in shop.done("inv", "test")


def test_production_answers(shop: Adopter) -> None:
    """It has the new service's name."""
    shop.done("inv", "serve", "--detach", f"--port={PORT}")
    try:
        until(lambda: answers("/health"), 5)
        container = docker("ps", "--quiet", f"--filter=label=com.docker.compose.project={PROJECT}").stdout.strip()
        script = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:8000').read().decode())"
        printed = docker("exec", container, "python", "-c", script).stdout
        assert json.loads(printed) == {"name": "shop", "version": "0.1.0"}
    finally:
        shop.done("inv", "stop")


def test_production_is_proved(shop: Adopter) -> None:
    """By both checks; a bare `docker build .` gives the same layers."""
    assert f"{PROJECT}:prod is clean" in shop.done("inv", "check-prod-has-no-pytest")
    printed = shop.done("inv", "check-prod")
    assert ", clean.\nA bare `docker build .` gives the same layers, by their digests.\n" in printed


def test_the_linters_pass(shop: Adopter) -> None:
    """They leave out the vendored folder."""
    assert "no issues found" in shop.done("inv", "lint")


def test_an_upgrade_changes_nothing(shop: Adopter) -> None:
    """Directly after `prodlock init`."""
    assert shop.done("prodlock", "upgrade").startswith("All files are those of Prodlock ")
    assert not git(shop.root, "status", "--porcelain")


def test_a_second_init_is_refused(shop: Adopter) -> None:
    """With a name and without."""
    for args, message in ((["shop"], "must be empty for a new service"), ([], "must not have [tool.prodlock] yet")):
        done = shop.run("prodlock", "init", *args)
        assert (done.returncode, message in done.stderr) == (1, True)
    assert not git(shop.root, "status", "--porcelain")


@pytest.mark.parametrize("task", ["check-prod", "check-prod-has-no-pytest"])
def test_an_edit_of_the_vendored_folder_is_refused(shop: Adopter, task: str) -> None:
    """Both checks compare it with the installed version: code 2."""
    file = shop.root / "prodlock/inside/install.py"
    before = file.read_text(encoding="utf-8")
    edit(file, "import", "import  ")
    try:
        done = shop.run("inv", task)
    finally:
        file.write_text(before, encoding="utf-8")
    assert done.returncode == 2
    assert "prodlock/inside/install.py must be that of Prodlock " in done.stderr
