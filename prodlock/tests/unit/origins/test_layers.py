"""The files of layers that are kept between runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from prodlock.image.records import File
from prodlock.origins import layers
from prodlock.origins.layers import KeptLayers

FILES = [
    File("/a", size=3, mode=0o755, sha256="ab" * 32, owner=(1, 2), mtime=1700000000, place=512),
    # A name that is not text.
    File("/\udcff", mode=0o777, target="a", extra="a link to \udcff"),
    File("/folder", mode=0o700, directory=True),
]


def test_files_are_kept_without_their_heads(tmp_path: Path) -> None:
    """By the sha256 of their layer."""
    kept = KeptLayers(tmp_path)
    assert kept.read("00") is None
    kept.write("00", [file._replace(head=b"x") for file in FILES])
    assert KeptLayers(tmp_path).read("00") == FILES
    assert kept.read("01") is None
    kept.write("01", [])
    assert kept.read("01") == []


def test_records_of_another_program_are_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They may differ from what this one reads."""
    KeptLayers(tmp_path).write("00", FILES)
    monkeypatch.setattr(layers, "_kind", lambda: "layers-other")
    assert KeptLayers(tmp_path).read("00") is None


def test_a_damaged_entry_is_not_used(tmp_path: Path) -> None:
    """The layer is read again."""
    kept = KeptLayers(tmp_path)
    kept.write("00", FILES)
    (entry,) = (path for path in tmp_path.rglob("*") if path.is_file())
    entry.write_bytes(entry.read_bytes().replace(b"/folder", b"/fodder"))
    assert kept.read("00") is None
