"""Tests of `inv dev` over a socket: saves, files, signals, a terminal."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import httpx
import pytest

from prodlock.tests.engine.conftest import (
    COPY,
    PORT,
    answers,
    copied,
    docker,
    edit,
    inv,
    inv_command,
    left_behind,
    sentence,
    until,
)
from prodlock.tests.engine.test_debug import Debugger
from prodlock.tests.engine.watching import Running, ended

URL = f"http://localhost:{PORT}"


def stopped(process: subprocess.Popen[bytes], number: signal.Signals) -> float:
    """Send a signal to a task, and return the seconds until its end."""
    started = time.monotonic()
    process.send_signal(number)
    process.wait(20)
    return time.monotonic() - started


def running() -> str:
    """Return the id of the container of `inv dev`, or an empty string."""
    return docker("ps", "--quiet", f"--filter=name=^{COPY}-api-dev").stdout.strip()


@contextmanager
def developed(tree: Path, *args: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run `inv dev` in a tree until the service answers; yield the process."""
    output = tree.parent / "output"
    with output.open("wb") as file:
        command = inv_command("dev", f"--port={PORT}", *args)
        process = subprocess.Popen(command, cwd=tree, env=os.environ | environment, stdout=file, stderr=file)
    try:
        until(lambda: answers("/") or process.poll() is not None, 60)
        assert process.poll() is None, output.read_text()
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(20)


@pytest.fixture(scope="module")
def tree() -> Iterator[Path]:
    """A copy of the project whose dev image is built."""
    with copied() as folder:
        assert inv("build", cwd=folder).returncode == 0
        yield folder


@pytest.fixture(autouse=True)
def restored(tree: Path) -> Iterator[None]:
    """The sources as they were, after each test."""
    before = tree.parent / "before"
    shutil.copytree(tree / "app", before)
    yield
    shutil.rmtree(tree / "app")
    before.rename(tree / "app")


def test_a_save_takes_effect_and_both_signals_end_it(tree: Path) -> None:
    """Within about a second, with exit code 0, leaving neither a container nor a network."""
    for number in (signal.SIGINT, signal.SIGTERM):
        with developed(tree, APP_NAME="tried") as process:
            assert httpx.get(URL).json()["name"] == "tried"
            edit(tree / "app" / "main.py", "name=settings.name,", f'name="saved {number}",')
            until(lambda: f"saved {number}" in httpx.get(URL).text, 20)  # noqa: B023
            edit(tree / "app" / "main.py", f'name="saved {number}",', "name=settings.name,")
            assert left_behind()
            # 0.8 s on a quiet machine.
            assert stopped(process, number) < 3
            assert process.returncode == 0
        assert left_behind() == []


def test_a_broken_save_is_answered_with_its_traceback(tree: Path) -> None:
    """The next save recovers."""
    with developed(tree):
        edit(tree / "app" / "main.py", "def create_app", "def create_app(:\n\ndef create_app")
        until(lambda: httpx.get(URL).status_code == 500, 20)
        assert "SyntaxError" in httpx.get(URL).text
        edit(tree / "app" / "main.py", "def create_app(:\n\n", "")
        until(lambda: httpx.get(URL).status_code == 200, 20)


def test_it_serves_what_the_images_have(tree: Path) -> None:
    """A virtual environment in the tree does not shadow the image's; the answers bear the server's request ids."""
    shadow = tree / ".venv" / "bin"
    shadow.mkdir(parents=True)
    (shadow / "python").write_text("#!/bin/sh\nexit 9\n", encoding="utf-8")
    (shadow / "python").chmod(0o755)
    try:
        with developed(tree):
            assert "x-request-id" in httpx.get(URL).headers
            assert httpx.get(f"{URL}/ready").json() == {"status": "ready"}
    finally:
        shutil.rmtree(tree / ".venv")


def test_files_that_it_creates_belong_to_the_user(tree: Path) -> None:
    """The container has the user's ids, not those of the image."""
    edit(tree / "app" / "main.py", "def create_app", "open('/srv/app/written.txt', 'w').close()\n\n\ndef create_app")
    with developed(tree):
        assert (tree / "app" / "written.txt").stat().st_uid == os.geteuid()
    assert left_behind() == []


def test_a_second_one_is_refused_in_one_line(tree: Path) -> None:
    """The line states where the first one is, and how to stop it."""
    with developed(tree):
        said = sentence(inv("dev", "--port=1", cwd=tree))
        assert said.startswith("`inv dev` must run once in a checkout (got ")
        assert URL in said
        assert answers("/")


def test_a_killed_one_is_replaced(tree: Path) -> None:
    """Its container still runs. The next `inv dev` removes it, and leaves nothing itself."""
    with developed(tree) as process:
        process.kill()
        process.wait()
        before = running()
        assert before
    with developed(tree):
        # The first one still answers for a moment.
        until(lambda: running() not in {"", before}, 60)
        until(lambda: answers("/"), 20)
    assert left_behind() == []


