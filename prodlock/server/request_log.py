"""Log one line for each request, with a request id, and answer requests whose application fails."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import sys
import time
from collections.abc import Awaitable
from typing import NamedTuple

from prodlock.server import lifespan
from prodlock.server.asgi import Application, Message, Receive, Scope, Send, respond
from prodlock.server.batches import DEFERRED, REQUESTS, handle, write_line
from prodlock.server.lifecycle import Lifecycle
from prodlock.server.logs import LOGGED
from prodlock.server.probes import Paths, requested_path
from prodlock.server.uvicorn_internals import ClientDisconnected

logger = logging.getLogger(REQUESTS)

ID_HEADER = b"x-request-id"
# An id of a client goes into the log: it must not forge a line, and is no longer than an id needs to be.
_SAFE_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
# So does a client's address, which a proxy may have sent.
_SAFE_ADDRESS = re.compile(r"[A-Za-z0-9._:%-]{1,64}")
# https://www.iana.org/assignments/websocket/websocket.xhtml#close-code-number
SERVICE_RESTART = 1012
ABORTED = "aborted at the end of the grace period"
INTERNAL_SERVER_ERROR = 500
# The body of Starlette's answer to an exception that the application does not handle.
STARLETTES_ANSWER = b"Internal Server Error"


class Line(NamedTuple):
    """A line of the request log."""

    level: int
    # When it has ended, in ns since the epoch, and how many seconds it took.
    ended: int
    seconds: float
    identifier: bytes
    method: str
    path: str
    route: str
    status: int
    client: tuple[str, int] | None
    note: str
    error: BaseException | None

    def log(self) -> None:
        """Log the line."""
        client = self.client[0] if self.client else ""
        fields = {
            "request_id": self.identifier.decode(),
            "method": self.method,
            "path": self.path,
            "route": self.route,
            "status": self.status,
            "ms": round(self.seconds * 1000, 1),
            "client": client if _SAFE_ADDRESS.fullmatch(client) else "-",
        }
        line = "%(method)s %(path)r %(status)s %(ms).1f ms %(client)s %(route)s %(request_id)s"
        if self.note:
            fields["note"] = self.note
            line += ": %(note)s"
        if not self.error and write_line(self.level, self.ended, line % fields, fields):
            return
        raised = (type(self.error), self.error, self.error.__traceback__) if self.error else None
        # Without a look for the caller, which is this line in any case.
        record = logging.getLogRecordFactory()(REQUESTS, self.level, __file__, 0, line, (fields,), raised)
        record.fields = fields
        record.relativeCreated += self.ended / 1e6 - record.created * 1000
        record.created, record.msecs = self.ended / 1e9, self.ended // 1_000_000 % 1000
        handle(record)


class Exchange:
    """A request and its response, or a WebSocket connection."""

    __slots__ = (
        "_held", "_is_probe", "_logged", "_receive", "_scope", "_send", "_started", "identifier", "is_complete",
        "status",
    )  # fmt: skip

    def __init__(self, scope: Scope, receive: Receive, send: Send, probes: Paths) -> None:
        self._scope = scope
        # Now: a mount changes the path that a proxy strips.
        self._is_probe = requested_path(scope) in probes
        self._receive = receive
        self._send = send
        self._started = time.perf_counter()
        self._logged = False
        # A response that may be the framework's answer to an exception, until the application returns or raises.
        self._held: list[Message] = []
        self.identifier = _identifier(scope)
        # The close code of a WebSocket connection. 0 until it is known.
        self.status: int = 0
        self.is_complete = False

    @property
    def is_websocket(self) -> bool:
        """Return whether it is a WebSocket connection."""
        return bool(self._scope["type"] == "websocket")

    async def receive(self) -> Message:
        """Receive a message, and note how a WebSocket connection ended."""
        message = await self._receive()
        if message["type"] == "websocket.disconnect":
            self.status = self.status or message.get("code", 1005)
        return message

    def send(self, message: Message) -> Awaitable[None]:
        """Send a message, or hold it where it may belong to Starlette's answer to an exception."""
        if self._held or message.get("status") == INTERNAL_SERVER_ERROR:
            return self._hold(message)
        return self._forward(message)

    async def _hold(self, message: Message) -> None:
        if self._is_held(message):
            self._held.append(message)
        else:
            await self.release()
            await self._forward(message)

    def _is_held(self, message: Message) -> bool:
        if not self._held:
            return bool(message["type"] == "http.response.start")
        return message.get("body") == STARLETTES_ANSWER and not message.get("more_body", False)

    async def release(self) -> None:
        """Send the held messages."""
        held, self._held = self._held, []
        for message in held:
            await self._forward(message)

    async def _forward(self, message: Message) -> None:
        """Send a message and note the status; add the request id to the head of the response."""
        kind = message["type"]
        if kind in {"http.response.start", "websocket.accept", "websocket.http.response.start"}:
            self.status = message.get("status", 0)
            others = [header for header in message.get("headers", ()) if header[0].lower() != ID_HEADER]
            # A copy: an application may send one message in many responses.
            message = {**message, "headers": [*others, (ID_HEADER, self.identifier)]}
        elif kind == "websocket.close":
            self.status = self.status or message.get("code", 1000)
        await self._send(message)
        self.is_complete = kind == "http.response.body" and not message.get("more_body", False)

    async def answer(self, status: int, detail: str) -> None:
        """Answer with an error, unless a response has begun."""
        if not (self.status or self.is_websocket):
            self._held = []
            await respond(self._forward, status, {"detail": detail, "request_id": self.identifier.decode()})

    async def abort(self) -> None:
        """Answer 503 if no response has begun, and log that the request was aborted."""
        await self.answer(503, "Service Unavailable")
        self.log_abort()

    def log_abort(self) -> None:
        """Log that the request was aborted. uvicorn has closed a WebSocket connection with SERVICE_RESTART."""
        if self.is_websocket:
            self.status = self.status or SERVICE_RESTART
        self.log(logging.WARNING, ABORTED)

    def log(self, level: int, note: str = "", error: BaseException | None = None) -> None:
        """Log the request, once."""
        scope = self._scope
        if level == logging.INFO and self._is_probe:
            level = logging.DEBUG
        if self._logged or not logger.isEnabledFor(level):
            return
        self._logged = True
        line = Line(
            level,
            time.time_ns(),
            time.perf_counter() - self._started,
            self.identifier,
            scope.get("method", "WEBSOCKET"),
            scope["path"],
            getattr(scope.get("route"), "path", "-"),
            self.status,
            scope.get("client"),
            note,
            error,
        )
        if level > logging.INFO:
            # The process may not live much longer.
            DEFERRED.run()
            line.log()
        else:
            DEFERRED.add(line.log)


