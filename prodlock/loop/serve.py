"""Serve an application in development, and start it again whenever a file is saved.

    python -m prodlock.loop.serve MODULE:ATTRIBUTE [options of prodlock.server]

`inv dev` sets PRODLOCK_ADDRESS, the variables of `prodlock.loop.tree`, PRODLOCK_PRELOAD=0 for --no-preload, and
PRODLOCK_DEBUG=1 for --debug.

A supervisor listens, imports what the application imports from outside the tree, and forks a child for each state of
the sources: the child imports the sources alone, and serves with production's server. Requests that arrive in between
wait in the queue of the listening socket. Where the application does not start, they get the reason.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import json
import logging
import math
import os
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from prodlock.loop import debug, failed, tree
from prodlock.loop.changes import SOURCES, Tree, summary
from prodlock.loop.preload import Preloader, imported
from prodlock.loop.processes import descendants
from prodlock.loop.terminal import Terminal
from prodlock.server import application, command, listeners, logs, server
from prodlock.server.asgi import Application
from prodlock.server.settings import Settings

logger = logging.getLogger("prodlock.loop")

# How long a child has for the requests in flight and the end of its lifespan.
_STOP_SECONDS = 0.3
# How long the end waits for data that has been sent already, and how often for the first request of a new connection.
_TRANSIT_SECONDS = 0.002
_TRANSITS = 10
# How long an import may take until the log names the place.
_PATIENCE_SECONDS = 5
# The signals that end the supervisor.
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class QuickServer(server.Server):
    """Production's server, which ends without a pause where no request is in flight."""

    # Where the lifespan fails, it serves the reason.
    ends_process = False

    async def main_loop(self) -> None:
        """Look ten times as often as uvicorn whether the server is to end. It renews the Date header at every tenth."""
        ticks = 0
        while not await self.on_tick(ticks // 10):
            ticks += 1
            await asyncio.sleep(0.01)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the idle connections and the lifespan; uvicorn pauses for a tenth of a second in between.

        A client sends its first request right after it has connected, and gets the answer.
        """
        for listener in self.servers:
            listener.close()
        for _ in range(_TRANSITS):
            await asyncio.sleep(_TRANSIT_SECONDS)
            # A WebSocket connection has had a request, and no attribute of this name.
            if all(getattr(one, "cycle", one) for one in self.server_state.connections):
                break
        if self.lifecycle.open_requests or self.server_state.tasks:
            await super().shutdown(sockets)
            return
        for copy in sockets or []:
            copy.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        await self.lifespan.shutdown()


class Supervisor:
    """The process that forks, and its present child."""

    def __init__(self, arguments: Sequence[str]) -> None:
        parser = command.parser()
        parser.prog = "python -m prodlock.loop.serve"
        self.given = parser.parse_args(arguments)
        self.settings = Settings.read(options=vars(self.given))
        self.root, self.lock = tree.root(), tree.lock()
        self.tree = Tree(self.root, (*SOURCES, Path(self.lock).name), tree.vendored(self.root))
        self.debugging = os.environ.get("PRODLOCK_DEBUG") == "1"
        preloading = not self.debugging and os.environ.get("PRODLOCK_PRELOAD") != "0"
        self.preloader = Preloader(self.root) if preloading else None
        self.sockets = listeners.bind(self.settings.host, self.settings.port)
        for listener in self.sockets:
            listener.listen(listeners.BACKLOG)
        # The child, whether it was started to answer with a reason, and the end of a pipe on which it reports the
        # modules that it has imported.
        self.child = 0
        self.answering = False
        self.report = -1
        # When an import is reported that does not end, on the monotonic clock.
        self.patience = math.inf
        self.terminal = Terminal()

    def run(self) -> NoReturn:
        """Serve until a signal ends this process."""
        for number in _SIGNALS:
            signal.signal(number, self.end)
        self.start()
        if address := os.environ.get("PRODLOCK_ADDRESS"):
            # As `inv serve` prints its address, whatever the format of the log is.
            print(f"{address} serves the working tree. Ctrl-C ends it.", flush=True)
        while True:
            self.wait()

    def end(self, _number: int, _frame: FrameType | None) -> NoReturn:
        """End the child and this process, in the handler: an exception could be lost in an import."""
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        try:
            self.stop()
            logging.shutdown()
        finally:
            os._exit(0)

    def wait(self) -> None:
        """Wait for the next event, and react to it: a change, a report, or the end of the child."""
        watched = [self.report] if self.report >= 0 else []
        readable, _, _ = select.select(watched, [], [], self.tree.pause)
        if readable:
            self.read_report()
        elif watched and not self.debugging and time.monotonic() > self.patience:
            logger.warning("The application has not been imported after %d s. It is here:", _PATIENCE_SECONDS)
            os.kill(self.child, signal.SIGUSR1)
            self.patience = math.inf
        if changed := self.tree.changed():
            self.restart(changed)
        elif self.child:
            child, status = os.waitpid(self.child, os.WNOHANG)
            if child:
                self.child = 0
                reason = f"The application ended with exit code {os.waitstatus_to_exitcode(status)}."
                logger.error(reason)
                if not self.answering:
                    self.start(f"{reason} The log has what it printed.")

    def restart(self, changed: set[str]) -> None:
        """Replace the child after files have changed."""
        logger.info(summary(changed))
        if self.lock in changed:
            logger.warning("The container has the packages of the former lock: press Ctrl-C and run `inv dev` again.")
        self.stop()
        # This program itself, or the server, where they are in the tree. Another commit may not have them.
        own = Path(__file__).parents[1]
        if any((self.root / name).is_relative_to(own) for name in changed) and Path(__file__).exists():
            sys.stdout.flush()
            os.execv(sys.executable, [sys.executable, "-m", "prodlock.loop.serve", *sys.argv[1:]])  # noqa: S606
        self.start()

    def start(self, reason: str = "") -> None:
        """Fork a child that serves the application, or, with a reason, that answers with it."""
        self.close_report()
        self.answering = bool(reason)
        reading, writing = os.pipe()
        sys.stdout.flush()
        # A signal in between would leave the child.
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        self.child = os.fork()
        if not self.child:
            os.close(reading)
            code = 1
            try:
                code = self.serve(writing, reason)
            except BaseException:  # noqa: BLE001 - it ends the process
                traceback.print_exc()
            finally:
                logging.shutdown()
                os._exit(code)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        os.close(writing)
        self.report = reading
        self.patience = time.monotonic() + _PATIENCE_SECONDS

    def read_report(self) -> None:
        """Preload what the child reports: nothing where it serves nothing but a reason."""
        # A line: a process that the application has started may keep the pipe open.
        with os.fdopen(self.report, "rb") as pipe:
            names = json.loads(pipe.readline() or b"[]")
        self.report = -1
        if self.preloader and (unfit := self.preloader.preload(names)):
            logger.info("Imported again after each save, because a fork cannot inherit them: %s.", ", ".join(unfit))

    def close_report(self) -> None:
        """Forget the report of a child that has ended, or that ends now."""
        if self.report >= 0:
            os.close(self.report)
            self.report = -1

    def write_report(self, report: int, names: Sequence[str]) -> None:
        """Report modules to preload, in the child."""
        with os.fdopen(report, "wb") as pipe:
            pipe.write(json.dumps(names).encode() + b"\n")

    def stop(self) -> None:
        """End the child with what it has started, and restore the terminal, which a debugger may have changed."""
        self.close_report()
        if self.child:
            # Where a signal interrupts this, `end` does it again.
            started = descendants(self.child)
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(self.child, signal.SIGTERM)
                deadline = time.monotonic() + _STOP_SECONDS
                while os.waitpid(self.child, os.WNOHANG) == (0, 0):
                    if time.monotonic() > deadline:
                        os.kill(self.child, signal.SIGKILL)
                        os.waitpid(self.child, 0)
                        break
                    time.sleep(0.005)
            for process in started:
                with contextlib.suppress(OSError):
                    os.kill(process, signal.SIGKILL)
            self.child = 0
        if self.debugging:
            _end_adapters()
        self.terminal.restore()

    def serve(self, report: int, reason: str) -> int:
        """Serve in the child, and return its exit code."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: os._exit(0))
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        faulthandler.register(signal.SIGUSR1)
        logs.configure(self.settings)
        # Of each start and each end, the supervisor's line is enough.
        for name in ("uvicorn.error", logs.SERVER):
            logging.getLogger(name).setLevel(logging.WARNING)
        if self.debugging:
            debug.wait_for_client(lambda address: logger.info("Waiting for a debugger on %s.", address))
        app: Application | None = None
        if not reason:
            app, reason = self.load()
        if app:
            self.write_report(report, imported(self.root, {"__main__"}))
            with failed.errors_of("uvicorn.error") as errors:
                code = self.serve_until_stopped(app)
            if code is not None:
                return code
            reason = "\n".join(errors)
        else:
            self.write_report(report, [])
        return self.serve_until_stopped(failed.application(reason)) or 0

    def serve_until_stopped(self, app: Application) -> int | None:
        """Serve an application until a signal, and return the exit code, or None where its start fails.

        On copies of the listening sockets, because uvicorn closes those that it serves on.
        """
        try:
            return server.run(app, self.settings, [listener.dup() for listener in self.sockets], QuickServer)
        except SystemExit:
            return None

    def load(self) -> tuple[Application | None, str]:
        """Return the application, or None and the reason why it can't be loaded, which is logged as well."""
        try:
            return application.load(self.given.application, is_factory=self.given.factory), ""
        except SystemExit as ended:
            # A number does not state a reason.
            reason = ended.code if isinstance(ended.code, str) else _traceback(ended, self.root)
        except Exception as error:  # noqa: BLE001 - of the application's own code
            reason = _traceback(error, self.root)
        logger.error("The application does not start.\n%s", reason)
        return None, reason


def _traceback(error: BaseException, root: Path) -> str:
    """Return the traceback of an exception without the frames before the tree's own code."""
    trace = error.__traceback__
    own = Path(__file__).parents[1]
    while trace:
        file = Path(trace.tb_frame.f_code.co_filename)
        if file.is_relative_to(root) and not file.is_relative_to(own):
            break
        trace = trace.tb_next
    return "".join(traceback.format_exception(type(error), error, trace)).rstrip()


def _end_adapters() -> None:
    """End debugpy's adapter. It is a daemon: it would keep the port for as long as a debugger is attached to it."""
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if b"/debugpy/adapter" in file.read_bytes():
                os.kill(int(file.parent.name), signal.SIGKILL)


def main(arguments: Sequence[str]) -> NoReturn:
    """Serve until a signal ends this process."""
    supervisor = Supervisor(arguments)
    logs.configure(supervisor.settings)
    supervisor.run()


if __name__ == "__main__":
    main(sys.argv[1:])
