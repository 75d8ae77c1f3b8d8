"""Read the documents of a saved image: its manifest, its index, its configuration.

Documents that one Engine would understand differently from another are refused.
"""

from __future__ import annotations

import json
import posixpath
import tarfile
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any, NamedTuple

from prodlock.image import tar
from prodlock.image.tar import Tar

# No manifest, index or configuration is larger.
MOST_BYTES = 16 << 20
# The names that Docker reads, in its spelling: of manifest.json, of an OCI index or manifest, of a configuration.
_SAVED = frozenset({"Config", "LayerSources", "Layers", "RepoTags"})
_OCI = frozenset({"config", "digest", "layers", "manifests", "mediaType", "platform", "schemaVersion", "size"})
_CONFIGURATION = frozenset(
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
_LAYERS = 127


class Documents(NamedTuple):
    """The configuration of a saved image, as bytes and parsed, and its layers with their digests."""

    configuration: bytes
    document: Mapping[str, Any]
    layers: tuple[tuple[Tar, str], ...]


def read(saved: Tar) -> Documents:
    """Return the documents of the one image in an archive. Raises ReadError, KeyError, TypeError or ValueError."""
    members = _named(saved)
    (manifest,) = _parsed(_document(saved, members["manifest.json"]), _SAVED)
    if set(manifest) - _SAVED or len(manifest["Layers"]) > _LAYERS:
        message = "a manifest that no Engine writes"
        raise tarfile.ReadError(message)
    if "index.json" in members:
        _check_index(saved, members, manifest)
    configuration = _document(saved, members[manifest["Config"]])
    document = _parsed(configuration, _CONFIGURATION)
    _check_types(document)
    layers = [_content(saved, members[name]) for name in manifest["Layers"]]
    return Documents(configuration, document, tuple(zip(layers, document["rootfs"]["diff_ids"], strict=True)))


def _content(saved: Tar, entry: tarfile.TarInfo) -> Tar:
    return Tar(saved.map, entry.offset_data, entry.offset_data + entry.size)


def _named(saved: Tar) -> dict[str, tarfile.TarInfo]:
    """Return the entries of a saved image by name. Raises ReadError where two have one name."""
    members: dict[str, tarfile.TarInfo] = {}
    for member in tar.entries(saved):
        name = posixpath.normpath(member.name)
        if name in members and not member.isdir():
            message = f"{name} is there twice"
            raise tarfile.ReadError(message)
        members[name] = member
    return members


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
        document = _parsed(_document(saved, members[name]), _OCI)
        pending += [_blob(one) for one in document.get("manifests") or () if not _is_attestation(one)]
        if "config" in document:
            named = [_blob(one) for one in (document["config"], *document["layers"])]
            if named != wanted and named[0] in members:
                message = "index.json leads to another image than manifest.json"
                raise tarfile.ReadError(message)


def _blob(descriptor: Mapping[str, str]) -> str:
    """Return the path of a descriptor's content in an OCI layout."""
    return "blobs/" + descriptor["digest"].replace(":", "/")


def _is_attestation(descriptor: Mapping[str, Any]) -> bool:
    """Return whether a descriptor is of BuildKit's statement about a build: an image of no platform."""
    platform = descriptor.get("platform") or {}
    return platform.get("os") == platform.get("architecture") == "unknown"


def _document(saved: Tar, entry: tarfile.TarInfo) -> bytes:
    """Return the content of a manifest or a configuration. Raises ReadError where it is too large for one."""
    if entry.size > MOST_BYTES:
        message = f"{entry.name} is too large"
        raise tarfile.ReadError(message)
    return saved.map[entry.offset_data : entry.offset_data + entry.size]


def _parsed(document: bytes, known: AbstractSet[str]) -> Any:  # noqa: ANN401
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
    """Raise TypeError where a value of a configuration has another type than the specification requires."""
    settings, steps = document.get("config") or {}, document.get("history") or []
    texts = [document.get(name, "") for name in ("architecture", "created", "os")]
    texts += [step.get(name, "") for step in steps for name in ("comment", "created", "created_by")]
    texts += [*(settings.get("Env") or []), *(settings.get("Labels") or {}).values()]
    for name in ("Cmd", "Entrypoint", "OnBuild", "Shell"):
        texts += settings.get(name) or []
    texts += (settings.get("Healthcheck") or {}).get("Test") or []
    if not all(isinstance(text, str) for text in texts):
        message = "a setting that is not text"
        raise TypeError(message)
