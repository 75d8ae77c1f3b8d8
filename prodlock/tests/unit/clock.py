"""A loop that waits for no timer, so that tests of long times are quick, and exact however busy the machine is."""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Coroutine
from typing import TypeVar

T = TypeVar("T")

# What is sent on loopback is there at once, or at most after so many seconds.
_DELIVERY = 0.001


class _Skipping(selectors.DefaultSelector):
    """Where nothing happens, the time until the next timer is skipped."""

    skipped = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return what is ready."""
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
