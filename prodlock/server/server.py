"""Run an ASGI application: listen on IPv4 and IPv6, drain at SIGTERM, end within the grace period with exit code 0.

A server that stops at once closes connections on which a request is already on its way. So for some seconds it goes on
answering: `/ready` is 503, and every response ends its connection. Only then uvicorn's own shutdown begins.
"""

from __future__ import annotations

import _thread
import asyncio
import contextlib
import errno
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Generator, Sequence
from types import FrameType
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.config import STARTUP_FAILURE
from uvicorn.lifespan.on import LifespanOn
from uvicorn.server import HANDLED_SIGNALS

from prodlock.server.drain import Drain
from prodlock.server.protocol import BoundedProtocol
from prodlock.server.settings import Settings

logger = logging.getLogger("app.server")

CLOSE = (b"connection", b"close")
# How long a lifespan that is stopped during its start has for its cleanup.
CANCEL_SECONDS = 0.5
# How long before the end of the grace period the process ends, whatever still runs.
SPARE_SECONDS = 0.2


def bind(host: str, port: int) -> list[socket.socket]:
    """Bind a socket for each address family, or for one address alone. Nothing listens yet.

    Two sockets and not one for both families: that one would report IPv4 clients as `::ffff:192.0.2.1`.
    A family that the machine does not have is left out.
    """
    bound: list[socket.socket] = []
    lacking = {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT}
    for address in [host] if host else ["0.0.0.0", "::"]:  # noqa: S104
        try:
            bound.append(_bound(address, port))
        except OSError as error:
            if host or error.errno not in lacking:
                for listener in bound:
                    listener.close()
                raise SystemExit(f"Can't listen on {address} port {port}: {error.strerror}.") from None
    if not bound:
        raise SystemExit("Can't listen: this machine has neither IPv4 nor IPv6.")
    return bound


def _bound(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.socket(family)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((address, port))
    except OSError:
        listener.close()
        raise
    return listener


class Lifespan(LifespanOn):
    """uvicorn's side of the lifespan protocol, without a traceback where the stop has cancelled the application's."""

    async def send(self, message: Any) -> None:  # noqa: ANN401
        """Take a message of the application."""
        if isinstance(sys.exc_info()[1], asyncio.CancelledError):
            message = {"type": message["type"]}
        await super().send(message)


class Server(uvicorn.Server):
    """uvicorn, stopped in the order that loses no request, at any time from the start of its loop."""

    def __init__(self, config: uvicorn.Config, drain: Drain, *, drain_seconds: float, grace_seconds: float) -> None:
        super().__init__(config)
        self.drain = drain
        self._drain_seconds = drain_seconds
        self._grace_seconds = grace_seconds
        # What uvicorn sends with each response. One list, so that requests in flight see a change.
        self._headers: list[tuple[bytes, bytes]] = []

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Handle signals while the loop runs.

        uvicorn's own version raises them again at the end: then the exit code would be 143 unless it is process 1.
        """
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        for number in HANDLED_SIGNALS:
            signal.signal(number, self.handle_exit)
        try:
            yield
        finally:
            # The process ends already.
            for number in HANDLED_SIGNALS:
                signal.signal(number, signal.SIG_IGN)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop at the first signal; at the second, end the drain.

        Runs between any two instructions of the main thread: it takes no lock and logs nothing.
        """
        stop = super().handle_exit
        if self.drain.stopping:
            stop(sig, frame)
            return
        serving = self.started or self.drain.ready
        self.drain.stop()
        self._close_connections()
        if serving:
            self._end_after(self._grace_seconds - SPARE_SECONDS)
            # Ctrl-C comes from a user who waits.
            seconds = self._drain_seconds if sig == signal.SIGTERM else 0
            self._loop.call_soon_threadsafe(self._loop.call_later, seconds, stop, sig, frame)
        else:
            self._end_after(CANCEL_SECONDS)
            assert self._task  # noqa: S101
            self._loop.call_soon_threadsafe(self._task.cancel)

    async def on_tick(self, counter: int) -> bool:
        """Keep the headers of each response: uvicorn renews them once a second."""
        ended = await super().on_tick(counter)
        if self.server_state.default_headers is not self._headers:
            self._headers[:] = self.server_state.default_headers
            self.server_state.default_headers = self._headers
            if self.drain.stopping:
                self._close_connections()
        return ended

    def _close_connections(self) -> None:
        """Have every response end its connection (RFC 9112, 9.6)."""
        if CLOSE not in self._headers:
            self._headers.append(CLOSE)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Wait for requests in flight, cancel the others, and answer those that a cancellation does not end."""
        await super().shutdown(sockets)
        # A function in a thread, say: it can't be interrupted.
        for request in list(self.drain.unfinished):
            await request.cut()

    def _end_after(self, seconds: float) -> None:
        """End the process after so many seconds, whatever it does then."""
        # Not threading.Thread: it takes locks, which the interrupted code may hold.
        with contextlib.suppress(RuntimeError):
            _thread.start_new_thread(self._end, (seconds,))

    def _end(self, seconds: float) -> None:
        time.sleep(max(seconds, 0))
        # In a thread of its own: a log that nobody reads may block.
        _thread.start_new_thread(self._log_end, ())
        time.sleep(SPARE_SECONDS / 2)
        os._exit(0)

    def _log_end(self) -> None:
        for request in list(self.drain.unfinished):
            request.log_cut()
        logger.warning("The grace period is over: the process ends, though the application still runs.")


def run(app: ASGIApp, drain: Drain, settings: Settings, port: int) -> int:
    """Serve an application until a signal stops it; return the exit code."""
    sockets = bind(settings.host, port)
    config = uvicorn.Config(
        app,
        port=port,
        http=BoundedProtocol,
        log_config=None,
        access_log=False,
        root_path=settings.root_path,
        forwarded_allow_ips=settings.forwarded_allow_ips,
        timeout_keep_alive=settings.keep_alive_seconds,  # type: ignore[arg-type]
        timeout_graceful_shutdown=settings.graceful_seconds,  # type: ignore[arg-type]
    )
    config.load()
    config.lifespan_class = Lifespan
    server = Server(config, drain, drain_seconds=settings.drain_seconds, grace_seconds=settings.stop_grace_seconds)
    logger.info("Starting on %s.", _names(sockets))
    try:
        server.run(sockets)
    except asyncio.CancelledError:
        logger.info("Stopped during the start.")
        return 0
    return STARTUP_FAILURE if server.lifespan.should_exit else 0


def _names(sockets: Sequence[socket.socket]) -> str:
    names = [listener.getsockname()[:2] for listener in sockets]
    return ", ".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in names)
