"""Render the workflow of GitHub Actions that checks each change, and publishes what reaches the main branch."""

from __future__ import annotations

import json
import shlex
from importlib import metadata
from pathlib import Path
from typing import Any

from prodlock import __version__, generated, source
from prodlock.failure import Failure
from prodlock.generated import Rendered

FILE = ".github/workflows/prodlock.yml"
# What a user replaces where the installed Prodlock comes from a folder, whose repository is not recorded.
UNKNOWN = "git+REPOSITORY"
_WRITTEN = "# `prodlock upgrade` keeps edits of this file."
# The tasks of Prodlock's repository import the package in place.
_OWN = "invoke>=3"


def files(root: Path, tasks: str, *, is_own: bool) -> dict[str, Rendered]:
    """Return the rendered workflow by its path, for a project whose tasks are in a file.

    Raises Failure where GitHub would not find it.
    """
    _refuse_below(root)
    values = {
        "written": [] if is_own else [_WRITTEN],
        "install": f"pip install {shlex.quote(_OWN) if is_own else _requirement()}",
        "inv": generated.inv(tasks),
    }
    return {FILE: generated.fill((generated.TEMPLATES / FILE).read_text(encoding="utf-8"), values)}


def _refuse_below(root: Path) -> None:
    """Raise Failure where a project is in a folder of its git repository: GitHub reads workflows at the top alone."""
    folder = root.resolve()
    top = source.repository(folder) or folder
    if top != folder:
        raise Failure(
            f"The project must be at the top of its git repository for {FILE} (got the folder "
            f"{folder.relative_to(top).as_posix()} of {top}). To fix it: leave out --workflow, and call the tasks in a "
            "workflow of the repository, with `working-directory`."
        )


def _requirement() -> str:
    """Return the argument of `pip install` for the version that is running, quoted for a shell.

    It has the commit where that was installed from git. Installers record it
    (https://packaging.python.org/en/latest/specifications/direct-url/).
    """
    if (distribution := _distribution()) is None:
        return _unknown()
    text = distribution.read_text("direct_url.json")
    if text is None:
        # An index has no direct_url.json: the version names the package.
        return shlex.quote(f"prodlock=={__version__}")
    recorded: dict[str, Any] = json.loads(text)
    address, git, archive = (recorded.get(name) for name in ("url", "vcs_info", "archive_info"))
    if not isinstance(address, str) or address.startswith("file:"):
        return _unknown()
    if git:
        folder = f"#subdirectory={recorded['subdirectory']}" if recorded.get("subdirectory") else ""
        return shlex.quote(f"prodlock @ {git['vcs']}+{address}@{git['commit_id']}{folder}")
    sha256 = ((archive or {}).get("hashes") or {}).get("sha256")
    return shlex.quote(f"prodlock @ {address}{f'#sha256={sha256}' if sha256 else ''}")


def _unknown() -> str:
    """Return the argument for a repository that the user names, at the version that the project was written by."""
    return f'"prodlock @ {UNKNOWN}@v$(cat prodlock/VERSION)#subdirectory=prodlock"'


def _distribution() -> metadata.Distribution | None:
    """Return the installed distribution, or None where the package that is running is another one."""
    try:
        found = metadata.distribution("prodlock")
    except metadata.PackageNotFoundError:
        return None
    running = Path(__file__).parent
    return found if Path(str(found.locate_file("prodlock"))).resolve() == running.resolve() else None
