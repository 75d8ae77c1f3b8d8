"""Parse whole numbers in options and environment variables."""

from __future__ import annotations

import re

from prodlock.failure import Failure

LAST_PORT = 65535


def parse(text: str, name: str, minimum: int, maximum: int, remedy: str) -> int:
    """Return the number that ASCII digits give. Raises Failure for any other text, or a number out of range.

    `str.isdecimal()` and `int()` accept digits of every script, signs, underscores and spaces; other programs do not.
    """
    # At most 20 digits: Python refuses to convert thousands of them, with an error of its own.
    if re.fullmatch(r"[0-9]{1,20}", text) and minimum <= (number := int(text)) <= maximum:
        return number
    raise Failure(f"{name} must be a whole number from {minimum} to {maximum} (got {text!r}). To fix it: {remedy}.")
