"""Limit the size of request bodies: 413 (RFC 9110, 15.5.14)."""

from __future__ import annotations

from collections.abc import Awaitable

from prodlock.server.asgi import Application, Message, Receive, Scope, Send, respond

CONTENT_TOO_LARGE = 413


class BodyTooLarge(Exception):
    """Raised where the application receives more bytes than the limit."""


class BodyLimit:
    """ASGI layer: answer 413 to a body of more than `most` bytes.

    A body whose announced length is too large is refused before the application is called; httptools reads no more than
    that length. A chunked body is counted, and the application's answer is replaced, because an application may handle
    `BodyTooLarge` in its own way.
    """

    def __init__(self, app: Application, most: int) -> None:
        self.app = app
        self._most = most

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Serve one request."""
        headers = dict(scope["headers"]) if scope["type"] == "http" else {}
        # httptools has refused a length that is not a number in ASCII digits.
        if int(headers.get(b"content-length", b"0")) > self._most:
            return _refuse(send)
        if b"transfer-encoding" in headers:
            return self._serve_counted(scope, receive, send)
        return self.app(scope, receive, send)

    async def _serve_counted(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = _Request(receive, send, self._most)
        try:
            await self.app(scope, request.receive, request.send)
        except Exception:
            # An application that was interrupted may raise anything.
            if not request.is_too_large or request.is_answered:
                raise
        if request.is_too_large and not (request.is_answered or request.is_refused):
            await _refuse(send)


class _Request:
    """A request whose body is counted."""

    __slots__ = ("_most", "_receive", "_received", "_send", "is_answered", "is_refused")

    def __init__(self, receive: Receive, send: Send, most: int) -> None:
        self._receive = receive
        self._send = send
        self._most = most
        self._received = 0
        # Whether the application's answer has begun, or that of this layer has been sent in its place.
        self.is_answered = False
        self.is_refused = False

    @property
    def is_too_large(self) -> bool:
        """Return whether more than the limit was received."""
        return self._received > self._most

    async def receive(self) -> Message:
        """Receive a message. Raises BodyTooLarge."""
        message = await self._receive()
        self._received += len(message.get("body", b""))
        if self.is_too_large:
            raise BodyTooLarge
        return message

    async def send(self, message: Message) -> None:
        """Send a message of the application, or this layer's answer in place of its first one."""
        if not self.is_answered and self.is_too_large:
            if not self.is_refused:
                self.is_refused = True
                await _refuse(self._send)
            return
        self.is_answered = True
        await self._send(message)


async def _refuse(send: Send) -> None:
    await respond(send, CONTENT_TOO_LARGE, {"detail": "Content Too Large"})
