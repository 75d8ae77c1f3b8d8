"""Configure one handler for every log line, the application's and uvicorn's included: as text or as JSON."""

from __future__ import annotations

import json
import logging.config
import re
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from math import isfinite
from typing import Any

from prodlock.server.batches import REQUESTS, BatchHandler, LineFormatter
from prodlock.server.settings import Settings

# The logger of the server.
SERVER = "prodlock.server"
# An attribute of an exception that the request log has logged.
LOGGED = "__logged__"
# How uvicorn's own lines about a WebSocket connection begin, and those of the package websockets.
WEBSOCKET_LINES = ('%s - "WebSocket ', "connection open", "connection closed")
# How deep a field of a line of JSON may be nested; what is deeper is text.
MOST_DEPTH = 8

_UTF_8 = re.compile(r"utf[-_]?8", re.IGNORECASE)


def _plain(value: object, depth: int = 0) -> object:
    """Return a value that JSON can represent: what it has no type for, such as a date or NaN, as text."""
    if isinstance(value, Mapping) and depth < MOST_DEPTH:
        return {str(key): _plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple) and depth < MOST_DEPTH:
        return [_plain(item, depth + 1) for item in value]
    is_representable = value is None or isinstance(value, str | int) or (isinstance(value, float) and isfinite(value))
    return value if is_representable else str(value)


class TextFormatter(LineFormatter):
    """A line of text for each record. The local time is formatted once a second."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
        self._second = (-1, "")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: ARG002, N802
        """Return the time of a record as the base class does."""
        return self._time(int(record.created), int(record.msecs))

    def line(self, level: int, ended: int, message: str, fields: Mapping[str, Any]) -> str:  # noqa: ARG002
        """Return a line of the request log."""
        at = self._time(ended // 1_000_000_000, ended // 1_000_000 % 1000)
        return f"{at} {logging.getLevelName(level):<7} {REQUESTS}: {message}"

    def _time(self, second: int, milliseconds: int) -> str:
        if second != self._second[0]:
            self._second = second, time.strftime(self.default_time_format, self.converter(second))
        return f"{self._second[1]},{milliseconds:03}"


class JsonFormatter(LineFormatter):
    """A JSON object for each line: time (UTC, ISO 8601), level, logger, message, and `extra={"fields": ...}`."""

    def __init__(self) -> None:
        super().__init__()
        # What standard output can't represent is escaped as JSON does it, and not as Python does.
        is_utf_8 = _UTF_8.fullmatch(getattr(sys.stdout, "encoding", None) or "utf-8")
        self._encode = json.JSONEncoder(ensure_ascii=not is_utf_8, allow_nan=False).encode

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line of JSON."""
        fields = getattr(record, "fields", {})
        line = _document(record.created, record.levelname, record.name, record.getMessage())
        line |= fields if isinstance(fields, Mapping) else {"fields": fields}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        try:
            return self._encode(line)
        except (TypeError, ValueError, RecursionError):
            # Fields that an application has added may be of any type.
            return self._encode(_plain(line))

    def line(self, level: int, ended: int, message: str, fields: Mapping[str, Any]) -> str:
        """Return a line of the request log."""
        return self._encode(_document(ended / 1e9, logging.getLevelName(level), REQUESTS, message) | dict(fields))


def _document(created: float, level: str, logger: str, message: str) -> dict[str, Any]:
    at = datetime.fromtimestamp(created, UTC).isoformat(timespec="milliseconds")
    return {"time": at, "level": level.lower(), "logger": logger, "message": message}


def is_first_report(record: logging.LogRecord) -> bool:
    """Return whether a record of uvicorn is about what the request log does not have: it logs some of that again.

    An exception, and a WebSocket connection, with the query, which may have a token, and an address of any text.
    """
    if record.exc_info and getattr(record.exc_info[1], LOGGED, False):
        return False
    return not (isinstance(record.msg, str) and record.msg.startswith(WEBSOCKET_LINES))


def configure(settings: Settings) -> None:
    """Send every logger's lines to standard output in the format of the settings."""
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "text": {"()": TextFormatter},
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
            "loggers": {"uvicorn.error": {"filters": ["first"]}},
        }
    )


def adapt_to_application() -> None:
    """Keep the server's lines where an application has configured logging, and what its formats may show."""
    # That disables the loggers that it does not name. A single one is disabled on purpose.
    if logging.getLogger(SERVER).disabled:
        for name in (SERVER, REQUESTS, "uvicorn.error"):
            logging.getLogger(name).disabled = False
    loggers = (logging.getLogger(), *logging.Logger.manager.loggerDict.values())
    handlers = (handler for one in loggers for handler in getattr(one, "handlers", ()))
    # Facts that no line shows are not looked up (https://docs.python.org/3/howto/logging.html#optimization).
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = not all(
        isinstance(one, logging.NullHandler) or isinstance(one.formatter, LineFormatter) for one in handlers
    )
