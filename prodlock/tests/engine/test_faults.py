"""What goes wrong around the service, what it does then, and how soon it is well again."""

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
    """Return the number that process 1 of a container has on this machine."""
    found: int = inspected(container)["State"]["Pid"]
    return found


@root
def test_a_killed_service_is_back_within_seconds(service: str) -> None:
    """SIGKILL, as from an operator or a kernel: the restart policy."""
    before = process(service)
    os.kill(before, signal.SIGKILL)
    seconds = until(lambda: process(service) not in {0, before} and answers(), 10)
    print(f"killed, and back in {seconds:.1f} s")
    assert seconds < 5
    assert inspected(service)["RestartCount"] == 1


@root
def test_a_service_without_memory_is_back_within_seconds(service: str) -> None:
    """The kernel ends it where its container asks for more than it may have."""
    before = process(service)
    # Of the container's processes it takes the one that it may take first: here process 1, and not who asks.
    Path("/proc", str(before), "oom_score_adj").write_text("1000", encoding="utf-8")
    docker("exec", service, "python", "-c", "bytearray(1 << 30)", check=False)
    seconds = until(lambda: process(service) not in {0, before} and answers(), 10)
    print(f"out of memory, and back in {seconds:.1f} s")
    assert seconds < 5


def test_what_runs_beside_the_service_can_not_take_its_memory(service: str) -> None:
    """Who asks for too much is ended, and the service answers on."""
    assert docker("exec", service, "python", "-c", "bytearray(1 << 30)", check=False).returncode == 137
    assert answers()
    assert inspected(service)["RestartCount"] == 0


def test_a_full_disk_stops_nothing(service: str) -> None:
    """/tmp is all that can be full."""
    script = "open('/tmp/x', 'wb').write(bytes(1 << 30))"
    done = docker("exec", service, "python", "-c", script, check=False)
    assert "No space left on device" in done.stderr
    quote = {"lines": [{"article": "bolt", "pieces": 2, "price": "1.05"}]}
    assert httpx.post(f"{URL}/quotes", json=quote).json()["total"] == "2.10"
    assert docker("exec", service, "python", "-S", "prodlock/server/healthcheck.py", check=False).returncode == 0


def test_a_paused_service_answers_when_it_goes_on(service: str) -> None:
    """A request that came meanwhile waits, and is answered."""
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


def test_it_is_unready_from_the_first_moment_of_its_stop(service: str) -> None:
    """And ready from the end of its start: before that nobody listens. It answers meanwhile, and ends with 0."""
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
    """Give so many connections on which so much of a request was sent."""
    with ExitStack() as stack:
        found = []
        for _ in range(count):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", PORT), timeout=30))
            connection.sendall(sent)
            found.append(connection)
        yield found


# What hanging clients have sent.
SENT = {"nothing": b"", "a line": b"GET / HT", "a head": HEAD, "a body": HEAD + b"\r\n{"}


@dataclass(frozen=True)
class Hanging:
    """What a client got that sent part of a request and then nothing, and after how many seconds."""

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
def test_clients_that_hang_keep_nobody_waiting(hanging: dict[str, Hanging], kind: str) -> None:
    """A client whose upload stops gets 408 after 10 to 20 s; one that has sent nothing is disconnected."""
    assert hanging[kind].answer.startswith(b"HTTP/1.1 408 Request Timeout\r\n" if SENT[kind] else b"")
    assert bool(hanging[kind].answer) == bool(SENT[kind])
    assert 5 < hanging[kind].seconds < 25


def test_clients_that_hang_do_not_delay_the_stop(service: str) -> None:
    """It ends within its grace period, and with 0."""
    with connections(50, HEAD + b"\r\n{"):
        started = time.monotonic()
        docker("stop", service)
        assert time.monotonic() - started < 10
    assert inspected(service)["State"]["ExitCode"] == 0


def open_connections(container: str) -> int:
    """Return how many connections the service has that are established (proc(5), /proc/net/tcp)."""
    lines = python_in(container, "print(open('/proc/net/tcp').read())").splitlines()[1:]
    fields = [line.split() for line in lines if line.strip()]
    return sum(local.endswith(":1F40") and state == "01" for _, local, _, state, *_ in fields)


def test_a_client_that_vanished_is_let_go(service: str) -> None:
    """A half-open connection: no packet tells of its end. Nobody waits for the rest of the request for ever."""
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
        print(f"vanished, and let go after {seconds:.0f} s")
        assert 5 < seconds < 25
    finally:
        docker("rm", "--force", client)


@pytest.fixture
def faketime() -> str:
    """An image of production with a library that tells another time."""
    done = docker("build", "--quiet", "--build-arg=PACKAGES=libfaketime", *secrets(), ".", cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_clock_that_jumps_stops_nothing(faketime: str, tmp_path: Path) -> None:
    """A day forth and a day back: connections and answers go on, only the date that is told jumps."""
    tmp_path.chmod(0o755)

    def jump_by(days: str) -> None:
        # In one step: the library ends a process that sees an empty file.
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
                # The server makes its date header once a second.
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


def test_a_service_that_can_not_start_is_given_up() -> None:
    """After five more tries: a setting does not mend itself. `inv serve` does not wait for them."""
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
    """One variable, so that they can't differ."""
    done = inv("serve", "--detach", f"--port={PORT}", APP_DRAIN_SECONDS="9", APP_STOP_GRACE_SECONDS="20")
    try:
        assert done.returncode == 0, done.stderr
        container = docker("compose", "--profile=prod", "ps", "--quiet", "api-prod", cwd=ROOT).stdout.strip()
        assert inspected(container)["Config"]["StopTimeout"] == 20
    finally:
        docker("kill", container)
        inv("stop")


@pytest.mark.parametrize(("policy", "state"), [("on-failure:5", "exited"), ("unless-stopped", "running")])
def test_a_restart_of_the_engine_is_survived_where_that_is_asked_for(
    second_engine: SecondEngine, policy: str, state: str
) -> None:
    """Stopped with the Engine, it has ended in good order: `on-failure` does not start it again."""
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
