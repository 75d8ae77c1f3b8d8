"""What orchestrators ask."""

from __future__ import annotations

import socket
import threading
from collections.abc import AsyncIterator

import pytest
from fastapi import FastAPI, Response
from starlette.responses import StreamingResponse
from starlette.testclient import TestClient

from prodlock.server.healthcheck import healthy


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


def answer_once(answer: bytes, address: str = "127.0.0.1") -> int:
    """Answer the next connection on a free port with these bytes; return the port."""
    listener = socket.create_server((address, 0), family=socket.AF_INET6 if ":" in address else socket.AF_INET)

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


def test_the_healthcheck_asks_where_the_service_listens() -> None:
    """On IPv6 alone, or on one address."""
    ok = b"HTTP/1.1 200 OK\r\n\r\n"
    assert healthy(answer_once(ok, "127.0.0.2"), ["127.0.0.2"])
    try:
        port = answer_once(ok, "::1")
    except OSError:
        pytest.skip("this machine has no IPv6")
    assert healthy(port)


def test_the_healthcheck_takes_a_closed_port_for_unhealthy() -> None:
    """Nobody listens: unhealthy, without an exception."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    assert not healthy(port)


@pytest.mark.parametrize("path", ["/", "/health", "/ready", "/docs", "/openapi.json"])
def test_head_is_answered_like_get(client: TestClient, path: str) -> None:
    """Status and headers, without the body: load balancers and uptime monitors use it."""
    got, head = client.get(path), client.head(path)
    assert (head.status_code, head.content) == (200, b"")
    left_out = {"x-request-id"}
    assert {name: head.headers[name] for name in head.headers if name not in left_out} == {
        name: got.headers[name] for name in got.headers if name not in left_out
    }


@pytest.mark.parametrize(("path", "status"), [("/quotes", 405), ("/nope", 404)])
def test_head_is_refused_where_there_is_no_get(client: TestClient, path: str, status: int) -> None:
    """With the status that GET has."""
    assert (client.head(path).status_code, client.get(path).status_code) == (status, status)


def test_an_applications_own_head_goes_first(app: FastAPI) -> None:
    """GET is not called for it."""

    @app.head("/own")
    async def head(response: Response) -> None:
        response.headers["own"] = "head"

    @app.get("/own")
    async def get() -> None:
        raise AssertionError

    assert TestClient(app).head("/own").headers["own"] == "head"


def test_head_of_an_endless_stream_ends(app: FastAPI) -> None:
    """The response is complete with its head; the log has the route and the method."""

    @app.get("/endless")
    async def endless() -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            for _ in range(1000):
                yield b"x"

        return StreamingResponse(parts(), headers={"kind": "stream"})

    answer = TestClient(app).head("/endless")
    assert (answer.status_code, answer.headers["kind"], answer.content) == (200, "stream", b"")
