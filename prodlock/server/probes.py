"""Liveness and readiness for orchestrators: `GET /health` and `GET /ready`, or other paths."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import NamedTuple

from prodlock.server.asgi import Application, Message, Receive, Scope, Send, respond
from prodlock.server.lifecycle import Lifecycle

NOT_FOUND = 404


class Paths(NamedTuple):
    """The paths of the probes, below the path that a proxy strips."""

    health: str = "/health"
    ready: str = "/ready"


def requested_path(scope: Scope) -> str:
    """Return a request's path below the path that a proxy strips."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


class Probes:
    """ASGI layer: answer the probes where the application has none, that is, where it answers 404.

    While the server starts or stops, readiness is 503 whatever the application would answer.
    """

    def __init__(self, app: Application, lifecycle: Lifecycle, paths: Paths) -> None:
        self.app = app
        self._lifecycle = lifecycle
        self._paths = paths

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Serve one request."""
        if scope["type"] == "http" and scope["method"] in {"GET", "HEAD"} and requested_path(scope) in self._paths:
            return self._serve_probe(scope, receive, send)
        return self.app(scope, receive, send)

    async def _serve_probe(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_readiness = requested_path(scope) == self._paths.ready
        if is_readiness and not self._lifecycle.ready:
            await respond(send, 503, {"status": "not ready"})
            return

        missing = False

        async def send_unless_missing(message: Message) -> None:
            nonlocal missing
            if message["type"] == "http.response.start":
                missing = message["status"] == NOT_FOUND
            if not missing:
                await send(message)

        await self.app(scope, receive, send_unless_missing)
        if missing:
            await respond(send, 200, {"status": "ready" if is_readiness else "ok"})
