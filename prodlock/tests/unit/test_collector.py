"""The garbage collector of a command that ends soon."""

from __future__ import annotations

import gc
import subprocess
import sys

import pytest

from prodlock import collector

# A program that leaves a cycle: the collector's last search finds it.
CYCLE = """
class Cycle:
    def __init__(self):
        self.own = self
    def __del__(self):
        print("found")
import gc
from prodlock import collector
gc.disable()
Cycle()
"""


@pytest.mark.parametrize(("more", "printed"), [("", "found\n"), ("collector.skip_at_exit()", "")])
def test_the_last_search_is_left_out(more: str, printed: str) -> None:
    """The process ends without it; Python's own end has it."""
    done = subprocess.run([sys.executable, "-c", CYCLE + more], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == (printed, "")


def test_a_pause_ends() -> None:
    """Where the collector ran before, it runs afterwards."""
    assert gc.isenabled()
    with collector.paused():
        assert not gc.isenabled()
    assert gc.isenabled()
