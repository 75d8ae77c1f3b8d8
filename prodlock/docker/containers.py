"""List the Engine's containers with the checkout that started each, and remove a project's by their ids.

A name does not show who started a container: another checkout of this project, Compose with other files, or a user may
use the same one. Compose's labels do (https://github.com/docker/compose/blob/main/pkg/api/labels.go).
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import NamedTuple

from prodlock.docker import engine
from prodlock.failure import Failure
from prodlock.project import COMPOSE_FILES, OVERRIDES, Project, is_file

# The states of a container without a process.
ENDED = frozenset({"created", "exited", "dead"})
_LABELS = ("project", "service", "oneoff", "project.working_dir", "project.config_files")
_FORMAT = "\t".join(
    (
        *("{{.ID}}", "{{.Names}}", "{{.Image}}", "{{.State}}", "{{.Ports}}"),
        *(f'{{{{.Label "com.docker.compose.{label}"}}}}' for label in _LABELS),
    )
)


class Container(NamedTuple):
    """A container and its labels of Compose, which are empty where a user started it with `docker run`."""

    identifier: str
    name: str
    # The reference that it was started with.
    image: str
    state: str
    ports: str
    project: str
    service: str
    # Whether `docker compose run` started it.
    one_off: bool
    # The folder and the files of the `docker compose` command.
    folder: str
    files: tuple[str, ...]
    # Whether that folder is this checkout.
    local: bool
    # Whether `docker compose up` started it with the files that `inv serve` reads.
    standard: bool

    def __str__(self) -> str:
        """Return the name, the address and the origin."""
        port = re.search(r":(\d+)->", self.ports)
        where = f" on http://localhost:{port[1]}" if port else f" ({self.state})"
        return f"{self.name}{where}, started {f'from {self.folder}' if self.folder else 'with `docker run`'}"

    def stop_command(self) -> str:
        """Return the command that stops the container."""
        if not self.folder or not all(map(is_file, self.files)):
            # Not started by Compose, or by a checkout that has been removed.
            return f"`docker rm --force {self.name}`"
        if self.standard and is_file(Path(self.folder, "tasks.py")):
            return "`inv stop`" if self.local else f"`inv stop` in {self.folder}"
        files = [f"--file={file}" for file in self.files]
        command = ["docker", "compose", *files, f"--project-name={self.project}", "--profile=prod", "down"]
        return f"`{shlex.join(command)}`"


def parse(project: Project, line: str) -> Container:
    """Return the container that a line of `docker ps` describes."""
    identifier, names, image, state, ports, of_project, service, one_off, folder, files = line.split("\t")
    # A link gives a container further names, `OTHER/ALIAS`.
    name = next(name for name in names.split(",") if "/" not in name)
    # Absolute paths, which may have commas as well.
    paths = tuple(filter(None, re.split(r",(?=/|[A-Za-z]:\\)", files)))
    local = bool(folder) and os.path.realpath(folder) == os.path.realpath(project.root)
    # A folder with files of this configuration.
    read = {os.path.realpath(Path(folder, name)) for name in (*_configured(project), *COMPOSE_FILES, *OVERRIDES)}
    standard = one_off != "True" and {os.path.realpath(file) for file in paths} <= read
    return Container(
        identifier, name, image, state, ports, of_project, service, one_off == "True", folder, paths, local, standard
    )


def _configured(project: Project) -> tuple[str, ...]:
    """Return the Compose file that pyproject.toml names; none where it can't be read, which others report."""
    try:
        return tuple(filter(None, [project.configuration.compose]))
    except Failure:
        return ()


def list_all(project: Project) -> list[Container]:
    """Return all containers of the Engine, running or not, the newest first."""
    listing = engine.output(project, "ps", "--all", f"--format={_FORMAT}", shielded=True)
    return [parse(project, line) for line in listing.splitlines()]


def remove(project: Project, containers: Iterable[Container], name: str) -> None:
    """Stop containers within their grace periods, remove them, and remove the project's unused networks.

    Volumes that have a name stay. Interruptions are ignored meanwhile. The newest container must come first: Compose
    starts a dependency before the service that needs it. Raises Failure, once all others are removed, where a container
    can't be.
    """
    failures: list[str] = []
    with engine.undisturbed():
        for container in containers:
            try:
                engine.output(project, "stop", container.identifier, echo=True, shielded=True)
                engine.output(project, "rm", "--force", "--volumes", container.identifier, echo=True, shielded=True)
            except Failure as failure:
                # Another command may have removed it meanwhile.
                if container.identifier in {one.identifier for one in list_all(project)}:
                    failures.append(str(failure))
        remove_unused_networks(project, name)
    if failures:
        raise Failure("\n".join(failures))


def remove_unused_networks(project: Project, name: str) -> None:
    """Remove the networks of a Compose project that no container uses. Interruptions are ignored meanwhile."""
    with engine.undisturbed():
        labelled = f"--filter=label=com.docker.compose.project={name}"
        listing = engine.output(project, "network", "ls", labelled, "--format={{.Name}}", shielded=True)
        for network in listing.splitlines():
            # By name: a container that never started has no record of the network's id.
            if not engine.output(project, "ps", "--all", "--quiet", f"--filter=network={network}", shielded=True):
                with contextlib.suppress(Failure):
                    engine.output(project, "network", "rm", network, echo=True, shielded=True)


def failed(project: Project, containers: Iterable[Container], permanent: Collection[str]) -> list[Container]:
    """Return the containers that exited with an error, were restarted, or are unhealthy.

    A service of `permanent` has failed as well where it exited with 0; other services may.
    """
    template = (
        "{{.State.Status}} {{.State.ExitCode}} {{.RestartCount}} {{if .State.Health}}{{.State.Health.Status}}{{end}}"
    )
    found = []
    for container in containers:
        # A container that another command has removed has no state.
        with contextlib.suppress(Failure):
            answer = engine.output(project, "inspect", f"--format={template}", container.identifier)
            status, code, restarts, health = answer.rstrip("\n").split(" ")
            if has_failed(status, code, restarts, health) or (status == "exited" and container.service in permanent):
                found.append(container)
    return found


def has_failed(status: str, code: str, restarts: str, health: str) -> bool:
    """Return whether a container in this state has failed; one that never started has not."""
    exited_with_error = status == "exited" and code != "0"
    return exited_with_error or status in {"dead", "restarting"} or restarts != "0" or health == "unhealthy"
