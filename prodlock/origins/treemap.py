"""Lay out areas as a squarified treemap (Bruls, Huizing, van Wijk: Squarified Treemaps, 2000)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Box(NamedTuple):
    """A rectangle."""

    x: float
    y: float
    width: float
    height: float

    def inside(self, edge: float, top: float = 0.0) -> Box:
        """Return the rectangle within an edge, with more space at the top; an area of nothing where it is too small."""
        width, height = max(0.0, self.width - 2 * edge), max(0.0, self.height - 2 * edge - top)
        return Box(self.x + edge, self.y + edge + top, width, height)


def squarify(sizes: Sequence[int], box: Box) -> list[Box]:
    """Return a rectangle for each size within a box, with areas in proportion to the sizes, as square as possible.

    The sizes must be positive and descending.
    """
    placed: list[Box] = []
    total = sum(sizes)
    while len(placed) < len(sizes):
        rest = sizes[len(placed) :]
        side = min(box.width, box.height)
        scale = box.width * box.height / total if total else 0.0
        row = 1
        while row < len(rest) and _worst(rest[: row + 1], side, scale) <= _worst(rest[:row], side, scale):
            row += 1
        strip, box = _strip(rest[:row], box, total)
        placed += strip
        total -= sum(rest[:row])
    return placed


def _worst(row: Sequence[int], side: float, scale: float) -> float:
    """Return the largest ratio of the sides of the rectangles in a row along a side."""
    area = sum(row) * scale
    if not area or not side:
        return 0.0
    return max(side**2 * row[0] * scale / area**2, area**2 / (side**2 * row[-1] * scale))


def _strip(row: Sequence[int], box: Box, total: int) -> tuple[list[Box], Box]:
    """Return the rectangles of a row along the shorter side of a box, and the rest of the box."""
    of_box, of_row, at, strip = sum(row) / total, sum(row), 0.0, []
    if box.width >= box.height:
        width = box.width * of_box
        for size in row:
            height = box.height * size / of_row
            strip.append(Box(box.x, box.y + at, width, height))
            at += height
        return strip, Box(box.x + width, box.y, box.width - width, box.height)
    height = box.height * of_box
    for size in row:
        width = box.width * size / of_row
        strip.append(Box(box.x + at, box.y, width, height))
        at += width
    return strip, Box(box.x, box.y + height, box.width, box.height - height)
