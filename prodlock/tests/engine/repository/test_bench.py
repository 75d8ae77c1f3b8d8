"""`inv bench` of one round: this tests that every figure is measured, not the figures of a busy machine."""

from __future__ import annotations

import json

import pytest

from bench.figures import CONTENDERS, FLOOR, TARGETS
from prodlock.tests.engine.conftest import COPY, REPOSITORY, copied, docker, inv


@pytest.mark.full_length
def test_a_round_measures_every_contender() -> None:
    """Each figure is measured for each contender, and a floor for each target; only the results remain."""
    with copied(REPOSITORY) as repository:
        done = inv("bench", "--rounds", "1", "--json", cwd=repository)
        # 1: a target is missed.
        assert done.returncode in {0, 1}, done.stderr
        assert done.stdout, done.stderr
        page = (repository / "bench" / "RESULTS.md").read_text(encoding="utf-8")
        chart = (repository / "bench" / "chart.svg").read_text(encoding="utf-8")
    measured = {work["work"]: work["contenders"] for work in json.loads(done.stdout)["works"]}
    assert {"cold", "edit-prod", "edit-verdict", "save-verdict", "size", "first-answer", "requests"} <= set(measured)
    for contenders in measured.values():
        assert set(contenders) - {FLOOR} == set(CONTENDERS)
        assert all(len(figures["samples"]) == 1 and figures["median"] > 0 for figures in contenders.values())
    assert {target.work for target in TARGETS} <= {work for work, contenders in measured.items() if FLOOR in contenders}
    assert "| requests a second" in page
    assert "not measured" not in page
    assert "</svg>" in chart
    assert not docker("image", "ls", "--quiet", f"--filter=reference={COPY}-bench-*").stdout
    assert not docker("container", "ls", "--all", "--quiet", f"--filter=name=^{COPY}-bench-").stdout
