"""One handler for every log line, the server's included: as text for people, as JSON for machines."""

from __future__ import annotations

import asyncio
import json
import logging.config
from datetime import UTC, datetime
from typing import Any, TextIO

from prodlock.server.settings import Settings

# The logger of one line a request.
REQUESTS = "app.request"
# An attribute of an exception that the request log has logged.
LOGGED = "__logged__"


class JsonFormatter(logging.Formatter):
    """A JSON object a line: time (UTC, ISO 8601), level, logger, message, and what `extra={"fields": ...}` adds."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line of JSON."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class BatchHandler(logging.StreamHandler[TextIO]):
    """Writes the request log's lines a few at a time: one by one, they cost under load as much as the routing.

    A line waits DELAY seconds, or for the loop, but not behind another line for more than LATE. Whatever else is
    logged, and whatever is worse than information, is written at once, behind the lines that wait. So is everything
    where no event loop runs. At the end of the process `logging.shutdown` writes the rest: only a kill loses lines.
    """

    DELAY = 0.01
    # A loop that is busy for so long lets no timer run: then the next line writes those that wait.
    LATE = 0.1

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._records: list[logging.LogRecord] = []
        # The loop that will flush.
        self._loop: asyncio.AbstractEventLoop | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record."""
        self._records.append(record)
        loop = _running_loop() if record.name == REQUESTS and record.levelno <= logging.INFO else None
        if not loop or record.created - self._records[0].created > self.LATE:
            self.flush()
        elif loop is not self._loop:
            self._loop = loop
            loop.call_later(self.DELAY, self.flush)

    def flush(self) -> None:
        """Write what was taken."""
        self.acquire()
        try:
            taken, self._records, self._loop = self._records, [], None
            if taken:
                self.stream.write("".join(map(self._line, taken)))
                self.stream.flush()
        except (OSError, ValueError):
            # Broken or closed: nobody reads any more, so that nobody can be told.
            pass
        finally:
            self.release()

    def _line(self, record: logging.LogRecord) -> str:
        """Return a record's line, or `` where it can't be formatted: the others are not lost with it."""
        try:
            # Nor with a lone surrogate, which no stream takes.
            return self.format(record).encode(errors="backslashreplace").decode() + self.terminator
        except Exception:  # noqa: BLE001
            self.handleError(record)
            return ""


def is_new(record: logging.LogRecord) -> bool:
    """Return whether a record is not about an exception that the request log has logged: uvicorn logs it again."""
    return not (record.exc_info and getattr(record.exc_info[1], LOGGED, False))


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def configure(settings: Settings) -> None:
    """Send every logger's lines to standard output in the form that `settings` ask for."""
    # What no line shows is not looked up for each (https://docs.python.org/3/howto/logging.html#optimization).
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "text": {"format": "%(asctime)s %(levelname)-7s %(name)s: %(message)s"},
                "json": {"()": JsonFormatter},
            },
            "filters": {"new": {"()": lambda: is_new}},
            "handlers": {
                "stdout": {
                    "()": BatchHandler,
                    "stream": "ext://sys.stdout",
                    "formatter": settings.log_format,
                }
            },
            "root": {"handlers": ["stdout"], "level": settings.log_level.upper()},
            # uvicorn's own command gives its loggers handlers before it loads the application. Its access log is off:
            # app.request_log writes that line, with an id.
            "loggers": {
                "uvicorn": {"handlers": [], "propagate": True},
                "uvicorn.error": {"filters": ["new"]},
                "uvicorn.access": {"handlers": [], "propagate": False},
            },
        }
    )
