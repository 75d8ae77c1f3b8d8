"""`inv setup` on a machine that is ready."""

from __future__ import annotations

import re
from pathlib import Path

from prodlock.tests.engine.conftest import COPY, PROD, docker, inv


def test_a_ready_machine_is_left_as_it_is() -> None:
    """Four lines, each with a version and `found`; no command but questions is run."""
    before = set(docker("images", "--all", "--quiet").stdout.split())
    done = inv("setup")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["Engine", "Compose", "Buildx", "Base image"]
    assert all(line.endswith("found") for line in lines)
    assert all(re.search(r"\d+\.\d+", line) for line in lines)
    assert done.stderr == ""
    assert set(docker("images", "--all", "--quiet").stdout.split()) == before


def test_clean_removes_what_was_built(copy: Path) -> None:
    """Every image of this project's name, and nobody else's."""
    assert inv("build", cwd=copy).returncode == 0
    assert inv("poetry", "--", "--version", cwd=copy).returncode == 0
    mine = ("images", "--format={{.Tag}}", COPY)
    assert sorted(docker(*mine).stdout.split()) == ["dev", "poetry", "prod"]
    others = docker("images", "--quiet", PROD).stdout
    assert inv("clean", cwd=copy).returncode == 0
    assert docker(*mine).stdout == ""
    assert docker("images", "--quiet", PROD).stdout == others
    assert inv("clean", cwd=copy).returncode == 0


def test_it_can_be_chained() -> None:
    """`inv setup TASK` does both."""
    done = inv("setup", "stop")
    assert done.returncode == 0
    assert "Base image" in done.stdout
