"""The service: articles and their prices."""

from decimal import Decimal
from pathlib import Path

from fastapi import FastAPI, HTTPException
from fastapi.responses import HTMLResponse
from jinja2 import Template

from app.prices import PRICES, gross

app = FastAPI(title="shop")
PAGE = Template(Path(__file__).with_name("static").joinpath("index.html").read_text(encoding="utf-8"))


@app.get("/", response_class=HTMLResponse)
def index() -> str:
    """Return the page with all articles."""
    return PAGE.render(prices=PRICES)


@app.get("/articles/{name}")
def article(name: str) -> dict[str, Decimal]:
    """Return the price of an article."""
    if name not in PRICES:
        raise HTTPException(404, f"unknown article: {name}")
    return {"price": gross(PRICES[name])}
