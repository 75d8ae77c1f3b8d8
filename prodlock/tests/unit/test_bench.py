"""What `inv bench` makes of its samples, and of the files that the contenders are built from."""

from __future__ import annotations

import json
import sys
import tomllib
from pathlib import Path

import pytest

from bench import contenders, figures
from bench.figures import Target
from prodlock.failure import Failure
from prodlock.tests.unit.test_structure import imported

SAMPLES = {
    "edit-prod": {"prodlock": [1.0, 9.0, 2.0], "article": [20.0, 30.0, 40.0], "uv": [4.0]},
    "requests": {"prodlock": [3000.0], "article": [2000.0]},
    "noop": {"prodlock": [0.6]},
    "noop-compose": {"prodlock": [0.3]},
}
WRK = """\
Running 8s test @ http://127.0.0.1:8000/
  1 threads and 50 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency    16.04ms    1.99ms  41.47ms   91.30%
    Req/Sec     3.13k   261.22     3.46k    86.25%
  Latency Distribution
     50%   15.59ms
     75%   16.24ms
     90%   17.70ms
     99%   24.11ms
  24930 requests in 8.00s, 5.14MB read
Requests/sec:   3115.04
Transfer/sec:    657.05KB
"""
PYPROJECT = """
[project]
name = "x"
dependencies = [
    "httptools>=0.9",
    "uvicorn>=0.54",
]

[dependency-groups]
dev = [
    "pytest>=9",
]
"""
LOCK = """
[[package]]
name = "a"
version = "1.0"
groups = ["main", "dev"]

[[package]]
name = "b"
version = "2.0"
groups = ["main"]
markers = 'python_version < "3.12"'

[[package]]
name = "b"
version = "3.0"
groups = ["main"]
markers = 'python_version >= "3.12"'

[[package]]
name = "c"
version = "4.0"
groups = ["dev"]
markers = {dev = "os_name == 'nt'"}
"""


def test_a_ratio_is_one_of_medians() -> None:
    """A single slow round changes neither side."""
    assert figures.ratio(SAMPLES, "edit-prod", "prodlock", "edit-prod", "article") == pytest.approx(2 / 30)


@pytest.mark.parametrize(("work", "other"), [("requests", "uv"), ("nothing", "article")])
def test_what_was_not_measured_has_no_ratio(work: str, other: str) -> None:
    """Neither a work that no round reached nor a contender that was left out."""
    assert figures.ratio(SAMPLES, work, "prodlock", work, other) is None


@pytest.mark.parametrize(("limit", "met"), [(0.07, True), (0.06, False)])
def test_a_target_at_most_its_limit_is_met(limit: float, met: bool) -> None:  # noqa: FBT001
    """Two seconds of thirty are a fifteenth."""
    assert figures.verdict(SAMPLES, Target("edit-prod", limit)).met is met


@pytest.mark.parametrize(("limit", "met"), [(1.5, True), (1.6, False)])
def test_a_target_at_least_its_limit_is_met(limit: float, met: bool) -> None:  # noqa: FBT001
    """Of requests a second more are better; the limit itself will do."""
    assert figures.verdict(SAMPLES, Target("requests", limit, at_least=True)).met is met


def test_a_target_against_uv_takes_uvs_median() -> None:
    """Not the article's."""
    assert figures.verdict(SAMPLES, Target("edit-prod", 0.5, "uv")).ratio == 0.5


def test_a_target_against_its_own_other_work_takes_that() -> None:
    """As `inv build` beside bare Compose."""
    assert figures.verdict(SAMPLES, Target("noop", 1.5, own_work="noop-compose")).ratio == 2.0


def test_a_target_that_was_not_measured_is_missed() -> None:
    """A bench that measured nothing promises nothing."""
    assert not figures.verdict(SAMPLES, Target("cold", 0.35)).met
    assert "not measured" in figures.sentence(figures.verdict(SAMPLES, Target("cold", 0.35)))


def test_every_target_names_works_that_are_measured() -> None:
    """A misspelt key would never be met, or never be shown."""
    known = {work.key for work in figures.WORKS}
    assert {target.work for target in figures.TARGETS} <= known
    assert {target.own_work for target in figures.TARGETS} - {""} <= known
    assert {target.against for target in figures.TARGETS} <= set(figures.CONTENDERS)


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([2.5], "2.50"),
        ([3.0, 1.25, 9.0], "3.00 (1.25-9.00)"),
        ([10.04, 10.01], "10.0"),
        ([1234.5, 99.96], "667 (100.0-1,234)"),
    ],
)
def test_a_spread_is_the_median_and_the_range(values: list[float], shown: str) -> None:
    """In three digits, and without a range that they would not show."""
    assert figures.spread(values) == shown


