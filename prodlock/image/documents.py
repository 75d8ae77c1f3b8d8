"""Read the documents of a saved image: its manifest, its index, its configuration.

Documents that one Engine would understand differently from another are refused.
"""

from __future__ import annotations

import json
import posixpath
import tarfile
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, NamedTuple

from prodlock.image import tar
from prodlock.image.tar import Tar

# No manifest, index or configuration is larger.
MOST_BYTES = 16 << 20
# The names that Docker reads, in its spelling: of manifest.json, of an OCI index or manifest, of a configuration.
_SAVED = frozenset({"Config", "LayerSources", "Layers", "RepoTags"})
OCI = frozenset({"config", "digest", "layers", "manifests", "mediaType", "platform", "schemaVersion", "size"})
CONFIGURATION = frozenset(
    {
        "architecture", "comment", "config", "created", "created_by", "diff_ids", "empty_layer", "history", "os",
        "os.version", "rootfs", "variant", "ArgsEscaped", "Cmd", "Entrypoint", "Env", "ExposedPorts", "Healthcheck",
        "Interval", "Labels", "OnBuild", "Retries", "Shell", "StartInterval", "StartPeriod", "StopSignal", "Test",
        "Timeout", "User", "Volumes", "WorkingDir",
    }
)  # fmt: skip
# Objects whose names a user chooses.
_MAPS = {"Annotations", "ExposedPorts", "Labels", "LayerSources", "Volumes", "annotations"}
# More than any Engine builds or pulls.
MOST_LAYERS = 127


class Documents(NamedTuple):
    """The configuration of a saved image, as bytes and parsed, and its layers with their digests."""

    configuration: bytes
    document: Mapping[str, Any]
    layers: tuple[tuple[Tar, str], ...]
    # The sha256 that the content of each layer must have where it is stored; none in an archive of `docker save`.
    stored: tuple[str, ...] = ()
    # The names that the image has in the archive.
    names: tuple[str, ...] = ()


def read(saved: Tar) -> Documents:
    """Return the documents of the one image in an archive. Raises ReadError, KeyError, TypeError or ValueError."""
    return of_saved(saved, members(saved))


def of_saved(saved: Tar, members: Mapping[str, tarfile.TarInfo]) -> Documents:
    """Return the documents of the one image in an archive of `docker save`, by its entries."""
    if "manifest.json" not in members:
        message = "no manifest.json, which `docker save` writes and `docker export` does not"
        raise tarfile.ReadError(message)
    manifests = parsed(_document(saved, members["manifest.json"]), _SAVED)
    if len(manifests) != 1:
        message = f"it has {len(manifests)} images, not one"
        raise tarfile.ReadError(message)
    (manifest,) = manifests
    if set(manifest) - _SAVED or len(manifest["Layers"]) > MOST_LAYERS:
        message = "a manifest that no Engine writes"
        raise tarfile.ReadError(message)
    if "index.json" in members:
        _check_index(saved, members, manifest)
    configuration = _document(saved, members[manifest["Config"]])
    found = checked(configuration, [content(saved, _linked(members, name)) for name in manifest["Layers"]])
    return found._replace(names=tuple(manifest.get("RepoTags") or ()))


def checked(configuration: bytes, layers: Sequence[Tar], stored: Sequence[str] = ()) -> Documents:
    """Return the documents of an image, once the configuration is valid and has as many layers as there are."""
    document = parsed(configuration, CONFIGURATION)
    _check_types(document)
    diff_ids = document["rootfs"]["diff_ids"]
    if len(layers) != len(diff_ids):
        message = f"{len(layers)} layers, and digests of {len(diff_ids)}"
        raise tarfile.ReadError(message)
    return Documents(configuration, document, tuple(zip(layers, diff_ids, strict=False)), tuple(stored))


def _linked(members: Mapping[str, tarfile.TarInfo], name: str) -> tarfile.TarInfo:
    """Return the entry of a layer. Before version 25, Docker replaced a repeated layer by a link."""
    entry = members[name]
    return members[posixpath.normpath(f"{posixpath.dirname(name)}/{entry.linkname}")] if entry.issym() else entry


def content(saved: Tar, entry: tarfile.TarInfo) -> Tar:
    """Return the content of an entry of an archive. Raises ReadError where it is not a file."""
    if not entry.isreg():
        message = f"{entry.name} is not a file"
        raise tarfile.ReadError(message)
    return Tar(saved.map, entry.offset_data, entry.offset_data + entry.size)


