"""Short addresses for long ones, in memory."""

import os
import secrets

from fastapi import FastAPI, HTTPException
from fastapi.responses import RedirectResponse
from pydantic import BaseModel, HttpUrl

LENGTH = int(os.getenv("LINK_LENGTH", "6"))

app = FastAPI(title="links")
links: dict[str, str] = {}


class Link(BaseModel):
    """A long address."""

    url: HttpUrl


@app.get("/")
def about():
    """Return the number of links."""
    return {"service": "links", "links": len(links)}


@app.post("/links", status_code=201)
def shorten(link: Link):
    """Store an address and return its key."""
    key = secrets.token_urlsafe(LENGTH)[:LENGTH]
    links[key] = str(link.url)
    return {"key": key}


@app.get("/l/{key}")
def follow(key: str):
    """Redirect to the address of a key."""
    if key not in links:
        raise HTTPException(404, "unknown key")
    return RedirectResponse(links[key])


if __name__ == "__main__":
    import uvicorn

    uvicorn.run("main:app", reload=True)
