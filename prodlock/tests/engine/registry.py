"""A registry of images on the loopback interface, from Debian's package."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from prodlock.tests.engine.conftest import PORT, PROJECT, docker, secrets, until

# The Engine pulls from loopback addresses without TLS.
ADDRESS = f"127.0.0.1:{PORT + 1}"
# Debian's own configuration asks for a password.
_CONFIGURATION = 'version: 0.1\\nstorage: {filesystem: {rootdirectory: /data}}\\nhttp: {addr: "0.0.0.0:5000"}\\n'


@contextmanager
def registry() -> Iterator[str]:
    """Run an empty registry; give its address."""
    tag = f"{PROJECT}:registry"
    package = "--build-arg=PACKAGES=docker-registry"
    docker("build", "--quiet", f"--tag={tag}", "--target=base", package, *secrets(), ".")
    script = f"printf '{_CONFIGURATION}' > /tmp/config.yml; exec docker-registry serve /tmp/config.yml"
    options = ("--rm", "--detach", f"--publish={ADDRESS}:5000", "--tmpfs=/data")
    container = docker("run", *options, tag, "sh", "-c", script).stdout.strip()
    try:
        until(lambda: "listening on" in docker("logs", container).stderr, 20)
        yield ADDRESS
    finally:
        docker("stop", "--time=1", container)
        docker("rmi", "--force", tag)


def push(image: str, tag: str) -> str:
    """Push an image to the registry; return its name with the digest, as the registry has it."""
    name = f"{ADDRESS}/quotes"
    docker("tag", image, f"{name}:{tag}")
    try:
        pushed = docker("push", f"{name}:{tag}").stdout
    finally:
        docker("rmi", f"{name}:{tag}")
    digest = re.search(r"digest: (sha256:[0-9a-f]{64})", pushed)
    assert digest, pushed
    return f"{name}@{digest[1]}"
