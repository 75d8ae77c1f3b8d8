"""The commands `prodlock init` and `prodlock upgrade`: print what they find and write."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from prodlock import __version__, generated, generated_workflow, service, source, vendored
from prodlock.failure import FAILED, Failure
from prodlock.project import Project
from prodlock.scaffold import example, find
from prodlock.scaffold import init as moving
from prodlock.scaffold import upgrade as upgrading
from prodlock.scaffold.changes import Changes


class Options(NamedTuple):
    """Whether to write deploy/ and the workflow as well, and whether to print the changes only."""

    deploy: bool = False
    workflow: bool = False
    dry: bool = False


def init(root: Path, name: str | None, settings: Iterable[str], options: Options) -> int:
    """Move the project in a folder in, or start a new service there, and return 0.

    Raises Failure where that is not possible; then nothing is written.
    """
    given = moving.overrides(settings)
    if name is not None:
        changes = example.plan(root, name, given, deploy=options.deploy, workflow=options.workflow)
    else:
        moving.refuse_unsuitable(root)
        found = find.find(root, given)
        print("\n".join(found.report))
        keys, project = dict(found.keys) | given, moving.compose_name(root)
        changes = moving.plan(root, keys, project, deploy=options.deploy, workflow=options.workflow)
    _finish(changes, dry=options.dry)
    if not options.dry:
        tasks = moving.TASKS if moving.TASKS in changes.contents else "tasks.py"
        command = generated.inv(tasks)
        if name is None:
            print(
                f"Next: commit these files, then `{command} setup build`. It sets the size budget: commit that as "
                f"well, then `{command} build test check-prod serve`."
            )
        else:
            print(f"Next: commit these files, then `{command} setup build test check-prod serve`.")
    return 0


def upgrade(project: Project, options: Options) -> int:
    """Write what the configuration and the installed version give, and return 0, or 1 where conflicts are marked."""
    try:
        names = service.variables(project)
    except (OSError, SyntaxError, ValueError) as error:
        raise Failure(
            f"{project.configuration.settings} must have a class `Settings` and a string PREFIX (got: {error}). To fix "
            "it: correct it, or `settings` in [tool.prodlock]."
        ) from None
    found = upgrading.plan(project, names, deploy=options.deploy, workflow=options.workflow)
    if found.former != __version__:
        print("\n".join(upgrading.news(found.former)))
    if not found.changes.contents:
        print(f"All files are those of Prodlock {__version__} already.")
        return 0
    _finish(found.changes, dry=options.dry)
    if found.conflicts and not options.dry:
        print(
            f"{', '.join(found.conflicts)} must be decided by you: your edits and Prodlock's overlap between the lines "
            "that begin with <<<<<<< and >>>>>>>. To fix it: keep what you need of them, and remove these lines.",
            file=sys.stderr,
        )
        return FAILED
    return 0


def _finish(changes: Changes, *, dry: bool) -> None:
    """Print the changes of the files that are there to be read, and write all."""
    read = [path for path in changes.contents if not path.startswith(f"{vendored.FOLDER}/")]
    others = len(changes.contents) - len(read)
    if dry:
        print("\n".join(changes.diff(read)))
    width = max(29, *map(len, read)) if read else 29
    for path in read:
        before, after = changes.before(path), changes.contents[path]
        done = "removed" if after is None else "new" if before is None else "changed"
        print(f"  {path:<{width}} {done}")
    if others:
        count = "1 file" if others == 1 else f"{others} files"
        print(f"  {vendored.FOLDER + '/':<{width}} {count} that a build needs, not to be edited")
    if generated_workflow.UNKNOWN in (changes.contents.get(generated_workflow.FILE) or ""):
        print(
            f"{generated_workflow.FILE} must name the git repository that Prodlock is installed from (got none: the "
            "installed one comes from a folder). To fix it: replace REPOSITORY in its two lines with an address."
        )
    if dry:
        print("Nothing was written.")
    else:
        changes.apply()
        written = [path for path, text in changes.contents.items() if text is not None]
        if ignored := source.ignored(Project(changes.root), written):
            print(
                f"git must keep what is written (got {find.first(ignored)}, which git ignores). To fix it: add "
                "exceptions to .gitignore, such as `!/prodlock/**`.",
                file=sys.stderr,
            )
