"""Copy what tests have written to reports/ from their container to the host."""

from __future__ import annotations

import shutil
import tarfile
import tempfile
from collections.abc import Collection
from pathlib import Path, PurePosixPath
from typing import IO

from prodlock import generated, site
from prodlock.docker import engine
from prodlock.failure import Failure
from prodlock.project import Project

# The folder in the folder of the commands, on both sides, in which the container's user may write.
NAME = "reports"


def copy(project: Project, container: str) -> None:
    """Copy the files in reports/ that an exited container has written to the project, where they belong to this user.

    Files that the container does not have stay. Nothing is printed or created where it has written none.
    """
    home = generated.home(project.configuration)
    command = ("cp", f"{container}:{home}/{NAME}", "-")
    with tempfile.TemporaryFile() as archive:
        try:
            engine.write(project, archive, *command, echo=False)
        except Failure:
            # There is no container, and Docker has printed why, or it has no such folder.
            return
        if not _has_files(archive):
            return
        # The image may have files there as well. `docker diff` reads the whole image: it is not asked without need.
        changed = engine.output(project, "diff", container).splitlines()
        written = {line[2:].removeprefix(f"{home}/") for line in changed if line[2:].startswith(f"{home}/{NAME}/")}
        if not written:
            return
        engine.print_command(*command)
        count = extract(archive, project.root / project.configuration.directory, written)
    engine.notify(f"Copied to {NAME}/: {count} {'file' if count == 1 else 'files'}.")


def _has_files(archive: IO[bytes]) -> bool:
    """Return whether a tar has anything but folders, and go back to its start."""
    with tarfile.open(fileobj=archive) as tar:
        found = any(not member.isdir() for member in tar)
    archive.seek(0)
    return found


def extract(archive: IO[bytes], root: Path, written: Collection[str]) -> int:
    """Write those regular files of a tar that were written to reports/ in a folder, and return their number.

    The files' names, contents and kinds are the tests' choice. Links and devices are left out, and a file that would be
    outside of reports/ is refused. (Filters of `tarfile` are not in every Python 3.11.)
    """
    folder = (root / NAME).resolve()
    count = 0
    with tarfile.open(fileobj=archive) as tar:
        for member in tar:
            path = PurePosixPath(member.name)
            if not member.isfile() or member.name not in written:
                continue
            # The second condition: a link that is already on the host leads elsewhere, or a name has a drive.
            target = (root / path).resolve()
            if path.parts[:1] != (NAME,) or ".." in path.parts or folder not in target.parents:
                raise Failure(
                    f"A report must be a file in {NAME}/ (got {member.name!r}). To fix it: remove what leads out of "
                    f"{folder}, or write the report to another place in {NAME}/."
                )
            content = tar.extractfile(member)
            try:
                site.create(folder)
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("wb") as file:
                    # A regular file has a content.
                    shutil.copyfileobj(content, file)  # type: ignore[arg-type]
            except OSError as error:
                raise Failure(
                    f"{NAME}/ must be writable (got: {error.strerror or error}: {error.filename or target}). To fix "
                    f"it: remove {folder}, or make your user its owner."
                ) from None
            count += 1
    return count
