"""The limit on the size of request bodies."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator

import pytest
from fastapi import FastAPI, Request
from starlette.testclient import TestClient

from prodlock.server.asgi import Application, Message, Receive, Scope, Send
from prodlock.server.batches import REQUESTS
from prodlock.server.body_limit import BodyLimit, BodyTooLarge
from prodlock.tests.server.conftest import Order, within_layers

pytestmark = pytest.mark.usefixtures("undeferred")

LIMIT = 100


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    """A service with the limit, with routes that treat the body in different ways."""

    @app.post("/count")
    async def count(request: Request) -> int:
        return len(await request.body())

    @app.post("/parse")
    async def parse(order: Order) -> int:
        return order.pieces

    @app.post("/ignore")
    async def ignore() -> str:
        return "ignored"

    @app.post("/handle")
    async def handle(request: Request) -> str:
        try:
            await request.body()
        except Exception:  # noqa: BLE001
            return "handled"
        return "read"

    with TestClient(within_layers(app, max_body_bytes=LIMIT)) as client:
        yield client


def chunks(size: int) -> Iterator[bytes]:
    """Give a body whose length is not announced."""
    yield from (b"x" for _ in range(size))


@pytest.mark.parametrize("size", [0, 1, LIMIT])
def test_a_body_within_the_limit_is_read(client: TestClient, size: int) -> None:
    """Whether its length is announced or not."""
    assert client.post("/count", content=b"x" * size).json() == size
    assert client.post("/count", content=chunks(size)).json() == size


@pytest.mark.parametrize("path", ["/count", "/ignore", "/nope"])
def test_a_body_that_is_announced_as_too_large_is_not_read(client: TestClient, path: str) -> None:
    """413, whatever the path, with a request id."""
    answer = client.post(path, content=b"x" * (LIMIT + 1))
    assert (answer.status_code, answer.json()) == (413, {"detail": "Content Too Large"})
    assert answer.headers["x-request-id"]


@pytest.mark.parametrize("path", ["/count", "/parse", "/handle"])
def test_a_body_that_grows_too_large_is_refused(client: TestClient, path: str) -> None:
    """413 as soon as the limit is passed, whatever the application makes of the interruption."""
    answer = client.post(path, content=chunks(LIMIT + 1), headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()) == (413, {"detail": "Content Too Large"})


@pytest.mark.parametrize("path", ["/count", "/ignore", "/handle"])
def test_the_log_has_the_status_that_the_client_received(
    client: TestClient, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A body that is too large is not an error of the service, whether its length is announced or not."""
    caplog.set_level("INFO")
    client.post(path, content=b"x" * (LIMIT + 1))
    client.post("/count", content=chunks(LIMIT + 1))
    records = [record for record in caplog.records if record.name == REQUESTS]
    assert [(one.levelno, one.fields["status"]) for one in records] == [(logging.INFO, 413)] * 2  # type: ignore[attr-defined]


def sent_by(app: Application) -> list[Message]:
    """Return what an application within a limit of one byte sends for a chunked body of two."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"xx", "more_body": True}

    async def send(message: Message) -> None:
        sent.append(message)

    scope: Scope = {"type": "http", "headers": [(b"transfer-encoding", b"chunked")]}

    async def serve() -> None:
        await BodyLimit(app, 1)(scope, receive, send)

    asyncio.run(serve())
    return sent


@pytest.mark.parametrize("reaction", ["returns", "raises"])
def test_an_application_that_sends_nothing_after_the_interruption_is_answered_for(reaction: str) -> None:
    """An application without a framework."""

    async def reads(_scope: Scope, receive: Receive, _send: Send) -> None:
        try:
            await receive()
        except BodyTooLarge:
            if reaction == "raises":
                raise

    sent = sent_by(reads)
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert sent[0]["status"] == 413


def test_a_body_that_grows_too_large_after_the_response_has_begun_is_an_exception() -> None:
    """A response that has begun as 200 cannot become 413: the server breaks the connection."""

    async def echoes(_scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200})
        await receive()

    with pytest.raises(BodyTooLarge):
        sent_by(echoes)


def test_a_request_without_a_chunked_body_costs_no_layer() -> None:
    """The parser reads no more than the announced length: the application gets the server's own functions."""
    given: list[object] = []

    async def notes(_scope: Scope, *functions: object) -> None:
        given.extend(functions)

    async def unused() -> Message:
        raise AssertionError

    functions = (unused, unused)
    asyncio.run(BodyLimit(notes, 1)({"type": "http", "headers": [(b"content-length", b"1")]}, *functions))  # type: ignore[arg-type]
    assert tuple(given) == functions
