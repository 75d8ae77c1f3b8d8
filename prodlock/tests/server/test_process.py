"""The server as a process: start, requests, stop and exit codes. Too slow for `inv test`."""

from __future__ import annotations

import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import pytest

from prodlock.tests.program import Program, free_port

ABORTED = "aborted at the end of the grace period"
FAULTY = "prodlock.tests.server.faulty:create_app"
REPOSITORY = Path(__file__).parents[3]
# An application that configures logging when it is imported, or in its lifespan.
CONFIGURES = """
import logging.config, os
from prodlock.tests.server.applications import bare

def configure(place):
    if os.environ["PLACE"] == place:
        shown = {"format": "%(process)d %(thread)d %(processName)s %(threadName)s %(message)s"}
        handler = {"class": "logging.StreamHandler", "formatter": "shown"}
        root = {"handlers": ["all"], "level": "INFO"}
        logging.config.dictConfig(
            {"version": 1, "formatters": {"shown": shown}, "handlers": {"all": handler}, "root": root}
        )

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        configure("lifespan")
    await bare(scope, receive, send)

configure("import")
"""
# One whose handler replaces that of the server, as a common recipe of loguru does. No timer writes the request log.
REPLACES = """
import logging, os, time
from contextlib import asynccontextmanager
from prodlock.server.batches import Deferred
from starlette.applications import Starlette

@asynccontextmanager
async def lifespan(_):
    logging.basicConfig(level="INFO", force=True)
    Deferred.DELAY = Deferred.LATE = 60
    yield
    time.sleep(float(os.environ["SECONDS"]))

app = Starlette(lifespan=lifespan)
"""
# Short times, so that the tests are quick. The process ends 0.2 s before the 2.
GRACE = {"APP_DRAIN_SECONDS": "0.3", "UVICORN_TIMEOUT_GRACEFUL_SHUTDOWN": "0.5", "APP_STOP_GRACE_SECONDS": "2"}


class Process(Program):
    """A program with a short grace period."""

    def __init__(self, *command: str, **environment: str) -> None:
        super().__init__(*command, environment=GRACE | environment)


@contextmanager
def running(lifespan: str = "", app: str = FAULTY, **environment: str) -> Iterator[tuple[Process, int]]:
    """Run an application, by default the faulty one; give the process and its port."""
    port = free_port()
    process = Process("-m", "prodlock.server", app, f"--port={port}", LIFESPAN=lifespan, **environment)
    try:
        yield process, port
    finally:
        process.kill()


@contextmanager
def serving(app: str = FAULTY, **environment: str) -> Iterator[tuple[Process, int]]:
    """Run an application until it is ready."""
    with running(app=app, **environment) as (process, port):
        process.wait_for("startup complete")
        deadline = time.monotonic() + 10
        while not ask(port, "/ready", seconds=5).startswith(b"HTTP/1.1 200"):
            assert time.monotonic() < deadline
        yield process, port


@contextmanager
def asking(port: int, path: str, method: str = "GET") -> Iterator[socket.socket]:
    """Send a request, and give the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(f"{method} {path} HTTP/1.1\r\nHost: x\r\nX-Request-Id: asked\r\n\r\n".encode())
        yield connection


def ask(port: int, path: str, *, seconds: float) -> bytes:
    """Return the first part of an answer, or nothing if it does not come in time."""
    try:
        with asking(port, path) as connection:
            connection.settimeout(seconds)
            return connection.recv(4096)
    except OSError:
        return b""


def rest(connection: socket.socket) -> bytes:
    """Return all that is received until the end of the connection."""
    return b"".join(iter(partial(connection.recv, 4096), b""))


@pytest.mark.parametrize("package", ["uvicorn", "argparse", "slow_app"])
def test_a_stop_during_the_imports_ends_the_process_at_once(tmp_path: Path, package: str) -> None:
    """The signals are handled before anything that takes time is imported."""
    slow = tmp_path / package
    slow.mkdir()
    (slow / "__init__.py").write_text("import time\nprint('imports', flush=True)\ntime.sleep(30)\n", encoding="utf-8")
    process = Process("-m", "prodlock.server", "slow_app:app", PYTHONPATH=str(tmp_path))
    try:
        process.wait_for("imports")
        code, seconds = process.stop()
    finally:
        process.kill()
    assert (code, process.printed) == (0, "imports\n")
    assert seconds < 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_that_was_blocked_is_not_lost(number: signal.Signals) -> None:
    """The image's command blocks it by env(1), before the interpreter starts."""
    script = (
        "import os, runpy, signal\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGINT])\n"
        f"os.kill(os.getpid(), {number:d})\n"
        "print('pending', flush=True)\n"
        "runpy.run_module('prodlock.server', run_name='__main__')"
    )
    process = Process("-c", script)
    try:
        assert process.end() == 0
    finally:
        process.kill()
    assert process.printed == "pending\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_while_the_application_starts_cancels_it(number: signal.Signals) -> None:
    """Its cleanup runs, no traceback is printed, and the exit code is 0."""
    with running("waits") as (process, port):
        process.wait_for("lifespan begins")
        code, seconds = process.stop(number)
        assert ask(port, "/", seconds=1) == b""
    assert code == 0
    assert seconds < 1
    assert "lifespan ends\n" in process.printed
    assert "Stopped during the start." in process.printed
    assert "Traceback" not in process.printed


