"""Run pytest, a shell or another command in a container of the dev image."""

from __future__ import annotations

import contextlib
import os
import socket
import time

from prodlock.docker import engine, images, production, stages
from prodlock.docker.compose import DEV, command, project_name
from prodlock.failure import Failure
from prodlock.project import Project

# How long an interrupted command has before it is killed.
_STOP_SECONDS = 2
# The port of debugpy, in the container and on this machine.
DEBUG_PORT = 5678


def test(project: Project, arguments: list[str]) -> int:
    """Build dev, run pytest in it with arguments, and return pytest's exit code."""
    images.build(project, DEV, made_from=None)
    return _run_in_dev(project, "pytest", *arguments)


def watch_tests(project: Project, arguments: list[str]) -> int:
    """Run pytest with arguments in the working tree, again at every save, until an interruption.

    Its container has dev's packages and no network. It can't write to the tree, as the tests can't in the dev image.
    """
    image = stages.build(project, "loop")
    options = ("--init", "--network=none", "--env=HOME=/tmp", "--env=TESTMON_DATAFILE=/tmp/testmon")
    # The image has no time zone; the tests keep its UTC.
    program = ("python", "-m", "prodlock.loop.retest", str(time.localtime().tm_gmtoff))
    tree = stages.on_working_tree(project, ":ro")
    try:
        return _run(project, "run", *_terminal(), *options, *tree, image, *program, *arguments)
    except KeyboardInterrupt:
        return 0


def debug_tests(project: Project, arguments: list[str]) -> int:
    """Build dev, run pytest in it with arguments once a debugger is attached, and return pytest's exit code."""
    check_debug_port()
    image = stages.build(project, "loop")
    options = ("--init", f"--publish=127.0.0.1:{DEBUG_PORT}:{DEBUG_PORT}", "--env=HOME=/tmp")
    # Otherwise debugpy prints a warning: a debugger cannot stop in modules that are part of the interpreter.
    program = ("python", "-X", "frozen_modules=off", "-m", "prodlock.loop.debug")
    return _run(project, "run", *_terminal(), *options, image, *program, *arguments)


def check_debug_port() -> None:
    """Raise Failure where another program listens on the port of debugpy."""
    try:
        socket.create_server(("127.0.0.1", DEBUG_PORT)).close()
    except OSError as error:
        raise Failure(
            f"Port {DEBUG_PORT} on 127.0.0.1 must be free for the debugger (got: {error.strerror}). To fix it: end the "
            "program that listens on it, for example another task with --debug."
        ) from None


def shell(project: Project, words: list[str], *, beside_prod: bool) -> int:
    """Build dev, open a shell in it or run a command, and return the exit code.

    Beside production, which has no shell, the command runs in the namespaces of its container: it has its network, its
    processes, and under /proc/1/root its files.
    """
    images.build(project, DEV, made_from=None)
    words = words or ["bash"]
    if not beside_prod:
        return _run_in_dev(project, *words)
    container = production.running(project)
    if not container:
        raise Failure("Production must be running in this checkout (got none). To fix it: start it with `inv serve`.")
    namespaces = (f"--network=container:{container.identifier}", f"--pid=container:{container.identifier}")
    return _run(project, "run", *_terminal(), *namespaces, f"{project_name(project)}:dev", *words)


def _run_in_dev(project: Project, *words: str) -> int:
    """Run a command in a container of dev, and return its exit code."""
    terminal = () if _has_terminal() else ("--no-TTY",)
    return _run(project, *command(project, DEV[1]), "run", *terminal, DEV[0], *words)


def _run(project: Project, *args: str) -> int:
    """Run `docker ARGS`, whose `run` starts a temporary container, and return the exit code."""
    # Unique among all clients of the Engine, on other machines included.
    name = f"{project_name(project)}-dev-{os.urandom(6).hex()}"
    position = args.index("run") + 1
    try:
        options = ("--rm", f"--name={name}")
        # Compose that has a terminal does not end at SIGTERM, and the container of a closed terminal runs on.
        stop = ("stop", f"--time={_STOP_SECONDS}", name)
        return engine.run(project, *args[:position], *options, *args[position:], ended_by=stop)
    except KeyboardInterrupt:
        # Docker may exit without stopping the container; otherwise there is none to remove.
        with engine.undisturbed(), contextlib.suppress(Failure):
            engine.output(project, "rm", "--force", name, echo=True, shielded=True)
        raise


def _terminal() -> tuple[str, ...]:
    """Return the options of `docker run` that connect this process's terminal, or its standard input."""
    return ("--interactive", "--tty") if _has_terminal() else ("--interactive",)


def _has_terminal() -> bool:
    # Not sys.stdin: it is None where a script has closed it.
    return os.isatty(0) and os.isatty(1)
