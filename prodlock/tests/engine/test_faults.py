"""Faults around the service: its behaviour meanwhile, and how soon it recovers."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx
import pytest

from prodlock.tests.engine.conftest import (
    PORT,
    PROD,
    ROOT,
    SecondEngine,
    answers,
    docker,
    inspected,
    inv,
    python_in,
    secrets,
    served,
    until,
)

URL = f"http://127.0.0.1:{PORT}"
root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may do this to another user's process")
HEAD = b"POST /quotes HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n"


def process(container: str) -> int:
    """Return the id that process 1 of a container has on this machine."""
    found: int = inspected(container)["State"]["Pid"]
    return found


@root
def test_a_killed_service_is_restarted_within_seconds(service: str) -> None:
    """The restart policy applies after SIGKILL, as from an operator or the kernel."""
    before = process(service)
    os.kill(before, signal.SIGKILL)
    seconds = until(lambda: process(service) not in {0, before} and answers(), 10)
    print(f"killed, and restarted in {seconds:.1f} s")
    assert seconds < 5
    assert inspected(service)["RestartCount"] == 1


@root
def test_a_service_killed_for_memory_is_restarted_within_seconds(service: str) -> None:
    """The kernel kills process 1 when the container exceeds its memory limit, and the restart policy applies."""
    before = process(service)
    # The kernel kills the process with the highest score: process 1, not the one that allocates.
    Path("/proc", str(before), "oom_score_adj").write_text("1000", encoding="utf-8")
    docker("exec", service, "python", "-c", "bytearray(1 << 30)", check=False)
    seconds = until(lambda: process(service) not in {0, before} and answers(), 10)
    print(f"out of memory, and restarted in {seconds:.1f} s")
    assert seconds < 5


def test_another_process_cannot_take_the_services_memory(service: str) -> None:
    """The kernel kills the process that exceeds the container's limit, and the service continues to answer."""
    assert docker("exec", service, "python", "-c", "bytearray(1 << 30)", check=False).returncode == 137
    assert answers()
    assert inspected(service)["RestartCount"] == 0


def test_a_full_disk_does_not_stop_the_service(service: str) -> None:
    """Only /tmp can be full: quotes and the health check still work."""
    script = "open('/tmp/x', 'wb').write(bytes(1 << 30))"
    done = docker("exec", service, "python", "-c", script, check=False)
    assert "No space left on device" in done.stderr
    quote = {"lines": [{"article": "bolt", "pieces": 2, "price": "1.05"}]}
    assert httpx.post(f"{URL}/quotes", json=quote).json()["total"] == "2.10"
    assert docker("exec", service, "python", "-S", "prodlock/server/healthcheck.py", check=False).returncode == 0


def test_a_paused_service_answers_after_it_is_resumed(service: str) -> None:
    """A request that arrives during the pause waits and is answered."""
    docker("pause", service)
    seen: list[int] = []
    asking = threading.Thread(target=lambda: seen.append(httpx.get(URL, timeout=30).status_code))
    asking.start()
    time.sleep(3)
    assert seen == []
    docker("unpause", service)
    asking.join(2)
    assert seen == [200]
    assert until(answers, 1) < 1


def test_the_service_is_unready_from_the_start_of_its_stop(service: str) -> None:
    """During the drain /ready returns 503 and other requests are answered; the exit code is 0."""
    stopping = threading.Thread(target=docker, args=("stop", service))
    seen = []
    with httpx.Client(base_url=URL) as client:
        stopping.start()
        until(lambda: client.get("/ready").status_code == 503, 2)
        started = time.monotonic()
        while time.monotonic() - started < 1:
            answer = client.get("/health")
            seen.append((client.get("/ready").status_code, answer.status_code, answer.headers["connection"]))
            time.sleep(0.05)
    stopping.join()
    assert set(seen) == {(503, 200, "close")}
    assert inspected(service)["State"]["ExitCode"] == 0


