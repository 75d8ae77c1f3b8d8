"""Join a response's head and body into one write: uvicorn makes a system call and a packet of each.

A head is held only where its body is known to follow at once: where it is sent by the server's own `respond`, or by the
class `Response` of Starlette, if the application has loaded that. Every other head is sent as it comes.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any

from prodlock.server.asgi import respond

# How a head begins (RFC 9112, 4), and the header of a response whose length is known.
START = b"HTTP/1.1 "
LENGTH = b"\r\ncontent-length: "
# A larger body gets a write of its own, so that it is not copied.
MAX_JOINED_BYTES = 64 << 10
# How many frames up the stack the response's own code is searched: below it are the layers' functions that send.
MAX_FRAMES = 32

_frame = sys._getframe  # noqa: SLF001 - public: https://docs.python.org/3/library/sys.html#sys._getframe
_COMPLETE: set[CodeType] = {respond.__code__}
# How far up the stack the last one was found: most often the next one is there as well.
_DEPTH = [0]


def _complete_responses() -> set[CodeType]:
    """Return the code of the functions that send a head and then at once its whole body."""
    if len(_COMPLETE) == 1 and (responses := sys.modules.get("starlette.responses")):
        _COMPLETE.add(responses.Response.__call__.__code__)
    return _COMPLETE


def body_follows() -> bool:
    """Return whether the caller runs for a response that has its whole body and sends it right after its head.

    A streaming response may have a length as well, and a generator that blocks before its first part. Neither ASGI's
    messages nor the head distinguish the two; the running code does.
    """
    complete = _complete_responses()
    try:
        # Python makes an object of each frame that a program asks for: of one here, of each on the way below.
        if _frame(_DEPTH[0]).f_code in complete:
            return True
    except ValueError:
        # The stack is not as deep.
        pass
    frame: FrameType | None = _frame(1)
    for depth in range(1, MAX_FRAMES + 1):
        if frame is None:
            break
        if frame.f_code in complete:
            _DEPTH[0] = depth
            return True
        frame = frame.f_back
    return False


class Cork:
    """A transport (https://docs.python.org/3/library/asyncio-protocol.html) that holds a head until its body follows.

    At the latest the head is sent before the transport is used in any other way, or in the loop's next iteration.
    """

    def __init__(self, transport: asyncio.Transport, body_follows: Callable[[], bool] = body_follows) -> None:
        """Wrap a transport; `body_follows` decides at each head whether it is held."""
        self._transport = transport
        self._body_follows = body_follows
        self._loop = asyncio.get_running_loop()
        self._head = b""

    def write(self, data: bytes) -> None:
        """Send bytes, or hold them if they are a head."""
        if self._head and len(data) <= MAX_JOINED_BYTES:
            joined = b"".join((self._head, data))
            self._head = b""
            self._transport.write(joined)
            return
        self.flush()
        if type(data) is bytes and data.startswith(START) and LENGTH in data and self._body_follows():
            self._head = data
            self._loop.call_soon(self.flush)
        else:
            self._transport.write(data)

    def flush(self) -> None:
        """Send the held head, unless the client has disconnected."""
        head, self._head = self._head, b""
        if head and not self._transport.is_closing():
            self._transport.write(head)

    def is_closing(self) -> bool:
        """Return whether the transport is closed or closing. Sends nothing."""
        return self._transport.is_closing()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        """Return any other attribute of the transport, after sending what is held."""
        self.flush()
        return getattr(self._transport, name)
