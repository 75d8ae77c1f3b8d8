"""Serve production with Compose, and stop it."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence

from prodlock import integers, recipes, source
from prodlock.docker import containers, engine, exclusive, images, services
from prodlock.docker.compose import PROD, check_settings, command, files, project_name
from prodlock.docker.containers import Container
from prodlock.failure import Failure
from prodlock.project import Project

# How long the Engine may take to notice that a process has exited.
_EXIT_SECONDS = 5
# How long the Engine may take to create a container after an interrupted Compose has asked for it.
_CREATE_SECONDS = 0.5


def serve(project: Project, port: str, *, detach: bool) -> None:
    """Build and start production, and print its address once it is healthy.

    Then stream its logs until an interruption, and stop it within its grace period; or, detached, return.
    Raises Failure where production already runs: only the containers of this run are stopped by it.
    """
    port = port or project.environment.get("PORT") or str(project.configuration.port)
    port = str(integers.parse(port, "The port", 1, integers.LAST_PORT, "`inv serve --port N`, or set PORT"))
    settings = {"PORT": port}
    # Where there are no locks, `_remove_leftovers` and `_create` refuse a second one that starts at another moment.
    with exclusive.lock(files(project)[0]) as locked:
        if locked is False:
            if conflicting := _conflicting(project):
                raise _already_running(conflicting)
            raise Failure(
                "`inv serve` must run once in a checkout (got another that is starting). To fix it: press Ctrl-C there."
            )
        _remove_leftovers(project)
        check_settings(project, PROD)
        images.build(project, PROD, made_from=source.commit(project), env=settings)
        services.pull(project)
        services.make_secrets(project)
        created = _create(project, settings)
        answers = False
        try:
            _start(project, created, settings)
            # Before the address is printed: who reads it may interrupt at once.
            answers = not detach
            print(f"http://localhost:{port} answers. {'`inv stop`' if detach else 'Ctrl-C'} stops it.", flush=True)
            if not detach:
                _stream_logs(project, next(one.identifier for one in created if one.service == PROD[0]))
        except BaseException as end:
            is_interruption = isinstance(end, KeyboardInterrupt)
            if is_interruption:
                engine.notify("")
            containers.remove(project, created, project_name(project))
            # An interruption is how a service that answers is stopped.
            if not (is_interruption and answers):
                raise


def stop(project: Project) -> None:
    """Stop and remove what `inv serve` or a plain `docker compose up` started in this checkout, and nothing else."""
    present = [one for one in _of_project(project) if not one.one_off]
    if own := [one for one in present if one.local and one.standard]:
        containers.remove(project, own, project_name(project))
    for other in present:
        if not (other.local and other.standard):
            engine.notify(f"Not stopped: {other}. To stop it: {other.stop_command()}.")


def running(project: Project) -> Container | None:
    """Return the container of production that runs in this checkout, or None."""
    return next(
        (one for one in _of_project(project) if one.local and _is_production(project, one) and one.state == "running"),
        None,
    )


def _remove_leftovers(project: Project) -> None:
    """Remove the exited containers of a killed `inv serve`. Raises Failure where production already runs."""
    conflicting = _conflicting(project)
    leftovers = [one for one in conflicting if one.local and one.standard and one.state in containers.ENDED]
    if len(leftovers) < len(conflicting):
        raise _already_running([one for one in conflicting if one not in leftovers])
    # Those of databases and of commands: an exited command would be started again from its former image.
    leftovers += [one for one in _of_project(project) if one.local and one.standard
                  and one.state in containers.ENDED and one not in leftovers]  # fmt: skip
    if leftovers:
        containers.remove(project, leftovers, project_name(project))


def _conflicting(project: Project) -> list[Container]:
    """Return the containers of production under this project's name, and others with such a name."""
    pattern = re.compile(rf"{re.escape(project_name(project))}[-_]{PROD[0]}[-_]\d+")
    return [one for one in containers.list_all(project) if _is_production(project, one) or pattern.fullmatch(one.name)]


def _is_production(project: Project, container: Container) -> bool:
    return (container.project, container.service, container.one_off) == (project_name(project), PROD[0], False)


