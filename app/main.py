"""The application: `create_app` puts it together for the server and for the tests."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel

from app import __version__, docs, errors, quotes
from app.settings import Settings

logger = logging.getLogger(__name__)


class About(BaseModel):
    """Name and version of the service."""

    name: str
    version: str


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open resources before the first request and close them after the last one: a database pool, for example."""
    logger.info("%s %s opens.", app.title, app.version)
    yield
    logger.info("%s %s is closed.", app.title, app.version)


def create_app(settings: Settings | None = None) -> FastAPI:
    """Return the service with the given settings, by default those of the environment."""
    settings = settings or Settings.from_environment()
    create = docs.with_pages if settings.docs else docs.without_pages
    app = create(
        title=settings.name,
        version=__version__,
        lifespan=lifespan,
        # The server's answer. It belongs into the documentation of every route.
        responses={413: {"description": "The body is larger than APP_MAX_BODY_BYTES"}},
        exception_handlers={RequestValidationError: errors.invalid_request},
    )
    app.include_router(quotes.router)

    @app.get("/")
    async def about() -> About:
        """Return name and version."""
        return About(name=settings.name, version=__version__)

    return app
