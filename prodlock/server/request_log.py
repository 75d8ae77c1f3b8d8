"""One log line a request, with a request id, and the last resort for an error that nothing else handled."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import time

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect

from prodlock.server.drain import Drain
from prodlock.server.logs import LOGGED, REQUESTS

logger = logging.getLogger(REQUESTS)

ID_HEADER = b"x-request-id"
# An id from outside goes into a log: only what can't forge a line, and no more than an id needs.
_SAFE_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
# So does a client's address, which a proxy may have sent.
_SAFE_ADDRESS = re.compile(r"[A-Za-z0-9._:%-]{1,64}")
# Most lines would be about these.
PROBES = {"/health", "/ready"}
# https://www.iana.org/assignments/websocket/websocket.xhtml#close-code-number
SERVICE_RESTART = 1012
CUT = "cut off: the grace period of the stop was over"


class Exchange:
    """A request and its response, or a WebSocket connection."""

    __slots__ = ("_logged", "_receive", "_scope", "_send", "_started", "identifier", "status")

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._started = time.perf_counter()
        self._logged = False
        # ASGI has header names in lower case. Starlette's mappings of headers would cost what the log line costs.
        given = next((value for name, value in scope["headers"] if name == ID_HEADER), b"")
        self.identifier = given if _SAFE_ID.fullmatch(given) else os.urandom(16).hex().encode()
        # Of a WebSocket connection, its close code. 0 until it is known.
        self.status: int = 0

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

    async def send(self, message: Message) -> None:
        """Send a message, and note the status; add the request id to the head of the response."""
        kind = message["type"]
        if kind in {"http.response.start", "websocket.accept", "websocket.http.response.start"}:
            self.status = message.get("status", 0)
            others = [header for header in message.get("headers", ()) if header[0].lower() != ID_HEADER]
            message["headers"] = [*others, (ID_HEADER, self.identifier)]
        elif kind == "websocket.close":
            self.status = self.status or message.get("code", 1000)
        await self._send(message)

    async def answer(self, status: int, detail: str) -> None:
        """Answer with an error, unless a response has begun."""
        if not (self.status or self.is_websocket):
            content = {"detail": detail, "request_id": self.identifier.decode()}
            await JSONResponse(content, status)(self._scope, self._receive, self.send)

    async def cut(self) -> None:
        """Answer 503 if no response has begun, and log that the stop cut the request off."""
        await self.answer(503, "Service Unavailable")
        self.log_cut()

    def log_cut(self) -> None:
        """Log that the stop cut the request off. uvicorn has closed a WebSocket connection with this code."""
        if self.is_websocket:
            self.status = self.status or SERVICE_RESTART
        self.log(logging.WARNING, CUT)

    def log(self, level: int, note: str = "", error: BaseException | None = None) -> None:
        """Log the request, once."""
        scope = self._scope
        path: str = scope["path"]
        if level == logging.INFO and path.removeprefix(scope.get("root_path", "")) in PROBES:
            level = logging.DEBUG
        if self._logged or not logger.isEnabledFor(level):
            return
        self._logged = True
        client = (scope.get("client") or ("",))[0]
        fields = {
            "request_id": self.identifier.decode(),
            "method": scope.get("method", "WEBSOCKET"),
            "path": path,
            "route": getattr(scope.get("route"), "path", "-"),
            "status": self.status,
            "ms": round((time.perf_counter() - self._started) * 1000, 1),
            "client": client if _SAFE_ADDRESS.fullmatch(client) else "-",
        }
        line = "%(method)s %(path)r %(status)s %(ms).1f ms %(client)s %(route)s %(request_id)s"
        if note:
            fields["note"] = note
            line += ": %(note)s"
        logger.log(level, line, fields, exc_info=error, extra={"fields": fields})


class RequestLog:
    """ASGI middleware (https://asgi.readthedocs.io/en/latest/specs/www.html) around the whole application.

    It takes the request id from the proxy in front or makes one, returns it as a header, and logs method, path, status,
    milliseconds, the client's address and the route. An unhandled error is logged with its traceback; the client gets
    JSON with the id.
    """

    def __init__(self, app: ASGIApp, drain: Drain) -> None:
        self.app = app
        self._drain = drain

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http":
            exchange = Exchange(scope, receive, send)
        elif scope["type"] == "websocket":
            exchange = Exchange(scope, receive, send)
            receive = exchange.receive
        else:
            await self.app(scope, receive, send)
            return

        level, note = logging.INFO, ""
        error: BaseException | None = None
        self._drain.unfinished.add(exchange)
        try:
            await self.app(scope, receive, exchange.send)
            if not (exchange.status or exchange.is_websocket):
                level, note = logging.WARNING, "the application sent no response"
        except WebSocketDisconnect:
            # What a handler gets that does not expect the client to leave, or the service to stop.
            pass
        except BaseException as raised:
            begun = exchange.status or exchange.is_websocket
            if self._is_cut(raised):
                await exchange.cut()
            else:
                level, error = logging.ERROR, raised
                if isinstance(raised, asyncio.CancelledError):
                    level, note = logging.WARNING, "the application raised CancelledError"
                await exchange.answer(500, "Internal Server Error")
            if begun:
                # Only a broken connection can still tell the client. What breaks it logs the exception as well.
                setattr(raised, LOGGED, True)
                raise
        finally:
            self._drain.unfinished.discard(exchange)
            exchange.log(level, note, error)

    def _is_cut(self, error: BaseException) -> bool:
        """Return whether an exception is the server's cancellation of this request at the end of the grace period."""
        task = asyncio.current_task()
        cancelled = isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0
        return cancelled and self._drain.stopping
