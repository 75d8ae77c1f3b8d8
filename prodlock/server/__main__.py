"""Handle the signals to stop before anything else, then run `prodlock.server.command`.

The kernel drops a signal that process 1 does not handle, but keeps a blocked one pending, also across `exec`. So the
image's command blocks both signals (`env --block-signal=TERM,INT python -m prodlock.server ...`), and this module
handles them before it imports anything that takes time.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def exit_at_once(_number: int, _frame: FrameType | None) -> None:
    """End a process that has not started to serve: no request can be lost, and there is nothing to clean up."""
    os._exit(0)


def main() -> int:
    """Handle the signals, run the server, and return its exit code."""
    for number in STOP_SIGNALS:
        signal.signal(number, exit_at_once)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
    from prodlock.server import requirements  # noqa: PLC0415

    requirements.check()
    # The application's imports take half a second, and longer on a busy machine.
    from prodlock.server import command  # noqa: PLC0415

    return command.main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
