"""The Python that poetry.lock is for: the image's, not the host's."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_the_lock_is_for_the_python_of_the_image() -> None:
    """A wider range would refuse distributions that the image's Python can have, such as those that left 3.11."""
    base = re.search(r"(?m)^ARG BASE=python:3\.(\d+)-", (ROOT / "Dockerfile").read_text(encoding="utf-8"))
    assert base
    expected = f">=3.{base[1]},<3.{int(base[1]) + 1}"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["requires-python"] == expected
    lock = tomllib.loads((ROOT / "poetry.lock").read_text(encoding="utf-8"))
    assert lock["metadata"]["python-versions"] == expected


def test_code_of_the_tool_keeps_to_the_oldest_python_of_a_host() -> None:
    """The linter must not take the image's Python for that of the host."""
    linter = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["ruff"]
    tool = tomllib.loads((ROOT / "prodlock/pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert tool["requires-python"] == ">=" + linter["target-version"].replace("py3", "3.")
