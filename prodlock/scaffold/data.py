"""Find files of Prodlock's repository: the example service, and the changelog."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).parents[1]


def data(name: str) -> Path:
    """Return a file or folder: in the installed package it is in `data`, in the repository beside the package."""
    installed = _PACKAGE / "data"
    return (installed if installed.is_dir() else _PACKAGE.parent) / name
