"""A stand-in for `docker` or `podman`, which has images and saves them."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from prodlock.tests.unit.image.examples import digest, saved

_PROGRAM = """#!{python} -IS
import json, pathlib, sys, time
folder = pathlib.Path({folder!r})
with (folder / "calls").open("a") as calls:
    calls.write(" ".join(sys.argv[1:]) + "\\n")
images = json.loads((folder / "images.json").read_text())
match sys.argv[1:]:
    case ["image", "ls", "--quiet", "--no-trunc"]:
        print(*(image["Id"] for image in images), sep="\\n")
    case ["image", "inspect", *references]:
        found = [one for one in images if {{one["Id"], *one["RepoTags"]}} & set(references)]
        print(json.dumps(found))
        if not found:
            sys.exit("Error: No such image: " + references[0])
    case ["save", identifier]:
        content = (folder / identifier.partition(":")[2]).read_bytes()
        for at in range(0, len(content), 50000):
            sys.stdout.buffer.write(content[at:at + 50000])
            sys.stdout.buffer.flush()
            time.sleep(0.001)
        if (folder / "broken").exists():
            sys.exit("Error response from daemon: unable to export")
    case other:
        sys.exit(f"unknown command: {{other}}")
"""


class StandIn:
    """A program on PATH that has images."""

    def __init__(self, folder: Path, program: str = "docker") -> None:
        self.folder, self._images = folder, list[dict[str, object]]()
        self.path = folder / "bin"
        self.path.mkdir(parents=True)
        script = self.path / program
        script.write_text(_PROGRAM.format(python=sys.executable, folder=str(folder)), encoding="utf-8")
        script.chmod(0o755)
        self._write()

    def add(self, layers: Sequence[bytes], *names: str, pulled: bool = False, stated: Sequence[bytes] = ()) -> str:
        """Add an image, and return its id; `stated` are the layers that are stated of it."""
        identifier = f"sha256:{len(self._images):064x}"
        with saved(*layers) as archive, (self.folder / identifier.partition(":")[2]).open("wb") as to:
            archive.seek(0)
            shutil.copyfileobj(archive, to)
        self._images.append(
            {
                "Id": identifier,
                "RepoTags": list(names),
                "RepoDigests": ["x@sha256:0"] if pulled else [],
                "RootFS": {"Layers": [digest(layer) for layer in stated or layers]},
            }
        )
        self._write()
        return identifier

    def _write(self) -> None:
        (self.folder / "images.json").write_text(json.dumps(self._images), encoding="utf-8")

    def break_down(self) -> None:
        """Fail at the end of each archive."""
        (self.folder / "broken").touch()

    @property
    def calls(self) -> list[str]:
        """The commands so far."""
        return (self.folder / "calls").read_text(encoding="utf-8").splitlines()
