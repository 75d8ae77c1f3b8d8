"""Judge samples: pure functions from seconds, bytes and rates to medians, ratios, targets and their table."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

PRODLOCK, ARTICLE, UV = CONTENDERS = ("prodlock", "article", "uv")
# Measured beside the contenders for each figure that has a target, see `Target`.
FLOOR = "floor"

# Locked packages in the main group.
SIZES = (20, 100, 200)
RATE = "1/s"


@dataclass(frozen=True)
class Work:
    """A figure that is measured: its key in the results, its title in tables, and its unit (s, MB, ms, 1/s)."""

    key: str
    title: str
    unit: str


WORKS = (
    Work("cold", "cold build of prod and dev", "s"),
    Work("noop", "build with nothing to do", "s"),
    Work("edit-prod", "edit to new prod image", "s"),
    Work("edit-verdict", "edit to test verdict", "s"),
    Work("save-verdict", "save to verdict of the affected tests", "s"),
    Work("save-answer", "save to new answer", "s"),
    Work("dependency", "build with one more dependency", "s"),
    Work("size", "prod image", "MB"),
    Work("size-compressed", "prod image, compressed", "MB"),
    Work("first-answer", "start to first answer", "s"),
    Work("requests", "requests a second, one core", RATE),
    Work("requests-httptools", "the same with httptools in all", RATE),
    Work("p99", "99th percentile of latency", "ms"),
    *(
        Work(f"{key}-{size}", f"{title}, {size} packages", unit)
        for key, title, unit in (
            ("cold", "cold build", "s"),
            ("edit-prod", "edit to new prod image", "s"),
            ("edit-verdict", "edit to test verdict", "s"),
            ("size", "prod image", "MB"),
        )
        for size in SIZES
    ),
)

# The measured values of each work (by key) and contender, in the unit of the work.
Samples = Mapping[str, Mapping[str, Sequence[float]]]


@dataclass(frozen=True)
class Target:
    """A limit for the ratio of two contenders in one work: this project's and another's.

    Each work with a target has a floor as well: the least that the same work takes on this machine. It shows how much
    of a missed target can be gained at all. For rates, where more is better, it is the most that can be reached.
    """

    work: str
    limit: float
    against: str = ARTICLE
    at_least: bool = False

    def text(self) -> str:
        """Return the target as the table shows it."""
        return f"{'≥' if self.at_least else '≤'} {self.limit:.2f} of {self.against}"


TARGETS = (
    Target("edit-verdict", 0.30),
    Target("save-verdict", 0.10),
    Target("save-answer", 0.30),
    Target("cold", 0.45),
    Target("cold-200", 0.72),
    Target("cold-200", 1.1, UV),
    Target("edit-prod", 0.12),
    Target("edit-prod", 1.4, UV),
    Target("noop", 1.1, FLOOR),
    Target("size", 0.29),
    Target("requests", 1.7, at_least=True),
    Target("first-answer", 0.65),
)


@dataclass(frozen=True)
class Verdict:
    """A judged target. `ratio` and the floor's own ratio are None where they were not measured."""

    target: Target
    ratio: float | None
    floor: float | None

    @property
    def met(self) -> bool:
        """Whether the target was measured and reached."""
        if self.ratio is None:
            return False
        return self.ratio >= self.target.limit if self.target.at_least else self.ratio <= self.target.limit


def ratio(samples: Samples, work: str, name: str, base: str) -> float | None:
    """Return the median of the rounds' own ratios of two contenders, or None where one of them was not measured.

    What slows the machine in one round slows both of them.
    """
    values, base_values = (samples.get(work, {}).get(one) for one in (name, base))
    if not values or not base_values:
        return None
    return median(value / base_value for value, base_value in zip(values, base_values, strict=True))


def verdict(samples: Samples, target: Target) -> Verdict:
    """Judge a target."""
    own, floor = (ratio(samples, target.work, name, target.against) for name in (PRODLOCK, FLOOR))
    return Verdict(target, own, floor)


def verdicts(samples: Samples) -> list[Verdict]:
    """Judge all targets."""
    return [verdict(samples, target) for target in TARGETS]


def document(samples: Samples, machine: Mapping[str, Any], rounds: int, notes: Sequence[str]) -> dict[str, Any]:
    """Return the results for JSON: the machine, each sample, medians and verdicts."""
    return {
        "machine": dict(machine),
        "rounds": rounds,
        "works": [
            {
                "work": work.key,
                "title": work.title,
                "unit": work.unit,
                "contenders": {
                    name: {
                        "samples": [round(value, 4) for value in values],
                        "median": round(median(values), 4),
                        "min": round(min(values), 4),
                        "max": round(max(values), 4),
                    }
                    for name, values in samples[work.key].items()
                },
            }
            for work in WORKS
            if samples.get(work.key)
        ],
        "targets": [
            {
                "work": judged.target.work,
                "target": judged.target.text(),
                "ratio": None if judged.ratio is None else round(judged.ratio, 4),
                "floor": None if judged.floor is None else round(judged.floor, 4),
                "met": judged.met,
            }
            for judged in verdicts(samples)
        ],
        "notes": list(notes),
    }


