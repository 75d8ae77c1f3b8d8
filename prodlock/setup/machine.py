"""`inv setup`: make a machine ready for the other tasks, and change nothing on one that is."""

from __future__ import annotations

import platform
import re
import time
from pathlib import Path

from prodlock.docker import engine
from prodlock.failure import NO_PERMISSION, Failure
from prodlock.project import Project
from prodlock.setup import base, debian

DAEMON_LOG = "/var/log/dockerd.log"
START_SECONDS = 60
# The oldest that understand what the Dockerfile and docker-compose.yml say: HEALTHCHECK --start-interval
# needs Engine 25 (https://docs.docker.com/reference/dockerfile/#healthcheck).
OLDEST = {"Engine": (25, 0), "Compose": (2, 24), "Buildx": (0, 12)}
# Where the Engine that a distribution installs listens, on Windows too.
OWN = {"", "unix:///var/run/docker.sock", "unix:///run/docker.sock", "npipe:////./pipe/docker_engine"}
QUESTIONS = {
    "Engine": ("version", "--format", "{{.Server.Version}}"),
    "Compose": ("compose", "version", "--short"),
    "Buildx": ("buildx", "version"),
}


def setup(project: Project) -> None:
    """Check the Engine, Compose, Buildx and the base image, mend what is missing, and say what was done."""
    done = dict.fromkeys((*OLDEST, "Base image"), "found")
    if (address := elsewhere(project)) and not found(project, "Engine"):
        raise Failure(
            f"The Docker Engine at {address} does not answer: start it there, or have this machine's own asked "
            "(`unset DOCKER_HOST`, `docker context use default`)."
        )
    lacking = [name for name in ("Compose", "Buildx") if not _recent(project, name)]
    if not found(project, "Engine") and not debian.installed("dockerd") and trouble(project) != NO_PERMISSION:
        lacking.append("Engine")
    if lacking:
        install(project, lacking)
        done |= dict.fromkeys(lacking, "installed")
    if not found(project, "Engine"):
        start_engine(project)
        done["Engine"] = "installed and started" if "Engine" in lacking else "started"
    for name, version in OLDEST.items():
        if not _recent(project, name):
            oldest = ".".join(map(str, version))
            wrong = f"{found(project, name)} is too old" if found(project, name) else "does not answer"
            raise Failure(
                f"{name} {wrong}: Prodlock needs {oldest} or newer; see https://docs.docker.com/engine/install/."
            )
        print(f"{name:<11} {found(project, name):<26} {done[name]}", flush=True)
    image = base.name(project)
    if not base.present(project, image):
        done["Base image"] = base.bring(project, image)
    print(f"{'Base image':<11} {image:<26} {done['Base image']}")


def found(project: Project, name: str) -> str | None:
    """Return the version of `Engine`, `Compose` or `Buildx` that answers here, or None."""
    try:
        version = re.search(r"\d+\.\d+\.\d+\S*", engine.output(project, *QUESTIONS[name]))
    except Failure:
        return None
    return version[0] if version else None


def elsewhere(project: Project) -> str:
    """Return the address of the Engine that `docker` is told to ask, or `` where that is this machine's own."""
    try:
        address = engine.output(project, "context", "inspect", "--format={{.Endpoints.docker.Host}}").strip()
    except Failure:
        # Without a docker there is no Engine elsewhere.
        return ""
    return "" if address in OWN else address


def trouble(project: Project) -> str:
    """Return what keeps the Engine from answering, or `` where it answers."""
    try:
        engine.output(project, *QUESTIONS["Engine"])
    except Failure as failure:
        return str(failure)
    return ""


def install(project: Project, lacking: list[str]) -> None:
    """Install what is lacking, where the distribution has it in packages."""
    if debian.distribution() not in debian.DOCKER_PACKAGES:
        if lacking == ["Engine"] and debian.installed("docker"):
            # Docker Desktop, most likely: there, and not running.
            raise Failure(trouble(project))
        raise Failure(
            f"{' and '.join(lacking)} must be installed by hand on {platform.system()}: "
            "see https://docs.docker.com/get-docker/, then run `inv setup` again."
        )
    debian.install_docker(engine="Engine" in lacking)


def start_engine(project: Project) -> None:
    """Start the Engine that is installed, by systemd where that runs, and wait until it answers."""
    if trouble(project) == NO_PERMISSION:
        raise Failure(NO_PERMISSION)
    if Path("/run/systemd/system").is_dir():
        debian.as_root("systemctl", "start", "docker")
    else:
        # All three streams are redirected: a daemon that holds a script's output open makes its caller wait.
        debian.as_root("sh", "-c", f"setsid dockerd >{DAEMON_LOG} 2>&1 </dev/null &")
    deadline = time.monotonic() + START_SECONDS
    while said := trouble(project):
        if said == NO_PERMISSION:
            raise Failure(said)
        if time.monotonic() > deadline:
            raise Failure(
                f"The Docker Engine did not answer within {START_SECONDS} s: {said} "
                f"`journalctl -u docker` or {DAEMON_LOG} says more."
            )
        time.sleep(0.2)


def _recent(project: Project, name: str) -> bool:
    version = found(project, name)
    return version is not None and tuple(map(int, re.findall(r"\d+", version)[:2])) >= OLDEST[name]
