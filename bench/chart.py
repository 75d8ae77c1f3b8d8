"""Draw the results as SVG, with text as text. The same results give the same bytes."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from bench.figures import ARTICLE, CONTENDERS, PRODLOCK, RATE, SIZES, UV, Samples, ratio

# Okabe and Ito's palette, which colour-blind readers can distinguish; the marks differ as well.
_COLORS = {PRODLOCK: "#0072B2", UV: "#D55E00", ARTICLE: "#5a5a5a"}
_WORKS = (
    "cold",
    "edit-prod",
    "edit-verdict",
    "save-verdict",
    "dependency",
    "noop",
    "size",
    "size-compressed",
    "first-answer",
    "requests",
    "requests-httptools",
)
_GROWTH = {"edit-verdict": "Edit to test verdict, seconds", "cold": "Cold build, seconds"}

_WIDTH, _ROW, _TOP = 860, 32, 70
# The logarithmic axis of ratios.
_TICKS = (0.05, 0.1, 0.2, 0.5, 1, 2)
_LEFT, _RIGHT = 270, 830
# The panels of growth.
_PANEL_WIDTH, _PANEL_HEIGHT, _PANELS = 350, 170, (60, 480)

Medians = dict[str, dict[str, float]]


def draw(results: Mapping[str, Any]) -> str:
    """Return the chart of a results document."""
    medians: Medians = {
        work["work"]: {name: taken["median"] for name, taken in work["contenders"].items()} for work in results["works"]
    }
    samples = {
        work["work"]: {name: taken["samples"] for name, taken in work["contenders"].items()}
        for work in results["works"]
    }
    labels = {work["work"]: work["title"] for work in results["works"]}
    rates = {work["work"] for work in results["works"] if work["unit"] == RATE}
    rows = [work for work in _WORKS if ARTICLE in medians.get(work, {})]
    below = _TOP + _ROW * len(rows)
    lines = [
        *_ratios(samples, rows, labels, rates),
        *(
            line
            for left, (work, title) in zip(_PANELS, _GROWTH.items(), strict=True)
            for line in _growth(medians, work, title, left, below + 90)
        ),
    ]
    height = below + 90 + _PANEL_HEIGHT + 50
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" '
        'font-family="sans-serif" font-size="12">'
    )
    # White below everything: a page may be dark.
    return "\n".join([head, f'<rect width="{_WIDTH}" height="{height}" fill="white"/>', *lines, "</svg>", ""])


def _ratios(samples: Samples, rows: Sequence[str], labels: Mapping[str, str], rates: set[str]) -> Iterator[str]:
    """Yield the panel of each work as a multiple of the article's. Rates are inverted: left is better everywhere."""
    span = math.log(_TICKS[-1] / _TICKS[0])
    below = _TOP + _ROW * len(rows)

    def across(value: float) -> float:
        return _LEFT + (_RIGHT - _LEFT) * math.log(min(max(value, _TICKS[0]), _TICKS[-1]) / _TICKS[0]) / span

    yield _text(10, 20, "As a multiple of the article's Dockerfile (left is better, logarithmic)", size=14)
    for number, name in enumerate((PRODLOCK, UV, ARTICLE)):
        yield _mark(name, 20 + 90 * number, 41)
        yield _text(30 + 90 * number, 45, name, color=_COLORS[name])
    for tick in _TICKS:
        color = _COLORS[ARTICLE] if tick == 1 else "#dddddd"
        yield _line([(across(tick), _TOP - 10), (across(tick), below)], color)
        yield _text(across(tick), below + 16, f"{tick:g}", anchor="middle")
    for number, work in enumerate(rows):
        y = _TOP + _ROW * number + 12
        yield _text(_LEFT - 12, y + 4, f"{labels[work]}{', inverse' if work in rates else ''}", anchor="end")
        for name, offset in ((PRODLOCK, -7), (UV, 16)):
            if found := ratio(samples, work, name, ARTICLE):
                value = 1 / found if work in rates else found
                yield _mark(name, across(value), y)
                yield _text(across(value), y + offset, f"{value:.2f}", anchor="middle", color=_COLORS[name], size=10)


def _growth(medians: Medians, work: str, title: str, left: int, top: int) -> Iterator[str]:
    """Yield the panel of a work with more and more locked packages."""
    sizes = [size for size in SIZES if f"{work}-{size}" in medians]
    found = {size: medians[f"{work}-{size}"] for size in sizes}
    if not sizes:
        return
    step = _step(max(values[name] for values in found.values() for name in CONTENDERS if name in values))
    last = step * 5

    def place(size: float, value: float) -> tuple[float, float]:
        return left + _PANEL_WIDTH * size / sizes[-1], top + _PANEL_HEIGHT * (1 - value / last)

    yield _text(left - 30, top - 16, title, size=14)
    for number in range(6):
        value = step * number
        yield _line([place(0, value), place(sizes[-1], value)], "#dddddd")
        yield _text(left - 6, place(0, value)[1] + 4, f"{value:g}", anchor="end")
    for size in sizes:
        yield _text(place(size, 0)[0], top + _PANEL_HEIGHT + 16, str(size), anchor="middle")
    yield _text(left + _PANEL_WIDTH / 2, top + _PANEL_HEIGHT + 34, "locked packages in the main group", anchor="middle")
    for name in CONTENDERS:
        points = [place(size, values[name]) for size, values in found.items() if name in values]
        yield _line(points, _COLORS[name])
        yield from (_mark(name, *point) for point in points)


def _step(highest: float) -> float:
    """Return the distance of five ticks that reach `highest`: 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(highest / 5))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power * 5 >= highest)


def _mark(name: str, x: float, y: float) -> str:
    shapes: dict[str, Callable[[], str]] = {
        PRODLOCK: lambda: f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5"',
        UV: lambda: f'<rect x="{x - 4:.1f}" y="{y - 4:.1f}" width="8" height="8"',
        ARTICLE: lambda: f'<path d="M{x:.1f} {y - 5:.1f}l5 9h-10z"',
    }
    return f'{shapes[name]()} fill="{_COLORS[name]}"/>'


def _line(points: Sequence[tuple[float, float]], color: str) -> str:
    joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{joined}" fill="none" stroke="{color}" stroke-width="1.5"/>'


def _text(  # noqa: PLR0913 - attributes of one element
    x: float, y: float, text: str, *, anchor: str = "start", color: str = "#222222", size: int = 12
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{color}" font-size="{size}">'
        f"{html.escape(text, quote=False)}</text>"
    )
