"""Messages for the errors that docker prints."""

from __future__ import annotations

import pytest

from prodlock.docker.failures import LAST_LINES, describe

# The standard error of real runs.
PRINTED = {
    "Your user must have access to Docker's socket": (
        "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock: "
        'Get "http://%2Fvar%2Frun%2Fdocker.sock/v1.50/version": dial unix /var/run/docker.sock: connect: '
        "permission denied\n"
    ),
    "Your user must have access to Docker's socket (got: permission denied). To fix it: run": (
        "docker: permission denied while trying to connect to the docker API at unix:///var/run/docker.sock\n\n"
        "Run 'docker run --help' for more information\n"
    ),
    "The Docker Engine must be running": (
        "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?\n"
    ),
    "The Docker Engine must be running (got no answer). To fix it: start it": (
        'error during connect: Get "http://host.example:2375/v1.45/version": dial tcp: i/o timeout\n'
    ),
    "The Docker Engine's host must have an address (got none for host.example). To fix it: correct": (
        'error during connect: Get "http://host.example:2375/v1.45/version": dial tcp: lookup host.example: '
        "no such host\n"
    ),
    "The Docker Engine's host must have an address (got none for nonsense). To fix it: correct or unset DOCKER_HOST": (
        'error during connect: Head "http://nonsense:2375/_ping": dial tcp: lookup nonsense on 192.0.2.53:53: '
        "no such host\n"
    ),
    "The Docker context must be one that `docker context ls` prints (got nope). To fix it: correct or unset": (
        'Failed to initialize: unable to resolve docker endpoint: context "nope": context not found: open '
        "/root/.docker/contexts/meta/ca37/meta.json: no such file or directory\n"
    ),
    "/certs/ca.pem must be readable, for a connection with TLS (got: no such file or directory). To fix it: unset": (
        "Failed to initialize: unable to resolve docker endpoint: open /certs/ca.pem: no such file or directory\n"
    ),
    "The Docker Engine's address must be valid (got: invalid bind address format: foo://x). To fix it: correct": (
        "Failed to initialize: unable to resolve docker endpoint: invalid bind address format: foo://x\n"
    ),
    "The Docker Engine's address must be valid (got: ssh host connection is not valid: invalid SSH URL": (
        "Failed to initialize: ssh host connection is not valid: invalid SSH URL: hostname is empty\n"
    ),
    "The Docker Engine's address must be valid (got: unable to parse docker host `fd://`). To fix it": (
        "Failed to initialize: unable to parse docker host `fd://`\n"
    ),
    "The version of Docker's API must be one that the Engine has (got 9.99, which is too new). To fix it: unset": (
        "Error response from daemon: client version 9.99 is too new. Maximum supported API version is 1.45\n"
    ),
    "The version of Docker's API must be one that the Engine has (got 1.12, which is too old). To fix it: unset": (
        "Error response from daemon: client version 1.12 is too old. Minimum supported API version is 1.24, please "
        "upgrade your client to a newer version\n"
    ),
    "DOCKER_CONTENT_TRUST must not be set: the images are built here, and Notary has no signature": (
        "docker: Error: error contacting notary server: dial tcp: lookup notary.docker.io: no such host.\n"
    ),
    "COMPOSE_PARALLEL_LIMIT must be a whole number (got x). To fix it": (
        'COMPOSE_PARALLEL_LIMIT must be an integer (found: "x")\n'
    ),
    "A platform must have the form linux/amd64 (got foo). To fix it: correct or unset DOCKER_DEFAULT_PLATFORM": (
        'error parsing specified platform: "foo": unknown operating system or architecture: invalid argument\n'
    ),
    "The builder must be one that `docker buildx ls` prints (got nope). To fix it": 'ERROR: no builder "nope" found\n',
    "The builder must be one that `docker buildx ls` prints (got other). To fix it": 'no builder "other" found\n',
    "A platform must have the form linux/amd64 (got x). To fix it: correct or unset DOCKER_DEFAULT_PLATFORM": (
        '"x": unknown operating system or architecture: invalid argument\n'
    ),
    "/srv/shop/.env must have lines NAME=VALUE that Compose can read (got, near line 2: unterminated quoted value).": (
        "failed to read /srv/shop/.env: line 2: unterminated quoted value 'secret\n"
    ),
    "/srv/.env must have lines NAME=VALUE that Compose can read (got, near line 8: unexpected character).": (
        'failed to read /srv/.env: line 8: unexpected character "\'" in variable name "\'secret"\n'
    ),
    ".env must be text in UTF-8, with a name in each line (got a NUL character": "setenv: invalid argument\n",
    "DB must be set (got no value, which /srv/.env requires: a database). To fix it: set it in the environment": (
        "failed to read /srv/.env: required variable DB is missing a value: a database\n"
    ),
    "DB must be set (got no value, which services.api-prod.environment.DB requires). To fix it: set": (
        "error while interpolating services.api-prod.environment.DB: required variable DB is missing a value\n"
    ),
    "Docker Compose v2 and Buildx must be installed": (
        "unknown flag: --short\n\nUsage:  docker [OPTIONS] COMMAND [ARG...]\n"
    ),
    "Docker Compose v2 and Buildx must be installed (got no": (
        "unknown flag: --profile\nSee 'docker --help'.\n\nUsage:  docker [OPTIONS] COMMAND\n\nA self-sufficient\n"
    ),
    "127.0.0.1:8200 must be free (got: already in use)": (
        "Error response from daemon: driver failed programming external connectivity on endpoint x: "
        "Error starting userland proxy: listen tcp4 127.0.0.1:8200: bind: address already in use"
    ),
    "127.0.0.1:8000 must be free (got: already in use)": (
        "Error response from daemon: driver failed programming external connectivity on endpoint x: "
        "Bind for 127.0.0.1:8000 failed: port is already allocated"
    ),
    "127.0.0.1:8001 must be free (got: already in use)": (
        "Error response from daemon: failed to set up container networking: driver failed programming external "
        "connectivity on endpoint x: failed to bind host port 127.0.0.1:8001/tcp: address already in use"
    ),
    "127.0.0.1:8002 must be free (got: already in use)": (
        "Error response from daemon: failed to bind host port for 127.0.0.1:8002:172.18.0.2:8000/tcp: "
        "address already in use"
    ),
    "APP_STOP_GRACE_SECONDS must be a number of seconds (got ten). To fix it": (
        "decoding failed due to the following error(s):\n\nerror decoding 'services[api-prod].stop_grace_period': "
        'time: invalid duration "tens"\n'
    ),
    "A published port must be a whole number from 1 to 65535 (got '8O00'). To fix it: correct PORT": (
        "invalid hostPort: 8O00\n"
    ),
    "A published port must be a whole number from 1 to 65535 (got '99999'). To fix it": "Invalid hostPort: 99999\n",
    "A restart policy must be no, always, on-failure, on-failure:N or unless-stopped (got: unknown policy 'often')": (
        "Error response from daemon: invalid restart policy: unknown policy 'often'; use one of 'no', 'always', "
        "'on-failure', or 'unless-stopped'\n"
    ),
    "A restart policy must be no, always, on-failure, on-failure:N or unless-stopped (got: maximum retry count": (
        "Error response from daemon: invalid restart policy: maximum retry count cannot be used with restart policy "
        "'always'\n"
    ),
    "The name of an image must be NAME, NAME:TAG or NAME@sha256:DIGEST, in lower case (got another: repository name": (
        "Error response from daemon: invalid reference format: repository name (Quotes) must be lowercase\n"
    ),
    "The name of an image must be NAME, NAME:TAG or NAME@sha256:DIGEST, in lower case (got another). To fix it": (
        "Error response from daemon: invalid reference format\n"
    ),
    "The Engine must have the image nope (got none)": "Error response from daemon: No such image: nope:latest\n",
    "The Engine must have the image nope:1 (got none)": "Error response from daemon: No such image: nope:1",
}


