"""One log line for each request, request ids, and answers without a traceback."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import logging
import re
import sys
import time
from collections.abc import AsyncIterator, Iterator
from types import MappingProxyType

import pytest
from fastapi import BackgroundTasks, FastAPI, HTTPException, Request, Response, WebSocket
from starlette.applications import Starlette
from starlette.responses import StreamingResponse
from starlette.routing import Mount
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from prodlock.server import logs
from prodlock.server.asgi import Message, Receive, Scope, Send
from prodlock.server.batches import REQUESTS, Deferred
from prodlock.server.lifecycle import Lifecycle
from prodlock.server.probes import Paths
from prodlock.server.request_log import Line, RequestLog
from prodlock.server.settings import Settings
from prodlock.server.uvicorn_internals import ClientDisconnected
from prodlock.tests.server.conftest import within_layers

pytestmark = pytest.mark.usefixtures("undeferred")


def lines(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """Return the request log's records."""
    return [record for record in caplog.records if record.name == REQUESTS]


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    """A client of the service with a route that has a parameter."""

    @app.get("/items/{number}")
    async def item(number: int) -> int:
        return number

    with TestClient(within_layers(app)) as client:
        yield client


@pytest.fixture
def faulty(app: FastAPI) -> RequestLog:
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

    return within_layers(app)


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


def test_a_line_has_the_time_of_its_request(caplog: pytest.LogCaptureFixture) -> None:
    """Not that at which it is logged, which is later."""
    before = time.time()
    line = Line(logging.INFO, time.time_ns(), 0.5, b"id", "GET", "/", "/", 200, ("192.0.2.1", 1), note="", error=None)
    after = time.time()
    time.sleep(0.01)
    with caplog.at_level(logging.INFO):
        line.log()
    (record,) = caplog.records
    assert before - 0.001 <= record.created <= after + 0.001
    assert record.msecs == line.ended // 1_000_000 % 1000
    now = logging.LogRecord("x", logging.INFO, "", 0, "", None, None)
    assert now.relativeCreated - record.relativeCreated == pytest.approx((now.created - record.created) * 1000, abs=1)
    assert record.getMessage() == "GET '/' 200 500.0 ms 192.0.2.1 / id"


