"""What a build is made from: the commit, and what is said of it in production's labels.

The labels come from the commit alone, so that when and where an image is built does not show in it
(https://github.com/opencontainers/image-spec/blob/main/annotations.md, https://reproducible-builds.org/specs/source-date-epoch/).
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from ops import engine, site
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


def pyproject() -> Mapping[str, Any]:
    """Return what pyproject.toml says. Raises Failure where it can't be read."""
    try:
        return tomllib.loads((engine.ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Failure(f"pyproject.toml can't be read ({error}): mend it.") from None


def _text(table: Mapping[str, Any], *names: str) -> str:
    """Return a string of pyproject.toml by the names that lead to it, or `` where it is not set."""
    value: object = table
    for name in names:
        if not isinstance(value, Mapping):
            break
        value = value.get(name, {})
    else:
        if isinstance(value, str) or value == {}:
            return str(value or "")
    raise Failure(f"{'.'.join(names)} in pyproject.toml must be a string (got {value!r}). To fix it: correct it.")


def arguments(made_from: Commit | None) -> dict[str, str]:
    """Return the build arguments that docker-compose.yml hands on; a SOURCE_DATE_EPOCH that is set stays."""
    epoch = site.epoch()
    project = pyproject()
    found = {"VERSION": _text(project, "project", "version"), "SOURCE": _text(project, "project", "urls", "source")}
    if made_from:
        seconds = made_from.seconds if epoch is None else epoch
        found |= {
            "REVISION": made_from.revision + ("-dirty" if made_from.changes else ""),
            "CREATED": datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "SOURCE_DATE_EPOCH": str(seconds),
        }
    return found


@contextmanager
def app(made_from: Commit | None) -> Iterator[Path]:
    """Give a folder with `app/` as the commit has it, and with .dockerignore; without a commit the working tree.

    Raises Failure where the commit has no `app/`.
    """
    if not made_from:
        yield engine.ROOT
        return
    # Checked out as git would, not `git archive`, which leaves out and fills in what .gitattributes say of releases.
    below = _git("rev-parse", "--show-prefix").strip()
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder, "tree", below)
        tree.mkdir(parents=True)
        there = ("-c", f"core.hooksPath={os.devnull}", f"--work-tree={folder}/tree")
        _git(*there, "checkout", "HEAD", "--", f"{below}app", GIT_INDEX_FILE=f"{folder}/index")
        if not (tree / "app").is_dir():
            raise Failure("The commit has no `app/`, or git can't give it: commit it, then check again.")
        with contextlib.suppress(FileNotFoundError):
            shutil.copyfile(engine.ROOT / ".dockerignore", tree / ".dockerignore")
        yield tree


def locked_since(setting: str) -> str:
    """Return poetry.lock as it was when a line of pyproject.toml that begins so was last changed, or ``."""
    revision = _git("log", "-1", "--format=%H", f"-G^{setting}", "--", "pyproject.toml").strip()
    return _git("show", f"{revision}:./poetry.lock") if revision else ""


def knows(revision: str) -> bool:
    """Return whether a revision is a commit of this repository."""
    return bool(re.fullmatch(r"[0-9a-f]{40,64}", revision)) and bool(_git("cat-file", "-t", revision))


def _git(*args: str, **environment: str) -> str:
    """Return what git prints, `` where it fails."""
    command = ["git", "--no-optional-locks", *args]
    try:
        done = subprocess.run(command, cwd=engine.ROOT, env=os.environ | environment, capture_output=True, check=False)
    except OSError:
        return ""
    return "" if done.returncode else done.stdout.decode(errors="surrogateescape")
