"""Read an existing project's files without importing or running any of them."""

from __future__ import annotations

import ast
import os
import platform
import posixpath
import re
import stat
import subprocess
import warnings
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

# Folders that hold no source of the service, wherever they are.
_PRUNED = frozenset({"node_modules", "site-packages", "__pycache__"})
# Folders that tools write beside the files that describe a project. A package may have such a name as well.
_OUTPUT = frozenset({"build", "dist", "env", "htmlcov", "prodlock", "venv", "virtualenv"})
_DESCRIBING = ("pyproject.toml", "setup.py", "setup.cfg", "package.json")
_TEST = re.compile(r"(?:^|/)(?:tests?|testing)/|(?:^|/)(?:test_[^/]*|[^/]*_tests?|tests|conftest)\.py$")
# An import at the top of a module.
_IMPORT = re.compile(r"^(?:from[ \t]+[\w.]+[ \t]+import[ \t]+(?:\([^()]*\)|[^\n(]+)|import[ \t]+[^\n]+)$", re.MULTILINE)
# A larger module is data, a larger text is not a lock.
_LARGEST_MODULE = 1_000_000
_LARGEST_TEXT = 50_000_000


class Tree:
    """The files of a project, as git lists them, or those in its folder where git does not manage it."""

    def __init__(self, root: Path) -> None:
        self._modules: dict[str, ast.Module] = {}
        self._texts: dict[str, str] = {}
        self._pruned: dict[str, bool] = {"": False}
        self.root = root
        # The modules that are not valid for this interpreter.
        self.unparsed: set[str] = set()
        self._resolved = root.resolve()
        listed = self._git("ls-files", "--cached", "--others", "--exclude-standard", "-z")
        # In an ignored folder of another repository, git lists nothing.
        paths = listed.split("\0") if listed else self._walked()
        self._all = frozenset(path for path in paths if path and _is_text(path))
        self.files = sorted(
            path for path in self._all if not self._is_pruned(posixpath.dirname(path)) and self._is_file(path)
        )
        # Folders that git lists as files: submodules, and symbolic links to folders.
        self.folders_aside = sorted(
            path for path in self._all if path[-1] != "/" and not self._is_pruned(path) and (root / path).is_dir()
        )
        self._all = frozenset(self.files)
        self.python = [path for path in self.files if path.endswith(".py") and not is_test(path)]
        self._folders = frozenset(
            parent.as_posix() for path in self.files for parent in PurePosixPath(path).parents[:-1]
        )

    def has(self, path: str) -> bool:
        """Return whether the project has a file."""
        return path in self._all

    def has_folder(self, path: str) -> bool:
        """Return whether the project has files in a folder."""
        return path in self._folders

    def named(self, pattern: str) -> list[str]:
        """Return the files whose name matches a pattern, those nearest to the root first."""
        found = [path for path in self.files if re.fullmatch(pattern, posixpath.basename(path))]
        return sorted(found, key=lambda path: (path.count("/"), path))

    def text(self, path: str) -> str:
        """Return the text of a file, which is empty where it can't be read."""
        if path not in self._texts:
            content = self._content(path, _LARGEST_TEXT)
            try:
                self._texts[path] = content.decode("utf-8-sig")
            except ValueError:
                self._texts[path] = ""
        return self._texts[path]

    def module(self, path: str) -> ast.Module:
        """Return the syntax tree of a module, which has its imports alone where it can't be parsed."""
        if path not in self._modules:
            parsed = _parse(self._content(path, _LARGEST_MODULE))
            if parsed is None:
                self.unparsed.add(path)
                imports = filter(None, (_parse(found[0].encode()) for found in _IMPORT.finditer(self.text(path))))
                parsed = ast.Module([statement for one in imports for statement in one.body], [])
            self._modules[path] = parsed
        return self._modules[path]

    def error(self, path: str) -> str:
        """Return why a module can't be parsed, with its place, or an empty string where it can."""
        self.module(path)
        if path not in self.unparsed:
            return ""
        try:
            ast.parse(self._content(path, _LARGEST_MODULE))
        except SyntaxError as error:
            return f"{path}:{error.lineno or 1} is not valid for Python {platform.python_version()}: {error.msg}"
        except (ValueError, RecursionError, MemoryError) as error:
            return f"{path} is not a valid module: {error}"
        return ""

    def target(self, path: str) -> str:
        """Return the file of the project that a symbolic link leads to, or the path of another file."""
        place = self.root / path
        return place.resolve().relative_to(self._resolved).as_posix() if place.is_symlink() else path

    def ignored(self, path: str) -> bool:
        """Return whether git ignores a path."""
        return self._git("check-ignore", "-q", "--", path) is not None

    def tracked(self, path: str) -> bool:
        """Return whether git has a file, which no line of .gitignore changes."""
        return self._git("ls-files", "--error-unmatch", "--", path) is not None

    def _content(self, path: str, largest: int) -> bytes:
        try:
            file = self.root / path
            return file.read_bytes() if file.stat().st_size <= largest else b""
        except (OSError, ValueError):
            return b""

    def _git(self, *arguments: str) -> str | None:
        # The project's configuration of git must not start a program.
        command = ["git", "-c", "core.fsmonitor=false", *arguments]
        try:
            done = subprocess.run(command, cwd=self.root, capture_output=True, check=False)
        except (OSError, ValueError):
            return None
        return os.fsdecode(done.stdout) if done.returncode == 0 else None

    def _walked(self) -> Iterator[str]:
        for folder, folders, files in os.walk(self.root):
            relative = Path(folder).relative_to(self.root)
            folders[:] = [
                name
                for name in folders
                if name not in _PRUNED and not name.startswith(".") and not Path(folder, name, "pyvenv.cfg").exists()
            ]
            yield from ((relative / name).as_posix() for name in files)

    def _is_pruned(self, folder: str) -> bool:
        """Return whether a folder, or one above it, holds no source of the service."""
        if folder not in self._pruned:
            parent, name = posixpath.split(folder)
            self._pruned[folder] = (
                self._is_pruned(parent)
                or name in _PRUNED
                or name.startswith(".")
                or f"{folder}/pyvenv.cfg" in self._all
                or (name in _OUTPUT and self._is_output(parent, folder))
            )
        return self._pruned[folder]

    def _is_output(self, parent: str, folder: str) -> bool:
        beside = not parent or any(f"{parent}/{name}" in self._all for name in _DESCRIBING)
        return beside and f"{folder}/__init__.py" not in self._all

    def _is_file(self, path: str) -> bool:
        place = self.root / path
        try:
            mode = place.lstat().st_mode
            if not stat.S_ISLNK(mode):
                return stat.S_ISREG(mode)
            # Neither a link out of the project nor a loop of links is followed.
            return place.is_file() and place.resolve().is_relative_to(self._resolved)
        except (OSError, RuntimeError, ValueError):
            return False


def _parse(content: bytes) -> ast.Module | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(content)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def is_test(path: str) -> bool:
    """Return whether a file belongs to tests, by its path."""
    return bool(_TEST.search(path))


def join(folder: str, name: str) -> str:
    """Return a path in a folder, both relative to the root."""
    return posixpath.normpath(posixpath.join(folder, name))


def is_inside(path: str, folder: str) -> bool:
    """Return whether a path is a folder, or in it."""
    return folder in {".", path} or path.startswith(f"{folder}/")


def _is_text(path: str) -> bool:
    """Return whether a path can be printed: the name of a file may have any bytes."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
