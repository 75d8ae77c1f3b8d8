"""Text of a report. Names in an image may be hostile: a terminal must not interpret them."""

from __future__ import annotations

import functools
import re

from prodlock.proof.judges import credentials

# What builders write around the command of an instruction: BuildKit's comment, the arguments, the shell.
_BUILDKIT = re.compile(r"\s+# buildkit$")
_SHELL = re.compile(r"(?:RUN )?(?:\|\d+ .*? )?/bin/sh -c (?P<declaration>#\(nop\)\s+)?")


def printable(text: str) -> str:
    """Return a text on one line, with control characters, formatting and undecodable bytes as backslash escapes."""
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape", "surrogatepass").decode("ascii") for one in text
    )


@functools.cache
def instruction(recorded: str) -> str:
    """Return the instruction of a layer as a Dockerfile has it, on one line, with its secrets masked."""
    found = _BUILDKIT.sub("", " ".join(credentials.masked(recorded).split()))
    shell = _SHELL.match(found)
    if not shell:
        return found
    return found[shell.end() :] if shell["declaration"] else f"RUN {found[shell.end() :]}"


def shortened(text: str, length: int = 100) -> str:
    """Return the beginning of a long text."""
    return text if len(text) <= length else f"{text[: length - 3]}..."


def size(number: int) -> str:
    """Return a number of bytes with its unit."""
    # The limits are where rounding would give the next unit.
    for limit, unit, digits in ((1e3, 1, ""), (999_950, 1e3, "kB"), (999_950_000, 1e6, "MB")):
        if number < limit:
            return f"{number / unit:.1f} {digits}" if digits else f"{number} B"
    return f"{number / 1e9:,.2f} GB"


def share(part: int, whole: int) -> str:
    """Return a share in percent; neither nothing nor everything is the result of rounding."""
    percent = 100 * part / whole if whole else 0.0
    if part and percent < 0.05:  # noqa: PLR2004 - half of the last digit
        return "<0.1 %"
    if part < whole and percent >= 99.95:  # noqa: PLR2004
        return ">99.9 %"
    return f"{percent:.1f} %"


def count(number: int, noun: str) -> str:
    """Return a number with a noun in singular or plural."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
