"""Whole numbers in options and environment variables."""

from __future__ import annotations

import pytest

from prodlock import integers
from prodlock.failure import Failure


@pytest.mark.parametrize(("text", "number"), [("1", 1), ("08000", 8000), ("65535", 65535)])
def test_ascii_digits_are_parsed(text: str, number: int) -> None:
    """Leading zeros included."""
    assert integers.parse(text, "The port", 1, 65535, "give one") == number


WRONG = ["", "abc", "0", "65536", "-1", "+1", " 1", "1 ", "1\n", "1_0", "1.0", "1e3", "0x1", "1" * 5000]
# Full-width, Arabic and superscript digits.
OTHER_DIGITS = ["\uff18\uff11\uff12\uff13", "\u0663", "\u00b2"]


@pytest.mark.parametrize("text", [*WRONG, *OTHER_DIGITS])
def test_any_other_text_is_refused(text: str) -> None:
    """`int()` and `str.isdecimal()` accept some of these; Compose and Docker do not."""
    with pytest.raises(Failure, match=r"^The port must be a whole number from 1 to 65535 \(got '.*'\)\. To fix it: gi"):
        integers.parse(text, "The port", 1, 65535, "give one")
