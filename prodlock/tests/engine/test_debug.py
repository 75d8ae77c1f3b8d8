"""The end of `inv test --watch`, `breakpoint()` in tests, and `inv test --debug`."""

from __future__ import annotations

import json
import signal
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from prodlock.tests.engine.conftest import docker, inv, sentence
from prodlock.tests.engine.watching import FIRST, running, watching

DEBUGGER = ("127.0.0.1", 5678)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_watch_leaves_nothing(copy: Path, number: signal.Signals) -> None:
    """Also while tests run and their processes ignore signals. The end of a watch is its normal end, 0."""
    ignoring = "import signal\nimport time\n\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    hanging = f"{ignoring}\n\ndef test_it() -> None:\n    time.sleep(60)\n"
    (copy / "tests/test_first.py").write_text(hanging, encoding="utf-8")
    with watching(copy, "--watch", "--", "-s", "tests/test_first.py") as watch:
        watch.until("All tests run now")
        time.sleep(1)
        began = time.monotonic()
        assert watch.end(number) == 0
        assert time.monotonic() - began < 2
    assert running() == ""


def test_a_watch_on_a_terminal_stops_at_a_breakpoint_and_ends_at_ctrl_c(copy: Path) -> None:
    """Standard input reaches the debugger in the run; a save starts the tests again; Ctrl-C ends all of it with 0."""
    stops = "def test_first() -> None:\n    value = 6 * 7\n    breakpoint()\n    assert value\n"
    (copy / "tests/test_first.py").write_text(stops, encoding="utf-8")
    with watching(copy, "--watch", "--", "tests/test_first.py", terminal=True) as watch:
        watch.until(r"\(Pdb\) ")
        watch.type(b"p value * 100\n")
        watch.until("4200")
        assert "PASSED all tests: 1 passed" in watch.save("tests/test_first.py", FIRST)
        began = time.monotonic()
        watch.type(b"\x03")
        assert watch.process.wait(10) == 0
        assert time.monotonic() - began < 2
    assert running() == ""


def test_a_watch_without_a_terminal_any_more_leaves_nothing(copy: Path) -> None:
    """The terminal is closed."""
    (copy / "tests/test_first.py").write_text(FIRST, encoding="utf-8")
    with watching(copy, "--watch", "--", "tests/test_first.py", terminal=True) as watch:
        watch.until("PASSED all tests")
        watch.hang_up()
        watch.process.send_signal(signal.SIGHUP)
        watch.process.wait(12)
    assert running() == ""


def test_a_breakpoint_stops_the_tests_on_a_terminal(copy: Path) -> None:
    """`inv test` without an option."""
    stops = "def test_first() -> None:\n    value = 6 * 7\n    breakpoint()\n    assert value\n"
    (copy / "tests/test_first.py").write_text(stops, encoding="utf-8")
    with watching(copy, "--", "tests/test_first.py", terminal=True) as task:
        task.until(r"\(Pdb\) ")
        task.type(b"p value * 100\n")
        task.until("4200")
        task.type(b"continue\n")
        task.until("1 passed")
        assert task.process.wait(10) == 0
    assert running() == ""


class Debugger:
    """A client of the debug adapter protocol (https://microsoft.github.io/debug-adapter-protocol/)."""

    def __init__(self) -> None:
        self._connection = socket.create_connection(DEBUGGER, timeout=30)
        self._stream = self._connection.makefile("rb")
        self._number = 0

    def send(self, command: str, **arguments: Any) -> None:  # noqa: ANN401
        """Send a request."""
        self._number += 1
        request = {"seq": self._number, "type": "request", "command": command, "arguments": arguments}
        body = json.dumps(request).encode()
        self._connection.sendall(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))

    def until(self, kind: str, name: str) -> dict[str, Any]:
        """Return the body of the next response or event of a name."""
        while True:
            length = 0
            while (line := self._stream.readline().strip()) != b"":
                length = int(line.partition(b": ")[2])
            message = json.loads(self._stream.read(length))
            if (message["type"], message.get("event", message.get("command"))) == (kind, name):
                assert message.get("success", True), message
                body: dict[str, Any] = message.get("body") or {}
                return body

    def close(self) -> None:
        """Close the connection."""
        self._stream.close()
        self._connection.close()


