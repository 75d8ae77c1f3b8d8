"""Obtain seconds, bytes and rates: do each work once, for one contender, and return what it took."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
import uuid
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from bench import figures
from bench.contenders import PREFIX, PROJECT, Contender
from prodlock import site
from prodlock.docker import engine
from prodlock.failure import Failure

INSTRUMENTS = PREFIX + "instruments"

_SERVER = PREFIX + "server"
_BOTH = ("--profile=prod", "--profile=dev")
_MEGABYTE = 1_000_000
_CHUNK = 1 << 20
_POLL_SECONDS = 0.005
_START_SECONDS = 60
_WARM_UP_SECONDS = 2
_LOAD_SECONDS = 8
_CONNECTIONS = 50
_STOP_SECONDS = 30


def cold(contender: Contender) -> float:
    """Return the seconds to build prod and dev from nothing but the base image: no layer, empty cache mounts."""
    # New mounts instead of emptied ones: whatever else is built on this machine keeps its own.
    dockerfile = contender.folder / "Dockerfile"
    text = dockerfile.read_text(encoding="utf-8")
    dockerfile.write_text(figures.fresh(text, uuid.uuid4().hex), encoding="utf-8")
    return _seconds(lambda: _compose(contender, *_BOTH, "build", "--no-cache"))


def build(contender: Contender) -> float:
    """Return the seconds of `docker compose build`, both images."""
    return _seconds(lambda: _compose(contender, *_BOTH, "build"))


def inv_build(contender: Contender) -> float:
    """Return the seconds of `inv build`, both images."""
    return _seconds(lambda: _inv(contender, "build"))


def edit_to_prod(contender: Contender) -> float:
    """Return the seconds from an edited line of app/ to the new prod image."""
    _edit(contender)
    return _seconds(lambda: _compose(contender, "--profile=prod", "build", "api-prod"))


def edit_to_verdict(contender: Contender) -> float:
    """Return the seconds from an edited line of app/ to the tests' verdict. Raises Failure where it is not `passed`."""
    _edit(contender)
    return _seconds(lambda: _test(contender))


def size(contender: Contender) -> float:
    """Return the megabytes of prod's layers as they lie on a disk."""
    return int(engine.output(PROJECT, "image", "inspect", "--format={{.Size}}", contender.image())) / _MEGABYTE


def compressed_size(contender: Contender) -> float:
    """Return the megabytes of prod as `docker save | gzip` gives it, about what a registry transfers."""
    compressor = zlib.compressobj(level=6)
    count = 0
    with tempfile.TemporaryFile() as saved:
        engine.write(PROJECT, saved, "save", contender.image())
        while chunk := saved.read(_CHUNK):
            count += len(compressor.compress(chunk))
    return (count + len(compressor.flush())) / _MEGABYTE


def first_answer(contender: Contender) -> float:
    """Return the seconds from before `docker run` of prod to the first 200 of GET /health."""
    began = time.perf_counter()
    with _serving(contender):
        return time.perf_counter() - began


def load(contender: Contender) -> tuple[float, float]:
    """Return requests a second and the 99th percentile of latency in ms: prod on one core, the clients on another."""
    with _serving(contender, "--cpuset-cpus=0"):
        client = ("run", "--rm", f"--name={PREFIX}clients", f"--network=container:{_SERVER}", "--cpuset-cpus=1")
        wrk = ("wrk", "--threads=1", f"--connections={_CONNECTIONS}", "--latency", "http://127.0.0.1:8000/")
        engine.output(PROJECT, *client, INSTRUMENTS, *wrk, f"--duration={_WARM_UP_SECONDS}s")
        said = engine.output(PROJECT, *client, INSTRUMENTS, *wrk, f"--duration={_LOAD_SECONDS}s")
    try:
        return figures.wrk(said)
    except ValueError as error:
        raise Failure(f"{contender.name} did not answer every request under load: {error}.") from None


def _seconds(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def _edit(contender: Contender) -> None:
    """Append a line to app/main.py that no build has seen."""
    with (contender.folder / "app" / "main.py").open("a", encoding="utf-8") as source:
        source.write(f"# {uuid.uuid4().hex}\n")


def _compose(contender: Contender, *args: str) -> None:
    where = (f"--project-directory={contender.folder}", f"--project-name={contender.project}")
    engine.output(PROJECT, "compose", *where, *args, env=site.environment(PROJECT))


def _test(contender: Contender) -> None:
    """Build dev and run pytest in it, with the commands that a user of the contender types."""
    try:
        if contender.inv:
            _inv(contender, "test")
        else:
            _compose(contender, "--profile=dev", "build", "api-tests")
            _compose(contender, "--profile=dev", "run", "--rm", "--no-TTY", "api-tests", "pytest")
    except Failure as failure:
        raise Failure(
            f"The tests of {contender.name} did not pass, so its figures would say nothing. {failure}"
        ) from None


def _inv(contender: Contender, *args: str) -> None:
    """Run `inv ARGS` in the contender's folder. Raises Failure, with the last line it printed, where it fails."""
    environment = os.environ | {"PRODLOCK_PROJECT": contender.project}
    with subprocess.Popen(
        [sys.executable, "-m", "invoke", *args],
        cwd=contender.folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        try:
            said, _ = process.communicate()
        except BaseException:
            # It then stops what it has started.
            process.terminate()
            process.wait(_STOP_SECONDS)
            raise
    if process.returncode:
        last = said.decode(errors="replace").strip().rpartition("\n")[2] or "it printed nothing"
        raise Failure(f"`inv {' '.join(args)}` failed: {last}")


@contextmanager
def _serving(contender: Contender, *options: str) -> Iterator[None]:
    """Run prod; begin once it answers."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    publish = f"--publish=127.0.0.1:{port}:8000"
    try:
        engine.output(PROJECT, "run", "--detach", f"--name={_SERVER}", publish, *options, contender.image())
        _wait(contender, port)
        yield
    finally:
        engine.output(PROJECT, "rm", "--force", "--volumes", _SERVER, shielded=True)


def _wait(contender: Contender, port: int) -> None:
    """Wait until GET /health answers 200. Raises Failure where it does not within a minute."""
    request = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
                connection.sendall(request)
                if connection.recv(64).startswith(b"HTTP/1.1 200 "):
                    return
        except OSError:
            pass
        time.sleep(_POLL_SECONDS)
    raise Failure(f"{contender.name} does not answer: `docker run {contender.image()}` may show why.")
