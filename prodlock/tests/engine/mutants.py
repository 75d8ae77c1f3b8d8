"""Run unit tests on mutants of a module: a program that imports pytest once and forks for each run.

Standard input has one JSON object a line: `module`, `source` (its text, empty for no mutant) and `tests` (paths).
Standard output gets pytest's exit code for each.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import json
import os
import sys
from collections.abc import Sequence

import pytest


class Mutant(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Load one module from a text, and none from a file."""

    def __init__(self, module: str, source: str) -> None:
        self.module = module
        self.source = source

    def find_spec(self, fullname: str, *_: object) -> importlib.machinery.ModuleSpec | None:
        """Return this loader for the one module."""
        return importlib.machinery.ModuleSpec(fullname, self) if fullname == self.module else None

    def get_source(self, _: str) -> str:
        """Return the text."""
        return self.source


def run(module: str, source: str, tests: Sequence[str]) -> int:
    """Return pytest's exit code for some tests in a process of their own, where a module has another text."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, sys.stdout.fileno())
    os.dup2(nothing, sys.stderr.fileno())
    if source:
        sys.meta_path.insert(0, Mutant(module, source))
    os._exit(pytest.main(["--quiet", "--exitfirst", "--noconftest", *tests]))


def main() -> None:
    """Answer each line of standard input."""
    for line in sys.stdin:
        print(run(**json.loads(line)), flush=True)


if __name__ == "__main__":
    main()
