"""The answer of an application that does not run."""

from __future__ import annotations

import logging

import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from prodlock.loop import failed


def test_every_request_is_answered_with_the_reason() -> None:
    """As text that no browser keeps."""
    with TestClient(failed.application("NameError: x")) as client:
        answer = client.post("/anything")
    assert answer.status_code == 500
    assert "does not run" in answer.text
    assert "NameError: x" in answer.text
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-type"].startswith("text/plain")


def test_a_websocket_is_closed() -> None:
    """With the code of an internal error (RFC 6455, 7.4.1)."""
    client = TestClient(failed.application("x"))
    with pytest.raises(WebSocketDisconnect) as caught, client.websocket_connect("/"):
        pass
    assert caught.value.code == 1011


def test_errors_of_a_logger_are_collected() -> None:
    """Errors only, and only in the block."""
    logger = logging.getLogger("test-of-failed")
    with failed.errors_of("test-of-failed") as found:
        logger.error("wrong: %s", 1)
        logger.warning("not so bad")
    logger.error("too late")
    assert found == ["wrong: 1"]
