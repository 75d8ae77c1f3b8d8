"""Fewer packets, and fewer of them that wake somebody.

uvicorn writes a response's head and its body by a system call each: here they are one. And of the responses that one
turn of the event loop makes the first is sent at once and the others in a row: whoever it woke is still awake.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any
from weakref import WeakKeyDictionary

# How every response begins (RFC 9112, 4).
START = b"HTTP/1.1 "
# A larger body is worth a packet of its own, and no copy.
JOINED_BYTES = 64 << 10
# How long the responses of one turn wait for the next one.
HELD_SECONDS = 0.003


class Turn:
    """One turn of an event loop: the connections that hold something, and when it sent the first response."""

    def __init__(self) -> None:
        self._holding: list[Cork] = []
        self._ending = False
        self._first: float | None = None

    def hold(self, cork: Cork) -> None:
        """Have a connection send what it holds, at the end of this turn at the latest."""
        self._holding.append(cork)
        if not self._ending:
            self._ending = True
            asyncio.get_running_loop().call_soon(self._end)

    def answered(self, cork: Cork) -> None:
        """Have a connection send its response: the first at once, others behind it."""
        now = time.perf_counter()
        if self._first is None:
            self._first = now
            cork.flush()
        elif now - self._first > HELD_SECONDS:
            self._first = now
            self._flush()

    def _end(self) -> None:
        self._ending, self._first = False, None
        self._flush()

    def _flush(self) -> None:
        holding, self._holding = self._holding, []
        for cork in holding:
            cork.flush()


_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, Turn] = WeakKeyDictionary()


class Cork:
    """A transport (https://docs.python.org/3/library/asyncio-protocol.html) that holds heads and small responses.

    Each until the end of this turn of the event loop at most, or until anything else is done with the transport.
    Everything else is sent as it is written.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._held = b""
        # Whether that is a head, whose body may come.
        self._is_head = False
        self._turn = _turns.setdefault(asyncio.get_running_loop(), Turn())

    def write(self, data: bytes) -> None:
        """Take bytes to send."""
        if self._is_head and len(data) <= JOINED_BYTES:
            self._held, self._is_head = b"".join((self._held, data)), False
            self._turn.answered(self)
        elif data[: len(START)] == START:
            self.flush()
            self._held, self._is_head = bytes(data), True
            self._turn.hold(self)
        else:
            self.flush()
            self._transport.write(data)

    def flush(self) -> None:
        """Send what is held, unless nobody is there any more."""
        held, self._held, self._is_head = self._held, b"", False
        if held and not self._transport.is_closing():
            self._transport.write(held)

    def is_closing(self) -> bool:
        """Return whether it is closed or closes: a question that sends nothing."""
        return self._transport.is_closing()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        """Give whatever else the transport has, behind what was written."""
        self.flush()
        return getattr(self._transport, name)
