"""Compare `prodlock verify` with its peers: the faults that each finds, false alarms, seconds and memory.

python -m bench.verify FOLDER [--rounds N] [NAME ...]

Builds the images of the examples NAME (by default: pip, poetry, uv) in prodlock/tests/verify, without and with faults,
keeps what it needs in FOLDER, and prints tables in Markdown.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median

from bench import peers
from bench.peers import LOCKSTEP, PRODLOCK, SYFT, Peers, Run
from prodlock.failure import Failure
from prodlock.tests.verify import images, plants
from prodlock.tests.verify.images import EXAMPLES, Built, docker
from prodlock.tests.verify.plants import BATCHES, PLANTS

TOOLS = (PRODLOCK, SYFT, LOCKSTEP)
_DEFAULT = ("pip", "poetry", "uv")
_MEBIBYTE = 1 << 20
_MEGABYTE = 1_000_000
_NOTE = (
    f"Medians of interleaved rounds; wheels and bytecode are cached. CPU and memory of {LOCKSTEP} are those of its own "
    f"processes, not those in the container that it starts. {SYFT} lists packages and judges nothing: a fault counts "
    "as found where the list differs from that of the image without faults."
)
# By tool and example, the names of the faults that it finds.
Found = dict[tuple[str, str], set[str]]


class Bench:
    """The examples in a folder, and what the tools find in them."""

    def __init__(self, folder: Path, rounds: int) -> None:
        self.folder, self.rounds = folder, rounds
        self.tools = Peers(folder / "tools")
        self.found: Found = {}
        self.planted: dict[str, set[str]] = {}
        self.alarms: dict[tuple[str, str], int] = {}
        self.samples: dict[tuple[str, str], list[Run]] = {}
        self.sizes: dict[str, tuple[int, int]] = {}

    def measure(self, name: str, context: Path) -> None:
        """Build an example, plant all faults, and run the tools on each image."""
        folder = self.folder / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        built = images.create(EXAMPLES[name], folder / "project")
        archive = images.archive(built.example.tag, folder / "image.tar")
        lock = self._readable_lock(built)
        report = json.loads(self.tools.prodlock(built, str(archive)).output)
        self.sizes[name] = report["read"]["bytes"], report["read"]["files"]
        others = [
            finding for finding in report["findings"] if not any(one.matches(finding) for one in built.example.findings)
        ]
        self.alarms[PRODLOCK, name] = len(others)
        clean_syft, clean_lockstep = self.tools.syft(archive), self.tools.lockstep(built, built.example.tag, lock)
        self.alarms[LOCKSTEP, name] = peers.alarms(clean_lockstep, built)
        for batch in BATCHES:
            image = plants.plant(built, batch, context)
            self.planted.setdefault(name, set()).update(one.name for one in image.places)
            saved = images.archive(image.tag, folder / "planted.tar")
            diff_ids = json.loads(docker("inspect", "--format={{json .RootFS.Layers}}", image.tag))
            found, others_found = peers.found_by_prodlock(image, self.tools.prodlock(built, str(saved)))
            self._keep(PRODLOCK, name, found)
            self.alarms[PRODLOCK, name] += others_found
            self._keep(SYFT, name, peers.found_by_syft(image, clean_syft, self.tools.syft(saved), diff_ids))
            runs = self.tools.lockstep(built, image.tag, lock)
            self._keep(LOCKSTEP, name, peers.found_by_lockstep(image, clean_lockstep, runs))
            saved.unlink()
        self._time(built, archive, lock)

    def _keep(self, tool: str, name: str, found: set[str]) -> None:
        self.found.setdefault((tool, name), set()).update(found)

    def _readable_lock(self, built: Built) -> Path:
        """Return a lock that lockstep-evidence reads: the project's, or the same versions in another format."""
        if built.example.lock != "poetry.lock":
            return built.folder / built.example.lock
        file = built.folder.parent / "requirements.txt"
        main = {entry["name"]: entry["version"] for entry in _main(built)}
        file.write_text("".join(f"{name}=={version}\n" for name, version in main.items()), encoding="utf-8")
        return file

    def _time(self, built: Built, archive: Path, lock: Path) -> None:
        """Take the samples of all tools in turn; each round begins with another tool."""
        commands: dict[str, Callable[[], Sequence[Run]]] = {
            PRODLOCK: lambda: [self.tools.prodlock(built, str(archive))],
            SYFT: lambda: [self.tools.syft(archive)],
            LOCKSTEP: lambda: self.tools.lockstep(built, built.example.tag, lock),
        }
        for number in range(self.rounds):
            turn = number % len(TOOLS)
            for tool in TOOLS[turn:] + TOOLS[:turn]:
                runs = commands[tool]()
                total = Run(
                    "",
                    sum(run.seconds for run in runs),
                    sum(run.cpu for run in runs),
                    max(run.memory for run in runs),
                )
                self.samples.setdefault((tool, built.example.name), []).append(total)


