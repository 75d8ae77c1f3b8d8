"""Merge a user's edits of a generated file with a newer one."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from prodlock.failure import Failure

# What git exits with where it can't merge; otherwise, with the number of conflicts.
_ERROR = 128


def merge(base: str, edited: str, newer: str, version: str) -> tuple[str, int]:
    """Return a three-way merge, and how many conflicts are marked in it (git-merge-file(1)).

    Raises Failure where git is missing or fails.
    """
    if edited in {base, newer}:
        return newer, 0
    if newer == base:
        return edited, 0
    if "\r\n" in edited:
        # git converts the ends of lines on Windows (core.autocrlf): that alone is not an edit.
        merged, conflicts = merge(base, edited.replace("\r\n", "\n"), newer, version)
        return merged.replace("\n", "\r\n"), conflicts
    if edited and not edited.endswith("\n"):
        return merge(base, f"{edited}\n", newer, version)
    with tempfile.TemporaryDirectory() as folder:
        names = ("edited", "base", "newer")
        for name, text in zip(names, (edited, base, newer), strict=True):
            Path(folder, name).write_bytes(text.encode())
        labels = [f"-L{label}" for label in ("yours", "as Prodlock wrote it", f"Prodlock {version}")]
        command = ["git", "merge-file", "--stdout", "--diff3", *labels, *names]
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True, check=False)
        except OSError as error:
            raise Failure(f"git must be installed (got: {error.strerror}). To fix it: install git.") from None
    if done.returncode >= _ERROR or done.returncode < 0:
        raise Failure(
            f"git must be able to merge texts (got: {done.stderr.decode(errors='replace').strip()}). To fix it: update "
            "git."
        )
    return done.stdout.decode(), done.returncode