def test_a_start_that_cannot_be_cancelled_is_ended() -> None:
    """A lifespan blocks the loop: half a second later the process ends, and logs that."""
    with running("blocks") as (process, _):
        process.wait_for("lifespan begins")
        code, seconds = process.stop(signal.SIGTERM, signal.SIGTERM)
    assert code == 0
    assert seconds < 1.5
    assert "the process ends, though the application still runs" in process.printed


def test_a_lifespan_that_fails_at_its_start_is_reported() -> None:
    """Exit code 3, the same as of uvicorn's own command."""
    with running("fails") as (process, _):
        assert process.end() == 3
    assert "RuntimeError: the database is not there" in process.printed
    assert process.lines[-1].endswith("Application startup failed. Exiting.\n")


@pytest.mark.parametrize("stop", [True, False])
def test_a_start_that_fails_ends_though_a_thread_goes_on(stop: bool) -> None:  # noqa: FBT001
    """With exit code 3: at once by a signal, else at the end of the grace period."""
    with running("fails beside a thread") as (process, _):
        process.wait_for("Application startup failed. Exiting.")
        time.sleep(0.2)
        code, seconds = process.stop() if stop else (process.end(), 0)
    assert code == 3
    assert seconds < 1


def test_a_start_that_cancels_itself_is_reported() -> None:
    """Only where the server has cancelled it is the traceback left out."""
    with running("cancels") as (process, _):
        assert process.end() == 3
    assert "CancelledError: the database is not there" in process.printed


def test_an_address_that_is_taken_during_the_start_is_one_message(tmp_path: Path) -> None:
    """Two servers are started at once, for example. The end of the lifespan runs; the exit code is 1."""
    port = free_port()
    (tmp_path / "taking.py").write_text(
        "import socket\n"
        "from contextlib import asynccontextmanager\n"
        "from starlette.applications import Starlette\n"
        "@asynccontextmanager\n"
        "async def lifespan(app):\n"
        f"    with socket.create_server(('127.0.0.1', {port})):\n"
        "        yield\n"
        "    print('lifespan ends', flush=True)\n"
        "app = Starlette(lifespan=lifespan)\n",
        encoding="utf-8",
    )
    command = ("-m", "prodlock.server", "taking:app", "--host=127.0.0.1", f"--port={port}")
    process = Process(*command, PYTHONPATH=str(tmp_path))
    try:
        assert process.end() == 1
    finally:
        process.kill()
    assert process.lines[-1].startswith(f"The address 127.0.0.1 and port {port} must be free to listen on (got: ")
    assert "lifespan ends\n" in process.printed
    assert "Traceback" not in process.printed


def test_a_service_runs_without_standard_streams() -> None:
    """A supervisor may have closed them."""
    port = free_port()
    arguments = [sys.executable, "-m", "prodlock.server", FAULTY, f"--port={port}"]
    process = Process(
        "-c", f"import os\nfor number in range(3): os.close(number)\nos.execv({arguments[0]!r}, {arguments})"
    )
    try:
        deadline = time.monotonic() + 20
        while not ask(port, "/", seconds=5).startswith(b"HTTP/1.1 200 "):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert process.stop()[0] == 0
    finally:
        process.kill()


