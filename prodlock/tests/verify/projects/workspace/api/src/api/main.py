"""The service."""

from fastapi import FastAPI
from fastapi.responses import HTMLResponse

from core.page import PAGE

app = FastAPI(title="shop")


@app.get("/", response_class=HTMLResponse)
def index() -> str:
    """Return the shop's page."""
    return PAGE.render(name="shop")
