"""Run a task in a terminal or without one, and read what it prints while it runs."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TypeVar

from prodlock.tests.engine.conftest import COPY, docker, inv_command

FIRST = "def test_first() -> None:\n    assert True\n"


class Running:
    """A task that runs, and what it prints."""

    def __init__(self, folder: Path, *arguments: str, terminal: bool = False) -> None:
        self.folder = folder
        self.printed = ""
        self._seen = 0
        # A terminal is read and written by one descriptor.
        self.output, theirs = pty.openpty() if terminal else os.pipe()
        # A run of these tests under `nohup` ignores the signal, and so would the task.
        ignored = signal.signal(signal.SIGHUP, signal.SIG_DFL)
        try:
            self.process = subprocess.Popen(
                inv_command(*arguments),
                cwd=folder,
                stdin=theirs if terminal else subprocess.DEVNULL,
                stdout=theirs,
                stderr=theirs,
                start_new_session=terminal,
            )
        finally:
            signal.signal(signal.SIGHUP, ignored)
            os.close(theirs)

    def until(self, pattern: str, seconds: float = 60) -> str:
        """Wait for new output that matches, and return what was printed since the last call, up to it."""
        deadline = time.monotonic() + seconds
        while not (found := re.compile(pattern).search(self.printed, self._seen)):
            ready, _, _ = select.select([self.output], [], [], max(0, deadline - time.monotonic()))
            read = os.read(self.output, 4096) if ready else b""
            assert read, f"no {pattern!r} in {self.printed[self._seen :]!r}"
            self.printed += read.decode(errors="replace")
        since, self._seen = self.printed[self._seen : found.end()], found.end()
        return since

    def type(self, keys: bytes) -> None:
        """Type on the terminal."""
        os.write(self.output, keys)

    def hang_up(self) -> None:
        """Close the terminal."""
        if self.output >= 0:
            os.close(self.output)
            self.output = -1

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Signal the task and return its exit code."""
        self.process.send_signal(number)
        return self.process.wait(20)


Task = TypeVar("Task", bound=Running)


class Watching(Running):
    """`inv test --watch` or another form of `inv test`."""

    def __init__(self, folder: Path, *arguments: str, terminal: bool = False) -> None:
        super().__init__(folder, "test", *arguments, terminal=terminal)

    def save(self, name: str, text: str, *, verdicts: Sequence[str] = ("affected tests", "all tests")) -> str:
        """Write a file, and return what is printed until the last of the verdicts."""
        (self.folder / name).write_text(text, encoding="utf-8")
        lines = {
            "affected tests": "(No test is affected|(PASSED|FAILED) affected tests)",
            "all tests": "(PASSED|FAILED) all tests",
        }
        return "".join(self.until(rf"{lines[kind]}.*\n") for kind in verdicts)


@contextmanager
def ended(task: Task) -> Iterator[Task]:
    """Yield a task, and end it afterwards where it runs."""
    try:
        yield task
    finally:
        if task.process.poll() is None:
            task.end()
        task.hang_up()


def watching(folder: Path, *arguments: str, terminal: bool = False) -> AbstractContextManager[Watching]:
    """Run `inv test` with arguments, and end it afterwards where it runs."""
    return ended(Watching(folder, *arguments, terminal=terminal))


def running() -> str:
    """Return the names of the containers of the copy's tasks."""
    return docker("ps", "--all", f"--filter=name={COPY}-dev", "--format={{.Names}}").stdout
