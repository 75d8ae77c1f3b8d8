"""Reports on images of ordinary Dockerfiles: only what is true of them is found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from prodlock.tests.verify.conftest import Verified, verify
from prodlock.tests.verify.images import EXAMPLES, Built, archive

NAMES = [
    pytest.param(name, marks=() if example.is_quick else pytest.mark.full_length) for name, example in EXAMPLES.items()
]
Report = Callable[[str], Verified]


@pytest.mark.parametrize("name", NAMES)
def test_report_has_exactly_the_true_findings(name: str, clean_report: Report) -> None:
    """Each is in the report, and nothing else; the exit code is 1 where there is one."""
    code, report, _ = clean_report(name)
    true = EXAMPLES[name].findings
    others = [found for found in report["findings"] if not any(one.matches(found) for one in true)]
    assert others == []
    assert [one for one in true if not any(map(one.matches, report["findings"]))] == []
    assert code == (1 if true else 0)


@pytest.mark.parametrize("name", NAMES)
def test_report_explains_99_percent_of_the_bytes(name: str, clean_report: Report) -> None:
    """Files that a finding names are left out: nothing explains them."""
    _, report, _ = clean_report(name)
    named = EXAMPLES[name].unexplained
    unexplained = sum(one["bytes"] for one in report["unexplained"] if not one["path"].startswith(named))
    assert unexplained <= report["read"]["bytes"] / 100


@pytest.mark.parametrize("name", NAMES)
def test_report_finds_the_base_image(name: str, clean_report: Report) -> None:
    """The base image is the longest prefix of the layers among the images on the Engine."""
    assert clean_report(name).report["base"]["image"] == EXAMPLES[name].base_tag


def test_report_on_an_archive_is_that_on_the_image(
    folder: Path, example: Callable[[str], Built], clean_report: Report
) -> None:
    """`docker save` of the image, and of its base image."""
    built = example("uv")
    saved, base = archive(built.example.tag, folder / "image.tar"), archive(built.example.base_tag, folder / "base.tar")
    done = verify(built, str(saved), f"--base={base}", cached=folder / "cache")
    for key in ("findings", "origins", "unexplained", "id"):
        assert done.report[key] == clean_report("uv").report[key]
