"""Find out which files of the layers a container sees (https://github.com/opencontainers/image-spec/blob/main/layer.md)."""

from __future__ import annotations

from collections.abc import Iterable

from prodlock.image.records import File

WHITEOUT, OPAQUE = ".wh.", ".wh..wh..opq"


def is_whiteout(file: File) -> bool:
    """Return whether an entry only deletes what a layer below has."""
    return file.path.rpartition("/")[2].startswith(WHITEOUT)


class Layers:
    """Which layer has the last entry of each path, and which layers delete paths."""

    def __init__(self, files: Iterable[File]) -> None:
        self._last: dict[str, int] = {}
        # The layers that delete a path, and those that hide what a folder has below.
        self._removed: dict[str, list[int]] = {}
        self._emptied: dict[str, list[int]] = {}
        # For each folder, the layers that hide what it has below.
        self._hidden: dict[str, tuple[int, ...]] = {}
        entries = [file for file in files if not file.packed]
        folders = {file.path.rpartition("/")[0] for file in entries}
        for file in entries:
            folder, _, name = file.path.rpartition("/")
            if name == OPAQUE:
                self._emptied.setdefault(folder, []).append(file.layer)
            elif name.startswith(WHITEOUT):
                self._removed.setdefault(f"{folder}/{name[len(WHITEOUT) :]}", []).append(file.layer)
            else:
                self._last[file.path] = file.layer
                if file.path in folders and not file.directory:
                    # In place of a folder, it hides the folder's contents.
                    self._emptied.setdefault(file.path, []).append(file.layer)

    def deletion(self, path: str, layer: int) -> int | None:
        """Return the first later layer that deletes a path of a layer, or a folder above it; None where none does."""
        removed = self._removed.get(path)
        folder = path.rpartition("/")[0]
        hiding = self._hidden[folder] if folder in self._hidden else self._hiding(folder)
        if not removed and not hiding:
            return None
        return min((number for number in (*(removed or ()), *hiding) if number > layer), default=None)

    def _hiding(self, folder: str) -> tuple[int, ...]:
        """Return the layers that hide what a folder has in the layers below."""
        if folder not in self._hidden:
            own = (*self._removed.get(folder, ()), *self._emptied.get(folder, ()))
            # The root has no folder above.
            self._hidden[folder] = own + (self._hiding(folder.rpartition("/")[0]) if folder else ())
        return self._hidden[folder]

    def is_seen(self, path: str, layer: int) -> bool:
        """Return whether a container sees the entry that a layer has at a path."""
        return self._last.get(path) == layer and self.deletion(path, layer) is None
