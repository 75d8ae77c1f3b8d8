"""Keep the files of layers between runs: most layers of an image are those of its last build, or of its base image."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path

from prodlock.image import reader, records, tar
from prodlock.image.records import File
from prodlock.origins import cache


class KeptLayers:
    """The files of layers that a folder has, by the sha256 of a layer: `prodlock.image.opened.Known`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, digest: str) -> Sequence[File] | None:
        """Return the files of a layer, without their heads, or None."""
        rows = cache.read(self._folder, _kind(), digest)
        if rows is None:
            return None
        return [File._make((path, 0, *facts, b"", tuple(owner), *rest)) for path, facts, owner, rest in rows]

    def write(self, digest: str, files: Sequence[File]) -> None:
        """Keep the files of a layer, which has that sha256."""
        cache.write(self._folder, _kind(), digest, [(file.path, file[2:7], file.owner, file[9:]) for file in files])


@functools.cache
def _kind() -> str:
    """Return what entries of this form are called: with another program, the records have another content."""
    programs = (records, reader, tar)
    text = "".join(Path(str(program.__file__)).read_text(encoding="utf-8") for program in programs)
    return f"layers-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
