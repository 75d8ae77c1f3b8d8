"""`inv bench`: its figures, its chart, and the files that the contenders are built from."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from bench import chart, contenders, figures, verdicts
from bench.figures import Target
from prodlock.failure import Failure
from prodlock.tests.unit.test_structure import imported

SAMPLES = {
    "edit-prod": {"prodlock": [1.0, 9.0, 2.0], "article": [20.0, 30.0, 40.0], "uv": [2.0, 3.0, 4.0]},
    "requests": {"prodlock": [3000.0], "article": [2000.0]},
    "noop": {"prodlock": [0.6], "floor": [0.3]},
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


def test_a_ratio_is_the_median_of_the_rounds_own() -> None:
    """A round in which one of them is slow changes it little, and a round in which all are slow does not."""
    assert figures.ratio(SAMPLES, "edit-prod", "prodlock", "article") == pytest.approx(2 / 40)
    slow = {"cold": {"prodlock": [1.0, 2.0, 30.0], "article": [2.0, 4.0, 60.0]}}
    assert figures.ratio(slow, "cold", "prodlock", "article") == 0.5


@pytest.mark.parametrize(("work", "other"), [("requests", "uv"), ("nothing", "article")])
def test_an_unmeasured_work_or_contender_has_no_ratio(work: str, other: str) -> None:
    """The ratio is None where either is missing."""
    assert figures.ratio(SAMPLES, work, "prodlock", other) is None


@pytest.mark.parametrize(("limit", "met"), [(0.05, True), (0.04, False)])
def test_a_ratio_up_to_the_limit_meets_a_target(limit: float, met: bool) -> None:  # noqa: FBT001
    """Two seconds of forty are a twentieth."""
    assert figures.verdict(SAMPLES, Target("edit-prod", limit)).met is met


@pytest.mark.parametrize(("limit", "met"), [(1.5, True), (1.6, False)])
def test_a_ratio_from_the_limit_meets_a_target_of_a_rate(limit: float, met: bool) -> None:  # noqa: FBT001
    """More requests a second are better; the limit itself meets the target."""
    assert figures.verdict(SAMPLES, Target("requests", limit, at_least=True)).met is met


def test_a_target_against_uv_uses_the_samples_of_uv() -> None:
    """The article's are not used."""
    assert figures.verdict(SAMPLES, Target("edit-prod", 0.5, "uv")).ratio == 0.5


def test_a_target_against_the_floor_uses_the_samples_of_the_floor() -> None:
    """`inv build` is compared with `inv --version` and a bare build."""
    assert figures.verdict(SAMPLES, Target("noop", 1.5, "floor")).ratio == 2.0


def test_an_unmeasured_target_is_missed() -> None:
    """A bench that measured nothing meets no target."""
    assert not figures.verdict(SAMPLES, Target("cold", 0.35)).met
    assert "not measured" in figures.sentence(figures.verdict(SAMPLES, Target("cold", 0.35)))


def test_a_missed_target_is_shown_with_its_floor() -> None:
    """The floor is a ratio to the same samples as the result; a met target is shown without it."""
    samples = {"cold": {"prodlock": [6.0], "article": [10.0], "floor": [5.0]}}
    missed, met = (figures.sentence(figures.verdict(samples, Target("cold", limit))) for limit in (0.45, 0.6))
    assert missed == "≤ 0.45 of article: missed (0.600, floor 0.500)"
    assert met == "≤ 0.60 of article: met (0.600)"
    without_floor = figures.verdict({"cold": {"prodlock": [6.0], "article": [10.0]}}, Target("cold", 0.45))
    assert "floor not measured" in figures.sentence(without_floor)


def test_every_target_names_a_measured_work() -> None:
    """A misspelt key would never be met, or never be shown."""
    assert {target.work for target in figures.TARGETS} <= {work.key for work in figures.WORKS}
    assert {target.against for target in figures.TARGETS} <= {*figures.CONTENDERS, figures.FLOOR}


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
    """Numbers have three significant digits; a range that these do not show is left out."""
    assert figures.spread(values) == shown


def test_the_table_has_a_row_for_each_measured_work() -> None:
    """A row has both ratios, the floor, the targets and their verdicts; unmeasured cells are empty."""
    lines = figures.table(SAMPLES).splitlines()
    assert len(lines) == 2 + len(SAMPLES)
    assert len({line.count("|") for line in lines}) == 1
    row = next(line for line in lines if line.startswith("| edit to new prod image, s |"))
    assert "| 2.00 (1.00-9.00) | 30.0 (20.0-40.0) | 3.00 (2.00-4.00) |  | 0.05 | 0.50 | ≤ 0.12 of article: met " in row
    assert "≥ 1.70 of article: missed (1.500, floor " in next(line for line in lines if line.startswith("| requests"))
    assert "| 0.60 |  |  | 0.30 |" in next(line for line in lines if line.startswith("| build with nothing"))


