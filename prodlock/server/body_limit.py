"""Limit the size of request bodies: 413 (RFC 9110, 15.5.14)."""

from __future__ import annotations

from prodlock.server.asgi import Application, Message, Receive, Scope, Send, respond

CONTENT_TOO_LARGE = 413


class BodyTooLarge(Exception):
    """Raised where the application receives more bytes than the limit."""


class BodyLimit:
    """ASGI layer: answer 413 to a body of more than `most` bytes.

    A body whose length is announced is refused before the application is called. Any other body is counted, and the
    application's answer is replaced, because an application may handle `BodyTooLarge` in its own way.
    """

    def __init__(self, app: Application, most: int) -> None:
        self.app = app
        self._most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        length = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        # httptools has refused a length that is not a number in ASCII digits.
        if int(length) > self._most:
            await _refuse(send)
            return

        received, started, refused = 0, False, False

        async def receive_counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._most:
                raise BodyTooLarge
            return message

        async def send_unless_too_large(message: Message) -> None:
            nonlocal started, refused
            if not started:
                started = True
                if received > self._most:
                    refused = True
                    await _refuse(send)
            if not refused:
                await send(message)

        try:
            await self.app(scope, receive_counted, send_unless_too_large)
        except Exception:
            # The application was interrupted: whatever it raises then is not an error of its own.
            if received <= self._most or (started and not refused):
                raise
        if received > self._most and not started:
            await _refuse(send)


async def _refuse(send: Send) -> None:
    await respond(send, CONTENT_TOO_LARGE, {"detail": "Content Too Large"})
