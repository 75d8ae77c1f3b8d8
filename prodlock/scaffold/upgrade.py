"""Write what `[tool.prodlock]` and the installed version give, and merge the user's edits."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from prodlock import __version__, generated, generated_deploy, generated_workflow, vendored
from prodlock.failure import Failure
from prodlock.project import Project, plain_name
from prodlock.scaffold.changes import Changes
from prodlock.scaffold.data import data
from prodlock.scaffold.init import TASKS, compose_name, refuse_present
from prodlock.scaffold.merge import merge

# The part of the lines that a renamed file has in common with the one that was written.
_SIMILAR = 0.5


@dataclass(frozen=True)
class Upgrade:
    """The changes, the files in which conflicts are marked, and the version that wrote the present files."""

    changes: Changes
    conflicts: tuple[str, ...]
    former: str


def plan(project: Project, variables: frozenset[str], *, deploy: bool = False, workflow: bool = False) -> Upgrade:
    """Return the changes of an upgrade.

    Takes the variables that the service reads, and whether to write deploy/ and the workflow. Where Prodlock wrote
    them before, they are upgraded in any case. Raises Failure where the files are of a newer version, where conflicts
    of an upgrade are left, or where a file can't be read.
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
    if not project.is_own:
        _check_description(project)
    changes = Changes(project.root)
    former_texts = {} if project.is_own else _bases(changes.before(vendored.BASE))
    facts = generated.facts(project, _compose_name(project, changes), variables)
    files = generated.files(project.configuration, facts)
    files |= _on_request(project, facts, former_texts, deploy=deploy, workflow=workflow)
    edited = {path: changes.before(path) for path in files}
    bases = edited if project.is_own else {**former_texts, **_renamed(project.root, former_texts, edited)}
    conflicts = []
    for path, rendered in files.items():
        changes[path], count = _merged(path, edited[path], bases.get(path), rendered.text)
        conflicts += [path] if count else []
    if project.is_own:
        return Upgrade(changes, tuple(conflicts), former)
    texts = {path: rendered.text for path, rendered in files.items()}
    if texts != former_texts:
        changes[vendored.BASE] = vendored.packed(texts)
    expected = vendored.files(project.configuration)
    for place in vendored.of_project(project.root):
        if (path := place.relative_to(project.root).as_posix()) not in expected:
            changes[path] = None
    for path, text in expected.items():
        changes[path] = text
    return Upgrade(changes, tuple(conflicts), former)


def _check_description(project: Project) -> None:
    """Raise Failure where pyproject.toml does not describe the project any more, or where its lock is missing."""
    tool = generated.configuration_table(project.root).get("tool", {})
    if "prodlock" not in tool:
        raise Failure(
            "pyproject.toml must have [tool.prodlock] (got none, and the project has moved in). To fix it: restore the "
            "table (`git restore pyproject.toml`)."
        )
    lock = project.configuration.lock
    if not (project.root / lock).is_file():
        raise Failure(
            f"The lock must be a file of the project (got no {lock}). To fix it: restore it, or name another one with "
            "`lock` in [tool.prodlock]."
        )


def _renamed(root: Path, bases: Mapping[str, str], edited: Mapping[str, str | None]) -> dict[str, str]:
    """Return the bases of files that have a new name: the most similar one whose file is missing."""
    found = {}
    missing = {path: text for path, text in bases.items() if path not in edited and not (root / path).exists()}
    for path, text in edited.items():
        if path not in bases and text is not None and missing:
            lines = text.splitlines()
            scores = {
                former: difflib.SequenceMatcher(None, lines, base.splitlines()).ratio()
                for former, base in missing.items()
            }
            best = max(scores, key=lambda former: scores[former])
            if scores[best] > _SIMILAR:
                found[path] = missing.pop(best)
    return found


def _bases(text: str | None) -> Mapping[str, str]:
    """Return the generated files as they were written. Raises Failure where they can't be read."""
    try:
        return vendored.unpacked(text or "")
    except ValueError:
        raise Failure(
            f"{vendored.BASE} must have the files as Prodlock wrote them (got {'another text' if text else 'none'}). "
            f"To fix it: restore it (`git restore {vendored.BASE}`)."
        ) from None


def _on_request(
    project: Project, facts: generated.Facts, bases: Mapping[str, str], *, deploy: bool, workflow: bool
) -> dict[str, generated.Rendered]:
    """Return the rendered files of deploy/ and the workflow, of each where it is asked for, or Prodlock wrote it."""
    found: dict[str, generated.Rendered] = {}
    if _has(project, generated_deploy.FILES, bases, wanted=deploy):
        found |= generated_deploy.files(project.configuration, facts.name, facts.variables)
    if _has(project, [generated_workflow.FILE], bases, wanted=workflow):
        tasks = TASKS if (project.root / TASKS).exists() else "tasks.py"
        found |= generated_workflow.files(project.root, tasks, is_own=project.is_own)
    return found


def _has(project: Project, paths: Iterable[str], bases: Mapping[str, str], *, wanted: bool) -> bool:
    """Return whether files that are written on request are wanted, or Prodlock wrote one of them.

    A user may have removed them all. Raises Failure where another file has the name of one.
    """
    written = [path for path in paths if project.is_own or path in bases]
    if not wanted and not any((project.root / path).exists() for path in written):
        return False
    refuse_present(project.root, [path for path in paths if path not in written])
    return True


def _merged(path: str, edited: str | None, base: str | None, newer: str) -> tuple[str, int]:
    """Return the merge of a generated file, and the number of conflicts. Raises Failure where some are left in it."""
    if edited is None:
        return newer, 0
    if generated.CONFLICT.search(edited):
        raise Failure(
            f"{path} must have no marked conflicts (got some: an upgrade was not finished). To fix it: choose between "
            "the marked lines, then run `prodlock upgrade` again."
        )
    if base is None:
        raise Failure(
            f"{path} must not exist yet, for Prodlock to write it (got one that Prodlock did not write). To fix it: "
            "rename it, or name another file in [tool.prodlock]."
        )
    return merge(base, edited, newer, __version__)


def _compose_name(project: Project, changes: Changes) -> str:
    """Return the name in the Compose file, or a valid name where it has none."""
    text = changes.before(project.configuration.compose or "docker-compose.yml") or ""
    return plain_name(text) or compose_name(project.root)


def news(former: str) -> Iterator[str]:
    """Yield the sections of the changelog that are newer than a version (https://keepachangelog.com)."""
    text = data("CHANGELOG.md").read_text(encoding="utf-8")
    for section in re.split(r"^(?=## )", text, flags=re.MULTILINE):
        heading = re.match(r"## \[?(\d+(?:\.\d+)*)", section)
        if heading and _numbers(heading[1]) > _numbers(former):
            yield section.rstrip()


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version)[:3]))
