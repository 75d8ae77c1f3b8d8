"""When log lines are written."""

from __future__ import annotations

import asyncio
import io
import logging

import pytest

from app.logs import TurnHandler


class Stream(io.StringIO):
    """A stream that counts the writes."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[str] = []

    def write(self, text: str) -> int:
        """Note one write."""
        self.writes.append(text)
        return len(text)


@pytest.fixture
def stream() -> Stream:
    """What the handler writes to."""
    return Stream()


@pytest.fixture
def logger(stream: Stream) -> logging.Logger:
    """A logger of its own with the handler under test."""
    logger = logging.getLogger("tests.turns")
    logger.handlers = [TurnHandler(stream)]
    logger.propagate = False
    logger.setLevel(logging.INFO)
    return logger


def test_the_lines_of_one_turn_are_written_together(logger: logging.Logger, stream: Stream) -> None:
    """In one piece and in order, and before the loop waits for anything."""

    async def turns() -> None:
        logger.info("a")
        logger.info("b")
        assert stream.writes == []
        await asyncio.sleep(0)
        assert stream.writes == ["a\nb\n"]
        logger.info("c")
        await asyncio.sleep(0)

    asyncio.run(turns())
    assert stream.writes == ["a\nb\n", "c\n"]


def test_an_error_is_written_at_once_behind_what_came_before(logger: logging.Logger, stream: Stream) -> None:
    """The process may not live to see the end of the turn."""

    async def turn() -> None:
        logger.info("a")
        logger.error("b")
        assert stream.writes == ["a\nb\n"]

    asyncio.run(turn())


def test_without_an_event_loop_a_line_is_written_at_once(logger: logging.Logger, stream: Stream) -> None:
    """At the start, at the end, and in threads."""
    logger.info("a")
    assert stream.writes == ["a\n"]


def test_what_a_loop_left_behind_is_written_at_the_end(logger: logging.Logger, stream: Stream) -> None:
    """`logging.shutdown` flushes every handler when the interpreter ends."""
    loop = asyncio.new_event_loop()

    async def last() -> None:
        logger.info("a")
        loop.stop()

    task = loop.create_task(last())
    loop.run_forever()
    assert task.done()
    logger.handlers[0].flush()
    loop.close()
    assert "".join(stream.writes) == "a\n"


def test_a_reader_who_is_gone_is_not_missed(logger: logging.Logger) -> None:
    """A service whose log nobody reads goes on serving."""

    class Gone(io.StringIO):
        def write(self, _: str) -> int:
            raise BrokenPipeError

    logger.handlers[0] = TurnHandler(Gone())
    logger.info("a")
    logger.info("b")
