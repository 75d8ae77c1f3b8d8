"""Log requests in batches: line by line, it costs as much under load as the routing."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
import traceback
from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from contextvars import Context, copy_context
from typing import Any, TextIO

# The logger of the request log.
REQUESTS = "prodlock.request"
_LOGGER = logging.getLogger(REQUESTS)
# A program that sends lines elsewhere, such as Sentry's, may replace it.
_CALL_HANDLERS = logging.Logger.callHandlers


class Deferred:
    """Calls that log requests, deferred so that many run in a row: between requests each takes several times as long.

    A call waits for DELAY seconds or for the loop, but not behind another one for more than LATE. It runs in the
    context of its request (https://docs.python.org/3/library/contextvars.html). Where no event loop runs, it runs at
    once.
    """

    DELAY = 0.01
    # A loop that is busy for so long runs no timer: then the next call runs those that wait.
    LATE = 0.1

    def __init__(self) -> None:
        # Lines of other threads run them as well: a deque needs no lock, which such a thread could hold.
        self._calls: deque[tuple[Context, Callable[[], None]]] = deque()
        # When the first of them was deferred, and the loop whose timer will run them.
        self._since = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None
        self.is_running = False

    def add(self, log: Callable[[], None]) -> None:
        """Defer a call."""
        self._calls.append((copy_context(), log))
        loop, now = _running_loop(), time.monotonic()
        if loop and loop is not self._loop:
            self._loop, self._since = loop, now
            loop.call_later(self.DELAY, self.run)
        elif not loop or now - self._since > self.LATE:
            self.run()

    def run(self) -> None:
        """Run the deferred calls, and write what they have logged."""
        self._loop = None
        if not self._calls:
            return
        self.is_running = True
        try:
            for context, log in self._taken():
                context.run(_guarded, log)
        finally:
            self.is_running = False
            _write_batches(_LOGGER)

    def clear(self) -> None:
        """Drop the deferred calls."""
        self._calls.clear()
        self._loop = None

    def _taken(self) -> Iterator[tuple[Context, Callable[[], None]]]:
        """Take the calls one by one: another thread may take some of them."""
        with suppress(IndexError):
            while True:
                yield self._calls.popleft()


DEFERRED = Deferred()
if hasattr(os, "register_at_fork"):
    # The lines of the parent are its own.
    os.register_at_fork(after_in_child=DEFERRED.clear)


def handle(record: logging.LogRecord) -> None:
    """Pass a record of the request log to its handlers.

    Also while a line of another logger is handled: `Logger.handle` drops it then, from Python 3.13.4 on
    (https://github.com/python/cpython/issues/91555).
    """
    # From Python 3.12 on a filter may replace the record.
    if kept := _LOGGER.filter(record):
        _LOGGER.callHandlers(kept if isinstance(kept, logging.LogRecord) else record)


def write_line(level: int, ended: int, message: str, fields: Mapping[str, Any]) -> bool:
    """Write a line of the request log without a record, unless other code would see the record; return whether it did.

    Such code is another handler, a filter, a factory of records, or a formatter of the application.
    """
    root = logging.root
    if _LOGGER.handlers or _LOGGER.filters or _LOGGER.parent is not root or not _LOGGER.propagate:
        return False
    handler = root.handlers[0] if len(root.handlers) == 1 else None
    if not isinstance(handler, BatchHandler) or handler.filters or handler.level:
        return False
    formatter = handler.formatter
    # A subclass may format in its own way.
    if not isinstance(formatter, LineFormatter) or "line" not in vars(type(formatter)):
        return False
    if logging.getLogRecordFactory() is not logging.LogRecord or logging.Logger.callHandlers is not _CALL_HANDLERS:
        return False
    handler.add(formatter.line(level, ended, message, fields))
    return True


def _guarded(log: Callable[[], None]) -> None:
    """Log; report an exception, such as of an application's filter, as `logging` reports a handler's."""
    try:
        log()
    except Exception:  # noqa: BLE001
        if logging.raiseExceptions and sys.stderr:
            traceback.print_exc()


def _write_batches(logger: logging.Logger | None) -> None:
    """Write the batches of a logger and of those that it propagates to."""
    while logger:
        for handler in logger.handlers:
            if isinstance(handler, BatchHandler):
                handler.write()
        logger = logger.parent if logger.propagate else None


class LineFormatter(logging.Formatter):
    """A formatter that also formats a line of the request log without a record, which takes a third of the time."""

    @abstractmethod
    def line(self, level: int, ended: int, message: str, fields: Mapping[str, Any]) -> str:
        """Return what `format` does for a record of such a line, which has ended so many ns after the epoch."""


class BatchHandler(logging.StreamHandler[TextIO]):
    """A handler that makes one write of what the deferred calls log.

    Every other line is written at once, behind those of the requests that ended before it.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._lines: list[str] = []

    def handle(self, record: logging.LogRecord) -> bool:
        """Handle a record, after those of the deferred calls."""
        # Before the base class takes the lock: the calls use other handlers, which have locks as well.
        if record.name != REQUESTS:
            DEFERRED.run()
        return super().handle(record)

    def emit(self, record: logging.LogRecord) -> None:
        """Add a record to the batch. A record that cannot be formatted is reported, and loses no other one."""
        try:
            text = self.format(record)
        except Exception:  # noqa: BLE001
            self.handleError(record)
        else:
            self.add(text)

    def add(self, text: str) -> None:
        """Add a line to the batch, and write the batch unless more follows at once."""
        self.acquire()
        self._lines.append(text + self.terminator)
        self.release()
        if not DEFERRED.is_running:
            self.write()

    def flush(self) -> None:
        """Run the deferred calls and write the batch: `logging.shutdown` does it at the end of the process."""
        DEFERRED.run()
        self.write()

    def write(self) -> None:
        """Write the batch."""
        self.acquire()
        try:
            batch, self._lines = self._lines, []
            # A process may be started without any standard stream.
            if batch and self.stream:
                # No encoding has a lone surrogate, and others than UTF-8 have few characters.
                encoding = self.stream.encoding or "utf-8"
                self.stream.write("".join(batch).encode(encoding, "backslashreplace").decode(encoding))
                self.stream.flush()
        except (OSError, ValueError):
            # Broken or closed: no process reads the log any more, and there is no other place to report that.
            pass
        finally:
            self.release()


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
