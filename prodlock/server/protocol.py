"""uvicorn's HTTP protocol, with the limits that it lacks: on a head's length, on what waits, on slow clients.

Without them one connection fills the memory with a header that never ends, or with requests that it does not wait for;
and connections that send nothing are kept for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sized
from typing import cast

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from prodlock.server.cork import Cork

# What may arrive without a byte of a body in it: a request's line and headers, a chunked body's trailers.
HEAD_BYTES = 64 << 10
# How many requests may wait on one connection for the answer to the one before them.
PIPELINED = 100
# In each such time a client that is sending a request has to get on by so many bytes, or to its end.
STALL_SECONDS = 10
STALL_BYTES = 1000


class TooManyError(Exception):
    """More requests wait than may: httptools hands it to uvicorn, which answers 400 and closes the connection."""


class PatientFlow(FlowControl):
    """Reads on once nothing waits any more, not after each answer."""

    def __init__(self, transport: asyncio.Transport, waiting: Sized) -> None:
        super().__init__(transport)
        self._waiting = waiting

    def resume_reading(self) -> None:
        """Read on, unless requests wait."""
        if not self._waiting:
            super().resume_reading()


class BoundedProtocol(HttpToolsProtocol):
    """One connection."""

    # Whether a request is being received, whether its head has been, and what came of it since the last byte of a body.
    _receiving = True
    _headed = False
    _head = 0
    # Whole requests and bytes so far.
    _requests = 0
    _received = 0
    _stall: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin."""
        self._cork = Cork(transport)
        corked = cast("asyncio.Transport", self._cork)
        super().connection_made(corked)
        self.flow = PatientFlow(corked, self.pipeline)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        if self._stall:
            self._stall.cancel()
        super().connection_lost(exc)

    def eof_received(self) -> None:
        """Take the end of what the client sends: asyncio then closes behind what was written."""
        self._cork.flush()
        super().eof_received()

    def data_received(self, data: bytes) -> None:
        """Take what the client has sent; answer 431 where the head is too long (RFC 6585, 5)."""
        self._head += len(data)
        self._received += len(data)
        super().data_received(data)
        if self._head > HEAD_BYTES:
            self._refuse(431)
        elif not self._receiving and not self._owes():
            # An empty line, say: uvicorn no longer waits for the next request, so this does.
            self._receiving = True

    def on_message_begin(self) -> None:
        """Take the beginning of a request."""
        self._receiving, self._headed = True, False
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Take the end of a head. Raises TooManyError."""
        if len(self.pipeline) >= PIPELINED:
            raise TooManyError
        super().on_headers_complete()
        self._headed = True

    def on_response_complete(self) -> None:
        """Send what is held: a response without a body, to HEAD say, is complete with its head."""
        self._cork.flush()
        super().on_response_complete()

    def on_body(self, body: bytes) -> None:
        """Take a part of a body."""
        self._head = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Take the end of a request."""
        self._receiving = self._headed = False
        self._requests += 1
        self._head = 0
        super().on_message_complete()

    def _owes(self) -> bool:
        """Return whether a request before the one that is being received still waits for its answer."""
        return bool(self.pipeline) or not (self._headed or self.cycle is None or self.cycle.response_complete)

    def _watch(self) -> None:
        at = (self._requests, self._received) if self._receiving else None
        self._stall = self.loop.call_later(STALL_SECONDS, self._check, at)

    def _check(self, before: tuple[int, int] | None) -> None:
        """Answer 408 where the client has stalled (RFC 9110, 15.5.9): with one request, all the time since before."""
        if self not in self.connections:
            # It speaks WebSocket by now.
            return
        # The client can't go on with what the service has not taken, nor before it is told to.
        held = self.flow.read_paused or (self._headed and self.cycle.waiting_for_100_continue)
        waiting = self._receiving and not held and not self._owes()
        if before and waiting and self._requests == before[0] and self._received - before[1] < STALL_BYTES:
            self._refuse(408)
        else:
            self._watch()

    def _refuse(self, status: int) -> None:
        """Answer, unless that would be taken for another request's answer, and close the connection."""
        if not self.transport.is_closing():
            begun = self._headed and self.cycle.response_started
            if self._received and not begun and not self._owes():
                self.transport.write(STATUS_LINE[status] + b"content-length: 0\r\nconnection: close\r\n\r\n")
            self.transport.close()
