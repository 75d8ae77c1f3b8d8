"""One line a request, an id in and out, and no traceback for clients."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import AsyncIterator

import pytest
from fastapi import FastAPI, HTTPException
from starlette.responses import StreamingResponse
from starlette.testclient import TestClient

from app import logs
from app.settings import Settings


def lines(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """Return the request log's records."""
    return [record for record in caplog.records if record.name == "app.request"]


@pytest.fixture
def faulty(app: FastAPI) -> FastAPI:
    """The service with three routes that fail."""

    @app.get("/boom")
    async def boom() -> None:
        raise RuntimeError("a secret detail")

    @app.get("/teapot")
    async def teapot() -> None:
        raise HTTPException(418, "short and stout")

    @app.get("/half")
    async def half() -> StreamingResponse:
        async def body() -> AsyncIterator[bytes]:
            yield b"half"
            raise RuntimeError("a secret detail")

        return StreamingResponse(body())

    return app


def test_each_request_is_one_line(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    """Method, path, status, time and id, once."""
    caplog.set_level("INFO")
    answer = client.get("/health?verbose=1")
    (line,) = lines(caplog)
    assert re.fullmatch(
        rf"GET '/health' 200 \d+\.\d ms {answer.headers['x-request-id']}",
        line.getMessage(),
    )


def test_a_request_id_is_made_where_none_is_given(client: TestClient) -> None:
    """Two requests get two ids."""
    first, second = (client.get("/").headers["x-request-id"] for _ in range(2))
    assert re.fullmatch("[0-9a-f]{32}", first)
    assert first != second


def test_a_request_id_from_the_proxy_is_kept(client: TestClient) -> None:
    """The id that came in goes out."""
    assert client.get("/", headers={"x-request-id": "a-1.b_2"}).headers["x-request-id"] == "a-1.b_2"


@pytest.mark.parametrize("forged", ["a b", "x" * 65, "id\tGET /admin 200", ""])
def test_a_request_id_that_could_forge_a_line_is_replaced(client: TestClient, forged: str) -> None:
    """Only letters, digits, dot, dash and underscore, at most 64 of them."""
    assert re.fullmatch("[0-9a-f]{32}", client.get("/", headers={"x-request-id": forged}).headers["x-request-id"])


def test_a_path_can_not_forge_a_line(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    """Line breaks in a path are escaped."""
    caplog.set_level("INFO")
    client.get("/x%0aGET '/admin' 200")
    (line,) = lines(caplog)
    assert "\n" not in line.getMessage()


def test_an_unhandled_error_is_json_without_a_traceback(faulty: FastAPI, caplog: pytest.LogCaptureFixture) -> None:
    """The client learns the id, the log the traceback."""
    answer = TestClient(faulty).get("/boom")
    assert answer.status_code == 500
    assert answer.json() == {"detail": "Internal Server Error", "request_id": answer.headers["x-request-id"]}
    (line,) = lines(caplog)
    assert line.levelname == "ERROR"
    assert line.exc_info
    assert "a secret detail" in str(line.exc_info[1])


def test_a_handled_error_is_json(faulty: FastAPI) -> None:
    """An HTTPException keeps its status and its detail."""
    answer = TestClient(faulty).get("/teapot")
    assert (answer.status_code, answer.json()) == (418, {"detail": "short and stout"})


def test_an_error_after_the_first_byte_breaks_the_connection(faulty: FastAPI) -> None:
    """What has begun as 200 can't become 500: the server must cut it."""
    with pytest.raises(RuntimeError):
        TestClient(faulty).get("/half")


def test_json_lines_have_the_fields(capsys: pytest.CaptureFixture[str]) -> None:
    """APP_LOG_FORMAT=json makes each line an object, exceptions included."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        logs.configure(Settings(log_format="json"))
        try:
            raise ValueError("no")  # noqa: TRY301
        except ValueError:
            logging.getLogger("x").exception("failed %s", "here", extra={"fields": {"status": 500}})
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
    line = json.loads(capsys.readouterr().out)
    assert line["message"] == "failed here"
    assert (line["level"], line["logger"], line["status"]) == ("error", "x", 500)
    assert "ValueError: no" in line["exception"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", line["time"])
