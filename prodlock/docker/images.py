"""Build the images of the two Compose services, and set the size budget after the first build."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from prodlock import generated, site, source
from prodlock.configuration import FIRST_BUILD
from prodlock.docker import engine
from prodlock.docker.compose import DEV, PROD, check_settings, command, project_name
from prodlock.project import Project

# What a size budget has beyond the size, and the MB that it is a multiple of.
_RESERVE, _STEP_MB = 1.1, 5


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
    line = re.compile(
        rf"^([ \t]*size-budget-mb[ \t]*=[ \t]*)([\"']){FIRST_BUILD}\2(?=[ \t]*(?:#.*)?\r?$)", re.MULTILINE
    )
    if not line.search(text):
        return None
    size = int(engine.output(project, "image", "inspect", "--format={{.Size}}", image))
    budget = math.ceil(size * _RESERVE / 1e6 / _STEP_MB) * _STEP_MB
    file.write_bytes(line.sub(rf"\g<1>{budget}", text).encode())
    return budget


def build(
    project: Project,
    *built: tuple[str, str],
    made_from: source.Commit | None,
    cache: bool = True,
    env: Mapping[str, str] | None = None,
) -> None:
    """Build the images of Compose services, each under its own profile.

    Raises Failure where a file lacks what the configuration gives, and where a service other than the tests would not
    be given each of the application's settings.
    """
    generated.check(project)
    if served := [one for one in built if one != DEV]:
        check_settings(project, *served, quickly=True)
    settings = {
        # An attestation holds the time of the build. With the containerd image store it is part of the image.
        "BUILDX_NO_DEFAULT_ATTESTATIONS": project.environment.get("BUILDX_NO_DEFAULT_ATTESTATIONS", "1"),
        # Otherwise Buildx runs git six times for each target.
        "BUILDX_GIT_INFO": project.environment.get("BUILDX_GIT_INFO", "false"),
    }
    settings |= site.environment(project) | source.arguments(project, made_from) | dict(env or {})
    profiles = [profile for _, profile in built]
    names = [name for name, _ in built]
    engine.build(
        project, *command(project, *profiles), "build", *names, once=() if cache else ("--no-cache",), env=settings
    )
