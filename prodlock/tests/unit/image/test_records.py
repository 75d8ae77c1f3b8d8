"""Records of an image: where its paths lead."""

from __future__ import annotations

from prodlock.image.records import resolved


def test_links_are_followed_as_a_system_does() -> None:
    """Relative and absolute ones, several in a row, and those that lead in a circle."""
    links = {"/a": "b/c", "/b/c": "/d", "/x": "y", "/y": "x"}
    assert resolved("/a/e", links) == "/d/e"
    assert resolved("/a/..", links) == "/"
    assert resolved("/../..", {}) == "/"
    assert resolved("/x/z", links).endswith("/z")
