"""What an expected failure is: one sentence with its remedy, and an exit code."""

from __future__ import annotations

import re

FAILED = 1
CANNOT_CHECK = 2
INTERRUPTED = 130


class Failure(Exception):
    """An expected failure: `str()` is the sentence shown to the user, `code` the exit code."""

    def __init__(self, sentence: str, code: int = FAILED) -> None:
        super().__init__(sentence)
        self.code = code


# What Docker and Compose say, and what a user should hear. The first match wins.
_KNOWN = (
    (
        r"permission denied.*docker(?:\.sock| daemon|API)",
        "You may not use Docker's socket: run `sudo usermod -aG docker $USER` and log in again, "
        "or run this command as root.",
    ),
    (
        r"Cannot connect to the Docker daemon|error during connect|failed to connect to the docker API",
        "The Docker Engine is not running: start it (`inv setup` does on Debian and Ubuntu, "
        "Docker Desktop does elsewhere).",
    ),
    (
        r"'(?:compose|buildx)' is not a docker command|unknown (?:command|flag|shorthand flag).*",
        "Docker Compose v2 or Buildx is missing (v1, `docker-compose`, will not do): `inv setup` installs "
        "both on Debian and Ubuntu, elsewhere see https://docs.docker.com/compose/install/.",
    ),
    (
        r"Bind for (?P<where>\S+) failed: port is already allocated"
        r"|listen tcp4? (?P<where2>\S+): bind: address already in use"
        r"|Ports are not available.*?(?P<where3>[\d.]+:\d+)",
        "{where} is in use: stop what listens there, or choose another port with `inv serve --port N`.",
    ),
    (
        r"lockstep: (?P<where>[^\n\"']+[^\s\"'])",
        "{where}",
    ),
)


def explain(output: str) -> str | None:
    """Return the sentence for what Docker printed, or None where it is nothing known.

    The Dockerfile's own steps print their sentence behind `lockstep: `; the rest is Docker's wording.
    """
    for pattern, sentence in _KNOWN:
        matches = list(re.finditer(pattern, output, re.IGNORECASE))
        if matches:
            where = next(filter(None, matches[-1].groups()), "")
            return sentence.format(where=where)
    return None
