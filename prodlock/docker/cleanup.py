"""Remove what the tasks of a checkout have made."""

from __future__ import annotations

from prodlock.docker import containers, engine, services, stages
from prodlock.docker.compose import DEV, PROD, project_name
from prodlock.project import Project

# What the tasks build beside prod and dev, each under the project's name: the tools, and what the proof compares with.
_STAGES = (*stages.TOOLS, "bare", "golden")


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
    for target in (PROD[1], DEV[1], *_STAGES):
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
