"""A browser for the tests of pages."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from prodlock.tests.engine.conftest import PROJECT, REPOSITORY, docker, secrets


@pytest.fixture(scope="session")
def browser() -> Iterator[str]:
    """Chromium without a display, from Debian's packages."""
    tag = f"{PROJECT}:browser"
    package = "--build-arg=PACKAGES=chromium-headless-shell"
    docker("build", "--quiet", f"--tag={tag}", "--target=base", package, *secrets(), ".", cwd=REPOSITORY)
    yield tag
    docker("rmi", tag)
