"""Answers to requests that are not valid."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

LINE = '{"lines": [{"article": "bolt", "pieces": 1, "price": %s}]}'


def post(client: TestClient, body: str | bytes) -> tuple[int, object]:
    """Request a quote; return status and answer."""
    answer = client.post("/quotes", content=body, headers={"content-type": "application/json"})
    return answer.status_code, answer.json()


def test_a_valid_request_is_answered(client: TestClient) -> None:
    """The positive control."""
    assert post(client, LINE % '"1"')[0] == 200


@pytest.mark.parametrize("price", ["NaN", "-Infinity", "1e400", '"\\ud800"', '"1e999999999"'])
def test_values_that_json_cannot_represent_are_refused(client: TestClient, price: str) -> None:
    """422 has the place and the kind of the error, not the value, which could not be written."""
    status, answer = post(client, LINE % price)
    assert status == 422
    assert isinstance(answer, dict)
    (problem,) = answer["detail"]
    assert problem["loc"] == ["body", "lines", 0, "price"]
    assert set(problem) == {"loc", "msg", "type"}


@pytest.mark.parametrize("body", [b"\xff", b"[" * 100_000, LINE % ("9" * 5000)])
def test_a_body_that_cannot_be_parsed_is_refused(client: TestClient, body: bytes) -> None:
    """400: an encoding, a depth or a number that the parser refuses."""
    assert post(client, body) == (400, {"detail": "There was an error parsing the body"})
