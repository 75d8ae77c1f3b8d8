"""A stop at any time after `docker run`: exit code 0, within the grace period, every request answered and logged."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

import httpx
import pytest

from prodlock.tests.engine.conftest import (
    DEV,
    PORT,
    PROD,
    PROJECT,
    REPOSITORY,
    Clients,
    answers,
    docker,
    inspected,
    until,
)
from prodlock.tests.engine.test_rolling import FILES, proxied, restart

# The most seconds that the stop of a ready service takes: its drain and its shutdown.
DRAINED = 3.5
# The exit code after SIGKILL, at the end of the grace period.
KILLED = 137


@contextmanager
def started(*options: str) -> Iterator[str]:
    """Start production, and yield its container at once."""
    container = docker("run", "--detach", *options, PROD).stdout.strip()
    try:
        yield container
    finally:
        docker("rm", "--force", container)


def stopped(container: str) -> tuple[int, float]:
    """Stop a container, and return its exit code and the seconds that the stop took."""
    began = time.monotonic()
    docker("stop", container)
    seconds = time.monotonic() - began
    return inspected(container)["State"]["ExitCode"], seconds


def check_stop(delay: float, *options: str) -> bool:
    """Stop a service `delay` seconds after its start, check how it ended, and return whether the signal arrived."""
    with started(*options) as container:
        time.sleep(delay)
        code, seconds = stopped(container)
        output = docker("logs", container)
    assert "Traceback" not in output.stdout + output.stderr
    if code == KILLED:
        return False
    assert code == 0
    assert seconds < (DRAINED if "startup complete" in output.stdout else 1)
    return True


@pytest.mark.parametrize("options", [(), ("--init",), ("--pid=host",)], ids=["bare", "init", "shared"])
def test_a_stop_without_a_delay_ends_with_0(options: tuple[str, ...]) -> None:
    """A signal before the command's first instruction is lost: 1 of 25 on a busy machine."""
    reached = [check_stop(0, *options) for _ in range(5)]
    print(f"{sum(reached)} of {len(reached)}")
    assert sum(reached) >= len(reached) - 1


@pytest.mark.parametrize(
    ("options", "delay"),
    [*(((), delay) for delay in (0.1, 0.3, 0.6, 1.0, 2.0)), (("--init",), 0.3), (("--pid=host",), 0.3)],
)
def test_a_stop_after_any_delay_ends_with_0(options: tuple[str, ...], delay: float) -> None:
    """A service that has not started stops within a second, a ready one after its drain; as process 1 or another."""
    assert check_stop(delay, *options)


def test_a_command_without_blocked_signals_loses_them() -> None:
    """The control: while the interpreter starts, the kernel drops a signal that process 1 does not handle."""
    script = "import time; time.sleep(0.2); import runpy; runpy.run_module('prodlock.server', run_name='__main__')"
    command = ("python", "-c", script, "app.main:create_app")
    container = docker("run", "--detach", PROD, *command).stdout.strip()
    try:
        docker("kill", "--signal=TERM", container)
        time.sleep(3)
        assert inspected(container)["State"]["Running"]
    finally:
        docker("rm", "--force", container)


@pytest.mark.parametrize("options", [(), ("--init",), ("--pid=host",)], ids=["bare", "init", "shared"])
def test_every_request_is_logged_before_the_exit(options: tuple[str, ...]) -> None:
    """A request whose body never came is aborted at the end of the grace period, answered and logged as well."""
    unfinished = b"POST /quotes HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nX-Request-Id: unfinished\r\n"
    limits = ("--env=APP_DRAIN_SECONDS=0", "--env=UVICORN_TIMEOUT_GRACEFUL_SHUTDOWN=1")
    with started(*options, *limits, f"--publish=127.0.0.1:{PORT}:8000") as container:
        until(answers, 20)
        with (
            httpx.Client(base_url=f"http://127.0.0.1:{PORT}") as client,
            socket.create_connection(("127.0.0.1", PORT), timeout=20) as connection,
        ):
            connection.sendall(unfinished + b"Content-Length: 9\r\n\r\n{")
            time.sleep(0.2)
            for number in range(50):
                client.get("/", headers={"x-request-id": f"answered-{number}."})
            code, seconds = stopped(container)
            answer = b"".join(iter(partial(connection.recv, 4096), b""))
        log = docker("logs", container).stdout
    assert (code, "Traceback" in log) == (0, False)
    assert seconds < 3
    assert all(f"answered-{number}.\n" in log for number in range(50))
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"x-request-id: unfinished" in answer
    assert re.search(r"WARNING prodlock\.request: POST '/quotes' 503 .* unfinished: aborted", log)


