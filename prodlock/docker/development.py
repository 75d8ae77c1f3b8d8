"""Run pytest, a shell or another command in a container of the dev image."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping

from prodlock import generated
from prodlock.docker import engine, images, production, reports, services, stages
from prodlock.docker.compose import DEV, LIVE, command, project_name
from prodlock.failure import Failure
from prodlock.project import Project

# How long an interrupted command has before it is killed.
_STOP_SECONDS = 2


def test(project: Project, arguments: list[str]) -> int:
    """Build dev, run pytest in it with arguments, copy its reports, and return pytest's exit code."""
    images.build(project, DEV, made_from=None)
    return _run_in_dev(project, "pytest", *arguments, finished=reports.copy)


def shell(project: Project, words: list[str], *, beside_prod: bool, on_tree: bool) -> int:
    """Build dev, open a shell in it or run a command, and return the exit code.

    It has the services of the tests, such as a database. Beside production, which has no shell, the command runs in the
    namespaces of its container: it has its network, its processes, and under /proc/1/root its files. On the working
    tree, which it can change as this user, it has the settings and the services of `inv dev`.
    """
    if beside_prod and on_tree:
        raise Failure("The option must be --prod or --tree (got both). To fix it: leave one of them out.")
    images.build(project, DEV, made_from=None)
    words = words or ["bash"]
    if on_tree:
        return _run_on_tree(project, *words)
    if not beside_prod:
        return _run_in_dev(project, *words)
    container = production.running(project)
    if not container:
        raise Failure("Production must be running in this checkout (got none). To fix it: start it with `inv serve`.")
    namespaces = (f"--network=container:{container.identifier}", f"--pid=container:{container.identifier}")
    return run_temporary(project, "run", *interactive(), *namespaces, f"{project_name(project)}:dev", *words)


def _run_in_dev(project: Project, *words: str, finished: Callable[[Project, str], None] | None = None) -> int:
    """Run a command in a container of dev, and return its exit code."""
    with services.for_tests(project) as given:
        started = (*given.compose, "run", *terminal(), *given.compose_options, DEV[0], *words)
        return run_temporary(project, *started, finished=finished)


def _run_on_tree(project: Project, *words: str) -> int:
    """Run a command in a container of dev that has the working tree, and return its exit code."""
    home = f"--workdir={generated.home(project.configuration)}"
    options = (*terminal(), "--no-deps", *stages.on_working_tree(project), home, "--env=HOME=/tmp")
    with services.for_dev(project):
        return run_temporary(project, *command(project, LIVE[1]), "run", *options, LIVE[0], *words)


def terminal() -> tuple[str, ...]:
    """Return the options of `docker compose run` for this terminal, or for none."""
    return () if _has_terminal() else ("--no-TTY",)


def interactive() -> tuple[str, ...]:
    """Return the options of `docker run` that connect this process's terminal, or its standard input."""
    return ("--interactive", "--tty") if _has_terminal() else ("--interactive",)


def run_temporary(
    project: Project,
    *args: str,
    name: str = "",
    env: Mapping[str, str] | None = None,
    finished: Callable[[Project, str], None] | None = None,
) -> int:
    """Run `docker ARGS`, whose `run` starts a temporary container, and return the exit code.

    Without a name, the container gets one that is unique among all clients of the Engine, on other machines included.
    `finished` is called with the name between the container's end and its removal.
    """
    name = name or f"{project_name(project)}-dev-{os.urandom(6).hex()}"
    position = args.index("run") + 1
    options = (f"--name={name}",) if finished else ("--rm", f"--name={name}")
    # Compose that has a terminal does not end at SIGTERM, and the container of a closed terminal runs on.
    stop = ("stop", f"--time={_STOP_SECONDS}", name)
    interrupted, code = False, 1
    try:
        code = engine.run(project, *args[:position], *options, *args[position:], env=env, ended_by=stop)
        if finished:
            finished(project, name)
    except KeyboardInterrupt:
        interrupted = True
        raise
    finally:
        # There may be a container with `--rm` as well: Docker may exit without stopping it, after an interruption or
        # where it can't write to a closed pipe.
        if finished or code:
            with engine.undisturbed(), contextlib.suppress(Failure):
                engine.output(project, "rm", "--force", "--volumes", name, echo=interrupted, shielded=True)
    return code


def _has_terminal() -> bool:
    # Not sys.stdin: it is None where a script has closed it.
    return os.isatty(0) and os.isatty(1)
