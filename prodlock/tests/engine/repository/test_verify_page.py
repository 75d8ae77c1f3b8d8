"""The page of `prodlock verify --html` in a browser without a network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from prodlock.image.records import File
from prodlock.origins import page
from prodlock.tests.engine.conftest import REPOSITORY, docker
from prodlock.tests.engine.repository import look
from prodlock.tests.unit.origins.examples import DEBIAN, SITE, UNEXPLAINED, WHEEL, finding, report

# The browser's image has a GB.
pytestmark = pytest.mark.full_length

BROKEN = """\
<!DOCTYPE html><html><head><link rel="icon" href="data:,"></head><body>
<p style="width: 3000px">wide</p>
<div class="scroll" style="width: 50px; overflow: auto"><p style="width: 90px">x</p></div>
<figure><svg width="50" height="50" style="overflow: visible"><rect x="0" y="0" width="90" height="10"/></svg></figure>
<img src="http://192.0.2.1/x.png"><script>console.error("x")</script></body></html>
"""
HOSTILE = "/code/<script>alert(1)</script><img src=http://192.0.2.1/x onerror=alert(1)>&amp;\x1b[2J\u202e"


def looked_at(browser: str, content: str) -> list[dict[str, Any]]:
    """Return what a browser makes of a page, in each width and colour scheme."""
    program = Path(look.__file__).read_text(encoding="utf-8")
    options = ("--rm", "--interactive", "--network=none")
    printed = docker("run", *options, browser, "python", "-c", program, input=content, cwd=REPOSITORY).stdout
    found: list[dict[str, Any]] = json.loads(printed)
    assert len(found) == len(look.WIDTHS) * len(look.SCHEMES)
    return found


def luminance(color: str) -> float:
    """Return the relative luminance of `rgb(R, G, B)` (WCAG 2.2)."""
    parts = [int(part) / 255 for part in color.removeprefix("rgb(").rstrip(")").split(",")]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_faults_of_a_page_are_seen(browser: str) -> None:
    """The positive control of the tests below: overflow, a request, an error, a part outside of its drawing."""
    for seen in looked_at(browser, BROKEN):
        assert seen["overflow"] > 0
        assert (seen["scrolled"], seen["outside"], seen["scripts"]) == (1, 1, 1)
        assert "http://192.0.2.1/x.png" in seen["requests"]
        assert seen["errors"]


def test_the_page_fits_every_screen_and_loads_nothing(browser: str) -> None:
    """In both schemes: one picture, no overflow, no request beside the page, no error; hostile names are text."""
    wheels = [(File(f"{SITE}/package{number}/module.py", 1, 9000 - number), WHEEL) for number in range(40)]
    files = [
        *wheels,
        (File(f"/root/.cache/{'long' * 60}/x", 1, 5000), UNEXPLAINED),
        (File(HOSTILE, 2, 60_000), UNEXPLAINED),
        (File("/usr/lib/libpq.so.5", 1, 70_000), DEBIAN),
    ]
    findings = [finding(what=f"x{number}", path=f"/{'y' * 300}") for number in range(20)]
    findings.append(finding(what=HOSTILE, path=HOSTILE, why=HOSTILE))
    seen = looked_at(browser, page.page(report(*findings, files=files)))
    for one in seen:
        assert one["overflow"] <= 0
        assert (one["scrolled"], one["outside"], one["scripts"], one["figures"]) == (0, 0, 0, 1)
        assert one["requests"] == [look.PAGE.as_uri()]
        assert one["errors"] == []
        assert "<script>alert(1)</script><img src=http://192.0.2.1/x onerror=alert(1)>&amp;\\x1b[2J" in one["text"]
        assert any(label.startswith("unexplained") for label in one["labels"])
        light, dark = sorted(map(luminance, (one["paper"], one["ink"])), reverse=True)
        assert (light + 0.05) / (dark + 0.05) > 7
    papers = {one["scheme"]: luminance(one["paper"]) for one in seen}
    assert papers["light"] > 0.9
    assert papers["dark"] < 0.1
