"""The application: `uvicorn app.main:create_app --factory`."""

from __future__ import annotations

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.middleware.body_limit import RequestBodyLimitMiddleware

from app import __version__, errors, health, logs, quotes
from app.drain import CloseWhileStopping, Drain
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
    drain = Drain(settings.drain_seconds)
    app = FastAPI(
        title=settings.name,
        version=__version__,
        lifespan=drain.lifespan,
        responses={413: {"description": "The body is larger than APP_MAX_BODY_BYTES"}},
        exception_handlers={RequestValidationError: errors.invalid},
    )
    # The last one is the outermost. FastAPI's own `max_body_size` would be the very outermost, where no log sees it.
    app.add_middleware(RequestBodyLimitMiddleware, max_body_size=settings.max_body_bytes)
    app.add_middleware(RequestLog)
    app.add_middleware(CloseWhileStopping, drain=drain)
    app.include_router(health.router(drain))
    app.include_router(quotes.router)

    @app.get("/")
    async def about() -> About:
        """Name and version."""
        return About(name=settings.name, version=__version__)

    return app
