"""What a build is made from: the commit, and what is said of it in production's labels.

The labels come from the commit alone, so that when and where an image is built does not show in it
(https://github.com/opencontainers/image-spec/blob/main/annotations.md, https://reproducible-builds.org/specs/source-date-epoch/).
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import tarfile
import tomllib
from datetime import UTC, datetime
from typing import NamedTuple

from ops import engine
from ops.failure import Failure


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
    """Return the commit that is checked out, or None where no repository holds this project, or there is no git."""
    if not _git("ls-files", "pyproject.toml"):
        return None
    last = _git("log", "-1", "--no-show-signature", "--format=%H %ct").split()
    if not last:
        # A repository without a commit.
        return None
    revision, seconds = last
    changed = _git("status", "--porcelain", "--untracked-files=all", "--", ".").splitlines()
    # A build takes from app/ what git ignores as well, but for bytecode.
    ignored = _git("ls-files", "--others", "--ignored", "--exclude-standard", "--", "app").splitlines()
    unseen = [path for path in ignored if "__pycache__" not in path]
    return Commit(revision, int(seconds), len(changed) + len(unseen))


def arguments(made_from: Commit | None) -> dict[str, str]:
    """Return the build arguments that docker-compose.yml hands on; a SOURCE_DATE_EPOCH that is set stays."""
    project = tomllib.loads((engine.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found = {"VERSION": project["version"], "SOURCE": project.get("urls", {}).get("source", "")}
    if made_from:
        epoch = os.environ.get("SOURCE_DATE_EPOCH") or str(made_from.seconds)
        if not epoch.isdecimal():
            raise Failure(f"SOURCE_DATE_EPOCH={epoch} is no number of seconds since 1970: set one, or unset it.")
        found |= {
            "REVISION": made_from.revision + ("-dirty" if made_from.changes else ""),
            "CREATED": datetime.fromtimestamp(int(epoch), UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "SOURCE_DATE_EPOCH": epoch,
        }
    return found


def app() -> tuple[bytes, bool]:
    """Return a tar of `app/` as the commit has it, and whether there is a commit: else it is the working tree's."""
    archive = _git_bytes("archive", "--format=tar", "HEAD", "app")
    if archive:
        return archive, True
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as tar:
        tar.add(engine.ROOT / "app", "app", filter=lambda member: None if "__pycache__" in member.name else member)
    return written.getvalue(), False


def knows(revision: str) -> bool:
    """Return whether a revision is a commit of this repository."""
    return bool(re.fullmatch(r"[0-9a-f]{40,64}", revision)) and bool(_git("cat-file", "-t", revision))


def _git(*args: str) -> str:
    """Return what git prints, `` where it fails."""
    return _git_bytes(*args).decode(errors="surrogateescape")


def _git_bytes(*args: str) -> bytes:
    try:
        done = subprocess.run(["git", "--no-optional-locks", *args], cwd=engine.ROOT, capture_output=True, check=False)
    except OSError:
        return b""
    return b"" if done.returncode else done.stdout
