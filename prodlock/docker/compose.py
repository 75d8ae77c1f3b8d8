"""The two Compose services from build to stop."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from prodlock import integers, site, source
from prodlock.docker import containers, engine
from prodlock.failure import Failure
from prodlock.project import COMPOSE_FILES, OVERRIDES, Project

PROD = ("api-prod", "prod")
DEV = ("api-tests", "dev")
# What Compose takes for a project's name.
_NAME = "[a-z0-9][a-z0-9_-]*"
# How long the Engine may take to notice that a process has ended.
_SETTLED_SECONDS = 5
# How long it may take to create a container that it has been asked for.
_CREATING_SECONDS = 0.5


def project_name(project: Project) -> str:
    """Return the project's name: its containers and images are called `NAME-SERVICE-1` and `NAME:TARGET`.

    It is PRODLOCK_PROJECT where that is set, else what the Compose files say. Neither COMPOSE_PROJECT_NAME nor `.env`
    changes it: a task that removes containers must not be redirected to those of another project.
    """
    if given := project.environment.get("PRODLOCK_PROJECT"):
        if not re.fullmatch(_NAME, given):
            raise Failure(
                "PRODLOCK_PROJECT must be lower-case letters, digits, `_` and `-`, beginning with a letter or a digit "
                f"(got {given!r}). To fix it: set such a name, or unset it."
            )
        return given
    text = "\n".join(map(_text, files(project)))
    # The override comes last, and wins.
    names = re.findall(r"^name:(.*)$", text, re.MULTILINE)
    if names and (plain := re.fullmatch(rf"\s+([\"']?)({_NAME})\1(\s+#.*)?\s*", names[-1])):
        return plain[2]
    # A variable, say, or no name at all. Compose takes a tenth of a second to answer.
    asked = engine.output(
        project, "compose", *_of_this_folder(project), "config", "--format=json", env={"COMPOSE_PROJECT_NAME": ""}
    )
    return str(json.loads(asked)["name"])


def files(project: Project) -> list[Path]:
    """Return the Compose files that a plain `docker compose` reads here: the usual one, and its override if any."""
    kinds = (COMPOSE_FILES, OVERRIDES)
    found = [[project.root / name for name in kind if (project.root / name).is_file()] for kind in kinds]
    if not found[0]:
        raise Failure(
            f"{project.root} must have a docker-compose.yml (got none). To fix it: restore it, or copy Prodlock's own."
        )
    chosen = [paths[0] for paths in found if paths]
    for file in chosen:
        if not os.access(file, os.R_OK):
            raise Failure(f"{file} must be readable (got no permission). To fix it: change its mode.")
    return chosen


def command(project: Project, *profiles: str) -> tuple[str, ...]:
    """Return the beginning of each Compose command: files, folder, project and profiles, so that nothing redirects it.

    Not a variable of the environment, nor one of `.env`: see `engine.REDIRECTING`.
    """
    chosen = (f"--profile={profile}" for profile in profiles)
    return ("compose", *_of_this_folder(project), f"--project-name={project_name(project)}", *chosen)


def _of_this_folder(project: Project) -> tuple[str, ...]:
    # Relative to the folder that the engine runs in: shorter to print.
    return (*(f"--file={file.name}" for file in files(project)), "--project-directory=.")


def _text(file: Path) -> str:
    """Return a Compose file as it is. Raises Failure where it can't be read."""
    try:
        # Whatever the encoding of the rest is: a name is ASCII.
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise Failure(f"{file.name} must be readable (got: {error.strerror}). To fix it: restore it.") from None


def build_both(project: Project, platform: str, *, cache: bool) -> None:
    """Build prod and dev, and print what they are and what they were made from.

    A platform (https://github.com/opencontainers/image-spec/blob/main/image-index.md) is one that the Engine can run.
    """
    made_from = source.commit(project)
    settings = {"DOCKER_DEFAULT_PLATFORM": platform} if platform else {}
    build(project, PROD, DEV, made_from=made_from, cache=cache, env=settings)
    names = [f"{project_name(project)}:{target}" for _, target in (PROD, DEV)]
    identifiers = engine.output(project, "image", "inspect", "--format={{.Id}}", *names).split()
    for name, identifier in zip(names, identifiers, strict=True):
        print(f"{name:<20} {identifier}")
    print(f"Made from {made_from or 'no commit: no repository has this project'}.")


def build(
    project: Project,
    *services: tuple[str, str],
    made_from: source.Commit | None,
    cache: bool = True,
    env: Mapping[str, str] | None = None,
) -> None:
    """Build the images of the services, each under its own profile."""
    settings = {
        # An attestation holds the time of the build. With the containerd image store it is part of the image.
        "BUILDX_NO_DEFAULT_ATTESTATIONS": project.environment.get("BUILDX_NO_DEFAULT_ATTESTATIONS", "1"),
        # For these, Buildx asks git six times a target.
        "BUILDX_GIT_INFO": project.environment.get("BUILDX_GIT_INFO", "false"),
    }
    settings |= site.environment(project) | source.arguments(project, made_from) | dict(env or {})
    profiles = [profile for _, profile in services]
    names = [name for name, _ in services]
    engine.build(
        project, *command(project, *profiles), "build", *names, once=() if cache else ("--no-cache",), env=settings
    )


