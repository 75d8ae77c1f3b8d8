"""What `inv setup` makes of a machine that is not ready; that it makes one ready is seen on a new machine alone."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from prodlock.docker import engine
from prodlock.failure import Failure
from prodlock.project import Project
from prodlock.setup import base, debian, machine

MIRRORS = """\
Debian\thttp://mirror.example/debian/
Debian-Security\thttp://mirror.example/debian-security/
Debian\thttp://other.example/debian/
"""


def answer(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Let every program print this text."""

    def run(command: tuple[str, ...], **_: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 0, stdout=text)

    monkeypatch.setattr(subprocess, "run", run)


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that is neither Debian nor Ubuntu."""
    monkeypatch.setattr(debian, "distribution", lambda: "fedora")


@pytest.mark.usefixtures("elsewhere")
def test_elsewhere_it_says_what_to_install() -> None:
    """Nothing is installed on a system whose packages are not known."""
    with pytest.raises(Failure, match=r"Compose and Engine must be installed by hand on \w+: see https://docs\.docker"):
        machine.install(Project(), ["Compose", "Engine"])


@pytest.mark.usefixtures("elsewhere")
def test_an_engine_that_only_rests_is_not_installed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Docker Desktop is there and has to be started: the sentence is about that."""
    monkeypatch.setattr(debian, "installed", lambda program: program == "docker")
    monkeypatch.setattr(machine, "trouble", lambda _: "The Docker Engine is not running: start it.")
    with pytest.raises(Failure, match="not running: start it"):
        machine.install(Project(), ["Engine"])


@pytest.mark.usefixtures("elsewhere")
def test_elsewhere_the_base_image_is_not_built() -> None:
    """Without a registry, and off Debian, it has to be brought here: no docker can pull it in the dev image."""
    with pytest.raises(Failure, match=r"No registry gave python:3\.13-slim-trixie, and `inv setup` can build only"):
        base.bring(Project(), base.BUILDABLE)


@pytest.mark.parametrize(
    ("answered", "recent"), [("25.0.0", True), ("24.0.9", False), ("26.1.5+dfsg1", True), ("100.0.0-rc.1", True)]
)
def test_versions_are_compared_as_numbers(monkeypatch: pytest.MonkeyPatch, answered: str, recent: bool) -> None:  # noqa: FBT001
    """Whatever a distribution puts behind them."""
    monkeypatch.setattr(engine, "output", lambda *_: answered)
    assert machine.found(Project(), "Engine") == answered
    assert machine._recent(Project(), "Engine") == recent


@pytest.mark.parametrize("address", ["ssh://user@far.example", "unix:///run/user/1000/docker.sock"])
def test_an_engine_elsewhere_is_not_started_here(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """Nothing is installed either: this machine's own Engine is not the one that is asked."""

    def docker(_: Project, *args: str) -> str:
        if args[0] == "context":
            return address + "\n"
        raise Failure("no answer")

    monkeypatch.setattr(engine, "output", docker)
    monkeypatch.setattr(machine, "install", lambda *_: pytest.fail("something is installed"))
    with pytest.raises(Failure, match=f"The Docker Engine at {address} does not answer"):
        machine.setup(Project())


def test_the_machines_own_engine_is_not_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the default context has it."""
    monkeypatch.setattr(engine, "output", lambda *_: "unix:///var/run/docker.sock\n")
    assert machine.elsewhere(Project()) == ""


def test_what_does_not_answer_is_not_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without docker on PATH, which the machine that runs this test may have."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert machine.found(Project(), "Engine") is None
    assert machine.trouble(Project()).startswith("There is no `docker` on PATH")


def test_the_mirror_is_the_one_that_apt_uses(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first of the archive that is asked for; a sentence where there is none."""
    answer(monkeypatch, MIRRORS)
    assert debian.mirror("Debian") == "http://mirror.example/debian/"
    assert debian.mirror("Debian-Security") == "http://mirror.example/debian-security/"
    with pytest.raises(Failure, match="apt knows no mirror of the archive 'Ubuntu'"):
        debian.mirror("Ubuntu")


def test_the_base_image_is_read_from_the_dockerfile(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It stands there once; without it setup can't know what to bring."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Dockerfile").write_text("# ARG BASE=no\nARG BASE=python:3.12-slim\nFROM ${BASE}\n", encoding="utf-8")
    assert base.name(Project()) == "python:3.12-slim"
    (tmp_path / "Dockerfile").write_text("FROM python:3.12-slim\n", encoding="utf-8")
    with pytest.raises(Failure, match="needs a line `ARG BASE=IMAGE`"):
        base.name(Project())
    (tmp_path / "Dockerfile").unlink()
    with pytest.raises(Failure, match=r"^The Dockerfile must be a readable text \(got: .*No such file"):
        base.name(Project())


def test_without_root_and_sudo_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests run as nobody in particular, on an image that has no sudo."""
    monkeypatch.setattr("os.geteuid", lambda: 10001)
    with pytest.raises(Failure, match="`true` must run as root, and there is no sudo"):
        debian.as_root("true")
