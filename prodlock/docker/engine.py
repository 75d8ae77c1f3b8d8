"""Run docker: each `docker` command of this project starts here, as an argument list."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import IO

from prodlock.failure import SIGNALS, Failure
from prodlock.project import Project

# What may have an Engine; Compose and builds need Docker's.
PROGRAMS = ("docker", "podman")
# Make a build print the progress that prodlock/docker/build_failure.py reads, whatever a user has set for the terminal.
_PLAIN_PROGRESS = {"BUILDKIT_PROGRESS": "plain", "COMPOSE_PROGRESS": "plain"}
# Variables that redirect Compose to other files, another project or other services than a command names, or that change
# the names of its containers (https://docs.docker.com/compose/how-tos/environment-variables/envvars/).
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
# Variables that select an Engine, a builder or a platform (https://docs.docker.com/reference/cli/docker/#environment-variables).
# Compose takes them from `.env` as well, and `docker` does not; there they belong to the application.
CLIENT = (
    "BUILDX_BUILDER",
    "DOCKER_API_VERSION",
    "DOCKER_CERT_PATH",
    "DOCKER_CONFIG",
    "DOCKER_CONTEXT",
    "DOCKER_DEFAULT_PLATFORM",
    "DOCKER_HOST",
    "DOCKER_TLS_VERIFY",
)
# A container's grace period is 10 s; Compose needs a little more to report it.
_STOP_SECONDS = 15


def run(
    project: Project,
    *args: str,
    stdout: int | None = None,
    env: Mapping[str, str] | None = None,
    ended_by: tuple[str, ...] = (),
) -> int:
    """Run `docker ARGS` on this terminal, print the command first, and return its exit code.

    Here as in the functions below, `env` adds variables to the project's environment. `ended_by` is the docker command
    that ends this one where a signal to this process interrupts it.
    """
    print_command(*args)
    with _process(project, args, stdout, env=env, ended_by=ended_by) as process:
        return process.wait()


def output(  # noqa: PLR0913 - what a process is started with
    project: Project,
    *args: str,
    given: bytes | None = None,
    echo: bool = False,
    shielded: bool = False,
    env: Mapping[str, str] | None = None,
    program: str = "docker",
) -> str:
    """Return the standard output of `docker ARGS`, which reads `given` on its standard input.

    `echo` prints the command first; `shielded` keeps the terminal's Ctrl-C from it. `program` may be podman instead.

    Raises Failure, with a message for what Docker printed, where the exit code is not 0.
    """
    if echo:
        print_command(*args, program=program)
    stdin = None if given is None else subprocess.PIPE
    with _process(
        project, args, subprocess.PIPE, subprocess.PIPE, stdin=stdin, shielded=shielded, env=env, program=program
    ) as process:
        out, err = process.communicate(given)
    if process.returncode:
        raise _failure(project, args, process.returncode, err + out, program=program)
    return out.decode()


def write(project: Project, to: IO[bytes], *args: str, echo: bool = True) -> None:
    """Write the standard output of `docker ARGS` to a file, and go back to the file's start.

    `echo` prints the command first. Raises Failure as `output` does.
    """
    if echo:
        print_command(*args)
    with _process(project, args, to, subprocess.PIPE) as process:
        _, err = process.communicate()
    if process.returncode:
        raise _failure(project, args, process.returncode, err)
    to.seek(0)


@contextmanager
def writing(project: Project, to: IO[bytes], *args: str, program: str = "docker") -> Iterator[Callable[[], bool]]:
    """Write the standard output of `docker ARGS` to a file, which a block reads meanwhile.

    Yields a function that returns whether the command has ended. Raises Failure as `output` does, once the block has
    ended.
    """
    print_command(*args, program=program)
    with tempfile.TemporaryFile() as err:
        with _process(project, args, to, err, program=program) as process:
            yield lambda: process.poll() is not None
        if process.returncode:
            err.seek(0)
            raise _failure(project, args, process.returncode, err.read(), program=program)


def result(
    project: Project,
    *args: str,
    given: bytes | None = None,
    env: Mapping[str, str] | None = None,
    program: str = "docker",
) -> tuple[int, str, str]:
    """Return the exit code, the standard output and the standard error of `docker ARGS`, which may read `given`."""
    stdin = None if given is None else subprocess.PIPE
    with _process(project, args, subprocess.PIPE, subprocess.PIPE, stdin=stdin, env=env, program=program) as process:
        out, err = process.communicate(given)
    return process.returncode, out.decode(errors="surrogateescape"), err.decode(errors="replace")


def shown(project: Project, *args: str) -> tuple[int, str]:
    """Run `docker ARGS`, print the command and its progress, and return the exit code and the standard error.

    Progress goes to standard error: the standard output is that of the task.
    """
    print_command(*args)
    with _process(project, args, sys.stderr.fileno(), subprocess.PIPE) as process:
        _, err = process.communicate()
    return process.returncode, err.decode(errors="replace")


def build(project: Project, *args: str, once: tuple[str, ...] = (), env: Mapping[str, str] | None = None) -> None:
    """Run `docker ARGS`, a build, on this terminal; `once` are options that Compose takes after `build` alone.

    Raises Failure with the step that failed. A terminal's progress display can't be captured while it is shown, so a
    failed build is repeated with captured output: its finished steps are cached, and the failing one prints its reason.
    Where the repetition succeeds, the fault was temporary and the build is done.
    """
    # Progress goes to standard error: some versions of Compose would mix it into a task's output.
    if run(project, *args, *once, stdout=sys.stderr.fileno(), env=env) == 0:
        return
    _check_reachable(project)
    notify("The build failed. Repeating it with captured output, for the reason.")
    # With `--no-cache` again: a step that an older build has left in the cache would hide the fault.
    code, out = _captured(project, *args, *once, env=env)
    if code:
        raise _failure(project, (*args, *once), code, out)


def log_build(project: Project, log: IO[bytes], *args: str) -> None:
    """Run `docker ARGS`, a build, and write all its output to a file.

    Raises Failure with the step that failed.
    """
    code, out = _captured(project, *args)
    log.write(out)
    if code:
        raise _failure(project, args, code, out)


def _captured(project: Project, *args: str, env: Mapping[str, str] | None = None) -> tuple[int, bytes]:
    """Return the exit code and all the output of `docker ARGS`, a build."""
    with _process(project, args, subprocess.PIPE, subprocess.STDOUT, env=dict(env or {}) | _PLAIN_PROGRESS) as process:
        out, _ = process.communicate()
    return process.returncode, out


@contextmanager
def undisturbed() -> Iterator[None]:
    """Ignore Ctrl-C, SIGTERM and a closing terminal, which may signal twice, while a block cleans up."""
    if threading.current_thread() is not threading.main_thread():
        # Signals interrupt the main thread only.
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _check_reachable(project: Project) -> None:
    """Raise Failure where neither the Engine nor Compose can be used."""
    output(project, "version", "--format", "{{.Server.Version}}")
    output(project, "compose", "version", "--short")


@contextmanager
def _process(  # noqa: PLR0913 - what a process is started with
    project: Project,
    args: tuple[str, ...],
    stdout: IO[bytes] | int | None = None,
    stderr: IO[bytes] | int | None = None,
    *,
    stdin: int | None = None,
    shielded: bool = False,
    env: Mapping[str, str] | None = None,
    ended_by: tuple[str, ...] = (),
    program: str = "docker",
) -> Iterator[subprocess.Popen[bytes]]:
    """Start `docker ARGS`; on an interruption, end it before the interruption is raised again."""
    try:
        process = subprocess.Popen(
            [program, *args],
            cwd=project.root,
            env=environment(project, env),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            start_new_session=shielded,
        )
    except (FileNotFoundError, PermissionError):
        from prodlock.docker.failures import NO_DOCKER  # noqa: PLC0415

        raise Failure(NO_DOCKER) from None
    with process:
        try:
            yield process
        except BaseException as interruption:
            with undisturbed():
                # A terminal sends Ctrl-C to Docker as well, which then ends properly.
                if not (os.isatty(0) and type(interruption) is KeyboardInterrupt):
                    process.terminate()
                    if ended_by:
                        with contextlib.suppress(Failure):
                            output(project, *ended_by, shielded=True)
                try:
                    process.wait(_STOP_SECONDS)
                except subprocess.TimeoutExpired:
                    process.kill()
            raise


def environment(project: Project, added: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment of a `docker` command: the project's without what redirects Compose, and `added`."""
    kept = {name: value for name, value in project.environment.items() if name not in REDIRECTING}
    # An empty variable precedes `.env` and has no other effect. The images need BuildKit, and no labels of Buildx.
    return dict.fromkeys(CLIENT, "") | kept | {"DOCKER_BUILDKIT": "1", "BUILDX_GIT_LABELS": ""} | dict(added or {})


