"""The service under test, without a socket."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from app.main import create_app
from prodlock.server.settings import Settings


@pytest.fixture
def app() -> FastAPI:
    """A service with the default settings."""
    return create_app(Settings())


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    """A client of the started service."""
    with TestClient(app) as client:
        yield client
