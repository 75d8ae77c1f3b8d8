"""The development server as a process: saves, failing starts, and its end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from prodlock.tests.loop.test_rerun import has_ended
from prodlock.tests.program import Program, free_port

APPLICATION = """
import asyncio
import os
from contextlib import asynccontextmanager
from fastapi import FastAPI

@asynccontextmanager
async def lifespan(app):
    yield

def create_app():
    app = FastAPI(lifespan=lifespan)

    @app.get("/")
    async def root():
        return {"answer": "first", "process": os.getpid()}

    return app
"""
REPOSITORY = str(Path(__file__).parents[3])


class Server(Program):
    """A development server of a tree."""

    def __init__(self, root: Path, port: int, **environment: str) -> None:
        self.module = root / "service.py"
        self.port = port
        super().__init__(
            *("-m", "prodlock.loop.serve", "service:create_app", "--host=127.0.0.1", f"--port={port}"),
            cwd=root,
            environment={"PYTHONPATH": f"{root}:{REPOSITORY}", "APP_DRAIN_SECONDS": "0"} | environment,
        )

    def get(self) -> tuple[int, str]:
        """Return status and body of `GET /`. A request in the queue of a socket that closes is sent again."""
        deadline = time.monotonic() + 20
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=10) as answer:
                    return answer.status, answer.read().decode()
            except urllib.error.HTTPError as error:
                return error.code, error.read().decode()
            except OSError:
                assert time.monotonic() < deadline, self.printed
                time.sleep(0.01)

    def save(self, old: str, new: str) -> None:
        """Replace a part of the module."""
        text = self.module.read_text(encoding="utf-8")
        assert old in text
        self.module.write_text(text.replace(old, new), encoding="utf-8")

    def answer_with(self, part: str) -> tuple[int, str]:
        """Return the first answer with a part in its body."""
        deadline = time.monotonic() + 20
        while True:
            status, body = self.get()
            if part in body:
                return status, body
            assert time.monotonic() < deadline, (body, self.printed)
            time.sleep(0.01)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A tree with an application."""
    (tmp_path / "service.py").write_text(APPLICATION, encoding="utf-8")
    return tmp_path


@pytest.fixture
def port() -> int:
    """A free port."""
    return free_port()


@contextmanager
def started(root: Path, port: int, **environment: str) -> Iterator[Server]:
    """Start a server of a tree, wait until it answers, and end it afterwards."""
    running = Server(root, port, **environment)
    try:
        running.answer_with("first")
        yield running
    finally:
        try:
            running.stop()
        finally:
            running.kill()


@pytest.fixture
def server(root: Path, port: int) -> Iterator[Server]:
    """A server of the tree that answers."""
    with started(root, port) as running:
        yield running


def test_a_save_takes_effect(server: Server) -> None:
    """In another process, and so again."""
    _, first = server.get()
    server.save('"first"', '"second"')
    status, second = server.answer_with("second")
    assert status == 200
    assert first.partition("process")[2] != second.partition("process")[2]
    server.save('"second"', '"third"')
    assert server.answer_with("third")[0] == 200
    assert "service.py changed." in server.printed


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("import os\n", "import os\nimport absent_module\n", "ModuleNotFoundError: No module named 'absent_module'"),
        ("import os\n", "import os (\n", "SyntaxError"),
        ("    yield\n", "    raise RuntimeError('no database')\n    yield\n", "RuntimeError: no database"),
        ("    app = FastAPI", "    raise SystemExit('APP_X must be set')\n    app = FastAPI", "APP_X must be set"),
        ("import os\n", "import os\nos._exit(3)\n", "The application ended with exit code 3"),
        ("import os\n", "import os, sys\nsys.exit(3)\n", "SystemExit: 3"),
        ("def create_app", "def other", "must be an attribute of a module"),
    ],
    ids=["import", "syntax", "lifespan", "settings", "exit", "sys.exit", "name"],
)
def test_a_failing_start_is_answered_until_the_next_save(server: Server, old: str, new: str, reason: str) -> None:
    """With 500 and the reason; the log has it as well."""
    server.save(old, new)
    status, body = server.answer_with("does not run")
    assert status == 500
    assert reason in body
    server.save(new, old)
    assert server.answer_with("first")[0] == 200
    assert reason in server.printed


