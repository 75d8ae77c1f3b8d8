"""The service, without a socket."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from app.main import create_app
from app.settings import Settings


@pytest.fixture
def client() -> TestClient:
    """A client of the service with a name."""
    return TestClient(create_app(Settings(name="prices")))


def test_root_has_the_name(client: TestClient) -> None:
    """The setting is used."""
    assert client.get("/").json()["name"] == "prices"


def test_quote_has_the_sum(client: TestClient) -> None:
    """Pieces times price."""
    order = {"lines": [{"article": "bolt", "pieces": 2, "price": "1.05"}]}
    assert client.post("/quotes", json=order).json() == {"total": "2.10"}