def test_replicas_that_are_stopped_right_after_their_start_lose_no_request(proxy_image: str) -> None:
    """Each replica is stopped while the other one answers, before or after the proxy has found it ready."""
    clients = Clients(50)
    seconds = []
    with proxied(proxy_image) as replicas, clients.asking():
        for replica in replicas:
            for delay in (0.1, 0.2, 0.4, 0.6, 0.8, 1.0):
                docker("restart", replica)
                time.sleep(delay)
                code, took = stopped(replica)
                assert code == 0, (delay, took, docker("logs", "--tail=30", replica).stdout)
                seconds.append(took)
            restart(replica)
    print(f"{clients.answered} requests, {len(clients.lost)} lost; stopped in {max(seconds):.1f} s at most")
    assert clients.lost == []
    assert clients.answered > 1000


def test_ipv6_is_answered_where_the_network_has_it() -> None:
    """The service also answers on IPv4, and the health check works for each host that it listens on."""
    network = f"{PROJECT}-dual"
    made = docker("network", "create", "--ipv6", "--subnet=fd00:10:5::/64", network, check=False)
    if made.returncode:
        pytest.skip(f"this Engine has no IPv6: {made.stderr}")
    try:
        for host, reached in {"": (True, True), "0.0.0.0": (True, False), "::": (False, True)}.items():  # noqa: S104
            with started(f"--network={network}", f"--env=UVICORN_HOST={host}") as container:
                until(partial(healthy, container), 20)
                addresses = inspected(container)["NetworkSettings"]["Networks"][network]
                found = tuple(connects(network, addresses[name]) for name in ("IPAddress", "GlobalIPv6Address"))
                assert found == reached
    finally:
        docker("network", "rm", network)


def test_a_container_without_ipv6_is_healthy() -> None:
    """The kernel may have IPv6 disabled."""
    with started("--sysctl=net.ipv6.conf.all.disable_ipv6=1") as container:
        until(partial(healthy, container), 20)


def healthy(container: str) -> bool:
    """Return whether the health check has found the service healthy."""
    return bool(inspected(container)["State"]["Health"]["Status"] == "healthy")


def connects(network: str, address: str) -> bool:
    """Return whether the service is reached at an address."""
    script = f"import socket; socket.create_connection(({address!r}, 8000), 2)"
    return docker("run", "--rm", f"--network={network}", PROD, "python", "-c", script, check=False).returncode == 0


def test_a_head_request_gets_no_body() -> None:
    """After the answer's head, the connection serves the next request."""
    head = b"HEAD %s HTTP/1.1\r\nHost: x\r\n\r\n"
    with started(f"--publish=127.0.0.1:{PORT}:8000"):
        until(answers, 20)
        with socket.create_connection(("127.0.0.1", PORT), timeout=5) as connection:
            for path in (b"/", b"/health", b"/ready", b"/docs"):
                connection.sendall(head % path)
                answer = connection.recv(65536)
                assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
                assert answer.endswith(b"\r\n\r\n")


def test_compose_passes_every_setting_on() -> None:
    """Compose silently drops a variable that docker-compose.yml does not name."""
    script = (
        "from app.settings import PREFIX, Settings; from prodlock.server.settings import VARIABLES; "
        "print(*VARIABLES, *(PREFIX + name.upper() for name in Settings.model_fields))"
    )
    names = docker("run", "--rm", PROD, "python", "-c", script).stdout.split()
    environment = os.environ | dict.fromkeys(names, "1")
    done = docker("compose", "--profile=prod", "config", "--format=json", env=environment)
    assert set(json.loads(done.stdout)["services"]["api-prod"]["environment"]) == set(names)


def test_logs_are_rotated(proxy_image: str) -> None:
    """Compose rotates the logs of the service and of the proxy."""
    with proxied(proxy_image) as replicas:
        proxy = docker("compose", *FILES, "ps", "--quiet", "proxy").stdout.strip()
        for container in (*replicas, proxy):
            assert inspected(container)["HostConfig"]["LogConfig"] == {
                "Type": "json-file",
                "Config": {"max-file": "3", "max-size": "10m"},
            }


def test_the_tests_of_what_runs_in_dev_pass_there() -> None:
    """`prodlock/tests/server` and `loop` pass in dev, which has no other part of the tool."""
    tests = f"--volume={REPOSITORY}/prodlock/tests:/srv/prodlock/tests:ro"

    def run(part: str) -> subprocess.CompletedProcess[str]:
        command = (DEV, "pytest", "-q", f"prodlock/tests/{part}")
        return docker("run", "--rm", "--network=none", "--init", tests, *command, check=False)

    # Both wait more than they compute.
    with ThreadPoolExecutor(2) as pool:
        for done in pool.map(run, ("server", "loop")):
            assert done.returncode == 0, done.stdout
