"""The formats of log lines."""

from __future__ import annotations

import datetime as dt
import json
import logging

import pytest

from prodlock.server import logs

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


def test_the_time_of_a_text_line_is_that_of_its_record() -> None:
    """As `logging` formats it, also where the second changes or the clock is set back."""
    formatter, base = logs.TextFormatter(), logging.Formatter()
    for created in (1_700_000_000.25, 1_700_000_000.75, 1_700_000_001.0, 1_699_999_999.999):
        record = logging.LogRecord("x", logging.INFO, "", 0, "ordered", None, None)
        record.created, record.msecs = created, created % 1 * 1000
        assert formatter.formatTime(record) == base.formatTime(record)