def test_the_table_has_a_row_for_each_measured_work() -> None:
    """With both ratios, the target and its verdict; what was not measured stays empty."""
    lines = figures.table(SAMPLES).splitlines()
    assert len(lines) == 2 + len(SAMPLES)
    assert len({line.count("|") for line in lines}) == 1
    row = next(line for line in lines if line.startswith("| edit to new prod image, s |"))
    assert "| 2.00 (1.00-9.00) | 30.0 (20.0-40.0) | 4.00 | 0.07 | 0.50 | ≤ 0.10 of article: met (0.067) |" in row
    assert "≥ 1.60 of article: missed (1.500)" in next(line for line in lines if line.startswith("| requests"))


def test_the_document_holds_every_sample() -> None:
    """So that somebody else can judge them otherwise; it is JSON."""
    document = figures.document(SAMPLES, {"cores": "2"}, 3, ["a note"])
    assert json.loads(json.dumps(document)) == document
    assert {work["work"] for work in document["works"]} == SAMPLES.keys()
    taken = next(work for work in document["works"] if work["work"] == "edit-prod")["contenders"]["prodlock"]
    assert taken == {"samples": [1.0, 9.0, 2.0], "median": 2.0, "min": 1.0, "max": 9.0}
    assert len(document["targets"]) == len(figures.TARGETS)
    assert document["machine"] == {"cores": "2"}


def test_the_report_says_where_and_how_often() -> None:
    """A figure without its machine says nothing."""
    document = figures.document(SAMPLES, {"cores": "2", "Engine": "26.1"}, 3, ["a note"])
    report = figures.report(document, figures.table(SAMPLES))
    assert "of 3 interleaved rounds; cores 2, Engine 26.1." in report
    assert figures.table(SAMPLES) in report
    assert "- a note\n" in report


def test_wrks_report_is_read() -> None:
    """Requests a second, and the 99th percentile in milliseconds."""
    assert figures.wrk(WRK) == (3115.04, 24.11)


@pytest.mark.parametrize(("said", "milliseconds"), [("950.00us", 0.95), ("1.20s", 1200.0), ("1.00m", 60000.0)])
def test_wrks_units_are_understood(said: str, milliseconds: float) -> None:
    """Whatever fits: microseconds to minutes."""
    assert figures.wrk(WRK.replace("24.11ms", said))[1] == pytest.approx(milliseconds)


@pytest.mark.parametrize(
    "trouble", ["  Non-2xx or 3xx responses: 3\n", "  Socket errors: connect 0, read 7, write 0, timeout 0\n"]
)
def test_a_failed_request_spoils_the_load(trouble: str) -> None:
    """Fast errors are no throughput."""
    with pytest.raises(ValueError, match=trouble.strip()):
        figures.wrk(WRK.replace("Requests/sec", trouble + "Requests/sec"))


def test_a_load_without_figures_is_none() -> None:
    """As when wrk could not connect."""
    with pytest.raises(ValueError, match="unable to connect"):
        figures.wrk("unable to connect to 127.0.0.1:8000 Connection refused\n")


def test_cache_mounts_become_new_ones() -> None:
    """Each gets an id; all else of the Dockerfile stays, and mounts of one target still share."""
    before = (
        "RUN --mount=type=cache,target=/root/.cache/uv \\\n    --mount=type=secret,id=x \\\n    make\n"
        "RUN --mount=type=cache,sharing=locked,target=/var/cache make\nRUN --mount=type=cache,target=/root/.cache/uv\n"
    )
    assert figures.fresh(before, "77") == (
        "RUN --mount=type=cache,id=77-root-cache-uv,target=/root/.cache/uv \\\n"
        "    --mount=type=secret,id=x \\\n    make\n"
        "RUN --mount=type=cache,id=77-var-cache,sharing=locked,target=/var/cache make\n"
        "RUN --mount=type=cache,id=77-root-cache-uv,target=/root/.cache/uv\n"
    )


def test_cache_mounts_become_new_ones_again() -> None:
    """In the next round, whose id takes the place of the last one's."""
    dockerfile = "FROM base\nRUN --mount=type=cache,target=/root/.cache make\n"
    once = figures.fresh(dockerfile, "77")
    assert figures.fresh(once, "78") == figures.fresh(dockerfile, "78") != once