def test_a_debugger_stops_the_tests_at_a_breakpoint(copy: Path) -> None:
    """It attaches to 127.0.0.1, maps the project's folder to /srv, and reads a variable."""
    test = copy / "tests/test_first.py"
    test.write_text("def test_first() -> None:\n    value = 6 * 7\n    assert value\n", encoding="utf-8")
    with watching(copy, "--debug", "--", "tests/test_first.py") as task:
        assert "wait for a debugger on 127.0.0.1:5678" in task.until(r"wait for a debugger.*\n")
        (container,) = running().split()
        assert docker("port", container).stdout.strip() == "5678/tcp -> 127.0.0.1:5678"
        client = Debugger()
        try:
            client.send("initialize", adapterID="x", pathFormat="path", linesStartAt1=True)
            client.until("response", "initialize")
            client.send("attach", justMyCode=True, pathMappings=[{"localRoot": str(copy), "remoteRoot": "/srv"}])
            client.until("event", "initialized")
            client.send("setBreakpoints", source={"path": str(test)}, breakpoints=[{"line": 3}])
            assert client.until("response", "setBreakpoints")["breakpoints"][0]["verified"]
            client.send("configurationDone")
            stopped = client.until("event", "stopped")
            assert stopped["reason"] == "breakpoint"
            client.send("stackTrace", threadId=stopped["threadId"], levels=1)
            (frame,) = client.until("response", "stackTrace")["stackFrames"]
            assert (frame["source"]["path"], frame["line"]) == (str(test), 3)
            client.send("evaluate", expression="value * 100", frameId=frame["id"])
            assert client.until("response", "evaluate")["result"] == "4200"
            client.send("continue", threadId=stopped["threadId"])
            task.until("1 passed")
        finally:
            client.close()
        assert task.process.wait(10) == 0
    assert running() == ""


def test_a_debugger_attaches_from_this_machine_only(copy: Path) -> None:
    """The port is open on the loopback interface, and closed on the machine's other addresses."""
    with watching(copy, "--debug") as task:
        task.until("wait for a debugger")
        (container,) = running().split()
        address = "{{range .NetworkSettings.Networks}}{{.Gateway}}{{end}}"
        # The Engine's bridge: an address of this machine that other containers reach.
        bridge = docker("inspect", f"--format={address}", container).stdout.strip()
        socket.create_connection(DEBUGGER, timeout=5).close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((bridge, DEBUGGER[1]), timeout=5)


def test_an_interrupted_wait_for_a_debugger_leaves_nothing(copy: Path) -> None:
    """130, as for `inv test`."""
    with watching(copy, "--debug") as task:
        task.until("wait for a debugger")
        began = time.monotonic()
        assert task.end() == 130
        assert time.monotonic() - began < 4
    assert running() == ""


def test_debug_refuses_a_port_in_use(copy: Path) -> None:
    """In one line, before anything is built."""
    with socket.create_server(DEBUGGER):
        done = inv("test", "--debug", cwd=copy)
    assert sentence(done).startswith("The address 127.0.0.1:5678 must be free (got: Address already in use).")
    assert "$ docker" not in done.stderr


def test_watch_and_debug_exclude_each_other() -> None:
    """Every run would wait for a debugger."""
    assert sentence(inv("test", "--watch", "--debug")).startswith("The option must be --watch or --debug (got both).")


def test_tests_without_an_option_use_neither_the_tree_nor_the_tool(copy: Path) -> None:
    """What was built is what is tested."""
    done = inv("test", "--", "--version", cwd=copy)
    assert done.returncode == 0
    commands = "\n".join(line for line in done.stderr.splitlines() if line.startswith("$ docker"))
    assert "api-tests pytest --version" in commands
    assert "loop" not in commands
    assert "--volume" not in commands
