"""Stop without losing a request: from SIGTERM on send everybody elsewhere, and only then let the server stop.

A server that stops at once closes connections on which a request is already on its way. So for some seconds it goes on
answering, says at `/ready` that it is not to be asked, and with every response that the connection ends here.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import FrameType

from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

CLOSE = (b"connection", b"close")


class Drain:
    """Whether the service takes requests: not before its start is done, and not once it has been told to stop."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.ready = False
        # From the first signal to the end.
        self.stopping = False

    @asynccontextmanager
    async def lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        """Be ready from the end of the start to the first sign of the stop."""
        loop = asyncio.get_running_loop()
        self._watch(signal.SIGTERM, loop, self.seconds)
        # Ctrl-C comes from somebody who waits.
        self._watch(signal.SIGINT, loop, 0)
        self.ready = True
        yield
        self.ready = False

    def _watch(self, number: signal.Signals, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        """Begin to stop when the signal arrives; let the server's own handler run after so many seconds.

        At a second signal it runs at once. The end of the lifespan would be too late for all this: the server has
        closed its listeners by then.
        """
        previous = signal.getsignal(number)
        if threading.current_thread() is not threading.main_thread() or not callable(previous):
            return

        def stop(number: int, frame: FrameType | None) -> None:
            first, self.stopping, self.ready = not self.stopping, True, False
            if first and seconds:
                loop.call_soon_threadsafe(loop.call_later, seconds, previous, number, frame)
            else:
                previous(number, frame)

        signal.signal(number, stop)


class CloseWhileStopping:
    """ASGI middleware: every response of a service that stops ends its connection (RFC 9112, 9.6)."""

    def __init__(self, app: ASGIApp, drain: Drain) -> None:
        self.app = app
        self.drain = drain

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""

        async def send_and_close(message: Message) -> None:
            if message["type"] == "http.response.start" and self.drain.stopping:
                message["headers"] = [*message.get("headers", ()), CLOSE]
            await send(message)

        await self.app(scope, receive, send_and_close)
