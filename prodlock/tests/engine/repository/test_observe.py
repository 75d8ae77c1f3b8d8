"""The guide to observing a service: its commands, patches and programs work, in their order."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from prodlock.tests.engine.conftest import COPY, PORT, REPOSITORY, committed, copied, docker, git, inspected, inv, until

PAGE = (REPOSITORY / "docs/how-to/observe.md").read_text(encoding="utf-8")
CONTAINER, COLLECTOR = f"{COPY}-api-prod-1", f"{COPY}-collector"


def blocks(kind: str) -> list[str]:
    """Return the page's blocks of a kind, without their indentation."""
    found = re.findall(rf"^ *```{kind}\n(.*?)^ *```", PAGE, re.DOTALL | re.MULTILINE)
    return [textwrap.dedent(block) for block in found]


def shown(kind: str, beginning: str) -> tuple[str, str]:
    """Return the page's command with a beginning, with this test's names, and the output that is shown below it."""
    (text,) = (part for block in blocks(kind) for part in block.split("$ ") if part.startswith(beginning))
    for ours, theirs in (
        (f"{CONTAINER} ", "quotes-api-prod-1 "),
        (f" {COPY}:prod", " quotes:prod"),
        (f"={COLLECTOR} ", "=collector "),
        (f"logs {COLLECTOR}", "logs collector"),
    ):
        text = text.replace(theirs, ours)
    command, _, output = text.partition("\n")
    return command, output


def run(beginning: str, folder: Path) -> str:
    """Run a command of the page and return what it prints."""
    command, _ = shown("console", beginning)
    return docker(*shlex.split(command)[1:], cwd=folder).stdout


@pytest.mark.full_length
def test_the_page_makes_a_service_observable(tmp_path: Path) -> None:
    """Spans reach the collector, Prometheus' port is not published, and the proof covers the image."""
    with copied(REPOSITORY) as copy:
        committed(copy)
        for command in re.findall(r"^ *\$ inv (poetry .*)$", PAGE, re.MULTILINE):
            done = inv(*shlex.split(command), cwd=copy)
            assert done.returncode == 0, done.stderr
        for patch in blocks("diff"):
            subprocess.run(["git", "apply", "-"], cwd=copy, input=patch, text=True, check=True)  # noqa: S607
        subprocess.run([sys.executable, "-m", "prodlock", "upgrade"], cwd=copy, check=True)
        collector, module = blocks("python")
        (copy / "app/metrics.py").write_text(module, encoding="utf-8")
        (tmp_path / "collector.py").write_text(collector, encoding="utf-8")
        git(copy, "add", "--all")
        git(copy, "commit", "--quiet", "--message=observe")
        (copy / ".env").write_text(f"PORT={PORT}\n{blocks('shell')[0]}", encoding="utf-8")
        done = inv("serve", "--detach", cwd=copy)
        assert done.returncode == 0, done.stderr
        try:
            run("docker run", tmp_path)
            subprocess.run(["curl", "--silent", "--fail", f"localhost:{PORT}/", f"localhost:{PORT}/ready"], check=True)  # noqa: S607
            wanted = shown("console", "docker logs")[1].strip()
            until(lambda: wanted in run("docker logs", tmp_path), 20)
            assert "/ready" not in run("docker logs", tmp_path)
            printed = run("docker exec", tmp_path)
            assert re.search(r'\nhttp_server_request_duration_seconds_count{.*http_route="/",.*} 1\.0\n', printed)
            assert "process_resident_memory_bytes" in printed
            assert set(inspected(CONTAINER)["NetworkSettings"]["Ports"]) == {"8000/tcp"}
        finally:
            docker("rm", "--force", COLLECTOR)
            assert inv("stop", cwd=copy).returncode == 0
        tested = inv("test", cwd=copy)
        assert tested.returncode == 0, tested.stdout
        proof = inv("check-prod", cwd=copy)
        assert proof.returncode == 0, proof.stdout + proof.stderr
