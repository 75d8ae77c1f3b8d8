"""A program as a process, and its output while it runs."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path


class Program:
    """A Python program that runs, and its output."""

    def __init__(self, *command: str, environment: Mapping[str, str], cwd: Path | None = None) -> None:
        self.lines: list[str] = []
        self._process = subprocess.Popen(
            [sys.executable, *command],
            cwd=cwd,
            env=os.environ | dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout
        with self._process.stdout as stdout:
            for line in stdout:
                self.lines.append(line)

    @property
    def printed(self) -> str:
        """The output so far."""
        return "".join(self.lines)

    def wait_for(self, text: str) -> None:
        """Wait for a text in the output."""
        deadline = time.monotonic() + 20
        while text not in self.printed:
            assert time.monotonic() < deadline, self.printed
            assert self._process.poll() is None, self.printed
            time.sleep(0.01)

    def send(self, number: int) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def end(self) -> int:
        """Wait for the end of the process, and return the exit code."""
        code = self._process.wait(20)
        self._reader.join()
        return code

    def stop(self, *signals: int) -> tuple[int, float]:
        """Send signals, and return the exit code and the seconds until the end."""
        started = time.monotonic()
        for number in signals or (signal.SIGTERM,):
            self.send(number)
            time.sleep(0.05)
        return self.end(), time.monotonic() - started

    def kill(self) -> None:
        """End the process in any case."""
        if self._process.poll() is None:
            self._process.kill()
        self.end()


def free_port() -> int:
    """Return a port that is free."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port
