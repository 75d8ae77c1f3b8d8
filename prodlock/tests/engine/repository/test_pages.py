"""The documentation pages of the example service in a browser that reaches no other server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from prodlock.tests.engine.conftest import PROJECT, REPOSITORY, docker, python_in, secrets, until

# The browser's image has a GB.
pytestmark = pytest.mark.full_length

SERVER = "python -m prodlock.server app.main:create_app"
# FastAPI's own pages, whose scripts are on a CDN.
PLAIN = """\
import uvicorn
from fastapi import FastAPI
from app import quotes
app = FastAPI()
app.include_router(quotes.router)
uvicorn.run(app, port=8000)
"""
ASK = "import urllib.request; print(urllib.request.urlopen('http://127.0.0.1:8000/openapi.json').status)"


@pytest.fixture(scope="module")
def dev() -> Iterator[str]:
    """The dev image of this repository's own service."""
    tag = f"{PROJECT}:pages"
    docker("build", "--quiet", f"--tag={tag}", "--target=dev", *secrets(), ".", cwd=REPOSITORY)
    yield tag
    docker("rmi", tag)


@contextmanager
def running(image: str, *command: str) -> Iterator[str]:
    """Run a server without a network; give its container once it answers."""
    options = ("--rm", "--detach", "--network=none", "--env=APP_DOCS=true")
    container = docker("run", *options, image, *command).stdout.strip()
    try:
        until(lambda: docker("exec", container, "python", "-c", ASK, check=False).returncode == 0, 20)
        assert python_in(container, ASK) == "200"
        yield container
    finally:
        docker("rm", "--force", container)


def rendered(browser: str, container: str, page: str) -> str:
    """Return the document of a page after its scripts have run, in the network of a container."""
    options = ("--no-sandbox", "--disable-gpu", "--virtual-time-budget=20000", "--dump-dom")
    place = ("--rm", f"--network=container:{container}")
    return docker("run", *place, browser, "chromium-headless-shell", *options, f"http://127.0.0.1:8000{page}").stdout


# What each page makes of the operation `POST /quotes`.
@pytest.mark.parametrize(("page", "operation"), [("/docs", 'data-path="/quotes"'), ("/redoc", "operation/quote_")])
def test_a_page_shows_the_operations_without_a_network(dev: str, browser: str, page: str, operation: str) -> None:
    """The scripts of the page are the service's; FastAPI's own page stays empty there."""
    with running(dev, *SERVER.split()) as container:
        assert operation in rendered(browser, container, page)
    with running(dev, "python", "-c", PLAIN) as container:
        document = rendered(browser, container, page)
    assert "cdn.jsdelivr.net" in document
    assert operation not in document
