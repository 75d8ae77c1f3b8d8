"""No request's body is larger than it may be: a service that reads whatever it is sent runs out of memory."""

from __future__ import annotations

import asyncio
import contextlib

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

STATUS = 413
DETAIL = "Content Too Large"
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
            await refuse(scope, receive, send)
        else:
            # The server reads no more than the length that is given.
            await self.app(scope, self.counted(receive) if chunked else receive, send)

    def counted(self, receive: Receive) -> Receive:
        """Return a `receive` that raises HTTPException where the body is too large."""
        left = self.max_bytes

        async def receive_some() -> Message:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            if left < 0:
                raise HTTPException(STATUS, DETAIL, {"connection": "close"})
            return message

        return receive_some


async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer, and close the connection once the client has seen it.

    Closed at once, with bytes unread, the client would be told of a broken connection (RFC 9112, 9.6).
    """

    async def send_and_go_on(message: Message) -> None:
        if message["type"] == "http.response.body":
            message["more_body"] = True
        await send(message)

    answer = JSONResponse({"detail": DETAIL}, STATUS, {"connection": "close"})
    await answer(scope, receive, send_and_go_on)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LINGER_SECONDS):
            while (await receive()).get("more_body"):
                pass
    await send({"type": "http.response.body"})
