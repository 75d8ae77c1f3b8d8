"""Judge seconds, bytes and rates: pure functions from samples to medians, ratios, targets and their table."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

PRODLOCK, ARTICLE, UV = CONTENDERS = ("prodlock", "article", "uv")

# Locked packages in the main group.
SIZES = (20, 100, 200)


@dataclass(frozen=True)
class Work:
    """What is measured: its key in the results, what a reader calls it, and its unit (s, MB, ms, 1/s)."""

    key: str
    title: str
    unit: str


WORKS = (
    Work("cold", "cold build of prod and dev", "s"),
    Work("noop", "build with nothing to do", "s"),
    Work("noop-compose", "the same by bare `docker compose build`", "s"),
    Work("edit-prod", "edit to new prod image", "s"),
    Work("edit-verdict", "edit to test verdict", "s"),
    Work("dependency", "build with one more dependency", "s"),
    Work("size", "prod image", "MB"),
    Work("size-compressed", "prod image, compressed", "MB"),
    Work("first-answer", "start to first answer", "s"),
    Work("requests", "requests a second, one core", "1/s"),
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
    """A promise: the ratio of two medians, this project's first, is at most (or at least) `limit`."""

    work: str
    limit: float
    # What this project's median is compared with: a contender's in the same work, or its own in another.
    against: str = ARTICLE
    own_work: str = ""
    at_least: bool = False

    def text(self) -> str:
        """Return the target as the table shows it."""
        against = f"own {self.own_work}" if self.own_work else self.against
        return f"{'≥' if self.at_least else '≤'} {self.limit:.2f} of {against}"


TARGETS = (
    Target("size", 0.29),
    Target("size", 0.5, UV),
    Target("edit-verdict", 0.30),
    Target("edit-prod", 0.10),
    Target("cold", 0.35),
    Target("noop", 1.5, own_work="noop-compose"),
    Target("first-answer", 0.65),
    Target("requests", 1.6, at_least=True),
    Target("edit-verdict-200", 1.1, own_work="edit-verdict-20"),
)


@dataclass(frozen=True)
class Verdict:
    """What became of a target; `ratio` is None where it was not measured."""

    target: Target
    ratio: float | None

    @property
    def met(self) -> bool:
        """Whether the target was measured and reached."""
        if self.ratio is None:
            return False
        return self.ratio >= self.target.limit if self.target.at_least else self.ratio <= self.target.limit


def ratio(samples: Samples, work: str, contender: str, base_work: str, base: str) -> float | None:
    """Return the ratio of two medians, or None where one of them was not measured."""
    values, base_values = (samples.get(key, {}).get(name) for key, name in ((work, contender), (base_work, base)))
    return median(values) / median(base_values) if values and base_values else None


def verdict(samples: Samples, target: Target) -> Verdict:
    """Return what became of a target."""
    if target.own_work:
        return Verdict(target, ratio(samples, target.work, PRODLOCK, target.own_work, PRODLOCK))
    return Verdict(target, ratio(samples, target.work, PRODLOCK, target.work, target.against))


def verdicts(samples: Samples) -> list[Verdict]:
    """Return the verdict on each target."""
    return [verdict(samples, target) for target in TARGETS]


def document(samples: Samples, machine: Mapping[str, Any], rounds: int, notes: Sequence[str]) -> dict[str, Any]:
    """Return all results as JSON has them: what was measured where, each sample, what is made of them."""
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
                "met": judged.met,
            }
            for judged in verdicts(samples)
        ],
        "notes": list(notes),
    }


def amount(value: float) -> str:
    """Return a number with the three digits that can mean something."""
    before_the_point = len(str(int(value)))
    return f"{value:,.{max(0, 3 - before_the_point)}f}"


def spread(values: Sequence[float]) -> str:
    """Return the median of samples and, where they differ, their range: `3.10 (2.90-4.00)`."""
    low, middle, high = amount(min(values)), amount(median(values)), amount(max(values))
    return middle if low == high else f"{middle} ({low}-{high})"


def table(samples: Samples) -> str:
    """Return the results as a Markdown table: a row for each work that was measured."""
    judged = verdicts(samples)
    rows = [
        ["", *CONTENDERS, f"to {ARTICLE}", f"to {UV}", "target"],
        ["---", *["---:"] * (len(CONTENDERS) + 2), "---"],
    ]
    for work in WORKS:
        measured = samples.get(work.key)
        if not measured:
            continue
        ratios = [ratio(samples, work.key, PRODLOCK, work.key, other) for other in (ARTICLE, UV)]
        rows.append(
            [
                f"{work.title}, {work.unit}",
                *(spread(measured[name]) if measured.get(name) else "" for name in CONTENDERS),
                *("" if value is None else f"{value:.2f}" for value in ratios),
                "; ".join(sentence(one) for one in judged if one.target.work == work.key),
            ]
        )
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def sentence(judged: Verdict) -> str:
    """Return a verdict as the table shows it."""
    if judged.ratio is None:
        return f"{judged.target.text()}: not measured"
    return f"{judged.target.text()}: {'met' if judged.met else 'missed'} ({judged.ratio:.3f})"


def report(results: Mapping[str, Any], shown: str) -> str:
    """Return RESULTS.md: the table `shown` with what a reader must know of the measurement."""
    machine = ", ".join(f"{name} {value}" for name, value in results["machine"].items())
    notes = "".join(f"- {note}\n" for note in results["notes"])
    return (
        "# Results of `inv bench`\n\n"
        f"Medians (smallest-largest) of {results['rounds']} interleaved rounds; {machine}.\n\n"
        f"![Ratios to the article's Dockerfile](chart.svg)\n\n{shown}\n{notes}"
    )


_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}


def wrk(said: str) -> tuple[float, float]:
    """Return requests a second and the 99th percentile of latency in milliseconds from what wrk printed.

    Raises ValueError where it does not say both, or where a request failed.
    """
    failed = re.search(r"Non-2xx or 3xx responses: .*|Socket errors: .*", said)
    rate = re.search(r"^Requests/sec:\s+([\d.]+)", said, re.MULTILINE)
    latency = re.search(r"^\s+99%\s+([\d.]+)(us|ms|s|m)$", said, re.MULTILINE)
    if failed or not rate or not latency:
        raise ValueError(failed[0] if failed else said.strip() or "nothing")
    return float(rate[1]), float(latency[1]) * _SECONDS[latency[2]] * 1000


def fresh(dockerfile: str, unique: str) -> str:
    """Return a Dockerfile of which no step has ever run: `unique` is in each, and its cache mounts are new and empty.

    Mounts that shared a cache, by their target, still share one.
    """

    def renamed(match: re.Match[str]) -> str:
        options = re.sub(r",id=[^,]+", "", match[1])
        target = re.search(r"target=([^,]+)", options)
        name = re.sub(r"\W+", "-", target[1]) if target else ""
        return f"--mount=type=cache,id={unique}{name}{options}"

    # A cache's id does not count where BuildKit looks for a step's result; what is in its environment does.
    without = re.sub(r"^ARG BENCH=.*\n", "", dockerfile, flags=re.MULTILINE)
    staged = re.sub(r"^FROM .*\n", rf"\g<0>ARG BENCH={unique}\n", without, flags=re.MULTILINE)
    return re.sub(r"--mount=type=cache(\S*)", renamed, staged)
