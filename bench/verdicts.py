"""Measure the development loop: from a saved file to the verdict of the affected tests."""

from __future__ import annotations

import os
import re
import select
import subprocess
import time
import uuid

from bench.contenders import PROJECT, Contender, named
from bench.work import inv_started
from prodlock.docker import engine, stages
from prodlock.failure import Failure
from prodlock.project import Project

_SECONDS = 120
# How much of a task's output the message of its failure has.
_LAST_LINES = 40
_CHUNK = 1 << 16

# A program for a container with the tree: print the seconds of the tests in a fork of a process that has imported all
# packages, without looking for a change and for the affected tests.
_TESTS_ALONE = """
import select, time
from pathlib import Path
from prodlock.loop.retest import Runner
runner = Runner(Path.cwd(), ["-p", "no:testmon"])
for _ in range(2):
    began = time.perf_counter()
    select.select([runner.start([])], [], [])
    outcome = runner.end()
    seconds = time.perf_counter() - began
    runner.preload(outcome.modules)
print(seconds)
"""


class Running:
    """A task that runs, and the output that has not been read yet."""

    def __init__(self, task: str, process: subprocess.Popen[bytes]) -> None:
        self._task = task
        self._process = process
        self._output = b""

    def until(self, pattern: str) -> str:
        """Wait for the next line that matches, and return it. Raises Failure where it does not come."""
        assert self._process.stdout is not None  # noqa: S101 - a pipe
        deadline = time.monotonic() + _SECONDS
        while True:
            found = re.search(rf".*{pattern}.*\n".encode(), self._output)
            if found:
                self._output = self._output[found.end() :]
                return found[0].decode()
            ready, _, _ = select.select([self._process.stdout], [], [], max(0, deadline - time.monotonic()))
            read = os.read(self._process.stdout.fileno(), _CHUNK) if ready else b""
            if not read:
                # A verdict alone does not state which test has failed.
                last = "\n".join(self._output.decode(errors="replace").splitlines()[-_LAST_LINES:]) or "no output"
                raise Failure(f"`{self._task}` must print {pattern!r} within {_SECONDS} s (got:\n{last}).")
            self._output += read


def to_verdict(contender: Contender) -> float:
    """Return the seconds from a save to the verdict of the affected tests. Raises Failure where one of them fails."""
    with inv_started(contender, "test", "--watch") as process:
        task = Running("inv test --watch", process)
        task.until("PASSED all tests")
        # From the first one on, packages are in memory.
        for _ in range(2):
            began = time.perf_counter()
            _save(contender)
            task.until("PASSED affected tests: [0-9]+ passed")
            seconds = time.perf_counter() - began
            task.until("PASSED all tests")
    return seconds


def to_verdict_floor(contender: Contender) -> float:
    """Return the seconds of the tests alone in a process that has imported all packages; needs the image of a watch."""
    options = ("--init", f"--name={named('server')}", "--network=none", "--env=HOME=/tmp")
    tree = stages.on_working_tree(Project(contender.folder), ":ro")
    program = (contender.image("loop"), "python", "-c", _TESTS_ALONE)
    return float(engine.output(PROJECT, "run", "--rm", *options, *tree, *program).split()[-1])


def _save(contender: Contender) -> None:
    """Append a statement to app/main.py, which affects every test that uses the application."""
    with (contender.folder / "app" / "main.py").open("a", encoding="utf-8") as source:
        source.write(f'SAVED = "{uuid.uuid4().hex}"\n')
