"""How much a request may bring."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from fastapi import FastAPI, Request
from starlette.testclient import TestClient

from app.main import create_app
from prodlock.server.logs import REQUESTS
from prodlock.server.settings import Settings

LIMIT = 100


@pytest.fixture
def client() -> Iterator[TestClient]:
    """A service that takes LIMIT bytes, and tells how many it was sent, or does not read them at all."""
    app: FastAPI = create_app(Settings(max_body_bytes=LIMIT))

    @app.post("/count")
    async def count(request: Request) -> int:
        return len(await request.body())

    @app.post("/ignore")
    async def ignore() -> str:
        return "ignored"

    with TestClient(app) as client:
        yield client


def chunks(size: int) -> Iterator[bytes]:
    """Give a body whose length is not told in advance."""
    yield from (b"x" for _ in range(size))


@pytest.mark.parametrize("size", [0, 1, LIMIT])
def test_a_body_within_the_limit_is_read(client: TestClient, size: int) -> None:
    """Whether its length is told or not."""
    assert client.post("/count", content=b"x" * size).json() == size
    assert client.post("/count", content=chunks(size)).json() == size


@pytest.mark.parametrize("path", ["/count", "/ignore", "/nope"])
def test_a_body_that_says_it_is_too_large_is_not_read(client: TestClient, path: str) -> None:
    """413, whatever the path, with a request id."""
    answer = client.post(path, content=b"x" * (LIMIT + 1))
    assert (answer.status_code, answer.text) == (413, "Content Too Large")
    assert answer.headers["x-request-id"]


def test_a_body_that_turns_out_too_large_is_refused(client: TestClient) -> None:
    """413 as soon as that is seen."""
    answer = client.post("/count", content=chunks(LIMIT + 1))
    assert (answer.status_code, answer.json()) == (413, {"detail": "Content Too Large"})


@pytest.mark.parametrize("path", ["/count", "/ignore"])
def test_the_log_has_the_status_that_the_client_saw(
    client: TestClient, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Too large a body is no error of the service."""
    client.post(path, content=b"x" * (LIMIT + 1))
    (record,) = [record for record in caplog.records if record.name == REQUESTS]
    assert (record.levelno, record.fields["status"]) == (logging.INFO, 413)  # type: ignore[attr-defined]
