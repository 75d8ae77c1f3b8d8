"""Start the services beside the application, such as a database, for development and for tests, and remove them."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from prodlock import recipes, site
from prodlock.docker import containers, engine
from prodlock.docker.compose import DEV, LIVE, command, override, project_name
from prodlock.failure import Failure
from prodlock.project import Project

# What a run of the tests has behind the project's name, before digits of its own: runs do not share a database.
_RUN = "-run-"


@dataclass(frozen=True)
class Surroundings:
    """How a container of the tests reaches their services."""

    # The beginning of the Compose command, and options of its `run`.
    compose: tuple[str, ...]
    compose_options: tuple[str, ...] = ()
    # The same for `docker run`: options, and variables for its environment.
    options: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


def names(project: Project, form: str = "") -> list[str]:
    """Return the names of the services in one of their forms."""
    return [f"{name}{form}" for name, _ in project.configuration.services]


def is_run(name: str, project: str) -> bool:
    """Return whether a Compose project is a run of the tests of a project."""
    return name.startswith(f"{project}{_RUN}")


@contextlib.contextmanager
def for_tests(project: Project, *, published: bool = False) -> Iterator[Surroundings]:
    """Start the services of the tests, wait until they are healthy, and remove them at the end, with their data.

    Each run has a Compose project of its own. Its network leads nowhere else, unless a port is `published`.
    """
    if not names(project):
        yield Surroundings(command(project, DEV[1]))
        return
    pull(project)
    name = f"{project_name(project)}{_RUN}{os.urandom(6).hex()}"
    changed: dict[str, object] = {"services": {DEV[0]: {"image": f"{project_name(project)}:{DEV[1]}"}}}
    if published:
        changed["networks"] = {"tests": {"internal": False}}
    with override(changed) as file:
        run = command(project, DEV[1], name=name, more=(file,))
        try:
            _start(project, run, names(project, recipes.TESTS))
            given = json.loads(engine.output(project, *run, "config", "--format=json"))["services"][DEV[0]]
            # Compose escapes `$`.
            environment = {one: str(text).replace("$$", "$") for one, text in (given.get("environment") or {}).items()}
            options = (f"--network={name}_tests", *(f"--env={one}" for one in environment))
            yield Surroundings(run, ("--no-deps",), options, environment)
        finally:
            with engine.undisturbed():
                ended = ("down", "--volumes", "--remove-orphans", "--timeout=2")
                engine.output(project, *run, *ended, echo=True, shielded=True)


@contextlib.contextmanager
def for_dev(project: Project) -> Iterator[None]:
    """Start the services of development, and wait until they are healthy. The last one that uses them removes them.

    Their data stays in volumes.
    """
    forms = names(project, recipes.DEV)
    if not forms:
        yield
        return
    pull(project)
    name = project_name(project)
    try:
        _start(project, command(project, LIVE[1]), forms)
        yield
    finally:
        with engine.undisturbed():
            present = [one for one in containers.list_all(project) if one.local and one.project == name]
            if not any(one.service == LIVE[0] for one in present):
                containers.remove(project, [one for one in present if one.service in forms], name)


def pull(project: Project) -> None:
    """Pull the images of the services that the Engine does not have. Raises Failure where that is not possible."""
    for _, image in project.configuration.services:
        if engine.output(project, "image", "ls", "--quiet", image).strip():
            continue
        if engine.run(project, "pull", image, stdout=2):
            raise Failure(
                f"The image {image} of `services` in [tool.prodlock] must be on this Engine, or in a registry that it "
                "reaches (got neither). To fix it: correct its name, log in with `docker login`, or build the image "
                "under that name."
            )


def make_secrets(project: Project) -> None:
    """Write a random password for each service of production that needs one and has none.

    The container's user, another one than this, must be able to read the file; no other user of this machine can enter
    the folder. Raises Failure where the database has been made with a password that is lost.
    """
    for name, image in project.configuration.services:
        recipe = recipes.known(image)
        if not recipe or not recipe.password:
            continue
        file = project.root / recipes.SECRETS / recipes.secret(name)
        if file.is_file():
            continue
        volume = f"{project_name(project)}_{name}"
        if engine.output(project, "volume", "ls", "--quiet", f"--filter=name=^{volume}$").strip():
            raise Failure(
                f"{recipes.SECRETS}/{file.name} must have the password that the data in the volume {volume} was made "
                "with (got no file). To fix it: restore it, or remove the data with `inv clean --volumes`."
            )
        try:
            file.parent.parent.mkdir(exist_ok=True)
            site.ignore(file.parent.parent)
            file.parent.mkdir(exist_ok=True, mode=0o700)
            unfinished = file.with_suffix(".new")
            unfinished.write_text(secrets.token_urlsafe(32), encoding="ascii")
            unfinished.chmod(0o644)
            unfinished.replace(file)
        except OSError as error:
            raise Failure(
                f"{recipes.SECRETS} must be a folder that can be written (got: {error.strerror}). To fix it: change "
                "its mode or its owner."
            ) from None
        engine.notify(f"A new password for {name} is in {recipes.SECRETS}/{file.name}.")


def print_logs(project: Project, failed: Sequence[containers.Container]) -> None:
    """Print the last lines of containers on this terminal."""
    for one in failed:
        engine.notify(f"The last lines of {one.service}:")
        engine.run(project, "logs", "--tail=20", one.identifier)


def _start(project: Project, run: tuple[str, ...], services: Sequence[str]) -> None:
    """Start services, and wait until they are healthy. Raises Failure, and prints the logs of the failed ones."""
    try:
        engine.output(project, *run, "up", "--detach", "--wait", *services, echo=True)
    except Failure:
        identifiers = set(engine.output(project, *run, "ps", "--all", "--quiet", *services).split())
        present = [
            one for one in containers.list_all(project) if any(i.startswith(one.identifier) for i in identifiers)
        ]
        failed = containers.failed(project, present, services)
        if not failed:
            raise
        print_logs(project, failed)
        raise Failure(
            f"{' and '.join(one.service for one in failed)} did not become healthy; the last lines above give the "
            "reason."
        ) from None