def test_connections_beyond_the_limit_of_open_files_wait() -> None:
    """Once a second the log has an error; then they are answered."""
    port = free_port()
    script = (
        "import resource, runpy, sys\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (20, 20))\n"
        f"sys.argv[1:] = [{FAULTY!r}, '--port={port}']\n"
        "runpy.run_module('prodlock.server', run_name='__main__')"
    )
    process = Process("-c", script)
    try:
        process.wait_for("startup complete")
        time.sleep(0.2)
        with ExitStack() as stack:
            connections = [stack.enter_context(asking(port, "/")) for _ in range(40)]
            process.wait_for("socket.accept() out of system resource")
            time.sleep(1.5)
            answered = [one for one in connections if _has_answer(one)]
            assert 0 < len(answered) < len(connections)
            for one in answered:
                one.close()
            waiting = connections[len(answered)]
            waiting.settimeout(20)
            assert waiting.recv(4096).startswith(b"HTTP/1.1 200 ")
        assert process.stop()[0] == 0
    finally:
        process.kill()
    assert process.printed.count("out of system resource") < 20


def test_new_connections_do_not_wait_for_each_other() -> None:
    """A busy loop takes a while for each round of its events: in one it accepts all connections that wait."""
    asked = b"GET /busy?seconds=0.005 HTTP/1.1\r\nHost: x\r\n\r\n"
    with serving() as (_, port), ExitStack() as stack:
        others = [stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20)) for _ in range(10)]
        new = threading.Event()
        # As many as requests of the others that are answered meanwhile.
        answered = []

        def repeat(connection: socket.socket) -> None:
            while not new.is_set():
                connection.sendall(asked)
                answered.append(connection.recv(4096))

        threads = [threading.Thread(target=repeat, args=(one,)) for one in others]
        for thread in threads:
            thread.start()
        try:
            time.sleep(0.3)
            before = len(answered)
            connections = [stack.enter_context(asking(port, "/")) for _ in range(50)]
            assert all(one.recv(4096).startswith(b"HTTP/1.1 200 ") for one in connections)
            meanwhile = len(answered) - before
        finally:
            new.set()
            for thread in threads:
                thread.join()
    assert all(one.startswith(b"HTTP/1.1 200 ") for one in answered)
    # One connection in each round of the ten others would be 500.
    assert meanwhile < 250


def test_a_lifespan_that_fails_at_its_end_is_reported() -> None:
    """With exit code 3 as well."""
    with running("fails at the end") as (process, _):
        process.wait_for("startup complete")
        assert process.stop()[0] == 3
    assert "RuntimeError: the database has gone" in process.printed


# A bare application whose lifespan raises at a moment that a variable names.
RAISES = """
import asyncio, os

async def app(scope, receive, send):
    if scope["type"] != "lifespan":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})
        return
    await receive()
    if os.environ["LIFESPAN"] == "never":
        raise SystemExit("the database is not there")
    await send({"type": "lifespan.startup.complete"})
    if os.environ["LIFESPAN"] == "end":
        await receive()
    raise SystemExit("the database has gone") if os.environ["LIFESPAN"] == "exit" else OSError("the database has gone")
"""


@pytest.mark.parametrize("moment", ["start", "end", "exit"])
def test_a_lifespan_that_raises_after_its_start_is_reported(tmp_path: Path, moment: str) -> None:
    """The traceback is logged, the service goes on until the stop, and the exit code is 3."""
    (tmp_path / "raising.py").write_text(RAISES, encoding="utf-8")
    with running(moment, "raising:app", PYTHONPATH=f"{tmp_path}:{REPOSITORY}") as (process, port):
        process.wait_for("startup complete")
        assert ask(port, "/ready", seconds=5).startswith(b"HTTP/1.1 200")
        code, seconds = process.stop()
    assert (code, seconds < 1.8) == (3, True)
    assert process.printed.count("the database has gone") >= 1
    assert "unsupported" not in process.printed


