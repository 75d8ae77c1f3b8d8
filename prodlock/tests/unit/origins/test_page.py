"""The HTML page of `prodlock verify`: complete, escaped, without scripts."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from html.parser import HTMLParser
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from prodlock.failure import Failure
from prodlock.image.records import File
from prodlock.origins import summary
from prodlock.origins.page import FILLS, INK, page, write
from prodlock.origins.records import Attribution, Kind
from prodlock.origins.treemap import Box, squarify
from prodlock.tests.unit.origins.examples import (
    DEBIAN,
    UNEXPLAINED,
    finding,
    report,
)

VOID = {"br", "link", "meta"}
HOSTILE = '/code/"><script>alert(1)</script><img src=http://x/y>\x1b[2J\n\u202e\udcff'


class Parsed(HTMLParser):
    """The elements, attributes and texts of a page; whether each element is closed in its place."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.texts: list[str] = []
        self.feed(content)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        """Open an element."""
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        """Add an element without content."""
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        """Close the last element."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Add a text."""
        self.texts.append(data)


def test_the_page_has_everything() -> None:
    """Verdict, origins, picture with a table, findings with remedies, what is not proven, layers."""
    many = [finding(what=f"x{number}") for number in range(12)]
    files = [(File("/etc/x", 2, 300), UNEXPLAINED), (File("/usr/lib/libpq.so.5", 1, 7), DEBIAN)]
    found = report(*many, files=files, notes=("A note.",))
    parsed = Parsed(page(found))
    shown = " ".join(" ".join(parsed.texts).split())
    for expected in (
        "shop:latest", "sha256:f00", "python:3.13-slim", "uv.lock", found.verdict(), "A note.", "Not proven",
        "LS601 Distribution outside the lock: 12 findings", "To fix it: Remove it.", "2 more", "x11: ", "libpq5 17.5",
        "RUN rm /code/.env", "/etc", "locked wheels 15.3 %",
    ):  # fmt: skip
        assert expected in shown
    assert parsed.tags.count("svg") >= 2
    assert "s3cret" not in page(found)


def test_the_page_loads_nothing() -> None:
    """No script, no address; the policy forbids what a browser would load."""
    content = page(report(finding()))
    parsed = Parsed(content)
    assert not {"script", "img", "iframe", "object", "base", "form", "a"} & set(parsed.tags)
    assert [value for name, value in parsed.attributes if name in {"href", "src"}] == ["data:,"]
    assert not [name for name, _ in parsed.attributes if name.startswith("on")]
    assert "url(" not in content
    assert "@import" not in content
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    assert ("content", policy) in parsed.attributes


def test_hostile_names_are_text() -> None:
    """Wherever a name of the image is on the page."""
    hostile = finding(path=HOSTILE, what=HOSTILE, why=HOSTILE)
    files = [(File(HOSTILE, 2, 900), UNEXPLAINED), (File(f"{HOSTILE}/x", 1, 900), DEBIAN._replace(what=HOSTILE))]
    found = report(hostile, files=files, notes=(HOSTILE,))
    names = {"image": HOSTILE, "identifier": HOSTILE, "base": HOSTILE, "lock": HOSTILE, "inputs": HOSTILE}
    content = page(type(found)(**vars(found) | names))
    content.encode("utf-8")
    parsed = Parsed(content)
    assert not {"script", "img"} & set(parsed.tags)
    assert {name for name, _ in parsed.attributes} == {name for name, _ in Parsed(page(report(finding()))).attributes}
    shown = " ".join(parsed.texts)
    assert r'"><script>alert(1)</script><img src=http://x/y>\x1b[2J\n\u202e\udcff' in shown
    assert all(one.isprintable() or one == "\n" for one in content)


def test_the_picture_is_accessible() -> None:
    """Each drawing is well-formed XML with a title and a description, which its attribute names."""
    drawings = re.findall(r'<svg class="(?:wide|narrow)".*?\n</svg>', page(report(finding())), re.DOTALL)
    assert len(drawings) == 2
    identifiers = []
    for drawing in drawings:
        root = ET.fromstring(drawing)  # noqa: S314 - it is made here
        assert root.attrib["role"] == "img"
        named = {child.attrib["id"]: child.text or "" for child in root[:2]}
        assert root.attrib["aria-labelledby"].split() == list(named)
        title, description = named.values()
        assert title == "Bytes of shop:latest by origin and folder"
        assert "base image 65.0 %, locked wheels 20.0 %" in description
        identifiers += list(named)
    assert len(set(identifiers)) == 4


