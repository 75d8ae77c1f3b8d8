"""An application whose routes and lifespan misbehave. The variable LIFESPAN selects the kind of the lifespan."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import BackgroundTasks, FastAPI
from starlette.responses import StreamingResponse

LONG = 30


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Print the beginning and the end, and misbehave in between."""
    kind = os.environ.get("LIFESPAN", "")
    print("lifespan begins", flush=True)
    if kind == "blocks":
        time.sleep(LONG)  # noqa: ASYNC251
    try:
        if kind == "waits":
            await asyncio.sleep(LONG)
        if kind == "fails beside a thread":
            threading.Thread(target=time.sleep, args=(LONG,)).start()
        if kind == "cancels":
            raise asyncio.CancelledError("the database is not there")
        if kind.startswith("fails") and kind != "fails at the end":
            raise RuntimeError("the database is not there")
        yield
        if kind == "fails at the end":
            raise RuntimeError("the database has gone")
    finally:
        print("lifespan ends", flush=True)


def create_app() -> FastAPI:
    """Return the application."""
    app = FastAPI(lifespan=lifespan)

    @app.get("/")
    async def root() -> str:
        return "root"

    add_waiting(app)
    add_streams(app)
    return app


def add_waiting(app: FastAPI) -> None:
    """Add handlers that take long, each in another way."""

    @app.get("/slow")
    async def slow(seconds: float = LONG) -> str:
        await asyncio.sleep(seconds)
        return "slow"

    @app.get("/thread")
    def thread() -> str:
        time.sleep(LONG)
        return "thread"

    @app.get("/busy")
    async def busy(seconds: float = LONG) -> str:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            pass
        return "busy"

    @app.get("/stubborn")
    async def stubborn() -> str:
        for _ in range(LONG):
            try:
                await asyncio.sleep(1)
            except asyncio.CancelledError:
                print("not cancelled", flush=True)
        return "stubborn"


def add_streams(app: FastAPI) -> None:
    """Add responses that begin before they are complete, and one with a background task."""

    @app.get("/half")
    async def half() -> StreamingResponse:
        async def body() -> AsyncIterator[bytes]:
            yield b"half"
            await asyncio.sleep(LONG)

        return StreamingResponse(body())

    @app.get("/blocking")
    async def blocking(length: int | None = None) -> StreamingResponse:
        async def body() -> AsyncIterator[bytes]:
            time.sleep(1)  # noqa: ASYNC251
            yield b"blocking"

        return StreamingResponse(body(), headers={"content-length": f"{length}"} if length else None)

    @app.get("/background")
    async def background(tasks: BackgroundTasks) -> str:
        tasks.add_task(asyncio.sleep, LONG)
        return "background"