class RequestLog:
    """ASGI layer around the whole application.

    It takes the request id of the proxy in front or makes one, returns it as a header, and logs method, path, status,
    milliseconds, the client's address and the route. An unhandled exception is logged with its traceback; the client
    gets JSON with the id, in place of the answer without one that Starlette gives.
    """

    def __init__(self, app: Application, lifecycle: Lifecycle, probes: Paths) -> None:
        self.app = app
        self._lifecycle = lifecycle
        self._probes = probes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http":
            exchange = Exchange(scope, receive, send, self._probes)
        elif scope["type"] == "websocket":
            exchange = Exchange(scope, receive, send, self._probes)
            receive = exchange.receive
        else:
            await lifespan.run(self.app, scope, receive, send)
            return

        level, note = logging.INFO, ""
        error: BaseException | None = None
        self._lifecycle.open_requests.add(exchange)
        try:
            await self.app(scope, receive, exchange.send)
            await exchange.release()
            if not (exchange.status or exchange.is_websocket):
                level, note = logging.WARNING, "the application sent no response"
        except BaseException as raised:
            if _is_disconnection(raised):
                if not exchange.is_websocket:
                    level, note = logging.WARNING, "the client has disconnected"
                return
            begun = (exchange.status or exchange.is_websocket) and not exchange.is_complete
            if self._is_abort(raised):
                await exchange.abort()
            else:
                level, error = logging.ERROR, raised
                if isinstance(raised, asyncio.CancelledError):
                    level, note = logging.WARNING, "the application raised CancelledError"
                await exchange.answer(INTERNAL_SERVER_ERROR, "Internal Server Error")
            if begun:
                # Only a broken connection still informs the client. uvicorn breaks it, and logs the exception again.
                # Not by its own class, which may be immutable, as a frozen dataclass is.
                BaseException.__setattr__(raised, LOGGED, True)
                raise
        finally:
            self._lifecycle.open_requests.discard(exchange)
            exchange.log(level, note, error)

    def _is_abort(self, error: BaseException) -> bool:
        """Return whether an exception is the server's cancellation of this request at the end of the grace period."""
        task = asyncio.current_task()
        cancelled = isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0
        return cancelled and self._lifecycle.stopping


def _identifier(scope: Scope) -> bytes:
    """Return a request's id: that of the client or of the proxy, or a new one."""
    # ASGI header names are in lower case. Starlette's mapping of headers would cost as much as the log line.
    for name, value in scope["headers"]:
        if name == ID_HEADER and _SAFE_ID.fullmatch(value):
            return bytes(value)
    return os.urandom(16).hex().encode()


def _is_disconnection(error: BaseException) -> bool:
    """Return whether a handler raises because the client has left, or a WebSocket's as the service stops."""
    if isinstance(error, BaseExceptionGroup):
        # Of a task group, whose tasks send and receive.
        return all(map(_is_disconnection, error.exceptions))
    names = (("starlette.websockets", "WebSocketDisconnect"), ("starlette.requests", "ClientDisconnect"))
    kinds = (getattr(sys.modules.get(module), name, ClientDisconnected) for module, name in names)
    return isinstance(error, (ClientDisconnected, *kinds))
