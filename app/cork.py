"""One packet a response: uvicorn writes its head and its body one by one, each by a system call of its own."""

from __future__ import annotations

import asyncio
from typing import Any

# What is more is not held back: asyncio's own limit on what waits for a slow client is of this size.
HELD_BYTES = 64 << 10


class Cork:
    """A transport (https://docs.python.org/3/library/asyncio-protocol.html) that sends what is written in one piece.

    What one turn of the event loop writes is sent at its end, or sooner where anything else is done with the transport.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._held: list[bytes] = []
        self._size = 0

    def write(self, data: bytes) -> None:
        """Take bytes to send."""
        if not self._held:
            asyncio.get_running_loop().call_soon(self._flush)
        self._held.append(data)
        self._size += len(data)
        if self._size > HELD_BYTES:
            self._flush()

    def is_closing(self) -> bool:
        """Return whether it is closed or closes: a question that sends nothing."""
        return self._transport.is_closing()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        """Give whatever else the transport has, behind what was written."""
        self._flush()
        return getattr(self._transport, name)

    def _flush(self) -> None:
        if self._held:
            held, self._held, self._size = self._held, [], 0
            self._transport.write(b"".join(held))
