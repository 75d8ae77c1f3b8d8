"""Run a project's own serving command in development, and start it again whenever a file is saved.

    python -m prodlock.loop.rerun PORT COMMAND_PORT WORD ...

For a project without production's server, whose lock may have any server: this program needs the standard library
alone. `inv dev` sets PRODLOCK_ADDRESS and the variables of `prodlock.loop.tree`.

A supervisor listens on PORT and passes each connection on to the command, which serves on COMMAND_PORT. Connections
that arrive while the command starts wait for it. Where the command has ended, they get the end of what it printed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from asyncio import StreamReader, StreamWriter, subprocess
from collections.abc import Sequence
from pathlib import Path

from prodlock.loop import failed, tree
from prodlock.loop.changes import SOURCES, Tree, summary
from prodlock.loop.processes import descendants
from prodlock.loop.terminal import Terminal

# How long the command has for the requests in flight.
_STOP_SECONDS = 1.0
# How long a connection waits until it tries the command again.
_RETRY_SECONDS = 0.02
_CHUNK = 65536
# How much of what the command prints an answer has.
_LINES, _BYTES = 40, 20_000
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Rerunner:
    """A command, its present process, and the connections to it."""

    def __init__(self, port: int, command_port: int, command: Sequence[str]) -> None:
        self._port = port
        self._command_port = command_port
        self._command = command
        self._lock = tree.lock()
        root = tree.root()
        self._tree = Tree(root, (*SOURCES, Path(self._lock).name), tree.vendored(root))
        self._terminal = Terminal()
        self._process: subprocess.Process | None = None
        self._printed = b""
        # Copies what the process prints, until its end.
        self._copying: asyncio.Task[None] | None = None
        # Why there is no process, and whether there is one or a reason.
        self._reason = ""
        self._decided = asyncio.Event()

    async def run(self) -> None:
        """Run the command until a signal arrives."""
        ended = asyncio.Event()
        for number in _SIGNALS:
            asyncio.get_running_loop().add_signal_handler(number, ended.set)
        server = await self._listen()
        try:
            await self._start()
            if address := os.environ.get("PRODLOCK_ADDRESS"):
                print(f"{address} serves the working tree. Ctrl-C ends it.", flush=True)
            while not ended.is_set():
                if changed := self._tree.changed():
                    await self._restart(changed)
                elif self._process and self._process.returncode is not None:
                    await self._report(self._process.returncode)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(ended.wait(), self._tree.pause)
        finally:
            server.close()
            await self._stop()

    async def _listen(self) -> asyncio.Server:
        """Listen before the command starts, which could take the port. Raises SystemExit."""
        try:
            return await asyncio.start_server(self._connected, port=self._port)
        except OSError as error:
            raise SystemExit(
                f"Port {self._port} must be free to listen on (got: {os.strerror(error.errno or 0)}). To fix it: stop "
                "the process that listens there."
            ) from None

    async def _restart(self, changed: set[str]) -> None:
        """Replace the process after files have changed."""
        print(summary(changed), flush=True)
        if self._lock in changed:
            print("The container has the packages of the former lock: press Ctrl-C and run `inv dev` again.")
        await self._stop()
        try:
            await self._start()
        except OSError as error:
            # A program of the tree, which a change of branches has removed for a moment, for example.
            self._reason = f"The command cannot be started ({error.strerror})."
            print(f"{self._reason} It is started again when a file is saved.", flush=True)
            self._decided.set()

    async def _start(self) -> None:
        self._printed, self._reason = b"", ""
        # It keeps the terminal: `breakpoint()` reads from it.
        self._process = await asyncio.create_subprocess_exec(*self._command, stderr=subprocess.PIPE)
        self._copying = asyncio.create_task(self._copy(self._process.stderr))
        self._decided.set()

    async def _copy(self, errors: StreamReader | None) -> None:
        """Print what the process writes to its standard error, and keep the end of it."""
        while errors and (chunk := await errors.read(_CHUNK)):
            sys.stderr.buffer.write(chunk)
            sys.stderr.buffer.flush()
            self._printed = (self._printed + chunk)[-_BYTES:]

    async def _report(self, code: int) -> None:
        """Print that the process has ended, and keep why for the answers."""
        self._process = None
        await self._copied()
        ended = f"The command ended with exit code {code}."
        print(f"{ended} It is started again when a file is saved.", flush=True)
        lines = self._printed.decode(errors="replace").splitlines()[-_LINES:]
        self._reason = "\n".join([f"{ended} The log has all that it printed.", "", *lines])

    async def _copied(self) -> None:
        """Wait until all that an ended process has written is copied. A process that it has left may go on."""
        if self._copying:
            await asyncio.wait([self._copying], timeout=0.2)
            self._copying.cancel()
            self._copying = None

    async def _stop(self) -> None:
        """End the process, and what it has started."""
        self._decided.clear()
        process, self._process = self._process, None
        if process:
            # A worker of a server that is killed goes on and keeps the port.
            started = descendants(process.pid)
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), _STOP_SECONDS)
            for identifier in (process.pid, *started):
                if identifier != process.pid or process.returncode is None:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(identifier, signal.SIGKILL)
            await process.wait()
            await self._copied()
        # A debugger may have changed it.
        self._terminal.restore()

    async def _connected(self, reader: StreamReader, writer: StreamWriter) -> None:
        """Pass a connection on to the command, or answer with the reason why it does not run."""
        # The end of this program cancels the task, which asyncio of Python 3.11 reports as an error.
        with contextlib.suppress(OSError, asyncio.CancelledError), contextlib.closing(writer):
            if connection := await self._connection():
                with contextlib.closing(connection[1]):
                    upload = asyncio.create_task(_pass_on(reader, connection[1]))
                    await _pass_on(connection[0], writer)
                    upload.cancel()
            else:
                await _answer(reader, writer, self._reason)

    async def _connection(self) -> tuple[StreamReader, StreamWriter] | None:
        """Return a connection to the command as soon as it listens, or None where it has ended."""
        while True:
            await self._decided.wait()
            if self._reason:
                return None
            with contextlib.suppress(OSError):
                return await asyncio.open_connection("127.0.0.1", self._command_port)
            await asyncio.sleep(_RETRY_SECONDS)


async def _pass_on(reader: StreamReader, writer: StreamWriter) -> None:
    """Write what a reader gives, and its end."""
    with contextlib.suppress(OSError):
        while chunk := await reader.read(_CHUNK):
            writer.write(chunk)
            await writer.drain()
        writer.write_eof()


async def _answer(reader: StreamReader, writer: StreamWriter, reason: str) -> None:
    """Answer a request with 500 and a reason, and end the connection."""
    with contextlib.suppress(asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        await reader.readuntil(b"\r\n\r\n")
        body = failed.body(reason)
        headers = (*failed.HEADERS, (b"content-length", b"%d" % len(body)), (b"connection", b"close"))
        lines = [b"HTTP/1.1 500 Internal Server Error", *(b"%b: %b" % header for header in headers), b"", body]
        writer.write(b"\r\n".join(lines))
        writer.write_eof()
        # A body that is on its way would reset the connection, and the answer with it.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(_discard(reader), _STOP_SECONDS)


async def _discard(reader: StreamReader) -> None:
    while await reader.read(_CHUNK):
        pass


def main(arguments: Sequence[str]) -> None:
    """Run a command until a signal arrives."""
    port, command_port, *command = arguments
    try:
        asyncio.run(Rerunner(int(port), int(command_port), command).run())
    except OSError as error:
        raise SystemExit(
            f"`server` in [tool.prodlock] must name a program of the image (got {command[0]}: {error.strerror}). To "
            "fix it: correct it, or lock the distribution that has the program."
        ) from None


if __name__ == "__main__":
    main(sys.argv[1:])
