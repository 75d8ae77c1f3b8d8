"""Provide the base image: pull it from a registry, or build it from Debian's sources where none can be reached."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from prodlock import site
from prodlock.docker import dockerfile, engine
from prodlock.failure import Failure
from prodlock.project import Project
from prodlock.setup import debian
from prodlock.setup.progress import progress

# The image that base.Dockerfile builds, and the one that it starts from.
BUILDABLE = "python:3.13-slim-trixie"
DEBIAN = "debian:trixie-slim"
_DOCKERFILE = Path(__file__).parent / "base.Dockerfile"


def name(project: Project) -> str:
    """Return the base image: the default of the Dockerfile's argument `BASE`."""
    found = dockerfile.default(project, "BASE")
    if not found:
        raise Failure(
            "The Dockerfile must name the base image (got no line `ARG BASE=IMAGE`). To fix it: add one before the "
            "first FROM."
        )
    return found


def is_present(project: Project, reference: str) -> bool:
    """Return whether the Engine has an image."""
    try:
        engine.output(project, "image", "inspect", "--format", "{{.Id}}", reference)
    except Failure:
        return False
    return True


def provide(project: Project, reference: str) -> str:
    """Pull or build the base image, and return which of the two was done."""
    try:
        engine.output(project, "pull", "--quiet", reference, echo=True)
    except Failure as failure:
        print(f"No registry provides {reference} ({failure}).", file=sys.stderr)
    else:
        return "pulled"
    if debian.distribution() != "debian" or reference != BUILDABLE:
        raise Failure(
            f"{reference} must be in a registry that can be reached (got none): `inv setup` builds only {BUILDABLE}, "
            "and only on Debian. To fix it: load the image with `docker load`, or pull it from your own registry and "
            "name it with `docker tag`."
        )
    build(project, reference)
    return "built from Debian's sources"


def build(project: Project, reference: str, debian_image: str = DEBIAN) -> None:
    """Build the base image from Debian's sources, which takes about 4 minutes."""
    _build_debian(project, debian_image)
    secret = site.file_secret("ca_bundle", site.environment(project)["CA_BUNDLE"])
    with tempfile.TemporaryDirectory() as empty, tempfile.TemporaryFile() as log:
        options = (secret, "--build-arg", f"DEBIAN={debian_image}", "--file", str(_DOCKERFILE))
        command = ("build", *options, "--tag", reference, empty)
        engine.print_command(*command)
        try:
            with progress(f"Building {reference} (about 4 minutes)"):
                engine.log_build(project, log, *command)
        except Failure:
            log.seek(0)
            shutil.copyfileobj(log, sys.stderr.buffer)
            sys.stderr.flush()
            raise


def _build_debian(project: Project, reference: str) -> None:
    """Build Debian's image like the official one: without manuals, translations and package caches."""
    if not debian.is_installed("mmdebstrap"):
        debian.apt_get("update")
        debian.install("mmdebstrap")
    main, security = debian.mirror("Debian"), debian.mirror("Debian-Security")
    sources = f"deb {main} trixie main\ndeb {main} trixie-updates main\ndeb {security} trixie-security main\n"
    excluded = [f"--dpkgopt=path-exclude=/usr/share/{folder}/*" for folder in ("doc", "info", "locale", "man")]
    copyright_notices = "--dpkgopt=path-include=/usr/share/doc/*/copyright"
    clean = '--customize-hook=chroot "$1" apt-get clean'
    with tempfile.TemporaryDirectory() as folder:
        archive = str(Path(folder, "trixie.tar"))
        options = ("--quiet", "--variant=minbase", *excluded, copyright_notices, clean)
        debian.run_as_root("mmdebstrap", *options, "trixie", archive, "-", stdin=sources)
        engine.output(project, "import", archive, reference, echo=True)
