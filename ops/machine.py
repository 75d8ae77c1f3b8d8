"""`inv setup`: make a machine ready for the other tasks, and change nothing on one that is.

Debian and Ubuntu get their own packages of the Engine, Compose and Buildx. A machine that can't pull the base
image from a registry builds it from Debian's sources.
"""

from __future__ import annotations

import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from ops import engine, site
from ops.failure import NO_PERMISSION, Failure

# Debian 13 is the first release whose own packages are recent enough.
TRIXIE = 13
DAEMON_LOG = "/var/log/dockerd.log"
# The oldest that understand what the Dockerfile and docker-compose.yml say: HEALTHCHECK --start-interval
# needs Engine 25 (https://docs.docker.com/reference/dockerfile/#healthcheck), build secrets Compose 2.5.
OLDEST = {"Engine": (25, 0), "Compose": (2, 24), "Buildx": (0, 12)}
PACKAGES = {
    "debian": ("docker.io", "docker-cli", "docker-compose", "docker-buildx"),
    "ubuntu": ("docker.io", "docker-compose-v2", "docker-buildx"),
}
TRIXIE_SOURCE = Path("/etc/apt/sources.list.d/lockstep-trixie.list")
TRIXIE_PINS = Path("/etc/apt/preferences.d/lockstep-trixie")


def setup() -> None:
    """Check the Engine, Compose, Buildx and the base image, mend what is missing, and say what was done."""
    done = dict.fromkeys((*OLDEST, "Base image"), "found")
    lacking = [name for name in ("Compose", "Buildx") if not _recent(name)]
    if not _recent("Engine") and not _installed("dockerd"):
        lacking.append("Engine")
    if lacking:
        install_packages(lacking)
        done |= dict.fromkeys(lacking, "installed")
    if trouble() == NO_PERMISSION:
        raise Failure(NO_PERMISSION)
    if not found("Engine"):
        start_engine()
        done["Engine"] = "installed and started" if "Engine" in lacking else "started"
    base = base_image()
    if not _has_image(base):
        done["Base image"] = pull_or_build(base)
    for name, version in OLDEST.items():
        if not _recent(name):
            oldest = ".".join(map(str, version))
            raise Failure(
                f"{name} {found(name) or 'is missing and'} is too old: Lockstep needs {oldest} or newer; "
                "see https://docs.docker.com/engine/install/."
            )
        print(f"{name:<11} {found(name):<26} {done[name]}")
    print(f"{'Base image':<11} {base:<26} {done['Base image']}")


def found(name: str) -> str | None:
    """Return the version of `Engine`, `Compose` or `Buildx` that answers here, or None."""
    questions = {
        "Engine": ("version", "--format", "{{.Server.Version}}"),
        "Compose": ("compose", "version", "--short"),
        "Buildx": ("buildx", "version"),
    }
    try:
        answer = engine.output(*questions[name])
    except Failure:
        return None
    version = re.search(r"\d+\.\d+\.\d+\S*", answer)
    return version[0] if version else None


def trouble() -> str:
    """Return what keeps the Engine from answering, or `` where it answers."""
    try:
        engine.output("version", "--format", "{{.Server.Version}}")
    except Failure as failure:
        return str(failure)
    return ""


