"""Write what poetry.lock holds as requirement lists: `python requirements.py poetry.lock FOLDER`, in a build step.

Writes FOLDER/GROUP.txt for each group: `name==version`, with its marker and the sha256 of each of its files, in pip's
format (https://pip.pypa.io/en/stable/reference/requirements-file-format/). The lock already has all that a list needs;
`poetry export` takes three seconds to write the same, before anything can be installed.

A list begins with a comment for each of its distributions that has no wheel for this interpreter: ops/install.sh
installs no such list. A group that a build does not install may have them.
"""

from __future__ import annotations

import platform
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

try:
    from packaging.markers import Marker
    from packaging.tags import Tag, sys_tags
    from packaging.utils import InvalidWheelFilename, parse_wheel_filename
except ModuleNotFoundError:
    # The base image has pip's copy alone.
    from pip._vendor.packaging.markers import Marker  # type: ignore[no-redef]
    from pip._vendor.packaging.tags import Tag, sys_tags  # type: ignore[no-redef]
    from pip._vendor.packaging.utils import InvalidWheelFilename, parse_wheel_filename  # type: ignore[no-redef]

# What Poetry calls its default package index, and any other one.
INDEXES = {"pypi", "legacy"}
# What Docker calls the architectures that Python names after the processor.
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def lists(lock: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the requirements of each group of a parsed poetry.lock, behind the addresses of further indexes.

    Raises ValueError where a distribution comes from somewhere else than a package index, and KeyError where the lock
    is of a Poetry before 2.0, which did not note the groups.
    """
    groups: dict[str, list[str]] = {}
    indexes: dict[str, set[str]] = {}
    for package in lock["package"]:
        requirement = f"{package['name']}=={package['version']}"
        source = package.get("source", {"type": "pypi"})
        if source["type"] not in INDEXES:
            message = f"{requirement} comes from a {source['type']}; only what a package index serves can be."
            raise ValueError(message)
        if package.get("optional"):
            # Part of an extra of this project's own, which nothing asks for.
            continue
        hashes = "".join(f" --hash={file['hash']}" for file in package["files"])
        for group in package["groups"]:
            groups.setdefault(group, []).append(requirement + marker(package.get("markers", ""), group) + hashes)
            if source["type"] == "legacy":
                indexes.setdefault(group, set()).add(f"--extra-index-url {source['url']}")
    return {group: sorted(indexes.get(group, ())) + lines for group, lines in groups.items()}


def marker(markers: str | Mapping[str, str], group: str) -> str:
    """Return the marker of a requirement: the lock has one for all groups, or one for each that needs one."""
    text = markers if isinstance(markers, str) else markers.get(group, "")
    return f" ; {text}" if text else ""


def without_wheel(lock: Mapping[str, Any], tags: frozenset[Tag]) -> dict[str, list[str]]:
    """Return the distributions of each group that are to be installed here and have no wheel with one of the tags."""
    groups: dict[str, list[str]] = {}
    for package in lock["package"]:
        if package.get("optional") or any(installable(file["file"], tags) for file in package["files"]):
            continue
        for group in package["groups"]:
            condition = marker(package.get("markers", ""), group).removeprefix(" ; ")
            if not condition or Marker(condition).evaluate():
                groups.setdefault(group, []).append(f"{package['name']} {package['version']}")
    return groups


def installable(file: str, tags: frozenset[Tag]) -> bool:
    """Return whether a file of a package index is a wheel with one of the tags."""
    try:
        return bool(parse_wheel_filename(file)[3] & tags)
    except InvalidWheelFilename:
        return False


def refusal(distribution: str) -> str:
    """Return why a distribution without a wheel is not installed, and what to do."""
    architecture = ARCHITECTURES.get(platform.machine(), platform.machine())
    return (
        f"{distribution} has no wheel for Python {sys.version_info.major}.{sys.version_info.minor} on "
        f"{sys.platform}/{architecture}, and nothing is built from source. To fix it: lock a version that has one, or "
        "another distribution; or build a wheel, publish it on an index of your own, and lock that."
    )


def main(lock: str, folder: str) -> None:
    """Write the lists."""
    try:
        parsed = tomllib.loads(Path(lock).read_text(encoding="utf-8"))
        found = lists(parsed)
        refused = without_wheel(parsed, frozenset(sys_tags()))
    except ValueError as error:
        sys.exit(f"poetry.lock can't be installed: {error}")
    except KeyError:
        sys.exit("poetry.lock can't be installed: it names no groups; make it anew with `inv poetry -- lock`")
    for group, lines in found.items():
        lines[:0] = [f"# {refusal(distribution)}" for distribution in refused.get(group, ())]
        Path(folder, f"{group}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
