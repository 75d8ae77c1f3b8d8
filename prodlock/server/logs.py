"""Configure one handler for every log line, the application's and uvicorn's included: as text or as JSON."""

from __future__ import annotations

import asyncio
import json
import logging.config
from collections.abc import Mapping
from datetime import UTC, datetime
from math import isfinite
from typing import Any, TextIO

from prodlock.server.settings import Settings

# The loggers of the request log and of the server.
REQUESTS = "prodlock.request"
SERVER = "prodlock.server"
# An attribute of an exception that the request log has logged.
LOGGED = "__logged__"
# How uvicorn's own lines about a WebSocket connection begin, and those of the package websockets.
WEBSOCKET_LINES = ('%s - "WebSocket ', "connection open", "connection closed")
# How deep a field of a line of JSON may be nested; what is deeper is text.
MOST_DEPTH = 8


_ENCODE = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode


def _plain(value: object, depth: int = 0) -> object:
    """Return a value that JSON can represent: what it has no type for, such as a date or NaN, as text."""
    if isinstance(value, Mapping) and depth < MOST_DEPTH:
        return {str(key): _plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple) and depth < MOST_DEPTH:
        return [_plain(item, depth + 1) for item in value]
    is_representable = value is None or isinstance(value, str | int) or (isinstance(value, float) and isfinite(value))
    return value if is_representable else str(value)


class JsonFormatter(logging.Formatter):
    """A JSON object for each line: time (UTC, ISO 8601), level, logger, message, and `extra={"fields": ...}`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line of JSON."""
        fields = getattr(record, "fields", {})
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **(fields if isinstance(fields, Mapping) else {"fields": fields}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        try:
            return _ENCODE(line)
        except (TypeError, ValueError, RecursionError):
            # Of an application's own fields.
            return _ENCODE(_plain(line))


class BatchHandler(logging.StreamHandler[TextIO]):
    """A handler that writes the request log in batches: line by line, it costs as much under load as the routing.

    A line waits for DELAY seconds or for the loop, but not behind another line for more than LATE. Every other
    logger's lines, and warnings and errors, are written at once, behind the lines that wait. So is everything where no
    event loop runs. At the end of the process `logging.shutdown` writes the rest: only SIGKILL loses lines.
    """

    DELAY = 0.01
    # A loop that is busy for so long runs no timer: then the next line writes those that wait.
    LATE = 0.1

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._records: list[logging.LogRecord] = []
        # The loop whose timer will flush.
        self._loop: asyncio.AbstractEventLoop | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Add a record to the batch, and write the batch where it must not wait."""
        self._records.append(record)
        loop = _running_loop() if record.name == REQUESTS and record.levelno <= logging.INFO else None
        if not loop or record.created - self._records[0].created > self.LATE:
            self.flush()
        elif loop is not self._loop:
            self._loop = loop
            loop.call_later(self.DELAY, self.flush)

    def flush(self) -> None:
        """Write the batch."""
        self.acquire()
        try:
            batch, self._records, self._loop = self._records, [], None
            # A process may be started without any standard stream.
            if batch and self.stream:
                self.stream.write("".join(map(self._line, batch)))
                self.stream.flush()
        except (OSError, ValueError):
            # Broken or closed: no process reads the log any more, and there is no other place to report that.
            pass
        finally:
            self.release()

    def _line(self, record: logging.LogRecord) -> str:
        """Return a record's line, or `` where it cannot be formatted: the others are not lost with it."""
        try:
            # No stream accepts a lone surrogate.
            return self.format(record).encode(errors="backslashreplace").decode() + self.terminator
        except Exception:  # noqa: BLE001
            self.handleError(record)
            return ""


def is_first_report(record: logging.LogRecord) -> bool:
    """Return whether a record of uvicorn is about what the request log does not have: it logs some of that again.

    An exception, and a WebSocket connection, with the query, which may have a token, and an address of any text.
    """
    if record.exc_info and getattr(record.exc_info[1], LOGGED, False):
        return False
    return not (isinstance(record.msg, str) and record.msg.startswith(WEBSOCKET_LINES))


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def configure(settings: Settings) -> None:
    """Send every logger's lines to standard output in the format of the settings."""
    # Facts that no line shows are not looked up (https://docs.python.org/3/howto/logging.html#optimization).
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "text": {"format": "%(asctime)s %(levelname)-7s %(name)s: %(message)s"},
                "json": {"()": JsonFormatter},
            },
            "filters": {"first": {"()": lambda: is_first_report}},
            "handlers": {
                "stdout": {
                    "()": BatchHandler,
                    "stream": "ext://sys.stdout",
                    "formatter": settings.log_format,
                }
            },
            "root": {"handlers": ["stdout"], "level": settings.log_level.upper()},
            # uvicorn's access log is off: prodlock.server.request_log writes that line, with an id.
            "loggers": {
                "uvicorn": {"handlers": [], "propagate": True},
                "uvicorn.error": {"filters": ["first"]},
                "uvicorn.access": {"handlers": [], "propagate": False},
            },
        }
    )
