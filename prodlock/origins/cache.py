"""Keep what was computed from a file's content between runs, by the sha256 of the content.

An entry is JSON behind a line with its own sha256. One that does not match, or can't be read, counts as absent.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def folder(environment: Mapping[str, str]) -> Path:
    """Return the user's folder for caches of this program, as the platform has it."""
    if sys.platform == "win32":
        return Path(environment.get("LOCALAPPDATA") or Path.home() / "AppData/Local") / "prodlock" / "Cache"
    if given := environment.get("XDG_CACHE_HOME"):
        return Path(given).expanduser() / "prodlock"
    return Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "prodlock"


def read(cache: Path, kind: str, key: str) -> Any:  # noqa: ANN401 - any value of JSON
    """Return the entry of a kind for a key, which is a hexadecimal digest, or None."""
    try:
        digest, _, content = _path(cache, kind, key).read_bytes().partition(b"\n")
        return json.loads(content) if hashlib.sha256(content).hexdigest().encode() == digest else None
    except (OSError, ValueError):
        return None


def write(cache: Path, kind: str, key: str, value: object) -> None:
    """Write an entry as a whole or not at all. A cache that can't be written is accepted: it only saves time."""
    path = _path(cache, kind, key)
    content = json.dumps(value, separators=(",", ":")).encode()
    name = ""
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
                name = file.name
                file.write(hashlib.sha256(content).hexdigest().encode() + b"\n" + content)
            os.replace(name, path)  # noqa: PTH105 - both are in one folder
            name = ""
        finally:
            if name:
                Path(name).unlink(missing_ok=True)


def _path(cache: Path, kind: str, key: str) -> Path:
    return cache / kind / key[:2] / key
