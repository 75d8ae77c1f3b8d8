"""The one door to Docker: every `docker` command of this project starts here, as an argument list."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO

from prodlock.docker import build_failure
from prodlock.failure import Failure, describe
from prodlock.project import Project

NO_DOCKER = (
    "There is no `docker` on PATH that can be run: run `inv setup` on Debian or Ubuntu, "
    "elsewhere install Docker from https://docs.docker.com/get-docker/."
)
# A build's progress as prodlock/docker/build_failure.py reads it, whatever a user has set for the terminal.
READABLE = {"BUILDKIT_PROGRESS": "plain", "COMPOSE_PROGRESS": "plain"}
# What makes Compose act on other files, another project or other services than a command names, be it only the names of
# its containers (https://docs.docker.com/compose/how-tos/environment-variables/envvars/).
REDIRECTING = (
    "COMPOSE_COMPATIBILITY",
    "COMPOSE_DISABLE_ENV_FILE",
    "COMPOSE_ENV_FILES",
    "COMPOSE_FILE",
    "COMPOSE_IGNORE_ORPHANS",
    "COMPOSE_PATH_SEPARATOR",
    "COMPOSE_PROFILES",
    "COMPOSE_PROJECT_NAME",
    "COMPOSE_REMOVE_ORPHANS",
)
# A container's grace period is 10 s, Compose needs a little more to report it.
_STOP_SECONDS = 15


def run(project: Project, *args: str, stdout: int | None = None, env: Mapping[str, str] | None = None) -> int:
    """Run `docker ARGS` on this terminal, print the command first, and return its exit code.

    Here as in the functions below, `env` adds variables to this process's environment.
    """
    _echo(args)
    with _running(project, args, stdout, env=env) as process:
        return process.wait()


def output(
    project: Project,
    *args: str,
    given: bytes | None = None,
    echo: bool = False,
    shielded: bool = False,
    env: Mapping[str, str] | None = None,
) -> str:
    """Return what `docker ARGS` prints on standard output, given something on standard input or not.

    Shielded, it does not see the terminal's Ctrl-C.

    Raises Failure, with a sentence for what Docker said, where it exits with anything but 0.
    """
    if echo:
        _echo(args)
    stdin = None if given is None else subprocess.PIPE
    with _running(project, args, subprocess.PIPE, subprocess.PIPE, stdin=stdin, shielded=shielded, env=env) as process:
        out, err = process.communicate(given)
    if process.returncode:
        raise _failure(project, args, process.returncode, err + out)
    return out.decode()


def write(project: Project, to: IO[bytes], *args: str) -> None:
    """Write what `docker ARGS` prints on standard output to a file, and go back to the file's start.

    Raises Failure as `output` does.
    """
    _echo(args)
    with _running(project, args, to, subprocess.PIPE) as process:
        _, err = process.communicate()
    if process.returncode:
        raise _failure(project, args, process.returncode, err)
    to.seek(0)


def build(project: Project, *args: str, once: tuple[str, ...] = (), env: Mapping[str, str] | None = None) -> None:
    """Run `docker ARGS`, a build, on this terminal, with the options that are for `build` alone.

    Raises Failure with what went wrong where. A terminal's progress display can't be read while it is shown, so a
    failed build is run once more, unseen: its finished steps are cached, and the failing one prints its reason.
    Where the second try succeeds, the fault was a passing one and the build is done.
    """
    # Progress is not a task's output: some versions of Compose would mix it in.
    if run(project, *args, *once, stdout=sys.stderr.fileno(), env=env) == 0:
        return
    _check_reachable(project)
    say("The build failed. It is run once more, unseen, for its reason.")
    # `--no-cache` again: what an older build has left in the cache is no second try.
    code, out = _unseen(project, *args, *once, env=env)
    if code:
        raise _failure(project, (*args, *once), code, out)


def _unseen(project: Project, *args: str, env: Mapping[str, str] | None = None) -> tuple[int, bytes]:
    """Return the exit code of `docker ARGS`, a build, and all that it prints."""
    with _running(project, args, subprocess.PIPE, subprocess.STDOUT, env=dict(env or {}) | READABLE) as process:
        out, _ = process.communicate()
    return process.returncode, out


@contextmanager
def undisturbed() -> Iterator[None]:
    """Let neither Ctrl-C nor SIGTERM nor a closing terminal, which may signal twice, interrupt what cleans up."""
    if threading.current_thread() is not threading.main_thread():
        # Signals interrupt the main thread alone.
        yield
        return
    # Windows has no SIGHUP.
    signals = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.signal(number, signal.SIG_IGN) for number in signals}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _check_reachable(project: Project) -> None:
    """Raise Failure where the Engine or Compose can't be used at all."""
    output(project, "version", "--format", "{{.Server.Version}}")
    output(project, "compose", "version", "--short")


@contextmanager
def _running(  # noqa: PLR0913 - what a process is started with
    project: Project,
    args: tuple[str, ...],
    stdout: IO[bytes] | int | None = None,
    stderr: int | None = None,
    *,
    stdin: int | None = None,
    shielded: bool = False,
    env: Mapping[str, str] | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Give the process of `docker ARGS`; interrupted, end it before the interruption goes on, so that nothing stays."""
    try:
        process = subprocess.Popen(
            ["docker", *args],
            cwd=project.root,
            env=environment(project, env),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            start_new_session=shielded,
        )
    except (FileNotFoundError, PermissionError):
        raise Failure(NO_DOCKER) from None
    with process:
        try:
            yield process
        except BaseException as interruption:
            with undisturbed():
                # A terminal's Ctrl-C reaches Docker as well, which then ends in good order.
                if not (os.isatty(0) and type(interruption) is KeyboardInterrupt):
                    process.terminate()
                try:
                    process.wait(_STOP_SECONDS)
                except subprocess.TimeoutExpired:
                    process.kill()
            raise


def environment(project: Project, added: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment of a `docker` command: this process's, without what redirects Compose, and `added`."""
    kept = {name: value for name, value in project.environment.items() if name not in REDIRECTING}
    return kept | dict(added or {})


def _failure(project: Project, args: tuple[str, ...], code: int, printed: bytes) -> Failure:
    """Return the failure of `docker ARGS`: a build's step, or what the command printed."""
    text = printed.decode(errors="replace")
    if "build" in args:
        dockerfile = excerpt = ""
        if args[0] == "compose":
            # What `docker build` itself prints of its Dockerfile, Compose does not.
            with contextlib.suppress(OSError, ValueError):
                dockerfile = (project.root / "Dockerfile").read_text(encoding="utf-8")
            if error := build_failure.unplaced_error(text, dockerfile):
                excerpt = _excerpt(project, error)
        found = build_failure.describe(text, dockerfile, excerpt)
        return Failure(found or f"The build failed. {describe(args, code, text)}")
    return Failure(describe(args, code, text))


def _excerpt(project: Project, error: str) -> str:
    """Return what `docker build` prints where it fails with the same error as Compose, or nothing."""
    # Without an image: the error may not occur again.
    _, out = _unseen(project, "build", "--output=type=cacheonly", ".")
    text = out.decode(errors="replace")
    return text if build_failure.unplaced_error(text, "") == error else ""


def say(sentence: str) -> None:
    """Print a line on standard error, if that is still there: a closed terminal keeps nothing from being cleaned up."""
    with contextlib.suppress(OSError):
        # In one piece: two commands may run at a time.
        sys.stderr.write(f"{sentence}\n")
        sys.stderr.flush()


def _echo(args: tuple[str, ...]) -> None:
    say(f"$ docker {shlex.join(args)}")
