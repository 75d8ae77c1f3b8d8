"""The service as a tutorial puts it together: the same routes, none of this project's own middleware or logging."""

from __future__ import annotations

from fastapi import FastAPI
from pydantic import BaseModel

from app import __version__, health, quotes
from prodlock.server import drain


class About(BaseModel):
    """Which service this is."""

    name: str
    version: str


app = FastAPI(title="quotes", version=__version__)
# Never told to stop: no drain.
app.include_router(health.router(drain.Drain()))
app.include_router(quotes.router)


@app.get("/")
async def about() -> About:
    """Name and version."""
    return About(name="quotes", version=__version__)
