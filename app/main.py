"""The application, put together: `create_app` for tests and servers, `serve` for production."""

from __future__ import annotations

import logging

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.middleware.body_limit import RequestBodyLimitMiddleware

from app import __version__, errors, health, quotes
from prodlock.server import healthcheck, logs, server
from prodlock.server.drain import Drain
from prodlock.server.head import Head
from prodlock.server.request_log import RequestLog
from prodlock.server.settings import Settings, without_effect


class About(BaseModel):
    """Which service this is."""

    name: str
    version: str


def create_app(settings: Settings | None = None, drain: Drain | None = None) -> FastAPI:
    """Return the service, configured by `settings` or else by the environment.

    The server shares `drain` to make the service unready when it stops.
    """
    settings = settings or Settings.from_environment()
    logs.configure(settings)
    drain = drain or Drain()
    app = FastAPI(
        title=settings.name,
        version=__version__,
        lifespan=drain.lifespan,
        responses={413: {"description": "The body is larger than APP_MAX_BODY_BYTES"}},
        exception_handlers={RequestValidationError: errors.invalid},
    )
    # The last one is the outermost. FastAPI's own `max_body_size` would be the very outermost, where no log sees it.
    app.add_middleware(RequestBodyLimitMiddleware, max_body_size=settings.max_body_bytes)
    app.add_middleware(Head)
    app.add_middleware(RequestLog, drain=drain)
    app.include_router(health.router(drain))
    app.include_router(quotes.router)

    @app.get("/")
    async def about() -> About:
        """Name and version."""
        return About(name=settings.name, version=__version__)

    return app


def serve() -> int:
    """Run the service as the environment configures it, until a signal stops it; return the exit code."""
    settings, drain = Settings.from_environment(), Drain()
    app = create_app(settings, drain)
    for name in without_effect():
        logging.getLogger(__name__).warning("%s has no effect: this server does not read it.", name)
    return server.run(app, drain, settings, healthcheck.PORT)
