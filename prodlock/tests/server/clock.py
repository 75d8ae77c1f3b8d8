"""An event loop that skips the time until the next timer: tests of long times are quick and exact on a busy machine."""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Coroutine
from typing import TypeVar

T = TypeVar("T")

# Data sent on loopback arrives at once, or after at most so many seconds.
_DELIVERY = 0.001


class _Skipping(selectors.DefaultSelector):
    """A selector that returns early where no file is ready, and counts the time that it has skipped."""

    skipped = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return the files that are ready."""
        ready = super().select(min(timeout, _DELIVERY) if timeout else timeout)
        if timeout and not ready:
            self.skipped += timeout
        return ready


def run(main: Coroutine[None, None, T]) -> T:
    """Run a coroutine to its end, as `asyncio.run` does."""
    selector = _Skipping()
    loop = asyncio.SelectorEventLoop(selector)
    loop.time = lambda: time.monotonic() + selector.skipped  # type: ignore[method-assign]
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(main)