def test_an_error_is_logged_at_once_behind_the_requests_before_it(
    faulty: RequestLog, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process may not live much longer."""
    monkeypatch.undo()
    monkeypatch.setattr(Deferred, "DELAY", 60)
    with TestClient(faulty, raise_server_exceptions=False) as client, caplog.at_level(logging.INFO):
        client.get("/teapot")
        client.get("/boom")
        assert [record.levelname for record in caplog.records if record.name == REQUESTS] == ["INFO", "ERROR"]


@pytest.mark.parametrize(("path", "route"), [("/nope", "-"), ("/orders", "/orders")])
def test_the_line_of_a_refused_request_has_the_route(
    client: TestClient, caplog: pytest.LogCaptureFixture, path: str, route: str
) -> None:
    """If there is one."""
    caplog.set_level("INFO")
    client.get(path)
    (line,) = lines(caplog)
    assert line.fields["route"] == route  # type: ignore[attr-defined]


@pytest.mark.parametrize("root_path", ["", "/api"])
@pytest.mark.parametrize("path", ["/health", "/ready"])
def test_probes_are_logged_at_debug(app: FastAPI, caplog: pytest.LogCaptureFixture, path: str, root_path: str) -> None:
    """Orchestrators request them every second."""
    caplog.set_level("DEBUG")
    TestClient(within_layers(app), root_path=root_path).get(root_path + path)
    (line,) = lines(caplog)
    assert line.levelname == "DEBUG"


def test_a_path_like_a_probe_in_a_mounted_application_is_logged(app: FastAPI, caplog: pytest.LogCaptureFixture) -> None:
    """The mount changes the path that a proxy strips, in the scope of the request."""
    caplog.set_level("INFO")
    TestClient(within_layers(Starlette(routes=[Mount("/v1", app)]))).get("/v1/health")
    (line,) = lines(caplog)
    assert line.fields["path"] == "/v1/health"  # type: ignore[attr-defined]


def test_a_probe_that_fails_is_an_error(app: FastAPI, caplog: pytest.LogCaptureFixture) -> None:
    """Only a probe that is answered is logged at debug."""

    @app.get("/health")
    async def health() -> None:
        raise RuntimeError

    TestClient(within_layers(app)).get("/health")
    (line,) = lines(caplog)
    assert line.levelname == "ERROR"


@pytest.mark.parametrize(("given", "logged"), [("192.0.2.1", "192.0.2.1"), ("::1", "::1"), ("1 GET '/admin' 200", "-")])
def test_an_address_from_the_proxy_cannot_forge_a_line(
    app: FastAPI, caplog: pytest.LogCaptureFixture, given: str, logged: str
) -> None:
    """Uvicorn takes it from X-Forwarded-For unchanged."""
    caplog.set_level("INFO")
    TestClient(within_layers(app), client=(given, 1)).get("/")
    (line,) = lines(caplog)
    assert line.fields["client"] == logged  # type: ignore[attr-defined]


def test_a_request_id_is_made_where_none_is_given(client: TestClient) -> None:
    """Two requests get two ids."""
    first, second = (client.get("/").headers["x-request-id"] for _ in range(2))
    assert re.fullmatch("[0-9a-f]{32}", first)
    assert first != second


def test_a_request_id_from_the_proxy_is_kept(client: TestClient) -> None:
    """The id of the request is the id of the response."""
    assert client.get("/", headers={"x-request-id": "a-1.b_2"}).headers["x-request-id"] == "a-1.b_2"


@pytest.mark.parametrize("forged", ["a b", "x" * 65, "id\tGET /admin 200", ""])
def test_a_request_id_that_could_forge_a_line_is_replaced(client: TestClient, forged: str) -> None:
    """Only letters, digits, dot, dash and underscore, at most 64 of them."""
    assert re.fullmatch("[0-9a-f]{32}", client.get("/", headers={"x-request-id": forged}).headers["x-request-id"])


def test_a_path_cannot_forge_a_line(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    """Line breaks in a path are escaped."""
    caplog.set_level("INFO")
    client.get("/x%0aGET '/admin' 200")
    (line,) = lines(caplog)
    assert "\n" not in line.getMessage()


def test_an_unhandled_error_is_json_without_a_traceback(faulty: RequestLog, caplog: pytest.LogCaptureFixture) -> None:
    """The client gets the id, the log the traceback."""
    answer = TestClient(faulty).get("/boom")
    assert answer.status_code == 500
    assert answer.json() == {"detail": "Internal Server Error", "request_id": answer.headers["x-request-id"]}
    (line,) = lines(caplog)
    assert line.levelname == "ERROR"
    assert line.exc_info
    assert "a secret detail" in str(line.exc_info[1])


def test_an_application_that_raises_cancelled_error_is_answered(
    faulty: RequestLog, caplog: pytest.LogCaptureFixture
) -> None:
    """No request was aborted: it is an error of the application, and the answer has the id."""
    answer = TestClient(faulty).get("/cancelled")
    assert answer.status_code == 500
    assert answer.json() == {"detail": "Internal Server Error", "request_id": answer.headers["x-request-id"]}
    (line,) = lines(caplog)
    assert line.levelname == "WARNING"
    assert line.getMessage().endswith(": the application raised CancelledError")


def test_an_application_that_exits_is_answered(faulty: RequestLog, caplog: pytest.LogCaptureFixture) -> None:
    """sys.exit() in a handler ends the request, not the service."""
    answer = TestClient(faulty).get("/exit")
    assert answer.status_code == 500
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
    (line,) = lines(caplog)
    assert line.levelname == "ERROR"


def test_a_request_without_a_response_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    """Status 0 is never logged at info."""

    async def silent(_scope: Scope, _receive: Receive, _send: Send) -> None:
        pass

    async def ask() -> None:
        scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
        await RequestLog(silent, Lifecycle(), Paths())(scope, None, None)  # type: ignore[arg-type]

    asyncio.run(ask())
    (line,) = lines(caplog)
    assert (line.levelname, line.fields["status"]) == ("WARNING", 0)  # type: ignore[attr-defined]
    assert line.getMessage().endswith(": the application sent no response")


def test_an_exception_is_logged_once(faulty: RequestLog, capsys: pytest.CaptureFixture[str]) -> None:
    """Uvicorn logs it again; the control is an exception that the request log has not seen."""
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
def conversation(app: FastAPI) -> RequestLog:
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

    return within_layers(app)


@pytest.mark.parametrize("code", [1000, 1012])
def test_a_websocket_connection_is_one_line(
    conversation: RequestLog, caplog: pytest.LogCaptureFixture, code: int
) -> None:
    """With its close code, and without a traceback where the handler does not expect the end. 1012 is a stop."""
    caplog.set_level("INFO")
    with TestClient(conversation).websocket_connect("/echo", headers={"x-request-id": "asked"}) as socket:
        socket.send_text("hello")
        assert socket.receive_text() == "hello"
        socket.close(code)
    (line,) = lines(caplog)
    assert (line.levelname, line.exc_info) == ("INFO", None)
    assert re.fullmatch(rf"WEBSOCKET '/echo' {code} \d+\.\d ms testclient /echo asked", line.getMessage())


def test_an_error_of_a_websocket_connection_is_logged(
    conversation: RequestLog, caplog: pytest.LogCaptureFixture
) -> None:
    """With its traceback."""
    with pytest.raises(RuntimeError), TestClient(conversation).websocket_connect("/boom") as socket:
        socket.receive_text()
    (line,) = lines(caplog)
    assert line.levelname == "ERROR"
    assert line.exc_info


def test_a_handled_error_is_json(faulty: RequestLog) -> None:
    """An HTTPException keeps its status and its detail."""
    answer = TestClient(faulty).get("/teapot")
    assert (answer.status_code, answer.json()) == (418, {"detail": "short and stout"})


def test_an_error_after_the_first_byte_breaks_the_connection(faulty: RequestLog) -> None:
    """A response that has begun as 200 cannot become 500: uvicorn breaks the connection where the layer raises."""
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


@pytest.mark.parametrize(
    ("content", "media_type"), [({"sorry": True}, "application/json"), ("Internal Server Error!", "text/plain")]
)
def test_an_applications_own_answer_to_an_exception_is_kept(
    app: FastAPI, caplog: pytest.LogCaptureFixture, content: object, media_type: str
) -> None:
    """With the id as a header, and the traceback once in the log."""

    async def own(_request: Request, _error: Exception) -> Response:
        body = content if isinstance(content, str) else json.dumps(content)
        return Response(body, 500, media_type=media_type)

    @app.get("/boom")
    async def boom() -> None:
        raise RuntimeError("a secret detail")

    app.add_exception_handler(Exception, own)
    answer = TestClient(within_layers(app)).get("/boom")
    assert (answer.status_code, answer.headers["x-request-id"] != "") == (500, True)
    assert answer.text == (content if isinstance(content, str) else json.dumps(content))
    (line,) = lines(caplog)
    assert line.exc_info


def test_a_response_that_only_looks_like_the_frameworks_is_kept(app: FastAPI) -> None:
    """No exception was raised: the answer is the application's."""

    @app.get("/same")
    async def same() -> Response:
        return Response("Internal Server Error", 500, headers={"own": "yes"})

    answer = TestClient(within_layers(app)).get("/same")
    assert (answer.status_code, answer.text, answer.headers["own"]) == (500, "Internal Server Error", "yes")
    assert answer.headers["x-request-id"]


def test_a_failing_background_task_does_not_break_the_connection(
    app: FastAPI, caplog: pytest.LogCaptureFixture
) -> None:
    """The response is complete; the traceback is in the log."""

    @app.get("/background")
    async def background(tasks: BackgroundTasks) -> str:
        async def fail() -> None:
            raise RuntimeError("a secret detail")

        tasks.add_task(fail)
        return "answered"

    assert TestClient(within_layers(app)).get("/background").json() == "answered"
    (line,) = lines(caplog)
    assert (line.levelname, line.fields["status"]) == ("ERROR", 200)  # type: ignore[attr-defined]


def test_a_websocket_client_that_has_disconnected_is_not_an_error(caplog: pytest.LogCaptureFixture) -> None:
    """Uvicorn raises it where an application sends after the end of the connection."""
    caplog.set_level("INFO")

    async def sends(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "websocket.send", "text": "late"})

    async def send(_message: Message) -> None:
        raise ClientDisconnected

    async def serve() -> None:
        scope = {"type": "websocket", "path": "/", "headers": []}
        await RequestLog(sends, Lifecycle(), Paths())(scope, None, send)  # type: ignore[arg-type]

    asyncio.run(serve())
    (line,) = lines(caplog)
    assert (line.levelname, line.exc_info) == ("INFO", None)


