"""`inv bench`, of one round: the figures of a busy machine say little, that there are figures says that it works."""

from __future__ import annotations

import json
from pathlib import Path

from bench.contenders import PREFIX
from bench.figures import CONTENDERS, PRODLOCK
from prodlock.tests.engine.conftest import docker, inv


def test_a_round_measures_everybody(copy: Path) -> None:
    """Each figure of each contender, whose tests all pass. What is printed is what is written, and nothing is left."""
    done = inv("bench", "--rounds", "1", "--json", cwd=copy)
    # 1: a target is missed.
    assert done.returncode in {0, 1}, done.stderr
    assert done.stdout, done.stderr
    results = json.loads(done.stdout)
    assert results == json.loads((copy / "bench" / "results.json").read_text(encoding="utf-8"))
    measured = {work["work"]: work["contenders"] for work in results["works"]}
    assert set(measured.pop("noop-compose")) == {PRODLOCK}
    assert {"cold", "edit-prod", "edit-verdict", "size", "first-answer", "requests"} <= set(measured)
    for contenders in measured.values():
        assert set(contenders) == set(CONTENDERS)
        assert all(len(figures["samples"]) == 1 and figures["median"] > 0 for figures in contenders.values())
    assert "| requests a second" in (copy / "bench" / "RESULTS.md").read_text(encoding="utf-8")
    assert "</svg>" in (copy / "bench" / "chart.svg").read_text(encoding="utf-8")
    assert not docker("image", "ls", "--quiet", f"--filter=reference={PREFIX}*").stdout
    assert not docker("container", "ls", "--all", "--quiet", f"--filter=name=^{PREFIX}").stdout