def test_the_document_holds_every_sample() -> None:
    """The JSON document has the samples behind each median, so that readers can judge them by other rules."""
    document = figures.document(SAMPLES, {"cores": "2"}, 3, ["a note"])
    assert json.loads(json.dumps(document)) == document
    assert {work["work"] for work in document["works"]} == SAMPLES.keys()
    taken = next(work for work in document["works"] if work["work"] == "edit-prod")["contenders"]["prodlock"]
    assert taken == {"samples": [1.0, 9.0, 2.0], "median": 2.0, "min": 1.0, "max": 9.0}
    assert len(document["targets"]) == len(figures.TARGETS)
    assert document["machine"] == {"cores": "2"}


def test_the_page_names_the_machine_and_the_rounds() -> None:
    """Figures of different machines can't be compared."""
    document = figures.document(SAMPLES, {"cores": "2", "Engine": "26.1"}, 3, ["a note"])
    page = figures.page(document, figures.table(SAMPLES))
    assert "of 3 interleaved rounds; cores 2, Engine 26.1." in page
    assert figures.table(SAMPLES) in page
    assert "- a note\n" in page


def results() -> dict[str, object]:
    """Return results with every work, in which uv takes half and this project a quarter of the article's time."""
    taken = {"prodlock": [1.0], "uv": [2.0], "article": [4.0]}
    return figures.document({work.key: taken for work in figures.WORKS}, {}, 1, [])


def test_the_chart_is_svg_with_text_as_text() -> None:
    """Labels and ratios are text elements that a reader can search, in a file that can be reviewed."""
    drawn = chart.draw(results())
    texts = [element.text for element in ET.fromstring(drawn).iter("{http://www.w3.org/2000/svg}text")]  # noqa: S314
    assert {"edit to test verdict", "prodlock", "0.25", "0.50", "200"} <= set(texts)
    assert len(drawn.splitlines()) < 200


def test_the_chart_inverts_rates() -> None:
    """Left is better in every row: a quarter of the requests a second is four times the time a request takes."""
    rate = {"requests": {"prodlock": [8.0], "article": [2.0]}}
    drawn = chart.draw(figures.document(rate, {}, 1, []))
    assert ">0.25</text>" in drawn
    assert ">requests a second, one core, inverse</text>" in drawn


def test_the_same_results_give_the_same_chart() -> None:
    """The file changes only where figures change."""
    assert chart.draw(results()) == chart.draw(results())


@pytest.mark.parametrize(("highest", "step"), [(4.9, 1), (5, 1), (5.1, 2), (11, 5), (99, 20), (101, 50)])
def test_the_ticks_of_an_axis_reach_its_highest_value(highest: float, step: float) -> None:
    """Ticks are 1, 2 or 5 times a power of ten apart."""
    assert chart._step(highest) == step


def test_the_output_of_wrk_is_parsed() -> None:
    """It gives requests a second, and the 99th percentile in milliseconds."""
    assert figures.wrk(WRK) == (3115.04, 24.11)


@pytest.mark.parametrize(("printed", "milliseconds"), [("950.00us", 0.95), ("1.20s", 1200.0), ("1.00m", 60000.0)])
def test_the_units_of_wrk_are_converted(printed: str, milliseconds: float) -> None:
    """The output has microseconds, milliseconds, seconds or minutes."""
    assert figures.wrk(WRK.replace("24.11ms", printed))[1] == pytest.approx(milliseconds)


@pytest.mark.parametrize(
    "line", ["  Non-2xx or 3xx responses: 3\n", "  Socket errors: connect 0, read 7, write 0, timeout 0\n"]
)
def test_a_failed_request_is_an_error(line: str) -> None:
    """Quick error responses must not count as throughput."""
    with pytest.raises(ValueError, match=line.strip()):
        figures.wrk(WRK.replace("Requests/sec", line + "Requests/sec"))


def test_output_without_figures_is_an_error() -> None:
    """The error repeats the output of a wrk that could not connect."""
    with pytest.raises(ValueError, match="unable to connect"):
        figures.wrk("unable to connect to 127.0.0.1:8000 Connection refused\n")


def test_cache_mounts_are_renamed() -> None:
    """Each mount gets a new id, the same for the same target; the rest of the Dockerfile stays."""
    before = (
        "RUN --mount=type=cache,target=/root/.cache/uv \\\n    --mount=type=secret,id=x \\\n    make\n"
        "RUN --mount=type=cache,id=old,sharing=locked,target=/var/cache make\n"
        "RUN --mount=target=/root/.cache/uv,type=cache make\n"
    )
    assert figures.fresh(before, "77") == (
        "RUN --mount=type=cache,target=/root/.cache/uv,id=77-root-cache-uv \\\n"
        "    --mount=type=secret,id=x \\\n    make\n"
        "RUN --mount=type=cache,sharing=locked,target=/var/cache,id=77-var-cache make\n"
        "RUN --mount=target=/root/.cache/uv,type=cache,id=77-root-cache-uv make\n"
    )


