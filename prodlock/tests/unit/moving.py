"""A small project that moves in, with what Prodlock writes on request, and is upgraded."""

from __future__ import annotations

from pathlib import Path

from prodlock import cli
from prodlock.scaffold import init

KEYS = {"application": "main:app", "sources": ["main.py"]}


def moved_in(root: Path, *, deploy: bool = False, workflow: bool = False) -> Path:
    """Move a project in."""
    root.mkdir(exist_ok=True)
    (root / "main.py").write_text("app = None\n", encoding="utf-8")
    (root / "poetry.lock").write_text("", encoding="utf-8")
    init.plan(root, KEYS, "shop", deploy=deploy, workflow=workflow).apply()
    return root


def upgrade(root: Path, *options: str) -> int:
    """Run `prodlock upgrade`, and return its exit code."""
    return cli.main(["upgrade", f"--root={root}", *options])


def texts(root: Path) -> dict[str, bytes]:
    """Return the content of each file below a folder."""
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def edit(file: Path, old: str, new: str) -> None:
    """Replace a text that a file has."""
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")
