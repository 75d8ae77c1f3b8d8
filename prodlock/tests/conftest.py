"""The options of all tests of the tool."""

from __future__ import annotations

import pytest

# They run in images of their own.
collect_ignore = ["layouts", "service", "verify/projects"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--all`, which `inv test-tool --all` passes on."""
    parser.addoption("--all", action="store_true", help="run repetitions and the bench in full length")


def pytest_configure(config: pytest.Config) -> None:
    """Describe the marker of tests that only `--all` runs."""
    config.addinivalue_line("markers", "full_length: takes too long for every run; `--all` runs it")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the tests that only `--all` runs: pytest prints their number."""
    left_out = [] if config.getoption("--all") else [item for item in items if item.get_closest_marker("full_length")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture(scope="session")
def full_length(request: pytest.FixtureRequest) -> bool:
    """Whether long tests repeat as often as they can show something, or only as often as every run can afford."""
    return bool(request.config.getoption("--all"))