def test_a_failing_end_does_not_answer_requests(server: Server) -> None:
    """Requests wait for what was saved: the reason why an application has not ended well is in the log alone."""
    server.save("    yield\n", "    yield\n    raise RuntimeError('still in use')\n")
    server.save('"first"', '"second"')
    server.answer_with("second")
    server.save('"second"', '"third"')
    statuses = set()
    while "third" not in (answer := server.get())[1]:
        statuses.add(answer[0])
    assert statuses <= {200}, answer
    assert "RuntimeError: still in use" in server.printed


def test_the_traceback_begins_in_the_tree(server: Server) -> None:
    """The frames of the importing server are of no use to the reader."""
    server.save("import os\n", "import os\n1 / 0\n")
    _, body = server.answer_with("does not run")
    assert "service.py" in body
    assert "importlib" not in body


def test_an_import_that_does_not_end_is_reported_with_its_place(server: Server) -> None:
    """After some seconds; the next save ends it."""
    server.save("import os\n", "import os\nwhile True: pass\n")
    server.wait_for('service.py", line 4')
    assert "The application has not been imported after 5 s." in server.printed
    server.save("while True: pass\n", "")
    assert server.answer_with("first")[0] == 200


def test_third_party_modules_are_imported_once(server: Server) -> None:
    """A child has them before it imports the tree; with PRODLOCK_PRELOAD=0 it has not."""
    server.save('"answer": "first"', '"answer": BEFORE')
    server.save("import os\n", "import os, sys\nBEFORE = f'preloaded: {\"fastapi\" in sys.modules}'\n")
    assert "preloaded: True" in server.answer_with("preloaded: ")[1]


def test_preloading_can_be_switched_off(root: Path, port: int) -> None:
    """The control of the test above."""
    with started(root, port, PRODLOCK_PRELOAD="0") as running:
        running.save('"answer": "first"', '"answer": BEFORE')
        running.save("import os\n", "import os, sys\nBEFORE = f'preloaded: {\"fastapi\" in sys.modules}'\n")
        assert "preloaded: False" in running.answer_with("preloaded: ")[1]


