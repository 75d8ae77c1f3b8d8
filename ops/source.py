"""What a build is made from: the commit, and what is said of it in production's labels.

The labels come from the commit alone, so that the same commit gives the same image wherever and whenever it is built
(https://github.com/opencontainers/image-spec/blob/main/annotations.md, https://reproducible-builds.org/specs/source-date-epoch/).
"""

from __future__ import annotations

import os
import subprocess
import tomllib
from datetime import UTC, datetime
from typing import NamedTuple

from ops import engine


class Commit(NamedTuple):
    """The commit that is checked out: its hash, its time in seconds since 1970, how many files differ from it."""

    revision: str
    seconds: int
    changes: int

    def __str__(self) -> str:
        """Return what a user is told."""
        if self.changes:
            files = "1 file that differs" if self.changes == 1 else f"{self.changes} files that differ"
            return f"commit {self.revision} with {files}"
        return f"commit {self.revision}, clean"


def commit() -> Commit | None:
    """Return the commit that is checked out, or None where there is no git repository, or no git."""
    last = _git("log", "-1", "--format=%H %ct")
    if not last:
        return None
    revision, seconds = last.split()
    return Commit(revision, int(seconds), len(_git("status", "--porcelain").splitlines()))


def arguments(made_from: Commit | None) -> dict[str, str]:
    """Return the build arguments that docker-compose.yml hands on; a SOURCE_DATE_EPOCH that is set stays."""
    project = tomllib.loads((engine.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found = {"VERSION": project["version"], "SOURCE": project.get("urls", {}).get("source", "")}
    if made_from:
        epoch = os.environ.get("SOURCE_DATE_EPOCH", str(made_from.seconds))
        found |= {
            "REVISION": made_from.revision + ("-dirty" if made_from.changes else ""),
            "CREATED": datetime.fromtimestamp(int(epoch), UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "SOURCE_DATE_EPOCH": epoch,
        }
    return found


def _git(*args: str) -> str:
    """Return what git prints, `` where it fails."""
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", *args], cwd=engine.ROOT, capture_output=True, text=True, check=False
        )
    except OSError:
        return ""
    return "" if done.returncode else done.stdout
