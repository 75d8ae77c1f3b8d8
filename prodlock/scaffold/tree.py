"""Read an existing project's files without importing or running any of them."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import warnings
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

# Folders that hold no source of the service.
PRUNED = frozenset(
    {
        "node_modules",
        "venv",
        "env",
        "virtualenv",
        "site-packages",
        "__pycache__",
        "build",
        "dist",
        "htmlcov",
        "prodlock",
    }
)
_TEST = re.compile(r"(?:^|/)(?:tests?|testing)/|(?:^|/)(?:test_[^/]*|[^/]*_test|conftest)\.py$")
# A larger file is data.
_LARGEST = 1_000_000


class Tree:
    """The files of a project, as git lists them, or those in its folder where git does not manage it."""

    def __init__(self, root: Path) -> None:
        self._modules: dict[str, ast.Module] = {}
        self._texts: dict[str, str] = {}
        self.root = root
        listed = self._git("ls-files", "--cached", "--others", "--exclude-standard", "-z")
        paths = self._walked() if listed is None else (path for path in listed.split("\0") if path)
        self.files = sorted(path for path in set(paths) if _kept(path) and self._is_file(path))
        self.python = [path for path in self.files if path.endswith(".py") and not is_test(path)]
        self._all = frozenset(self.files)

    def has(self, path: str) -> bool:
        """Return whether the project has a file."""
        return path in self._all

    def named(self, pattern: str) -> list[str]:
        """Return the files whose name matches a pattern, those nearest to the root first."""
        found = [path for path in self.files if re.fullmatch(pattern, PurePosixPath(path).name)]
        return sorted(found, key=lambda path: (path.count("/"), path))

    def text(self, path: str) -> str:
        """Return the text of a file, which is empty where it can't be read."""
        if path not in self._texts:
            try:
                file = self.root / path
                self._texts[path] = file.read_text(encoding="utf-8-sig") if file.stat().st_size <= _LARGEST else ""
            except (OSError, ValueError):
                self._texts[path] = ""
        return self._texts[path]

    def module(self, path: str) -> ast.Module:
        """Return the syntax tree of a module, which is empty where it can't be parsed."""
        if path not in self._modules:
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    self._modules[path] = ast.parse((self.root / path).read_bytes())
            except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
                self._modules[path] = ast.Module([], [])
        return self._modules[path]

    def ignored(self, path: str) -> bool:
        """Return whether git ignores a path."""
        return self._git("check-ignore", "-q", "--", path) is not None

    def _git(self, *arguments: str) -> str | None:
        # The project's configuration of git must not start a program.
        command = ["git", "-c", "core.fsmonitor=false", *arguments]
        try:
            done = subprocess.run(command, cwd=self.root, capture_output=True, check=False)
        except OSError:
            return None
        return os.fsdecode(done.stdout) if done.returncode == 0 else None

    def _walked(self) -> Iterator[str]:
        for folder, folders, files in os.walk(self.root):
            relative = Path(folder).relative_to(self.root)
            folders[:] = [
                name
                for name in folders
                if _kept(f"{name}/x") and not Path(folder, name, "pyvenv.cfg").exists()
            ]  # fmt: skip
            yield from ((relative / name).as_posix() for name in files)

    def _is_file(self, path: str) -> bool:
        place = self.root / path
        # Neither a link out of the project nor a loop of links is followed.
        return place.is_file() and place.resolve().is_relative_to(self.root.resolve())


def is_test(path: str) -> bool:
    """Return whether a file belongs to tests, by its path."""
    return bool(_TEST.search(path))


def _kept(path: str) -> bool:
    return not any(part in PRUNED or part.startswith(".") for part in path.split("/")[:-1])
