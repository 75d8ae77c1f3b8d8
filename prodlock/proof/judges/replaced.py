"""Judge where the files in deploy/ run something else than the image: mounts over its code, keys that replace its own.

The Compose file is judged by `compose`, with the image's content. What is here needs no image.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from prodlock.proof.judges import mounts

# An image of which only the folders are known that have code in each image.
_ANY = mounts.FileSystem(frozenset(), {}, frozenset())
# Keys of a service of a stack, and of a container of Kubernetes, that replace what the image declares, or add to it.
_OF_STACK = ("group_add", "init", "stop_signal", "working_dir")
_OF_CONTAINER = ("workingDir",)


def of_stack(place: str, service: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence for each mount and each key by which a service of a stack does not run the image unchanged."""
    targets = [str(one.get("target") or "") for one in service.get("volumes") or ()]
    given = service.get("tmpfs") or ()
    targets += [one.partition(":")[0] for one in ([given] if isinstance(given, str) else given)]
    for kind, folder in (("configs", "/"), ("secrets", "/run/secrets/")):
        named = (str(one.get("target") or one.get("source") or "") for one in service.get(kind) or ())
        targets += [name if name.startswith("/") else folder + name for name in named]
    yield from _covering(place, targets)
    yield from (_own(place, key) for key in _OF_STACK if service.get(key))


def of_container(place: str, container: Mapping[str, Any]) -> Iterator[str]:
    """Yield the same for a container of Kubernetes, with a hook that starts a further program."""
    yield from _covering(place, [str(one.get("mountPath") or "") for one in container.get("volumeMounts") or ()])
    yield from (_own(place, key) for key in _OF_CONTAINER if container.get(key))
    if (container.get("lifecycle") or {}).get("postStart", {}).get("exec"):
        yield _own(place, "lifecycle.postStart")


def _covering(place: str, targets: list[str]) -> Iterator[str]:
    for target in targets:
        if why := mounts.covers(target, _ANY):
            yield (
                f"{place}: a mount must be where the image has no code (got {target}, {why}). To fix it: mount it "
                "elsewhere, for example below /run or /mnt."
            )


def _own(place: str, key: str) -> str:
    return f"{place}: {key} must be what the image declares (got another value). To fix it: remove the key."