@contextmanager
def connections(count: int, sent: bytes) -> Iterator[list[socket.socket]]:
    """Yield `count` connections on which a part of a request was sent."""
    with ExitStack() as stack:
        found = []
        for _ in range(count):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", PORT), timeout=30))
            connection.sendall(sent)
            found.append(connection)
        yield found


# The parts of a request that hanging clients send.
SENT = {"nothing": b"", "a line": b"GET / HT", "a head": HEAD, "a body": HEAD + b"\r\n{"}


@dataclass(frozen=True)
class Hanging:
    """The answer to a client that sent part of a request and then nothing, and the seconds until it came."""

    answer: bytes
    seconds: float


@pytest.fixture(scope="module")
def hanging() -> dict[str, Hanging]:
    """The answers to 300 hanging clients of each kind, while another client is answered at once."""
    found = {}
    with served() as container:
        with ExitStack() as stack:
            clients = {kind: stack.enter_context(connections(300, sent)) for kind, sent in SENT.items()}
            started = time.monotonic()
            assert answers()
            assert time.monotonic() - started < 1
            for kind, (first, *_) in clients.items():
                answer = b"".join(iter(partial(first.recv, 4096), b""))
                found[kind] = Hanging(answer, time.monotonic() - started)
        until(lambda: open_connections(container) == 0, 5)
    return found


@pytest.mark.parametrize("kind", SENT)
def test_hanging_clients_do_not_delay_others(hanging: dict[str, Hanging], kind: str) -> None:
    """A client whose upload stops gets 408 after 10 to 20 s; one that has sent nothing is disconnected."""
    assert hanging[kind].answer.startswith(b"HTTP/1.1 408 Request Timeout\r\n" if SENT[kind] else b"")
    assert bool(hanging[kind].answer) == bool(SENT[kind])
    assert 5 < hanging[kind].seconds < 25


def test_hanging_clients_do_not_delay_the_stop(service: str) -> None:
    """The service ends within its grace period, with exit code 0."""
    with connections(50, HEAD + b"\r\n{"):
        started = time.monotonic()
        docker("stop", service)
        assert time.monotonic() - started < 10
    assert inspected(service)["State"]["ExitCode"] == 0


def open_connections(container: str) -> int:
    """Return the number of established connections to the service (proc(5), /proc/net/tcp)."""
    lines = python_in(container, "print(open('/proc/net/tcp').read())").splitlines()[1:]
    fields = [line.split() for line in lines if line.strip()]
    return sum(local.endswith(":1F40") and state == "01" for _, local, _, state, *_ in fields)


def test_a_vanished_client_is_disconnected(service: str) -> None:
    """A half-open connection, whose end no packet reports, falls below the minimum upload rate."""
    (network,) = inspected(service)["NetworkSettings"]["Networks"]
    address = inspected(service)["NetworkSettings"]["Networks"][network]["IPAddress"]
    script = (
        f"import socket, time; connection = socket.create_connection(('{address}', 8000)); "
        "connection.sendall(b'GET / HTTP'); time.sleep(99)"
    )
    client = docker("run", "--detach", f"--network={network}", PROD, "python", "-c", script).stdout.strip()
    try:
        until(lambda: open_connections(service) == 1, 10)
        docker("network", "disconnect", "--force", network, client)
        seconds = until(lambda: open_connections(service) == 0, 30)
        print(f"vanished, and disconnected after {seconds:.0f} s")
        assert 5 < seconds < 25
    finally:
        docker("rm", "--force", client)


