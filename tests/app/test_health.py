"""What orchestrators ask."""

from __future__ import annotations

import socket
import threading

from fastapi import FastAPI
from starlette.testclient import TestClient

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
