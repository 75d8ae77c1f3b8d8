"""Obtain what production must be: from its sources, never from the image that is checked."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ops import compose, engine, requirements, site, source, stages
from ops.records import Declaration
from ops.world import World, world_from


class Expected(NamedTuple):
    """What golden.py says of base image, lock and app; what the Dockerfile declares; what Compose runs."""

    golden: Mapping[str, Any]
    world: World
    declaration: Declaration
    service: Mapping[str, Any]
    volumes: Mapping[str, Any]
    # The working tree. Its path, and all paths in the two above, are without symlinks.
    root: str
    # Name and version of what came into the lock since the size budget was set.
    came: frozenset[str]


def obtain(commit: source.Commit | None) -> Expected:
    """Return what production of this commit must be. Raises Failure where it can't be made out."""
    run = ("run", "--rm", "--interactive", "--network=none", stages.build("golden"))
    golden = json.loads(engine.output(*run, "python", "-m", "ops.golden", "app", given=app(commit), echo=True))
    world = world_from(golden["rows"])
    resolved = json.loads(engine.output(*compose.command(compose.PROD[1]), "config", "--format=json"))
    service, volumes = resolved["services"][compose.PROD[0]], resolved.get("volumes") or {}
    for mount in service.get("volumes") or ():
        if mount["type"] == "bind":
            mount["source"] = os.path.realpath(mount["source"])
    for volume in filter(None, volumes.values()):
        options = volume.get("driver_opts") or {}
        # What is no path, `tmpfs` say, stays as it is.
        if Path(device := options.get("device", "")).is_absolute():
            options["device"] = os.path.realpath(device)
    root = os.path.realpath(engine.ROOT)
    return Expected(golden, world, declaration(commit), service, volumes, root, came(golden["wheels"]))


def came(wheels: Iterable[Mapping[str, str]]) -> frozenset[str]:
    """Return name and version of the wheels that the lock's main group did not have when the size budget was set.

    As git knows it, and for whatever environment the lock of then had them: its markers are not evaluated.
    """
    before = source.locked_since("size-budget-mb")
    try:
        known = requirements.pinned(before, "main")
    except (ValueError, KeyError):
        # A lock of then that was none: nothing is known.
        return frozenset()
    return frozenset(f"{one['name']} {one['version']}" for one in wheels) - known


def app(commit: source.Commit | None) -> bytes:
    """Return a tar of what a build takes from `app/`: as the commit has it, or where there is none as it is here.

    Raises Failure where the commit has none.
    """
    with source.app(commit) as tree:
        return taken(tree)


def taken(tree: Path) -> bytes:
    """Return a tar of what a build takes from `app/` in a folder: .dockerignore may leave files out."""
    options = ("--quiet", "--file=Dockerfile", "--target=sources", "--output=type=tar,dest=-")
    with tempfile.TemporaryFile() as archive:
        engine.write(archive, "build", *options, str(tree))
        return archive.read()


def declaration(commit: source.Commit | None) -> Declaration:
    """Return what the Dockerfile makes of this commit, built by a bare `docker build .`: no Compose, no target."""
    arguments = source.arguments(commit)
    settings = site.environment()
    tag = f"{compose.project()}:bare"
    options = [f"--build-arg={name}" for name in arguments]
    engine.build("build", f"--tag={tag}", *options, *site.secrets(settings), ".", env=settings | arguments)
    (facts,) = json.loads(engine.output("image", "inspect", tag))
    steps = engine.output("history", "--no-trunc", "--format={{json .CreatedBy}}", tag).splitlines()
    # https://github.com/opencontainers/image-spec/blob/main/config.md has these names in lower case.
    names = {"architecture": "Architecture", "os": "Os", "os.version": "OsVersion", "variant": "Variant"}
    document = {name: facts.get(field) or "" for name, field in names.items()}
    if commit:
        document["created"] = arguments["CREATED"]
    return Declaration(
        facts["Config"], tuple(json.loads(step) for step in reversed(steps)), tuple(facts["RootFS"]["Layers"]), document
    )
