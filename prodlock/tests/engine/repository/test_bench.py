"""`inv bench` of one round: this tests that every figure is measured, not the figures of a busy machine."""

from __future__ import annotations

import json
import subprocess
import sys

from bench.figures import CONTENDERS, FLOOR, TARGETS
from prodlock.tests.engine.conftest import COPY, REPOSITORY, copied, docker, inv_command

# One round without the locks of 20, 100 and 200 packages, which take most of the time.
SMALL = """
import sys
from bench import contenders, run
contenders.SIZES = ()
sys.exit(run.run("1", as_json=True))
"""


def test_a_round_measures_every_contender(full_length: bool) -> None:  # noqa: FBT001
    """Each figure is measured for each contender, and a floor for each target; only the results remain."""
    command = inv_command("bench", "--rounds", "1", "--json") if full_length else [sys.executable, "-c", SMALL]
    with copied(REPOSITORY) as repository:
        done = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
        # 1: a target is missed.
        assert done.returncode in {0, 1}, done.stderr
        assert done.stdout, done.stderr
        page = (repository / "bench" / "RESULTS.md").read_text(encoding="utf-8")
        chart = (repository / "bench" / "chart.svg").read_text(encoding="utf-8")
    measured = {work["work"]: work["contenders"] for work in json.loads(done.stdout)["works"]}
    assert {"cold", "edit-prod", "edit-verdict", "size", "first-answer", "requests"} <= set(measured)
    for contenders in measured.values():
        assert set(contenders) - {FLOOR} == set(CONTENDERS)
        assert all(len(figures["samples"]) == 1 and figures["median"] > 0 for figures in contenders.values())
    targets = {target.work for target in TARGETS if full_length or not target.work.rpartition("-")[2].isdecimal()}
    assert targets <= {work for work, contenders in measured.items() if FLOOR in contenders}
    assert "| requests a second" in page
    assert not (full_length and "not measured" in page)
    assert "</svg>" in chart
    assert not docker("image", "ls", "--quiet", f"--filter=reference={COPY}-bench-*").stdout
    assert not docker("container", "ls", "--all", "--quiet", f"--filter=name=^{COPY}-bench-").stdout
