"""Signals that end a task."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

# Between the interruption and each step of a cleanup, signals may arrive.
CLEANS_UP = """\
import os, signal, sys
from prodlock.docker import engine
from prodlock.failure import Terminated, interrupt_on_termination
signal.signal(signal.SIGINT, signal.default_int_handler)
interrupt_on_termination()
first = int(sys.argv[1])
try:
    os.kill(os.getpid(), first)
except KeyboardInterrupt as interruption:
    os.kill(os.getpid(), signal.SIGINT)
    with engine.undisturbed():
        os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGTERM)
    print(type(interruption) is Terminated, "cleaned up", flush=True)
# The next task may be interrupted again.
interrupt_on_termination()
os.kill(os.getpid(), signal.SIGTERM)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_only_the_first_signal_interrupts_a_task(number: int) -> None:
    """The cleanup that follows is not interrupted, also not between its steps; the next task may be."""
    done = subprocess.run(
        [sys.executable, "-c", CLEANS_UP, str(int(number))], capture_output=True, text=True, check=False, timeout=20
    )
    assert done.stdout == f"{number == signal.SIGTERM} cleaned up\n"
    assert done.stderr.strip().endswith("prodlock.failure.Terminated")
