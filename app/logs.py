"""One handler for every log line, the server's included: as text for people, as JSON for machines."""

from __future__ import annotations

import json
import logging.config
from datetime import UTC, datetime
from typing import Any

from app.settings import Settings


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


def configure(settings: Settings) -> None:
    """Send every logger's lines to standard output in the form that `settings` ask for."""
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "text": {"format": "%(asctime)s %(levelname)-7s %(name)s: %(message)s"},
                "json": {"()": JsonFormatter},
            },
            "handlers": {
                "stdout": {
                    "class": "logging.StreamHandler",
                    "stream": "ext://sys.stdout",
                    "formatter": settings.log_format,
                }
            },
            "root": {"handlers": ["stdout"], "level": settings.log_level.upper()},
            # uvicorn gives its loggers handlers of their own before it loads the application. Its access log is
            # off: app.request_log writes that line, with an id.
            "loggers": {
                "uvicorn": {"handlers": [], "propagate": True},
                "uvicorn.access": {"handlers": [], "propagate": False},
            },
        }
    )
