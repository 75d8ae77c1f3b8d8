"""Run an ASGI application on uvicorn: listen on IPv4 and IPv6, drain at SIGTERM, end within the grace period with 0.

A server that stops at once closes connections on which a request is already on its way. So it answers for some more
seconds: readiness is 503, and every response ends its connection. Only then uvicorn's graceful shutdown begins.
"""

from __future__ import annotations

import _thread
import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Generator, Sequence
from types import FrameType
from typing import Any

from prodlock.server import uvicorn_internals as uvicorn
from prodlock.server.asgi import Application
from prodlock.server.batches import DEFERRED
from prodlock.server.body_limit import BodyLimit
from prodlock.server.head import Head
from prodlock.server.lifecycle import Lifecycle
from prodlock.server.listeners import ACCEPTED_AT_ONCE, BACKLOG, bind, not_free
from prodlock.server.logs import SERVER, adapt_to_application
from prodlock.server.probes import Paths, Probes
from prodlock.server.protocol import BoundedProtocol
from prodlock.server.request_log import RequestLog
from prodlock.server.settings import Settings

logger = logging.getLogger(SERVER)

# The exit code where the lifespan of the application has failed: that of uvicorn's own command.
STARTUP_FAILURE = 3
CLOSE = (b"connection", b"close")
# How long a lifespan that is cancelled during its start has for its cleanup.
CANCEL_SECONDS = 0.5
# How long before the end of the grace period the process ends, whatever still runs.
SPARE_SECONDS = 0.2


def layered(app: Application, lifecycle: Lifecycle, settings: Settings) -> RequestLog:
    """Return an application within the server's layers."""
    limited = BodyLimit(app, settings.max_body_bytes)
    paths = Paths(settings.health, settings.ready)
    return RequestLog(Probes(Head(limited), lifecycle, paths), lifecycle, paths)


class Lifespan(uvicorn.LifespanOn):
    """uvicorn's side of the lifespan protocol, without a traceback where the application's start was cancelled."""

    # Whether the server has cancelled the start.
    is_cancelled = False

    async def startup(self) -> None:
        """Start the application."""
        try:
            await super().startup()
        except asyncio.CancelledError:
            self.is_cancelled = True
            raise

    async def send(self, message: Any) -> None:  # noqa: ANN401
        """Handle a message of the application, which may have configured logging before."""
        adapt_to_application()
        if self.is_cancelled and isinstance(sys.exc_info()[1], asyncio.CancelledError):
            message = {"type": message["type"]}
        await super().send(message)


