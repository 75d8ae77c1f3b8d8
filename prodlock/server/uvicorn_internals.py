"""Everything that the server uses of uvicorn: the one module that imports it.

uvicorn documents `Config`, `Server` and the settings; the rest may change in any release. So `pyproject.toml` caps the
version, and `prodlock/tests/server/test_uvicorn_internals.py` fails where one of these has changed:

| used | for | by |
|---|---|---|
| `Config`: `load()`, `lifespan_class` | the lifespan's class, which no parameter sets | `server` |
| `Server`: `capture_signals()`, `handle_exit()` are overridden | the drain between the signal and the shutdown | `server` |
| `Server`: `startup()`, `shutdown()`, `on_tick()` are extended | readiness, aborted requests, `Connection: close` | `server` |
| `Server`: `started`, `lifespan`, `server_state.default_headers` (`ServerState`) | the state at a signal; headers of every response | `server` |
| `LifespanOn`: `send()` is extended, `startup_event`, `should_exit` | a start that is cancelled; the exit code | `server` |
| `HANDLED_SIGNALS`, `STARTUP_FAILURE` | the signals to stop; exit code 3 | `server` |
| `HttpToolsProtocol`: its callbacks are extended | limits on heads, slow clients and pipelined requests | `protocol` |
| `HttpToolsProtocol`: `transport`, `flow`, `cycle`, `pipeline`, `connections`, `loop` | the state of a connection | `protocol` |
| `RequestResponseCycle`: `response_started`, `response_complete`, `waiting_for_100_continue` | the same | `protocol` |
| `FlowControl`: `resume_reading()` is extended, `read_paused` | reading on once no request waits | `protocol` |
| `STATUS_LINE` | the answers 408 and 431 | `protocol` |
| `ClientDisconnected` | the end of a WebSocket connection, which is not an error | `request_log` |
| a response is written as `HTTP/1.1 ...`, its headers in lower case; the body follows in the next write | one write | `cork` |
"""

from uvicorn import Config, Server
from uvicorn.config import STARTUP_FAILURE
from uvicorn.lifespan.on import LifespanOn
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.server import HANDLED_SIGNALS, ServerState

__all__ = [
    "HANDLED_SIGNALS",
    "STARTUP_FAILURE",
    "STATUS_LINE",
    "ClientDisconnected",
    "Config",
    "FlowControl",
    "HttpToolsProtocol",
    "LifespanOn",
    "RequestResponseCycle",
    "Server",
    "ServerState",
]
