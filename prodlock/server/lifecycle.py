"""State of the server between start and stop: readiness, and the requests whose application has not returned."""

from __future__ import annotations

from typing import Protocol


class OpenRequest(Protocol):
    """A request whose application has not returned."""

    async def abort(self) -> None:
        """Answer 503 if no response has begun, and log that the request was cancelled."""

    def log_abort(self) -> None:
        """Log the same without an answer. Safe to call from another thread."""


class Lifecycle:
    """Readiness begins at the end of the start and ends at the first signal to stop."""

    def __init__(self) -> None:
        self.ready = False
        # From the first signal to the end of the process.
        self.stopping = False
        self.open_requests: set[OpenRequest] = set()

    def start(self) -> None:
        """Become ready, unless a signal has arrived during the start."""
        self.ready = not self.stopping

    def stop(self) -> None:
        """Become unready for good. Safe to call from a signal handler."""
        self.ready, self.stopping = False, True
