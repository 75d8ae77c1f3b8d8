"""Notice which files of a tree have changed.

By polling: notifications of changes do not reach a container from the file systems of every host (Docker Desktop,
network shares), and the time of a file does.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path

# What an application reads at its start. Files that it writes, a database for example, must not start it again.
SOURCES = (".py", ".html", ".jinja", ".jinja2", ".j2", ".ini", ".json", ".lock", ".toml", ".yaml", ".yml")
# Folders that hold no source: bytecode, environments, packages of JavaScript. Hidden folders hold none either.
_SKIPPED = {"__pycache__", "node_modules", "venv"}
# The least time between two scans, and how much longer than a scan's work the pause after it is: a large tree must not
# keep a core busy. Work is time on the processor: on a busy machine a scan takes longer, with the same work.
_PAUSE_SECONDS = 0.05
_PAUSE_FACTOR = 20


def summary(changed: Iterable[str]) -> str:
    """Return a sentence about changed files."""
    first, *others = sorted(changed)
    if not others:
        return f"{first} changed."
    return f"{first} and {len(others)} other file{'s' if len(others) > 1 else ''} changed."


class Tree:
    """The files below a folder, as they were at the last look."""

    def __init__(self, root: Path, suffixes: tuple[str, ...] = ("",), skipped: tuple[str, ...] = ()) -> None:
        """`suffixes` are the ends of the names of the files that count; `skipped` are folders, relative to the root."""
        self._root = root
        self._suffixes = suffixes
        self._skipped = skipped
        # How long to wait until the next call of `changed`, in seconds.
        self.pause = _PAUSE_SECONDS
        self._seen = self._scan()

    def changed(self) -> set[str]:
        """Return the files that were added, changed or removed since the last call, relative to the folder."""
        began = time.thread_time()
        before, self._seen = self._seen, self._scan()
        self.pause = max(_PAUSE_SECONDS, _PAUSE_FACTOR * (time.thread_time() - began))
        return {path for path in before.keys() | self._seen.keys() if before.get(path) != self._seen.get(path)}

    def wait(self) -> set[str]:
        """Wait until files have changed, and return them."""
        while not (found := self.changed()):
            time.sleep(self.pause)
        return found

    def _scan(self) -> dict[str, tuple[int, int, int]]:
        """Return time, size and inode of each file: editors write in place, or write another file and rename it."""
        found = {}
        folders = [""]
        while folders:
            folder = folders.pop()
            try:
                entries = list(os.scandir(self._root / folder))
            except OSError:
                # Removed since its parent was read.
                continue
            for entry in entries:
                path = f"{folder}{entry.name}"
                try:
                    if entry.is_dir(follow_symlinks=False):
                        if not (entry.name.startswith(".") or entry.name in _SKIPPED or path in self._skipped):
                            folders.append(f"{path}/")
                    elif entry.name.endswith(self._suffixes):
                        status = entry.stat()
                        found[path] = (status.st_mtime_ns, status.st_size, status.st_ino)
                except OSError:
                    continue
        return found
