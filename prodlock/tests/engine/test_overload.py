"""Overload: more requests than the service can serve."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Iterator

import pytest

from prodlock.tests.engine.conftest import PORT, PROD, answers, docker, inspected, memory, until

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
# Concurrent connections: twice as many as the proxy of deploy/ opens to one replica.
CONNECTIONS = 400
# Overload and capacity are measured in turns: on a shared machine one request costs up to twice another one's time.
TURNS = 3
CAPACITY_SECONDS, OVERLOAD_SECONDS = 2, 4
# The timeout of the image's health check.
CHECK_SECONDS = 3
MIB = 1 << 20


@pytest.fixture
def small() -> Iterator[str]:
    """Production with a quarter of a core, so that this machine can send more requests than it serves."""
    limits = ("--cpus=0.25", "--memory=256m", "--memory-swap=256m", "--read-only", "--tmpfs=/tmp")
    container = docker("run", "--detach", f"--publish=127.0.0.1:{PORT}:8000", *limits, PROD).stdout.strip()
    try:
        until(answers, 30)
        yield container
    finally:
        docker("rm", "--force", container)


async def ask(queue: asyncio.Queue[float], seconds: list[float]) -> None:
    """Send due requests on one connection, and record the seconds from when each was due to its answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", PORT)
    try:
        while True:
            due = await queue.get()
            writer.write(REQUEST)
            await reader.readuntil(b"\r\n\r\n")
            await reader.readuntil(b"}")
            seconds.append(time.monotonic() - due)
    finally:
        writer.close()
        await writer.wait_closed()


async def load(rate: float, duration: float) -> list[float]:
    """Send `rate` requests a second, whether answers come or not, and return the seconds that each answer took.

    Requests wait for a free connection, CONNECTIONS at most; further ones are dropped, as clients would give up.
    """
    queue: asyncio.Queue[float] = asyncio.Queue(CONNECTIONS)
    seconds: list[float] = []
    clients = [asyncio.create_task(ask(queue, seconds)) for _ in range(CONNECTIONS)]
    started, asked = time.monotonic(), 0
    while (now := time.monotonic()) - started < duration:
        while asked < (now - started) * rate:
            asked += 1
            if not queue.full():
                queue.put_nowait(now)
        await asyncio.sleep(0.002)
    for client in clients:
        client.cancel()
    await asyncio.gather(*clients, return_exceptions=True)
    return seconds


async def capacity() -> float:
    """Return how many requests a second the service answers to clients that send the next one at once."""
    seconds: list[float] = []
    queue: asyncio.Queue[float] = asyncio.Queue()
    clients = [asyncio.create_task(ask(queue, seconds)) for _ in range(16)]
    started = time.monotonic()
    while time.monotonic() - started < CAPACITY_SECONDS:
        while queue.qsize() < 16:
            queue.put_nowait(time.monotonic())
        await asyncio.sleep(0.001)
    for client in clients:
        client.cancel()
    await asyncio.gather(*clients, return_exceptions=True)
    return len(seconds) / CAPACITY_SECONDS


async def overload(rate: float) -> tuple[list[float], list[float]]:
    """Send `rate` requests a second, and return the seconds of their answers and those of /health meanwhile."""
    loading = asyncio.create_task(load(rate, OVERLOAD_SECONDS))
    checks = []
    while not loading.done():
        checks.append(await asyncio.to_thread(probe))
        await asyncio.sleep(0.25)
    return await loading, checks


def test_the_service_survives_twice_its_capacity(small: str) -> None:
    """During the overload /health answers and memory stays bounded; a second later, answers are fast again."""
    most = asyncio.run(capacity())
    before = statistics.median(asyncio.run(load(most / 4, 2)))
    capacities, during, checks = [], [], []
    for _ in range(TURNS):
        capacities.append(asyncio.run(capacity()))
        answered, checked = asyncio.run(overload(2 * max(most, *capacities)))
        during += answered
        checks += checked
    served, most = len(during) / (TURNS * OVERLOAD_SECONDS), statistics.mean(capacities)
    time.sleep(1)
    after = statistics.median(asyncio.run(load(most / 4, 2)))
    used = memory(small)
    print(
        f"{most:.0f} requests/s; at twice that rate {served:.0f}/s answered in "
        f"{statistics.median(during):.2f} s, /health in {statistics.median(checks):.2f} s, {max(checks):.2f} at most; "
        f"median before {before * 1000:.1f} ms, after {after * 1000:.1f} ms; {used / MIB:.0f} MiB"
    )
    assert served > 0.7 * most
    assert max(checks) < CHECK_SECONDS
    assert used < 128 * MIB
    assert after < 5 * before
    state = inspected(small)["State"]
    assert (state["Running"], state["OOMKilled"], state["Health"]["Status"]) == (True, False, "healthy")


def probe() -> float:
    """Request /health on a connection of its own, and return the seconds that the answer took."""
    started = time.monotonic()
    assert answers("/health", timeout=10 * CHECK_SECONDS)
    return time.monotonic() - started
