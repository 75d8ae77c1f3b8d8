"""What a failed `docker` command prints, and the message that the user gets."""

from __future__ import annotations

import pytest

from prodlock.failure import LAST_LINES, describe

# Each as a real run printed it, on standard error.
PRINTED = {
    "You may not use Docker's socket": (
        "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock: "
        'Get "http://%2Fvar%2Frun%2Fdocker.sock/v1.50/version": dial unix /var/run/docker.sock: connect: '
        "permission denied\n"
    ),
    "You may not use Docker's socket: run": (
        "docker: permission denied while trying to connect to the docker API at unix:///var/run/docker.sock\n\n"
        "Run 'docker run --help' for more information\n"
    ),
    "The Docker Engine is not running": (
        "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?\n"
    ),
    "The Docker Engine is not running: start it": (
        'error during connect: Get "http://host.example:2375/v1.45/version": dial tcp: lookup host.example: '
        "no such host\n"
    ),
    "Docker Compose v2 or Buildx is missing": "unknown flag: --short\n\nUsage:  docker [OPTIONS] COMMAND [ARG...]\n",
    "Docker Compose v2 or Buildx is missing (v1": (
        "unknown flag: --profile\nSee 'docker --help'.\n\nUsage:  docker [OPTIONS] COMMAND\n\nA self-sufficient\n"
    ),
    "127.0.0.1:8200 is in use": (
        "Error response from daemon: driver failed programming external connectivity on endpoint x: "
        "Error starting userland proxy: listen tcp4 127.0.0.1:8200: bind: address already in use"
    ),
    "127.0.0.1:8000 is in use": (
        "Error response from daemon: driver failed programming external connectivity on endpoint x: "
        "Bind for 127.0.0.1:8000 failed: port is already allocated"
    ),
    "127.0.0.1:8001 is in use": (
        "Error response from daemon: failed to set up container networking: driver failed programming external "
        "connectivity on endpoint x: failed to bind host port 127.0.0.1:8001/tcp: address already in use"
    ),
    "127.0.0.1:8002 is in use": (
        "Error response from daemon: failed to bind host port for 127.0.0.1:8002:172.18.0.2:8000/tcp: "
        "address already in use"
    ),
    "There is no image nope here": "Error response from daemon: No such image: nope:latest\n",
    "There is no image nope:1 here": "Error response from daemon: No such image: nope:1",
}


@pytest.mark.parametrize(("message", "printed"), PRINTED.items())
def test_known_errors_of_docker_get_a_message_with_a_remedy(message: str, printed: str) -> None:
    """The message states what is wrong, then what to do."""
    assert describe(("compose", "up"), 1, printed).startswith(message)
    assert describe(("run", "x"), 125, printed).startswith(message)


@pytest.mark.parametrize("printed", PRINTED.values())
def test_a_program_that_prints_the_same_words_is_not_docker(printed: str) -> None:
    """The program in a container failed, or a line merely quotes an error."""
    assert describe(("run", "x"), 1, printed).startswith("`docker run x` failed with exit code 1")
    quoted = "\n".join(f"test_docker.py:1: {line}" for line in printed.splitlines())
    assert describe(("compose", "up"), 1, quoted).startswith("`docker compose up` failed with exit code 1")


def test_unknown_errors_are_repeated_not_guessed_at() -> None:
    """All that was printed, not its last line alone: that may be an empty frame."""
    assert describe(("x",), 2, "no space left on device\n") == (
        "`docker x` failed with exit code 2: no space left on device"
    )
    assert describe(("x",), 2, "the reason\n\n------\n") == (
        "`docker x` failed with exit code 2. Its last lines:\n    the reason\n    ------"
    )
    assert describe(("x",), 2, " \n") == "`docker x` failed with exit code 2 and printed nothing."


def test_a_long_output_is_repeated_by_its_end() -> None:
    """As much as fits on a screen beside what was printed before."""
    lines = describe(("x",), 1, "".join(f"line {number}\n" for number in range(100))).splitlines()
    assert lines[1:] == [f"    line {number}" for number in range(100 - LAST_LINES, 100)]


def test_a_terminal_is_not_controlled_by_what_is_repeated() -> None:
    """Colours, titles and cursor movements are left out."""
    printed = "\x1b[31mred\x1b[0m\x1b]0;title\x07 a\rb\x08 \x9b31m\n"
    assert describe(("x",), 1, printed) == "`docker x` failed with exit code 1: red ab 31m"