def test_of_two_at_the_same_moment_one_serves(tree: Path) -> None:
    """The other one is refused in one line, and does not disturb the first."""
    command = inv_command("dev", f"--port={PORT}")
    both = [subprocess.Popen(command, cwd=tree, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    try:
        until(lambda: any(one.poll() is not None for one in both), 20)
        (refused,) = [one for one in both if one.poll() is not None]
        assert refused.returncode == 1
        assert refused.stderr
        assert refused.stderr.read().startswith("`inv dev` must run once in a checkout (got ")
        until(lambda: answers("/"), 60)
    finally:
        for one in both:
            one.terminate()
            one.communicate()
    assert left_behind() == []


def test_a_closed_pipe_ends_it(tree: Path) -> None:
    """`inv dev | head -1`: docker can't print, and ends without stopping the container."""
    reading, writing = os.pipe()
    process = subprocess.Popen(
        inv_command("dev", f"--port={PORT}"), cwd=tree, stdout=writing, stderr=subprocess.DEVNULL
    )
    os.close(writing)
    try:
        until(lambda: answers("/"), 60)
        os.close(reading)
        for _ in range(3):
            with contextlib.suppress(httpx.TransportError):
                httpx.get(URL)
        process.wait(20)
    finally:
        process.kill()
        process.wait()
    assert left_behind() == []


def test_bad_ports_are_refused(tree: Path) -> None:
    """One that is not a port, and one that is taken."""
    assert sentence(inv("dev", "--port=x", cwd=tree)).startswith("The port must be a whole number")
    with socket.create_server(("127.0.0.1", PORT)):
        said = sentence(inv("dev", f"--port={PORT}", cwd=tree))
    assert said.startswith(f"The address 127.0.0.1:{PORT} must be free")
    assert left_behind() == []


def test_breakpoint_works_on_a_terminal(tree: Path) -> None:
    """The prompt of pdb appears, takes a command, and the request is answered; Ctrl-C ends everything."""
    edit(tree / "app" / "main.py", "        return About(", "        breakpoint()\n        return About(")
    use_breakpoint(tree, URL)
    assert left_behind() == []


def use_breakpoint(tree: Path, address: str) -> None:
    """Answer the prompt of pdb that a request to an address of `inv dev` reaches, and end the task by Ctrl-C."""
    answered: list[int] = []
    with ended(Running(tree, "dev", f"--port={PORT}", terminal=True)) as task:
        task.until("serves the working tree")
        client = Thread(target=lambda: answered.append(httpx.get(address, timeout=30).status_code))
        client.start()
        task.until(r"\(Pdb\)")
        task.type(b"p 6 * 7\n")
        task.until("42")
        task.type(b"continue\n")
        client.join(30)
        assert answered == [200]
        task.type(b"\x03")
        assert task.process.wait(10) == 0


def attached(tree: Path, name: str, line: int) -> Debugger:
    """Attach a debugger as soon as one is waited for, with a breakpoint in a line of a file."""
    client: list[Debugger] = []

    def connected() -> bool:
        # Docker's proxy accepts connections before the container does, and resets them.
        try:
            one = Debugger()
        except OSError:
            return False
        try:
            one.send("initialize", adapterID="x", pathFormat="path", linesStartAt1=True)
            one.until("response", "initialize")
        except (OSError, ValueError):
            one.close()
            return False
        client.append(one)
        return True

    until(connected, 60)
    client[0].send("attach", pathMappings=[{"localRoot": str(tree), "remoteRoot": "/srv"}])
    client[0].until("event", "initialized")
    client[0].send("setBreakpoints", source={"path": str(tree / name)}, breakpoints=[{"line": line}])
    client[0].until("response", "setBreakpoints")
    client[0].send("configurationDone")
    return client[0]


def test_a_debugger_attaches_again_after_a_save(tree: Path) -> None:
    """At each start the application waits for it; a request stops at a breakpoint."""
    module = tree / "app" / "main.py"
    lines = module.read_text(encoding="utf-8").splitlines()
    line = next(number for number, text in enumerate(lines, 1) if "return About(" in text)
    output = tree.parent / "debugged"
    with output.open("wb") as file:
        command = inv_command("dev", f"--port={PORT}", "--debug")
        process = subprocess.Popen(command, cwd=tree, stdout=file, stderr=file)
    try:
        for _ in range(2):
            client = attached(tree, "app/main.py", line)
            answered: list[int] = []
            request = Thread(target=lambda: answered.append(httpx.get(URL, timeout=30).status_code))  # noqa: B023
            request.start()
            stop = client.until("event", "stopped")
            assert stop["reason"] == "breakpoint"
            client.send("continue", threadId=stop["threadId"])
            request.join(30)
            assert answered == [200], output.read_text()
            module.write_text(module.read_text(encoding="utf-8") + "# saved\n", encoding="utf-8")
            time.sleep(1)
            client.close()
        assert stopped(process, signal.SIGTERM) < 4
        assert process.returncode == 0
    finally:
        process.kill()
        process.wait()
    assert left_behind() == []
