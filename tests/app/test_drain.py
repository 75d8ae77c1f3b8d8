"""How the service stops."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from types import FrameType

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from app.drain import Drain
from app.main import create_app
from app.settings import Settings
from tests.app import clock

STOPS = (signal.SIGTERM, signal.SIGINT)


@pytest.fixture
def stops() -> Iterator[list[float]]:
    """The times, by the loop's clock, at which the server's own handler ran."""
    seen: list[float] = []

    def servers_handler(_number: int, _frame: FrameType | None) -> None:
        seen.append(asyncio.get_running_loop().time())

    before = {number: signal.signal(number, servers_handler) for number in STOPS}
    yield seen
    for number, handler in before.items():
        signal.signal(number, handler)


def live(drain: Drain, *signals: signal.Signals, seconds: float) -> list[bool]:
    """Start, get signals, run for some seconds, end; return whether the service was ready after each of these."""
    ready = []

    async def run() -> None:
        async with drain.lifespan(FastAPI()):
            ready.append(drain.ready)
            for number in signals:
                os.kill(os.getpid(), number)
                ready.append(drain.ready)
            await asyncio.sleep(seconds)
        ready.append(drain.ready)

    clock.run(run())
    return ready


def test_the_server_stops_once_the_drain_is_over(stops: list[float]) -> None:
    """Unready from the first moment, stopped not before its end."""
    started = time.monotonic()
    assert live(Drain(2), signal.SIGTERM, seconds=9) == [True, False, False]
    (stopped,) = stops
    assert 2 <= stopped - started < 9


@pytest.mark.parametrize(
    ("seconds", "signals"), [(9, [signal.SIGTERM] * 2), (9, [signal.SIGINT]), (0, [signal.SIGTERM])]
)
def test_who_does_not_wait_stops_at_once(stops: list[float], seconds: int, signals: list[signal.Signals]) -> None:
    """By a second signal, by Ctrl-C, or without a drain."""
    ready = live(Drain(seconds), *signals, seconds=0)
    assert ready == [True] + [False] * (len(signals) + 1)
    assert len(stops) == 1


def test_before_its_start_is_done_it_is_not_ready() -> None:
    """Nor is it stopping."""
    drain = Drain(2)
    assert (drain.ready, drain.stopping) == (False, False)


@pytest.mark.parametrize(("stopping", "connection"), [(False, None), (True, "close")])
@pytest.mark.parametrize("path", ["/", "/nope", "/health"])
def test_while_it_stops_every_response_ends_its_connection(
    *, stopping: bool, connection: str | None, path: str
) -> None:
    """Only then: otherwise connections are kept."""
    app = create_app(Settings())
    drain = next(entry.kwargs["drain"] for entry in app.user_middleware if "drain" in entry.kwargs)
    assert isinstance(drain, Drain)
    drain.stopping = stopping
    assert TestClient(app).get(path).headers.get("connection") == connection
