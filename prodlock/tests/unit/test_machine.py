"""`inv setup` on machines that are not ready. Only a new machine can show that it makes one ready."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import IO

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
    """Make every program print a text."""

    def run(command: tuple[str, ...], **_: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 0, stdout=text)

    monkeypatch.setattr(subprocess, "run", run)


@pytest.fixture
def unsupported(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that is neither Debian nor Ubuntu."""
    monkeypatch.setattr(debian, "distribution", lambda: "fedora")


@pytest.mark.usefixtures("unsupported")
def test_setup_names_what_to_install_on_an_unsupported_system() -> None:
    """Nothing is installed there."""
    with pytest.raises(
        Failure, match=r"^Compose and Engine must be installed \(got none on \w+, .*To fix it: see https://docs"
    ):
        machine.install(Project(), ["Compose", "Engine"])


@pytest.mark.usefixtures("unsupported")
def test_setup_does_not_reinstall_a_stopped_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Docker Desktop is installed and must be started, as the message states."""
    monkeypatch.setattr(debian, "is_installed", lambda program: program == "docker")
    monkeypatch.setattr(
        machine, "engine_error", lambda _: "The Docker Engine must be running (got no answer). To fix it: start it."
    )
    with pytest.raises(Failure, match=r"To fix it: start it"):
        machine.install(Project(), ["Engine"])


@pytest.mark.usefixtures("unsupported")
def test_setup_does_not_build_the_base_image_on_an_unsupported_system(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without a registry it must be loaded. No `docker` is on PATH, so that nothing is pulled."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        Failure, match=r"^python:3\.13-slim-trixie must be in a registry that can be reached \(got none"
    ):
        base.provide(Project(), base.BUILDABLE)


def build_base(monkeypatch: pytest.MonkeyPatch, error: Failure | None) -> None:
    """Build the base image with a build that prints a line and then succeeds or fails."""

    def log_build(_: Project, log: IO[bytes], *args: str) -> None:
        assert args[0] == "build"
        log.write(b"warning: unused variable\n")
        if error:
            raise error

    monkeypatch.setattr(engine, "log_build", log_build)
    monkeypatch.setattr(debian, "is_installed", lambda _: True)
    monkeypatch.setattr(debian, "mirror", lambda _: "http://mirror.example/debian/")
    monkeypatch.setattr(debian, "run_as_root", lambda *_, **__: None)
    monkeypatch.setattr(engine, "output", lambda *_, **__: "")
    base.build(Project(), base.BUILDABLE)


def test_the_build_of_the_base_image_hides_its_log(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """It prints its command and its progress."""
    build_base(monkeypatch, None)
    command, first, last = capfd.readouterr().err.splitlines()
    assert command.startswith("$ docker build --secret=id=ca_bundle,src=")
    assert first == "Building python:3.13-slim-trixie (about 4 minutes): started"
    assert last.startswith("Building python:3.13-slim-trixie (about 4 minutes): done, ")


def test_a_failed_build_of_the_base_image_prints_its_log(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The log follows the progress; the failure is raised again."""
    with pytest.raises(Failure, match="The build failed"):
        build_base(monkeypatch, Failure("The build failed at base.Dockerfile:5."))
    *_, progress, log = capfd.readouterr().err.splitlines()
    assert progress.startswith("Building python:3.13-slim-trixie (about 4 minutes): failed, ")
    assert log == "warning: unused variable"


@pytest.mark.parametrize(
    ("answered", "recent"), [("25.0.0", True), ("24.0.9", False), ("26.1.5+dfsg1", True), ("100.0.0-rc.1", True)]
)
def test_versions_are_compared_as_numbers(monkeypatch: pytest.MonkeyPatch, answered: str, recent: bool) -> None:  # noqa: FBT001
    """Distributions append text to them."""
    monkeypatch.setattr(engine, "output", lambda *_: answered)
    assert machine.installed_version(Project(), "Engine") == answered
    assert machine._is_recent(Project(), "Engine") == recent


@pytest.mark.parametrize("address", ["ssh://user@far.example", "unix:///run/user/1000/docker.sock"])
def test_setup_does_not_start_a_remote_engine(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """Nothing is installed either: docker does not use this machine's own Engine."""

    def docker(_: Project, *args: str) -> str:
        if args[0] == "context":
            return address + "\n"
        raise Failure("no answer")

    monkeypatch.setattr(engine, "output", docker)
    monkeypatch.setattr(machine, "install", lambda *_: pytest.fail("something is installed"))
    with pytest.raises(Failure, match=f"^The Docker Engine at {address} must answer"):
        machine.setup(Project())


def test_the_machines_own_engine_is_not_remote(monkeypatch: pytest.MonkeyPatch) -> None:
    """The address is that of the default context."""
    monkeypatch.setattr(engine, "output", lambda *_: "unix:///var/run/docker.sock\n")
    assert machine.remote_address(Project()) == ""


def test_a_missing_docker_has_no_version(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`docker` is removed from PATH for the test."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert machine.installed_version(Project(), "Engine") is None
    assert machine.engine_error(Project()).startswith("`docker` must be a program on PATH")


def test_the_mirror_is_apts_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one of the archive; a failure where there is none."""
    answer(monkeypatch, MIRRORS)
    assert debian.mirror("Debian") == "http://mirror.example/debian/"
    assert debian.mirror("Debian-Security") == "http://mirror.example/debian-security/"
    with pytest.raises(Failure, match=r"^apt must have a mirror of the archive 'Ubuntu'"):
        debian.mirror("Ubuntu")


def test_an_apt_that_fails_is_reported_with_its_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """For example one whose list of sources is broken."""
    apt = tmp_path / "apt-get"
    apt.write_text("#!/bin/sh\necho 'E: Malformed line 1 in source list' >&2\nexit 100\n", encoding="ascii")
    apt.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Failure, match=r"^apt must .* \(got: E: Malformed line 1 in source list\)\. To fix it: "):
        debian.mirror("Debian")


def test_the_base_image_is_read_from_the_dockerfile(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It is the default of `ARG BASE`, without which setup fails."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Dockerfile").write_text("# ARG BASE=no\nARG BASE=python:3.12-slim\nFROM ${BASE}\n", encoding="utf-8")
    assert base.name(Project()) == "python:3.12-slim"
    (tmp_path / "Dockerfile").write_text("FROM python:3.12-slim\n", encoding="utf-8")
    with pytest.raises(Failure, match=r"must name the base image \(got no line `ARG BASE=IMAGE`"):
        base.name(Project())
    (tmp_path / "Dockerfile").unlink()
    with pytest.raises(Failure, match=r"^The Dockerfile must be a readable text \(got: .*No such file"):
        base.name(Project())


def test_setup_needs_root_or_sudo(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The user is replaced, and PATH has no sudo."""
    monkeypatch.setattr("os.geteuid", lambda: 10001)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Failure, match=r"^`true` must run as root \(got user 10001 and no sudo"):
        debian.run_as_root("true")
