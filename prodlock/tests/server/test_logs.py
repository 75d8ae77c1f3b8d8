"""The batches in which log lines are written."""

from __future__ import annotations

import asyncio
import datetime as dt
import io
import json
import logging
import time
import weakref
from collections.abc import Iterator

import pytest

from prodlock.server import logs
from prodlock.tests.server import clock

CIRCULAR: dict[str, object] = {}
CIRCULAR["self"] = CIRCULAR


class Stream(io.StringIO):
    """A stream that counts the writes."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[str] = []

    def write(self, text: str) -> int:
        """Record one write."""
        self.writes.append(text)
        return len(text)


@pytest.fixture
def stream() -> Stream:
    """The stream that the handler writes to."""
    return Stream()


@pytest.fixture
def requests(stream: Stream) -> Iterator[logging.Logger]:
    """The request log, on a handler of its own."""
    logger = logging.getLogger(logs.REQUESTS)
    before = logger.handlers, logger.propagate, logger.level
    logger.handlers, logger.propagate = [logs.BatchHandler(stream)], False
    logger.setLevel(logging.INFO)
    yield logger
    logger.handlers, logger.propagate = before[:2]
    logger.setLevel(before[2])


def test_the_lines_of_the_request_log_are_written_in_batches(requests: logging.Logger, stream: Stream) -> None:
    """In one write and in order; later lines in another."""

    async def serve() -> None:
        requests.info("a")
        requests.info("b")
        assert stream.writes == []
        await asyncio.sleep(2 * logs.BatchHandler.DELAY)
        assert stream.writes == ["a\nb\n"]
        requests.info("c")
        await asyncio.sleep(2 * logs.BatchHandler.DELAY)

    clock.run(serve())
    assert stream.writes == ["a\nb\n", "c\n"]


def test_a_busy_loop_does_not_delay_lines(
    requests: logging.Logger, stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no timer runs for a while, the next line writes those that wait."""

    async def serve() -> None:
        requests.info("a")
        moment = time.time()
        monkeypatch.setattr(time, "time", lambda: moment + 1)
        monkeypatch.setattr(time, "time_ns", lambda: int((moment + 1) * 1e9))
        requests.info("b")
        assert stream.writes == ["a\nb\n"]

    clock.run(serve())


def test_the_end_of_the_process_writes_the_batch(requests: logging.Logger, stream: Stream) -> None:
    """As `logging` does at the exit of the interpreter."""

    async def serve() -> None:
        requests.info("a")
        assert stream.writes == []

    clock.run(serve())
    logging.shutdown([weakref.ref(handler) for handler in requests.handlers])
    assert stream.writes == ["a\n"]


def test_an_error_is_written_at_once_behind_the_batch(requests: logging.Logger, stream: Stream) -> None:
    """The process may not live much longer."""

    async def serve() -> None:
        requests.info("a")
        requests.error("b")
        assert stream.writes == ["a\nb\n"]

    clock.run(serve())


def test_any_other_line_is_written_at_once_behind_the_batch(requests: logging.Logger, stream: Stream) -> None:
    """The lines about the end of the server are written, however it ends."""
    server = logging.getLogger("tests.server")
    server.handlers, server.propagate = requests.handlers, False

    async def serve() -> None:
        requests.info("a")
        server.warning("b")
        assert stream.writes == ["a\nb\n"]

    clock.run(serve())


def test_without_an_event_loop_a_line_is_written_at_once(requests: logging.Logger, stream: Stream) -> None:
    """In a thread, for example."""
    requests.info("a")
    assert stream.writes == ["a\n"]


def test_lines_of_a_loop_that_has_ended_are_written_by_the_next(requests: logging.Logger, stream: Stream) -> None:
    """A loop that ends before its timer runs loses no line."""

    async def serve(line: str, seconds: float) -> None:
        requests.info(line)
        await asyncio.sleep(seconds)

    clock.run(serve("a", 0))
    clock.run(serve("b", 2 * logs.BatchHandler.DELAY))
    assert stream.writes == ["a\nb\n"]


def test_a_closed_pipe_does_not_stop_the_service(requests: logging.Logger) -> None:
    """A service whose log has no reader continues to serve."""

    class ClosedPipe(io.StringIO):
        def write(self, _: str) -> int:
            raise BrokenPipeError

    requests.handlers = [logs.BatchHandler(ClosedPipe())]
    requests.info("a")
    requests.info("b")


def test_characters_that_cannot_be_encoded_are_escaped(requests: logging.Logger, stream: Stream) -> None:
    """A lone surrogate does not lose the lines of its batch."""
    requests.info("a\ud800")
    assert stream.writes == ["a\\ud800\n"]


def test_a_line_that_cannot_be_formatted_loses_no_other(
    requests: logging.Logger, stream: Stream, capsys: pytest.CaptureFixture[str]
) -> None:
    """The failure is reported on standard error."""

    class Picky(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            if record.msg == "b":
                raise TypeError
            return super().format(record)

    requests.handlers[0].setFormatter(Picky())

    async def serve() -> None:
        for line in "abc":
            requests.info(line)
        await asyncio.sleep(2 * logs.BatchHandler.DELAY)

    clock.run(serve())
    assert stream.writes == ["a\nc\n"]
    assert "Logging error" in capsys.readouterr().err


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
