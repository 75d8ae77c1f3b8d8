"""Follow the links to a cache that an installer makes on request, such as `uv sync --link-mode=symlink`."""

from __future__ import annotations

import dataclasses
import posixpath

from prodlock.image.records import File, resolved
from prodlock.origins.attribution import UNPACKED, Key
from prodlock.origins.records import Subject
from prodlock.origins.visible import Layers


def followed(subject: Subject) -> Subject:
    """Return an image in which each link to a file that uv unpacked is that file, as a hard link to it would be.

    Where a later layer replaces the file, that layer replaces it at the link's path as well.
    """
    files = subject.image.files
    links = [file for file in files if file.target and not file.sha256 and UNPACKED.search(file.target)]
    if not links:
        return subject
    layers = Layers(files)
    targets = {file.path: file.target for file in files if file.target and layers.is_seen(file.path, file.layer)}
    unpacked: dict[str, list[File]] = {}
    for file in files:
        if file.sha256 and not file.packed and UNPACKED.search(file.path):
            unpacked.setdefault(file.path, []).append(file)
    copies: dict[Key, File] = {}
    replaced: set[Key] = set()
    for link in links:
        is_seen = layers.is_seen(link.path, link.layer)
        target = posixpath.join(posixpath.dirname(link.path), link.target)
        for copy in unpacked.get(resolved(target, targets), ()):
            # What a later layer has is not behind a link that is gone.
            if (is_seen or copy.layer <= link.layer) and layers.deletion(copy.path, copy.layer) is None:
                copies[max(copy.layer, link.layer), link.path] = copy
                replaced.add((link.layer, link.path))
    # The bytes of a link are those of the cache.
    made = [copy._replace(path=path, layer=layer, size=0) for (layer, path), copy in copies.items()]
    rest = [file for file in files if (file.layer, file.path) not in replaced or file.directory]
    content = subject.content
    return dataclasses.replace(
        subject,
        image=dataclasses.replace(subject.image, files=tuple(sorted((*rest, *made), key=lambda file: file.layer))),
        content=lambda file: content(copies.get((file.layer, file.path), file)),
        linked=frozenset((copy.layer, copy.path) for copy in copies.values()),
    )
