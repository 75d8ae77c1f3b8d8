"""Build the images of the two Compose services, and remove what the tasks have made."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from prodlock import generated, site, source
from prodlock.configuration import FIRST_BUILD
from prodlock.docker import containers, engine, services
from prodlock.docker.compose import DEV, PROD, check_settings, command, project_name
from prodlock.project import Project

# What a size budget has beyond the size, and the MB that it is a multiple of.
_RESERVE, _STEP_MB = 1.1, 5
# The targets whose images the tasks tag with the project's name.
TARGETS = (
    "prod", "dev", "bare", "golden", "poetry", "lint", "audit", "loop", "reload", "sbom", "deploy", "checkov", "fuzz",
    "sign",
)  # fmt: skip


def build_both(project: Project, platform: str, *, cache: bool) -> None:
    """Build prod and dev, and print their ids and the commit.

    A platform (https://github.com/opencontainers/image-spec/blob/main/image-index.md) must be one that the Engine runs.
    """
    source.refuse_unavailable(project, project.configuration.sources)
    commit = source.commit(project)
    settings = {"DOCKER_DEFAULT_PLATFORM": platform} if platform else {}
    build(project, PROD, DEV, made_from=commit, cache=cache, env=settings)
    names = [f"{project_name(project)}:{target}" for _, target in (PROD, DEV)]
    budget = set_budget(project, names[0])
    if budget:
        # The working tree has changed, and the labels name it: the checks would report an image of another tree.
        commit = source.commit(project)
        build(project, PROD, DEV, made_from=commit, env=settings)
    identifiers = engine.output(project, "image", "inspect", "--format={{.Id}}", *names).split()
    for name, identifier in zip(names, identifiers, strict=True):
        print(f"{name:<20} {identifier}")
    if budget:
        print(f"size-budget-mb in pyproject.toml is {budget} now: what production needs, and a tenth more. Commit it.")
    print(f"Made from {commit or 'no commit: the project is in no git repository'}.")


def set_budget(project: Project, image: str) -> int | None:
    """Set the size budget from the size of production, and return it in MB; None where it has been set before."""
    file = project.root / "pyproject.toml"
    text = file.read_bytes().decode() if file.is_file() else ""
    line = re.compile(rf'^size-budget-mb = "{FIRST_BUILD}"(?=\r?$)', re.MULTILINE)
    if not line.search(text):
        return None
    size = int(engine.output(project, "image", "inspect", "--format={{.Size}}", image))
    budget = math.ceil(size * _RESERVE / 1e6 / _STEP_MB) * _STEP_MB
    file.write_bytes(line.sub(f"size-budget-mb = {budget}", text).encode())
    return budget


def build(
    project: Project,
    *services: tuple[str, str],
    made_from: source.Commit | None,
    cache: bool = True,
    env: Mapping[str, str] | None = None,
) -> None:
    """Build the images of services, each under its own profile.

    Raises Failure where a file lacks what the configuration gives, and where a service other than the tests would not
    be given each of the application's settings.
    """
    generated.check(project)
    if running := [one for one in services if one != DEV]:
        check_settings(project, *running, quickly=True)
    settings = {
        # An attestation holds the time of the build. With the containerd image store it is part of the image.
        "BUILDX_NO_DEFAULT_ATTESTATIONS": project.environment.get("BUILDX_NO_DEFAULT_ATTESTATIONS", "1"),
        # Otherwise Buildx runs git six times for each target.
        "BUILDX_GIT_INFO": project.environment.get("BUILDX_GIT_INFO", "false"),
    }
    settings |= site.environment(project) | source.arguments(project, made_from) | dict(env or {})
    profiles = [profile for _, profile in services]
    names = [name for name, _ in services]
    engine.build(
        project, *command(project, *profiles), "build", *names, once=() if cache else ("--no-cache",), env=settings
    )


def clean(project: Project, *, volumes: bool) -> None:
    """Remove this checkout's containers, their networks and the images that its tasks build; and volumes, if wanted."""
    name = project_name(project)
    present = containers.list_all(project)
    containers.remove(project, [one for one in present if one.local and one.project == name], name)
    # What a killed run of the tests has left.
    for run in {one.project for one in present if one.local and services.is_run(one.project, name)}:
        containers.remove(project, [one for one in present if one.project == run], run)
    if volumes:
        _remove_volumes(project, name)
    others = [one for one in present if not one.local]
    for other in others:
        if other.project == name:
            engine.notify(f"Not removed: {other}. To stop it: {other.stop_command()}.")
    tags = engine.output(project, "image", "ls", "--format={{.Tag}}", name).split()
    for target in TARGETS:
        image = f"{name}:{target}"
        if target not in tags:
            continue
        if image in {one.image for one in others}:
            engine.notify(f"Not removed: the image {image}, which a container uses.")
        else:
            engine.output(project, "image", "rm", image, echo=True)


def _remove_volumes(project: Project, name: str) -> None:
    """Remove the volumes of a project, with their data. Raises Failure where a container uses one."""
    labelled = f"--filter=label=com.docker.compose.project={name}"
    for volume in engine.output(project, "volume", "ls", "--quiet", labelled).split():
        engine.output(project, "volume", "rm", volume, echo=True)
