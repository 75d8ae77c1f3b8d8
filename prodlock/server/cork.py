"""Join a response's head and body into one write: uvicorn makes a system call and a packet of each."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any

from starlette.responses import Response

# How a head begins (RFC 9112, 4), and what one has whose body is complete. A body of unknown length may take its time.
START = b"HTTP/1.1 "
LENGTH = b"\r\ncontent-length: "
# A larger body is worth a packet of its own, and no copy.
JOINED_BYTES = 64 << 10
# How far up the stack the response's own code is: below it are only the middlewares' functions that send.
FRAMES = 32


def has_body() -> bool:
    """Return whether the caller runs for a response that has its whole body, and sends it right after its head.

    A streaming response may have a length as well, and a generator that takes its time without a pause for the loop.
    Neither ASGI's messages nor the head say which it is; the running code does.
    """
    frame = sys._getframe(1)  # noqa: SLF001 - public by https://docs.python.org/3/library/sys.html#sys._getframe
    for _ in range(FRAMES):
        if frame.f_code is Response.__call__.__code__:
            return True
        if frame.f_back is None:
            break
        frame = frame.f_back
    return False


class Cork:
    """A transport (https://docs.python.org/3/library/asyncio-protocol.html) that holds a head until its body comes.

    Until anything else is done with the transport, or the loop turns, at the latest.
    """

    def __init__(self, transport: asyncio.Transport, follows: Callable[[], bool] = has_body) -> None:
        """Take a function that returns whether a body follows a head at once."""
        self._transport = transport
        self._follows = follows
        self._loop = asyncio.get_running_loop()
        self._head = b""

    def write(self, data: bytes) -> None:
        """Send bytes, or hold them if they are a head."""
        if self._head and len(data) <= JOINED_BYTES:
            joined = b"".join((self._head, data))
            self._head = b""
            self._transport.write(joined)
            return
        self.flush()
        if type(data) is bytes and data.startswith(START) and LENGTH in data and self._follows():
            self._head = data
            self._loop.call_soon(self.flush)
        else:
            self._transport.write(data)

    def flush(self) -> None:
        """Send the head that is held, unless the client has gone."""
        head, self._head = self._head, b""
        if head and not self._transport.is_closing():
            self._transport.write(head)

    def is_closing(self) -> bool:
        """Return whether it is closed or closes: a question that sends nothing."""
        return self._transport.is_closing()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        """Return any other attribute of the transport, after what was written."""
        self.flush()
        return getattr(self._transport, name)