@pytest.mark.parametrize(
    ("raised", "level"),
    [
        ([WebSocketDisconnect(1001)], "INFO"),
        ([WebSocketDisconnect(1001), ExceptionGroup("inner", [ClientDisconnected()])], "INFO"),
        ([WebSocketDisconnect(1001), RuntimeError("a secret detail")], "ERROR"),
    ],
)
def test_a_disconnection_in_a_group_of_tasks_is_not_an_error(
    caplog: pytest.LogCaptureFixture, raised: list[Exception], level: str
) -> None:
    """One task receives and another sends; an exception of another kind beside it is an error."""
    caplog.set_level("INFO")

    async def grouped(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise ExceptionGroup("unhandled errors in a TaskGroup", raised)

    async def serve() -> None:
        scope = {"type": "websocket", "path": "/", "headers": []}
        with contextlib.suppress(ExceptionGroup):
            await RequestLog(grouped, Lifecycle(), Paths())(scope, None, None)  # type: ignore[arg-type]

    asyncio.run(serve())
    (line,) = lines(caplog)
    assert (line.levelname, bool(line.exc_info)) == (level, level == "ERROR")


def test_a_client_that_leaves_during_its_upload_is_a_warning(app: FastAPI, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is sent to it, and the service has no error."""

    @app.post("/upload")
    async def upload(request: Request) -> int:
        return len([part async for part in request.stream()])

    received: list[Message] = [
        {"type": "http.request", "body": b"x", "more_body": True},
        {"type": "http.disconnect"},
    ]
    sent: list[Message] = []

    async def receive() -> Message:
        return received.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/upload", "query_string": b"", "headers": []}
    asyncio.run(within_layers(app)(scope, receive, send))
    (line,) = lines(caplog)
    seen = line.levelname, line.exc_info, line.fields["note"]  # type: ignore[attr-defined]
    assert seen == ("WARNING", None, "the client has disconnected")
    assert sent == []


async def nothing() -> Message:
    """Receive nothing."""
    return {"type": "http.disconnect"}


def test_an_immutable_exception_is_raised_again_unchanged() -> None:
    """A frozen dataclass takes no attribute."""

    @dataclasses.dataclass(frozen=True)
    class FrozenError(Exception):
        number: int

    async def breaks(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200})
        raise FrozenError(5)

    async def send(_message: Message) -> None:
        pass

    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    with pytest.raises(FrozenError):
        asyncio.run(RequestLog(breaks, Lifecycle(), Paths())(scope, nothing, send))


def test_the_message_of_an_application_is_not_changed() -> None:
    """It may be the same in many responses, at the same time."""
    start = {"type": "http.response.start", "status": 200, "headers": ((b"a", b"b"),)}
    sent: list[Message] = []

    async def constant(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send(MappingProxyType(start))  # type: ignore[arg-type]

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/", "headers": [(b"x-request-id", b"asked")]}
    asyncio.run(RequestLog(constant, Lifecycle(), Paths())(scope, nothing, send))
    assert sent[0]["headers"] == [(b"a", b"b"), (b"x-request-id", b"asked")]
    assert start["headers"] == ((b"a", b"b"),)
