"""Run the service with routes and a lifespan that misbehave: `python -m prodlock.tests.server.faulty PORT LIFESPAN`."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import BackgroundTasks, FastAPI
from starlette.responses import StreamingResponse

from app.main import create_app
from prodlock.server import server
from prodlock.server.drain import Drain
from prodlock.server.settings import Settings

LONG = 30


def faulty(settings: Settings, drain: Drain, kind: str) -> FastAPI:
    """Return the service with more routes, and a lifespan of some kind around its own."""
    app = create_app(settings, drain)
    add_lifespan(app, kind)
    add_waiting(app)
    add_streams(app)
    return app


def add_lifespan(app: FastAPI, kind: str) -> None:
    """Put a lifespan around the service's own."""
    own = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        print("lifespan begins", flush=True)
        if kind == "blocks":
            time.sleep(LONG)  # noqa: ASYNC251
        try:
            if kind == "waits":
                await asyncio.sleep(LONG)
            if kind == "fails":
                raise RuntimeError("the database is not there")
            async with own(app):
                yield
            if kind == "fails at the end":
                raise RuntimeError("the database has gone")
        finally:
            print("lifespan ends", flush=True)

    app.router.lifespan_context = lifespan


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
    """Add responses that begin before they are complete, and one after which work is left."""

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


def main() -> int:
    """Run it."""
    settings, drain = Settings.from_environment(), Drain()
    return server.run(faulty(settings, drain, sys.argv[2]), drain, settings, int(sys.argv[1]))


if __name__ == "__main__":
    sys.exit(main())