def test_each_stage_becomes_a_new_one() -> None:
    """Otherwise BuildKit would find, of the locks that every bench builds, what an earlier bench has built."""
    before = "ARG BASE=x\nFROM ${BASE} AS one\nRUN make\n\nFROM one\n"
    assert figures.fresh(before, "77") == (
        "ARG BASE=x\nFROM ${BASE} AS one\nARG BENCH=77\nRUN make\n\nFROM one\nARG BENCH=77\n"
    )


def test_dependencies_are_added() -> None:
    """In front of those that are there."""
    project = tomllib.loads(contenders.depending(PYPROJECT, ["a", "b"]))["project"]
    assert project["dependencies"] == ["a", "b", "httptools>=0.9", "uvicorn>=0.54"]


def test_a_pyproject_that_cannot_be_added_to_is_refused() -> None:
    """One sentence instead of figures of something else."""
    with pytest.raises(Failure, match="a list, a line each"):
        contenders.depending("[project]\ndependencies = []\n", ["a"])


def test_what_only_the_tests_need_is_in_dev() -> None:
    """That one alone, whatever its version; the others stay where they are."""
    moved = tomllib.loads(contenders.for_tests_alone(PYPROJECT, "httptools"))
    assert moved["project"]["dependencies"] == ["uvicorn>=0.54"]
    assert moved["dependency-groups"]["dev"] == ["httptools>=0.9", "pytest>=9"]
    assert contenders.for_tests_alone(PYPROJECT, "http") == PYPROJECT


def test_uv_is_bound_to_the_locked_versions() -> None:
    """Also where a version is one platform's or one Python's."""
    assert tomllib.loads(contenders.constrained(PYPROJECT, LOCK))["tool"]["uv"]["constraint-dependencies"] == [
        "a==1.0",
        'b==2.0 ; python_version < "3.12"',
        'b==3.0 ; python_version >= "3.12"',
        "c==4.0 ; os_name == 'nt'",
    ]


def test_uv_is_bound_wherever_one_group_needs_a_version() -> None:
    """The lock has a marker for each group: what main needs on Windows, dev may need anywhere."""
    shared = '[[package]]\nname = "a"\nversion = "1"\ngroups = ["main", "dev"]\nmarkers = {0}\n'
    for markers, pin in (
        ("{main = \"os_name == 'nt'\"}", "a==1"),
        (
            "{main = \"os_name == 'nt'\", dev = \"python_version < '4'\"}",
            "a==1 ; os_name == 'nt' or python_version < '4'",
        ),
    ):
        bound = tomllib.loads(contenders.constrained(PYPROJECT, shared.format(markers)))
        assert bound["tool"]["uv"]["constraint-dependencies"] == [pin]


def test_the_packages_of_production_are_counted() -> None:
    """Those of the main group, also where dev has them as well."""
    assert contenders.main_packages(LOCK) == 3


def test_the_lock_grows_to_each_size() -> None:
    """By so many names as are missing; one variant has one more, which no other size has."""
    names = [f"p{number}" for number in range(190)]
    wanted = contenders.variants(names, 15)
    assert {variant: len(added) for variant, added in wanted.items()} == {
        "as-it-is": 0,
        "one-more": 1,
        "20": 5,
        "100": 85,
        "200": 185,
    }
    assert wanted["one-more"] == ["p189"]


def test_a_size_that_the_lock_can_not_have_is_left_out() -> None:
    """A service with 60 packages can't be shrunk to 20, nor one with 5 grown to 200 by 190."""
    assert set(contenders.variants(["a"] * 190, 60)) == {"as-it-is", "one-more", "100", "200"}
    assert set(contenders.variants(["a"] * 190, 5)) == {"as-it-is", "one-more", "20", "100"}


@pytest.mark.parametrize("module", ["__init__", "contenders", "figures", "run", "work"])
def test_the_bench_needs_only_the_standard_library_and_prodlock(module: str) -> None:
    """On the host, that is: the chart is drawn in an image, and what is served stands in others."""
    assert imported(Path(f"bench/{module}.py").read_text(encoding="utf-8")) <= sys.stdlib_module_names | {
        "bench",
        "prodlock",
    }


def test_the_figures_are_only_judged() -> None:
    """No file is read and no program started where ratios and verdicts are made."""
    known = {"__future__", "collections", "dataclasses", "re", "statistics", "typing"}
    assert imported(Path("bench/figures.py").read_text(encoding="utf-8")) <= known
