"""What `inv setup` does to Debian and Ubuntu: packages and mirrors by apt, and commands as root."""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from prodlock.failure import Failure

DOCKER_PACKAGES = {
    "debian": ("docker.io", "docker-cli", "docker-compose", "docker-buildx"),
    "ubuntu": ("docker.io", "docker-compose-v2", "docker-buildx"),
}
# Debian 13 is the first release whose own packages of Docker are recent enough.
TRIXIE = 13
TRIXIE_SOURCE = Path("/etc/apt/sources.list.d/prodlock-trixie.list")
TRIXIE_PINS = Path("/etc/apt/preferences.d/prodlock-trixie")


def distribution() -> str:
    """Return the ID of os-release(5), `debian` for example, or `` on a system that has none."""
    try:
        return platform.freedesktop_os_release()["ID"]
    except OSError:
        return ""


def install_docker(*, engine: bool) -> None:
    """Install Compose and Buildx, and the Engine where it is wanted: beside another Engine it would be in conflict."""
    system = distribution()
    apt_get("update")
    if system == "debian" and _release() < TRIXIE:
        _add_trixie()
    wanted = [name for name in DOCKER_PACKAGES[system] if engine or "compose" in name or "buildx" in name]
    install(*wanted)


def install(*packages: str) -> None:
    """Install packages and what they need, nothing that they merely recommend."""
    apt_get("install", "--yes", "--no-install-recommends", *packages)


def apt_get(*args: str) -> None:
    """Run `apt-get ARGS` as root, without a question."""
    as_root("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq", *args)


def mirror(label: str) -> str:
    """Return the mirror of the Debian archive named `label` (`Debian`, `Debian-Security`) that apt uses here."""
    asked = ("apt-get", "indextargets", "--format", "$(LABEL)\t$(REPO_URI)")
    targets = subprocess.run(asked, check=True, capture_output=True, text=True).stdout
    for line in targets.splitlines():
        name, _, uri = line.partition("\t")
        if name == label:
            return uri
    raise Failure(
        f"apt knows no mirror of the archive {label!r}: add one to /etc/apt/sources.list, then run `inv setup` again."
    )


def as_root(*command: str, stdin: str = "") -> None:
    """Run a command as root. Raises Failure where it fails, and shows what it printed only then."""
    if os.name == "posix" and os.geteuid() != 0:
        if not shutil.which("sudo"):
            raise Failure(f"`{shlex.join(command)}` must run as root, and there is no sudo: run `inv setup` as root.")
        command = ("sudo", *command)
    print(f"$ {shlex.join(command)}", file=sys.stderr, flush=True)
    done = subprocess.run(
        command, input=stdin, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    if done.returncode:
        print(done.stdout, file=sys.stderr)
        raise Failure(f"`{shlex.join(command)}` failed with exit code {done.returncode}; its output above says why.")


def installed(program: str) -> bool:
    """Return whether a program is installed, where only root's PATH leads to included."""
    return shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin") is not None


def _release() -> int:
    """Return the release's number; that of a future one for testing and unstable, which have none."""
    return int(platform.freedesktop_os_release().get("VERSION_ID", "99"))


def _add_trixie() -> None:
    """Let Debian 12 take Docker's packages, and nothing else, from Debian 13.

    They need only libc6 2.34. The mirror is the one that this machine uses already.
    """
    packages = " ".join(DOCKER_PACKAGES["debian"])
    pins = (
        "Package: *\nPin: release n=trixie\nPin-Priority: 100\n\n"
        f"Package: {packages}\nPin: release n=trixie\nPin-Priority: 600\n"
    )
    as_root("tee", str(TRIXIE_PINS), stdin=pins)
    as_root("tee", str(TRIXIE_SOURCE), stdin=f"deb {mirror('Debian')} trixie main\n")
    apt_get("update")
