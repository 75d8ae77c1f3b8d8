"""The service as a tutorial puts it together: the same routes, none of this project's own middleware or logging."""

from __future__ import annotations

from fastapi import FastAPI
from pydantic import BaseModel

from app import __version__, quotes


class About(BaseModel):
    """Which service this is."""

    name: str
    version: str


app = FastAPI(title="quotes", version=__version__)
app.include_router(quotes.router)


@app.get("/health")
@app.get("/ready")
async def health() -> dict[str, str]:
    """Answer the probes."""
    return {"status": "ok"}


@app.get("/")
async def about() -> About:
    """Name and version."""
    return About(name="quotes", version=__version__)
