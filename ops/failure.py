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


class Terminated(KeyboardInterrupt):
    """An interruption that did not come from the terminal, so that no other process has heard of it."""


NO_PERMISSION = (
    "You may not use Docker's socket: run `sudo usermod -aG docker $USER` and log in again, "
    "or run this command as root."
)

# What Docker, Poetry, uv and pip say, and what a user should hear. The first match wins; what its group holds
# stands for {where}.
_KNOWN = (
    (
        r"permission denied.*docker(?:\.sock| daemon| API)()",
        NO_PERMISSION,
    ),
    (
        r"(?:Cannot connect to the Docker daemon|error during connect|failed to connect to the docker API)()",
        "The Docker Engine is not running: start it (`inv setup` does on Debian and Ubuntu, "
        "Docker Desktop does elsewhere).",
    ),
    (
        r"(?:'(?:compose|buildx)' is not a docker command|unknown command: docker (?:compose|buildx)"
        r"|unknown flag: \S+\s+Usage:\s+docker \[OPTIONS\] COMMAND)()",
        "Docker Compose v2 or Buildx is missing (v1, `docker-compose`, will not do): `inv setup` installs "
        "both on Debian and Ubuntu, elsewhere see https://docs.docker.com/compose/install/.",
    ),
    (
        r"exec \S+: exec format error()",
        "This Engine can't run programs of that platform: install emulators for it (Debian: `apt-get install "
        "qemu-user-static`), or build where the platform is at home.",
    ),
    (
        r"(?:Bind for|listen tcp4?|exposing port TCP|failed to bind host port(?: for)?) ([\d.]+:\d+).*?"
        r"(?:already allocated|already in use|forbidden by its access permissions)",
        "{where} is in use: stop what listens there, or choose another port with `inv serve --port N`.",
    ),
    (
        r"No such image: (\S+?)(?::latest)?(?=\s|$)",
        "There is no image {where} here: build this project's with `inv build`.",
    ),
    (
        r"(?:failed to resolve source metadata for|load metadata for|pull access denied for) (?:docker\.io/)?"
        r"(?:library/)?([\w./:-]*\w)(?=.*(?:no such host|connection refused|certificate|timeout|denied|not found|EOF))",
        "The base image {where} is not here and can't be pulled: `inv setup` builds it on Debian, "
        "elsewhere bring it here with `docker load`.",
    ),
    (
        r"(pyproject\.toml changed significantly since poetry\.lock was last generated|poetry\.lock was not found)",
        "{where}: run `inv poetry -- lock`, review what it changed, and commit it.",
    ),
    (
        r"(poetry\.lock can't be installed: .*)",
        "{where}",
    ),
    (
        r"Hash mismatch for `([^`]+)`",
        "What the package index serves as {where} is not what poetry.lock was made with, by its sha256: "
        "find out why before you run `inv poetry -- lock`.",
    ),
    (
        r"THESE PACKAGES DO NOT MATCH THE HASHES()",
        "What the package index serves as uv is not what ops/tools.txt names, by its sha256: find out why.",
    ),
    (
        r"(?:certificate verify failed|invalid peer certificate)()",
        "The package index shows a certificate that the build does not trust: name your company's bundle of "
        "certificate authorities with CA_BUNDLE=FILE.",
    ),
    (
        r"(?:dns error|Temporary failure in name resolution|Name or service not known|Connection refused"
        r"|Network is unreachable|error sending request|Failed to establish a new connection)()",
        "The build can't reach the package index: check the network, or name an index that can be reached with "
        "INDEX_URL=ADDRESS.",
    ),
)


def explain(output: str) -> str | None:
    """Return the sentence for what a command printed, or None where it is nothing known."""
    for pattern, sentence in _KNOWN:
        match = re.search(pattern, output, re.IGNORECASE | re.MULTILINE)
        if match:
            return sentence.format(where=match[1])
    return None
