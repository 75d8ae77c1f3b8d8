"""uvicorn's HTTP protocol with limits on heads, slow clients and pipelined requests.

Without them, one connection can fill the memory with a header that never ends or with requests whose answers it does
not wait for, and connections that send nothing are kept for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sized
from typing import cast

from prodlock.server.cork import Cork
from prodlock.server.uvicorn_internals import STATUS_LINE, FlowControl, HttpToolsProtocol

# The most that may arrive without a byte of a body in it: a request's line and headers, or a chunked body's trailers.
HEAD_BYTES = 64 << 10
# How many requests may wait on one connection for the answer to the one before them.
MAX_PIPELINED = 100
# Minimum upload rate of a client that is sending a request: STALL_BYTES per STALL_SECONDS, or the request's end.
STALL_SECONDS = 10
STALL_BYTES = 1000


class InvalidRequestError(Exception):
    """A request is refused. Through httptools, uvicorn answers 400 and closes the connection."""


class HeadTooLongError(Exception):
    """A head of more than HEAD_BYTES is complete: the connection was refused, and httptools ends its work."""


class PipelineFlow(FlowControl):
    """Flow control that resumes reading once no request waits any more, not after each answer."""

    def __init__(self, transport: asyncio.Transport, waiting: Sized) -> None:
        super().__init__(transport)
        self._waiting = waiting

    def resume_reading(self) -> None:
        """Resume reading, unless requests wait."""
        if not self._waiting:
            super().resume_reading()


class BoundedProtocol(HttpToolsProtocol):
    """One connection."""

    # Whether a request is being received, whether its head is complete, and the bytes since the last byte of a body.
    _receiving = True
    _has_head = False
    _head_bytes = 0
    # Whole requests and bytes so far.
    _requests = 0
    _received = 0
    _stall_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin the connection."""
        self._cork = Cork(transport)
        # uvicorn before 0.34 does not set it. Data behind the last request must not replace its answer by 400.
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        corked = cast("asyncio.Transport", self._cork)
        super().connection_made(corked)
        self.flow = PipelineFlow(corked, self.pipeline)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the connection."""
        if self._stall_timer:
            self._stall_timer.cancel()
        super().connection_lost(exc)

    def eof_received(self) -> None:
        """Handle the end of the client's data: asyncio then closes the connection behind what was written."""
        self._cork.flush()
        super().eof_received()

    def data_received(self, data: bytes) -> None:
        """Handle data of the client; answer 431 where the head is too long (RFC 6585, 5)."""
        self._head_bytes += len(data)
        self._received += len(data)
        super().data_received(data)
        if self._head_bytes > HEAD_BYTES:
            self._refuse(431)
        elif not self._receiving and not self._has_pending_answer():
            # An empty line, for example: uvicorn has cancelled the keep-alive timer, so the upload rate is watched.
            self._receiving = True

    def on_message_begin(self) -> None:
        """Handle the beginning of a request."""
        self._receiving, self._has_head = True, False
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Handle the end of a head. Raises HeadTooLongError or InvalidRequestError."""
        # What has arrived may have a body as well.
        if self._head_bytes > HEAD_BYTES and self._head_length() > HEAD_BYTES:
            self._refuse(431)
            raise HeadTooLongError
        # One Host, which HTTP/1.0 may lack (RFC 9112, 3.2).
        hosts = [name for name, _ in self.headers].count(b"host") or int(self.parser.get_http_version() == "1.0")
        if hosts != 1 or len(self.pipeline) >= MAX_PIPELINED:
            raise InvalidRequestError
        super().on_headers_complete()
        self._has_head = True

    def on_response_complete(self) -> None:
        """Send the held head: a response without a body, such as to HEAD, is complete with its head."""
        self._cork.flush()
        super().on_response_complete()

    def on_body(self, body: bytes) -> None:
        """Handle a part of a body."""
        self._head_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Handle the end of a request."""
        self._receiving = self._has_head = False
        self._requests += 1
        self._head_bytes = 0
        super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection over; answer 400 to a head that the package websockets refuses without an answer.

        One with a body, with a line above 8 KiB or with more than 128 headers, for example. Such a connection would be
        kept for ever.
        """
        super().handle_websocket_upgrade()
        if getattr(getattr(self.transport.get_protocol(), "conn", None), "handshake_exc", None):
            self._refuse(400)

    def _head_length(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + len(": \r\n") for name, value in self.headers)

    def _has_pending_answer(self) -> bool:
        """Return whether a request before the one that is being received still waits for its answer."""
        return bool(self.pipeline) or not (self._has_head or self.cycle is None or self.cycle.response_complete)

    def _watch(self) -> None:
        progress = (self._requests, self._received) if self._receiving else None
        self._stall_timer = self.loop.call_later(STALL_SECONDS, self._check_rate, progress)

    def _check_rate(self, before: tuple[int, int] | None) -> None:
        """Answer 408 where the client has stalled with one request for all of the period (RFC 9110, 15.5.9)."""
        if self not in self.connections:
            # It has become a WebSocket connection.
            return
        # The client cannot continue with what the service has not read, nor before it gets 100 Continue.
        held = self.flow.read_paused or (self._has_head and self.cycle.waiting_for_100_continue)
        waiting = self._receiving and not held and not self._has_pending_answer()
        if before and waiting and self._requests == before[0] and self._received - before[1] < STALL_BYTES:
            self._refuse(408)
        else:
            self._watch()

    def _refuse(self, status: int) -> None:
        """Close the connection, after an answer unless the client would take that for another request's answer."""
        if not self.transport.is_closing():
            begun = self._has_head and self.cycle.response_started
            if self._received and not begun and not self._has_pending_answer():
                self.transport.write(STATUS_LINE[status] + b"content-length: 0\r\nconnection: close\r\n\r\n")
            self.transport.close()