def test_every_kind_has_colors_of_contrast() -> None:
    """Letters on a fill have a contrast of 4.5 at least (WCAG 2.2, 1.4.3)."""

    def luminance(color: str) -> float:
        parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    assert set(FILLS) == set(Kind)
    for fills in FILLS.values():
        for fill, ink in zip(fills, INK, strict=True):
            dark, light = sorted((luminance(fill), luminance(ink)))
            assert (light + 0.05) / (dark + 0.05) >= 4.5


def test_an_image_without_bytes_has_a_page() -> None:
    """There is nothing to draw."""
    found = report()
    content = page(type(found)(**vars(found) | {"attribution": Attribution(((File("/x"), UNEXPLAINED),), {})}))
    assert "The image has no bytes." in content
    assert "<svg" not in content


def test_a_page_that_cannot_be_written_is_a_failure(tmp_path: Path) -> None:
    """Exit code 2, with the path."""
    write(report(), tmp_path / "a.html")
    assert (tmp_path / "a.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    with pytest.raises(Failure, match=r"missing/a.html must be a file that can be written") as failure:
        write(report(), tmp_path / "missing/a.html")
    assert failure.value.code == 2


@pytest.mark.parametrize("sizes", [[1], [6, 6, 4, 3, 2, 2, 1], [10**9, 1, 1, 1], [5] * 200])
def test_areas_are_in_proportion(sizes: list[int]) -> None:
    """They fill the box, overlap nowhere, and are as square as their sizes permit."""
    boxes = squarify(sizes, Box(3, 5, 600, 400))
    assert len(boxes) == len(sizes)
    for box, size in zip(boxes, sizes, strict=True):
        assert box.width * box.height == pytest.approx(600 * 400 * size / sum(sizes))
        assert box.x >= 3
        assert box.y >= 5
        assert box.x + box.width <= 603.001
        assert box.y + box.height <= 405.001
    for one, other in combinations(boxes, 2):
        width = min(one.x + one.width, other.x + other.width) - max(one.x, other.x)
        height = min(one.y + one.height, other.y + other.height) - max(one.y, other.y)
        assert min(width, height) < 0.001
    if sizes == [6, 6, 4, 3, 2, 2, 1]:
        # The example of the paper.
        assert max(max(box.width / box.height, box.height / box.width) for box in boxes) < 3


def test_no_space_gives_no_areas() -> None:
    """A folder that is too small for an edge has boxes without an area, and no division by zero."""
    assert Box(0, 0, 3, 3).inside(2) == Box(2, 2, 0, 0)
    assert [box.width * box.height for box in squarify([2, 1], Box(0, 0, 0, 0))] == [0, 0]


def test_cells_have_all_bytes() -> None:
    """Large folders are divided, small ones are not; every byte and file is in one cell."""
    generator = random.Random(1)  # noqa: S311 - the same files in every run
    files = [
        File(f"/opt/a{generator.randrange(9)}/b{generator.randrange(9)}/c{number}", 1, generator.randrange(1, 5000))
        for number in range(2000)
    ]
    files += [File("/top", 1, 7), File("/usr/lib/deep/er/x", 1, 900_000)]
    whole = sum(file.size for file in files)
    cells = summary.cells(files, whole)
    assert (sum(cell.files for cell in cells), sum(cell.size for cell in cells)) == (len(files), whole)
    assert summary.Total("/usr/lib/deep/er", 1, 900_000) in cells
    assert summary.Total("/*", 1, 7) in cells
    assert any(cell.name.startswith("/opt/a1/") for cell in cells)
    assert len({cell.name for cell in cells}) == len(cells) < 200


def test_a_deep_path_is_summed_up() -> None:
    """A hostile image has a path of thousands of folders; its time and memory stay small."""
    files = [File(f"/{'a/' * 2000}{number}", 1, 1000) for number in range(50)]
    found = report(files=[(file, UNEXPLAINED) for file in files])
    (folder,) = summary.unexplained_folders(found.attribution)
    assert (folder.files, folder.size) == (50, 50_000)
    (cell,) = (cell for cell in summary.cells(files, 50_000))
    assert (cell.files, cell.name.count("/")) == (50, 31)
    assert len(page(found)) < 1_000_000
