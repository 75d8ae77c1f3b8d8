"""HEAD is answered wherever GET is."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from fastapi import FastAPI, Response
from starlette.responses import StreamingResponse
from starlette.testclient import TestClient

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
