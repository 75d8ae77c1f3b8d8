"""HEAD is answered wherever GET is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from fastapi import FastAPI, Request, Response
from starlette.applications import Starlette
from starlette.middleware.base import RequestResponseEndpoint
from starlette.responses import StreamingResponse
from starlette.routing import Mount
from starlette.testclient import TestClient

from prodlock.server.asgi import Message
from prodlock.tests.server import clock
from prodlock.tests.server.conftest import within_layers


@pytest.mark.parametrize("path", ["/", "/health", "/ready", "/docs", "/openapi.json"])
def test_head_is_answered_like_get(client: TestClient, path: str) -> None:
    """Status and headers, without the body: load balancers and uptime monitors request it."""
    got, head = client.get(path), client.head(path)
    assert (head.status_code, head.content) == (200, b"")
    left_out = {"x-request-id"}
    assert {name: head.headers[name] for name in head.headers if name not in left_out} == {
        name: got.headers[name] for name in got.headers if name not in left_out
    }


@pytest.mark.parametrize(("path", "status"), [("/orders", 405), ("/nope", 404)])
def test_head_is_refused_where_there_is_no_get(client: TestClient, path: str, status: int) -> None:
    """With the status that GET has."""
    assert (client.head(path).status_code, client.get(path).status_code) == (status, status)


def test_an_applications_own_head_takes_precedence(app: FastAPI) -> None:
    """GET is not called for it."""

    @app.head("/own")
    async def head(response: Response) -> None:
        response.headers["own"] = "head"

    @app.get("/own")
    async def get() -> None:
        raise AssertionError

    assert TestClient(within_layers(app)).head("/own").headers["own"] == "head"


def test_head_of_an_endless_stream_ends(app: FastAPI) -> None:
    """The response is complete with its head."""

    @app.get("/endless")
    async def endless() -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            for _ in range(1000):
                yield b"x"

        return StreamingResponse(parts(), headers={"kind": "stream"})

    answer = TestClient(within_layers(app)).head("/endless")
    assert (answer.status_code, answer.headers["kind"], answer.content) == (200, "stream", b"")


def test_head_is_answered_in_a_mounted_application(app: FastAPI) -> None:
    """A mount changes the scope of the request, which the second call must not see."""
    client = TestClient(within_layers(Starlette(routes=[Mount("/mounted", app)])))
    assert (client.head("/mounted/").status_code, client.get("/mounted/").status_code) == (200, 200)


def test_head_does_not_wait_where_the_application_reads_the_body(app: FastAPI) -> None:
    """A middleware that logs bodies, for example: the server gives a body once, and then waits for the client."""

    @app.middleware("http")
    async def read(request: Request, call_next: RequestResponseEndpoint) -> Response:
        assert await request.body() == b"body"
        return await call_next(request)

    parts = [{"type": "http.request", "body": b"body", "more_body": False}]
    sent: list[Message] = []

    async def receive() -> Message:
        if not parts:
            await asyncio.Event().wait()
        return parts.pop()

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "HEAD", "path": "/", "headers": [], "query_string": b""}

    async def serve() -> None:
        await asyncio.wait_for(within_layers(app)(scope, receive, send), 5)

    clock.run(serve())
    assert [message.get("status") for message in sent] == [200, None]