class Server(uvicorn.Server):
    """uvicorn with a drain between the signal and the graceful shutdown."""

    lifespan: Lifespan
    # Whether the process ends with the server.
    ends_process = True

    def __init__(
        self, config: uvicorn.Config, lifecycle: Lifecycle, *, drain_seconds: float, grace_seconds: float
    ) -> None:
        super().__init__(config)
        self.lifecycle = lifecycle
        self._drain_seconds = drain_seconds
        self._grace_seconds = grace_seconds
        # The headers that uvicorn sends with each response. One list, so that requests in flight see a change.
        self._headers: list[tuple[bytes, bytes]] = []

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Handle signals while the loop runs.

        uvicorn's own version raises them again at the end: then the exit code would be 143 unless it is process 1.
        """
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        for number in uvicorn.HANDLED_SIGNALS:
            signal.signal(number, self.handle_exit)
        try:
            yield
        finally:
            # The process is ending already. After a failed start nothing else bounds that: threads of the application,
            # for example, delay the end of the interpreter.
            if self.ends_process and not self.lifecycle.stopping:
                self._end_process_after(self._grace_seconds - SPARE_SECONDS)
            for number in uvicorn.HANDLED_SIGNALS:
                signal.signal(number, signal.SIG_IGN if self.lifecycle.stopping else self._end_at_once)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin the drain at the first signal; end it at the second.

        Runs between any two instructions of the main thread, so it takes no lock and logs nothing.
        """
        shut_down = super().handle_exit
        if self.lifecycle.stopping:
            shut_down(sig, frame)
            return
        self.lifecycle.stop()
        self._close_connections()
        if self._has_started():
            self._end_process_after(self._grace_seconds - SPARE_SECONDS)
            # Ctrl-C comes from a user who waits.
            seconds = self._drain_seconds if sig == signal.SIGTERM else 0
            self._loop.call_soon_threadsafe(self._loop.call_later, seconds, shut_down, sig, frame)
        else:
            self._end_process_after(CANCEL_SECONDS)
            assert self._task  # noqa: S101
            self._loop.call_soon_threadsafe(self._task.cancel)

    def _has_started(self) -> bool:
        """Return whether the start of the application's lifespan has ended: then its end must run as well."""
        return self.started or (hasattr(self, "lifespan") and self.lifespan.startup_event.is_set())

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the application's lifespan, listen, and become ready. Raises SystemExit where it cannot listen."""
        names = [listener.getsockname() for listener in sockets or []]
        try:
            await super().startup(sockets)
        except OSError as error:
            # Another process has bound the address as well, before one of them listened.
            host, port, *_ = names[len(self.servers)]
            await self.lifespan.shutdown()
            raise SystemExit(not_free(host, port, error)) from None
        for listener in sockets or []:
            listener.listen(BACKLOG)
        self.lifecycle.start()

    async def on_tick(self, counter: int) -> bool:
        """Keep the list of the headers of each response: uvicorn replaces it once a second."""
        ended = await super().on_tick(counter)
        if self.server_state.default_headers is not self._headers:
            self._headers[:] = self.server_state.default_headers
            self.server_state.default_headers = self._headers
            if self.lifecycle.stopping:
                self._close_connections()
        return ended

    def _close_connections(self) -> None:
        """Make every response end its connection (RFC 9112, 9.6)."""
        if CLOSE not in self._headers:
            self._headers.append(CLOSE)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Wait for requests in flight, cancel the others, and answer those that a cancellation does not end."""
        await super().shutdown(sockets)
        # A function in a thread, for example, cannot be interrupted.
        for request in list(self.lifecycle.open_requests):
            await request.abort()

    def _end_process_after(self, seconds: float) -> None:
        """End the process after some seconds, whatever it does then."""
        # Not threading.Thread: it takes locks, which the interrupted code may hold.
        with contextlib.suppress(RuntimeError):
            _thread.start_new_thread(self._end_process, (seconds,))

    def _end_process(self, seconds: float) -> None:
        time.sleep(max(seconds, 0))
        # In a thread of its own: writing to a pipe that no process reads may block.
        _thread.start_new_thread(self._log_end, ())
        time.sleep(SPARE_SECONDS / 2)
        os._exit(self._exit_code())

    def _end_at_once(self, _number: int, _frame: FrameType | None) -> None:
        os._exit(self._exit_code())

    def _exit_code(self) -> int:
        """Return the exit code of a process that does not end without help."""
        failed = hasattr(self, "lifespan") and self.lifespan.should_exit
        return 0 if self.lifecycle.stopping and not failed else STARTUP_FAILURE

    def _log_end(self) -> None:
        DEFERRED.run()
        for request in list(self.lifecycle.open_requests):
            request.log_abort()
        logger.warning("The grace period is over: the process ends, though the application still runs.")


def run(
    app: Application, settings: Settings, sockets: list[socket.socket] | None = None, kind: type[Server] = Server
) -> int:
    """Serve an application until a signal stops it; return the exit code.

    Without sockets, it binds those of the settings. `kind` is the class of the server.
    """
    adapt_to_application()
    sockets = sockets or bind(settings.host, settings.port)
    lifecycle = Lifecycle()
    config = uvicorn.Config(
        layered(app, lifecycle, settings),
        port=settings.port,
        http=BoundedProtocol,
        log_config=None,
        # The request log has these lines, with an id.
        access_log=False,
        # Without it, uvicorn would read WEB_CONCURRENCY.
        workers=1,
        # What asyncio takes for its backlog. `Server.startup` sets that of the sockets.
        backlog=ACCEPTED_AT_ONCE,
        root_path=settings.root_path,
        forwarded_allow_ips=settings.forwarded_allow_ips,
        timeout_keep_alive=settings.keep_alive_seconds,  # type: ignore[arg-type]
        timeout_graceful_shutdown=settings.graceful_seconds,  # type: ignore[arg-type]
    )
    config.load()
    config.lifespan_class = Lifespan
    grace_seconds = settings.stop_grace_seconds
    server = kind(config, lifecycle, drain_seconds=settings.drain_seconds, grace_seconds=grace_seconds)
    logger.info("Starting on %s.", _names(sockets))
    try:
        server.run(sockets)
    except asyncio.CancelledError:
        logger.info("Stopped during the start.")
        return 0
    finally:
        # An application may have replaced the handler that does it at the exit.
        DEFERRED.run()
    return STARTUP_FAILURE if server.lifespan.should_exit else 0


def _names(sockets: Sequence[socket.socket]) -> str:
    names = [listener.getsockname()[:2] for listener in sockets]
    return ", ".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in names)
