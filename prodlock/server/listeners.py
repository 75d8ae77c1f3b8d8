"""The sockets that the server listens on: IPv4 and IPv6, and what accepting does where no file descriptor is free."""

from __future__ import annotations

import errno
import socket
import time
from typing import Any

# How many connections wait to be accepted, and how many of them asyncio accepts in one round of its events. Under load
# a round takes long, as long as all the requests that it answers.
BACKLOG = 2048
ACCEPTED_AT_ONCE = 100
# Errors after which asyncio pauses a second, and logs each; yet it goes on to accept in the same round.
EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
PAUSE_SECONDS = 0.5


class Listener(socket.socket):
    """A socket on which no connection seems to wait for half a second after the machine had no room for one."""

    _paused_until = 0.0

    def accept(self) -> tuple[socket.socket, Any]:
        """Accept a connection. Raises BlockingIOError where none waits, and OSError."""
        if time.monotonic() < self._paused_until:
            raise BlockingIOError
        try:
            return super().accept()
        except OSError as error:
            if error.errno in EXHAUSTED:
                self._paused_until = time.monotonic() + PAUSE_SECONDS
            raise


def bind(host: str, port: int) -> list[socket.socket]:
    """Bind a socket for each address family, or for one address alone. None of them listens yet.

    Two sockets instead of one for both families: that one would report IPv4 clients as `::ffff:192.0.2.1`.
    A family that the machine does not have is left out. Raises SystemExit where no address can be bound.
    """
    bound: list[socket.socket] = []
    missing = {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT}
    for address in [host] if host else ["0.0.0.0", "::"]:  # noqa: S104
        try:
            bound.append(_bound(address, port))
        except OSError as error:
            if host or error.errno not in missing:
                for listener in bound:
                    listener.close()
                raise SystemExit(not_free(address, port, error)) from None
    if not bound:
        raise SystemExit(
            "This machine must have IPv4 or IPv6 (got neither). To fix it: run the container with a network."
        )
    return bound


def not_free(address: str, port: int, error: OSError) -> str:
    """Return the message where no process can listen on an address."""
    return (
        f"The address {address} and port {port} must be free to listen on (got: {error.strerror}). To fix it: stop the "
        "process that listens there, or choose others by --host and --port."
    )


def _bound(address: str, port: int) -> Listener:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = Listener(family)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((address, port))
    except OSError:
        listener.close()
        raise
    return listener
