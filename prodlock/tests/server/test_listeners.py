"""The sockets that the server listens on. `test_process.py` runs it as a process."""

from __future__ import annotations

import errno
import socket

import pytest

from prodlock.server import listeners


def test_the_server_listens_on_ipv4_and_ipv6() -> None:
    """On a socket for each, so that IPv4 clients keep their addresses."""
    sockets = listeners.bind("", 0)
    try:
        found = [listener.getsockname()[0] for listener in sockets]
    finally:
        for listener in sockets:
            listener.close()
    assert found[0] == "0.0.0.0"  # noqa: S104
    assert found[1:] in ([], ["::"])


@pytest.mark.parametrize("code", [errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL])
def test_a_machine_without_ipv6_is_served_on_ipv4(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """Whether the kernel lacks it or an administrator has switched it off."""

    def bound(address: str, port: int) -> socket.socket:
        if address == "::":
            raise OSError(code, "no IPv6")
        return socket.create_server((address, port))

    monkeypatch.setattr(listeners, "_bound", bound)
    (listener,) = listeners.bind("", 0)
    listener.close()
    with pytest.raises(SystemExit, match=r"The address :: and port 0 must be free to listen on \(got: no IPv6\)"):
        listeners.bind("::", 0)


def test_a_machine_without_a_network_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """In one message."""

    def bound(_address: str, _port: int) -> socket.socket:
        raise OSError(errno.EAFNOSUPPORT, "none")

    monkeypatch.setattr(listeners, "_bound", bound)
    with pytest.raises(SystemExit, match=r"must have IPv4 or IPv6 \(got neither\)"):
        listeners.bind("", 0)
