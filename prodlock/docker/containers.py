"""The containers of this project on the Engine: which exist, which checkout made them, and their removal by id.

A name says nothing of who made a container: another checkout of this project, Compose with other files, or a user may
use the same one. Compose's labels say it (https://github.com/docker/compose/blob/main/pkg/api/labels.go).
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from prodlock.docker import engine
from prodlock.failure import Failure
from prodlock.project import COMPOSE_FILES, OVERRIDES, Project

# The files that `docker compose` looks for, in its order: the first that exists, and the first override.
_LABELS = ("project", "service", "oneoff", "project.working_dir", "project.config_files")
_FORMAT = "\t".join(
    (
        *("{{.ID}}", "{{.Names}}", "{{.Image}}", "{{.State}}", "{{.Ports}}"),
        *(f'{{{{.Label "com.docker.compose.{label}"}}}}' for label in _LABELS),
    )
)


class Container(NamedTuple):
    """A container, and what Compose's labels say of it: empty where a user made it by hand."""

    identifier: str
    name: str
    # By the name that it was started with.
    image: str
    state: str
    ports: str
    project: str
    service: str
    # Whether `docker compose run` made it.
    once: bool
    # Where and with which files `docker compose` was run.
    folder: str
    files: tuple[str, ...]
    # Whether that was in this checkout, with any files.
    here: bool

    @property
    def usual(self) -> bool:
        """Whether `docker compose up` made it with the files that it looks for itself, as `inv serve` does."""
        known = {os.path.realpath(Path(self.folder, name)) for name in (*COMPOSE_FILES, *OVERRIDES)}
        return not self.once and {os.path.realpath(file) for file in self.files} <= known

    def __str__(self) -> str:
        """Return the name, the address and the origin."""
        port = re.search(r":(\d+)->", self.ports)
        where = f" on http://localhost:{port[1]}" if port else f" ({self.state})"
        return f"{self.name}{where}, started {f'from {self.folder}' if self.folder else 'by hand'}"

    def remedy(self) -> str:
        """Return the command that stops it."""
        if not self.folder or not all(Path(file).is_file() for file in self.files):
            # By hand, or from a checkout that is gone.
            return f"`docker rm --force {self.name}`"
        if self.usual and Path(self.folder, "tasks.py").is_file():
            return "`inv stop`" if self.here else f"`inv stop` in {self.folder}"
        files = [f"--file={file}" for file in self.files]
        command = ["docker", "compose", *files, f"--project-name={self.project}", "--profile=prod", "down"]
        return f"`{shlex.join(command)}`"


def parsed(project: Project, line: str) -> Container:
    """Return the container that a line of `docker ps` describes."""
    identifier, names, image, state, ports, of_project, service, once, folder, files = line.split("\t")
    # A link gives a container further names, `OTHER/ALIAS`.
    name = next(name for name in names.split(",") if "/" not in name)
    paths = tuple(filter(None, files.split(",")))
    here = bool(folder) and os.path.realpath(folder) == os.path.realpath(project.root)
    return Container(identifier, name, image, state, ports, of_project, service, once == "True", folder, paths, here)


def listed(project: Project) -> list[Container]:
    """Return all containers of the Engine, the newest first, running or not."""
    return [parsed(project, line) for line in engine.output(project, "ps", "--all", f"--format={_FORMAT}").splitlines()]


def remove(project: Project, containers: Iterable[Container], name: str) -> None:
    """Stop containers within their grace periods; remove them, and the project's networks that then are unused.

    Undisturbed by another Ctrl-C. The newest comes first, because Compose makes what a service depends on before it.
    """
    with engine.undisturbed():
        for container in containers:
            try:
                engine.output(project, "stop", container.identifier, echo=True, shielded=True)
                engine.output(project, "rm", "--force", container.identifier, echo=True, shielded=True)
            except Failure:
                # Another command may have removed it meanwhile.
                if container.identifier in {one.identifier for one in listed(project)}:
                    raise
        mine = f"--filter=label=com.docker.compose.project={name}"
        for network in engine.output(project, "network", "ls", mine, "--format={{.Name}}", shielded=True).splitlines():
            # By its name: a container that never started does not know the network's id.
            if not engine.output(project, "ps", "--all", "--quiet", f"--filter=network={network}", shielded=True):
                with contextlib.suppress(Failure):
                    engine.output(project, "network", "rm", network, echo=True, shielded=True)


def failed(project: Project, containers: Iterable[Container], lasting: str) -> list[Container]:
    """Return the containers that ended with an error, were restarted, or are unhealthy.

    That of the service `lasting` has failed as well where it ended without an error: other services may do so.
    """
    question = (
        "{{.State.Status}} {{.State.ExitCode}} {{.RestartCount}} {{if .State.Health}}{{.State.Health.Status}}{{end}}"
    )
    found = []
    for container in containers:
        with contextlib.suppress(Failure):
            answer = engine.output(project, "inspect", f"--format={question}", container.identifier)
            status, code, restarts, health = answer.rstrip("\n").split(" ")
            if broken(status, code, restarts, health) or (status == "exited" and container.service == lasting):
                found.append(container)
    return found


def broken(status: str, code: str, restarts: str, health: str) -> bool:
    """Return whether a container in this state has failed; one that never started has not."""
    ended_badly = status == "exited" and code != "0"
    return ended_badly or status in {"dead", "restarting"} or restarts != "0" or health == "unhealthy"
