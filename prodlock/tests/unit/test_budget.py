"""The size budget of a project that moves in is set by its first build."""

from __future__ import annotations

from pathlib import Path

import pytest

from prodlock import configuration
from prodlock.docker import engine, images
from prodlock.project import Project

FIRST = b'[tool.prodlock]\r\nsize-budget-mb = "first build"\r\nport = 80\r\n'


@pytest.mark.parametrize(("size", "budget"), [("65100000", 75), ("1", 5), ("90909090", 100), ("90909091", 105)])
def test_the_first_build_sets_the_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: str, budget: int
) -> None:
    """A tenth more than production has, rounded up to 5 MB; the rest of the file stays."""
    monkeypatch.setattr(engine, "output", lambda *_, **__: f"{size}\n")
    (tmp_path / "pyproject.toml").write_bytes(FIRST)
    assert configuration.read(tmp_path).size_budget_mb is None
    assert images.set_budget(Project(tmp_path), "sha256:0") == budget
    assert (tmp_path / "pyproject.toml").read_bytes() == FIRST.replace(b'"first build"', str(budget).encode())
    assert configuration.read(tmp_path).size_budget_mb == budget


@pytest.mark.parametrize("text", [None, b"", b"[tool.prodlock]\nsize-budget-mb = 70\n"])
def test_a_budget_that_is_set_or_absent_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: bytes | None
) -> None:
    """The Engine is not asked."""
    monkeypatch.setattr(engine, "output", lambda *_, **__: pytest.fail("asked"))
    if text is not None:
        (tmp_path / "pyproject.toml").write_bytes(text)
    assert images.set_budget(Project(tmp_path), "sha256:0") is None