def serve(project: Project, port: str, *, detach: bool) -> None:
    """Build and start production, and print its address once it is healthy.

    Then stream its logs until it is interrupted, and stop it within its grace period; or, detached, return.
    Raises Failure where production runs already: only what this run has made is ever stopped by it.
    """
    port = port or project.environment.get("PORT") or "8000"
    port = str(integers.whole(port, "The port", 1, integers.LAST_PORT, "`inv serve --port N`, or set PORT"))
    settings = {"PORT": port}
    with _alone(project):
        _make_way(project)
        build(project, PROD, made_from=source.commit(project), env=settings)
        made = _create(project, settings)
        answered = False
        try:
            _start(project, made, settings)
            print(f"http://localhost:{port} answers. {'`inv stop`' if detach else 'Ctrl-C'} stops it.", flush=True)
            answered = True
            if not detach:
                _follow(project, next(one.identifier for one in made if one.service == PROD[0]))
        except KeyboardInterrupt:
            engine.say("")
            containers.remove(project, made, project_name(project))
            if not answered:
                raise
        except Failure:
            containers.remove(project, made, project_name(project))
            raise


@contextmanager
def _alone(project: Project) -> Iterator[None]:
    """Keep a second `inv serve` of this checkout away, until this process ends. Raises Failure in the second.

    The Compose file is locked, not a file of the task's own: there is none to be left behind. Without such locks, on
    Windows say, `_make_way` and `_create` still refuse a second one that does not come at the same moment.
    """
    if sys.platform == "win32":
        yield
        return
    import fcntl  # noqa: PLC0415 - Windows has none

    with files(project)[0].open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if there := _in_the_way(project):
                raise _refusal(there) from None
            raise Failure("Another `inv serve` is starting in this folder. To stop it: press Ctrl-C there.") from None
        except OSError:
            # A file system that knows no locks.
            pass
        yield


def _make_way(project: Project) -> None:
    """Remove what a killed `inv serve` of this checkout has left. Raises Failure where production is there already."""
    there = _in_the_way(project)
    left = [one for one in there if one.here and one.usual and one.state in {"created", "exited", "dead"}]
    if len(left) < len(there):
        raise _refusal([one for one in there if one not in left])
    if left:
        containers.remove(project, left, project_name(project))


def _in_the_way(project: Project) -> list[containers.Container]:
    """Return production's containers under this project's name, and any that a user has given such a name."""
    named = re.compile(rf"{re.escape(project_name(project))}[-_]{PROD[0]}[-_]\d+")
    return [one for one in containers.listed(project) if _is_production(project, one) or named.fullmatch(one.name)]


def _is_production(project: Project, container: containers.Container) -> bool:
    return (container.project, container.service, container.once) == (project_name(project), PROD[0], False)


def _refusal(there: Sequence[containers.Container]) -> Failure:
    """Return the failure that says what is where, and how to stop it."""
    return Failure(f"Production is there already: {there[0]}. To stop it: {there[0].remedy()}.")


def _create(project: Project, settings: Mapping[str, str]) -> list[containers.Container]:
    """Create production's containers, which do not run yet, and return those that were not there before.

    Raises Failure where production's own is not among these: then another command was quicker, and keeps it.
    """
    before = {one.identifier for one in containers.listed(project)}

    def made() -> list[containers.Container]:
        return [one for one in _of_project(project) if one.here and one.usual and one.identifier not in before]

    reason: Failure | KeyboardInterrupt
    try:
        options = ("--no-build", "--no-recreate")
        engine.output(project, *command(project, PROD[1]), "create", *options, PROD[0], env=settings, echo=True)
        created = made()
        if any(_is_production(project, one) for one in created):
            return created
        reason = Failure(f"Compose created no container of {PROD[0]}.")
    except (Failure, KeyboardInterrupt) as caught:
        reason = caught
    with engine.undisturbed():
        if isinstance(reason, KeyboardInterrupt):
            # The Engine may still be at work on what an interrupted Compose has asked for.
            time.sleep(_CREATING_SECONDS)
        containers.remove(project, made(), project_name(project))
    there = _in_the_way(project)
    if isinstance(reason, Failure) and there:
        raise _refusal(there)
    raise reason


def _of_project(project: Project) -> list[containers.Container]:
    """Return all containers under this project's name."""
    # First: a name that is none is refused also where there are no containers.
    name = project_name(project)
    return [one for one in containers.listed(project) if one.project == name]


def _start(project: Project, made: Sequence[containers.Container], settings: Mapping[str, str]) -> None:
    """Start production and wait until it is healthy. Raises Failure, with what the failing services said."""
    options = ("--detach", "--wait", "--no-build", "--no-recreate")
    try:
        engine.output(project, *command(project, PROD[1]), "up", *options, PROD[0], env=settings, echo=True)
    except Failure:
        failing = containers.failed(project, made, PROD[0])
        if not failing:
            raise
        for one in failing:
            engine.say(f"The last lines of {one.service}:")
            engine.run(project, "logs", "--tail=20", one.identifier)
        names = " and ".join(one.service for one in failing)
        raise Failure(f"{names} did not become healthy; the last lines above say why.") from None


