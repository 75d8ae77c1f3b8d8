"""Serve the working tree in a container of the dev image, and start the application again at every save."""

from __future__ import annotations

import contextlib
import shlex
import socket
import sys
import time
from collections.abc import Iterator

from prodlock import generated, integers
from prodlock.docker import containers, development, engine, exclusive, images, services, stages
from prodlock.docker.compose import DEV, LIVE, PROD, check_settings, command, override, project_name
from prodlock.failure import Failure
from prodlock.project import Project

# Where a debugger attaches: prodlock/loop/debug.py listens there in the container, and Docker on 127.0.0.1.
DEBUG_PORT = 5678
# Where prodlock/loop/rerun.py listens in the container, in front of a serving command of the project's own.
_RERUN_PORTS = (5677, 5679)
# How long the Engine may take to remove a container that has ended.
_REMOVAL_SECONDS = 5


def serve(project: Project, port: str, *, preload: bool, debug: bool) -> int:
    """Build dev, serve the working tree until an interruption, and return the exit code.

    `preload` keeps third-party modules in memory between two starts of the application; `debug` waits for a debugger
    at each. Raises Failure where this checkout is served already.
    """
    port = port or project.environment.get("PORT") or str(project.configuration.port)
    port = str(integers.parse(port, "The port", 1, integers.LAST_PORT, "`inv dev --port N`, or set PORT"))
    own_server = project.configuration.server
    if own_server and debug:
        raise Failure(
            f"`inv dev --debug` must serve by prodlock.server (got `{shlex.join(own_server)}`, the `server` of "
            "[tool.prodlock]). To fix it: use `breakpoint()`, or `inv test --debug`."
        )
    # Another file than the one that `inv serve` locks: both may run.
    with exclusive.lock(project.root / project.configuration.dockerfile) as locked:
        name = f"{project_name(project)}-{LIVE[0]}"
        _remove_leftover(project, name, locked)
        for needed in (int(port), *([DEBUG_PORT] if debug else [])):
            check_free(needed)
        check_settings(project, PROD, LIVE)
        images.build(project, DEV, made_from=None)
        options = [*stages.on_working_tree(project), *stages.in_home(project), "--env=HOME=/tmp"]
        options += [_publish(project, port), *(["--no-deps"] if services.names(project) else [])]
        options.append(f"--env=PRODLOCK_ADDRESS=http://localhost:{port}")
        if not preload:
            options.append("--env=PRODLOCK_PRELOAD=0")
        if debug:
            # debugpy warns without the second: a debugger can't stop in modules that are part of the interpreter.
            options += ["--env=PRODLOCK_DEBUG=1", "--env=PYTHON_FROZEN_MODULES=off"]
        program = _program(project)
        with services.for_dev(project), _debugger(project, debug=debug) as more:
            try:
                run = (*command(project, LIVE[1], more=more), "run", *development.terminal(), *options, LIVE[0])
                return development.run_temporary(project, *run, *program, name=name, env={"PORT": port})
            except KeyboardInterrupt:
                # Ctrl-C is the normal end of a server.
                return 0
            finally:
                _wait_for_removal(project, name)
                containers.remove_unused_networks(project, project_name(project))


def _program(project: Project) -> tuple[str, ...]:
    """Return the command that serves the working tree, where it is not the one of the Compose service."""
    described = project.configuration
    arguments = generated.server_arguments(described)
    if not described.server:
        return () if project.is_own else ("python", "-m", "prodlock.loop.serve", *arguments)
    # The lock may not have what `prodlock.server` needs.
    ports = (str(_rerun_port(project)), str(described.port))
    return ("python", "-m", "prodlock.loop.rerun", *ports, *described.server)


def _publish(project: Project, port: str) -> str:
    """Return the option of Compose that publishes a port: that of the service, or that of prodlock.loop.rerun."""
    if not project.configuration.server:
        return "--service-ports"
    return f"--publish=127.0.0.1:{port}:{_rerun_port(project)}"


def _rerun_port(project: Project) -> int:
    return next(one for one in _RERUN_PORTS if one != project.configuration.port)


def _remove_leftover(project: Project, name: str, locked: bool | None) -> None:  # noqa: FBT001
    """Remove the container of a killed `inv dev`. Raises Failure where one runs, or another checkout's has the name."""
    for one in containers.list_all(project):
        if one.name != name:
            continue
        # With the lock, no `inv dev` of this checkout runs.
        if one.local and (locked or one.state in containers.ENDED):
            engine.output(project, "rm", "--force", name, echo=True)
        else:
            remedy = "press Ctrl-C there" if locked is False else f"run `docker rm --force {name}`"
            raise Failure(f"`inv dev` must run once in a checkout (got {one}). To fix it: {remedy}.")
    if locked is False:
        raise Failure(
            "`inv dev` must run once in a checkout (got another that is starting). To fix it: press Ctrl-C there."
        )


def _wait_for_removal(project: Project, name: str) -> None:
    """Wait until the Engine has removed a container, which still uses its network until then."""
    deadline = time.monotonic() + _REMOVAL_SECONDS
    with engine.undisturbed():
        while any(one.name == name for one in containers.list_all(project)) and time.monotonic() < deadline:
            time.sleep(0.05)


def check_free(port: int) -> None:
    """Raise Failure where another program listens on a port: Compose would print several lines about it."""
    try:
        with socket.socket() as probe:
            if sys.platform != "win32":
                # A connection that was closed a moment ago does not keep the port.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
    except OSError as error:
        if isinstance(error, PermissionError) and sys.platform != "win32":
            # Only root may use a port below 1024, which the Engine is.
            return
        remedy = "stop the program that listens there" + ("" if port == DEBUG_PORT else ", or use `inv dev --port N`")
        raise Failure(
            f"The address 127.0.0.1:{port} must be free (got: {error.strerror}). To fix it: {remedy}."
        ) from None


@contextlib.contextmanager
def _debugger(project: Project, *, debug: bool) -> Iterator[tuple[str, ...]]:
    """Yield further Compose files: with `debug`, one that runs the image with the debugger and publishes its port."""
    if not debug:
        yield ()
        return
    service = {"image": stages.build(project, "loop"), "ports": [f"127.0.0.1:{DEBUG_PORT}:{DEBUG_PORT}"]}
    with override({"services": {LIVE[0]: service}}) as file:
        yield (file,)
