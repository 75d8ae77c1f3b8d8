"""Judge where the files in deploy/ run something else than the image: mounts over its code, keys that replace its own.

The Compose file is judged by `compose`, with the image's content; a file that is added to it, by what it changes. What
is here needs no image.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from prodlock.proof.judges import mounts

# An image of which only the folders are known that have code in each image.
_ANY = mounts.FileSystem(frozenset(), {}, frozenset())
# Keys of a service of a stack, and of a container of Kubernetes, that replace what the image declares, or add to it.
_OF_STACK = ("group_add", "init", "stop_signal", "working_dir")
_OF_CONTAINER = ("workingDir",)
_HOOKS = ("postStart", "preStop")
# Keys that a file may add to a service of the Compose file, or change: its networks, how many replicas of it run and
# when, and what is recorded of them. Of `deploy` the resources, and variables, are judged.
_OF_LAYER = frozenset(
    ("attach", "container_name", "depends_on", "deploy", "dns", "dns_opt", "dns_search", "domainname", "environment",
     "expose", "external_links", "extra_hosts", "hostname", "label_file", "labels", "links", "logging", "mac_address",
     "networks", "ports", "profiles", "restart", "scale")
)  # fmt: skip


def of_stack(place: str, service: Mapping[str, Any], volumes: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence for each mount and each key by which a service of a stack does not run the image unchanged.

    Takes the definitions of the stack's named volumes. A mount by which the Engine can be controlled is found as well.
    """
    mounted = service.get("volumes") or ()
    targets = [str(one.get("target") or "") for one in mounted]
    given = service.get("tmpfs") or ()
    targets += [one.partition(":")[0] for one in ([given] if isinstance(given, str) else given)]
    for kind, folder in (("configs", "/"), ("secrets", "/run/secrets/")):
        named = (str(one.get("target") or one.get("source") or "") for one in service.get(kind) or ())
        targets += [name if name.startswith("/") else folder + name for name in named]
    yield from _covering(place, targets)
    sources = [source for one in mounted for source in mounts.shown_places(one, volumes)]
    for source in filter(mounts.controls_engine, sources):
        yield f"{place}: no mount must give control of the Engine (got {source}). To fix it: remove it."
    yield from (_own(place, key) for key in _OF_STACK if service.get(key))


def of_container(place: str, container: Mapping[str, Any]) -> Iterator[str]:
    """Yield the same for a container of Kubernetes, with hooks that start a further program."""
    yield from _covering(place, [str(one.get("mountPath") or "") for one in container.get("volumeMounts") or ()])
    yield from (_own(place, key) for key in _OF_CONTAINER if container.get(key))
    hooks = container.get("lifecycle") or {}
    for name in _HOOKS:
        if hooks.get(name, {}).get("exec"):
            yield (
                f"{place}: lifecycle.{name} must be httpGet or sleep (got exec: a program that the image does not "
                "declare). To fix it: change or remove it."
            )
    if hooks.get("stopSignal"):
        yield _own(place, "lifecycle.stopSignal")


def of_layer(
    place: str, base: str, service: Mapping[str, Any], given: Mapping[str, Any], judged: Collection[str]
) -> Iterator[str]:
    """Yield a sentence for each key of a service that a file changes which is added to the Compose file.

    Takes the names of both files, the service of the Compose file alone and with the other file, and the keys that are
    judged elsewhere.
    """
    changed = [
        key
        for key in sorted({*service, *given} - _OF_LAYER - {*judged})
        if not key.startswith("x-") and (service.get(key) or None) != (given.get(key) or None)
    ]
    if _resources(service) != _resources(given):
        changed.append("deploy.resources")
    for key in changed:
        yield (
            f"{place}: {key} must be that of {base} (got another value, or none). To fix it: remove the key, or change "
            f"it in {base}."
        )


def _resources(service: Mapping[str, Any]) -> object:
    return (service.get("deploy") or {}).get("resources") or None


def _covering(place: str, targets: list[str]) -> Iterator[str]:
    for target in targets:
        if why := mounts.covers(target, _ANY):
            yield (
                f"{place}: a mount must be where the image has no code (got {target}, {why}). To fix it: mount it "
                "elsewhere, for example below /run or /mnt."
            )


def _own(place: str, key: str) -> str:
    return f"{place}: {key} must be what the image declares (got another value). To fix it: remove the key."
