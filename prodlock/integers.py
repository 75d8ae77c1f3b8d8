"""Read whole numbers that a user gives: options and environment variables."""

from __future__ import annotations

import re

from prodlock.failure import Failure

LAST_PORT = 65535


def whole(text: str, name: str, least: int, most: int, remedy: str) -> int:
    """Return a number in ASCII digits. Raises Failure where the text is no such number, or not from least to most.

    `str.isdecimal()` and `int()` accept digits of every script, signs, underscores and spaces; other programs do not.
    """
    # A number of thousands of digits is not converted: Python refuses to, with an error of its own.
    if re.fullmatch(r"[0-9]{1,20}", text) and least <= (number := int(text)) <= most:
        return number
    raise Failure(f"{name} must be a whole number from {least} to {most} (got {text!r}). To fix it: {remedy}.")
