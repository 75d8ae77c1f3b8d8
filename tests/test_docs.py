"""The documentation pages: off by default, and complete without another server where they are on."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from app.main import create_app
from app.settings import Settings

PAGES = ("/docs", "/redoc")


@pytest.fixture
def documented() -> Iterator[TestClient]:
    """A client of the service with the pages, behind a proxy that strips /api."""
    with TestClient(create_app(Settings(docs=True)), root_path="/api") as client:
        yield client


@pytest.mark.parametrize("path", PAGES)
def test_the_pages_are_off_by_default(client: TestClient, path: str) -> None:
    """404 like any other unknown path."""
    assert client.get(path).status_code == 404


@pytest.mark.parametrize("path", PAGES)
def test_a_page_and_its_files_are_of_the_service(documented: TestClient, path: str) -> None:
    """No address of a page leads to another server, and each is below the path that a proxy strips."""
    # The server puts the stripped path in front again (https://asgi.readthedocs.io/en/latest/specs/www.html).
    answer = documented.get(f"/api{path}")
    assert answer.status_code == 200
    # The scripts contain addresses of other servers; a test in a browser shows that they need none.
    addresses = re.findall(r"(?:src|href|url|spec-url)(?:=|: )[\"']([^\"']+)[\"']", answer.text)
    assert len(addresses) >= 3
    for address in addresses:
        assert address.startswith("/api/")
        assert documented.get(address).status_code == 200


def test_the_pages_are_not_in_the_document(documented: TestClient) -> None:
    """Clients that are generated from it have the routes of the service only."""
    assert set(documented.get("/api/openapi.json").json()["paths"]) == {"/", "/quotes"}


def test_pages_without_their_package_stop_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Production has the package only where it is in the main group; the message states the remedy."""
    monkeypatch.setitem(sys.modules, "fastapi_offline", None)
    monkeypatch.setenv("APP_DOCS", "true")
    with pytest.raises(SystemExit, match=r"^APP_DOCS must be false where .* \(got true\)\. To fix it: "):
        create_app()
