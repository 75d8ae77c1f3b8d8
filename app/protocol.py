"""uvicorn's HTTP protocol, with the two limits that it lacks: how long a head may be, and how slow a client.

    uvicorn --http app.protocol:BoundedProtocol

Without them one connection fills the memory with a header that never ends, and connections that send nothing are kept
for ever.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

# What may arrive without a byte of a body in it: a request's line and headers, a chunked body's trailers.
HEAD_BYTES = 64 << 10
# In each such time a client that is sending a request has to get on by so many bytes, or to its end.
STALL_SECONDS = 10
STALL_BYTES = 1000


class BoundedProtocol(HttpToolsProtocol):
    """One connection."""

    # Whether a request is being received, and what came of it since the last byte of a body.
    _receiving = True
    _head = 0
    # Whole requests and bytes so far.
    _requests = 0
    _received = 0
    _stall: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin."""
        super().connection_made(transport)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        if self._stall:
            self._stall.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what the client has sent; answer 431 where the head is too long (RFC 6585, 5)."""
        self._receiving = True
        self._head += len(data)
        self._received += len(data)
        super().data_received(data)
        if self._head > HEAD_BYTES:
            self._refuse(431)

    def on_body(self, body: bytes) -> None:
        """Take a part of a body."""
        self._head = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Take the end of a request."""
        self._receiving = False
        self._requests += 1
        self._head = 0
        super().on_message_complete()

    def _watch(self) -> None:
        at = (self._requests, self._received) if self._receiving else None
        self._stall = self.loop.call_later(STALL_SECONDS, self._check, at)

    def _check(self, before: tuple[int, int] | None) -> None:
        """Answer 408 where the client has stalled (RFC 9110, 15.5.9): with one request, all the time since before."""
        if self not in self.connections:
            # It speaks WebSocket by now.
            return
        # What the service has not taken yet, the client can't go on with.
        waiting = self._receiving and not self.flow.read_paused
        if before and waiting and self._requests == before[0] and self._received - before[1] < STALL_BYTES:
            self._refuse(408)
        else:
            self._watch()

    def _refuse(self, status: int) -> None:
        """Answer, unless an answer has begun, and close the connection."""
        if not self.transport.is_closing():
            # To a client that has sent nothing an answer would be one to the request that may be on its way.
            if self._received and not (self.cycle and self.cycle.response_started and not self.cycle.response_complete):
                self.transport.write(STATUS_LINE[status] + b"content-length: 0\r\nconnection: close\r\n\r\n")
            self.transport.close()
