"""Tests of `inv serve` over a socket, from its start to the last request."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Thread

import httpx
import pytest

from prodlock.tests.engine.conftest import (
    PORT,
    PROD,
    ROOT,
    answers,
    docker,
    inspected,
    inv,
    inv_command,
    left_behind,
    sentence,
    status,
    until,
)

URL = f"http://localhost:{PORT}"


@contextmanager
def serving(*args: str, cwd: Path = ROOT, **environment: str) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """Run `inv serve`, wait until it has printed its address, and yield the process and the lines so far."""
    process = subprocess.Popen(
        inv_command("serve", f"--port={PORT}", *args),
        cwd=cwd,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    lines: list[str] = []
    try:
        for line in process.stdout:
            lines.append(line)
            if "answers" in line:
                break
        yield process, lines
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(30)
        process.stdout.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_answers_until_it_is_stopped(number: signal.Signals) -> None:
    """The task prints its address once the service is healthy; either signal ends it with 0 and leaves no container."""
    with serving() as (process, lines):
        assert lines == [f"{URL} answers. Ctrl-C stops it.\n"]
        with httpx.Client(base_url=URL) as client:
            assert set(client.get("/").json()) == {"name", "version"}
            assert client.get("/health").json() == {"status": "ok"}
            assert client.get("/ready").json() == {"status": "ready"}
            assert client.get("/docs").status_code == 200
            assert client.get("/openapi.json").json()["openapi"].startswith("3.")
            quote = client.post("/quotes", json={"lines": [{"article": "bolt", "pieces": 2, "price": "1.05"}]})
            assert quote.json()["total"] == "2.10"
            assert client.post("/quotes", json={"lines": []}).status_code == 422
            assert client.get("/nope").json() == {"detail": "Not Found"}
        assert left_behind()
        started = time.monotonic()
        process.send_signal(number)
        assert process.wait(20) == 0
        assert time.monotonic() - started < 10
    assert left_behind() == []


def test_a_second_interruption_does_not_disturb_the_first() -> None:
    """Further signals do not interrupt the stop: the task exits with 0 and leaves no container."""
    with serving() as (process, _):
        for _ in range(3):
            process.send_signal(signal.SIGINT)
            time.sleep(0.2)
        assert process.wait(20) == 0
    assert left_behind() == []


@pytest.mark.parametrize(
    "task",
    [("serve", f"--port={PORT}"), ("shell", "--", "sh", "-c", "echo Rea''ched; sleep 300"), ("test", "--", "--trace")],
    ids=["serve", "shell", "test"],
)
def test_a_closed_terminal_leaves_nothing_behind(task: tuple[str, ...]) -> None:
    """The output has no reader any more, and both the shell and the kernel may send a signal."""
    ours, theirs = pty.openpty()
    # A run of these tests under `nohup` ignores the signal, and so would the task.
    ignored = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        process = subprocess.Popen(
            inv_command(*task), cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
        )
    finally:
        signal.signal(signal.SIGHUP, ignored)
    os.close(theirs)
    try:
        seen = b""
        while not any(word in seen for word in (b"answers", b"Reached", b"(Pdb)")):
            seen += os.read(ours, 1024)
        os.close(ours)
        for _ in range(2):
            process.send_signal(signal.SIGHUP)
            time.sleep(0.3)
        # Without a `docker stop`, Compose would be killed after 15 s.
        process.wait(12)
    finally:
        process.kill()
    assert left_behind() == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may end another user's process")
def test_serve_follows_the_log_of_a_restarted_service() -> None:
    """A crash of the service does not end `inv serve`; a stop without a restart ends it with 1."""
    with serving(APP_LOG_FORMAT="json") as (process, _):
        (container,) = docker("ps", "--quiet", "--filter=name=api-prod").stdout.split()
        before = inspected(container)["State"]["Pid"]
        os.kill(before, signal.SIGKILL)
        until(lambda: inspected(container)["State"]["Pid"] not in {0, before} and answers(), 10)
        httpx.get(URL, headers={"x-request-id": "after-the-crash"})
        assert process.stdout is not None
        assert any("after-the-crash" in line for line in process.stdout)
        docker("stop", container)
        assert process.wait(20) == 1
    assert left_behind() == []


def test_serve_reads_the_port_from_the_environment() -> None:
    """Without `--port`, the service is published on PORT, a variable of docker-compose.yml."""
    done = inv("serve", "--detach", PORT=str(PORT))
    try:
        assert done.stdout.startswith(f"http://localhost:{PORT} answers.")
    finally:
        assert inv("stop").returncode == 0


def test_serve_prints_the_services_log_unchanged() -> None:
    """Settings reach the container, and each line on standard output is a line of the service's log."""
    with serving(APP_LOG_FORMAT="json") as (process, _):
        httpx.get(URL, headers={"x-request-id": "seen-in-the-log"})
        assert process.stdout is not None
        for line in process.stdout:
            if "seen-in-the-log" in line:
                assert json.loads(line)["path"] == "/"
                break
        else:
            pytest.fail("the request was not logged")


