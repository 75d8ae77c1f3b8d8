"""Write what `[tool.prodlock]` and the installed version give, and merge the user's edits."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from prodlock import __version__, generated, vendored
from prodlock.failure import Failure
from prodlock.project import Project
from prodlock.scaffold import base
from prodlock.scaffold.changes import Changes
from prodlock.scaffold.data import data
from prodlock.scaffold.init import compose_name
from prodlock.scaffold.merge import CONFLICT, merge


@dataclass(frozen=True)
class Upgrade:
    """The changes, the files in which conflicts are marked, and the version that wrote the present files."""

    changes: Changes
    conflicts: tuple[str, ...]
    former: str


def plan(project: Project, variables: frozenset[str]) -> Upgrade:
    """Return the changes of an upgrade. Takes the variables that the service reads.

    Raises Failure where the files are of a newer version, where conflicts of an upgrade are left, or where a file can't
    be read.
    """
    former = __version__ if project.is_own else vendored.version(project.root)
    if not former:
        raise Failure(
            f"{vendored.VERSION} must state the version that wrote the files (got none). To fix it: restore it, or run "
            "`prodlock init` where the project has not moved in yet."
        )
    if _numbers(former) > _numbers(__version__):
        raise Failure(
            f"The installed Prodlock must be at least {former}, which wrote {vendored.FOLDER}/ (got {__version__}). To "
            "fix it: install that version or a newer one."
        )
    changes = Changes(project.root)
    name = _compose_name(project, changes)
    conflicts = []
    rendered = generated.files(project.configuration, generated.facts(project, name, variables))
    written = {} if project.is_own else base.load(changes)
    for path, newer in rendered.items():
        edited = changes.before(path)
        if edited is None:
            changes[path] = newer.text
        else:
            changes[path], count = _merged(path, edited, edited if project.is_own else written.get(path), newer.text)
            conflicts += [path] if count else []
    if not project.is_own:
        changes[vendored.BASE] = base.dump(rendered)
        expected = vendored.files(project.configuration)
        for place in vendored.of_project(project.root):
            if (path := place.relative_to(project.root).as_posix()) not in expected:
                changes[path] = None
        for path, text in expected.items():
            changes[path] = text
    return Upgrade(changes, tuple(conflicts), former)


def _merged(path: str, edited: str, former: str | None, newer: str) -> tuple[str, int]:
    """Return the merge of a generated file, and the number of conflicts. Raises Failure where it can't be merged."""
    if CONFLICT.search(edited):
        raise Failure(
            f"{path} must have no marked conflicts (got some: an upgrade was not finished). To fix it: choose between "
            "the marked lines, then run `prodlock upgrade` again."
        )
    if former is None:
        raise Failure(
            f"{path} must not exist before Prodlock writes it (got one that it has not written). To fix it: rename it, "
            "or configure another name."
        )
    return merge(former, edited, newer, __version__)


def _compose_name(project: Project, changes: Changes) -> str:
    """Return the name in the Compose file, or a valid name where it has none."""
    text = changes.before(project.configuration.compose or "docker-compose.yml") or ""
    found = re.search(r"^name: *([a-z0-9][a-z0-9_-]*) *$", text, re.MULTILINE)
    return found[1] if found else compose_name(project.root)


def news(former: str) -> Iterator[str]:
    """Yield the sections of the changelog that are newer than a version (https://keepachangelog.com)."""
    text = data("CHANGELOG.md").read_text(encoding="utf-8")
    for section in re.split(r"^(?=## )", text, flags=re.MULTILINE):
        heading = re.match(r"## \[?(\d+(?:\.\d+)*)", section)
        if heading and _numbers(heading[1]) > _numbers(former):
            yield section.rstrip()


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version)[:3]))
