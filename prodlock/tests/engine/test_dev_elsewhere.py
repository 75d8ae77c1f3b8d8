"""`inv dev` and `docker compose watch` in projects that moved in: with prodlock.server, and with another server."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import httpx
import pytest

from prodlock import site
from prodlock.project import Project
from prodlock.tests.engine.conftest import PORT, answers, docker, edit, inv_command, left_behind, until
from prodlock.tests.engine.test_dev import URL, attached, developed, stopped, use_breakpoint
from prodlock.tests.engine.test_layouts import moved_in

# Each builds the images of a project.
pytestmark = pytest.mark.full_length


@pytest.fixture(scope="module")
def single() -> Iterator[Path]:
    """A module with an application that prodlock.server serves."""
    with moved_in("single") as tree:
        yield tree


@pytest.fixture(scope="module")
def hashes(single: Path) -> Iterator[Path]:
    """A package whose lock lacks what prodlock.server needs."""
    del single  # Both have the name of the copy: this one's images replace the other's.
    with moved_in("hashes") as tree:
        yield tree


def served(text: str) -> bool:
    """Return whether an answer of the application has a text."""
    try:
        return text in httpx.get(URL, timeout=5).text
    except httpx.TransportError:
        return False


def test_a_debugger_stops_a_request_at_a_breakpoint(single: Path) -> None:
    """The project's folder is mapped to /srv."""
    lines = (single / "main.py").read_text(encoding="utf-8").splitlines()
    line = next(number for number, text in enumerate(lines, 1) if "return {" in text)
    process = subprocess.Popen(inv_command("dev", f"--port={PORT}", "--debug"), cwd=single)
    try:
        client = attached(single, "main.py", line)
        answered: list[int] = []
        request = Thread(target=lambda: answered.append(httpx.get(URL, timeout=30).status_code))
        request.start()
        stop = client.until("event", "stopped")
        assert stop["reason"] == "breakpoint"
        client.send("continue", threadId=stop["threadId"])
        request.join(30)
        assert answered == [200]
        client.close()
        assert stopped(process, signal.SIGTERM) < 4
        assert process.returncode == 0
    finally:
        process.kill()
        process.wait()
    assert left_behind() == []


def test_compose_watch_starts_production_again_after_a_save(single: Path) -> None:
    """It copies what is saved into the container, whose command is production's."""
    settings = site.environment(Project(single)) | {"PORT": str(PORT)}
    command = ["docker", "compose", "--profile=watch", "up", "--build", "--watch", "api-dev"]
    with subprocess.Popen(command, cwd=single, env=os.environ | settings) as process:
        try:
            until(lambda: answers("/"), 90)
            edit(single / "main.py", '"service": "links"', '"service": "saved"')
            until(lambda: served("saved"), 60)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)
            docker("compose", "--profile=watch", "down", cwd=single)
            edit(single / "main.py", '"service": "saved"', '"service": "links"')
    assert left_behind() == []


def test_a_serving_command_of_the_project_is_started_again_at_each_save(hashes: Path) -> None:
    """A broken save is answered with what the command printed; the next one recovers."""
    module = hashes / "service/asgi.py"
    with developed(hashes) as process:
        edit(hashes / "templates/index.html", "<title>", "<title>New ")
        until(lambda: served("<title>New "), 20)
        edit(module, "async def health", "import nothere\n\n\nasync def health")
        until(lambda: served("ModuleNotFoundError: No module named 'nothere'"), 20)
        assert httpx.get(URL).status_code == 500
        edit(module, "import nothere\n\n\n", "")
        until(lambda: served("<title>New "), 20)
        assert stopped(process, signal.SIGINT) < 4
        assert process.returncode == 0
    edit(hashes / "templates/index.html", "<title>New ", "<title>")
    assert left_behind() == []


def test_breakpoint_works_in_a_serving_command_of_the_project(hashes: Path) -> None:
    """Its process keeps the terminal; Ctrl-C ends everything."""
    module = hashes / "service/asgi.py"
    edit(module, "    return PlainTextResponse", "    breakpoint()\n    return PlainTextResponse")
    use_breakpoint(hashes, f"{URL}/health")
    edit(module, "    breakpoint()\n", "")
    assert left_behind() == []
