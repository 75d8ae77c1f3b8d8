"""The script that gives pip, uv and Poetry this site's settings."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from prodlock.docker import stages

ADDRESS = "https://index.example/simple"


def run(folder: Path, name: str, interpreter: str) -> subprocess.CompletedProcess[str]:
    """Run the script with secrets in a folder, and an interpreter there that is a line of a shell."""
    programs = {"python": interpreter, name: "env"}
    for program, line in programs.items():
        (folder / program).write_text(f"#!/bin/sh\n{line}\n", encoding="ascii")
        (folder / program).chmod(0o755)
    script = (stages.INSIDE / "online.sh").read_text(encoding="utf-8")
    for place, replaced in (("/usr/local/bin/python", f"{folder}/python"), ("/run/secrets", str(folder))):
        assert place in script
        script = script.replace(place, replaced)
    (folder / "online").write_text(script, encoding="utf-8")
    return subprocess.run(
        ["/bin/sh", str(folder / "online"), name],
        env={"PATH": f"{folder}:/usr/bin:/bin"},
        check=False,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    ("name", "variables"),
    [
        ("poetry", {f"POETRY_PYPI_MIRROR_URL={ADDRESS}", "PIP_INDEX_URL=https://own.example"}),
        ("uv", {"UV_DEFAULT_INDEX=https://own.example"}),
    ],
)
def test_each_program_has_its_variables(tmp_path: Path, name: str, variables: set[str]) -> None:
    """The secrets that there are; Poetry the address that pip has by default."""
    (tmp_path / "index_url").write_text("https://own.example", encoding="ascii")
    found = {*run(tmp_path, name, f"echo {ADDRESS}").stdout.splitlines()}
    assert variables <= found
    assert not any(line.startswith(("PIP_CERT", "NETRC", "UV_INDEX=")) for line in found)


def test_a_program_is_not_run_without_its_index(tmp_path: Path) -> None:
    """It would use another one."""
    done = run(tmp_path, "poetry", "echo no such module >&2; exit 3")
    assert (done.returncode, done.stdout, done.stderr) == (3, "", "no such module\n")
