"""Resolve the Compose project, and find out what it refers to."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from prodlock import service
from prodlock.docker import compose, engine
from prodlock.failure import Failure
from prodlock.project import Project
from prodlock.proof.evidence import sources
from prodlock.proof.judges import compose as judge
from prodlock.proof.judges import mounts
from prodlock.proof.records import ComposeProject
from prodlock.server.settings import VARIABLES

# The layer of a step that changes no file, such as WORKDIR: an archive without members, which many images have.
_EMPTY = f"sha256:{hashlib.sha256(bytes(1024)).hexdigest()}"


def collect(project: Project) -> ComposeProject:
    """Return the Compose project, and what it refers to. Raises Failure where that can't be found out."""
    base, *overrides = compose.names(project)
    name, origins = compose.project_name(project), (one.origin for one in sources.copies(project) if one.is_plain)
    document = resolve(project)
    found = ComposeProject(
        document,
        name,
        os.path.realpath(project.root),
        {place: os.path.realpath(place) for place in mounts.places(document)},
        frozenset(),
        settings_variables(project),
        tuple(origins),
        base,
        dockerfile=project.configuration.dockerfile,
        commands={one.name: one.words for one in project.configuration.commands},
    )
    others = set(judge.unjudged(found).values())
    own = _own_layers(project, name) if others else frozenset()
    found = replace(found, aliases=frozenset(image for image in others if _is_of_project(project, image, name, own)))
    if not overrides:
        return found
    alone = _resolve_alone(project, found)
    # Where the first file needs the override file, each finding is of both.
    file = ", ".join(overrides) if alone else ", ".join((base, *overrides))
    return replace(found, file=file, without_override=alone)


def resolve(
    project: Project, *more: str, interpolate: bool = True, env: Mapping[str, str] | None = None
) -> Mapping[str, Any]:
    """Return what Compose makes of its files, and more of them, for the profile prod.

    Without interpolation it has the files' own text, and no value of the environment.

    Raises Failure where they have no production service.
    """
    files = (f"--file={name}" for name in more)
    options = () if interpolate else ("--no-interpolate",)
    document = _config(project, *compose.command(project, compose.PROD[1]), *files, options=options, env=env)
    if compose.PROD[0] not in (document.get("services") or {}):
        raise Failure(
            f"{compose.names(project)[0]} must have a service {compose.PROD[0]} in the profile {compose.PROD[1]} "
            "(got none). To fix it: compare the file with this project's own."
        )
    return document


def _resolve_alone(project: Project, whole: ComposeProject) -> ComposeProject | None:
    """Return the project without its override file, or None where Compose can't resolve the first file alone."""
    files = [f"--file={name}" for name in compose.names(project)]
    command = [one for one in compose.command(project, compose.PROD[1]) if one not in files[1:]]
    try:
        document = _config(project, *command)
    except Failure:
        return None
    real = {place: os.path.realpath(place) for place in mounts.places(document)}
    return replace(whole, document=document, real=real)


def _config(
    project: Project, *command: str, options: tuple[str, ...] = (), env: Mapping[str, str] | None = None
) -> Mapping[str, Any]:
    printed = engine.output(project, *command, "config", "--format=json", *options, env=env)
    document: Mapping[str, Any] = json.loads(printed)
    return document


def settings_variables(project: Project) -> frozenset[str]:
    """Return the variables that the service and the server read. Raises Failure where they cannot be found out."""
    try:
        return VARIABLES | service.variables(project)
    except (OSError, SyntaxError, ValueError) as error:
        raise Failure(
            f"{project.configuration.settings} must have a class `Settings` with fields, and a string PREFIX (got: "
            f"{error}). To fix it: restore them, or correct `settings` in [tool.prodlock]."
        ) from None


def _own_layers(project: Project, name: str) -> frozenset[str]:
    """Return the last layer of each of the project's images: files of this project, which no other image has."""
    found = filter(None, (_inspect(project, f"{name}:{target}") for _, target in (compose.DEV, compose.PROD)))
    layers = ([one for one in image["RootFS"].get("Layers") or () if one != _EMPTY] for image in found)
    return frozenset(one for each in layers for one in each[-1:])


def _is_of_project(project: Project, image: str, name: str, own: frozenset[str]) -> bool:
    """Return whether a reference, such as an id, leads to an image that was built here, or on top of one.

    By its names, by the label that Compose gives and that later builds inherit, or by a layer.
    """
    found = _inspect(project, image)
    if not found:
        return False
    labels, layers = found["Config"].get("Labels") or {}, found["RootFS"].get("Layers") or ()
    is_named = any(tag.startswith(f"{name}:") for tag in found.get("RepoTags") or ())
    return is_named or labels.get("com.docker.compose.project") == name or not own.isdisjoint(layers)


def _inspect(project: Project, image: str) -> Mapping[str, Any] | None:
    """Return what the Engine reports of an image, or None where it does not have it: it was not built here.

    Raises Failure where the Engine does not answer.
    """
    try:
        (found,) = json.loads(engine.output(project, "image", "inspect", image))
    except Failure:
        # Absent, or the Engine did not answer: then it does not list images either.
        if engine.output(project, "image", "ls", "--quiet", image).strip():
            raise
        return None
    facts: Mapping[str, Any] = found
    return facts