def base_image() -> str:
    """Return the image that the Dockerfile starts from: the default of its `BASE` argument."""
    match = re.search(r"^ARG BASE=(\S+)", (engine.ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    if not match:
        raise Failure("The Dockerfile names no base image: it needs a line `ARG BASE=IMAGE` before the first FROM.")
    return match[1]


def install_packages(lacking: list[str]) -> None:
    """Install the distribution's own packages of what is lacking."""
    system = _distribution()
    if system not in PACKAGES:
        raise Failure(
            f"{' and '.join(lacking)} must be installed by hand on {platform.system()}: "
            "see https://docs.docker.com/get-docker/, then run `inv setup` again."
        )
    _apt_get("update")
    if system == "debian" and _debian_release() < TRIXIE:
        add_trixie()
    packages = PACKAGES[system]
    if "Engine" not in lacking:
        packages = tuple(name for name in packages if "compose" in name or "buildx" in name)
    _apt_get("install", "-y", "--no-install-recommends", *packages)


def add_trixie() -> None:
    """Let Debian 12 take Docker's packages, and nothing else, from Debian 13: its own are too old.

    They need only libc6 2.34. The mirror is the one that this machine uses already.
    """
    packages = " ".join(PACKAGES["debian"])
    pins = (
        "Package: *\nPin: release n=trixie\nPin-Priority: 100\n\n"
        f"Package: {packages}\nPin: release n=trixie\nPin-Priority: 600\n"
    )
    _write_as_root(TRIXIE_PINS, pins)
    _write_as_root(TRIXIE_SOURCE, f"deb {debian_mirror('Debian')} trixie main\n")
    _apt_get("update")


def debian_mirror(label: str) -> str:
    """Return the mirror of the Debian archive named `label` (`Debian`, `Debian-Security`) that apt uses here."""
    targets = _read("apt-get", "indextargets", "--format", "$(LABEL)\t$(REPO_URI)")
    for line in targets.splitlines():
        name, _, uri = line.partition("\t")
        if name == label:
            return uri
    raise Failure(
        f"apt knows no mirror of the archive {label!r}: add one to /etc/apt/sources.list, then run `inv setup` again."
    )


def start_engine() -> None:
    """Start the Engine that is installed, by systemd where that runs, and wait until it answers."""
    if not _installed("dockerd"):
        raise Failure("The Docker Engine is not running: start it (Docker Desktop, for example), then try again.")
    if Path("/run/systemd/system").is_dir():
        _run("systemctl", "start", "docker")
    else:
        # All three streams are redirected: a daemon that holds a script's output open makes its caller wait.
        _run("sh", "-c", f"setsid dockerd >{DAEMON_LOG} 2>&1 </dev/null &")
    if _wait(lambda: trouble() in {"", NO_PERMISSION}, seconds=60):
        return
    raise Failure(
        f"The Docker Engine did not answer within 60 s: {trouble()} `journalctl -u docker` or {DAEMON_LOG} says more."
    )


def pull_or_build(base: str) -> str:
    """Bring the base image here and say how: from a registry, or built from Debian's sources."""
    print(f"$ docker pull {base}", file=sys.stderr)
    try:
        engine.output("pull", "--quiet", base)
    except Failure as failure:
        print(f"No registry gave {base} ({failure}). Building it from Debian's sources.", file=sys.stderr)
    else:
        return "pulled"
    if _distribution() != "debian" or not _is_debian_python(base):
        raise Failure(
            f"No registry gave {base}, and it can be built only on Debian, and only as python:3.13-slim-trixie: "
            f"bring it here with `docker load`, or from a mirror with `docker pull` and `docker tag ... {base}`."
        )
    build_base(base)
    return "built from Debian's sources, for want of a registry"


def build_base(base: str) -> None:
    """Build debian:trixie-slim with mmdebstrap, and from it `base` as the official image is laid out."""
    if not _installed("mmdebstrap"):
        _apt_get("update")
        _apt_get("install", "-y", "--no-install-recommends", "mmdebstrap")
    main, security = debian_mirror("Debian"), debian_mirror("Debian-Security")
    sources = f"deb {main} trixie main\ndeb {main} trixie-updates main\ndeb {security} trixie-security main\n"
    with tempfile.TemporaryDirectory() as folder:
        tree = str(Path(folder, "trixie.tar"))
        _run(
            "mmdebstrap", "--quiet", "--variant=minbase",
            # As the official slim image: no manuals, no translations, no package caches.
            *(f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "info", "locale", "man")),
            "--dpkgopt=path-include=/usr/share/doc/*/copyright",
            '--customize-hook=chroot "$1" apt-get clean',
            "trixie", tree, "-",
            stdin=sources,
        )  # fmt: skip
        engine.output("import", tree, "debian:trixie-slim", echo=True)
    recipe = str(engine.ROOT / "ops" / "base.Dockerfile")
    secret = f"id=ca_bundle,src={site.environment()['CA_BUNDLE']}"
    with tempfile.TemporaryDirectory() as nothing:
        engine.build("build", "--secret", secret, "--tag", base, "--file", recipe, nothing)


def _recent(name: str) -> bool:
    version = found(name)
    return version is not None and tuple(map(int, re.findall(r"\d+", version)[:2])) >= OLDEST[name]


def _installed(program: str) -> bool:
    return shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin") is not None


def _has_image(reference: str) -> bool:
    try:
        engine.output("image", "inspect", "--format", "{{.Id}}", reference)
    except Failure:
        return False
    return True


def _is_debian_python(base: str) -> bool:
    return re.fullmatch(r"(?:docker\.io/library/)?python:3\.13-slim-trixie", base) is not None


def _distribution() -> str:
    """Return os-release's ID, or `` where there is none (https://www.freedesktop.org/software/systemd/man/os-release.html)."""
    try:
        return platform.freedesktop_os_release()["ID"]
    except OSError:
        return ""


def _debian_release() -> int:
    return int(platform.freedesktop_os_release().get("VERSION_ID", "0"))


def _wait(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


def _apt_get(*args: str) -> None:
    _run("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq", *args)


def _write_as_root(path: Path, text: str) -> None:
    _run("tee", str(path), stdin=text)


def _read(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _run(*command: str, stdin: str = "") -> None:
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