def amount(value: float) -> str:
    """Return a number with three significant digits."""
    before_the_point = len(str(int(value)))
    return f"{value:,.{max(0, 3 - before_the_point)}f}"


def spread(values: Sequence[float]) -> str:
    """Return the median of samples and, where they differ, their range: `3.10 (2.90-4.00)`."""
    low, middle, high = amount(min(values)), amount(median(values)), amount(max(values))
    return middle if low == high else f"{middle} ({low}-{high})"


def table(samples: Samples) -> str:
    """Return the results as a Markdown table: a row for each work that was measured."""
    judged = verdicts(samples)
    columns = (*CONTENDERS, FLOOR)
    rows = [
        ["", *columns, f"to {ARTICLE}", f"to {UV}", "target"],
        ["---", *["---:"] * (len(columns) + 2), "---"],
    ]
    for work in WORKS:
        measured = samples.get(work.key)
        if not measured:
            continue
        ratios = [ratio(samples, work.key, PRODLOCK, other) for other in (ARTICLE, UV)]
        rows.append(
            [
                f"{work.title}, {work.unit}",
                *(spread(measured[name]) if measured.get(name) else "" for name in columns),
                *("" if value is None else f"{value:.2f}" for value in ratios),
                "; ".join(sentence(one) for one in judged if one.target.work == work.key),
            ]
        )
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def sentence(judged: Verdict) -> str:
    """Return a verdict as the table shows it, with the floor where the target is missed."""
    if judged.ratio is None:
        return f"{judged.target.text()}: not measured"
    if judged.met:
        return f"{judged.target.text()}: met ({judged.ratio:.3f})"
    floor = "not measured" if judged.floor is None else f"{judged.floor:.3f}"
    return f"{judged.target.text()}: missed ({judged.ratio:.3f}, floor {floor})"


def page(results: Mapping[str, Any], shown: str) -> str:
    """Return RESULTS.md: the table `shown` with the machine and the notes on the method."""
    machine = ", ".join(f"{name} {value}" for name, value in results["machine"].items())
    rounds = f"{results['rounds']} interleaved rounds" if results["rounds"] > 1 else "one round"
    notes = "".join(f"- {note}\n" for note in results["notes"])
    return (
        "# Results of `inv bench`\n\n"
        f"Medians (smallest-largest) of {rounds}; {machine}.\n\n"
        f"![Ratios to the article's Dockerfile](chart.svg)\n\n{shown}\n{notes}"
    )


_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}


def wrk(printed: str) -> tuple[float, float]:
    """Return requests a second and the 99th percentile of latency in milliseconds from the output of wrk.

    Raises ValueError where one of them is missing, or where a request failed.
    """
    failed = re.search(r"Non-2xx or 3xx responses: .*|Socket errors: .*", printed)
    rate = re.search(r"^Requests/sec:\s+([\d.]+)", printed, re.MULTILINE)
    latency = re.search(r"^\s+99%\s+([\d.]+)(us|ms|s|m)$", printed, re.MULTILINE)
    if failed or not rate or not latency:
        raise ValueError(failed[0] if failed else printed.strip() or "nothing")
    return float(rate[1]), float(latency[1]) * _SECONDS[latency[2]] * 1000


def fresh(dockerfile: str, unique: str) -> str:
    """Return a Dockerfile without any cached step: `unique` is part of each, and its cache mounts are new and empty.

    Mounts that shared a cache, by their target, still share one.
    """

    def renamed(mount: re.Match[str]) -> str:
        options = [option for option in mount[1].split(",") if not option.startswith("id=")]
        target = next(option for option in options if option.startswith(("target=", "dst=", "destination=")))
        return f"--mount={','.join(options)},id={unique}{re.sub(r'[^a-z0-9]+', '-', target.partition('=')[2])}"

    # BuildKit ignores a cache mount's id when it looks for a step's result, but not the environment.
    without = re.sub(r"^ARG BENCH=.*\n", "", dockerfile, flags=re.MULTILINE)
    staged = re.sub(r"^FROM .*\n", rf"\g<0>ARG BENCH={unique}\n", without, flags=re.MULTILINE)
    return re.sub(r"--mount=(\S*\btype=cache\b\S*)", renamed, staged)