def _already_running(conflicting: Sequence[Container]) -> Failure:
    return Failure(
        f"Production must not be running yet (got {conflicting[0]}). To fix it: stop that with "
        f"{conflicting[0].stop_command()}."
    )


def _create(project: Project, settings: Mapping[str, str]) -> list[Container]:
    """Create production's containers without starting them, and return those that did not exist before.

    Raises Failure where production's own is not among them: another command created it first, and keeps it.
    """
    before = {one.identifier for one in containers.list_all(project)}

    def created() -> list[Container]:
        return [one for one in _of_project(project) if one.local and one.standard and one.identifier not in before]

    reason: Failure | KeyboardInterrupt
    try:
        options = ("--no-build", "--no-recreate")
        engine.output(
            project, *command(project, PROD[1]), "create", *options, *_long_running(project), env=settings, echo=True
        )
        own = created()
        if any(_is_production(project, one) for one in own):
            return own
        reason = Failure(f"Compose must create a container of {PROD[0]} (got none). To fix it: run `inv serve` again.")
    except (Failure, KeyboardInterrupt) as caught:
        reason = caught
    with engine.undisturbed():
        if isinstance(reason, KeyboardInterrupt):
            # The Engine may still carry out what an interrupted Compose has asked for.
            time.sleep(_CREATE_SECONDS)
        containers.remove(project, created(), project_name(project))
    conflicting = _conflicting(project)
    if isinstance(reason, Failure) and conflicting:
        raise _already_running(conflicting)
    raise reason


def _of_project(project: Project) -> list[Container]:
    """Return all containers under this project's name but those of `inv dev`."""
    # First: an invalid name is refused even where there are no containers.
    name, of_dev = project_name(project), {*services.names(project, recipes.DEV)}
    return [one for one in containers.list_all(project) if one.project == name and one.service not in of_dev]


def _long_running(project: Project) -> list[str]:
    """Return production's service and the further commands that run beside it; the others run before it."""
    return [PROD[0], *(one.name for one in project.configuration.commands if not one.once)]


def _start(project: Project, created: Sequence[Container], settings: Mapping[str, str]) -> None:
    """Start production and wait until it is healthy. Raises Failure, and prints the logs of the failed services."""
    options = ("--detach", "--wait", "--no-build", "--no-recreate")
    running = _long_running(project)
    reason: Failure | None = None
    try:
        engine.output(project, *command(project, PROD[1]), "up", *options, *running, env=settings, echo=True)
    except Failure as caught:
        reason = caught
    # A command may fail while the service becomes healthy: Compose does not look at it again.
    failed = containers.failed(project, created, running + services.names(project)) if reason or running[1:] else []
    if failed:
        services.print_logs(project, failed)
        names = " and ".join(one.service for one in failed)
        once = {one.name for one in project.configuration.commands if one.once}
        fault = "failed" if once.issuperset(one.service for one in failed) else "did not become healthy"
        raise Failure(f"{names} {fault}; the last lines above give the reason.")
    if reason:
        raise reason


def _stream_logs(project: Project, container: str) -> None:
    """Stream production's logs until an interruption. Raises Failure where the service stops permanently."""
    started = _start_time(project, container)
    while True:
        # Not `docker compose logs`: some versions print escape sequences before each line.
        engine.run(project, "logs", "--follow", f"--since={started}", container)
        # They end when the process exits, also where the restart policy starts it again.
        started = _start_time(project, container, after=started)
        engine.notify("The service exited and was restarted.")


def _start_time(project: Project, container: str, after: str = "") -> str:
    """Return the time of the container's last start; wait for the restart policy where that is still `after`.

    Raises Failure where the container has stopped permanently.
    """
    deadline = time.monotonic() + _EXIT_SECONDS
    while True:
        try:
            state = engine.output(project, "inspect", "--format={{.State.Status}} {{.State.StartedAt}}", container)
            status, started = state.split()
        except Failure:
            raise Failure("The service was removed by another command, for example `inv stop`.") from None
        if status == "running" and started != after:
            return started
        # The Engine decides how long it waits before the next restart.
        if status != "restarting" and (status != "running" or time.monotonic() > deadline):
            raise Failure("The service stopped unexpectedly; its last lines above give the reason.")
        time.sleep(0.1)
