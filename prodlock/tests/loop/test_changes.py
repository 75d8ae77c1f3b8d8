"""Which changes of a tree are noticed."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from prodlock.loop.changes import Tree, summary


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A tree with a file at its top and one in a folder."""
    (tmp_path / "top.py").write_text("1", encoding="utf-8")
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "main.py").write_text("1", encoding="utf-8")
    return tmp_path


def test_nothing_changed(root: Path) -> None:
    """The control of the tests below."""
    assert Tree(root).changed() == set()


def test_a_change_is_reported_once(root: Path) -> None:
    """Added, changed and removed files; the next call starts from the new state."""
    tree = Tree(root)
    (root / "app" / "main.py").write_text("22", encoding="utf-8")
    (root / "app" / "new.py").touch()
    (root / "top.py").unlink()
    assert tree.changed() == {"app/main.py", "app/new.py", "top.py"}
    assert tree.changed() == set()


def test_a_file_is_changed_by_its_time_alone(root: Path) -> None:
    """Of the same size, in the same inode."""
    tree = Tree(root)
    os.utime(root / "top.py", (1, 1))
    assert tree.changed() == {"top.py"}


def test_a_file_is_changed_by_its_replacement_alone(root: Path) -> None:
    """Editors write another file and rename it: size and time may be those of the former one."""
    tree = Tree(root)
    before = (root / "top.py").stat()
    other = root / "top.py.swap"
    other.write_text("2", encoding="utf-8")
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(root / "top.py")
    assert "top.py" in tree.changed()


@pytest.mark.parametrize("folder", [".git", ".venv", "__pycache__", "node_modules"])
def test_folders_without_sources_are_not_read(root: Path, folder: str) -> None:
    """Neither git's objects nor bytecode start an application again."""
    tree = Tree(root)
    (root / folder).mkdir()
    (root / folder / "x.py").touch()
    assert tree.changed() == set()


def test_only_files_with_the_suffixes_count(root: Path) -> None:
    """A database that the application writes does not start it again."""
    tree = Tree(root, (".py",))
    (root / "orders.db").touch()
    (root / "orders.py").touch()
    assert tree.changed() == {"orders.py"}


def test_a_broken_link_and_a_removed_folder_are_not_errors(root: Path) -> None:
    """A tree may change while it is read."""
    (root / "link.py").symlink_to("nowhere")
    tree = Tree(root)
    (root / "app" / "main.py").unlink()
    (root / "app").rmdir()
    assert tree.changed() == {"app/main.py"}


def test_wait_returns_what_has_changed(root: Path) -> None:
    """It returns at once where a file has changed before."""
    tree = Tree(root)
    (root / "top.py").unlink()
    assert tree.wait() == {"top.py"}


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"a.py"}, "a.py changed."),
        ({"a.py", "b.py"}, "a.py and 1 other file changed."),
        ({"c", "a", "b"}, "a and 2 other files changed."),
    ],
)
def test_the_summary_names_one_file(changed: set[str], sentence: str) -> None:
    """The first of them, and the number of the others."""
    assert summary(changed) == sentence


def test_a_slow_scan_on_a_busy_machine_does_not_delay_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pause follows the time on the processor: waiting for it keeps no core busy."""
    tree = Tree(tmp_path)
    scan = tree._scan

    def waiting() -> dict[str, tuple[int, int, int]]:
        time.sleep(0.2)
        return scan()

    monkeypatch.setattr(tree, "_scan", waiting)
    assert not tree.changed()
    assert tree.pause < 1


def test_a_large_tree_does_not_keep_a_core_busy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pause is many times as long as the work of the scan."""
    tree = Tree(tmp_path)

    def working() -> dict[str, tuple[int, int, int]]:
        end = time.thread_time() + 0.1
        while time.thread_time() < end:
            pass
        return {}

    monkeypatch.setattr(tree, "_scan", working)
    assert not tree.changed()
    assert tree.pause >= 1
