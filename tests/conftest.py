"""The service under test, without a socket."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from app.main import create_app
from app.settings import Settings


@pytest.fixture
def client() -> Iterator[TestClient]:
    """A client of the started service with the default settings."""
    with TestClient(create_app(Settings())) as client:
        yield client
