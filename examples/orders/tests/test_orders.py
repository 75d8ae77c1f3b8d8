"""Orders are stored in a database that the tests have for themselves."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from alembic import command
from alembic.config import Config
from fastapi.testclient import TestClient

from orders.main import app


@pytest.fixture(scope="session")
def client() -> Iterator[TestClient]:
    """A client of the service, whose database has been migrated."""
    command.upgrade(Config("alembic.ini"), "head")
    with TestClient(app) as client:
        yield client


def test_an_order_is_stored_and_read_back(client: TestClient) -> None:
    """The answer names the place of the order."""
    created = client.post("/orders", json={"article": "bolt", "pieces": 3})
    assert created.status_code == 201
    assert client.get(created.headers["Location"]).json() == created.json()
    assert created.json()["article"] == "bolt"


def test_orders_are_listed_by_their_numbers(client: TestClient) -> None:
    """A page begins after the last number of the former one."""
    numbers = [client.post("/orders", json={"article": "nut", "pieces": 1}).json()["id"] for _ in range(3)]
    listed = client.get("/orders", params={"after": numbers[0], "limit": 2}).json()
    assert [one["id"] for one in listed] == numbers[1:]


def test_an_unknown_order_is_not_found(client: TestClient) -> None:
    """Numbers begin at 1."""
    assert client.get("/orders/0").status_code == 404


@pytest.mark.parametrize("order", [{"article": "", "pieces": 1}, {"article": "bolt", "pieces": 0}, {}])
def test_an_order_that_is_not_valid_is_refused(client: TestClient, order: dict[str, object]) -> None:
    """Nothing of it is stored."""
    assert client.post("/orders", json=order).status_code == 422


def test_the_tables_are_those_of_the_models(client: TestClient) -> None:
    """Otherwise a migration is missing: `alembic revision --autogenerate` writes it."""
    assert client.get("/ready").status_code == 200
    command.check(Config("alembic.ini"))
