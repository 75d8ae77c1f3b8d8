"""One line a request, an id in and out, and no traceback for clients."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import sys
from collections.abc import AsyncIterator, Iterator

import pytest
from fastapi import FastAPI, HTTPException, WebSocket
from starlette.responses import StreamingResponse
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from prodlock.server import logs
from prodlock.server.drain import Drain
from prodlock.server.request_log import RequestLog
from prodlock.server.settings import Settings


def lines(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """Return the request log's records."""
    return [record for record in caplog.records if record.name == "app.request"]


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    """A client of the service with a route that has a parameter."""

    @app.get("/items/{number}")
    async def item(number: int) -> int:
        return number

    with TestClient(app) as client:
        yield client


@pytest.fixture
def faulty(app: FastAPI) -> FastAPI:
    """The service with routes that fail."""

    @app.get("/boom")
    async def boom() -> None:
        raise RuntimeError("a secret detail")

    @app.get("/cancelled")
    async def cancelled() -> None:
        raise asyncio.CancelledError

    @app.get("/exit")
    async def leave() -> None:
        sys.exit("a secret detail")

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
    """Method, path, status, time, the client's address, the route and the id, once."""
    caplog.set_level("INFO")
    answer = client.get("/items/5?verbose=1")
    (line,) = lines(caplog)
    identifier = answer.headers["x-request-id"]
    assert re.fullmatch(
        rf"GET '/items/5' 200 \d+\.\d ms testclient /items/\{{number\}} {identifier}", line.getMessage()
    )
    fields = line.fields  # type: ignore[attr-defined]
    assert isinstance(fields.pop("ms"), float)
    assert fields == {
        "request_id": identifier, "method": "GET", "path": "/items/5", "route": "/items/{number}", "status": 200,
        "client": "testclient",
    }  # fmt: skip


@pytest.mark.parametrize(("path", "route"), [("/nope", "-"), ("/quotes", "/quotes")])
def test_a_request_that_is_refused_has_its_route(
    client: TestClient, caplog: pytest.LogCaptureFixture, path: str, route: str
) -> None:
    """Or none, where there is none."""
    caplog.set_level("INFO")
    client.get(path)
    (line,) = lines(caplog)
    assert line.fields["route"] == route  # type: ignore[attr-defined]


@pytest.mark.parametrize("root_path", ["", "/api"])
@pytest.mark.parametrize("path", ["/health", "/ready"])
def test_probes_are_logged_at_debug(app: FastAPI, caplog: pytest.LogCaptureFixture, path: str, root_path: str) -> None:
    """Orchestrators ask every second."""
    caplog.set_level("DEBUG")
    TestClient(app, root_path=root_path).get(root_path + path)
    (line,) = lines(caplog)
    assert line.levelname == "DEBUG"


def test_a_probe_that_fails_is_an_error(app: FastAPI, caplog: pytest.LogCaptureFixture) -> None:
    """The level of a probe is for one that is answered."""
    app.router.routes.clear()

    @app.get("/health")
    async def health() -> None:
        raise RuntimeError

    TestClient(app).get("/health")
    (line,) = lines(caplog)
    assert line.levelname == "ERROR"


@pytest.mark.parametrize(("given", "logged"), [("192.0.2.1", "192.0.2.1"), ("::1", "::1"), ("1 GET '/admin' 200", "-")])
def test_an_address_from_the_proxy_can_not_forge_a_line(
    app: FastAPI, caplog: pytest.LogCaptureFixture, given: str, logged: str
) -> None:
    """Uvicorn takes it from X-Forwarded-For as it is."""
    caplog.set_level("INFO")
    TestClient(app, client=(given, 1)).get("/")
    (line,) = lines(caplog)
    assert line.fields["client"] == logged  # type: ignore[attr-defined]


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


def test_an_application_that_raises_cancelled_error_is_answered(
    faulty: FastAPI, caplog: pytest.LogCaptureFixture
) -> None:
    """No request was cut off: it is an error of the application, with the id in the answer."""
    answer = TestClient(faulty).get("/cancelled")
    assert answer.status_code == 500
    assert answer.json() == {"detail": "Internal Server Error", "request_id": answer.headers["x-request-id"]}
    (line,) = lines(caplog)
    assert line.levelname == "WARNING"
    assert line.getMessage().endswith(": the application raised CancelledError")


def test_an_application_that_exits_is_answered(faulty: FastAPI, caplog: pytest.LogCaptureFixture) -> None:
    """sys.exit() in a handler ends the request, and not the service."""
    answer = TestClient(faulty).get("/exit")
    assert answer.status_code == 500
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
    (line,) = lines(caplog)
    assert line.levelname == "ERROR"


def test_a_request_without_a_response_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    """Status 0 is never information."""

    async def silent(_scope: Scope, _receive: Receive, _send: Send) -> None:
        pass

    async def ask() -> None:
        scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
        await RequestLog(silent, Drain())(scope, None, None)  # type: ignore[arg-type]

    asyncio.run(ask())
    (line,) = lines(caplog)
    assert (line.levelname, line.fields["status"]) == ("WARNING", 0)  # type: ignore[attr-defined]
    assert line.getMessage().endswith(": the application sent no response")


def test_an_exception_is_logged_once(faulty: FastAPI, capsys: pytest.CaptureFixture[str]) -> None:
    """Uvicorn logs again what it gets; the control is one that the request log has not seen."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        logs.configure(Settings())
        with pytest.raises(RuntimeError) as raised:
            TestClient(faulty).get("/half")
        for error in (raised.value, ValueError("another")):
            logging.getLogger("uvicorn.error").error("Exception in ASGI application", exc_info=error)
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
    printed = capsys.readouterr().out
    assert printed.count("RuntimeError: a secret detail") == 1
    assert printed.count("ValueError: another") == 1


@pytest.fixture
def conversation(app: FastAPI) -> FastAPI:
    """The service with WebSocket connections that end in several ways."""

    @app.websocket("/echo")
    async def echo(socket: WebSocket) -> None:
        await socket.accept()
        while True:
            await socket.send_text(await socket.receive_text())

    @app.websocket("/boom")
    async def boom(socket: WebSocket) -> None:
        await socket.accept()
        raise RuntimeError("a secret detail")

    return app


@pytest.mark.parametrize("code", [1000, 1012])
def test_a_websocket_connection_is_one_line(conversation: FastAPI, caplog: pytest.LogCaptureFixture, code: int) -> None:
    """With its close code, and without a traceback where the handler does not expect its end; 1012 is the stop's."""
    caplog.set_level("INFO")
    with TestClient(conversation).websocket_connect("/echo", headers={"x-request-id": "asked"}) as socket:
        socket.send_text("hello")
        assert socket.receive_text() == "hello"
        socket.close(code)
    (line,) = lines(caplog)
    assert (line.levelname, line.exc_info) == ("INFO", None)
    assert re.fullmatch(rf"WEBSOCKET '/echo' {code} \d+\.\d ms testclient /echo asked", line.getMessage())


def test_an_error_of_a_websocket_connection_is_logged(conversation: FastAPI, caplog: pytest.LogCaptureFixture) -> None:
    """With its traceback."""
    with pytest.raises(RuntimeError), TestClient(conversation).websocket_connect("/boom") as socket:
        socket.receive_text()
    (line,) = lines(caplog)
    assert line.levelname == "ERROR"
    assert line.exc_info


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