def test_detached_serve_returns_and_stop_ends_the_service() -> None:
    """`inv serve --detach` returns once the service is healthy, and `inv stop` leaves no container."""
    done = inv("serve", "--detach", f"--port={PORT}")
    try:
        assert done.returncode == 0, done.stderr
        assert done.stdout == f"{URL} answers. `inv stop` stops it.\n"
        assert httpx.get(f"{URL}/health").status_code == 200
    finally:
        assert inv("stop").returncode == 0
    assert left_behind() == []


def test_serve_reports_a_port_in_use() -> None:
    """The message is one sentence, and no container is left."""
    with socket.create_server(("127.0.0.1", PORT)):
        done = inv("serve", f"--port={PORT}")
    assert sentence(done) == (
        f"127.0.0.1:{PORT} must be free (got: already in use). To fix it: stop what listens there, or choose another "
        "port (`inv serve --port N` for the service's)."
    )
    assert left_behind() == []


def test_an_invalid_setting_stops_the_start() -> None:
    """The service's message names the variable, and no container is left."""
    done = inv("serve", f"--port={PORT}", APP_LOG_LEVEL="loud")
    assert sentence(done) == "api-prod did not become healthy; the last lines above give the reason."
    assert "APP_LOG_LEVEL must be debug, info, warning or error (got 'loud')" in done.stdout + done.stderr
    assert left_behind() == []


@pytest.fixture
def container() -> Iterator[str]:
    """A running production container, published on PORT."""
    name = docker("run", "--detach", f"--publish=127.0.0.1:{PORT}:8000", PROD).stdout.strip()
    try:
        deadline = time.monotonic() + 20
        while inspected(name)["State"]["Health"]["Status"] != "healthy":
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield name
    finally:
        docker("rm", "--force", name)


def test_the_service_is_process_1(container: str) -> None:
    """No shell and no env(1) runs between the container and the server, which handles the stop signals."""
    script = "import pathlib; print(pathlib.Path('/proc/1/cmdline').read_text(), end='')"
    command = docker("exec", container, "python", "-c", script).stdout.split("\0")
    assert command[:3] == ["python", "-m", "prodlock.server"]
    masks = {field: int(status(container, field), 16) for field in ("SigBlk", "SigIgn", "SigCgt")}
    for number in (signal.SIGTERM, signal.SIGINT):
        bit = 1 << (number - 1)
        assert [bool(mask & bit) for mask in masks.values()] == [False, False, True]


def test_stop_answers_the_request_in_flight(container: str) -> None:
    """`docker stop` ends the service with 0 within 3 seconds, and a client with a request in flight gets its answer."""
    body = json.dumps({"lines": [{"article": "bolt", "pieces": 2, "price": "1.05"}]}).encode()
    head = f"POST /quotes HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", PORT), timeout=10) as connection:
        connection.sendall(head.encode() + body[:10])
        time.sleep(0.2)
        started = time.monotonic()
        stopping = Thread(target=docker, args=("stop", container))
        stopping.start()
        time.sleep(0.8)
        connection.sendall(body[10:])
        answer = b"".join(iter(partial(connection.recv, 4096), b""))
        stopping.join()
        seconds = time.monotonic() - started
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert b'"total":"2.10"' in answer
    assert inspected(container)["State"]["ExitCode"] == 0
    assert seconds < 3
