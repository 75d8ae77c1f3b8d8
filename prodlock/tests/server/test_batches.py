"""The batches in which log lines are written."""

from __future__ import annotations

import asyncio
import io
import logging
import os
import sys
import time
import weakref
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, NamedTuple

import pytest

from prodlock.server.batches import DEFERRED, REQUESTS, BatchHandler, Deferred, handle, write_line
from prodlock.server.logs import JsonFormatter, TextFormatter
from prodlock.server.request_log import Line
from prodlock.tests.server import clock


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
    logger = logging.getLogger(REQUESTS)
    before = logger.handlers, logger.propagate, logger.level
    logger.handlers, logger.propagate = [BatchHandler(stream)], False
    logger.setLevel(logging.INFO)
    yield logger
    logger.handlers, logger.propagate = before[:2]
    logger.setLevel(before[2])


@pytest.fixture
def defer(requests: logging.Logger) -> Callable[[str], None]:
    """Defer a line of the request log."""
    fields = {"name": REQUESTS, "levelno": logging.INFO, "levelname": "INFO"}
    assert requests.name == REQUESTS
    return lambda line: DEFERRED.add(lambda: handle(logging.makeLogRecord(fields | {"msg": line})))


def test_deferred_lines_are_written_in_batches(defer: Callable[[str], None], stream: Stream) -> None:
    """In one write and in order; later lines in another."""

    async def serve() -> None:
        defer("a")
        defer("b")
        assert stream.writes == []
        await asyncio.sleep(2 * Deferred.DELAY)
        assert stream.writes == ["a\nb\n"]
        defer("c")
        await asyncio.sleep(2 * Deferred.DELAY)

    clock.run(serve())
    assert stream.writes == ["a\nb\n", "c\n"]


