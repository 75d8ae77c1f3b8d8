"""The options of the tools' containers."""

from __future__ import annotations

from pathlib import Path

import pytest

from prodlock.docker import stages
from prodlock.project import Project

SETTINGS = {"EXTRA_INDEX_URL": "https://user:p%40ss@one.example/simple https://two.example/simple"}


def test_poetry_is_given_the_logins_of_its_sources(tmp_path: Path) -> None:
    """By name, for the sources on a host of EXTRA_INDEX_URL whose address has a login."""
    (tmp_path / "pyproject.toml").write_text(
        '[[tool.poetry.source]]\nname = "our-index"\nurl = "https://one.example/other/simple"\n'
        '[[tool.poetry.source]]\nname = "two"\nurl = "https://two.example/simple"\n',
        encoding="utf-8",
    )
    assert stages.poetry_logins(Project(tmp_path, {}), SETTINGS) == {
        "POETRY_HTTP_BASIC_OUR_INDEX_USERNAME": "user",
        "POETRY_HTTP_BASIC_OUR_INDEX_PASSWORD": "p@ss",
    }


@pytest.mark.parametrize("text", ["", "[tool.poetry]\nsource = 1\n", "[[tool.poetry.source]]\nname = 1\n", "x ="])
def test_poetry_reports_an_invalid_project_file(tmp_path: Path, text: str) -> None:
    """No login is given for it."""
    (tmp_path / "pyproject.toml").write_text(text, encoding="utf-8")
    assert stages.poetry_logins(Project(tmp_path, {}), SETTINGS) == {}
