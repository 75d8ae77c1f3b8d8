"""Put it together: the rounds, what is kept of them, and what is left behind: results, and the Engine's build cache."""

from __future__ import annotations

import json
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import contenders, figures, work
from bench.contenders import ONE_MORE, PLAIN, PREFIX, PROJECT, TOOLS, UV_BINARY, Contender
from prodlock import integers, site
from prodlock.docker import engine, stages
from prodlock.failure import FAILED, Failure

_NOTES = (
    "Every contender serves the same routes and runs the same tests, all of which passed in every round. None of the "
    "copies has a git repository.",
    "Requests are logged by all. `article` and `uv` serve with h11, because tutorials depend on `uvicorn` alone; "
    "`prodlock` depends on httptools, so its prod has one package more. Their dev images have it for the tests.",
    "A cold build has no layer and empty cache mounts; the base image, and uv's for `uv`, are present. `article` also "
    "installs the plugin by which Poetry reads an index of plain HTML.",
    "`prodlock` is driven by `inv build` and `inv test` where it says build with nothing to do and test verdict, all "
    "else by `docker compose build`.",
    "An image's size, taken in the first round, is that of its layers, base image included; compressed it is what "
    "`docker save | gzip` gives.",
)
_CORES = 2
_MOST_ROUNDS = 1000


