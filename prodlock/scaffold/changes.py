"""A set of changes of a project's files: printed as a diff, or applied as a whole."""

from __future__ import annotations

import contextlib
import difflib
import shutil
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from prodlock.failure import Failure

# The name that a file has until all are written.
_SUFFIX = ".prodlock-new"


@dataclass
class Changes:
    """The contents that files of a folder get, by their paths; None removes a file."""

    root: Path
    contents: dict[str, str | None] = field(default_factory=dict)
    # The contents that the changes were made from.
    _read: dict[str, str | None] = field(default_factory=dict)

    def __setitem__(self, path: str, text: str | None) -> None:
        """Set the content of a file. A content that the file has already is not a change.

        Raises Failure where the file can't be read, or is out of the folder.
        """
        self._read[path] = self.before(path)
        if self._read[path] == text:
            self.contents.pop(path, None)
        else:
            if text is not None:
                self._place(path)
            self.contents[path] = text

    def before(self, path: str) -> str | None:
        """Return the present content of a file, or None where there is none. Raises Failure where it can't be read."""
        try:
            text = (self.root / path).read_bytes().decode()
            if "\0" in text:
                # git does not merge it.
                message = "a NUL character"
                raise ValueError(message)  # noqa: TRY301 - as for other contents that are not text
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            remedy = (
                "restore it or move it" if isinstance(error, OSError) else "save it as UTF-8, restore it or move it"
            )
            raise Failure(f"{path} must be a readable text in UTF-8 (got: {reason}). To fix it: {remedy}.") from None
        return text

    def after(self, path: str) -> str | None:
        """Return the content that a file will have, or None where there will be none."""
        return self.contents[path] if path in self.contents else self.before(path)

    def diff(self, paths: Collection[str] | None = None) -> Iterator[str]:
        """Yield the lines of a unified diff of all changes, or of those of some paths."""
        for path, after in self.contents.items():
            if paths is None or path in paths:
                before = self.before(path)
                old = "/dev/null" if before is None else f"a/{path}"
                new = "/dev/null" if after is None else f"b/{path}"
                first, second = ((text or "").splitlines() for text in (before, after))
                yield from difflib.unified_diff(first, second, old, new, lineterm="")

    def apply(self) -> None:
        """Write all files, or none. Raises Failure where that is not possible."""
        before = {path: self.before(path) for path in self.contents}
        places = {
            path: self._place(path) if text is not None else self.root / path for path, text in self.contents.items()
        }
        made: list[Path] = []
        replaced: list[str] = []
        try:
            # What is most likely to fail comes first: no file has been replaced then.
            for path, text in self.contents.items():
                if text is not None:
                    place = _new(places[path])
                    made += _folders(place.parent)
                    made.append(place)
                    _make(place, made)
                    # The lines' ends are those of the text: git and Docker read it on every system.
                    place.write_bytes(text.encode())
                    if before[path] is not None:
                        shutil.copymode(places[path], place)
            self._refuse_changed()
            for path, text in self.contents.items():
                # An interruption may come right behind the change.
                replaced.append(path)
                if text is None:
                    places[path].unlink()
                else:
                    _new(places[path]).replace(places[path])
        except BaseException as error:
            for path in replaced:
                _restore(places[path], before[path])
            for place in reversed(made):
                with contextlib.suppress(OSError):
                    place.rmdir() if place.is_dir() else place.unlink()
            if not isinstance(error, OSError):
                raise
            raise Failure(
                f"{self.root} must be writable (got: {error.strerror}: {error.filename}). To fix it: change its "
                f"mode or its owner, or remove a file *{_SUFFIX} that no run of `prodlock` is writing; nothing was "
                "written."
            ) from None

    def _refuse_changed(self) -> None:
        """Raise Failure where a file has another content than the one that its change was made from."""
        if changed := [path for path in self.contents if self.before(path) != self._read[path]]:
            raise Failure(
                f"{changed[0]} must not change while `prodlock` runs (got another content). To fix it: run it again; "
                "nothing was written."
            )

    def _place(self, path: str) -> Path:
        """Return the file that is written: the target of a symbolic link. Raises Failure for one out of the folder."""
        place = self.root / path
        try:
            target = place.resolve()
            is_inside = target.is_relative_to(self.root.resolve()) and (not place.is_symlink() or target.is_file())
        except (OSError, RuntimeError):
            is_inside = False
        if not is_inside:
            raise Failure(
                f"{path} must be a file in {self.root} (got a symbolic link to another place). To fix it: replace the "
                "link with a file."
            )
        return target


def _new(file: Path) -> Path:
    """Return the name that a file has until all are written."""
    return file.with_name(file.name + _SUFFIX)


def _make(file: Path, made: list[Path]) -> None:
    """Make a new file, the last one in a list. One that exists is of another run: it is removed from the list."""
    try:
        file.touch(exist_ok=False)
    except FileExistsError:
        made.pop()
        raise


def _folders(folder: Path) -> list[Path]:
    """Make a folder with those above it, and return those that did not exist, the topmost first."""
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return missing[::-1]


def _restore(file: Path, text: str | None) -> None:
    """Give a file its former content, or remove it where it had none, as far as that is possible."""
    with contextlib.suppress(OSError):
        if text is None:
            file.unlink()
        else:
            file.write_bytes(text.encode())
