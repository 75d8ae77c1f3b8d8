"""Everything that the server uses of uvicorn: the one module that imports it."""

# uvicorn documents `Config`, `Server` and the settings; the rest may change in any release. So `requirements` states
# the supported versions, and `prodlock/tests/server/test_uvicorn_internals.py` fails where one of these has changed:
#
# | used | purpose |
# |---|---|
# | `Config`: `load()`, `lifespan_class` | the class of the lifespan, which no parameter sets |
# | `Server`: `capture_signals()`, `handle_exit()` overridden | the drain between the signal and the shutdown |
# | `Server`: `startup()`, `shutdown()`, `on_tick()` extended | readiness, aborted requests, `Connection: close` |
# | `Server`: `started`, `lifespan` | what a signal meets |
# | `Server`: `main_loop()` overridden, `servers`; `ServerState`: `connections`, `tasks` | the end under `inv dev` |
# | `LifespanOn`: `shutdown()` | the same |
# | `ServerState`: `default_headers` | headers of every response |
# | `LifespanOn`: `startup()`, `send()` extended, `startup_event`, `should_exit` | a cancelled start; the exit code |
# | `HANDLED_SIGNALS` | the signals to stop |
# | `HttpToolsProtocol`: callbacks extended | limits on heads, slow clients, pipelined requests |
# | `HttpToolsProtocol`: `transport`, `flow`, `cycle`, `pipeline`, `connections`, `loop`, `url`, `headers` | its state |
# | `HttpToolsProtocol`: `parser` | data after `Connection: close` is accepted |
# | `RequestResponseCycle`: `response_started`, `response_complete`, `waiting_for_100_continue` | the same |
# | `HttpToolsProtocol`: `handle_websocket_upgrade()` extended; its successor's `conn` | broken handshakes |
# | the beginnings of its log lines about WebSocket connections | the request log has them |
# | `FlowControl`: `resume_reading()` extended, `read_paused` | reading resumes once no request waits |
# | `STATUS_LINE` | the answers 400, 408 and 431 |
# | `ClientDisconnected` | the end of a WebSocket connection, which is not an error |
# | a head is one write of `HTTP/1.1 ...`, header names in lower case; the body is the next write | one write of both |

from uvicorn import Config, Server
from uvicorn.lifespan.on import LifespanOn
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.server import HANDLED_SIGNALS, ServerState

__all__ = [
    "HANDLED_SIGNALS",
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
