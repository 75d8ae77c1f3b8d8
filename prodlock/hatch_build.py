"""Pack the changelog and the example service, which are beside the package in its repository, for `prodlock init`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FILES = ("CHANGELOG.md", "app", "poetry.lock", "pyproject.toml", "tests")


# Only builds have hatchling.
class Hook(BuildHookInterface[Any]):  # type: ignore[misc]
    """Adds the folder `data` to a wheel and to a source distribution, which has it already where a wheel is built."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Name the files and their places. hatchling calls it before each build."""
        del version
        if not Path(self.root, "data").is_dir():
            build_data["force_include"] |= {str(Path(self.root).parent / name): f"data/{name}" for name in FILES}
