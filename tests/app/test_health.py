"""What orchestrators ask."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
from types import FrameType

from fastapi import FastAPI
from starlette.testclient import TestClient

from app.health import Readiness
from app.healthcheck import healthy


def test_a_started_service_is_alive_and_ready(client: TestClient) -> None:
    """Both probes answer 200 between start and stop."""
    assert client.get("/health").json() == {"status": "ok"}
    assert (client.get("/ready").status_code, client.get("/ready").json()) == (200, {"status": "ready"})


def test_ready_answers_503_before_the_start_and_after_the_stop(app: FastAPI) -> None:
    """Alive is not ready: the lifespan decides."""
    client = TestClient(app)
    assert client.get("/ready").status_code == 503
    with TestClient(app) as started:
        assert started.get("/ready").status_code == 200
    assert (client.get("/ready").status_code, client.get("/ready").json()) == (503, {"status": "not ready"})
    assert client.get("/health").status_code == 200


def test_the_signal_to_stop_makes_it_unready_before_the_server_stops() -> None:
    """On SIGTERM readiness goes first, then the server's own handler runs."""
    readiness = Readiness()
    seen: list[bool] = []

    def servers_handler(_number: int, _frame: FrameType | None) -> None:
        seen.append(readiness.ready)

    async def live() -> None:
        async with readiness.lifespan(FastAPI()):
            assert readiness.ready
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.sleep(0.01)

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    signal.signal(signal.SIGTERM, servers_handler)
    try:
        asyncio.run(live())
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert seen == [False]


def answer_once(answer: bytes) -> int:
    """Answer the next connection on a free port with these bytes; return the port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with listener, listener.accept()[0] as connection:
            connection.recv(1024)
            connection.sendall(answer)

    threading.Thread(target=serve).start()
    port: int = listener.getsockname()[1]
    return port


def test_the_healthcheck_accepts_200_and_nothing_else() -> None:
    """An answer with another status, or something that is no HTTP, is unhealthy."""
    assert healthy(answer_once(b"HTTP/1.1 200 OK\r\n\r\n"))
    assert not healthy(answer_once(b"HTTP/1.1 503 Service Unavailable\r\n\r\n"))
    assert not healthy(answer_once(b"200"))


def test_the_healthcheck_takes_a_closed_port_for_unhealthy() -> None:
    """Nobody listens: unhealthy, without an exception."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    assert not healthy(port)
