"""The application: name and version, and the sum of an order."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from fastapi import FastAPI
from pydantic import BaseModel, Field

from . import __version__
from .settings import Settings


class About(BaseModel):
    """Name and version of the service."""

    name: str
    version: str


class Line(BaseModel):
    """A number of pieces at a price each."""

    article: str = Field(max_length=100)
    pieces: int = Field(ge=1, le=10_000)
    price: Annotated[str, Field(pattern=r"^[0-9]{1,10}(\.[0-9]{1,2})?$")]


class Order(BaseModel):
    """The lines of an order."""

    lines: list[Line] = Field(min_length=1, max_length=100)


class Quote(BaseModel):
    """The sum of an order."""

    total: Decimal


def create_app(settings: Settings | None = None) -> FastAPI:
    """Return the service with the given settings, by default those of the environment."""
    settings = settings or Settings.from_environment()
    app = FastAPI(title=settings.name, version=__version__, docs_url="/docs" if settings.docs else None)

    @app.get("/")
    async def about() -> About:
        """Return name and version."""
        return About(name=settings.name, version=__version__)

    @app.post("/quotes", responses={400: {"description": "No JSON"}, 413: {"description": "Too large"}})
    async def quote(order: Order) -> Quote:
        """Return the sum of an order."""
        total = sum((Decimal(line.price) * line.pieces for line in order.lines), Decimal(0))
        return Quote(total=total.quantize(Decimal("0.01")))

    return app
