"""Read the documents of an OCI image layout, a folder or an archive of one.

See https://github.com/opencontainers/image-spec/blob/main/image-layout.md. An index names images of several platforms,
and further indexes.
"""

from __future__ import annotations

import functools
import platform as host
import re
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from prodlock.failure import CANNOT_CHECK, Failure
from prodlock.image import documents, tar
from prodlock.image.documents import Documents
from prodlock.image.records import ARCHITECTURES, matches, platform_of
from prodlock.image.tar import Tar

INDEX, VERSION = "index.json", "oci-layout"
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
# More indexes and manifests than any image has.
_MOST_DOCUMENTS = 200
# What the configuration of an image is called; of a chart or a signature it has another name.
_IMAGES = ("application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json")

# Returns the content of a file of a layout by its path. Raises KeyError where there is none.
Files = Callable[[str], Tar]


def own_platform() -> str:
    """Return the platform of the images that this machine runs."""
    architecture = host.machine().lower()
    return f"linux/{ARCHITECTURES.get(architecture, architecture)}"


def in_folder(folder: Path, kept: ExitStack) -> Files:
    """Return the files of a layout in a folder, mapped until `kept` is closed."""
    root = folder.resolve()

    @functools.cache
    def content(name: str) -> Tar:
        try:
            path = (root / name).resolve()
        except RuntimeError:
            # Until Python 3.13, of links in a loop.
            raise KeyError(name) from None
        if not path.is_relative_to(root):
            message = f"{name} leads out of the folder"
            raise tarfile.ReadError(message)
        if not path.is_file():
            raise KeyError(name)
        mapped = kept.enter_context(tar.map_file(kept.enter_context(path.open("rb"))))
        return Tar(mapped, 0, len(mapped))

    return content


def in_archive(saved: Tar, members: Mapping[str, tarfile.TarInfo]) -> Files:
    """Return the files of a layout in an archive, by its entries."""
    return lambda name: documents.content(saved, members[name])


def read(reference: str, files: Files, platform: str) -> Documents:
    """Return the documents of the image of a platform; without one, of the only image or of this machine's platform.

    Raises Failure, code 2, where a layout has not just one such image; ReadError, KeyError, TypeError or ValueError
    where it is not valid.
    """
    version = _json(VERSION, files(VERSION))["imageLayoutVersion"]
    if version.partition(".")[0] != "1":
        message = f"a layout of version {version}"
        raise tarfile.ReadError(message)
    found = dict(_manifests(files))
    if not found:
        message = "an index without an image"
        raise tarfile.ReadError(message)
    wanted = platform or own_platform()
    chosen = [digest for digest, stated in found.items() if matches(stated, wanted)]
    if not platform and len(found) == 1:
        chosen = list(found)
    if len(chosen) != 1:
        counted = Counter(found.values())
        got = ", ".join(f"{number} of {stated}" for stated, number in sorted(counted.items()))
        raise Failure(
            f"{reference} must have one image of {wanted} (got {got}). To fix it: choose a platform with --platform, "
            "or save the one image.",
            CANNOT_CHECK,
        )
    manifest = _blob_document(files, {"digest": chosen[0]})
    if len(manifest["layers"]) > documents.MOST_LAYERS:
        message = "a manifest that no Engine writes"
        raise tarfile.ReadError(message)
    return documents.checked(
        _configuration(files, manifest),
        [_blob(files, layer) for layer in manifest["layers"]],
        [layer["digest"].partition(":")[2] for layer in manifest["layers"]],
    )


def _manifests(files: Files) -> Iterator[tuple[str, str]]:
    """Yield the digest of each image's manifest with its platform; attestations are left out."""
    pending: list[Mapping[str, Any]] = list(_json(INDEX, files(INDEX))["manifests"])
    seen: set[str] = set()
    while pending:
        descriptor = pending.pop(0)
        digest = descriptor["digest"]
        if digest in seen or documents.is_attestation(descriptor):
            continue
        seen.add(digest)
        if len(seen) > _MOST_DOCUMENTS:
            message = "an index of too many documents"
            raise tarfile.ReadError(message)
        try:
            document = _blob_document(files, descriptor)
        except KeyError:
            # Of an index of several platforms, a layout need not have all.
            if not descriptor.get("platform"):
                raise
            yield digest, platform_of(descriptor["platform"])
            continue
        if "manifests" in document:
            pending += document["manifests"]
        elif document["config"].get("mediaType", _IMAGES[0]) in _IMAGES:
            yield digest, platform_of(descriptor.get("platform") or _configuration_of(files, document))


def _configuration(files: Files, manifest: Mapping[str, Any]) -> bytes:
    return documents.whole("a configuration", _blob(files, manifest["config"], verify=True))


def _configuration_of(files: Files, manifest: Mapping[str, Any]) -> Mapping[str, Any]:
    parsed: Mapping[str, Any] = documents.parsed(_configuration(files, manifest), documents.CONFIGURATION)
    return parsed


def _blob_document(files: Files, descriptor: Mapping[str, Any]) -> Any:  # noqa: ANN401
    return _json(descriptor["digest"], _blob(files, descriptor, verify=True))


def _json(name: str, content: Tar) -> Any:  # noqa: ANN401
    return documents.parsed(documents.whole(name, content), documents.OCI)


def _blob(files: Files, descriptor: Mapping[str, Any], *, verify: bool = False) -> Tar:
    """Return the content of a descriptor. Raises ReadError where its size, or to `verify` its digest, is another."""
    digest = descriptor["digest"]
    if not _DIGEST.fullmatch(digest):
        message = f"a digest that is not a sha256: {digest}"
        raise tarfile.ReadError(message)
    content = files(documents.blob(descriptor))
    size = content.end - content.start
    if descriptor.get("size", size) != size or (verify and tar.sha256_of(content) != digest.partition(":")[2]):
        message = f"a blob is not {digest}"
        raise tarfile.ReadError(message)
    return content
