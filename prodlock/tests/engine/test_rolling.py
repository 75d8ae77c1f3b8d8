"""Replicas behind the proxy of deploy/: a rolling restart loses no request."""

from __future__ import annotations

import http.client
import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager

from prodlock.tests.engine.conftest import BASE, DEV, PORT, PROJECT, ROOT, Clients, answers, docker, inspected, until

FILES = ("--file=docker-compose.yml", "--file=deploy/proxy.yml", "--profile=prod")
CLIENTS = 100


@contextmanager
def proxied(image: str, **environment: str) -> Iterator[list[str]]:
    """Run two replicas behind the proxy, and yield the replicas' containers."""
    given = os.environ | {"HAPROXY_IMAGE": image, "PORT": str(PORT)} | environment
    try:
        docker("compose", *FILES, "up", "--detach", "--wait", "--no-build", cwd=ROOT, env=given)
        until(lambda: answers("/health"), 10)
        listed = docker("compose", *FILES, "ps", "--quiet", "api-prod", cwd=ROOT, env=given).stdout.split()
        # Until the proxy's checks have found both ready.
        time.sleep(2)
        yield listed
    finally:
        docker("compose", *FILES, "down", cwd=ROOT, env=given)


def restart(container: str) -> None:
    """Restart one replica, and wait until the proxy sends it requests again."""
    docker("restart", container)
    until(lambda: bool(inspected(container)["State"]["Health"]["Status"] == "healthy"), 20)
    # Two of the proxy's checks.
    time.sleep(1)


def restart_all(replicas: list[str], rounds: int) -> Clients:
    """Restart each replica in turn, `rounds` times, while clients send requests, and return the clients."""
    clients = Clients(CLIENTS)
    with clients.asking():
        for _ in range(rounds):
            for replica in replicas:
                restart(replica)
    return clients


def test_a_rolling_restart_loses_no_request(proxy_image: str, full_length: bool) -> None:  # noqa: FBT001
    """Restarts of both replicas lose no request; without the drain, the control, they lose some."""
    rounds, plain_rounds = (50, 10) if full_length else (3, 3)
    with proxied(proxy_image) as replicas:
        kept = restart_all(replicas, rounds)
    with proxied(proxy_image, APP_DRAIN_SECONDS="0") as replicas:
        plain = restart_all(replicas, plain_rounds)
    print(f"{kept.answered} requests, {len(kept.lost)} lost; plain {plain.answered}, {len(plain.lost)} lost")
    assert kept.lost == []
    assert kept.answered > 200 * rounds
    assert plain.lost


def test_replicas_that_do_not_accept_yet_fail_no_request(proxy_image: str) -> None:
    """The DNS names a container from its start on, long before a service that imports much accepts connections."""
    alias = (f"--network={PROJECT}_default", "--network-alias=api-prod")
    with proxied(proxy_image), ExitStack() as stack:
        clients = Clients(CLIENTS)
        with clients.asking():
            for _ in range(12):
                starting = docker("run", "--detach", *alias, BASE, "sleep", "60").stdout.strip()
                stack.callback(docker, "rm", "--force", starting)
            time.sleep(3)
    print(f"{clients.answered} requests, {len(clients.lost)} lost")
    assert clients.lost == []
    assert clients.answered > 1_000


def test_the_proxy_refuses_large_bodies_and_sets_request_ids(proxy_image: str) -> None:
    """No replica receives the large body, and a replica's log has the id that the client receives."""
    with proxied(proxy_image) as replicas:
        with closing(http.client.HTTPConnection("127.0.0.1", PORT, timeout=15)) as connection:
            connection.request("POST", "/quotes", bytes(2 << 20))
            with connection.getresponse() as answer:
                assert answer.status == 413
        with closing(http.client.HTTPConnection("127.0.0.1", PORT, timeout=15)) as connection:
            connection.request("GET", "/", headers={"x-request-id": "forged"})
            with connection.getresponse() as answer:
                identifier = answer.headers["x-request-id"]
        assert identifier != "forged"
        logs = "".join(docker("logs", replica).stdout for replica in replicas)
        assert identifier in logs
        assert " 413 " not in logs


def test_only_the_proxy_network_can_set_the_scheme(proxy_image: str) -> None:
    """The service trusts X-Forwarded-Proto from the proxy's network; the proxy trusts it from an outer proxy."""
    ask = """
import http.client, sys
connection = http.client.HTTPConnection(sys.argv[1])
connection.request("GET", "/quotes/", headers={"X-Forwarded-Proto": "https"})
print(connection.getresponse().headers["location"])
"""

    def redirect_scheme(network: str, host: str) -> str:
        done = docker("run", "--rm", f"--network={network}", DEV, "python", "-c", ask, host)
        return done.stdout.partition(":")[0]

    proxy_network = f"{PROJECT}_default"
    with proxied(proxy_image) as replicas:
        assert redirect_scheme(proxy_network, "api-prod:8000") == "https"
        assert redirect_scheme(proxy_network, "proxy:8080") == "http"
        assert redirect_scheme(f"container:{replicas[0]}", "127.0.0.1:8000") == "http"
    # A proxy in front of the proxy, where it is named.
    with proxied(proxy_image, OUTER_PROXY=os.environ.get("PROXY_SUBNET", "172.31.250.0/24")):
        assert redirect_scheme(proxy_network, "proxy:8080") == "https"


def test_slow_bodies_do_not_delay_other_clients(proxy_image: str) -> None:
    """More slow bodies than both replicas accept connections wait at the proxy."""
    head = b"POST /quotes HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    with proxied(proxy_image), ExitStack() as stack:
        for _ in range(450):
            stack.enter_context(socket.create_connection(("127.0.0.1", PORT))).sendall(head)
        time.sleep(1)
        started = time.monotonic()
        assert answers("/")
        assert time.monotonic() - started < 1


def test_more_than_four_replicas_get_requests(proxy_image: str) -> None:
    """As many as REPLICAS, each. The proxy's health check passes, and fails where no proxy answers, the control."""
    with proxied(proxy_image, REPLICAS="5") as replicas:
        clients = Clients(CLIENTS)
        with clients.asking():
            time.sleep(1)
        assert clients.lost == []
        assert len(replicas) == 5
        assert all("'/quotes'" in docker("logs", one).stderr + docker("logs", one).stdout for one in replicas)
        proxy = inspected(f"{PROJECT}-proxy-1")
    assert proxy["State"]["Health"]["Status"] == "healthy"
    _, *command = proxy["Config"]["Healthcheck"]["Test"]
    assert docker("run", "--rm", "--network=none", proxy_image, *command, check=False).returncode != 0