def test_a_library_that_starts_a_thread_is_not_preloaded(
    root: Path, port: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """It is imported again at each save; the log names it."""
    library = tmp_path_factory.mktemp("library")
    thread = "import threading, time\nthreading.Thread(target=time.sleep, args=(99,), daemon=True).start()\n"
    (library / "threaded.py").write_text(thread, encoding="utf-8")
    (root / "service.py").write_text("import threaded\n" + APPLICATION, encoding="utf-8")
    with started(root, port, PYTHONPATH=f"{root}:{REPOSITORY}:{library}") as running:
        running.wait_for("a fork cannot inherit them: threaded.")
        running.save('"first"', '"second"')
        assert running.answer_with("second")[0] == 200
        assert running.stop()[0] == 0


def test_a_process_that_the_application_starts_does_not_stop_the_reload(root: Path, port: int) -> None:
    """It inherits what its parent has open, and ends with its parent at the next save."""
    worker = (
        "import multiprocessing, time\n"
        "WORKER = multiprocessing.get_context('fork').Process(target=time.sleep, args=(60,), daemon=True)\n"
        "WORKER.start()\nprint('worker', WORKER.pid, flush=True)\n"
    )
    (root / "service.py").write_text(worker + APPLICATION, encoding="utf-8")
    with started(root, port) as running:
        time.sleep(0.2)
        running.save('"first"', '"second"')
        assert running.answer_with("second")[0] == 200
        first, second = (int(line.split()[1]) for line in running.lines if line.startswith("worker "))
        assert (has_ended(first), has_ended(second)) == (True, False)
        assert running.stop()[0] == 0
    assert has_ended(second)


def add_slow_route(server: Server) -> None:
    """Add the route /slow, whose answer never comes, and wait until it exists."""
    server.save(
        "    return app",
        "    @app.get('/slow')\n    async def slow():\n        await asyncio.sleep(99)\n\n    return app",
    )
    server.save('"first"', '"second"')
    server.answer_with("second")


def test_a_signal_during_a_restart_ends_it(server: Server) -> None:
    """The former process, which still answers a request, is ended as well."""
    add_slow_route(server)
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(0.1)
        before = server.printed.count("service.py changed.")
        server.save('"second"', '"third"')
        # The process has 0.3 s to end.
        deadline = time.monotonic() + 10
        while server.printed.count("service.py changed.") == before:
            assert time.monotonic() < deadline, server.printed
            time.sleep(0.005)
        assert server.stop()[0] == 0
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", server.port))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_within_a_second(server: Server, number: signal.Signals) -> None:
    """Also where a request never ends: with exit code 0, and nothing left."""
    add_slow_route(server)
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(0.1)
        code, seconds = server.stop(number)
        assert code == 0
        assert seconds < 1
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", server.port))


# A server that ends once it has a connection, on which the request arrives after DELAY seconds.
ENDING = """
import asyncio, socket, sys
from prodlock.loop.serve import QuickServer
from prodlock.server import server
from prodlock.server.settings import Settings

listener = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(listener.getsockname())

class Ending(QuickServer):
    async def on_tick(self, counter):
        return await super().on_tick(counter) or bool(self.server_state.connections)

    async def shutdown(self, sockets=None):
        request = b"GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n"
        if sys.argv[1] == "0":
            client.sendall(request)
        elif sys.argv[1] != "never":
            asyncio.get_running_loop().call_later(float(sys.argv[1]), client.sendall, request)
        started = asyncio.get_running_loop().time()
        await super().shutdown(sockets)
        print(asyncio.get_running_loop().time() - started < 0.06)

async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})
    while scope["type"] == "lifespan":
        await send({"type": (await receive())["type"] + ".complete"})

server.run(app, Settings.read({}, options={}), [listener], Ending)
print(client.recv(100).partition(b"\\r\\n")[0].decode())
"""


@pytest.mark.parametrize(("delay", "answer"), [("0", "HTTP/1.1 200 OK"), ("0.005", "HTTP/1.1 200 OK"), ("never", "")])
def test_a_request_that_arrives_while_the_server_ends_is_answered(delay: str, answer: str) -> None:
    """Its connection is there already. One without a request, such as a browser opens, delays a save little."""
    environment = os.environ | {"PYTHONPATH": REPOSITORY}
    done = subprocess.run(
        [sys.executable, "-c", ENDING, delay], check=False, capture_output=True, text=True, env=environment, timeout=30
    )
    is_quick, _, answered = done.stdout.partition("\n")
    assert answered.strip() == answer, done.stderr
    assert is_quick == "True" or delay != "never"


def test_a_changed_lock_is_announced(server: Server) -> None:
    """The container has the packages of the former one."""
    (server.module.parent / "pyproject.toml").write_text("", encoding="utf-8")
    (server.module.parent / "poetry.lock").write_text("", encoding="utf-8")
    server.wait_for("press Ctrl-C and run `inv dev` again.")


def test_the_root_may_be_above_the_current_folder(tmp_path: Path, port: int) -> None:
    """The commands run in `backend`, and import from `src`; the package is elsewhere, and its copy is not watched."""
    for folder in ("backend", "src", "prodlock/server"):
        (tmp_path / folder).mkdir(parents=True)
    root = tmp_path / "backend"
    source = APPLICATION.replace('"first"', "library.ANSWER")
    (root / "service.py").write_text(f"import library\n{source}", encoding="utf-8")
    library, copy = tmp_path / "src/library.py", tmp_path / "prodlock/server/server.py"
    library.write_text("import prodlock\nANSWER = 'first'\n", encoding="utf-8")
    environment = {
        "PRODLOCK_ROOT": str(tmp_path),
        "PRODLOCK_LOCK": "backend/requirements.txt",
        "PYTHONPATH": os.pathsep.join((str(tmp_path), str(tmp_path / "src"), REPOSITORY)),
    }
    with started(root, port, **environment) as running:
        _, first = running.get()
        copy.write_text("1 / 0\n", encoding="utf-8")
        time.sleep(0.3)
        assert running.get()[1] == first
        library.write_text("ANSWER = 'second'\n", encoding="utf-8")
        assert running.answer_with("second")[0] == 200
        running.wait_for("src/library.py changed.")
        library.write_text("import prodlock\nANSWER = prodlock.__file__\n", encoding="utf-8")
        assert running.answer_with(f"{REPOSITORY}/prodlock/__init__.py")[0] == 200
        (root / "requirements.txt").touch()
        running.wait_for("The container has the packages of the former lock")
        assert "prodlock/" not in running.printed


def test_a_port_that_is_taken_is_refused_in_one_line(root: Path) -> None:
    """Without a traceback."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        running = Server(root, taken.getsockname()[1])
        assert running.end() == 1
    assert "must be free to listen on" in running.printed
    assert "Traceback" not in running.printed
