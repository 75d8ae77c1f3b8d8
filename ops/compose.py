"""The two Compose services from build to stop."""

from __future__ import annotations

import contextlib
import json
import os
import re
import time

from ops import engine, site, source
from ops.failure import Failure

PROD = ("api-prod", "prod")
DEV = ("api-tests", "dev")
_LAST_PORT = 65535
# How long the Engine may take to notice that a process has ended.
_SETTLED_SECONDS = 5


def project() -> str:
    """Return the project's name, as Compose makes it out: its images are called `NAME:TARGET`."""
    if name := os.environ.get("COMPOSE_PROJECT_NAME"):
        return name
    plain = re.search(r"^name: ([a-z0-9_-]+)$", text(), re.MULTILINE)
    if plain and not (engine.ROOT / ".env").exists():
        return plain[1]
    # Compose knows in any case, but takes a tenth of a second to say so.
    name = json.loads(engine.output("compose", "config", "--format=json"))["name"]
    return str(name)


def text() -> str:
    """Return docker-compose.yml as it is. Raises Failure where it can't be read."""
    try:
        return (engine.ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise Failure(
            f"docker-compose.yml must be a readable file in UTF-8 (got: {getattr(error, 'strerror', error)}). "
            "To fix it: restore it."
        ) from None


def build_both(platform: str, *, cache: bool) -> None:
    """Build prod and dev, and print what they are and what they were made from.

    A platform (https://github.com/opencontainers/image-spec/blob/main/image-index.md) is one that the Engine can run.
    """
    if platform:
        os.environ["DOCKER_DEFAULT_PLATFORM"] = platform
    made_from = source.commit()
    build(PROD, DEV, made_from=made_from, cache=cache)
    names = [f"{project()}:{target}" for _, target in (PROD, DEV)]
    identifiers = engine.output("image", "inspect", "--format={{.Id}}", *names).split()
    for name, identifier in zip(names, identifiers, strict=True):
        print(f"{name:<20} {identifier}")
    print(f"Made from {made_from or 'no commit: git tells none here'}.")


def build(*services: tuple[str, str], made_from: source.Commit | None, cache: bool = True) -> None:
    """Build the images of the services, each under its own profile."""
    os.environ.update(site.environment() | source.arguments(made_from))
    # An attestation holds the time of the build. With the containerd image store it is part of the image.
    os.environ.setdefault("BUILDX_NO_DEFAULT_ATTESTATIONS", "1")
    # For these, Buildx asks git six times a target.
    os.environ.setdefault("BUILDX_GIT_INFO", "false")
    profiles = [f"--profile={profile}" for _, profile in services]
    names = [name for name, _ in services]
    engine.build("compose", *profiles, "build", *names, once=() if cache else ("--no-cache",))


def serve(port: str, *, detach: bool) -> None:
    """Build and start production, and print its address once it is healthy.

    Then stream its logs until it is interrupted, and stop it within its grace period; or, detached, return.
    """
    port = port or os.environ.get("PORT") or "8000"
    if not (port.isdecimal() and 0 < int(port) <= _LAST_PORT):
        raise Failure(f"{port!r} is no port: give a number from 1 to {_LAST_PORT} with `inv serve --port N`.")
    os.environ["PORT"] = port
    build(PROD, made_from=source.commit())
    try:
        _start()
        print(f"http://localhost:{port} answers. {'`inv stop`' if detach else 'Ctrl-C'} stops it.", flush=True)
        if not detach:
            _follow()
    except KeyboardInterrupt:
        engine.say("")
        stop()
    except Failure:
        stop()
        raise


def _follow() -> None:
    """Stream production's logs until it is interrupted. Raises Failure where the service stops for good."""
    container = _container()
    started = _started(container)
    while True:
        # Not `docker compose logs`: some versions put escape sequences before each line.
        engine.run("logs", "--follow", f"--since={started}", container)
        # They end with the process, also where the restart policy starts it again.
        started = _started(container, but=started)
        engine.say("The service ended, and was started again.")


def _started(container: str, but: str = "") -> str:
    """Return when the container was started, and not at the time `but`: wait for the restart policy to do it.

    Raises Failure where the container has stopped for good.
    """
    deadline = time.monotonic() + _SETTLED_SECONDS
    while True:
        try:
            said = engine.output("inspect", "--format={{.State.Status}} {{.State.StartedAt}}", container)
            status, started = said.split()
        except Failure:
            # By `inv stop`, say.
            status, started = "removed", ""
        if status == "running" and started != but:
            return started
        # How long the Engine waits before the next try is its own affair.
        if status != "restarting" and (status != "running" or time.monotonic() > deadline):
            raise Failure("The service stopped by itself; its last lines above say why.")
        time.sleep(0.1)


def _start() -> None:
    """Start production and wait until it is healthy. Raises Failure, with what the service said, where it is not."""
    try:
        engine.output("compose", "--profile=prod", "up", "--detach", "--wait", "--no-build", "api-prod", echo=True)
    except Failure:
        container = _container()
        if not container or engine.output("inspect", "--format={{.State.Status}}", container).strip() == "created":
            raise
        engine.run("logs", "--tail=20", container)
        raise Failure("The service did not become healthy; its last lines above say why.") from None


def _container() -> str:
    """Return the id of production's container, running or not, of the first of several, or `` where there is none."""
    return engine.output("compose", "--profile=prod", "ps", "--all", "--quiet", "api-prod").partition("\n")[0]


def stop() -> None:
    """Stop production within its grace period and remove its container and network, undisturbed by another Ctrl-C."""
    with engine.undisturbed():
        engine.output("compose", "--profile=prod", "down", echo=True, shielded=True)


def test(arguments: list[str]) -> int:
    """Build dev, run pytest in it with `arguments`, and return pytest's exit code."""
    build(DEV, made_from=None)
    return _in_dev("pytest", *arguments)


def shell(command: list[str], *, beside_prod: bool) -> int:
    """Build dev, open a shell in it or run `command`, and return the exit code.

    Beside production it is in the running container's namespaces: it sees its processes, its network, and under
    /proc/1/root its files. Production itself has no shell.
    """
    build(DEV, made_from=None)
    command = command or ["bash"]
    if not beside_prod:
        return _in_dev(*command)
    container = _container()
    if not container or engine.output("inspect", "--format={{.State.Running}}", container).strip() != "true":
        raise Failure("Production is not running here: start it with `inv serve`.")
    terminal = ("--interactive", "--tty") if _has_terminal() else ("--interactive",)
    namespaces = (f"--network=container:{container}", f"--pid=container:{container}")
    return _run("run", *terminal, *namespaces, f"{project()}:dev", *command)


def _in_dev(*command: str) -> int:
    """Run a command in a container of dev, and return its exit code."""
    terminal = () if _has_terminal() else ("--no-TTY",)
    return _run("compose", "--profile=dev", "run", *terminal, "api-tests", *command)


def _run(*args: str) -> int:
    """Run `docker ARGS`, whose `run` starts a container that goes when it ends, and return the exit code."""
    name = f"{project()}-dev-{os.getpid()}"
    where = args.index("run") + 1
    try:
        return engine.run(*args[:where], "--rm", f"--name={name}", *args[where:])
    except KeyboardInterrupt:
        # Docker may end and leave the container running; where it has not, there is none to remove.
        with engine.undisturbed(), contextlib.suppress(Failure):
            engine.output("rm", "--force", name, echo=True, shielded=True)
        raise


def _has_terminal() -> bool:
    # Not sys.stdin: it is None where a script has closed it.
    return os.isatty(0) and os.isatty(1)


def clean() -> None:
    """Remove this project's containers, its network and the images that its tasks build."""
    engine.output("compose", "--profile=prod", "--profile=dev", "down", "--remove-orphans", echo=True)
    name = project()
    for target in ("prod", "dev", "bare", "golden", "tools", "lock", "lint", "sbom", "deploy", "fuzz"):
        if engine.output("image", "ls", "--quiet", f"{name}:{target}"):
            engine.output("image", "rm", f"{name}:{target}", echo=True)
