"""A project's own serving command in development: saves, an end of the command, connections and signals."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from prodlock.tests.program import Program, free_port

REPOSITORY = str(Path(__file__).parents[3])
# A server of the standard library, with a worker that ignores SIGTERM.
SERVER = """
import os, signal, sys, time
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        body = b"first"
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)

if not os.fork():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("worker", os.getpid(), flush=True)
    time.sleep(30)
    os._exit(0)
time.sleep(0.3)
HTTPServer(("0.0.0.0", int(sys.argv[1])), Handler).serve_forever()
"""


class Rerun(Program):
    """The supervisor of a tree's own serving command, started in the folder `backend`."""

    def __init__(self, root: Path, *command: str, command_port: int = 0, **environment: str) -> None:
        self.module = root / "serve.py"
        self.port, inner = free_port(), command_port or free_port()
        words = command or (sys.executable, "../serve.py", str(inner))
        super().__init__(
            *("-m", "prodlock.loop.rerun", str(self.port), str(inner), *words),
            cwd=root / "backend",
            environment={"PYTHONPATH": REPOSITORY, "PRODLOCK_ROOT": str(root)} | environment,
        )

    def get(self, data: bytes | None = None) -> tuple[int, str]:
        """Return status and body of a request. One that arrives while the former process ends is sent again."""
        deadline = time.monotonic() + 20
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", data, timeout=10) as answer:
                    return answer.status, answer.read().decode()
            except urllib.error.HTTPError as error:
                return error.code, error.read().decode()
            except OSError:
                assert time.monotonic() < deadline, self.printed
                time.sleep(0.01)

    def answer_with(self, part: str) -> tuple[int, str]:
        """Return the first answer with a part in its body."""
        deadline = time.monotonic() + 20
        while True:
            status, body = self.get()
            if part in body:
                return status, body
            assert time.monotonic() < deadline, (body, self.printed)
            time.sleep(0.01)

    def save(self, old: str, new: str) -> None:
        """Replace a part of the server's module."""
        self.module.write_text(SERVER.replace(old, new), encoding="utf-8")

    def workers(self) -> list[int]:
        """Return the processes of the workers that have been started."""
        return [int(line.split()[1]) for line in self.lines if line.startswith("worker ")]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A tree with a server and a folder in which commands run."""
    (tmp_path / "backend").mkdir()
    (tmp_path / "serve.py").write_text(SERVER, encoding="utf-8")
    return tmp_path


@contextmanager
def rerunning(root: Path, *command: str, command_port: int = 0, **environment: str) -> Iterator[Rerun]:
    """Run the supervisor, and end it and its workers afterwards."""
    program = Rerun(root, *command, command_port=command_port, **environment)
    try:
        yield program
    finally:
        program.send(signal.SIGTERM)
        program.end()


def has_ended(process: int) -> bool:
    """Return whether a process has ended, though its parent may not have noticed that."""
    try:
        return Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def until_ended(process: int) -> None:
    """Wait until a process has ended."""
    deadline = time.monotonic() + 5
    while not has_ended(process):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def until_listening(program: Rerun) -> None:
    """Wait until the supervisor accepts connections."""
    deadline = time.monotonic() + 20
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", program.port), timeout=1):
            return
        assert time.monotonic() < deadline, program.printed
        time.sleep(0.01)


def test_a_save_starts_the_command_again(root: Path) -> None:
    """Requests wait until the command listens; workers of the former process end."""
    with rerunning(root, PRODLOCK_ADDRESS="http://x") as program:
        program.wait_for("http://x serves the working tree.")
        assert program.get() == (200, "first")
        program.save("first", "second")
        assert program.answer_with("second") == (200, "second")
        program.wait_for("serve.py changed.")
        first, second = program.workers()
        assert (has_ended(first), has_ended(second)) == (True, False)
    until_ended(second)


def test_a_broken_save_is_answered_with_what_the_command_printed(root: Path) -> None:
    """With status 500, also where the request has a body; the next save recovers."""
    with rerunning(root) as program:
        assert program.get() == (200, "first")
        program.save("import os", "import nothere, os")
        status, body = program.answer_with("ModuleNotFoundError: No module named 'nothere'")
        assert status == 500
        assert body.startswith(
            "The application does not run. It is started again when a file is saved.\n\nThe command "
        )
        assert program.get(b"x" * 1_000_000)[0] == 500
        program.wait_for("The command ended with exit code 1. It is started again when a file is saved.")
        assert "ModuleNotFoundError" in program.printed
        program.save("first", "third")
        assert program.answer_with("third") == (200, "third")


def test_connections_are_passed_on_unchanged(root: Path) -> None:
    """Large bodies in both directions, and clients that end their half of a connection or all of it."""
    with rerunning(root) as program:
        sent = os.urandom(500_000).hex()
        assert program.get(sent.encode()) == (200, sent)
        with socket.create_connection(("127.0.0.1", program.port), timeout=10) as client:
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            client.shutdown(socket.SHUT_WR)
            assert client.makefile("rb").read().endswith(b"first")
        with socket.create_connection(("127.0.0.1", program.port)):
            pass
        assert program.get() == (200, "first")
        assert "Traceback" not in program.printed


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_command_with_its_workers(root: Path, number: signal.Signals) -> None:
    """With exit code 0, also while a request waits."""
    with rerunning(root, sys.executable, "-c", "import time; time.sleep(30)") as program:
        until_listening(program)
        with socket.create_connection(("127.0.0.1", program.port), timeout=10):
            code, seconds = program.stop(number)
        assert code == 0, program.printed
        assert seconds < 3
        assert "Traceback" not in program.printed


def test_a_changed_lock_is_reported(root: Path) -> None:
    """The container has the packages of the former one."""
    with rerunning(root) as program:
        assert program.get() == (200, "first")
        (root / "poetry.lock").touch()
        program.wait_for("press Ctrl-C and run `inv dev` again.")


@pytest.mark.parametrize(
    ("name", "reason"), [("absent-x", "No such file"), ("../script", "Exec format error"), ("..", "Permission denied")]
)
def test_a_program_that_cannot_be_run_is_reported(root: Path, name: str, reason: str) -> None:
    """In one line, with exit code 1. A script needs a first line that names its interpreter."""
    (root / "script").write_text("echo started\n", encoding="utf-8")
    (root / "script").chmod(0o755)
    program = Rerun(root, name)
    assert program.end() == 1
    (line,) = program.lines
    assert line.startswith(f"`server` in [tool.prodlock] must name a program of the image (got {name}: {reason}")


def test_a_program_that_a_save_removes_is_started_once_it_is_back(root: Path) -> None:
    """A change of branches does that. Until then, requests get the reason."""
    source, program = root / "serve.py", root / "program.py"
    source.write_text(f"#!{sys.executable}\n{SERVER}", encoding="utf-8")
    source.chmod(0o755)
    source.rename(program)
    inner = free_port()
    with rerunning(root, "../program.py", str(inner), command_port=inner) as running:
        assert running.get() == (200, "first")
        program.rename(source)
        status, _ = running.answer_with("The command cannot be started (No such file or directory).")
        assert status == 500
        source.rename(program)
        assert running.answer_with("first") == (200, "first")


def test_a_port_that_is_taken_is_reported(root: Path) -> None:
    """In one line, with exit code 1; the command is not started."""
    with socket.create_server(("0.0.0.0", 0)) as taken:  # noqa: S104
        port = taken.getsockname()[1]
        command = (sys.executable, "-c", "print('started', flush=True)")
        program = Program(
            *("-m", "prodlock.loop.rerun", str(port), str(free_port()), *command),
            cwd=root / "backend",
            environment={"PYTHONPATH": REPOSITORY},
        )
        assert program.end() == 1
    (line,) = program.lines
    assert line.startswith(f"Port {port} must be free to listen on (got: Address already in use). To fix it: ")


def test_the_program_needs_no_server(root: Path) -> None:
    """The environment of the project may have neither uvicorn nor httptools."""
    for name in ("uvicorn", "httptools"):
        (root / f"{name}.py").write_text("1 / 0\n", encoding="utf-8")
    with rerunning(root, PYTHONPATH=os.pathsep.join((str(root), REPOSITORY))) as program:
        assert program.get() == (200, "first")