@pytest.mark.parametrize(("message", "printed"), PRINTED.items())
def test_known_errors_of_docker_get_a_message_with_a_remedy(message: str, printed: str) -> None:
    """The message states the cause, then the remedy."""
    assert describe(("compose", "up"), 1, printed).startswith(message)
    assert describe(("run", "x"), 125, printed).startswith(message)


def test_a_value_of_an_env_file_is_not_repeated() -> None:
    """It may be a password; other errors are repeated."""
    printed = "failed to read /srv/.env: line 2: unterminated quoted value 'secret\n"
    assert "secret" not in describe(("compose", "config"), 1, printed)
    assert "secret" in describe(("compose", "config"), 1, printed.replace("line 2", "a line"))


@pytest.mark.parametrize("printed", PRINTED.values())
def test_the_same_output_of_another_program_is_not_explained(printed: str) -> None:
    """The program in a container failed, or a line quotes an error."""
    assert describe(("run", "x"), 1, printed).startswith("`docker run x` failed with exit code 1")
    quoted = "\n".join(f"test_docker.py:1: {line}" for line in printed.splitlines())
    assert describe(("compose", "up"), 1, quoted).startswith("`docker compose up` failed with exit code 1")


def test_a_value_with_a_broken_template_is_not_repeated() -> None:
    """A password may contain `${`: Compose prints all of the value."""
    printed = 'time="x" level=warning msg="y"\nfailed to read /srv/x/.env: Invalid template: "pa${secret"\n'
    for code in (1, 15):
        message = describe(("compose", "config"), code, printed)
        assert message.startswith("/srv/x/.env must have values that Compose can read (got a `$` that begins no")
        assert "secret" not in message
        message = describe(("compose", "config"), code, 'Invalid template: "pa${secret"\n')
        assert message.startswith("A file of `env_file` must have values that Compose can read (got a `$` that")
        assert "secret" not in message


