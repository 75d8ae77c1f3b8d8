"""Draw results: `python chart.py results.json` in the bench image, an SVG on standard output.

The same results give the same bytes.
"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl  # type: ignore[import-not-found]
from matplotlib.figure import Figure  # type: ignore[import-not-found]

# Okabe and Ito's palette, which colour-blind readers can tell apart; the markers differ as well.
_LOOKS = {
    "prodlock": {"color": "#0072B2", "marker": "o"},
    "uv": {"color": "#D55E00", "marker": "s"},
    "article": {"color": "#5a5a5a", "marker": "|"},
}
_ROWS = (
    "cold",
    "edit-prod",
    "edit-verdict",
    "dependency",
    "noop",
    "size",
    "size-compressed",
    "first-answer",
    "requests",
)
# More is better here, so the inverse is drawn: to the left is better everywhere.
_INVERTED = {"requests": "time a request takes under load"}
_GROWTH = {"edit-verdict": "Edit to test verdict, seconds", "cold": "Cold build, seconds"}

Medians = dict[str, dict[str, float]]


def medians(results: dict[str, Any]) -> Medians:
    """Return the median of each work and contender."""
    return {
        work["work"]: {name: taken["median"] for name, taken in work["contenders"].items()} for work in results["works"]
    }


def ratios(axes: Any, found: Medians, titles: dict[str, str]) -> None:  # noqa: ANN401
    """Draw what each work takes, as a multiple of what the article's takes."""
    rows = [work for work in _ROWS if "article" in found.get(work, {})]
    for row, work in enumerate(rows):
        values = found[work]
        for name in ("prodlock", "uv"):
            if name in values:
                ratio = values[name] / values["article"]
                ratio = 1 / ratio if work in _INVERTED else ratio
                axes.plot(ratio, row, linestyle="", markersize=8, label=name if row == 0 else None, **_LOOKS[name])
                above = -0.22 if name == "prodlock" else 0.42
                axes.annotate(
                    f"{ratio:.2f}", (ratio, row + above), ha="center", fontsize=8, color=_LOOKS[name]["color"]
                )
    axes.axvline(1, color=_LOOKS["article"]["color"], linewidth=1.5, label="article")
    axes.set_xscale("log")
    ticks = (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2)
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlim(left=0.02)
    axes.set_yticks(range(len(rows)), [_INVERTED.get(work, titles[work]) for work in rows])
    axes.set_ylim(len(rows) - 0.3, -0.7)
    axes.set_title("As a multiple of the article's Dockerfile (left is better, logarithmic)", loc="left", fontsize=11)
    axes.grid(axis="x", color="#dddddd")


def growth(axes: Any, found: Medians, work: str, title: str) -> None:  # noqa: ANN401
    """Draw what a work takes with more and more locked packages."""
    sizes = sorted(int(key.rpartition("-")[2]) for key in found if key.startswith(work + "-") and key[-1].isdigit())
    for name, look in _LOOKS.items():
        points = [(size, found[f"{work}-{size}"][name]) for size in sizes if name in found[f"{work}-{size}"]]
        axes.plot(
            [size for size, _ in points],
            [value for _, value in points],
            label=name,
            **look | {"marker": look["marker"].replace("|", "^")},
        )
    axes.set_xticks(sizes)
    axes.set_xlabel("locked packages in the main group")
    axes.set_ylim(bottom=0)
    axes.set_title(title, loc="left", fontsize=11)
    axes.grid(axis="y", color="#dddddd")


def draw(results: dict[str, Any]) -> str:
    """Return the SVG."""
    mpl.rcParams.update({"svg.hashsalt": "prodlock", "svg.fonttype": "path", "font.size": 9})
    found = medians(results)
    titles = {work["work"]: work["title"] for work in results["works"]}
    # White below everything: a page may be dark.
    figure = Figure(figsize=(9, 8.5), facecolor="white", layout="constrained")
    places = figure.subplot_mosaic([["ratios", "ratios"], [*_GROWTH]], height_ratios=[4, 3])
    upper, *lower = places.values()
    ratios(upper, found, titles)
    upper.legend(loc="upper left", fontsize=9)
    for axes, (work, title) in zip(lower, _GROWTH.items(), strict=True):
        growth(axes, found, work, title)
    lower[0].legend(fontsize=9)
    for axes in (upper, *lower):
        axes.spines[["top", "right"]].set_visible(False)
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None})
    return out.getvalue()


if __name__ == "__main__":
    sys.stdout.write(draw(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))
