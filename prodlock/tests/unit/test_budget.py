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


@pytest.mark.parametrize(
    "line",
    ["size-budget-mb='first build'", '  size-budget-mb  = "first build"', 'size-budget-mb = "first build"\t# measured'],
)
def test_the_budget_may_be_written_in_any_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    """As a formatter writes it, and with a comment: without a number there is no limit."""
    text = f"[tool.prodlock]\n{line}\nport = 80\n"
    monkeypatch.setattr(engine, "output", lambda *_, **__: "1\n")
    (tmp_path / "pyproject.toml").write_text(text, encoding="utf-8")
    assert configuration.read(tmp_path).size_budget_mb is None
    assert images.set_budget(Project(tmp_path), "sha256:0") == 5
    written = (tmp_path / "pyproject.toml").read_text(encoding="utf-8")
    assert written == text.replace("'first build'", "5").replace('"first build"', "5")
    assert configuration.read(tmp_path).size_budget_mb == 5


@pytest.mark.parametrize("text", [None, b"", b"[tool.prodlock]\nsize-budget-mb = 70\n"])
def test_a_budget_that_is_set_or_absent_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: bytes | None
) -> None:
    """The Engine is not asked."""
    monkeypatch.setattr(engine, "output", lambda *_, **__: pytest.fail("asked"))
    if text is not None:
        (tmp_path / "pyproject.toml").write_bytes(text)
    assert images.set_budget(Project(tmp_path), "sha256:0") is None
