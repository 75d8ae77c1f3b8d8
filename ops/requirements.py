"""Say what poetry.lock holds as requirement lists: `python requirements.py poetry.lock FOLDER`, in a build step.

Writes FOLDER/GROUP.txt for each group: `name==version`, with its marker and the sha256 of each of its files, in pip's
format (https://pip.pypa.io/en/stable/reference/requirements-file-format/). The lock already has all that a list needs;
`poetry export` takes three seconds to say the same, before anything can be installed.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# What Poetry calls its default package index, and any other one.
INDEXES = {"pypi", "legacy"}


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


def main(lock: str, folder: str) -> None:
    """Write the lists."""
    try:
        found = lists(tomllib.loads(Path(lock).read_text(encoding="utf-8")))
    except ValueError as error:
        sys.exit(f"poetry.lock can't be installed: {error}")
    except KeyError:
        sys.exit("poetry.lock can't be installed: it names no groups; make it anew with `inv poetry -- lock`")
    for group, lines in found.items():
        Path(folder, f"{group}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
