"""Obtain what production must be: from its sources, never from the image that is checked."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from prodlock import site, source
from prodlock.docker import compose, engine, stages
from prodlock.failure import Failure
from prodlock.image.records import Declaration
from prodlock.inside import requirements
from prodlock.project import Project
from prodlock.proof import services
from prodlock.proof.world import World, world_from
from prodlock.server.settings import VARIABLES

# The file whose class `Settings` has the service's own settings. Those of the server are VARIABLES.
SETTINGS = "app/settings.py"


class Expected(NamedTuple):
    """What golden.py says of base image, lock and app; what the Dockerfile declares; what Compose runs."""

    golden: Mapping[str, Any]
    world: World
    declaration: Declaration
    project: services.Composed
    # Name and version of what came into the lock since the size budget was set.
    came: frozenset[str]


def obtain(project: Project, commit: source.Commit | None) -> Expected:
    """Return what production of this commit must be. Raises Failure where it can't be made out."""
    # Before anything is built for the comparison.
    judged = composed(project)
    run = ("run", "--rm", "--interactive", "--network=none", stages.build(project, "golden"))
    golden = json.loads(
        engine.output(
            project, *run, "python", "-m", "prodlock.inside.golden", "sources", given=app(project, commit), echo=True
        )
    )
    world = world_from(golden["rows"])
    return Expected(golden, world, declaration(project, commit), judged, came(project, golden["wheels"]))


def resolved(project: Project, *more: str) -> Mapping[str, Any]:
    """Return what Compose makes of its files, and more of them, for the profile prod.

    Raises Failure where that is no project of ours.
    """
    files = (f"--file={name}" for name in more)
    document = json.loads(
        engine.output(project, *compose.command(project, compose.PROD[1]), *files, "config", "--format=json")
    )
    if compose.PROD[0] not in (document.get("services") or {}):
        raise Failure(
            f"{services.FILE} must have a service {compose.PROD[0]} in the profile {compose.PROD[1]} (got none). "
            "To fix it: compare the file with this project's own."
        )
    found: Mapping[str, Any] = document
    return found


def composed(project: Project) -> services.Composed:
    """Return the Compose project, and what it refers to. Raises Failure where that can't be made out."""
    document, name = resolved(project), compose.project_name(project)
    real = {place: os.path.realpath(place) for place in services.places(document)}
    found = services.Composed(
        document, name, os.path.realpath(project.root), real, frozenset(), settings_variables(project)
    )
    others = set(services.unjudged(found).values())
    own = _own_layers(project, name) if others else frozenset()
    return replace(found, aliases=frozenset(image for image in others if _is_of_project(project, image, name, own)))


def settings_variables(project: Project) -> frozenset[str]:
    """Return the variables of the service's settings and of the server's. Raises Failure where they cannot be read."""
    try:
        return VARIABLES | services.settings_variables((project.root / SETTINGS).read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError) as error:
        raise Failure(
            f"{SETTINGS} must have a class `Settings` whose fields are named as in this project's own (got: {error}). "
            "To fix it: restore the class."
        ) from None


def _own_layers(project: Project, name: str) -> frozenset[str]:
    """Return the last layer of each of a project's images: files of this project, which no other image has."""
    facts = filter(None, (_inspected(project, f"{name}:{target}") for _, target in (compose.DEV, compose.PROD)))
    return frozenset(layer for one in facts for layer in (one["RootFS"].get("Layers") or ())[-1:])


def _is_of_project(project: Project, image: str, name: str, own: frozenset[str]) -> bool:
    """Return whether a reference, by an id say, leads to an image that was built here, or on top of one.

    By its names, by the label that Compose gives and that later builds inherit, or by a layer.
    """
    facts = _inspected(project, image)
    if not facts:
        return False
    labels, layers = facts["Config"].get("Labels") or {}, facts["RootFS"].get("Layers") or ()
    named = any(tag.startswith(f"{name}:") for tag in facts.get("RepoTags") or ())
    return named or labels.get("com.docker.compose.project") == name or not own.isdisjoint(layers)


def _inspected(project: Project, image: str) -> Mapping[str, Any] | None:
    """Return what the Engine reports of an image, or None where it has none: such an image was not built here."""
    try:
        (facts,) = json.loads(engine.output(project, "image", "inspect", image))
    except Failure:
        return None
    found: Mapping[str, Any] = facts
    return found


def came(project: Project, wheels: Iterable[Mapping[str, str]]) -> frozenset[str]:
    """Return name and version of the wheels that the lock's main group did not have when the size budget was set.

    As git knows it, and for whatever environment the lock of then had them: its markers are not evaluated.
    """
    before = source.locked_since(project, "size-budget-mb")
    try:
        known = requirements.pinned(before, "main")
    except (ValueError, KeyError):
        # A lock of then that was none: nothing is known.
        return frozenset()
    return frozenset(f"{one['name']} {one['version']}" for one in wheels) - known


def app(project: Project, commit: source.Commit | None) -> bytes:
    """Return a tar of what a build takes from `app/`: as the commit has it, or where there is none as it is here.

    Raises Failure where the commit has none.
    """
    with source.app(project, commit) as tree:
        return taken(project, tree)


def taken(project: Project, tree: Path) -> bytes:
    """Return a tar of what a build takes from `app/` in a folder: .dockerignore may leave files out."""
    options = ("--quiet", "--file=Dockerfile", "--target=sources", "--output=type=tar,dest=-")
    with tempfile.TemporaryFile() as archive:
        engine.write(project, archive, "build", *options, str(tree))
        return archive.read()


def declaration(project: Project, commit: source.Commit | None) -> Declaration:
    """Return what the Dockerfile makes of this commit, built by a bare `docker build .`: no Compose, no target."""
    arguments = source.arguments(project, commit)
    settings = site.environment(project)
    tag = f"{compose.project_name(project)}:bare"
    options = [f"--build-arg={name}" for name in arguments]
    engine.build(project, "build", f"--tag={tag}", *options, *site.secrets(settings), ".", env=settings | arguments)
    (facts,) = json.loads(engine.output(project, "image", "inspect", tag))
    steps = engine.output(project, "history", "--no-trunc", "--format={{json .CreatedBy}}", tag).splitlines()
    # https://github.com/opencontainers/image-spec/blob/main/config.md has these names in lower case.
    names = {"architecture": "Architecture", "os": "Os", "os.version": "OsVersion", "variant": "Variant"}
    document = {name: facts.get(field) or "" for name, field in names.items()}
    if commit:
        document["created"] = arguments["CREATED"]
    return Declaration(
        facts["Config"], tuple(json.loads(step) for step in reversed(steps)), tuple(facts["RootFS"]["Layers"]), document
    )
