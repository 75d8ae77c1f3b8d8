"""The project that the programs of the loop work on."""

from __future__ import annotations

from pathlib import Path

import pytest

from prodlock.loop import tree
from prodlock.loop.changes import Tree


def test_the_root_is_the_current_folder_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for a project whose commands run in its root."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PRODLOCK_ROOT", raising=False)
    monkeypatch.delenv("PRODLOCK_LOCK", raising=False)
    assert (tree.root(), tree.lock()) == (tmp_path, "poetry.lock")


def test_the_root_and_the_lock_can_be_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands of a project may run in a folder below the root."""
    (tmp_path / "backend").mkdir()
    monkeypatch.chdir(tmp_path / "backend")
    monkeypatch.setenv("PRODLOCK_ROOT", str(tmp_path))
    monkeypatch.setenv("PRODLOCK_LOCK", "backend/uv.lock")
    assert (tree.root(), tree.lock()) == (tmp_path, "backend/uv.lock")


def test_a_root_that_is_not_a_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing would ever change there."""
    monkeypatch.setenv("PRODLOCK_ROOT", str(tmp_path / "absent"))
    with pytest.raises(SystemExit, match=r"^PRODLOCK_ROOT must be a folder \(got .*absent\)\. To fix it: "):
        tree.root()


@pytest.mark.parametrize("is_package", [False, True])
def test_vendored_files_are_not_watched(tmp_path: Path, is_package: bool) -> None:  # noqa: FBT001
    """The folder `prodlock` at the root is watched where it is the package itself; others of this name always are."""
    for folder in ("prodlock/server", "src/prodlock"):
        (tmp_path / folder).mkdir(parents=True)
    if is_package:
        (tmp_path / "prodlock/__init__.py").touch()
    watched = Tree(tmp_path, skipped=tree.vendored(tmp_path))
    for name in ("prodlock/server/a.py", "src/prodlock/b.py", "c.py"):
        (tmp_path / name).touch()
    assert watched.changed() == {"src/prodlock/b.py", "c.py"} | ({"prodlock/server/a.py"} if is_package else set())
