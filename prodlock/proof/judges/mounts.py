"""Judge mounts: the paths of a container that contain code, and the places of this machine that are mounted."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from prodlock.image.records import resolved
from prodlock.proof.records import ComposeProject

# Where a container has code, or configuration that decides which code runs, even where the image has no such folder:
# programs, libraries, settings, homes, the kernel's interfaces.
_CODE = frozenset(
    ("bin", "boot", "dev", "etc", "home", "lib", "lib32", "lib64", "libx32", "opt", "proc", "root", "sbin", "srv",
     "sys", "usr")
)  # fmt: skip
# Where the image has folders without code.
_DATA = frozenset({"mnt", "run", "tmp", "var"})
# Files that the Engine mounts into each container.
_OF_ENGINE = frozenset({"/etc/hosts", "/etc/hostname", "/etc/resolv.conf"})
# The machine's time zone, where a container reads it: data, and the machine's own files hold it.
_TIME_ZONE = ("/etc/localtime", "/etc/timezone")
_ZONES = (*_TIME_ZONE, "/usr/share/zoneinfo")
# Places that control the Engine, and so all that containers run.
_CONTROL = (
    "/run/buildkit", "/run/containerd", "/run/crio", "/run/docker.sock", "/run/podman", "/var/lib/containerd",
    "/var/lib/containers", "/var/lib/docker", "/var/lib/kubelet", "/var/lib/rancher",
)  # fmt: skip
# Folders with the machine's programs, with what it starts, and with the interfaces of its kernel.
_SYSTEM = (
    "/bin", "/boot", "/dev", "/etc/anacrontab", "/etc/apt", "/etc/containerd", "/etc/cron.d", "/etc/cron.daily",
    "/etc/cron.hourly", "/etc/cron.monthly", "/etc/cron.weekly", "/etc/crontab", "/etc/docker", "/etc/environment",
    "/etc/group", "/etc/gshadow", "/etc/init.d", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/ld.so.preload",
    "/etc/modprobe.d", "/etc/pam.d", "/etc/passwd", "/etc/polkit-1", "/etc/profile", "/etc/profile.d",
    "/etc/rc.local", "/etc/shadow", "/etc/ssh", "/etc/sudoers", "/etc/sudoers.d", "/etc/systemd", "/etc/udev", "/lib",
    "/lib64", "/opt/containerd", "/proc", "/root/.docker", "/root/.ssh", "/run/systemd", "/sbin", "/sys", "/usr/bin",
    "/usr/lib", "/usr/libexec", "/usr/local/bin", "/usr/local/lib", "/usr/local/sbin", "/usr/sbin", "/var/spool/cron",
)  # fmt: skip
# Shared memory, which some browsers and databases take of the machine.
_SHARED_MEMORY = "/dev/shm"  # noqa: S108 - of the machine
_SOCKETS = frozenset(
    {
        "buildkitd.sock",
        "containerd.sock",
        "cri-dockerd.sock",
        "crio.sock",
        "docker.proxy.sock",
        "docker.raw.sock",
        "docker.sock",
        "docker.sock.raw",
        "docker_engine",
        "podman.sock",
    }
)
# Folders in which an Engine without root, Docker Desktop and the like have their sockets, or images and containers.
_OF_SOCKETS = re.compile(
    r".*/\.local/share/(?:containers|docker)(?:/.*)?|/run/user(?:/\d+)?"
    r"|.*/\.(?:docker|orbstack)(?:/run)?|.*/\.rd|.*/\.colima(?:/[^/]+)?"
)


@dataclass(frozen=True)
class FileSystem:
    """The paths of an image, as far as mounts are judged by them."""

    paths: frozenset[str]
    # The target of each path that is a link.
    links: Mapping[str, str]
    # The folders that the image's variables name for programs, libraries and modules.
    searched: frozenset[str]


def places(document: Mapping[str, Any]) -> frozenset[str]:
    """Return the places of this machine that a resolved project mounts."""
    found: set[str] = set()
    for service in (document.get("services") or {}).values():
        found |= {str(mount.get("source") or "") for mount in service.get("volumes") or () if mount["type"] == "bind"}
        found.add(str((service.get("build") or {}).get("context") or ""))
    for volume in (document.get("volumes") or {}).values():
        found.update(_devices(volume or {}))
    for kind in ("configs", "secrets"):
        found |= {str((one or {}).get("file") or "") for one in (document.get(kind) or {}).values()}
    return frozenset(found - {""})


def covers(target: str, image: FileSystem) -> str:
    """Return how a mount at a path of the container changes the code that runs, or ``."""
    if not target.startswith("/"):
        return "at a path that is not absolute"
    path = resolved(target, image.links)
    if any(one.startswith("/") and (is_within(path, one) or is_within(one, path)) for one in image.searched):
        return f"over a folder that the image's variables name, at {path}"
    if path == "/tmp" or path.startswith("/tmp/"):  # noqa: S108 - of the container
        return ""
    if path == "/" or path in image.paths or any(one.startswith(f"{path}/") for one in image.paths):
        return f"over what the image has at {path}"
    top = path.split("/")[1]
    has_code = top in _CODE or any(one.split("/")[1] == top for one in image.paths)
    if has_code and top not in _DATA and path not in _OF_ENGINE:
        return f"below /{top}, where code and what decides which code runs is looked for"
    return ""


def host_places(mount: Mapping[str, Any], project: ComposeProject) -> Iterator[str]:
    """Yield the places of this machine that a mount shows, without symlinks."""
    shown = shown_places(mount, project.document.get("volumes") or {})
    yield from (project.real.get(place, place) for place in shown)


def shown_places(mount: Mapping[str, Any], volumes: Mapping[str, Any]) -> list[str]:
    """Return the places of a machine that a mount shows. Takes the definitions of the named volumes."""
    source = str(mount.get("source") or "")
    if mount.get("type") == "volume":
        return _devices(volumes.get(source) or {})
    return [source] if source else []


def _devices(volume: Mapping[str, Any]) -> list[str]:
    """Return the paths that the local driver passes to mount(8) for a named volume."""
    options = volume.get("driver_opts") or {}
    device, others = str(options.get("device") or ""), str(options.get("o") or "")
    if {"bind", "rbind"} & {*others.split(",")} and not re.match(r"/|[A-Za-z]:\\", device):
        # The Engine runs in the root folder. Compose resolves a relative path only where the driver is named.
        device = f"/{device}"
    named = [device, *re.split(r"[,=:]", others)]
    return [place for place in named if place.startswith("/") or re.match(r"[A-Za-z]:\\", place)]


def is_time_zone(mount: Mapping[str, Any], sources: Iterable[str]) -> bool:
    """Return whether a mount is that of the machine's time zone, which a container can't change."""
    of_zones = all(any(is_within(source, one) for one in _ZONES) for source in sources)
    return (
        bool(mount.get("read_only")) and mount.get("type") == "bind" and mount.get("target") in _TIME_ZONE and of_zones
    )


def controls_engine(place: str) -> bool:
    """Return whether a place of a machine controls the Engine."""
    # A link, which is known on this machine alone.
    place = re.sub(r"^/var/run(?=/|$)", "/run", place)
    parts = _parts(place)
    is_socket = parts[-1] in _SOCKETS or bool(_OF_SOCKETS.fullmatch("/".join(parts)))
    return is_socket or any(is_within(place, one) or is_within(one, place) for one in _CONTROL)


def is_of_system(place: str) -> bool:
    """Return whether a place of this machine contains its programs or what it starts, so that a writer controls it."""
    if is_within(place, _SHARED_MEMORY):
        return False
    return any(is_within(place, one) or is_within(one, place) for one in _SYSTEM)


def is_within(place: str, folder: str) -> bool:
    """Return whether a path of this machine is a folder or below it, by either system's separators."""
    parts = _parts(folder)
    return _parts(place)[: len(parts)] == parts


def _parts(place: str) -> list[str]:
    # Windows ignores case.
    known = place.lower() if re.match(r"[A-Za-z]:", place) else place
    return re.split(r"[\\/]+", known.rstrip("\\/"))
