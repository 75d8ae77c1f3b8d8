"""Read variables as Compose reads them: from the environment, or else from the project's `.env`."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path

from prodlock.docker import engine
from prodlock.project import Project

NAME = ".env"
# The variables that both Compose and the tasks read. PRODLOCK_PROJECT is not one of them: see `compose.project_name`.
SHARED = ("CA_BUNDLE", "EXTRA_INDEX_URL", "INDEX_URL", "NETRC", "PORT", "SOURCE_DATE_EPOCH")
# Those of them that name files.
_FILES = ("CA_BUNDLE", "NETRC")


class Environment(Mapping[str, str]):
    """An environment that is completed by the SHARED variables of `.env`, which is read when the first is looked up.

    So a task that needs none of them, such as `inv stop`, works with a broken `.env`. They are not listed, because the
    listed ones are given to docker, which reads the file as well.
    """

    def __init__(self, root: Path, given: Mapping[str, str]) -> None:
        self._root = root
        self._given = given

    def __getitem__(self, name: str) -> str:
        """Return a variable. Raises Failure where Compose can't read `.env`."""
        return self._given[name] if name in self._given or name not in SHARED else self._file[name]

    def __iter__(self) -> Iterator[str]:
        """Yield the names of the environment without those of `.env`."""
        return iter(self._given)

    def __len__(self) -> int:
        """Return the number of listed names."""
        return len(self._given)

    @cached_property
    def _file(self) -> Mapping[str, str]:
        """Return the SHARED variables that `.env` sets, as Compose reads quotes, comments and references in it."""
        if not os.path.lexists(self._root / NAME):
            return {}
        services = {"x": {"image": "x", "environment": dict.fromkeys(SHARED)}}
        options = ("--file=-", "--project-directory=.", "--project-name=x")
        project = Project(self._root, self._given)
        given = json.dumps({"services": services}).encode()
        printed = engine.output(project, "compose", *options, "config", "--format=json", given=given)
        found: Mapping[str, str | None] = json.loads(printed)["services"]["x"]["environment"]
        # Compose escapes `$`.
        values = {name: value.replace("$$", "$") for name, value in found.items() if value is not None}
        # Relative to the project's folder, and `~` is the user's: a task may be run in another folder.
        places = {name: os.path.expanduser(values[name]) for name in _FILES if values.get(name)}  # noqa: PTH111
        return values | {name: str(self._root.absolute() / place) for name, place in places.items()}


def project(root: Path) -> Project:
    """Return the project in a folder, with this process's present environment and the folder's `.env`."""
    return Project(root, Environment(root, dict(os.environ)))
