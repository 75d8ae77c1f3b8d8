"""Read what a path of an image states: its folder, its module, the distribution whose metadata it is."""

from __future__ import annotations

import re

from prodlock.proof.records import normalized

_METADATA_FOLDER = re.compile(r"/([^/!]+?)-((?:\d+!)?[^/!-]+)(?:-py[\d.][^/!]*)?\.(?:dist-info|egg-info|egg)(?:/|$)")
_ARCHIVE = re.compile(r"/([A-Za-z0-9][\w.]*?)-((?:\d+!)?\d[^/!-]*)(?:-[^/!]+)?\.(?:whl|tar\.gz|zip)(?:!|$)")


def is_below(path: str, folder: str) -> bool:
    """Return whether a path is below a folder."""
    return path.startswith(folder + "/")


def name(path: str) -> str:
    """Return the last part of a path."""
    return path.rpartition("/")[2]


def in_site_packages(path: str) -> list[str]:
    """Return the parts of a path below whichever site-packages, bytecode beside its module."""
    return path.partition("/site-packages/")[2].removeprefix("__pycache__/").split("/")


def distribution(path: str) -> tuple[str, str] | None:
    """Return the normalized name and the version of the distribution whose metadata or archive contains a path."""
    match = distribution_match(path)
    return (normalized(match[1]), match[2]) if match else None


def distribution_match(path: str) -> re.Match[str] | None:
    """Return where in a path a distribution's metadata or archive is named: its name and its version."""
    # Most paths need no regular expression.
    if "-info" in path or ".egg" in path:
        return _METADATA_FOLDER.search(path)
    if ".whl" in path or ".tar.gz" in path or ".zip" in path:
        return _ARCHIVE.search(path)
    return None
