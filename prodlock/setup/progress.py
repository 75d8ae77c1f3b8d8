"""Print one progress line with the elapsed time for a long step."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

# How often a terminal's line is updated.
_INTERVAL = 1.0


@contextmanager
def progress(title: str) -> Iterator[None]:
    """Print the elapsed time of a block on standard error.

    A terminal's line is updated in place; any other output gets a line at the start and one at the end.
    """
    started = time.monotonic()
    finished = threading.Event()
    outcome = "failed"

    def line(state: str) -> str:
        return f"{title}: {state}, {time.monotonic() - started:.0f} s"

    def update() -> None:
        while True:
            _write(f"\r{line('running')}")
            if finished.wait(_INTERVAL):
                return

    updates = threading.Thread(target=update, daemon=True) if sys.stderr.isatty() else None
    if updates:
        updates.start()
    else:
        _write(f"{title}: started\n")
    try:
        yield
        outcome = "done"
    finally:
        finished.set()
        if updates:
            updates.join()
        # A carriage return and "clear to the end of the line" replace the line of a terminal.
        _write(f"\r\x1b[K{line(outcome)}\n" if updates else f"{line(outcome)}\n")


def _write(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()
