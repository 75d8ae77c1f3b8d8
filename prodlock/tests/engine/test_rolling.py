"""Replicas behind the proxy of deploy/: they are replaced one after the other, and no request is lost."""

from __future__ import annotations

import http.client
import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager

from prodlock.tests.engine.conftest import DEV, PORT, PROJECT, ROOT, Clients, answers, docker, inspected, until

FILES = ("--file=docker-compose.yml", "--file=deploy/proxy.yml", "--profile=prod")
CLIENTS = 100


@contextmanager
def proxied(image: str, **environment: str) -> Iterator[list[str]]:
    """Run two replicas behind the proxy; give the replicas' containers."""
    given = os.environ | {"HAPROXY_IMAGE": image, "PORT": str(PORT)} | environment
    try:
        docker("compose", *FILES, "up", "--detach", "--wait", "--no-build", cwd=ROOT, env=given)
        until(lambda: answers("/health"), 10)
        listed = docker("compose", *FILES, "ps", "--quiet", "api-prod", cwd=ROOT, env=given).stdout.split()
        # Until the proxy knows both.
        time.sleep(2)
        yield listed
    finally:
        docker("compose", *FILES, "down", cwd=ROOT, env=given)


def restart(container: str) -> None:
    """Restart one replica, and wait until the proxy has it back."""
    docker("restart", container)
    until(lambda: bool(inspected(container)["State"]["Health"]["Status"] == "healthy"), 20)
    # Two of the proxy's checks.
    time.sleep(1)


def rolled(replicas: list[str], rounds: int) -> Clients:
    """Restart all replicas, one after the other and so often, while clients ask; return what the clients saw."""
    clients = Clients(CLIENTS)
    with clients.asking():
        for _ in range(rounds):
            for replica in replicas:
                restart(replica)
    return clients


def test_a_rolling_restart_loses_no_request(proxy_image: str, full_length: bool) -> None:  # noqa: FBT001
    """Restarts of both replicas lose nothing; the control: without the drain they lose requests."""
    rounds, plain_rounds = (50, 10) if full_length else (5, 5)
    with proxied(proxy_image) as replicas:
        kept = rolled(replicas, rounds)
    with proxied(proxy_image, APP_DRAIN_SECONDS="0") as replicas:
        plain = rolled(replicas, plain_rounds)
    print(f"{kept.answered} requests, {len(kept.lost)} lost; plain {plain.answered}, {len(plain.lost)} lost")
    assert kept.lost == []
    assert kept.answered > 200 * rounds
    assert plain.lost


def test_the_proxy_keeps_what_is_slow_or_large_to_itself(proxy_image: str) -> None:
    """And tells the service who asks: its log has the id that the client gets."""
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


def test_the_proxys_word_is_taken_and_nobody_elses(proxy_image: str) -> None:
    """Who asks by https is sent on by https: the proxy says so, its own clients can't, nor can anybody else."""
    ask = """
import http.client, sys
connection = http.client.HTTPConnection(sys.argv[1])
connection.request("GET", "/quotes/", headers={"X-Forwarded-Proto": "https"})
print(connection.getresponse().headers["location"])
"""

    def sent_on(network: str, host: str) -> str:
        done = docker("run", "--rm", f"--network={network}", DEV, "python", "-c", ask, host)
        return done.stdout.partition(":")[0]

    proxys_network = f"{PROJECT}_default"
    with proxied(proxy_image) as replicas:
        assert sent_on(proxys_network, "api-prod:8000") == "https"
        assert sent_on(proxys_network, "proxy:8080") == "http"
        assert sent_on(f"container:{replicas[0]}", "127.0.0.1:8000") == "http"
    # A proxy in front of the proxy, where it is named.
    with proxied(proxy_image, OUTER_PROXY=os.environ.get("PROXY_SUBNET", "172.31.250.0/24")):
        assert sent_on(proxys_network, "proxy:8080") == "https"


def test_slow_bodies_keep_nobody_from_the_service(proxy_image: str) -> None:
    """More of them than connections to both replicas: they wait at the proxy."""
    head = b"POST /quotes HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    with proxied(proxy_image), ExitStack() as stack:
        for _ in range(450):
            stack.enter_context(socket.create_connection(("127.0.0.1", PORT))).sendall(head)
        time.sleep(1)
        started = time.monotonic()
        assert answers("/")
        assert time.monotonic() - started < 1
