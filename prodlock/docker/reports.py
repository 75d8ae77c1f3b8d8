"""Copy what tests have written to reports/ from their container to the host."""

from __future__ import annotations

import shutil
import tarfile
import tempfile
from pathlib import Path, PurePosixPath
from typing import IO

from prodlock import generated, site
from prodlock.docker import engine
from prodlock.failure import Failure
from prodlock.project import Project

# The folder in the folder of the commands, on both sides, in which the container's user may write.
NAME = "reports"


def copy(project: Project, container: str) -> None:
    """Copy the files in reports/ of an exited container to the project, where they belong to the user of this process.

    Files that the container does not have stay. Nothing is printed or created where it has none.
    """
    try:
        changed = engine.output(project, "diff", container).splitlines()
    except Failure:
        # There is no container: Docker has printed why.
        return
    folder = f"{generated.home(project.configuration)}/{NAME}"
    if not any(line[2:].startswith(f"{folder}/") for line in changed):
        return
    with tempfile.TemporaryFile() as archive:
        engine.write(project, archive, "cp", f"{container}:{folder}", "-")
        count = extract(archive, project.root / project.configuration.directory)
    engine.notify(f"Copied to {NAME}/: {count} {'file' if count == 1 else 'files'}.")


def extract(archive: IO[bytes], root: Path) -> int:
    """Write the regular files of a tar to reports/ in a folder, and return their number.

    The files' names, contents and kinds are the tests' choice. Links and devices are left out, and a file that would be
    outside of reports/ is refused. (Filters of `tarfile` are not in every Python 3.11.)
    """
    folder = (root / NAME).resolve()
    count = 0
    with tarfile.open(fileobj=archive) as tar:
        for member in tar:
            path = PurePosixPath(member.name)
            if not member.isfile():
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
                if not folder.exists():
                    folder.mkdir()
                    site.ignore(folder)
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
