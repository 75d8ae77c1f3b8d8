"""The base image: pulled from a registry, or, where none can be reached, built from Debian's sources."""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path

from prodlock import site
from prodlock.docker import engine
from prodlock.failure import Failure
from prodlock.project import Project
from prodlock.setup import debian

# What base.Dockerfile builds.
BUILDABLE = "python:3.13-slim-trixie"


def name(project: Project) -> str:
    """Return the image that the Dockerfile starts from: the default of its `BASE` argument."""
    try:
        text = (project.root / "Dockerfile").read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise Failure(f"The Dockerfile must be a readable text (got: {error}). To fix it: restore it.") from None
    match = re.search(r"^ARG BASE=(\S+)", text, re.MULTILINE)
    if not match:
        raise Failure("The Dockerfile names no base image: it needs a line `ARG BASE=IMAGE` before the first FROM.")
    return match[1]


def present(project: Project, reference: str) -> bool:
    """Return whether the Engine has the image."""
    try:
        engine.output(project, "image", "inspect", "--format", "{{.Id}}", reference)
    except Failure:
        return False
    return True


def bring(project: Project, reference: str) -> str:
    """Bring the base image here and say how."""
    try:
        engine.output(project, "pull", "--quiet", reference, echo=True)
    except Failure as failure:
        print(f"No registry gave {reference} ({failure}).", file=sys.stderr)
    else:
        return "pulled"
    if debian.distribution() != "debian" or reference != BUILDABLE:
        raise Failure(
            f"No registry gave {reference}, and `inv setup` can build only {BUILDABLE}, and only on Debian: bring it "
            f"here with `docker load`, or from a registry of your own with `docker pull` and `docker tag`."
        )
    print("Building it from Debian's sources: about 4 minutes.", file=sys.stderr)
    _build_debian(project)
    recipe = str(project.root / "prodlock" / "setup" / "base.Dockerfile")
    secret = f"id=ca_bundle,src={site.environment(project)['CA_BUNDLE']}"
    with tempfile.TemporaryDirectory() as nothing:
        engine.build(project, "build", "--secret", secret, "--tag", reference, "--file", recipe, nothing)
    return "built from Debian's sources, for want of a registry"


def _build_debian(project: Project) -> None:
    """Make debian:trixie-slim as the official one is: no manuals, no translations, no package caches."""
    if not debian.installed("mmdebstrap"):
        debian.apt_get("update")
        debian.install("mmdebstrap")
    main, security = debian.mirror("Debian"), debian.mirror("Debian-Security")
    sources = f"deb {main} trixie main\ndeb {main} trixie-updates main\ndeb {security} trixie-security main\n"
    without = [f"--dpkgopt=path-exclude=/usr/share/{folder}/*" for folder in ("doc", "info", "locale", "man")]
    copyright_notices = "--dpkgopt=path-include=/usr/share/doc/*/copyright"
    clean = '--customize-hook=chroot "$1" apt-get clean'
    with tempfile.TemporaryDirectory() as folder:
        tree = str(Path(folder, "trixie.tar"))
        options = ("--quiet", "--variant=minbase", *without, copyright_notices, clean)
        debian.as_root("mmdebstrap", *options, "trixie", tree, "-", stdin=sources)
        engine.output(project, "import", tree, "debian:trixie-slim", echo=True)