def test_a_busy_loop_does_not_delay_lines(
    defer: Callable[[str], None], stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no timer runs for a while, the next line writes those that wait."""

    async def serve() -> None:
        defer("a")
        moment = time.monotonic()
        monkeypatch.setattr(time, "monotonic", lambda: moment + 2 * Deferred.LATE)
        defer("b")
        monkeypatch.undo()
        assert stream.writes == ["a\nb\n"]

    clock.run(serve())


def test_a_deferred_call_runs_in_the_context_of_its_request(defer: Callable[[str], None], stream: Stream) -> None:
    """A filter of the application may add what its middleware has set for the request, such as a tenant."""
    tenant = ContextVar("tenant", default="none")

    def add(record: logging.LogRecord) -> bool:
        record.msg += f" of {tenant.get()}"
        return True

    async def request(name: str) -> None:
        tenant.set(name)
        defer("a")

    async def serve() -> None:
        logging.getLogger(REQUESTS).handlers[0].addFilter(add)
        await asyncio.gather(request("one"), request("two"))
        await asyncio.sleep(2 * Deferred.DELAY)

    clock.run(serve())
    assert stream.writes == ["a of one\na of two\n"]


def test_a_filter_that_raises_loses_no_other_line(
    defer: Callable[[str], None], requests: logging.Logger, stream: Stream, capsys: pytest.CaptureFixture[str]
) -> None:
    """An application's filter, which logging does not guard. It is reported on standard error."""

    def refuse(record: logging.LogRecord) -> bool:
        if record.msg == "b":
            raise LookupError
        return True

    async def serve() -> None:
        requests.handlers[0].addFilter(refuse)
        for line in "abc":
            defer(line)
        await asyncio.sleep(2 * Deferred.DELAY)
        defer("d")
        await asyncio.sleep(2 * Deferred.DELAY)

    clock.run(serve())
    assert stream.writes == ["a\nc\n", "d\n"]
    assert capsys.readouterr().err.endswith("LookupError\n")


def test_a_filter_may_drop_or_replace_a_line(
    defer: Callable[[str], None], requests: logging.Logger, stream: Stream
) -> None:
    """As in any other logger. A filter that replaces records needs Python 3.12."""

    def keep(record: logging.LogRecord) -> Any:  # noqa: ANN401 - only from Python 3.12 on it may be a record
        return record.msg != "a" and logging.makeLogRecord({**vars(record), "msg": record.msg * 2})

    async def serve() -> None:
        requests.addFilter(keep)
        try:
            defer("a")
            defer("b")
            await asyncio.sleep(2 * Deferred.DELAY)
        finally:
            requests.removeFilter(keep)

    clock.run(serve())
    assert stream.writes == (["bb\n"] if sys.version_info >= (3, 12) else ["b\n"])


def test_threads_lose_no_line(defer: Callable[[str], None], stream: Stream) -> None:
    """Their own lines run the deferred calls as well."""
    server = logging.getLogger("tests.threads")
    server.handlers, server.propagate = logging.getLogger(REQUESTS).handlers, False
    count = 2000

    def warn() -> None:
        for _ in range(count):
            server.warning("thread")

    async def serve() -> None:
        threads = [asyncio.create_task(asyncio.to_thread(warn)) for _ in range(3)]
        for number in range(count):
            defer(f"request {number}")
            if number % 10 == 0:
                await asyncio.sleep(0)
        await asyncio.gather(*threads)
        await asyncio.sleep(2 * Deferred.DELAY)

    asyncio.run(serve())
    lines = "".join(stream.writes).splitlines()
    assert sorted(line for line in lines if line != "thread") == sorted(f"request {number}" for number in range(count))
    assert lines.count("thread") == 3 * count


def test_the_end_of_the_process_writes_the_batch(
    defer: Callable[[str], None], requests: logging.Logger, stream: Stream
) -> None:
    """As `logging` does at the exit of the interpreter."""

    async def serve() -> None:
        defer("a")
        assert stream.writes == []

    clock.run(serve())
    logging.shutdown([weakref.ref(handler) for handler in requests.handlers])
    assert stream.writes == ["a\n"]


def test_any_other_line_is_written_at_once_behind_the_batch(
    defer: Callable[[str], None], requests: logging.Logger, stream: Stream
) -> None:
    """The lines about the end of the server are written, however it ends."""
    server = logging.getLogger("tests.server")
    server.handlers, server.propagate = requests.handlers, False

    async def serve() -> None:
        defer("a")
        server.warning("b")
        assert stream.writes == ["a\n", "b\n"]

    clock.run(serve())


def test_without_an_event_loop_a_line_is_written_at_once(defer: Callable[[str], None], stream: Stream) -> None:
    """In a thread, for example."""
    defer("a")
    assert stream.writes == ["a\n"]


def test_lines_of_a_loop_that_has_ended_are_written_by_the_next(defer: Callable[[str], None], stream: Stream) -> None:
    """A loop that ends before its timer runs loses no line."""

    async def serve(line: str, seconds: float) -> None:
        defer(line)
        await asyncio.sleep(seconds)

    clock.run(serve("a", 0))
    clock.run(serve("b", 2 * Deferred.DELAY))
    assert stream.writes == ["a\nb\n"]


def test_a_closed_pipe_does_not_stop_the_service(requests: logging.Logger) -> None:
    """A service whose log has no reader continues to serve."""

    class ClosedPipe(io.StringIO):
        def write(self, _: str) -> int:
            raise BrokenPipeError

    requests.handlers = [BatchHandler(ClosedPipe())]
    requests.info("a")
    requests.info("b")


def test_characters_that_cannot_be_encoded_are_escaped(requests: logging.Logger, stream: Stream) -> None:
    """A lone surrogate does not lose the lines of its batch."""
    requests.info("a\ud800")
    assert stream.writes == ["a\\ud800\n"]


def test_an_encoding_without_a_character_loses_no_line(requests: logging.Logger) -> None:
    """Standard output may have another encoding than UTF-8."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    requests.handlers = [BatchHandler(stream)]
    requests.info("é€")
    assert stream.buffer.getvalue() == "é\\u20ac\n".encode("latin-1")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")
def test_a_forked_process_does_not_log_its_parents_requests(defer: Callable[[str], None], stream: Stream) -> None:
    """A handler may start a process right after a request that is not logged yet."""

    async def serve() -> int:
        defer("parent's")
        child = os.fork()
        if not child:
            DEFERRED.run()
            os._exit(len(stream.writes))
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])  # noqa: ASYNC222 - it ends at once

    assert clock.run(serve()) == 0
    DEFERRED.run()
    assert stream.writes == ["parent's\n"]


def test_a_line_that_cannot_be_formatted_loses_no_other(
    defer: Callable[[str], None], requests: logging.Logger, stream: Stream, capsys: pytest.CaptureFixture[str]
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
            defer(line)
        await asyncio.sleep(2 * Deferred.DELAY)

    clock.run(serve())
    assert stream.writes == ["a\nc\n"]
    assert "Logging error" in capsys.readouterr().err


class OwnFormatter(TextFormatter):
    """A formatter of an application."""

    def format(self, record: logging.LogRecord) -> str:
        """Return a line of its own."""
        return f"own {record.getMessage()}"


class Sole(NamedTuple):
    """The only handler of all loggers, as the server configures it."""

    handler: BatchHandler
    stream: Stream
    patch: pytest.MonkeyPatch

    def use(self) -> None:
        """Use it, in place of those that pytest adds to a test."""
        self.patch.setattr(logging.getLogger(), "handlers", [self.handler])


@pytest.fixture
def sole(stream: Stream, monkeypatch: pytest.MonkeyPatch) -> Sole:
    """The handler, to be used by the test."""
    handler = BatchHandler(stream)
    handler.setFormatter(TextFormatter())
    return Sole(handler, stream, monkeypatch)


@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()], ids=["text", "json"])
@pytest.mark.parametrize(
    ("level", "path", "note"),
    [
        (logging.INFO, "/", ""),
        (logging.INFO, "/\n\x1b \udcff%s%(x)s\u2028é", ""),
        (logging.WARNING, "/ws", "the application sent no response"),
    ],
)
def test_a_line_without_a_record_is_that_of_a_record(
    sole: Sole, formatter: logging.Formatter, level: int, path: str, note: str
) -> None:
    """In both formats, byte for byte."""
    sole.use()
    sole.handler.setFormatter(formatter)
    records: list[logging.LogRecord] = []

    def own_factory(*args: Any, **kwargs: Any) -> logging.LogRecord:  # noqa: ANN401
        records.append(logging.LogRecord(*args, **kwargs))
        return records[-1]

    line = Line(level, 1_700_000_000_999_600_000, 0.00123, b"a1", "GET", path, path, 200, ("10.0.0.1", 1), note, None)
    line.log()
    sole.patch.setattr(logging, "_logRecordFactory", own_factory)
    line.log()
    direct, of_record = sole.stream.writes
    assert direct == of_record
    assert direct.endswith("\n")
    assert len(records) == 1


@pytest.mark.parametrize(
    ("name", "attribute", "value"),
    [
        ("", "handlers", "more"),
        (REQUESTS, "handlers", "more"),
        (REQUESTS, "propagate", False),
        (REQUESTS, "filters", [lambda _: True]),
        (REQUESTS, "parent", logging.getLogger("app")),
        ("handler", "filters", [lambda _: True]),
        ("handler", "level", logging.ERROR),
        ("handler", "formatter", OwnFormatter()),
        ("handler", "formatter", None),
        ("logging.Logger", "callHandlers", lambda *_: None),
        ("logging", "_logRecordFactory", lambda *_: None),
    ],
)
def test_other_code_sees_a_record(sole: Sole, name: str, attribute: str, value: object) -> None:
    """A handler, a filter, a level or a formatter of the application, or a program that replaces a method."""
    sole.use()
    assert write_line(logging.INFO, 0, "seen by none", {})
    places = {"handler": sole.handler, "logging.Logger": logging.Logger, "logging": logging}
    changed = places.get(name, logging.getLogger(name))
    sole.patch.setattr(changed, attribute, [sole.handler, logging.NullHandler()] if value == "more" else value)
    assert not write_line(logging.INFO, 0, "seen by others", {})
    assert len(sole.stream.writes) == 1
