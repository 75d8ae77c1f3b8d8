"""`inv setup` on a machine that is ready, and `inv clean`."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from prodlock.tests.engine.conftest import COPY, PROD, docker, inv


def test_setup_changes_nothing_on_a_ready_machine(tmp_path: Path) -> None:
    """It prints four lines, each with a version and `found`, and runs only docker commands that read."""
    log, program = tmp_path / "log", tmp_path / "docker"
    program.write_text(f'#!/bin/sh\necho "$*" >> {log}\nexec {shutil.which("docker")} "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    done = inv("setup", PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["Engine", "Compose", "Buildx", "Base image"]
    assert all(line.endswith("found") for line in lines)
    assert all(re.search(r"\d+\.\d+", line) for line in lines)
    assert done.stderr == ""
    reading = {"version", "compose version", "buildx version", "context inspect", "image inspect"}
    commands = [re.match(r"(\w+( \w+)?)", line) for line in log.read_text(encoding="utf-8").splitlines()]
    assert {command[1] for command in commands if command} == reading


def test_clean_removes_the_images_of_the_project(copy: Path) -> None:
    """Images of other projects remain."""
    assert inv("build", cwd=copy).returncode == 0
    assert inv("poetry", "--", "--version", cwd=copy).returncode == 0
    own = ("images", "--format={{.Tag}}", COPY)
    assert sorted(docker(*own).stdout.split()) == ["dev", "poetry", "prod"]
    others = docker("images", "--quiet", PROD).stdout
    assert inv("clean", cwd=copy).returncode == 0
    assert docker(*own).stdout == ""
    assert docker("images", "--quiet", PROD).stdout == others
    assert inv("clean", cwd=copy).returncode == 0


def test_setup_can_be_chained() -> None:
    """`inv setup TASK` runs both."""
    done = inv("setup", "stop")
    assert done.returncode == 0
    assert "Base image" in done.stdout
