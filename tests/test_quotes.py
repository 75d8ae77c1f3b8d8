"""The example resource."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

LINE = {"article": "bolt", "pieces": 3, "price": "1.10"}


def test_a_quote_has_subtotal_discount_and_total(client: TestClient) -> None:
    """The total is the sum of pieces times price, less the discount."""
    order = {"lines": [LINE, {"article": "nut", "pieces": 10, "price": "0.05"}], "discount_percent": 10}
    answer = client.post("/quotes", json=order)
    assert (answer.status_code, answer.json()) == (200, {"subtotal": "3.80", "discount": "0.38", "total": "3.42"})


def test_a_price_without_decimals_gets_two(client: TestClient) -> None:
    """All three sums have two decimals, whatever the prices have."""
    answer = client.post("/quotes", json={"lines": [{"article": "bolt", "pieces": 1, "price": "5"}]})
    assert answer.json() == {"subtotal": "5.00", "discount": "0.00", "total": "5.00"}


def test_an_order_has_no_discount_by_default(client: TestClient) -> None:
    """The total is the subtotal."""
    assert client.post("/quotes", json={"lines": [LINE]}).json()["total"] == "3.30"


@pytest.mark.parametrize(
    ("order", "place"),
    [
        ({}, ["body", "lines"]),
        ({"lines": []}, ["body", "lines"]),
        ({"lines": [LINE] * 101}, ["body", "lines"]),
        ({"lines": [LINE], "discount_percent": 101}, ["body", "discount_percent"]),
        ({"lines": [{**LINE, "article": ""}]}, ["body", "lines", 0, "article"]),
        ({"lines": [{**LINE, "pieces": 0}]}, ["body", "lines", 0, "pieces"]),
        ({"lines": [{**LINE, "price": 1.05}]}, ["body", "lines", 0, "price"]),
        ({"lines": [{**LINE, "price": "-1"}]}, ["body", "lines", 0, "price"]),
        ({"lines": [{**LINE, "price": "0.001"}]}, ["body", "lines", 0, "price"]),
    ],
)
def test_an_invalid_order_is_refused_with_the_place(
    client: TestClient, order: dict[str, Any], place: list[str]
) -> None:
    """422 names the invalid field."""
    answer = client.post("/quotes", json=order)
    assert answer.status_code == 422
    assert [problem["loc"] for problem in answer.json()["detail"]] == [place]


def test_a_body_that_is_not_json_is_refused(client: TestClient) -> None:
    """422, not 500."""
    assert client.post("/quotes", content=b"{", headers={"content-type": "application/json"}).status_code == 422
