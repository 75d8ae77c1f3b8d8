"""The application: `uvicorn app.main:create_app --factory`."""

from __future__ import annotations

from fastapi import FastAPI
from pydantic import BaseModel

from app import __version__, health, logs, quotes
from app.request_log import RequestLog
from app.settings import Settings


class About(BaseModel):
    """Which service this is."""

    name: str
    version: str


def create_app(settings: Settings | None = None) -> FastAPI:
    """Return the service, configured by `settings` or else by the environment."""
    settings = settings or Settings.from_environment()
    logs.configure(settings)
    readiness = health.Readiness()
    app = FastAPI(title=settings.name, version=__version__, lifespan=readiness.lifespan)
    app.add_middleware(RequestLog)
    app.include_router(health.router(readiness))
    app.include_router(quotes.router)

    @app.get("/")
    async def about() -> About:
        """Name and version."""
        return About(name=settings.name, version=__version__)

    return app