def test_an_application_without_a_lifespan_is_served(tmp_path: Path) -> None:
    """What it raises is logged: it may be a failure of the start."""
    (tmp_path / "raising.py").write_text(RAISES, encoding="utf-8")
    with running("never", "raising:app", PYTHONPATH=f"{tmp_path}:{REPOSITORY}") as (process, port):
        process.wait_for("startup complete")
        assert ask(port, "/ready", seconds=5).startswith(b"HTTP/1.1 200")
        assert process.stop()[0] == 0
    assert "The application has no lifespan: it raised SystemExit: the database is not there." in process.printed


def test_a_wrong_setting_is_one_message() -> None:
    """Before the application is imported. The exit code is 1."""
    process = Process("-m", "prodlock.server", "no_such_module:app", APP_LOG_LEVEL="loud")
    try:
        assert process.end() == 1
    finally:
        process.kill()
    (line,) = process.lines
    assert line.startswith("APP_LOG_LEVEL must be debug, info, warning or error (got 'loud'). To fix it: ")


def test_a_port_in_use_is_one_message() -> None:
    """With --network=host, for example."""
    with socket.create_server(("0.0.0.0", 0)) as listener:  # noqa: S104
        process = Process("-m", "prodlock.server", FAULTY, f"--port={listener.getsockname()[1]}")
        try:
            assert process.end() == 1
        finally:
            process.kill()
    (line,) = process.lines
    assert re.match(
        r"The address 0\.0\.0\.0 and port \d+ must be free to listen on \(got: Address already in use\)\. ", line
    )


def test_a_stop_drains_and_ends_with_0() -> None:
    """For APP_DRAIN_SECONDS, requests are answered and each response ends its connection; `/ready` is 503."""
    with serving(APP_DRAIN_SECONDS="1") as (process, port):
        assert b"connection: close" not in ask(port, "/", seconds=5)
        with asking(port, "/slow?seconds=0.5") as connection:
            process.wait_for("GET '/' 200")
            process.send(signal.SIGTERM)
            started = time.monotonic()
            time.sleep(0.1)
            ready = ask(port, "/ready", seconds=5)
            assert ready.startswith(b"HTTP/1.1 503 ")
            assert b"connection: close" in ready
            # A request that was in flight at the signal.
            assert re.match(rb'(?s)HTTP/1.1 200 .*connection: close.*"slow"$', rest(connection))
        assert process.end() == 0
    assert 1 <= time.monotonic() - started < 2


@pytest.mark.parametrize("signals", [[signal.SIGTERM] * 2, [signal.SIGINT], [signal.SIGTERM, signal.SIGINT]])
def test_ctrl_c_or_a_second_signal_ends_the_drain(signals: list[signal.Signals]) -> None:
    """Ctrl-C comes from a user who waits."""
    with serving(APP_DRAIN_SECONDS="8", APP_STOP_GRACE_SECONDS="10") as (process, _):
        code, seconds = process.stop(*signals)
    assert code == 0
    assert seconds < 2


def test_every_request_is_logged_at_the_end() -> None:
    """Lines are written in batches, and a signal could end a process at once that is not process 1."""
    with serving(APP_DRAIN_SECONDS="0") as (process, port), ExitStack() as stack:
        connections = [stack.enter_context(asking(port, "/slow?seconds=0.3")) for _ in range(20)]
        time.sleep(0.1)
        assert process.stop()[0] == 0
        assert all(b'"slow"' in rest(connection) for connection in connections)
    assert process.printed.count("GET '/slow' 200 ") == 20


@pytest.mark.parametrize("place", ["import", "lifespan"])
def test_an_application_may_configure_logging(tmp_path: Path, place: str) -> None:
    """By default that disables every logger that it does not name. Its format may have process and thread."""
    (tmp_path / "configures.py").write_text(CONFIGURES, encoding="utf-8")
    with serving("configures:app", PYTHONPATH=f"{REPOSITORY}:{tmp_path}", PLACE=place) as (process, port):
        assert ask(port, "/", seconds=5).startswith(b"HTTP/1.1 200 ")
        process.stop()
    assert re.search(r"^[1-9]\d* [1-9]\d* MainProcess MainThread GET '/' 200 ", process.printed, re.MULTILINE)
    assert "Logging error" not in process.printed


