"""`inv bench` of one round: this tests that every figure is measured, not the figures of a busy machine."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.figures import CONTENDERS, FLOOR, TARGETS
from prodlock.tests.engine.conftest import COPY, ROOT, docker, inv

# This repository, as far as the bench needs it.
FILES = (
    *("app", "prodlock", "tests", "bench", "tasks.py", "pyproject.toml", "poetry.lock"),
    *("Dockerfile", "docker-compose.yml", ".dockerignore"),
)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of this repository, whose bench has images and containers of its own."""
    monkeypatch.setenv("PRODLOCK_PROJECT", COPY)
    for name in FILES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, tmp_path)
    yield tmp_path
    inv("clean", cwd=tmp_path)


def test_a_round_measures_every_contender(repository: Path) -> None:
    """Each figure is measured for each contender, and a floor for each target; only the results remain."""
    done = inv("bench", "--rounds", "1", "--json", cwd=repository)
    # 1: a target is missed.
    assert done.returncode in {0, 1}, done.stderr
    assert done.stdout, done.stderr
    results = json.loads(done.stdout)
    measured = {work["work"]: work["contenders"] for work in results["works"]}
    assert {"cold", "edit-prod", "edit-verdict", "size", "first-answer", "requests"} <= set(measured)
    for contenders in measured.values():
        assert set(contenders) - {FLOOR} == set(CONTENDERS)
        assert all(len(figures["samples"]) == 1 and figures["median"] > 0 for figures in contenders.values())
    assert {target.work for target in TARGETS} <= {work for work, contenders in measured.items() if FLOOR in contenders}
    page = (repository / "bench" / "RESULTS.md").read_text(encoding="utf-8")
    assert "| requests a second" in page
    assert "not measured" not in page
    assert "</svg>" in (repository / "bench" / "chart.svg").read_text(encoding="utf-8")
    assert not docker("image", "ls", "--quiet", f"--filter=reference={COPY}-bench-*").stdout
    assert not docker("container", "ls", "--all", "--quiet", f"--filter=name=^{COPY}-bench-").stdout
