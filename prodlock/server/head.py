"""Answer HEAD for every resource that has GET (RFC 9110, 9.3.2): load balancers and uptime monitors request it."""

from __future__ import annotations

from collections.abc import Awaitable

from prodlock.server.asgi import Application, Message, Receive, Scope, Send

METHOD_NOT_ALLOWED = 405


class Head:
    """ASGI layer: where the application refuses HEAD but allows GET, answer as to GET, without the body.

    An application's own answer to HEAD takes precedence.
    """

    def __init__(self, app: Application) -> None:
        self.app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Serve one request."""
        if scope["type"] == "http" and scope["method"] == "HEAD":
            return self._serve_head(scope, receive, send)
        return self.app(scope, receive, send)

    async def _serve_head(self, scope: Scope, receive: Receive, send: Send) -> None:
        refused = False
        # A copy: the server must still see HEAD, and a router changes the path that a proxy strips.
        as_get = {**scope, "method": "GET"}
        # What the application has received: it receives that again.
        received: list[Message] = []

        async def receive_and_keep() -> Message:
            received.append(await receive())
            return received[-1]

        async def receive_again() -> Message:
            return received.pop(0) if received else await receive()

        async def send_unless_refused(message: Message) -> None:
            nonlocal refused
            if message["type"] == "http.response.start":
                refused = message["status"] == METHOD_NOT_ALLOWED and _allows_get(message)
            if not refused:
                await send(message)

        async def send_head(message: Message) -> None:
            if message["type"] == "http.response.start":
                await send(message)
                # Complete the response at once: the body that is left out may have no end.
                await send({"type": "http.response.body"})

        await self.app(scope, receive_and_keep, send_unless_refused)
        if refused:
            try:
                await self.app(as_get, receive_again, send_head)
            finally:
                scope["route"] = as_get.get("route")


def _allows_get(message: Message) -> bool:
    allowed = (value for name, value in message.get("headers", ()) if name.lower() == b"allow")
    return any(method.strip() == b"GET" for value in allowed for method in value.split(b","))
