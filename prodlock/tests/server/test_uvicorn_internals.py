"""uvicorn's internals are those that the server was written for."""

from __future__ import annotations

import ast
import asyncio
import inspect
import textwrap
import tomllib
from pathlib import Path

import pytest

from prodlock.server import logs, requirements
from prodlock.server import uvicorn_internals as uvicorn

METHODS = {
    "Config.load": "(self)",
    "Server.capture_signals": "(self)",
    "Server.handle_exit": "(self, sig, frame)",
    "Server.startup": "(self, sockets)",
    "Server.shutdown": "(self, sockets)",
    "Server.on_tick": "(self, counter)",
    "Server.main_loop": "(self)",
    "Server.run": "(self, sockets)",
    "LifespanOn.startup": "(self)",
    "LifespanOn.send": "(self, message)",
    "LifespanOn.shutdown": "(self)",
    "HttpToolsProtocol.connection_made": "(self, transport)",
    "HttpToolsProtocol.connection_lost": "(self, exc)",
    "HttpToolsProtocol.eof_received": "(self)",
    "HttpToolsProtocol.data_received": "(self, data)",
    "HttpToolsProtocol.on_message_begin": "(self)",
    "HttpToolsProtocol.on_headers_complete": "(self)",
    "HttpToolsProtocol.on_body": "(self, body)",
    "HttpToolsProtocol.on_message_complete": "(self)",
    "HttpToolsProtocol.on_response_complete": "(self)",
    "HttpToolsProtocol.handle_websocket_upgrade": "(self)",
    "FlowControl.__init__": "(self, transport)",
    "FlowControl.resume_reading": "(self)",
}
COROUTINES = {
    "Server.startup", "Server.shutdown", "Server.on_tick", "Server.main_loop", "LifespanOn.startup", "LifespanOn.send",
    "LifespanOn.shutdown",
}  # fmt: skip
# What the methods call, in the order that the server relies on.
CALLS = {
    "Server.serve": ["self.capture_signals", "self._serve"],
    "Server._serve": ["config.lifespan_class", "self.startup", "self.main_loop", "self.shutdown"],
    "LifespanOn.startup": ["self.startup_event.wait"],
    "Server.startup": ["self.lifespan.startup", "loop.create_server", "self.servers.append"],
    "HttpToolsProtocol.handle_websocket_upgrade": ["protocol.data_received", "self.transport.set_protocol"],
    "HttpToolsProtocol.data_received": ["self.handle_websocket_upgrade"],
    "HttpToolsProtocol.on_headers_complete": ["self.flow.pause_reading", "self.pipeline.appendleft"],
}  # fmt: skip


def found(name: str) -> object:
    """Return a method by the name of its class and its own."""
    owner, _, attribute = name.partition(".")
    return getattr(getattr(uvicorn, owner), attribute)


@pytest.mark.parametrize("name", METHODS)
def test_a_method_has_the_expected_parameters(name: str) -> None:
    """Each that is overridden, extended or called; `run` and `serve` among them."""
    method = inspect.unwrap(found(name))  # type: ignore[arg-type]
    assert f"({', '.join(inspect.signature(method).parameters)})" == METHODS[name]
    assert inspect.iscoroutinefunction(method) == (name in COROUTINES)


@pytest.mark.parametrize("name", CALLS)
def test_a_method_calls_what_the_server_overrides(name: str) -> None:
    """An override that is no longer called would have no effect."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(found(name))))  # type: ignore[arg-type]
    calls = [ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)]
    assert [call for call in CALLS[name] if call not in calls] == []


def test_the_objects_have_the_expected_attributes() -> None:
    """Of a server, a lifespan and a connection, as uvicorn creates them."""

    async def create() -> None:
        config = uvicorn.Config(lambda: None, log_config=None)
        config.load()
        assert config.lifespan_class is uvicorn.LifespanOn
        server = uvicorn.Server(config)
        assert (server.started, server.should_exit, server.force_exit) == (False, False, False)
        assert not hasattr(server, "lifespan")
        assert (server.server_state.connections, server.server_state.tasks) == (set(), set())
        assert "self.servers.append(" in inspect.getsource(uvicorn.Server.startup)
        await server.on_tick(0)
        headers = server.server_state.default_headers
        assert headers == [(b"date", headers[0][1]), (b"server", b"uvicorn")]
        lifespan = uvicorn.LifespanOn(config)
        assert (lifespan.startup_event.is_set(), lifespan.should_exit) == (False, False)
        connection = uvicorn.HttpToolsProtocol(config, server.server_state, {})
        assert [vars(connection)[name] for name in ("transport", "flow", "cycle")] == [None] * 3
        assert (list(connection.pipeline), connection.connections) == ([], server.server_state.connections)
        assert connection.loop is asyncio.get_running_loop()
        flow = uvicorn.FlowControl(asyncio.Transport())
        assert flow.read_paused is False

    asyncio.run(create())


def test_a_response_has_the_expected_state() -> None:
    """The attributes that uvicorn sets for each request."""
    source = inspect.getsource(uvicorn.RequestResponseCycle.__init__)
    for name in ("response_started", "response_complete", "waiting_for_100_continue"):
        assert f"self.{name} = " in source


def test_its_lines_about_websocket_connections_begin_as_expected() -> None:
    """Each implementation has three; the log leaves them out."""
    modules = list(Path(inspect.getfile(uvicorn.Server)).parent.glob("protocols/websockets/*_impl.py"))
    assert len(modules) > 1
    for module in modules:
        source = module.read_text(encoding="utf-8")
        assert source.count(f"'{logs.WEBSOCKET_LINES[0]}") == source.count('"WebSocket %s"') == 3


def test_the_constants_have_the_expected_values() -> None:
    """The answers are written in full."""
    assert [number.name for number in uvicorn.HANDLED_SIGNALS] == ["SIGINT", "SIGTERM"]
    assert uvicorn.STATUS_LINE[408] == b"HTTP/1.1 408 Request Timeout\r\n"
    assert issubclass(uvicorn.ClientDisconnected, OSError)


def test_one_module_imports_uvicorn() -> None:
    """So that its table is complete; and every name of it has a row."""
    importing = set()
    for module in Path("prodlock/server").glob("*.py"):
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            importing |= {module.stem for name in names if name.partition(".")[0] == "uvicorn"}
    assert importing == {"uvicorn_internals"}
    source = inspect.getsource(uvicorn)
    assert [name for name in uvicorn.__all__ if f"`{name}`" not in source] == []


def test_the_version_of_uvicorn_is_capped() -> None:
    """Another minor release may change any of these."""
    pyproject = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))
    (requirement,) = [one for one in pyproject["project"]["dependencies"] if one.startswith("uvicorn")]
    assert requirement == "uvicorn>=0.54,<0.55"
    # The supported versions end where those of the service do, which the tests run with.
    assert requirement.partition("<")[2] == requirements.SUPPORTED["uvicorn"].partition("<")[2]
