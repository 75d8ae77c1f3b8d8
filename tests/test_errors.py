"""Answers to requests that are not valid."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pydantic import BaseModel, Field
from starlette.testclient import TestClient

from app.main import create_app
from app.settings import Settings

BODY = '{"lines": [{"text": %s}]}'


class Line(BaseModel):
    """A part of a body."""

    text: str = Field(pattern=r"^[0-9]+$")


class Body(BaseModel):
    """A body."""

    lines: list[Line]


@pytest.fixture
def client() -> Iterator[TestClient]:
    """A client of the service, which has a route with a body."""
    app = create_app(Settings())

    @app.post("/body")
    async def answer(body: Body) -> Body:
        return body

    with TestClient(app) as client:
        yield client


def post(client: TestClient, body: str | bytes) -> tuple[int, object]:
    """Send a body; return status and answer."""
    answer = client.post("/body", content=body, headers={"content-type": "application/json"})
    return answer.status_code, answer.json()


def test_a_valid_request_is_answered(client: TestClient) -> None:
    """The positive control."""
    assert post(client, BODY % '"1"')[0] == 200


@pytest.mark.parametrize("value", ["NaN", "-Infinity", "1e400", '"\\ud800"', '"1e999999999"'])
def test_values_that_json_cannot_represent_are_refused(client: TestClient, value: str) -> None:
    """422 has the place and the kind of the error, not the value, which could not be written."""
    status, answer = post(client, BODY % value)
    assert status == 422
    assert isinstance(answer, dict)
    (problem,) = answer["detail"]
    assert problem["loc"] == ["body", "lines", 0, "text"]
    assert set(problem) == {"loc", "msg", "type"}


@pytest.mark.parametrize("body", [b"\xff", b"[" * 100_000, BODY % ("9" * 5000)])
def test_a_body_that_cannot_be_parsed_is_refused(client: TestClient, body: bytes) -> None:
    """400: an encoding, a depth or a number that the parser refuses."""
    assert post(client, body) == (400, {"detail": "There was an error parsing the body"})
