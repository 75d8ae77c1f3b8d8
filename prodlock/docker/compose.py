"""Name the Compose project, its files, its services, and the beginning of each Compose command."""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from prodlock import service
from prodlock.docker import engine
from prodlock.failure import Failure
from prodlock.project import COMPOSE_FILES, COMPOSE_NAME, OVERRIDES, Project, plain_name

# The services that Prodlock builds: name and profile; the profile is the name of the target as well.
PROD = ("api-prod", "prod")
DEV = ("api-tests", "dev")
# The service that serves the working tree in the image of DEV.
LIVE = ("api-dev", "watch")


def project_name(project: Project) -> str:
    """Return the project's name: its containers and images are called `NAME-SERVICE-1` and `NAME:TARGET`.

    It is PRODLOCK_PROJECT where that is set, or else the name in the Compose files. Neither COMPOSE_PROJECT_NAME nor
    `.env` changes it: a task that removes containers must not be redirected to those of another project.
    """
    if given := project.environment.get("PRODLOCK_PROJECT"):
        if not re.fullmatch(COMPOSE_NAME, given):
            raise Failure(
                "PRODLOCK_PROJECT must be lower-case letters, digits, `_` and `-`, beginning with a letter or a digit "
                f"(got {given!r}). To fix it: set such a name, or unset it."
            )
        return given
    # The override comes last and takes precedence.
    if name := plain_name("\n".join(map(_read, files(project)))):
        return name
    # Without a name, or with a variable in it: Compose resolves it, which takes a tenth of a second.
    configuration = engine.output(
        project, "compose", *_location(project), "config", "--format=json", env={"COMPOSE_PROJECT_NAME": ""}
    )
    return str(json.loads(configuration)["name"])


def files(project: Project) -> list[Path]:
    """Return the Compose file that pyproject.toml names, or else those that `docker compose` finds without options.

    These are the Compose file, and its override if any.
    """
    given = project.configuration.compose
    kinds = ((given,), ()) if given else (COMPOSE_FILES, OVERRIDES)
    found = [[project.root / name for name in kind if (project.root / name).is_file()] for kind in kinds]
    if not found[0]:
        raise Failure(
            f"{project.root} must have a {given or 'docker-compose.yml'} (got none). To fix it: restore it, or run "
            "`prodlock upgrade`, or `prodlock init` in a project that has not moved in."
        )
    chosen = [paths[0] for paths in found if paths]
    for file in chosen:
        if not os.access(file, os.R_OK):
            raise Failure(f"{file} must be readable (got no permission). To fix it: change its mode.")
    return chosen


def names(project: Project) -> list[str]:
    """Return the paths of the Compose files, relative to the project's folder."""
    return [file.relative_to(project.root).as_posix() for file in files(project)]


def command(project: Project, *profiles: str, name: str = "", more: Iterable[str] = ()) -> tuple[str, ...]:
    """Return the beginning of a Compose command: its files and `more` of them, folder, project and profiles.

    All of them are named, so that neither the environment nor `.env` redirects the command: see `engine.REDIRECTING`.
    `name` is another name for the project.
    """
    overrides = (f"--file={file}" for file in more)
    chosen = (f"--profile={profile}" for profile in profiles)
    return ("compose", *_location(project), *overrides, f"--project-name={name or project_name(project)}", *chosen)


@contextlib.contextmanager
def override(document: Mapping[str, object]) -> Iterator[str]:
    """Yield the path of a Compose file that exists for a block. JSON is YAML."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "override.json")
        file.write_text(json.dumps(document), encoding="utf-8")
        yield str(file)


def check_settings(project: Project, *services: tuple[str, str], quickly: bool = False) -> None:
    """Raise Failure where a service does not hand on a variable of the application's settings, with the line to add.

    Otherwise Compose would drop the variable without a message. `quickly` asks Compose, which takes a tenth of a
    second, only where a variable's name is nowhere in the Compose files. Settings of another form than
    `service.variables` reads are not checked.
    """
    try:
        read = service.variables(project)
    except (OSError, SyntaxError, ValueError):
        return
    if quickly and read <= set(re.findall(r"\w+", "\n".join(map(_read, files(project))))):
        return
    profiles = command(project, *(profile for _, profile in services))
    document = json.loads(engine.output(project, *profiles, "config", "--format=json"))
    for name, _ in services:
        given = (document.get("services") or {}).get(name, {})
        if dropped := service.not_handed_on(given, read):
            raise Failure("\n".join(service.dropped(names(project)[0], name, one) for one in dropped))


def _location(project: Project) -> tuple[str, ...]:
    """Return the options that name files and folder, relative to the folder that docker runs in."""
    return (*(f"--file={name}" for name in names(project)), "--project-directory=.")


def _read(file: Path) -> str:
    """Return the text of a Compose file. Raises Failure where it can't be read."""
    try:
        # Names are ASCII, whatever the encoding of the rest is.
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise Failure(f"{file.name} must be readable (got: {error.strerror}). To fix it: restore it.") from None