@pytest.mark.parametrize("seconds", [0, 30])
def test_an_application_with_its_own_handler_loses_no_line(tmp_path: Path, seconds: int) -> None:
    """At the end no timer runs any more, also where the end of the lifespan blocks until the process is ended."""
    (tmp_path / "replaces.py").write_text(REPLACES, encoding="utf-8")
    path = f"{REPOSITORY}:{tmp_path}"
    with serving("replaces:app", PYTHONPATH=path, SECONDS=f"{seconds}") as (process, port):
        assert ask(port, "/", seconds=5).startswith(b"HTTP/1.1 404 ")
        assert process.stop()[0] == 0
    assert "INFO:prodlock.request:GET '/' 404 " in process.printed


@pytest.mark.parametrize("path", ["/slow", "/thread", "/stubborn"])
def test_a_request_that_is_aborted_is_answered_and_logged(path: str) -> None:
    """503 with the request id, one warning, no traceback, exit code 0, whether it can be cancelled or not."""
    with serving() as (process, port), asking(port, path) as connection:
        time.sleep(0.2)
        code, seconds = process.stop()
        answer = rest(connection)
    assert code == 0
    assert seconds < 2.1
    assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b"x-request-id: asked" in answer
    assert b'{"detail":"Service Unavailable","request_id":"asked"}' in answer
    (line,) = [line for line in process.lines if f"GET '{path}'" in line]
    assert re.search(
        rf"WARNING prodlock\.request: GET '{path}' 503 \d+\.\d ms 127\.0\.0\.1 {path} asked: {ABORTED}", line
    )
    assert "Traceback" not in process.printed


@pytest.mark.parametrize("path", ["/half", "/background"])
def test_a_response_that_has_begun_is_aborted_and_logged(path: str) -> None:
    """The rest of a stream, or a background task: one warning, no traceback."""
    with serving() as (process, port), asking(port, path) as connection:
        time.sleep(0.2)
        assert process.stop()[0] == 0
        assert rest(connection).startswith(b"HTTP/1.1 200 ")
    (line,) = [line for line in process.lines if f"GET '{path}'" in line]
    assert re.search(rf"WARNING prodlock\.request: GET '{path}' 200 .*: {ABORTED}", line)
    assert "Traceback" not in process.printed


def test_a_handler_that_blocks_the_loop_does_not_outlast_the_grace_period() -> None:
    """The request can be neither answered nor cancelled; the process ends in time and logs that."""
    with serving() as (process, port), asking(port, "/busy"):
        time.sleep(0.2)
        code, seconds = process.stop()
    assert code == 0
    assert 1.5 < seconds < 2.5
    assert f": {ABORTED}" in process.printed
    assert "the process ends, though the application still runs" in process.printed


@pytest.mark.parametrize("path", ["/blocking", "/blocking?length=8"])
def test_a_head_does_not_wait_for_a_body_that_blocks(path: str) -> None:
    """A generator blocks the loop for a second before its first part; also where the length is known."""
    with serving() as (_, port):
        started = time.monotonic()
        assert ask(port, path, seconds=5).startswith(b"HTTP/1.1 200 ")
        assert time.monotonic() - started < 0.5


def test_a_complete_response_does_not_wait_for_another_connection() -> None:
    """Requests of twenty connections arrive while a handler uses CPU: answers that are ready before it are sent."""
    # All arrive while the loop is busy for the first time, and so are served in one iteration.
    with serving() as (_, port), ExitStack() as stack, asking(port, "/busy?seconds=0.4"):
        time.sleep(0.1)
        before = [stack.enter_context(asking(port, "/health")) for _ in range(10)]
        busy = stack.enter_context(asking(port, "/busy?seconds=2"))
        after = [stack.enter_context(asking(port, "/health")) for _ in range(10)]
        time.sleep(1)
        early = sum(map(_has_answer, before))
        assert not _has_answer(busy)
        print(f"{early} of {len(before)}, {sum(map(_has_answer, after))} of {len(after)}")
    assert early == len(before)


def _has_answer(connection: socket.socket) -> bool:
    connection.setblocking(False)  # noqa: FBT003
    try:
        return bool(connection.recv(4096))
    except BlockingIOError:
        return False
