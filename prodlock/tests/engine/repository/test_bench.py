"""`inv bench`, of one round: the figures of a busy machine say little, that there are figures says that it works."""

from __future__ import annotations

import json
import subprocess
import sys

from bench.contenders import PREFIX
from bench.figures import CONTENDERS, PRODLOCK
from prodlock.tests.engine.conftest import REPOSITORY, copied, docker, inv_command

# One round without the locks of 20, 100 and 200 packages, which take most of the time.
SMALL = "import sys; from bench import contenders, run; contenders.SIZES = (); sys.exit(run.run('1', as_json=True))"


def test_a_round_measures_everybody(full_length: bool) -> None:  # noqa: FBT001
    """Each figure of each contender, whose tests all pass. What is printed is what is written, and nothing is left."""
    with copied(REPOSITORY) as copy:
        command = inv_command("bench", "--rounds", "1", "--json") if full_length else [sys.executable, "-c", SMALL]
        done = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
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