def _follow(project: Project, container: str) -> None:
    """Stream production's logs until it is interrupted. Raises Failure where the service stops for good."""
    started = _started(project, container)
    while True:
        # Not `docker compose logs`: some versions put escape sequences before each line.
        engine.run(project, "logs", "--follow", f"--since={started}", container)
        # They end with the process, also where the restart policy starts it again.
        started = _started(project, container, but=started)
        engine.say("The service ended, and was started again.")


def _started(project: Project, container: str, but: str = "") -> str:
    """Return when the container was started, and not at the time `but`: wait for the restart policy to do it.

    Raises Failure where the container has stopped for good.
    """
    deadline = time.monotonic() + _SETTLED_SECONDS
    while True:
        try:
            said = engine.output(project, "inspect", "--format={{.State.Status}} {{.State.StartedAt}}", container)
            status, started = said.split()
        except Failure:
            raise Failure("The service was removed by another command, `inv stop` say.") from None
        if status == "running" and started != but:
            return started
        # How long the Engine waits before the next try is its own affair.
        if status != "restarting" and (status != "running" or time.monotonic() > deadline):
            raise Failure("The service stopped by itself; its last lines above say why.")
        time.sleep(0.1)


def stop(project: Project) -> None:
    """Stop and remove what `inv serve` or a plain `docker compose up` started in this checkout, and nothing else."""
    there = [one for one in _of_project(project) if not one.once]
    if mine := [one for one in there if one.here and one.usual]:
        containers.remove(project, mine, project_name(project))
    for other in there:
        if not (other.here and other.usual):
            engine.say(f"Left as it is: {other}. To stop it: {other.remedy()}.")


def test(project: Project, arguments: list[str]) -> int:
    """Build dev, run pytest in it with `arguments`, and return pytest's exit code."""
    build(project, DEV, made_from=None)
    return _in_dev(project, "pytest", *arguments)


def shell(project: Project, words: list[str], *, beside_prod: bool) -> int:
    """Build dev, open a shell in it or run a command, and return the exit code.

    Beside production it is in the running container's namespaces: it sees its processes, its network, and under
    /proc/1/root its files. Production itself has no shell.
    """
    build(project, DEV, made_from=None)
    words = words or ["bash"]
    if not beside_prod:
        return _in_dev(project, *words)
    running = [
        one.identifier
        for one in _of_project(project)
        if one.here and _is_production(project, one) and one.state == "running"
    ]
    if not running:
        raise Failure("Production is not running here: start it with `inv serve`.")
    terminal = ("--interactive", "--tty") if _has_terminal() else ("--interactive",)
    namespaces = (f"--network=container:{running[0]}", f"--pid=container:{running[0]}")
    return _run(project, "run", *terminal, *namespaces, f"{project_name(project)}:dev", *words)


def _in_dev(project: Project, *words: str) -> int:
    """Run a command in a container of dev, and return its exit code."""
    terminal = () if _has_terminal() else ("--no-TTY",)
    return _run(project, *command(project, DEV[1]), "run", *terminal, DEV[0], *words)


def _run(project: Project, *args: str) -> int:
    """Run `docker ARGS`, whose `run` starts a container that goes when it ends, and return the exit code."""
    # No other container is called so, be it of another machine that uses the same Engine.
    name = f"{project_name(project)}-dev-{os.urandom(6).hex()}"
    where = args.index("run") + 1
    try:
        return engine.run(project, *args[:where], "--rm", f"--name={name}", *args[where:])
    except KeyboardInterrupt:
        # Docker may end and leave the container running; where it has not, there is none to remove.
        with engine.undisturbed(), contextlib.suppress(Failure):
            engine.output(project, "rm", "--force", name, echo=True, shielded=True)
        raise


def _has_terminal() -> bool:
    # Not sys.stdin: it is None where a script has closed it.
    return os.isatty(0) and os.isatty(1)


def clean(project: Project) -> None:
    """Remove this checkout's containers, their network and the images that its tasks build."""
    name = project_name(project)
    there = containers.listed(project)
    containers.remove(project, [one for one in there if one.here and one.project == name], name)
    others = [one for one in there if not one.here]
    for other in others:
        if other.project == name:
            engine.say(f"Left as it is: {other}. To stop it: {other.remedy()}.")
    tags = engine.output(project, "image", "ls", "--format={{.Tag}}", name).split()
    for target in ("prod", "dev", "bare", "golden", "tools", "lock", "lint", "sbom", "deploy", "fuzz"):
        image = f"{name}:{target}"
        if target not in tags:
            continue
        if image in {one.image for one in others}:
            engine.say(f"Left as it is: the image {image}, which a container uses.")
        else:
            engine.output(project, "image", "rm", image, echo=True)
