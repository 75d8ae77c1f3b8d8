"""The tables of `python -m bench.verify`, from results that are made by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import verify
from bench.peers import LOCKSTEP, PRODLOCK, SYFT
from bench.verify import NEW, Results
from prodlock.tests.verify.plants import PLANTS

FIRST, SECOND = (plant.name for plant in PLANTS[:2])
RESULTS = Results(
    {
        PRODLOCK: {"pip": [FIRST, SECOND], "uv": [FIRST]},
        SYFT: {"pip": [FIRST], "uv": []},
        LOCKSTEP: {"pip": [], "uv": []},
    },
    {"pip": [FIRST, SECOND], "uv": [FIRST]},
    {PRODLOCK: {"pip": 0, "uv": 0}, LOCKSTEP: {"pip": 1, "uv": 0}},
    {
        PRODLOCK: {"pip": [(1.0, 1.5, 1 << 20), (3.0, 2.0, 3 << 20), (1.2, 1.6, 2 << 20)]},
        NEW: {"pip": [(2.0, 2.5, 2 << 20), (3.0, 2.5, 3 << 20), (2.2, 3.0, 2 << 20)]},
        SYFT: {"pip": [(4.0, 5.0, 4 << 20), (6.0, 5.0, 4 << 20), (4.0, 6.0, 4 << 20)]},
        LOCKSTEP: {"pip": [(2.0, 1.0, 1 << 20)] * 3},
    },
    {"pip": (175_000_000, 7293)},
    {"pip": [(2.0, 2.2, 2.1), (4.0, 4.1, 4.0), (2.1, 2.2, 2.1)]},
)


def test_faults_are_counted_and_listed() -> None:
    """By image; and each fault, with the images that a tool finds it in where it does not find it in all."""
    lines = [*verify.faults(RESULTS)]
    assert lines[2:4] == ["| pip | 2 | 0 | 0 | 1 | 1 | - | 0 | 2 | 1 |", "| uv | 1 | 0 | 0 | 0 | 1 | - | 0 | 1 | 0 |"]
    assert lines[-2:] == [f"| {FIRST} | yes | pip | no |", f"| {SECOND} | yes | no | no |"]


def test_costs_are_medians_with_the_ratios_of_rounds() -> None:
    """Not the ratio of the medians."""
    lines = [*verify.costs(RESULTS)]
    title = "pip, 175 MB, 7,293 files"
    assert lines[2] == f"| {title} | prodlock | 1.20 (1.00-3.00) | 1.60 (1.50-2.00) | 2 | 0.30 | 0.30 | 0.50 |"
    assert (
        lines[3] == f"| {title} | prodlock, new layers | 2.20 (2.00-3.00) | 2.50 (2.50-3.00) | 2 | 0.50 | 0.50 | 0.50 |"
    )
    assert lines[4] == f"| {title} | syft | 4.00 (4.00-6.00) | 5.00 (5.00-6.00) | 4 | 1.00 | 1.00 | 1.00 |"


def test_reading_while_an_image_is_saved_is_compared_with_saving_it() -> None:
    """By the rounds' own ratios."""
    lines = [*verify.reading(RESULTS)]
    measured = "2.10 (2.00-4.00) | 2.20 (2.20-4.10) | 1.05 | 2.10 (2.10-4.00) | 1.00"
    assert lines[2] == f"| pip, 175 MB, 7,293 files | {measured} |"


def test_results_are_kept_and_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Faults and costs are measured one after the other, and the page has both."""
    bench = verify.Bench(tmp_path)
    bench.results = RESULTS
    bench.save()
    kept = verify.Bench(tmp_path).results
    assert kept.found == RESULTS.found
    monkeypatch.setattr(verify, "_TABLES", tmp_path / "VERIFY.md")
    verify.write(kept)
    page = (tmp_path / "VERIFY.md").read_text(encoding="utf-8")
    assert page.index("## Faults") < page.index("## Costs") < page.index("## From the Engine")
    verify.write(RESULTS._replace(samples={}, sizes={}, saves={}))
    page = (tmp_path / "VERIFY.md").read_text(encoding="utf-8")
    assert "## Costs" not in page
    assert "## From" not in page