def run(given: str, *, as_json: bool) -> int:
    """Measure in so many rounds, print the results and write them to bench/. Return 1 where a target is missed.

    Raises Failure where something can't be built or a test fails.
    """
    rounds = integers.parse(given, "The number of rounds", 1, _MOST_ROUNDS, "`inv bench --rounds N`")
    machine = _machine()
    samples: dict[str, dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory(prefix=PREFIX) as folder, _swept():
        _instruments()
        Bench(Path(folder), samples).measure(rounds)
        results = figures.document(samples, machine, rounds, _NOTES)
        shown = figures.table(samples)
        (contenders.HERE / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        (contenders.HERE / "RESULTS.md").write_text(figures.report(results, shown), encoding="utf-8")
        (contenders.HERE / "chart.svg").write_text(_chart(), encoding="utf-8")
    print(json.dumps(results, indent=1) if as_json else shown, end="\n" if as_json else "")
    return 0 if all(judged.met for judged in figures.verdicts(samples)) else FAILED


class Bench:
    """The contenders in a temporary folder, and the samples taken from them so far."""

    def __init__(self, folder: Path, samples: dict[str, dict[str, list[float]]]) -> None:
        self.samples = samples
        self.locks = folder / "locks"
        lock = (PROJECT.root / "poetry.lock").read_text(encoding="utf-8")
        names = (contenders.HERE / "packages.txt").read_text(encoding="utf-8").split()
        self.variants = contenders.variants(names, contenders.main_packages(lock))
        self.contenders = contenders.copies(folder)

    def measure(self, rounds: int) -> None:
        """Take every sample, the contenders in turn, each round beginning with another."""
        contenders.lock(self.locks, self.variants)
        for number in range(rounds):
            turn = number % len(self.contenders)
            order = self.contenders[turn:] + self.contenders[:turn]
            print(f"round {number + 1} of {rounds}", file=sys.stderr, flush=True)
            self._take(order, PLAIN)
            self._builds(order)
            if number == 0:
                # The same in every round, but for a comment.
                self._each(order, "size", work.size)
                self._each(order, "size-compressed", work.compressed_size)
            self._serve(order)
            for size in (variant for variant in self.variants if variant.isdecimal()):
                self._take(order, size)
                self._each(order, f"cold-{size}", work.cold)
                self._each(order, f"edit-prod-{size}", work.edit_to_prod)
                self._each(order, f"edit-verdict-{size}", work.edit_to_verdict)
                if number == 0:
                    self._each(order, f"size-{size}", work.size)

    def _builds(self, order: list[Contender]) -> None:
        self._each(order, "cold", work.cold)
        self._each(order, "noop", lambda one: work.inv_build(one) if one.inv else work.build(one))
        self._each([one for one in order if one.inv], "noop-compose", work.build)
        self._each(order, "edit-prod", work.edit_to_prod)
        self._each(order, "edit-verdict", work.edit_to_verdict)
        self._take(order, ONE_MORE)
        self._each(order, "dependency", work.build)
        self._take(order, PLAIN)
        for one in order:
            work.build(one)

    def _serve(self, order: list[Contender]) -> None:
        self._each(order, "first-answer", work.first_answer)
        for one in order:
            rate, latency = work.load(one)
            self._keep("requests", one, rate)
            self._keep("p99", one, latency)

    def _each(self, order: list[Contender], key: str, measured: Callable[[Contender], float]) -> None:
        for one in order:
            self._keep(key, one, measured(one))

    def _keep(self, key: str, contender: Contender, value: float) -> None:
        self.samples.setdefault(key, {}).setdefault(contender.name, []).append(value)
        print(f"{key:18} {contender.name:10} {figures.amount(value):>8}", file=sys.stderr, flush=True)

    def _take(self, order: list[Contender], variant: str) -> None:
        for one in order:
            one.take(self.locks, variant)


def _machine() -> dict[str, str]:
    """Return what the figures depend on. Raises Failure where the Engine has no core for the clients."""
    cores, memory = engine.output(PROJECT, "info", "--format={{.NCPU}} {{.MemTotal}}").split()
    if int(cores) < _CORES:
        raise Failure(f"The bench needs {_CORES} cores, one for the service and one for its clients.")
    return {
        "cores": cores,
        "memory": f"{int(memory) / 2**30:.0f} GiB",
        "Engine": engine.output(PROJECT, "version", "--format={{.Server.Version}}").strip(),
        "Compose": engine.output(PROJECT, "compose", "version", "--short").strip(),
        "kernel": f"{platform.system()} {platform.machine()}",
    }


def _instruments() -> None:
    """Build what measures: wrk and the chart's image, this project's tool stage, and the stand-in for uv's image."""
    print("building the instruments", file=sys.stderr, flush=True)
    settings = site.environment(PROJECT)
    secrets = site.secrets(settings)
    engine.output(
        PROJECT,
        "build",
        f"--tag={work.INSTRUMENTS}",
        "--build-context=inside=prodlock/inside",
        *secrets,
        "bench",
        env=settings,
    )
    engine.output(PROJECT, "tag", stages.build(PROJECT, "poetry"), TOOLS)
    with tempfile.TemporaryDirectory() as nothing:
        recipe = Path(nothing, "Dockerfile")
        recipe.write_text(
            f"FROM {TOOLS} AS tools\nFROM scratch\nCOPY --from=tools /opt/tool/bin/uv /uv\n", encoding="utf-8"
        )
        engine.output(PROJECT, "build", f"--tag={UV_BINARY}", nothing)


def _chart() -> str:
    """Return the chart of bench/results.json as SVG."""
    results = f"--volume={contenders.HERE / 'results.json'}:/srv/results.json:ro"
    return engine.output(
        PROJECT,
        "run",
        "--rm",
        "--network=none",
        results,
        work.INSTRUMENTS,
        "python",
        "/srv/chart.py",
        "/srv/results.json",
    )


@contextmanager
def _swept() -> Iterator[None]:
    """Remove the bench's containers, networks and images at the end, undisturbed by another Ctrl-C."""
    # What a killed bench has left would be in the way.
    _sweep()
    try:
        yield
    finally:
        with engine.undisturbed():
            _sweep()


def _sweep() -> None:
    _remove("container", "ps", "--all", "--quiet", f"--filter=name=^{PREFIX}")
    _remove("network", "network", "ls", "--quiet", f"--filter=name=^{PREFIX}")
    _remove("image", "image", "ls", "--format={{.Repository}}:{{.Tag}}", f"--filter=reference={PREFIX}*")
    for name in figures.CONTENDERS:
        # What a newer build has taken the name from: Compose labels what it builds.
        label = f"--filter=label=com.docker.compose.project={PREFIX}{name}"
        engine.output(PROJECT, "image", "prune", "--force", label, shielded=True)


def _remove(kind: str, *listing: str) -> None:
    """Remove all that a listing lists, if it lists any."""
    found = engine.output(PROJECT, *listing, shielded=True).split()
    if found:
        engine.output(PROJECT, kind, "rm", *(() if kind == "network" else ("--force",)), *found, shielded=True)
