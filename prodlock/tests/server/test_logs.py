"""The formats of log lines."""

from __future__ import annotations

import datetime as dt
import io
import json
import logging
import sys
from logging.handlers import QueueHandler
from queue import SimpleQueue

import pytest

from prodlock.server import logs
from prodlock.server.batches import REQUESTS, BatchHandler

FACTS = ("logThreads", "logProcesses", "logMultiprocessing")
CIRCULAR: dict[str, object] = {}
CIRCULAR["self"] = CIRCULAR


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"when": dt.date(2026, 1, 2)}, {"when": "2026-01-02"}),
        ({"ratio": float("nan"), "most": float("inf"), "least": 0.5}, {"ratio": "nan", "most": "inf", "least": 0.5}),
        ({"kinds": [{1}, None], (1, 2): True}, {"kinds": ["{1}", None], "(1, 2)": True}),
        (["a"], {"fields": ["a"]}),
        (CIRCULAR, {}),
    ],
    ids=["date", "not a number", "set and tuple", "list", "circular"],
)
def test_fields_that_json_cannot_represent_are_text(fields: object, expected: dict[str, object]) -> None:
    """The line is valid JSON and is not lost."""
    record = logging.LogRecord("x", logging.INFO, "", 0, "ordered", None, None)
    record.fields = fields

    def refuse(name: str) -> None:
        raise AssertionError(name)

    line = json.loads(logs.JsonFormatter().format(record), parse_constant=refuse)
    assert line["message"] == "ordered"
    assert expected.items() <= line.items()


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8", "UTF8"])
def test_a_line_of_json_is_valid_in_each_encoding(monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    """Also with characters that the encoding does not have, and with lone surrogates."""
    text = "caf\xe9 \u20ac \U0001f600 \udce9"
    output = io.BytesIO()
    stream = io.TextIOWrapper(output, encoding=encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    handler = with_formatter(BatchHandler(stream), logs.JsonFormatter())
    handler.handle(logging.LogRecord("x", logging.INFO, "", 0, text, None, None))
    assert json.loads(output.getvalue().decode(encoding))["message"] == text


def test_the_time_of_a_text_line_is_that_of_its_record() -> None:
    """As `logging` formats it, also where the second changes or the clock is set back."""
    formatter, base = logs.TextFormatter(), logging.Formatter()
    for created in (1_700_000_000.25, 1_700_000_000.75, 1_700_000_001.0, 1_699_999_999.999):
        record = logging.LogRecord("x", logging.INFO, "", 0, "ordered", None, None)
        record.created, record.msecs = created, created % 1 * 1000
        assert formatter.formatTime(record) == base.formatTime(record)


def with_formatter(handler: logging.Handler, formatter: logging.Formatter) -> logging.Handler:
    """Return a handler with a formatter."""
    handler.setFormatter(formatter)
    return handler


@pytest.mark.parametrize(
    ("handler", "shown"),
    [
        (with_formatter(BatchHandler(sys.stdout), logs.TextFormatter()), False),
        (with_formatter(BatchHandler(sys.stdout), logs.JsonFormatter()), False),
        (logging.NullHandler(), False),
        (with_formatter(BatchHandler(sys.stdout), logging.Formatter("%(process)d")), True),
        (QueueHandler(SimpleQueue()), True),
    ],
    ids=["text", "json", "none", "format of the application", "queue"],
)
@pytest.mark.parametrize("name", ["", "app"])
def test_process_and_thread_are_looked_up_for_handlers_of_the_application(
    monkeypatch: pytest.MonkeyPatch, name: str, handler: logging.Handler, *, shown: bool
) -> None:
    """Its formats may have them: a line could not be formatted without them. The server's own lines have neither."""
    for fact in FACTS:
        monkeypatch.setattr(logging, fact, not shown)
    monkeypatch.setattr(logging.Logger.manager, "loggerDict", {})
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    monkeypatch.setattr(logging.getLogger(name), "handlers", [handler])
    logs.adapt_to_application()
    assert [getattr(logging, fact) for fact in FACTS] == [shown] * len(FACTS)


@pytest.mark.parametrize(
    ("disabled", "kept"), [({logs.SERVER, REQUESTS}, set()), ({REQUESTS}, {REQUESTS})], ids=["all", "one"]
)
def test_a_single_logger_can_be_disabled(monkeypatch: pytest.MonkeyPatch, disabled: set[str], kept: set[str]) -> None:
    """The configuration of an application that names none of them disables all."""
    names = {logs.SERVER, REQUESTS}
    for name in names:
        monkeypatch.setattr(logging.getLogger(name), "disabled", name in disabled)
    logs.adapt_to_application()
    assert {name for name in names if logging.getLogger(name).disabled} == kept