def members(saved: Tar) -> dict[str, tarfile.TarInfo]:
    """Return the entries of a saved image by name. Raises ReadError where two have one name."""
    found: dict[str, tarfile.TarInfo] = {}
    for member in tar.entries(saved):
        name = posixpath.normpath(member.name)
        if name in found and not member.isdir():
            message = f"{name} is there twice"
            raise tarfile.ReadError(message)
        found[name] = member
    return found


def _check_index(saved: Tar, members: Mapping[str, tarfile.TarInfo], manifest: Mapping[str, Any]) -> None:
    """Raise ReadError where index.json, which some Engines read, leads to another image than manifest.json.

    An index names manifests and further indexes, a manifest its configuration and its layers; what it names of other
    platforms need not be there (https://github.com/opencontainers/image-spec/blob/main/image-layout.md).
    """
    wanted = [posixpath.normpath(name) for name in (manifest["Config"], *manifest["Layers"])]
    pending, seen = ["index.json"], set()
    while pending:
        name = pending.pop()
        if name in seen or name not in members:
            continue
        seen.add(name)
        document = parsed(_document(saved, members[name]), OCI)
        pending += [blob(one) for one in document.get("manifests") or () if not is_attestation(one)]
        if "config" in document:
            named = [blob(one) for one in (document["config"], *document["layers"])]
            if named != wanted and named[0] in members:
                message = "index.json leads to another image than manifest.json"
                raise tarfile.ReadError(message)


def blob(descriptor: Mapping[str, str]) -> str:
    """Return the path of a descriptor's content in an OCI layout."""
    return "blobs/" + descriptor["digest"].replace(":", "/")


def is_attestation(descriptor: Mapping[str, Any]) -> bool:
    """Return whether a descriptor names an attestation of BuildKit, which has no platform."""
    platform = descriptor.get("platform") or {}
    return platform.get("os") == platform.get("architecture") == "unknown"


def _document(saved: Tar, entry: tarfile.TarInfo) -> bytes:
    return whole(entry.name, content(saved, entry))


def whole(name: str, content: Tar) -> bytes:
    """Return the content of a manifest or a configuration. Raises ReadError where it is too large for one."""
    if content.end - content.start > MOST_BYTES:
        message = f"{name} is too large"
        raise tarfile.ReadError(message)
    return content.map[content.start : content.end]


def parsed(document: bytes, known: AbstractSet[str]) -> Any:  # noqa: ANN401
    """Return a JSON document. Raises ValueError where readers would understand it differently.

    Docker reads known names without regard to case (https://pkg.go.dev/encoding/json#Unmarshal): of `config` and
    `Config` the last one counts there.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            message = "a name that is there twice"
            raise ValueError(message)
        return found

    parsed = json.loads(document, object_pairs_hook=once)
    _check_names(parsed, {name.casefold(): name for name in known})
    return parsed


def _check_names(value: object, known: Mapping[str, str]) -> None:
    """Raise ValueError where a name is a known one in another case. Takes known names by their folded form."""
    if isinstance(value, list):
        for one in value:
            _check_names(one, known)
    elif isinstance(value, dict):
        for name, one in value.items():
            if known.get(name.casefold(), name) != name:
                message = f"{name}, which Docker reads as {known[name.casefold()]}"
                raise ValueError(message)
            if name not in _MAPS:
                _check_names(one, known)


def _check_types(document: Any) -> None:  # noqa: ANN401
    """Raise ReadError where a text of a configuration is not one, and TypeError or AttributeError for other values."""
    settings, steps = document.get("config") or {}, document.get("history") or []
    texts = [document.get(name, "") for name in ("architecture", "created", "os")]
    texts += [step.get(name, "") for step in steps for name in ("comment", "created", "created_by")]
    texts += [*(settings.get("Env") or []), *(settings.get("Labels") or {}).values()]
    for name in ("Cmd", "Entrypoint", "OnBuild", "Shell"):
        texts += settings.get(name) or []
    texts += (settings.get("Healthcheck") or {}).get("Test") or []
    if not all(isinstance(text, str) for text in texts):
        message = "a setting that is not text"
        raise tarfile.ReadError(message)
