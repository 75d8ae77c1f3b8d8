"""How Compose runs production: the items of the CIS Docker Benchmark that this project implements."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from prodlock.tests.engine.conftest import (
    PORT,
    PROD,
    content,
    docker,
    inspected,
    inv,
    python_in,
    served,
    status,
)

MIB = 1 << 20


@pytest.fixture(scope="module")
def hardened() -> Iterator[str]:
    """The production container, which the tests only examine."""
    with served() as container:
        yield container


def refuses(container: str, script: str, error: str) -> bool:
    """Return whether a script fails in the container with an error."""
    done = docker("exec", container, "python", "-c", script, check=False)
    return done.returncode != 0 and error in done.stderr


def limits(container: str) -> dict[str, Any]:
    """Return the options that the container runs with."""
    found: dict[str, Any] = inspected(container)["HostConfig"]
    return found


def history(_: str) -> list[str]:
    """Return the instructions that made production, without those of copied layers."""
    return docker("history", "--no-trunc", "--format={{.CreatedBy}}", PROD).stdout.splitlines()


def published(container: str) -> set[str]:
    """Return the addresses of this machine on which the container is published."""
    ports = inspected(container)["NetworkSettings"]["Ports"]
    return {binding["HostIp"] for bindings in ports.values() for binding in bindings or ()}


THREADS = (
    "import threading, time; [threading.Thread(target=time.sleep, args=(9,), daemon=True).start() for _ in range(99)]"
)
# The check of the running container for each item, by the benchmark's number.
ITEMS: dict[str, Callable[[str], bool]] = {
    "4.1": lambda container: status(container, "Uid").split() == ["10001"] * 4,
    "4.6": lambda container: inspected(container)["State"]["Health"]["Status"] == "healthy",
    "4.8": lambda _: not [path for path, file in content(PROD).items() if file.mode & 0o6000],
    "4.9": lambda container: not [step for step in history(container) if step.startswith("ADD ")],
    "4.10": lambda _: inv("check-prod-has-no-pytest").returncode == 0,
    "5.4": lambda container: {status(container, name) for name in ("CapPrm", "CapEff", "CapBnd")} == {"0" * 16},
    "5.11": lambda container: limits(container)["Memory"] == 256 * MIB,
    "5.12": lambda container: limits(container)["NanoCpus"] == 1e9,
    "5.13": lambda container: refuses(container, "open('/srv/x', 'w')", "Read-only file system"),
    "5.14": lambda container: published(container) == {"127.0.0.1"},
    "5.15": lambda container: limits(container)["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 5},
    "5.26": lambda container: status(container, "NoNewPrivs") == "1",
    "5.29": lambda container: limits(container)["PidsLimit"] == 64 and refuses(container, THREADS, "can't start new"),
}


@pytest.mark.parametrize("item", ITEMS)
def test_container_passes_an_item_of_the_benchmark(hardened: str, item: str) -> None:
    """The running container is examined, not its configuration."""
    assert ITEMS[item](hardened)


@pytest.mark.parametrize("item", sorted(set(ITEMS) - {"4.6", "4.8", "4.9", "4.10"}))
def test_a_bare_container_fails_most_items(item: str) -> None:
    """The control: without Compose's options only item 4.1 of these passes."""
    container = docker("run", "--detach", f"--publish={PORT + 1}:8000", PROD).stdout.strip()
    try:
        assert ITEMS[item](container) == (item == "4.1")
    finally:
        docker("rm", "--force", container)


def test_temporary_files_can_be_written_and_not_executed(hardened: str) -> None:
    """/tmp has 16 MiB and is mounted without the right to execute."""
    found = python_in(hardened, "import os; print(os.statvfs('/tmp').f_blocks * os.statvfs('/tmp').f_frsize)")
    assert int(found) == 16 * MIB
    script = "import os, shutil; shutil.copy('/usr/local/bin/python3.13', '/tmp/x'); os.execv('/tmp/x', ['x', '-V'])"
    assert refuses(hardened, script, "Permission denied")


def test_container_has_no_init(hardened: str) -> None:
    """An init would be one more program; the service handles the signals and starts no processes."""
    assert not limits(hardened).get("Init")
    assert "prodlock.server" in python_in(hardened, "print(open('/proc/1/cmdline').read())").split("\0")
