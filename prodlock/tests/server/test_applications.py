"""The server runs applications of any framework, as processes on loopback."""

from __future__ import annotations

import importlib.util
import json
import re
import signal
import socket
import time
from typing import Any

import pytest

from prodlock.tests.program import free_port
from prodlock.tests.server.test_process import Process, ask, asking, rest, running, serving

MODULE = "prodlock.tests.server.applications"
APPLICATIONS = {
    "bare": (f"{MODULE}:bare", b'{"status":"ok"}', "-"),
    "starlette": (f"{MODULE}:starlette", b'{"status":"ok"}', "/"),
    "fastapi": (f"{MODULE}:create_fastapi", b'{"own":"health"}', "/"),
}
every = pytest.mark.parametrize("name", APPLICATIONS)
needs_websockets = pytest.mark.skipif(
    importlib.util.find_spec("websockets") is None, reason="WebSocket connections need the package websockets"
)


def answered(port: int, path: str, method: str = "GET") -> bytes:
    """Return a whole answer: its head and its body may arrive in two packets."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nX-Request-Id: asked\r\nConnection: close\r\n\r\n"
        connection.sendall(head.encode())
        return rest(connection)


@every
def test_an_application_is_served_with_probes_and_request_log(name: str) -> None:
    """An own `/health` takes precedence. Each request is one line of JSON, with the id of the answer."""
    app, health, route = APPLICATIONS[name]
    with serving(app, APP_LOG_FORMAT="json") as (process, port):
        assert answered(port, "/health").endswith(health)
        assert answered(port, "/ready").endswith(b'{"status":"ready"}')
        assert re.match(rb"(?s)HTTP/1.1 200 OK\r\n.*x-request-id: asked\r\n.*hello$", answered(port, "/"))
        assert re.match(rb"(?s)HTTP/1.1 200 OK\r\n.*\r\n\r\n$", answered(port, "/", "HEAD"))
        assert process.stop()[0] == 0
    lines = [json.loads(line) for line in process.lines if line.startswith("{")]
    (line,) = [one for one in lines if one.get("method") == "GET" and one["path"] == "/"]
    expected = {"level": "info", "logger": "prodlock.request", "request_id": "asked", "status": 200, "route": route}
    assert expected.items() <= line.items()


@every
def test_a_stop_drains_and_runs_the_end_of_the_lifespan(name: str) -> None:
    """A request in flight is answered, `/ready` is 503, responses end their connections, the exit code is 0."""
    with serving(APPLICATIONS[name][0], APP_DRAIN_SECONDS="1") as (process, port):
        with asking(port, "/slow") as connection:
            time.sleep(0.1)
            process.send(signal.SIGTERM)
            time.sleep(0.1)
            assert ask(port, "/ready", seconds=5).startswith(b"HTTP/1.1 503 ")
            assert re.match(rb"(?s)HTTP/1.1 200 .*connection: close.*hello$", rest(connection))
        assert process.end() == 0
    assert process.printed.index("lifespan begins\n") < process.printed.index("lifespan ends\n")
    assert "Traceback" not in process.printed


@every
def test_a_second_signal_ends_the_drain(name: str) -> None:
    """The end of the lifespan runs all the same."""
    with serving(APPLICATIONS[name][0], APP_DRAIN_SECONDS="8", APP_STOP_GRACE_SECONDS="10") as (process, _):
        code, seconds = process.stop(signal.SIGTERM, signal.SIGTERM)
    assert code == 0
    assert seconds < 2
    assert "lifespan ends\n" in process.printed


@every
def test_a_stop_during_the_start_cancels_the_lifespan(name: str) -> None:
    """The exit code is 0, and nothing was served."""
    with running("waits", APPLICATIONS[name][0]) as (process, port):
        process.wait_for("lifespan begins")
        code, seconds = process.stop()
        assert ask(port, "/", seconds=1) == b""
    assert code == 0
    assert seconds < 1
    assert "lifespan ends\n" in process.printed
    assert "Traceback" not in process.printed


@every
def test_a_lifespan_that_fails_ends_the_process(name: str) -> None:
    """Exit code 3; the last line states it."""
    with running("fails", APPLICATIONS[name][0]) as (process, _):
        assert process.end() == 3
    assert "RuntimeError: the database is not there" in process.printed
    assert process.lines[-1].endswith("Application startup failed. Exiting.\n")


@needs_websockets
@every
def test_a_websocket_connection_is_served_until_the_stop(name: str) -> None:
    """It is closed with 1012 (service restart), and is one line of the log, without its query and a traceback."""
    client: Any = pytest.importorskip("websockets.sync.client")
    closed: Any = pytest.importorskip("websockets.exceptions")
    with serving(APPLICATIONS[name][0]) as (process, port):
        address, headers = f"ws://127.0.0.1:{port}/echo?token=secret", {"x-request-id": "asked"}
        with client.connect(address, additional_headers=headers) as connection:
            connection.send("hello")
            assert connection.recv(5) == "hello"
            process.send(signal.SIGTERM)
            connection.send("during the drain")
            assert connection.recv(5) == "during the drain"
            with pytest.raises(closed.ConnectionClosed) as raised:
                connection.recv(5)
            assert raised.value.rcvd.code == 1012
        assert process.end() == 0
    (line,) = [line for line in process.lines if "websocket" in line.lower() or "connection " in line]
    assert re.search(r"INFO    prodlock\.request: WEBSOCKET '/echo' 1012 \d+\.\d ms 127\.0\.0\.1 \S+ asked$", line)
    assert "Traceback" not in process.printed


def test_the_server_works_without_starlette_and_pydantic() -> None:
    """A bare application is served by the standard library, uvicorn and httptools; then the head has its own packet."""
    script = (
        "import sys\n"
        "class Refused:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] in {'starlette', 'fastapi', 'pydantic', 'anyio'}:\n"
        "            raise ImportError(name)\n"
        "sys.meta_path.insert(0, Refused())\n"
        "async def app(scope, receive, send):\n"
        "    assert scope['type'] == 'http'\n"
        "    await send({'type': 'http.response.start', 'status': 200})\n"
        "    await send({'type': 'http.response.body', 'body': b'hello'})\n"
        "sys.modules['bare'] = sys.modules['__main__']\n"
        "from prodlock.server import command\n"
        "sys.exit(command.main(['bare:app', '--port', sys.argv[1]]))\n"
    )
    port = free_port()
    process = Process("-c", script, str(port))
    try:
        process.wait_for("Application startup complete")
        time.sleep(0.2)
        with asking(port, "/") as connection:
            connection.settimeout(5)
            answer = b""
            while b"hello" not in answer:
                answer += connection.recv(4096)
        assert process.stop()[0] == 0
    finally:
        process.kill()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["no_such_module:app"], 1, "no_such_module must be a module that can be imported"),
        ([f"{MODULE}:missing"], 1, f"{MODULE}:missing must be an attribute of a module"),
        ([f"{MODULE}:MODULE"], 1, f"{MODULE}:MODULE must be an attribute"),
        ([f"{MODULE}:SLOW_SECONDS"], 1, f"{MODULE}:SLOW_SECONDS must be an ASGI 3 application"),
        ([f"{MODULE}:bare", "--port=70000"], 1, "--port must be a whole number from 1 to 65535 (got '70000')"),
        ([f"{MODULE}:bare", "--host=localhost"], 1, "--host must be an IP address"),
        ([f"{MODULE}:bare", "--root-path=api/"], 1, "--root-path must be empty or a path such as /api"),
        (["bare"], 1, "The application must be MODULE:ATTRIBUTE (got 'bare')"),
    ],
)
def test_a_wrong_command_line_is_one_message(arguments: list[str], code: int, message: str) -> None:
    """Without a traceback."""
    process = Process("-m", "prodlock.server", *arguments)
    try:
        assert process.end() == code
    finally:
        process.kill()
    (line,) = process.lines
    assert line.startswith(message)
    assert " To fix it: " in line


@pytest.mark.parametrize("arguments", [[], ["bare:app", "--workers=4"], ["bare:app", "--por=1"]])
def test_an_unknown_option_is_exit_code_2(arguments: list[str]) -> None:
    """With the usage. Options are not abbreviated."""
    process = Process("-m", "prodlock.server", *arguments)
    try:
        assert process.end() == 2
    finally:
        process.kill()
    assert process.lines[0].startswith("usage: python -m prodlock.server ")


def test_options_take_precedence_over_variables() -> None:
    """Host, port and root path; --factory calls the attribute."""
    port = free_port()
    options = ("--host=127.0.0.2", f"--port={port}", "--root-path=/option", "--factory")
    process = Process(
        "-m", "prodlock.server", f"{MODULE}:create_fastapi", *options, UVICORN_HOST="::1", UVICORN_ROOT_PATH="/variable"
    )
    try:
        process.wait_for("Application startup complete")
        assert f"Starting on 127.0.0.2:{port}." in process.printed
        with socket.create_connection(("127.0.0.2", port), timeout=5) as connection:
            connection.sendall(b"GET /ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert rest(connection).startswith(b"HTTP/1.1 200 ")
        assert process.stop()[0] == 0
    finally:
        process.kill()


def test_an_exception_of_the_application_is_its_traceback(tmp_path: Any) -> None:  # noqa: ANN401
    """The message is the application's own, and so is the line."""
    (tmp_path / "broken.py").write_text(
        "def create_app():\n    raise LookupError('no configuration')\n", encoding="utf-8"
    )
    process = Process("-m", "prodlock.server", "broken:create_app", PYTHONPATH=str(tmp_path))
    try:
        assert process.end() == 1
    finally:
        process.kill()
    assert "Traceback" in process.printed
    assert 'broken.py", line 2, in create_app' in process.printed
    assert process.lines[-1] == "LookupError: no configuration\n"


def test_a_variable_of_uvicorn_that_has_no_effect_is_a_warning() -> None:
    """The server reads some of them alone."""
    with serving(APPLICATIONS["bare"][0], UVICORN_WORKERS="4", WEB_CONCURRENCY="four") as (process, _):
        assert "UVICORN_WORKERS has no effect: this server does not read it." in process.printed