def test_compose_files_that_compose_refuses_are_named() -> None:
    """Compose does not state the file of a syntax error; what it logs before is not the reason."""
    args = ("compose", "--file=docker-compose.yml", "--file=docker-compose.override.yml", "config")
    logged = 'time="2026-01-01T00:00:00Z" level=warning msg="the attribute `version` is obsolete"\n'
    message = describe(args, 15, f"{logged}yaml: line 2: found character that cannot start any token\n")
    assert message == (
        "docker-compose.yml and docker-compose.override.yml must be valid for Compose (got: yaml: line 2: found "
        "character that cannot start any token). To fix it: correct the place that the reason names."
    )
    assert describe(("compose", "up"), 14, "open /x/a.yml: no such file or directory\n").startswith(
        "The Compose files must be valid for Compose (got: open /x/a.yml: no such file or directory)"
    )
    assert describe(args, 15, logged).startswith("`docker compose --file=")
    assert describe(("run", "x"), 15, "reason\n").startswith("`docker run x` failed with exit code 15")


def test_unknown_errors_are_repeated() -> None:
    """All lines of a short output: the last one may be an empty frame."""
    assert describe(("x",), 2, "no space left on device\n") == (
        "`docker x` failed with exit code 2: no space left on device"
    )
    assert describe(("x",), 2, "the reason\n\n------\n") == (
        "`docker x` failed with exit code 2. Its last lines:\n    the reason\n    ------"
    )
    assert describe(("x",), 2, " \n") == "`docker x` failed with exit code 2 and printed nothing."


def test_the_last_lines_of_a_long_output_are_repeated() -> None:
    """They fit on a screen beside the earlier output."""
    lines = describe(("x",), 1, "".join(f"line {number}\n" for number in range(100))).splitlines()
    assert lines[1:] == [f"    line {number}" for number in range(100 - LAST_LINES, 100)]


def test_control_characters_are_removed() -> None:
    """The message has no colours, titles or cursor movements."""
    printed = "\x1b[31mred\x1b[0m\x1b]0;title\x07 a\rb\x08 \x9b31m\n"
    assert describe(("x",), 1, printed) == "`docker x` failed with exit code 1: red ab 31m"
