"""The ports of `inv dev`."""

from __future__ import annotations

import errno
import os
import socket
import sys

import pytest

from prodlock.docker import live
from prodlock.failure import Failure


def refuse(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Let the system refuse every port with an error."""

    def bind(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(socket.socket, "bind", bind)


def test_a_port_in_use_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the reason."""
    refuse(monkeypatch, errno.EADDRINUSE)
    with pytest.raises(Failure, match=r"127\.0\.0\.1:8000 must be free \(got: .*\)\. To fix it: stop the program"):
        live.check_free(8000)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows refuses a port in use with this error")
def test_a_port_that_only_root_may_use_is_left_to_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """The Engine listens there, not the task."""
    refuse(monkeypatch, errno.EACCES)
    live.check_free(80)
