"""Answer every request with the reason why the application does not run."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

from prodlock.server.asgi import Application, Receive, Scope, Send

HEADERS = ((b"content-type", b"text/plain; charset=utf-8"), (b"cache-control", b"no-store"))


def body(reason: str) -> bytes:
    """Return the body of the answers while an application does not run."""
    return f"The application does not run. It is started again when a file is saved.\n\n{reason}\n".encode()


def application(reason: str) -> Application:
    """Return an application that answers 500 and a reason, as plain text, to every request."""
    text = body(reason)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _no_lifespan(receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1011})
        else:
            await send({"type": "http.response.start", "status": 500, "headers": list(HEADERS)})
            await send({"type": "http.response.body", "body": text})

    return app


async def _no_lifespan(receive: Receive, send: Send) -> None:
    """Take part in the lifespan protocol, with nothing to open or to close."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


@contextlib.contextmanager
def errors_of(name: str) -> Iterator[list[str]]:
    """Collect the messages that a logger logs as errors in a block."""
    found: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(record.getMessage())

    logger, collector = logging.getLogger(name), Collector(logging.ERROR)
    logger.addHandler(collector)
    try:
        yield found
    finally:
        logger.removeHandler(collector)
