"""Install packages on Debian and Ubuntu, read apt's mirrors, and run commands as root."""

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
# Debian 13, the first release with sufficiently recent packages of Docker.
TRIXIE = 13
TRIXIE_SOURCE = Path("/etc/apt/sources.list.d/prodlock-trixie.list")
TRIXIE_PINS = Path("/etc/apt/preferences.d/prodlock-trixie")


def distribution() -> str:
    """Return the ID in os-release(5), `debian` for example, or an empty string on a system without that file."""
    try:
        return platform.freedesktop_os_release()["ID"]
    except OSError:
        return ""


def install_docker(*, engine: bool) -> None:
    """Install Compose and Buildx, and with `engine` the Engine, which would conflict with an existing one."""
    system = distribution()
    apt_get("update")
    if system == "debian" and _release() < TRIXIE:
        _add_trixie()
    packages = [name for name in DOCKER_PACKAGES[system] if engine or "compose" in name or "buildx" in name]
    install(*packages)


def install(*packages: str) -> None:
    """Install packages and their dependencies, without recommended packages."""
    apt_get("install", "--yes", "--no-install-recommends", *packages)


def apt_get(*args: str) -> None:
    """Run `apt-get ARGS` as root, without interactive questions."""
    run_as_root("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq", *args)


def mirror(label: str) -> str:
    """Return apt's mirror of the archive with a label, `Debian` or `Debian-Security`."""
    command = ("apt-get", "indextargets", "--format", "$(LABEL)\t$(REPO_URI)")
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise Failure(
            f"apt must list its sources (got: {done.stderr.strip()}). To fix it: correct /etc/apt/sources.list, then "
            "run `inv setup` again."
        )
    for line in done.stdout.splitlines():
        name, _, uri = line.partition("\t")
        if name == label:
            return uri
    raise Failure(
        f"apt must have a mirror of the archive {label!r} (got none). To fix it: add one to /etc/apt/sources.list, "
        "then run `inv setup` again."
    )


def run_as_root(*command: str, stdin: str = "") -> None:
    """Run a command as root. Raises Failure where it fails, and only then prints its output."""
    if os.name == "posix" and os.geteuid() != 0:
        if not shutil.which("sudo"):
            raise Failure(
                f"`{shlex.join(command)}` must run as root (got user {os.geteuid()} and no sudo). To fix it: run "
                "`inv setup` as root."
            )
        command = ("sudo", *command)
    print(f"$ {shlex.join(command)}", file=sys.stderr, flush=True)
    done = subprocess.run(
        command, input=stdin, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    if done.returncode:
        print(done.stdout, file=sys.stderr)
        raise Failure(
            f"`{shlex.join(command)}` failed with exit code {done.returncode}; its output above gives the reason."
        )


def is_installed(program: str) -> bool:
    """Return whether a program is on PATH or in the folders of root's PATH."""
    return shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin") is not None


def _release() -> int:
    """Return the number of the release, or 99 for testing and unstable, which have none."""
    return int(platform.freedesktop_os_release().get("VERSION_ID", "99"))


def _add_trixie() -> None:
    """Configure apt on Debian 12 to take Docker's packages, and no others, from Debian 13.

    They need only libc6 2.34. The mirror is the machine's own.
    """
    packages = " ".join(DOCKER_PACKAGES["debian"])
    pins = (
        "Package: *\nPin: release n=trixie\nPin-Priority: 100\n\n"
        f"Package: {packages}\nPin: release n=trixie\nPin-Priority: 600\n"
    )
    run_as_root("tee", str(TRIXIE_PINS), stdin=pins)
    run_as_root("tee", str(TRIXIE_SOURCE), stdin=f"deb {mirror('Debian')} trixie main\n")
    apt_get("update")
