"""The project that the tool works on."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from prodlock import configuration
from prodlock.configuration import Configuration
from prodlock.failure import CANNOT_CHECK, Failure

# The Compose files that a plain `docker compose` reads, and their overrides: of each kind the first that exists.
COMPOSE_FILES = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
OVERRIDES = (
    "compose.override.yml",
    "compose.override.yaml",
    "docker-compose.override.yml",
    "docker-compose.override.yaml",
)
# The pattern of a Compose project's name.
COMPOSE_NAME = "[a-z0-9][a-z0-9_-]*"


def is_file(path: Path | str) -> bool:
    """Return whether a path is a file, also where a folder above it can't be entered, such as another user's home."""
    return os.path.isfile(path)  # noqa: PTH113 - before Python 3.14, `Path.is_file` raises an error there


def plain_name(text: str) -> str:
    """Return the last name that Compose files give the project, or an empty string for none, or one with a variable."""
    names = re.findall(r"^name:(.*)$", text, re.MULTILINE)
    plain = re.fullmatch(rf"\s+([\"']?)({COMPOSE_NAME})\1(\s+#.*)?\s*", names[-1]) if names else None
    return plain[2] if plain else ""


@dataclass(frozen=True)
class Project:
    """A folder with a Dockerfile and a Compose file, and the environment that its commands run in.

    Without arguments: the current folder and this process's present environment.
    """

    root: Path = field(default_factory=Path.cwd)
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ), compare=False, repr=False)

    def refuse_missing(self) -> None:
        """Raise Failure, code 2, where the folder does not exist: no program can be started in it."""
        if not self.root.is_dir():
            raise Failure(
                f"{self.root} must be a folder (got none). To fix it: name the project's folder.", CANNOT_CHECK
            )

    @cached_property
    def configuration(self) -> Configuration:
        """`[tool.prodlock]` of pyproject.toml. Raises Failure where a key is not valid."""
        return configuration.read(self.root)

    @property
    def is_own(self) -> bool:
        """Whether the folder `prodlock` is the whole tool, as in Prodlock's own repository, and not a vendored part."""
        return (self.root / "prodlock" / "__init__.py").is_file()
