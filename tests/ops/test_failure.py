"""What Docker, Poetry and uv say, and what a user hears."""

from __future__ import annotations

import pytest

from ops.failure import explain

# Each as a real run printed it.
SAID = {
    "You may not use Docker's socket": (
        "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock: "
        'Get "http://%2Fvar%2Frun%2Fdocker.sock/v1.50/version": dial unix /var/run/docker.sock: connect: '
        "permission denied"
    ),
    "poetry.lock can't be installed: h11==0.16.0 comes from a git": (
        "#9 0.2 poetry.lock can't be installed: h11==0.16.0 comes from a git; only what a package index serves can be."
    ),
    "The Docker Engine is not running": (
        "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?"
    ),
    "Docker Compose v2 or Buildx is missing": "unknown flag: --short\n\nUsage:  docker [OPTIONS] COMMAND [ARG...]\n",
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
    "The base image python:3.13-slim-trixie is not here": (
        "ERROR: failed to solve: python:3.13-slim-trixie: failed to resolve source metadata for "
        "docker.io/library/python:3.13-slim-trixie: failed to do request: Head "
        '"https://registry.example/v2/library/python/manifests/3.13-slim-trixie": dial tcp: lookup registry.example: '
        "no such host"
    ),
    "This Engine can't run programs of that platform": "#5 0.094 exec /bin/sh: exec format error\n",
    "There is no image nope here": "Error response from daemon: No such image: nope:latest\n",
    "There is no image nope:1 here": "Error response from daemon: No such image: nope:1",
    "run `inv poetry -- lock`, review": (
        "#11 0.4 pyproject.toml changed significantly since poetry.lock was last generated\n"
    ),
    "What the package index serves as idna==3.20 is not": (
        "error: Failed to download `idna==3.20`\n  Caused by: Hash mismatch for `idna==3.20`"
    ),
    "The package index shows a certificate": (
        "WARNING: Retrying (Retry(total=4)) after connection broken by 'SSLError(SSLCertVerificationError(1, "
        "'[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed certificate in certificate chain"
    ),
    "The build can't reach the package index": (
        "error: Request failed after 3 retries\n  Caused by: Failed to fetch: `http://127.0.0.1:9/simple/idna/`\n"
        "  Caused by: error sending request for url (http://127.0.0.1:9/simple/idna/)"
    ),
}


@pytest.mark.parametrize(("sentence", "said"), SAID.items())
def test_known_failures_become_a_sentence_with_a_remedy(sentence: str, said: str) -> None:
    """The sentence says what is wrong, then what to do."""
    heard = explain(said)
    assert heard is not None
    assert heard.startswith(sentence) or sentence in heard


def test_unknown_failures_are_not_guessed_at() -> None:
    """No sentence is better than a wrong one."""
    assert explain("no space left on device") is None
    assert explain("#12 0.2 make: unknown flag: --foo") is None
