"""Measure one figure of one contender once: seconds, bytes and rates, and the floors beside them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
import uuid
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from bench import figures
from bench.contenders import PROJECT, Contender, named
from prodlock import site
from prodlock.docker import engine
from prodlock.failure import Failure

_BOTH = ("--profile=prod", "--profile=dev")
_MEGABYTE = 1_000_000
_CHUNK = 1 << 20
_POLL_SECONDS = 0.005
_START_SECONDS = 60
_WARM_UP_SECONDS = 2
_LOAD_SECONDS = 4
_CONNECTIONS = 50
_STOP_SECONDS = 30

# Programs for containers of prod: print the size of its files without bytecode,
_SUM = """
import os
device, total = os.stat("/").st_dev, 0
for folder, names, files in os.walk("/"):
    kept = [name for name in names if name != "__pycache__"]
    names[:] = [name for name in kept if os.lstat(os.path.join(folder, name)).st_dev == device]
    total += sum(os.lstat(os.path.join(folder, file)).st_size for file in files)
print(total)
"""
# and serve an application that does nothing, without a log.
EMPTY = """
import uvicorn
async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"{}"})
uvicorn.run(app, host="0.0.0.0", port=8000, lifespan="off", access_log=False)
"""


def cold(contender: Contender) -> float:
    """Return the seconds to build prod and dev with nothing but the base image: no layer, empty cache mounts."""
    # Of a layer that an image has already, the Engine keeps the older copy, and then compares whole trees at each later
    # build of the layer above. A first build has no such image.
    remove_images(contender.project)
    # New mounts instead of emptied ones: other builds on this machine keep theirs.
    dockerfile = contender.folder / "Dockerfile"
    text = dockerfile.read_text(encoding="utf-8")
    dockerfile.write_text(figures.fresh(text, uuid.uuid4().hex), encoding="utf-8")
    return _seconds(lambda: _compose(contender, *_BOTH, "build", "--no-cache"))


def remove_images(project: str) -> None:
    """Remove the images that Compose has built for a project, also those that lost their name to a newer build."""
    # Compose labels what it builds.
    listing = ("image", "ls", "--quiet", "--no-trunc", f"--filter=label=com.docker.compose.project={project}")
    if found := sorted(set(engine.output(PROJECT, *listing, shielded=True).split())):
        engine.output(PROJECT, "image", "rm", "--force", *found, shielded=True)


def build(contender: Contender) -> float:
    """Return the seconds of `docker compose build`, both images."""
    return _seconds(lambda: _compose(contender, *_BOTH, "build"))


def build_as_typed(contender: Contender) -> float:
    """Return the seconds of what a user types to build both images: `inv build` where Invoke drives the contender."""
    return _seconds(lambda: _inv(contender, "build")) if contender.inv else build(contender)


def inv_build_floor(contender: Contender) -> float:
    """Return the seconds of `inv --version` and `docker compose build`, one after the other."""
    return _seconds(lambda: _inv(contender, "--version")) + build(contender)


def edit_to_prod(contender: Contender) -> float:
    """Return the seconds from an edited line of app/ to the new prod image."""
    _edit(contender)
    return _seconds(lambda: _compose(contender, "--profile=prod", "build", "api-prod"))


def edit_to_prod_floor(contender: Contender) -> float:
    """Return the seconds of a build that does nothing but copy the edited app/ into prod."""
    _edit(contender)
    recipe = f"FROM {contender.image()}\nCOPY app /srv/app\n".encode()
    command = ("build", f"--tag={named('copied')}", "--file=-", str(contender.folder))
    return _seconds(lambda: engine.output(PROJECT, *command, given=recipe))


def edit_to_verdict(contender: Contender) -> float:
    """Return the seconds from an edited line of app/ to the tests' verdict. Raises Failure where a test fails."""
    _edit(contender)
    return _seconds(lambda: _test(contender))


def edit_to_verdict_floor(contender: Contender) -> float:
    """Return the seconds of the tests alone, in the dev image that is already built."""
    command = ("run", "--rm", f"--name={named('server')}", "--network=none", contender.image("dev"), "pytest")
    return _seconds(lambda: engine.output(PROJECT, *command))


def size(contender: Contender) -> float:
    """Return the megabytes of prod's layers on a disk."""
    return int(engine.output(PROJECT, "image", "inspect", "--format={{.Size}}", contender.image())) / _MEGABYTE


def size_floor(contender: Contender) -> float:
    """Return the megabytes of prod's files without bytecode."""
    command = ("run", "--rm", f"--name={named('server')}", "--network=none", contender.image(), "python", "-c", _SUM)
    return int(engine.output(PROJECT, *command)) / _MEGABYTE


