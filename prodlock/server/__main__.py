"""Run the service: `env --block-signal=TERM,INT python -m prodlock.server app.main:serve`.

The kernel drops a signal that process 1 does not handle, but keeps a blocked one pending, also across `exec`. So the
image's command blocks both signals, and this module handles them before it imports anything that takes time.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from types import FrameType

STOPS = (signal.SIGTERM, signal.SIGINT)


def exit_at_once(_number: int, _frame: FrameType | None) -> None:
    """End a process that has not started to serve: no request can be lost, and there is nothing to clean up."""
    os._exit(0)


def main() -> int:
    """Handle the signals, import the service, run it, and return its exit code."""
    for number in STOPS:
        signal.signal(number, exit_at_once)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
    # Takes half a second, and longer on a busy machine.
    module, _, name = sys.argv[1].partition(":")
    return int(getattr(importlib.import_module(module), name)())


if __name__ == "__main__":
    sys.exit(main())
