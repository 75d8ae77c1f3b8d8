"""The options of all tests of the tool."""

from __future__ import annotations

import pytest

# They run in an image of this service.
collect_ignore = ["service"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--all`, which `inv test-tool --all` passes on."""
    parser.addoption("--all", action="store_true", help="run repetitions and the bench in full length")


@pytest.fixture(scope="session")
def full_length(request: pytest.FixtureRequest) -> bool:
    """Whether long tests repeat as often as they can show something, or only as often as every run can afford."""
    return bool(request.config.getoption("--all"))
