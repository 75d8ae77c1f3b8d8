"""Obtain what production must be: from its sources, never from the image that is checked."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from ops import compose, engine, site, source, stages
from ops.failure import Failure
from ops.records import Declaration


class Expected(NamedTuple):
    """What golden.py says of base image, lock and app; what the Dockerfile declares; what Compose runs."""

    golden: Mapping[str, Any]
    declaration: Declaration
    service: Mapping[str, Any]
    # What it was made from; None where git tells nothing.
    commit: source.Commit | None


def obtain() -> Expected:
    """Return what production of this commit must be. Raises Failure where it can't be made out."""
    commit = source.commit()
    app, committed = source.app()
    if commit and not committed:
        raise Failure("The commit has no `app/`, or git can't give it: commit it, then check again.")
    image = stages.build("golden")
    golden = engine.output(
        "run",
        "--rm",
        "--interactive",
        "--network=none",
        image,
        "python",
        "-m",
        "ops.golden",
        "app",
        given=app,
        echo=True,
    )
    resolved = json.loads(engine.output("compose", "--profile=prod", "config", "--format=json"))
    return Expected(json.loads(golden), declaration(commit), resolved["services"][compose.PROD[0]], commit)


def declaration(commit: source.Commit | None) -> Declaration:
    """Return what the Dockerfile makes of this commit, built by a bare `docker build .`: no Compose, no target."""
    arguments = source.arguments(commit)
    os.environ.update(site.environment() | arguments)
    tag = f"{compose.project()}:bare"
    options = [f"--build-arg={name}" for name in arguments]
    engine.build("build", f"--tag={tag}", *options, *site.secrets(), ".")
    (facts,) = json.loads(engine.output("image", "inspect", tag))
    steps = engine.output("history", "--no-trunc", "--format={{json .CreatedBy}}", tag).splitlines()
    return Declaration(
        facts["Config"], tuple(json.loads(step) for step in reversed(steps)), tuple(facts["RootFS"]["Layers"])
    )
