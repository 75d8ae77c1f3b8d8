"""Keep the files of layers between runs: most layers of an image are those of its last build, or of its base image."""

from __future__ import annotations

import functools
import hashlib
import itertools
from collections.abc import Sequence
from pathlib import Path

from prodlock.image import reader, records, tar
from prodlock.image.records import File
from prodlock.origins import cache

# The fields that are kept: the head of a file is in the layer.
_FIELDS = [name for name in File._fields if name not in {"layer", "head"}]


class KeptLayers:
    """The files of layers that a folder has, by the sha256 of a layer: `prodlock.image.opened.Known`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, digest: str) -> Sequence[File] | None:
        """Return the files of a layer, without their heads, or None."""
        kept = cache.read(self._folder, _kind(), digest)
        if kept is None:
            return None
        columns = kept | {
            "owner": map(tuple, kept["owner"]),
            "layer": itertools.repeat(0),
            "head": itertools.repeat(b""),
        }
        return list(map(File._make, zip(*(columns[name] for name in File._fields), strict=False)))

    def write(self, digest: str, files: Sequence[File]) -> None:
        """Keep the files of a layer, which has that sha256."""
        # By columns: to write rows takes twice as long.
        columns = dict(zip(File._fields, zip(*files, strict=True), strict=False))
        cache.write(self._folder, _kind(), digest, {name: columns.get(name, ()) for name in _FIELDS})


@functools.cache
def _kind() -> str:
    """Return what entries of this form are called: with another program, the records have another content."""
    programs = (records.__file__, reader.__file__, tar.__file__, __file__)
    text = "".join(Path(program).read_text(encoding="utf-8") for program in programs)
    return f"layers-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
