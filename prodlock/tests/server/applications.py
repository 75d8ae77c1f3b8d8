"""Three applications for the server: a bare ASGI function, one of Starlette, one of FastAPI with its own `/health`.

Each has a lifespan that prints its beginning and its end, a slow response, and a WebSocket connection that echoes.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, WebSocket
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute

from prodlock.server.asgi import Receive, Scope, Send

SLOW_SECONDS = 0.5


@asynccontextmanager
async def lifespan(_: object) -> AsyncIterator[None]:
    """Print the beginning and the end; the variable LIFESPAN makes it wait or fail."""
    print("lifespan begins", flush=True)
    try:
        if os.environ.get("LIFESPAN") == "waits":
            await asyncio.sleep(30)
        if os.environ.get("LIFESPAN") == "fails":
            raise RuntimeError("the database is not there")
        yield
    finally:
        print("lifespan ends", flush=True)


async def bare(scope: Scope, receive: Receive, send: Send) -> None:
    """Serve one request, or the lifespan, without a framework."""
    if scope["type"] == "lifespan":
        await _bare_lifespan(receive, send)
    elif scope["type"] == "websocket":
        await _bare_echo(receive, send)
    else:
        if scope["path"] == "/slow":
            await asyncio.sleep(SLOW_SECONDS)
        status, body = (200, b"hello") if scope["path"] in {"/", "/slow"} else (404, b"nothing")
        headers = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


async def _bare_lifespan(receive: Receive, send: Send) -> None:
    await receive()
    context: Any = lifespan(None)
    try:
        await context.__aenter__()
    except RuntimeError as error:
        await send({"type": "lifespan.startup.failed", "message": f"RuntimeError: {error}"})
        return
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await context.__aexit__(None, None, None)
    await send({"type": "lifespan.shutdown.complete"})


async def _bare_echo(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})


async def hello(_: Request) -> PlainTextResponse:
    """Answer at once."""
    return PlainTextResponse("hello")


async def slow(_: Request) -> PlainTextResponse:
    """Answer late."""
    await asyncio.sleep(SLOW_SECONDS)
    return PlainTextResponse("hello")


async def echo(socket: WebSocket) -> None:
    """Echo, without expecting the end of the connection."""
    await socket.accept()
    while True:
        await socket.send_text(await socket.receive_text())


starlette = Starlette(
    routes=[Route("/", hello), Route("/slow", slow), WebSocketRoute("/echo", echo)], lifespan=lifespan
)


def create_fastapi() -> FastAPI:
    """Return the application of FastAPI."""
    app = FastAPI(lifespan=lifespan)
    app.add_api_websocket_route("/echo", echo)

    @app.get("/")
    async def root() -> PlainTextResponse:
        return PlainTextResponse("hello")

    @app.get("/slow")
    async def late() -> PlainTextResponse:
        await asyncio.sleep(SLOW_SECONDS)
        return PlainTextResponse("hello")

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"own": "health"}

    return app
