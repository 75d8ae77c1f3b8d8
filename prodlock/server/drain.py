"""State of the service between start and stop: is it ready, is it stopping, and which requests are unfinished."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol


class Unfinished(Protocol):
    """A request whose application has not returned."""

    async def cut(self) -> None:
        """Answer 503 if no response has begun, and log that the stop cut the request off."""

    def log_cut(self) -> None:
        """Log the same without an answer. Safe to call from another thread."""


class Drain:
    """Readiness: from the end of the start to the first signal. Shared by the server and the application."""

    def __init__(self) -> None:
        self.ready = False
        # From the first signal to the end.
        self.stopping = False
        self.unfinished: set[Unfinished] = set()

    def stop(self) -> None:
        """Begin to stop."""
        self.ready, self.stopping = False, True

    @asynccontextmanager
    async def lifespan(self, _: object) -> AsyncIterator[None]:
        """Set readiness at the end of the start, and take it back at the end of the application."""
        self.ready = not self.stopping
        try:
            yield
        finally:
            self.ready = False
