"""One packet a response: uvicorn writes its head and its body one by one, each by a system call of its own."""

from __future__ import annotations

import asyncio
from typing import Any

# How every response begins (RFC 9112, 4).
START = b"HTTP/1.1 "
# A larger body is worth a packet of its own, and no copy.
JOINED_BYTES = 64 << 10


class Cork:
    """A transport (https://docs.python.org/3/library/asyncio-protocol.html) that sends a response's head with its body.

    The head alone is held: until the next write, or the end of this turn of the event loop, or until anything else is
    done with the transport. Everything else is sent as it is written.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head = b""

    def write(self, data: bytes) -> None:
        """Take bytes to send."""
        if self._head and len(data) <= JOINED_BYTES:
            # In this order: what can't be joined leaves the head to be sent.
            both = b"".join((self._head, data))
            self._head = b""
            self._transport.write(both)
        elif data[: len(START)] == START:
            self.flush()
            self._head = bytes(data)
            asyncio.get_running_loop().call_soon(self.flush)
        else:
            self.flush()
            self._transport.write(data)

    def flush(self) -> None:
        """Send the head that is held."""
        if self._head:
            head, self._head = self._head, b""
            self._transport.write(head)

    def is_closing(self) -> bool:
        """Return whether it is closed or closes: a question that sends nothing."""
        return self._transport.is_closing()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        """Give whatever else the transport has, behind what was written."""
        self.flush()
        return getattr(self._transport, name)
