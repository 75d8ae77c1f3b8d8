"""What an expected failure is: a message with its remedy, and an exit code. What a failed `docker` command reports."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from typing import NamedTuple

FAILED = 1
CANNOT_CHECK = 2
INTERRUPTED = 130
# How much of a command's output a message repeats.
LAST_LINES = 12
# `docker run` fails itself with this code or a higher one; with any other, the program in the container has failed.
_RUN_FAILED = 125


class Failure(Exception):
    """An expected failure: `str()` is the message shown to the user, `code` the exit code."""

    def __init__(self, sentence: str, code: int = FAILED) -> None:
        super().__init__(sentence)
        self.code = code


class Terminated(KeyboardInterrupt):
    """An interruption that did not come from the terminal, so that no other process has received it."""


class Cause(NamedTuple):
    """A known cause: the line that a program prints for it, and the message; the line's group is {where} in it."""

    line: str
    message: str


NO_PERMISSION = (
    "You may not use Docker's socket: run `sudo usermod -aG docker $USER` and log in again, "
    "or run this command as root."
)
# How the error messages of `docker` and its plugins begin.
_ERROR = r"^(?:docker: |ERROR: |Error: |unable to get image '[^']*': )?"
_CAUSES = (
    Cause(
        rf"{_ERROR}(?:Got )?permission denied while trying to connect to the (?:Docker daemon socket|docker API) at ",
        NO_PERMISSION,
    ),
    Cause(
        rf"{_ERROR}(?:Cannot connect to the Docker daemon at |error during connect: "
        r"|failed to connect to the docker API at )",
        "The Docker Engine is not running: start it (`inv setup` does on Debian and Ubuntu, "
        "Docker Desktop does elsewhere).",
    ),
    Cause(
        r"^(?:docker: '(?:compose|buildx)' is not a docker command|docker: unknown command: docker (?:compose|buildx)"
        r"|unknown (?:shorthand )?flag: .*(?:\nSee 'docker --help'\.)?\n+Usage: +docker \[OPTIONS\] COMMAND"
        r"|ERROR: BuildKit is enabled but the buildx component is missing)",
        "Docker Compose v2 or Buildx is missing (v1, `docker-compose`, will not do): `inv setup` installs "
        "both on Debian and Ubuntu, elsewhere see https://docs.docker.com/compose/install/.",
    ),
    Cause(
        rf"{_ERROR}Error response from daemon: .*"
        r"(?:Bind for|listen tcp[46]?|exposing port TCP|failed to bind host port(?: for)?) "
        r"(?P<where>(?:[\d.]+|\[[\da-f:]*\]):\d+)\b.*"
        r"(?:already allocated|already in use|forbidden by its access permissions)",
        "{where} is in use: stop what listens there, or choose another port (`inv serve --port N` for the service's).",
    ),
    Cause(
        rf"{_ERROR}(?:Error response from daemon: )?No such image: (?P<where>\S+?)(?::latest)?\.?$",
        "There is no image {where} here: build this project's with `inv build`.",
    ),
)


def describe(args: Sequence[str], code: int, output: str) -> str:
    """Return the message for a `docker` command that failed: its known cause, or else its last lines."""
    text = printable(output)
    if args[:1] != ("run",) or code >= _RUN_FAILED:
        for cause in _CAUSES:
            match = re.search(cause.line, text, re.MULTILINE)
            if match:
                return cause.message.format(**match.groupdict())
    return f"`docker {shlex.join(args)}` failed with exit code {code}{quoted(text.splitlines())}"


def quoted(lines: Sequence[str]) -> str:
    """Return the end of a message that repeats a program's last lines; a single one stands behind a colon."""
    said = [line.rstrip() for line in lines if line.strip()]
    if not said:
        return " and printed nothing."
    if len(said) == 1:
        return f": {said[0].strip()}"
    return ". Its last lines:" + "".join(f"\n    {line}" for line in said[-LAST_LINES:])


def printable(text: str) -> str:
    """Return a program's output without what moves a terminal's cursor or colours it."""
    text = re.sub(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\))", "", text)
    return "".join(character for character in text if character in "\n\t" or character.isprintable())
