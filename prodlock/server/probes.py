"""Liveness and readiness for orchestrators: `GET /health` and `GET /ready`."""

from __future__ import annotations

from prodlock.server.asgi import Application, Message, Receive, Scope, Send, respond
from prodlock.server.lifecycle import Lifecycle

HEALTH, READY = "/health", "/ready"
PATHS = {HEALTH, READY}
NOT_FOUND = 404


def is_probe(scope: Scope) -> bool:
    """Return whether a request's path is one of the two, below the path that a proxy strips."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", "")) in PATHS


class Probes:
    """ASGI layer: answer the probes where the application has none, that is, where it answers 404.

    While the server starts or stops, `/ready` is 503 whatever the application would answer.
    """

    def __init__(self, app: Application, lifecycle: Lifecycle) -> None:
        self.app = app
        self._lifecycle = lifecycle

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or not is_probe(scope) or scope["method"] not in {"GET", "HEAD"}:
            await self.app(scope, receive, send)
            return
        is_readiness = scope["path"].endswith(READY)
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
