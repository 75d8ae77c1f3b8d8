"""What tells an orchestrator how the service is: alive, and ready for requests."""

from __future__ import annotations

from fastapi import APIRouter, Response
from pydantic import BaseModel

from prodlock.server.drain import Drain


class Status(BaseModel):
    """The answer of both probes."""

    status: str


def router(drain: Drain) -> APIRouter:
    """Return `GET /health` and `GET /ready`."""
    routes = APIRouter(tags=["health"])

    @routes.get("/health")
    async def health() -> Status:
        """Liveness: the process answers."""
        return Status(status="ok")

    @routes.get("/ready", responses={503: {"model": Status, "description": "Starting or stopping"}})
    async def ready(response: Response) -> Status:
        """Readiness: 200 while requests are welcome, 503 during start and stop."""
        if drain.ready:
            return Status(status="ready")
        response.status_code = 503
        return Status(status="not ready")

    return routes