def _main(built: Built) -> Iterator[Mapping[str, str]]:
    """Yield the entries of a poetry.lock that are for production."""
    for entry in images.packages(built.folder / built.example.lock):
        if "main" in entry["groups"]:
            yield entry


def faults(bench: Bench, names: Sequence[str]) -> Iterator[str]:
    """Yield a table of the faults: a tool finds one in all images, in none, or in those that are named."""
    yield row("fault", *TOOLS)
    yield row("---", *(":---:" for _ in TOOLS))
    for plant in PLANTS:
        planted = [name for name in names if plant.name in bench.planted[name]]
        cells = []
        for tool in TOOLS:
            found = [name for name in planted if plant.name in bench.found[tool, name]]
            cells.append("yes" if found == planted else ", ".join(found) or "no")
        if planted:
            yield row(plant.name, *cells)


def totals(bench: Bench, names: Sequence[str]) -> Iterator[str]:
    """Yield a table of what each tool finds and costs, for each image."""
    yield row("image", "tool", "found", "missed", "false alarms", "wall, s", "CPU, s", "peak, MiB", "wall to syft")
    yield row("---", "---", *("---:" for _ in range(7)))
    for name in names:
        size, files = bench.sizes[name]
        title = f"{name}, {size / _MEGABYTE:,.0f} MB, {files:,} files"
        of_syft = median(run.seconds for run in bench.samples[SYFT, name])
        for tool in TOOLS:
            found, planted, runs = bench.found[tool, name], bench.planted[name], bench.samples[tool, name]
            seconds = median(run.seconds for run in runs)
            yield row(
                title,
                tool,
                str(len(found)),
                str(len(planted - found)),
                str(bench.alarms.get((tool, name), "-")),
                f"{seconds:.2f}",
                f"{median(run.cpu for run in runs):.2f}",
                f"{median(run.memory for run in runs) / _MEBIBYTE:,.0f}",
                f"{seconds / of_syft:.2f}",
            )


def row(*cells: str) -> str:
    """Return a row of a table."""
    return f"| {' | '.join(cells)} |"


def main(arguments: Sequence[str]) -> int:
    """Measure, print the tables, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.verify", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, help="Keeps the peers, the projects and the archives.")
    parser.add_argument("--rounds", type=int, default=5, help="How often each tool is measured.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="The examples.")
    options = parser.parse_intermixed_args(arguments)
    names = options.names or _DEFAULT
    bench, folder = Bench(options.folder.absolute(), max(options.rounds, 1)), options.folder.absolute()
    try:
        bench.tools.install()
        shutil.rmtree(folder / "context", ignore_errors=True)
        context = plants.context(folder / "context")
        for name in names:
            print(name, file=sys.stderr, flush=True)
            bench.measure(name, context)
    except Failure as failure:
        print(failure, file=sys.stderr)
        return failure.code
    print("\n".join([*faults(bench, names), "", *totals(bench, names), "", _NOTE]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
