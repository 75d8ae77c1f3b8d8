"""The service as a whole."""

from __future__ import annotations

import logging
import tomllib
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from app import __version__
from app.main import create_app
from app.settings import Settings


def test_root_returns_name_and_version(client: TestClient) -> None:
    """`GET /` identifies the service."""
    assert client.get("/").json() == {"name": Settings().name, "version": __version__}


def test_the_version_equals_that_of_pyproject() -> None:
    """app.__version__ and pyproject.toml are bumped together."""
    pyproject = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))
    assert pyproject["project"]["version"] == __version__


def test_the_name_is_a_setting() -> None:
    """APP_NAME names the service and its documentation."""
    with TestClient(create_app(Settings(name="other"))) as client:
        assert client.get("/").json()["name"] == "other"
        assert client.get("/openapi.json").json()["info"]["title"] == "other"


def test_every_route_is_documented(client: TestClient) -> None:
    """The OpenAPI document has all routes."""
    assert set(client.get("/openapi.json").json()["paths"]) == {"/", "/quotes"}


def test_the_lifespan_runs_from_the_start_to_the_end(caplog: pytest.LogCaptureFixture) -> None:
    """Resources are opened before the first request and closed after the last one."""
    caplog.set_level(logging.INFO, "app")
    with TestClient(create_app(Settings())) as client:
        assert caplog.messages == [f"{Settings().name} {__version__} opens."]
        client.get("/")
    assert caplog.messages[-1] == f"{Settings().name} {__version__} is closed."


def test_an_unknown_path_is_answered_with_json(client: TestClient) -> None:
    """404 has a JSON body like every other error."""
    answer = client.get("/nope")
    assert (answer.status_code, answer.json()) == (404, {"detail": "Not Found"})
