"""Paths of a container and places of this machine."""

from __future__ import annotations

import pytest

from prodlock.proof.judges import mounts
from prodlock.tests.unit.proof.test_compose import SERVICE, project


@pytest.mark.parametrize(
    ("folder", "place", "is_within"),
    [
        ("/w", "/w/app", True),
        ("/w", "/w/", True),
        ("/w", "/workshop", False),
        ("/", "/w", True),
        (r"C:\w", r"c:\w\app", True),
        (r"C:\w", "C:/w/app", True),
        (r"C:\w", r"C:\workshop", False),
        (r"C:\w", r"D:\w", False),
    ],
)
def test_paths_of_any_system_are_compared(folder: str, place: str, *, is_within: bool) -> None:
    """Windows has its own separators, and ignores case."""
    assert mounts.is_within(place, folder) is is_within


@pytest.mark.parametrize(
    ("device", "o", "places"),
    [
        ("/w/app", "bind", {"/w/app"}),
        ("w/app", "bind", {"/w/app"}),
        ("./w/app", "ro,bind", {"/./w/app"}),
        ("w/app", "rbind", {"/w/app"}),
        (r"C:\w", "bind", {r"C:\w"}),
        ("overlay", "lowerdir=/w/app,upperdir=/u", {"/w/app", "/u"}),
        (":/export", "addr=10.0.0.1,rw", set()),
        ("tmpfs", "size=1m", set()),
    ],
)
def test_a_volume_shows_the_places_that_its_driver_mounts(device: str, o: str, places: set[str]) -> None:
    """The Engine takes a relative path as one below its root folder."""
    document = {"volumes": {"x": {"driver_opts": {"type": "none", "o": o, "device": device}}}}
    assert mounts.places(document) == places


def test_all_mounted_places_of_the_machine_are_listed() -> None:
    """So that each can be looked at without symlinks."""
    volumes = [{"type": "bind", "source": "/a", "target": "/x"}, {"type": "volume", "source": "data", "target": "/y"}]
    document = project({"api-prod": SERVICE | {"volumes": volumes}}).document
    assert mounts.places(document) == {"/a", "/w", "/w/app", "/w/app/main.py", "/w/key", "/u"}