def test_cache_mounts_are_renamed_again() -> None:
    """The id of the next round replaces that of the last one."""
    dockerfile = "FROM base\nRUN --mount=type=cache,target=/root/.cache make\n"
    once = figures.fresh(dockerfile, "77")
    assert figures.fresh(once, "78") == figures.fresh(dockerfile, "78") != once


def test_each_stage_is_new_to_the_build_cache() -> None:
    """Otherwise BuildKit would reuse the steps of an earlier bench, which built the same locks."""
    before = "ARG BASE=x\nFROM ${BASE} AS one\nRUN make\n\nFROM one\n"
    assert figures.fresh(before, "77") == (
        "ARG BASE=x\nFROM ${BASE} AS one\nARG BENCH=77\nRUN make\n\nFROM one\nARG BENCH=77\n"
    )


def test_dependencies_are_added() -> None:
    """They come before the present ones."""
    project = tomllib.loads(contenders.depending(PYPROJECT, ["a", "b"]))["project"]
    assert project["dependencies"] == ["a", "b", "httptools>=0.9", "uvicorn>=0.54"]


def test_dependencies_in_another_form_are_refused() -> None:
    """The message names the form that is required."""
    with pytest.raises(Failure, match="a list with one line each"):
        contenders.depending("[project]\ndependencies = []\n", ["a"])


def test_a_dependency_is_removed() -> None:
    """Only the named one is removed, whatever its version."""
    left = tomllib.loads(contenders.without(PYPROJECT, "httptools"))
    assert left["project"]["dependencies"] == ["uvicorn>=0.54"]
    assert left["dependency-groups"]["dev"] == ["pytest>=9"]
    assert contenders.without(PYPROJECT, "http") == PYPROJECT


def test_uv_is_constrained_to_the_locked_versions() -> None:
    """Markers are kept: a version may be for one platform or one Python."""
    assert tomllib.loads(contenders.constrained(PYPROJECT, LOCK))["tool"]["uv"]["constraint-dependencies"] == [
        "a==1.0",
        'b==2.0 ; python_version < "3.12"',
        'b==3.0 ; python_version >= "3.12"',
        "c==4.0 ; os_name == 'nt'",
    ]


def test_uv_is_constrained_wherever_one_group_needs_a_version() -> None:
    """The lock has a marker for each group: dev may need on every platform what main needs on Windows."""
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


def test_the_packages_of_the_main_group_are_counted() -> None:
    """Packages count also where dev needs them as well."""
    assert contenders.main_packages(LOCK) == 3


def test_the_lock_grows_to_each_size() -> None:
    """Each size adds the missing number of names; only one variant has the last name."""
    names = [f"p{number}" for number in range(190)]
    wanted = contenders.variants(names, 15)
    assert {variant: len(added) for variant, added in wanted.items()} == {
        "plain": 0,
        "same-parser": 0,
        "one-more": 1,
        "20": 5,
        "100": 85,
        "200": 185,
    }
    assert wanted["one-more"] == ["p189"]


def test_an_unreachable_size_is_left_out() -> None:
    """60 packages can't be reduced to 20, and 5 can't grow to 200 by 190 names."""
    assert set(contenders.variants(["a"] * 190, 60)) == {"plain", "same-parser", "one-more", "100", "200"}
    assert set(contenders.variants(["a"] * 190, 5)) == {"plain", "same-parser", "one-more", "20", "100"}


@pytest.mark.parametrize(
    "module", ["__init__", "chart", "contenders", "figures", "peers", "run", "saves", "verdicts", "verify", "work"]
)
def test_the_bench_needs_only_the_standard_library_and_prodlock(module: str) -> None:
    """The bench runs on the host, which has nothing else."""
    assert imported(Path(f"bench/{module}.py").read_text(encoding="utf-8")) <= sys.stdlib_module_names | {
        "bench",
        "prodlock",
    }


@pytest.mark.parametrize("module", ["chart", "figures"])
def test_figures_and_chart_are_pure(module: str) -> None:
    """They import nothing that reads files or starts programs."""
    known = {"__future__", "bench", "collections", "dataclasses", "html", "math", "re", "statistics", "typing"}
    assert imported(Path(f"bench/{module}.py").read_text(encoding="utf-8")) <= known


def test_a_failed_watch_is_reported_with_its_tests() -> None:
    """Its verdict alone does not state which test has failed."""
    printed = "print('FAILED tests/test_main.py::test_a'); print('FAILED all tests: 1 failed')"
    with subprocess.Popen([sys.executable, "-c", printed], stdout=subprocess.PIPE) as process:
        watch = verdicts.Running("inv test --watch", process)
        with pytest.raises(
            Failure, match=r"must print 'PASSED all tests' .*\nFAILED tests/test_main.py::test_a\nFAILED all"
        ):
            watch.until("PASSED all tests")
