"""Set up a machine for the other tasks, and change nothing on one that is ready."""

from __future__ import annotations

import platform
import re
import time
from pathlib import Path

from prodlock.docker import engine
from prodlock.docker.failures import NO_PERMISSION
from prodlock.failure import Failure
from prodlock.project import Project
from prodlock.setup import base, debian

DAEMON_LOG = "/var/log/dockerd.log"
START_SECONDS = 60
# The oldest versions with every feature that the Dockerfile and docker-compose.yml use: HEALTHCHECK --start-interval
# needs Engine 25 (https://docs.docker.com/reference/dockerfile/#healthcheck).
OLDEST = {"Engine": (25, 0), "Compose": (2, 24), "Buildx": (0, 12)}
# The addresses of the Engine that a distribution or, on Windows, Docker Desktop installs.
LOCAL = {"", "unix:///var/run/docker.sock", "unix:///run/docker.sock", "npipe:////./pipe/docker_engine"}
VERSION_COMMANDS = {
    "Engine": ("version", "--format", "{{.Server.Version}}"),
    "Compose": ("compose", "version", "--short"),
    "Buildx": ("buildx", "version"),
}


def setup(project: Project) -> None:
    """Check the Engine, Compose, Buildx and the base image, provide those that are missing, and print each."""
    outcome = dict.fromkeys((*OLDEST, "Base image"), "found")
    if (address := remote_address(project)) and not installed_version(project, "Engine"):
        raise Failure(
            f"The Docker Engine at {address} must answer (got no answer). To fix it: start it there, or use this "
            "machine's own (`unset DOCKER_HOST`, `docker context use default`)."
        )
    missing = [name for name in ("Compose", "Buildx") if not _is_recent(project, name)]
    if (
        not installed_version(project, "Engine")
        and not debian.is_installed("dockerd")
        and engine_error(project) != NO_PERMISSION
    ):
        missing.append("Engine")
    if missing:
        install(project, missing)
        outcome |= dict.fromkeys(missing, "installed")
    if not installed_version(project, "Engine"):
        start_engine(project)
        outcome["Engine"] = "installed and started" if "Engine" in missing else "started"
    for name, version in OLDEST.items():
        found = installed_version(project, name)
        if not _is_recent(project, name):
            oldest = ".".join(map(str, version))
            raise Failure(
                f"{name} must be version {oldest} or newer (got {found or 'no answer'}). To fix it: see "
                "https://docs.docker.com/engine/install/."
            )
        print(f"{name:<11} {found:<26} {outcome[name]}", flush=True)
    image = base.name(project)
    if not base.is_present(project, image):
        outcome["Base image"] = base.provide(project, image)
    print(f"{'Base image':<11} {image:<26} {outcome['Base image']}")


def installed_version(project: Project, name: str) -> str | None:
    """Return the version of `Engine`, `Compose` or `Buildx`, or None where it does not answer."""
    try:
        version = re.search(r"\d+\.\d+\.\d+\S*", engine.output(project, *VERSION_COMMANDS[name]))
    except Failure:
        return None
    return version[0] if version else None


def remote_address(project: Project) -> str:
    """Return the address of the Engine that `docker` uses, or an empty string for this machine's own."""
    try:
        address = engine.output(project, "context", "inspect", "--format={{.Endpoints.docker.Host}}").strip()
    except Failure:
        # Without a `docker` there is no other address.
        return ""
    return "" if address in LOCAL else address


def engine_error(project: Project) -> str:
    """Return the reason why the Engine does not answer, or an empty string where it answers."""
    try:
        engine.output(project, *VERSION_COMMANDS["Engine"])
    except Failure as failure:
        return str(failure)
    return ""


def install(project: Project, missing: list[str]) -> None:
    """Install what is missing. Raises Failure on a distribution whose packages are not supported."""
    if debian.distribution() not in debian.DOCKER_PACKAGES:
        if missing == ["Engine"] and debian.is_installed("docker"):
            # Most likely Docker Desktop, which is installed but not running.
            raise Failure(engine_error(project))
        raise Failure(
            f"{' and '.join(missing)} must be installed (got none on {platform.system()}, for which `inv setup` has no "
            "packages). To fix it: see https://docs.docker.com/get-docker/, then run `inv setup` again."
        )
    debian.install_docker(engine="Engine" in missing)


def start_engine(project: Project) -> None:
    """Start the installed Engine, with systemd where that runs, and wait until it answers."""
    if engine_error(project) == NO_PERMISSION:
        raise Failure(NO_PERMISSION)
    if Path("/run/systemd/system").is_dir():
        debian.run_as_root("systemctl", "start", "docker")
    else:
        # All three streams are redirected: a daemon that keeps a script's output open blocks the script's caller.
        debian.run_as_root("sh", "-c", f"setsid dockerd >{DAEMON_LOG} 2>&1 </dev/null &")
    deadline = time.monotonic() + START_SECONDS
    while error := engine_error(project):
        if error == NO_PERMISSION:
            raise Failure(error)
        if time.monotonic() > deadline:
            raise Failure(
                f"The Docker Engine must answer within {START_SECONDS} s (got: {error}). To fix it: see "
                f"`journalctl -u docker` or {DAEMON_LOG}."
            )
        time.sleep(0.2)


def _is_recent(project: Project, name: str) -> bool:
    version = installed_version(project, name)
    return version is not None and tuple(map(int, re.findall(r"\d+", version)[:2])) >= OLDEST[name]