@pytest.fixture
def faketime() -> str:
    """An image of production with a library that changes the time which programs read."""
    done = docker("build", "--quiet", "--build-arg=PACKAGES=libfaketime", *secrets(), ".", cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_jump_of_the_clock_does_not_stop_the_service(faketime: str, tmp_path: Path) -> None:
    """When the clock jumps by a day, forward or back, connections stay open; only the date header changes."""
    tmp_path.chmod(0o755)

    def jump_by(days: str) -> None:
        # Replace the file in one step: the library ends a process that reads an empty one.
        new = tmp_path / "new"
        new.write_text(days, encoding="utf-8")
        new.rename(tmp_path / "now")

    jump_by("+0d")
    options = [
        "--env=LD_PRELOAD=/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1", "--env=FAKETIME_NO_CACHE=1",
        "--env=FAKETIME_DONT_FAKE_MONOTONIC=1", "--env=FAKETIME_TIMESTAMP_FILE=/clock/now",
        f"--volume={tmp_path}:/clock:ro",
    ]  # fmt: skip
    container = docker("run", "--detach", f"--publish=127.0.0.1:{PORT}:8000", *options, faketime).stdout.strip()
    try:
        until(answers, 20)
        days = []
        with httpx.Client(base_url=URL) as client:
            for jump in ("+0d", "+1d", "-1d", "+0d"):
                jump_by(jump)
                # The server updates its date header once a second.
                time.sleep(1.5)
                answer = client.get("/")
                assert answer.status_code == 200
                days.append(answer.headers["date"][:16])
        today, tomorrow, yesterday, again = days
        assert len({today, tomorrow, yesterday}) == 3
        assert again in {today, tomorrow}
        assert "traceback" not in docker("logs", container).stdout.lower()
    finally:
        docker("rm", "--force", container)


def test_a_service_that_cannot_start_is_given_up() -> None:
    """Compose gives up after five restarts; `inv serve` returns without waiting for them."""
    wrong = "(got 9 + 7 = 16 s, and 10 s)"
    done = inv("serve", "--detach", f"--port={PORT}", APP_DRAIN_SECONDS="9")
    assert done.returncode == 1
    assert wrong in done.stdout + done.stderr
    up = ("compose", "--profile=prod", "up", "--detach", "--no-build")
    docker(*up, cwd=ROOT, env=os.environ | {"APP_DRAIN_SECONDS": "9", "PORT": str(PORT)})
    try:
        container = docker("compose", "--profile=prod", "ps", "--all", "--quiet", cwd=ROOT).stdout.strip()
        until(lambda: inspected(container)["State"]["Status"] == "exited", 30)
        assert inspected(container)["RestartCount"] == 5
        assert docker("logs", container).stderr.count(wrong) == 6
    finally:
        inv("stop")


def test_a_grace_period_is_set_for_the_engine_and_the_service() -> None:
    """One variable sets both, so that they cannot differ."""
    done = inv("serve", "--detach", f"--port={PORT}", APP_DRAIN_SECONDS="9", APP_STOP_GRACE_SECONDS="20")
    try:
        assert done.returncode == 0, done.stderr
        container = docker("compose", "--profile=prod", "ps", "--quiet", "api-prod", cwd=ROOT).stdout.strip()
        assert inspected(container)["Config"]["StopTimeout"] == 20
    finally:
        docker("kill", container)
        inv("stop")


@pytest.mark.parametrize(("policy", "state"), [("on-failure:5", "exited"), ("unless-stopped", "running")])
def test_the_restart_policy_applies_to_a_restart_of_the_engine(
    second_engine: SecondEngine, policy: str, state: str
) -> None:
    """A service stopped with the Engine has exited with 0: `unless-stopped` starts it again, `on-failure` does not."""
    second_engine.load(PROD)
    container = second_engine.docker("run", "--detach", f"--restart={policy}", PROD).stdout.strip()

    def seen(field: str) -> str:
        return second_engine.docker("inspect", f"--format={{{{.State.{field}}}}}", container).stdout.strip()

    try:
        until(lambda: seen("Health.Status") == "healthy", 20)
        second_engine.stop()
        second_engine.start()
        if state == "running":
            seconds = until(lambda: seen("Status") == state and seen("Health.Status") == "healthy", 20)
            print(f"healthy {seconds:.1f} s after the Engine")
            assert seconds < 10
        else:
            time.sleep(3)
        assert (seen("Status"), seen("ExitCode")) == (state, "0")
    finally:
        second_engine.docker("rm", "--force", container)
