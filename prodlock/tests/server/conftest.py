"""A service within the server's layers, without a socket."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from pydantic import BaseModel
from starlette.testclient import TestClient

from prodlock.server.asgi import Application
from prodlock.server.batches import DEFERRED
from prodlock.server.lifecycle import Lifecycle
from prodlock.server.request_log import RequestLog
from prodlock.server.server import layered
from prodlock.server.settings import Settings


class Order(BaseModel):
    """A body that is validated."""

    pieces: int


def service() -> FastAPI:
    """Return an application with a few routes, and without probes and HEAD."""
    app = FastAPI()

    @app.get("/")
    async def root() -> str:
        return "root"

    @app.post("/orders")
    async def order(order: Order) -> int:
        return order.pieces

    return app


def within_layers(app: Application, **settings: int) -> RequestLog:
    """Return an application within the layers of a server that is ready."""
    lifecycle = Lifecycle()
    lifecycle.start()
    return layered(app, lifecycle, Settings(**settings))  # type: ignore[arg-type]


@pytest.fixture
def undeferred(monkeypatch: pytest.MonkeyPatch) -> None:
    """Log each request at its end: pytest reads the log before the deferred calls run."""
    monkeypatch.setattr(DEFERRED, "add", lambda log: log())


@pytest.fixture
def app() -> FastAPI:
    """The application. A test may add routes."""
    return service()


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    """A client of the application within the layers."""
    with TestClient(within_layers(app)) as client:
        yield client