def compressed_size(contender: Contender) -> float:
    """Return the megabytes of `docker save | gzip` of prod, about what a registry transfers."""
    compressor = zlib.compressobj(level=6)
    count = 0
    with tempfile.TemporaryFile() as saved:
        engine.write(PROJECT, saved, "save", contender.image())
        while chunk := saved.read(_CHUNK):
            count += len(compressor.compress(chunk))
    return (count + len(compressor.flush())) / _MEGABYTE


def first_answer(contender: Contender, *command: str) -> float:
    """Return the seconds from before `docker run` of prod to the first 200 of GET /."""
    began = time.perf_counter()
    with serving(contender, command=command):
        return time.perf_counter() - began


def load(contender: Contender, *command: str) -> tuple[float, float]:
    """Return requests a second and the 99th percentile of latency in ms: prod on one core, the clients on another."""
    with serving(contender, options=("--cpuset-cpus=0",), command=command):
        place = (f"--network=container:{named('server')}", "--cpuset-cpus=1")
        client = ("run", "--rm", f"--name={named('clients')}", *place, named("instruments"))
        wrk = ("wrk", "--threads=1", f"--connections={_CONNECTIONS}", "--latency", "http://127.0.0.1:8000/")
        engine.output(PROJECT, *client, *wrk, f"--duration={_WARM_UP_SECONDS}s")
        printed = engine.output(PROJECT, *client, *wrk, f"--duration={_LOAD_SECONDS}s")
    try:
        return figures.wrk(printed)
    except ValueError as error:
        raise Failure(f"{contender.name} did not answer every request under load: {error}.") from None


def _seconds(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def _edit(contender: Contender) -> None:
    """Append a line to app/main.py that is new to every build."""
    with (contender.folder / "app" / "main.py").open("a", encoding="utf-8") as source:
        source.write(f"# {uuid.uuid4().hex}\n")


def _compose(contender: Contender, *args: str) -> None:
    where = (f"--project-directory={contender.folder}", f"--project-name={contender.project}")
    engine.output(PROJECT, "compose", *where, *args, env=site.environment(PROJECT) | {"UV_IMAGE": named("uv-binary")})


def _test(contender: Contender) -> None:
    """Build dev and run pytest in it, by the commands that a user of the contender types."""
    try:
        if contender.inv:
            _inv(contender, "test")
        else:
            _compose(contender, "--profile=dev", "build", "api-tests")
            _compose(contender, "--profile=dev", "run", "--rm", "--no-TTY", "api-tests", "pytest")
    except Failure as failure:
        raise Failure(f"The tests of {contender.name} must pass before anything is measured. {failure}") from None


@contextmanager
def inv_started(contender: Contender, *args: str) -> Iterator[subprocess.Popen[bytes]]:
    """Start `inv ARGS` in the contender's folder, with its output in a pipe, and end it where it still runs."""
    environment = os.environ | {"PRODLOCK_PROJECT": contender.project}
    # A user's checkout has the tool's bytecode.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    with subprocess.Popen(
        [sys.executable, "-m", "invoke", *args],
        cwd=contender.folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                # `inv` then stops what it has started.
                process.terminate()
                process.wait(_STOP_SECONDS)


def _inv(contender: Contender, *args: str) -> None:
    """Run `inv ARGS` in the contender's folder. Raises Failure with its last line where it fails."""
    with inv_started(contender, *args) as process:
        printed, _ = process.communicate()
    if process.returncode:
        last = printed.decode(errors="replace").strip().rpartition("\n")[2] or "no output"
        raise Failure(f"`inv {' '.join(args)}` failed: {last}")


@contextmanager
def serving(
    contender: Contender, image: str = "", options: Sequence[str] = (), command: Sequence[str] = ()
) -> Iterator[int]:
    """Run prod or another image, with its own command or another, and yield the port once it answers."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    publish = f"--publish=127.0.0.1:{port}:8000"
    try:
        engine.output(
            PROJECT,
            *("run", "--detach", f"--name={named('server')}", publish, *options, image or contender.image(), *command),
        )
        _wait(contender, port)
        yield port
    finally:
        engine.output(PROJECT, "rm", "--force", "--volumes", named("server"), shielded=True)


def _wait(contender: Contender, port: int) -> None:
    """Wait until GET / answers 200. Raises Failure where it does not within _START_SECONDS."""
    request = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
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
    raise Failure(f"{contender.name} does not answer. To see why: `docker run {contender.image()}`.")
