"""Explain a failed `docker` command: a known cause with its remedy, or else the last lines that it printed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from typing import NamedTuple

# How many lines of a command's output a message repeats.
LAST_LINES = 12
# Exit codes of Compose for files that are missing or that it can't parse, before it does anything.
_INVALID_FILES = (14, 15)
# A line that Compose logs: it is not the reason of a failure.
_LOGGED = re.compile(r'time="[^"]*" level=')
# `docker run` exits with this code or a higher one where it fails; with any other, the program in the container failed.
RUN_FAILED = 125


class Cause(NamedTuple):
    """A known cause: a pattern for the line that docker prints, and the message; a group named `where` is inserted."""

    line: str
    message: str


NO_DOCKER = (
    "`docker` must be a program on PATH (got none that can be run). To fix it: run `inv setup` on Debian or Ubuntu; "
    "elsewhere install Docker from https://docs.docker.com/get-docker/."
)
NO_PERMISSION = (
    "Your user must have access to Docker's socket (got: permission denied). To fix it: run "
    "`sudo usermod -aG docker $USER` and log in again, or run this command as root."
)
# How error messages of `docker` and its plugins begin.
_ERROR = r"^(?:docker: |ERROR: |Error: |unable to get image '[^']*': )?"
_CAUSES = (
    Cause(
        rf"{_ERROR}(?:Got )?permission denied while trying to connect to the (?:Docker daemon socket|docker API) at ",
        NO_PERMISSION,
    ),
    Cause(
        rf"{_ERROR}error during connect: .*: lookup (?P<where>\S+?)(?: on \S+)?: no such host",
        "The Docker Engine's host must have an address (got none for {where}). To fix it: correct or unset "
        "DOCKER_HOST, or choose another context (`docker context ls`).",
    ),
    Cause(
        rf"{_ERROR}(?:Cannot connect to the Docker daemon at |error during connect: "
        r"|failed to connect to the docker API at )",
        "The Docker Engine must be running (got no answer). To fix it: start it (`inv setup` does on Debian and "
        "Ubuntu, Docker Desktop does elsewhere).",
    ),
    Cause(
        r'^(?:Failed to initialize: )?unable to resolve docker endpoint: context "(?P<where>[^"]*)": context not found',
        "The Docker context must be one that `docker context ls` prints (got {where}). To fix it: correct or unset "
        "DOCKER_CONTEXT, or choose one with `docker context use NAME`.",
    ),
    Cause(
        r"^(?:Failed to initialize: )?unable to resolve docker endpoint: open (?P<where>.+?): (?P<reason>[^:\n]+)$",
        "{where} must be readable, for a connection with TLS (got: {reason}). To fix it: unset DOCKER_TLS_VERIFY, or "
        "name the folder of the certificates with DOCKER_CERT_PATH.",
    ),
    Cause(
        r"^(?:Failed to initialize: )?(?:unable to resolve docker endpoint: "
        r"|(?=ssh host connection is not valid|unable to parse docker host ))(?P<reason>[^\n]+)$",
        "The Docker Engine's address must be valid (got: {reason}). To fix it: correct or unset DOCKER_HOST, or choose "
        "another context (`docker context ls`).",
    ),
    Cause(
        rf"{_ERROR}Error response from daemon: client version (?P<value>\S+) is too (?P<how>new|old)\b",
        "The version of Docker's API must be one that the Engine has (got {value}, which is too {how}). To fix it: "
        "unset DOCKER_API_VERSION, or update Docker.",
    ),
    Cause(
        r"^(?:docker: )?(?:Error: )?(?P<reason>error contacting notary server|remote trust data does not exist"
        r"|No valid trust data)\b",
        "DOCKER_CONTENT_TRUST must not be set: the images are built here, and Notary has no signature of them (got: "
        "{reason}). To fix it: unset it; `inv publish --sign` signs.",
    ),
    Cause(
        r'^COMPOSE_PARALLEL_LIMIT must be an integer \(found: "(?P<value>[^"\n]*)"\)$',
        "COMPOSE_PARALLEL_LIMIT must be a whole number (got {value}). To fix it: correct or unset it.",
    ),
    Cause(
        rf'{_ERROR}no builder "?(?P<where>[^"\n]*?)"? found$',
        "The builder must be one that `docker buildx ls` prints (got {where}). To fix it: correct or unset "
        "BUILDX_BUILDER, or choose one with `docker buildx use NAME`.",
    ),
    Cause(
        rf'{_ERROR}(?:Error response from daemon: |error parsing specified platform: )?"(?P<value>[^"\n]*)": '
        r"unknown operating system or architecture: invalid argument$",
        "A platform must have the form linux/amd64 (got {value}). To fix it: correct or unset DOCKER_DEFAULT_PLATFORM, "
        "or correct the option --platform.",
    ),
    Cause(
        r"^(?:docker: '(?:compose|buildx)' is not a docker command|docker: unknown command: docker (?:compose|buildx)"
        r"|unknown (?:shorthand )?flag: .*(?:\nSee 'docker --help'\.)?\n+Usage: +docker \[OPTIONS\] COMMAND"
        r"|ERROR: BuildKit is enabled but the buildx component is missing)",
        "Docker Compose v2 and Buildx must be installed (got no such plugin; v1, `docker-compose`, is not supported). "
        "To fix it: run `inv setup` on Debian or Ubuntu; elsewhere see https://docs.docker.com/compose/install/.",
    ),
    Cause(
        rf"{_ERROR}Error response from daemon: .*"
        r"(?:Bind for|listen tcp[46]?|exposing port TCP|failed to bind host port(?: for)?) "
        r"(?P<where>(?:[\d.]+|\[[\da-f:]*\]):\d+)\b.*"
        r"(?:already allocated|already in use|forbidden by its access permissions)",
        "{where} must be free (got: already in use). To fix it: stop what listens there, or choose another port "
        "(`inv serve --port N` for the service's).",
    ),
    Cause(
        # The rest of the line may be a password.
        rf"{_ERROR}failed to read (?P<where>.+): line (?P<line>\d+): (?P<reason>[a-z ]+[a-z])",
        "{where} must have lines NAME=VALUE that Compose can read (got, near line {line}: {reason}). To fix it: "
        "correct that line, or quote its value as 'VALUE'.",
    ),
    Cause(
        # The rest of the line is the value.
        rf"{_ERROR}failed to read (?P<where>.+?): Invalid template: ",
        "{where} must have values that Compose can read (got a `$` that begins no variable). To fix it: quote the "
        "value as 'VALUE'.",
    ),
    Cause(
        rf"{_ERROR}Invalid template: ",
        "A file of `env_file` must have values that Compose can read (got a `$` that begins no variable). To fix it: "
        "quote the value as 'VALUE'.",
    ),
    Cause(
        r"^setenv: invalid argument$",
        ".env must be text in UTF-8, with a name in each line (got a NUL character, as in UTF-16, or `=` without a "
        "name). To fix it: save it in UTF-8, PowerShell's `>` may write UTF-16; or correct that line.",
    ),
    Cause(
        rf"{_ERROR}(?:failed to read|error while interpolating) (?P<where>.+?): "
        r"required variable (?P<name>\w+) is missing a value(?P<reason>(?:: [^\n]+)?)$",
        "{name} must be set (got no value, which {where} requires{reason}). To fix it: set it in the environment, or "
        "in `.env`.",
    ),
    Cause(
        r"^error decoding '[^']*\.stop_grace_period': .*\"(?P<value>[^\"]*)s\"$",
        "APP_STOP_GRACE_SECONDS must be a number of seconds (got {value}). To fix it: correct the variable, or unset "
        "it for its default.",
    ),
    Cause(
        rf"{_ERROR}[Ii]nvalid hostPort: (?P<value>.*)$",
        "A published port must be a whole number from 1 to 65535 (got '{value}'). To fix it: correct PORT, or `ports` "
        "in the Compose files.",
    ),
    Cause(
        rf"{_ERROR}Error response from daemon: invalid restart policy: (?P<reason>[^;\n]+)",
        "A restart policy must be no, always, on-failure, on-failure:N or unless-stopped (got: {reason}). To fix it: "
        "correct RESTART, or `restart` in the Compose files.",
    ),
    Cause(
        rf"{_ERROR}(?:Error response from daemon: )?invalid reference format(?P<reason>[^\n]*)$",
        "The name of an image must be NAME, NAME:TAG or NAME@sha256:DIGEST, in lower case (got another{reason}). "
        "To fix it: correct the name.",
    ),
    Cause(
        rf"{_ERROR}(?:Error response from daemon: )?No such image: (?P<where>\S+?)(?::latest)?\.?$",
        "The Engine must have the image {where} (got none). To fix it: build this project's images with `inv build`.",
    ),
)


def describe(args: Sequence[str], code: int, output: str, program: str = "docker") -> str:
    """Return the message for a `docker` command that failed: its known cause, or else its last lines."""
    lines = printable(output).splitlines()
    return (
        known_cause(args, code, output)
        or _invalid_files(args, code, lines)
        or (f"`{program} {shlex.join(args)}` failed with exit code {code}{last_lines(lines)}")
    )


def _invalid_files(args: Sequence[str], code: int, lines: Sequence[str]) -> str:
    """Return the message for Compose files that Compose refuses, or an empty string for another failure."""
    reason = " ".join(line.strip() for line in lines if line.strip() and not _LOGGED.match(line))
    if args[:1] != ("compose",) or code not in _INVALID_FILES or not reason:
        return ""
    files = " and ".join(one.removeprefix("--file=") for one in args if one.startswith("--file="))
    return (
        f"{files or 'The Compose files'} must be valid for Compose (got: {reason}). To fix it: correct the place that "
        "the reason names."
    )


def known_cause(args: Sequence[str], code: int, output: str) -> str:
    """Return the message for the known cause of a failed `docker` command, or an empty string for another one."""
    if args[:1] == ("run",) and code < RUN_FAILED:
        return ""
    text = printable(output)
    found = ((cause, re.search(cause.line, text, re.MULTILINE)) for cause in _CAUSES)
    return next((cause.message.format(**match.groupdict()) for cause, match in found if match), "")


def last_lines(lines: Sequence[str]) -> str:
    """Return the end of a message that repeats a program's last lines; a single line follows a colon."""
    printed = [line.rstrip() for line in lines if line.strip()]
    if not printed:
        return " and printed nothing."
    if len(printed) == 1:
        return f": {printed[0].strip()}"
    return ". Its last lines:" + "".join(f"\n    {line}" for line in printed[-LAST_LINES:])


def printable(text: str) -> str:
    """Remove escape sequences and control characters, which would move a terminal's cursor or colour it."""
    text = re.sub(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\))", "", text)
    return "".join(character for character in text if character in "\n\t" or character.isprintable())