def _failure(project: Project, args: tuple[str, ...], code: int, printed: bytes, *, program: str = "docker") -> Failure:
    """Return the failure of `docker ARGS`: the failed step of a build, or what the command printed."""
    # No command that succeeds needs them.
    from prodlock.docker import build_failure  # noqa: PLC0415
    from prodlock.docker.failures import describe  # noqa: PLC0415

    text = printed.decode(errors="replace")
    if "build" in args:
        name, dockerfile, excerpt = "Dockerfile", "", ""
        if args[0] == "compose":
            name = project.configuration.dockerfile
            # `docker build` prints an excerpt of its Dockerfile; Compose does not.
            with contextlib.suppress(OSError, ValueError):
                dockerfile = (project.root / name).read_text(encoding="utf-8")
            if error := build_failure.unplaced_error(text, dockerfile):
                excerpt = _excerpt(project, error)
        found = build_failure.describe(text, dockerfile, excerpt, name)
        return Failure(found or f"The build failed. {describe(args, code, text)}")
    return Failure(describe(args, code, text, program))


def _excerpt(project: Project, error: str) -> str:
    """Return the output of `docker build` where it fails with the same error as Compose, or an empty string."""
    from prodlock.docker import build_failure  # noqa: PLC0415

    # Without exporting an image: the error may not occur again.
    _, out = _captured(project, "build", f"--file={project.configuration.dockerfile}", "--output=type=cacheonly", ".")
    text = out.decode(errors="replace")
    return text if build_failure.unplaced_error(text, "") == error else ""


def notify(message: str) -> None:
    """Print a line on standard error; ignore a closed terminal, which must not keep a task from cleaning up."""
    with contextlib.suppress(OSError):
        # In one write: two commands may run at a time.
        sys.stderr.write(f"{message}\n")
        sys.stderr.flush()


def print_command(*args: str, program: str = "docker") -> None:
    """Print `docker ARGS` on standard error."""
    notify(f"$ {program} {shlex.join(args)}")
