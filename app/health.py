"""What tells an orchestrator how the service is: alive, and ready for requests."""

from __future__ import annotations

import signal
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import FrameType

from fastapi import APIRouter, FastAPI, Response
from pydantic import BaseModel


class Status(BaseModel):
    """The answer of both probes."""

    status: str


class Readiness:
    """Whether the service takes requests: not before its start is done, and not once it has been told to stop."""

    def __init__(self) -> None:
        self.ready = False

    @asynccontextmanager
    async def lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        """Be ready from the end of the start to the first sign of the stop."""
        self._watch(signal.SIGTERM)
        self._watch(signal.SIGINT)
        self.ready = True
        yield
        self.ready = False

    def _watch(self, number: signal.Signals) -> None:
        """Turn unready when the signal arrives, then let the server's own handler run.

        The end of the lifespan is too late: the server has closed its listeners by then.
        """
        previous = signal.getsignal(number)
        if threading.current_thread() is not threading.main_thread() or not callable(previous):
            return

        def stop(number: int, frame: FrameType | None) -> None:
            self.ready = False
            previous(number, frame)

        signal.signal(number, stop)


def router(readiness: Readiness) -> APIRouter:
    """Return `GET /health` and `GET /ready`."""
    routes = APIRouter(tags=["health"])

    @routes.get("/health")
    async def health() -> Status:
        """Liveness: the process answers."""
        return Status(status="ok")

    @routes.get("/ready", responses={503: {"model": Status, "description": "Starting or stopping"}})
    async def ready(response: Response) -> Status:
        """Readiness: 200 while requests are welcome, 503 during start and stop."""
        if readiness.ready:
            return Status(status="ready")
        response.status_code = 503
        return Status(status="not ready")

    return routes
