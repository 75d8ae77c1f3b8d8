"""Locks on files."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from prodlock.docker import exclusive

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such locks")


def test_a_second_one_does_not_get_the_lock(tmp_path: Path) -> None:
    """Until the first one has ended; a lock on another file is independent."""
    first, other = tmp_path / "first", tmp_path / "other"
    first.touch()
    other.touch()
    with exclusive.lock(first) as locked:
        assert locked is True
        with exclusive.lock(first) as again, exclusive.lock(other) as independent:
            assert again is False
            assert independent is True
    with exclusive.lock(first) as locked:
        assert locked is True


def test_a_missing_file_is_not_locked(tmp_path: Path) -> None:
    """What needs the file reports that it is missing."""
    with exclusive.lock(tmp_path / "absent") as locked:
        assert locked is None
