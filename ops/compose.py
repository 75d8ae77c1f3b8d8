"""The two Compose services from build to stop."""

from __future__ import annotations

import os
import re
import sys

from ops import engine, site
from ops.failure import Failure

PROD = ("api-prod", "prod")
DEV = ("api-tests", "dev")
_LAST_PORT = 65535


def image(profile: str) -> str:
    """Return the name of the image that a profile's service runs, as docker-compose.yml has it."""
    return f"{os.environ.get('COMPOSE_PROJECT_NAME') or _project()}:{profile}"


def _project() -> str:
    """Return the name on top of docker-compose.yml, without a YAML parser, which the standard library lacks."""
    text = (engine.ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    name = re.search(r"^name: *(\S+)", text, re.MULTILINE)
    if not name:
        raise Failure("docker-compose.yml has no line `name: NAME`: its images are named after that, so add one.")
    return name[1]


def build(*services: tuple[str, str]) -> None:
    """Build the images of the services, each under its own profile."""
    os.environ.update(site.environment())
    profiles = [f"--profile={profile}" for _, profile in services]
    engine.build("compose", *profiles, "build", *(name for name, _ in services))


def serve(port: str, *, detach: bool) -> None:
    """Build and start production, and print its address once it is healthy.

    Then stream its logs until it is interrupted, and stop it within its grace period; or, detached, return.
    """
    if not (port.isdecimal() and 0 < int(port) <= _LAST_PORT):
        raise Failure(f"{port!r} is no port: give a number from 1 to {_LAST_PORT} with `inv serve --port N`.")
    os.environ["PORT"] = port
    build(PROD)
    try:
        _start()
        print(f"http://localhost:{port} answers. {'`inv stop`' if detach else 'Ctrl-C'} stops it.", flush=True)
        if not detach:
            _follow()
    except KeyboardInterrupt:
        print(file=sys.stderr)
        stop()
    except Failure:
        stop()
        raise


def _follow() -> None:
    """Stream production's logs until it is interrupted. Raises Failure where the service stops by itself."""
    # Not `docker compose logs`: some versions put escape sequences before each line.
    engine.run("logs", "--follow", _container())
    raise Failure("The service stopped by itself; its last lines above say why.")


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
    """Return the id of production's container, running or not, or `` where there is none."""
    return engine.output("compose", "--profile=prod", "ps", "--all", "--quiet", "api-prod").strip()


def stop() -> None:
    """Stop production within its grace period and remove its container and network."""
    engine.output("compose", "--profile=prod", "down", echo=True)


def test(arguments: list[str]) -> int:
    """Build dev, run pytest in it with `arguments`, and return pytest's exit code."""
    build(DEV)
    # Not sys.stdin: it is None where a script has closed it.
    terminal = os.isatty(0) and os.isatty(1)
    run = ("compose", "--profile=dev", "run", "--rm", *(() if terminal else ("--no-TTY",)), "api-tests", "pytest")
    return engine.run(*run, *arguments)


def clean() -> None:
    """Remove this project's containers, networks and images."""
    engine.output("compose", "--profile=prod", "--profile=dev", "down", "--volumes", "--remove-orphans", echo=True)
    images = engine.output("image", "ls", "--format={{.Repository}}:{{.Tag}}", image("*")).split()
    if images:
        engine.output("image", "rm", "--force", *images, echo=True)
