"""No request's body is larger than it may be: a service that reads whatever it is sent runs out of memory."""

from __future__ import annotations

import asyncio
import contextlib

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

STATUS = 413
DETAIL = "Content Too Large"
CLOSE = {"connection": "close"}
# How long a client that goes on sending is listened to, so that it gets to see the answer.
LINGER_SECONDS = 1


class BodyLimit:
    """ASGI middleware: a body of more than so many bytes is answered with 413 (RFC 9110, 15.5.14).

    Where the request says how large it is, before a byte of it is read; else as soon as it is too large.
    """

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self.app = app
        self.max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        length, chunked = 0, False
        for name, value in scope["headers"] if scope["type"] == "http" else ():
            if name == b"content-length":
                length = int(value)
            elif name == b"transfer-encoding":
                chunked = True
        if length > self.max_bytes:
            await JSONResponse({"detail": DETAIL}, STATUS, CLOSE)(scope, receive, lingering(receive, send))
        elif chunked:
            await self.count(scope, receive, send)
        else:
            # The server reads no more than the length that is given.
            await self.app(scope, receive, send)

    async def count(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request that does not say how large it is: who reads too much of it gets an HTTPException."""
        left = self.max_bytes

        async def receive_some() -> Message:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            if left < 0:
                raise HTTPException(STATUS, DETAIL, CLOSE)
            return message

        async def send_some(message: Message) -> None:
            await (lingering(receive, send) if left < 0 else send)(message)

        await self.app(scope, receive_some, send_some)


def lingering(receive: Receive, send: Send) -> Send:
    """Return a `send` that ends a response only once the client has seen it.

    A connection that is closed with bytes unread is a broken one to the client, whatever was answered (RFC 9112, 9.6).
    """

    async def send_and_listen(message: Message) -> None:
        if message["type"] == "http.response.body" and not message.get("more_body"):
            await send({**message, "more_body": True})
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LINGER_SECONDS):
                    while (await receive()).get("more_body"):
                        pass
            message = {"type": "http.response.body"}
        await send(message)

    return send_and_listen
