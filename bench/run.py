"""Run the bench: rounds, results and cleanup. Only the results and the Engine's build cache remain."""

from __future__ import annotations

import json
import platform
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from bench import chart, contenders, figures, saves, verdicts, work
from bench.contenders import ONE_MORE, PLAIN, PROJECT, SAME_PARSER, Contender, named
from prodlock import integers, site
from prodlock.docker import engine, stages
from prodlock.failure import FAILED, Failure

_NOTES = (
    "A ratio is the median of the rounds' own ratios: what slows the machine in one round slows all contenders.",
    "Every contender serves the same application (`app.main:create_app`) and runs the service's tests, all of which "
    "passed in every round. None of the folders is a git repository.",
    "Every contender logs each request: `prodlock` by its own server, `article` and `uv` by uvicorn's access log. "
    "These two parse with h11, because a tutorial's service depends on `uvicorn` alone; `prodlock` has httptools, one "
    "package more. For the row with httptools in all, the others depend on it as well.",
    "A cold build has no layer, no older image and empty cache mounts; the base image, and uv's for `uv`, are present. "
    "`article` also "
    "installs the plugin with which Poetry reads an index of plain HTML.",
    "`inv build` and `inv test` drive `prodlock` for a build with nothing to do and for a test verdict; "
    "`docker compose build` drives everything else.",
    "An image's size, taken in the first round, is that of its layers, base image included; compressed it is what "
    "`docker save | gzip` gives.",
    "A save is measured in the dev image with watchfiles and the working tree mounted: `inv dev`'s program for "
    "`prodlock`, `uvicorn --reload` for the others.",
    "A sample of a short work is the median of three: of a build with nothing to do, an edit to the new prod image, a "
    "save, and requests a second, each with a service that was started again.",
    "Save to verdict: `inv test --watch`, from the second save on, of a statement that affects all tests of the "
    "application, to the line with the verdict. `article` and `uv` build and run the same tests: edit to verdict.",
    "The floor is the least that the same work takes on this machine. Cold build: download, unpack and compile the "
    "locked wheels and the standard library, by uv and `compileall`, without any check (bench/floor/Dockerfile). "
    "Nothing to do: `inv --version`, then `docker compose build`. Edit to image: a build that only copies `app/` into "
    "prod. Edit to verdict: the tests alone, in a dev image that is already built. Save to answer: import and creation "
    "of the application in a fork that has all other modules. Save to verdict: the tests alone, in such a "
    "fork. Image: its files without bytecode. First answer and requests, where the floor is the most that can be "
    "reached: prod with an application that does nothing, under uvicorn with httptools and without a log.",
)
# The command of a floor: a container of prod that serves an application that does nothing.
_EMPTY = ("python", "-c", work.EMPTY)
_CORES = 2
# How many samples of a short work make one: two starts of a service on the same machine, for example, differ by a
# tenth in their requests a second.
_REPEATS = 3
_MOST_ROUNDS = 1000


def run(given: str, *, as_json: bool) -> int:
    """Measure in so many rounds, write the results to bench/ and print them. Return 1 where a target is missed.

    Raises Failure where a build or a test fails.
    """
    rounds = integers.parse(given, "The number of rounds", 1, _MOST_ROUNDS, "`inv bench --rounds N`")
    machine = _machine()
    samples: dict[str, dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory(prefix="prodlock-bench-") as folder, _swept():
        _instruments()
        Bench(Path(folder), samples).measure(rounds)
    results = figures.document(samples, machine, rounds, _NOTES)
    shown = figures.table(samples)
    (contenders.HERE / "RESULTS.md").write_text(figures.page(results, shown), encoding="utf-8")
    (contenders.HERE / "chart.svg").write_text(chart.draw(results), encoding="utf-8")
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
        self.contenders = [contenders.create(name, folder) for name in figures.CONTENDERS]
        self.own = next(one for one in self.contenders if one.inv)
        self.floor = contenders.create(figures.FLOOR, folder)

    def measure(self, rounds: int) -> None:
        """Take every sample, the contenders in turn; each round begins with another one."""
        contenders.lock(self.locks, self.variants)
        for number in range(rounds):
            turn = number % len(self.contenders)
            order = self.contenders[turn:] + self.contenders[:turn]
            print(f"round {number + 1} of {rounds}", file=sys.stderr, flush=True)
            self._use(PLAIN)
            self._builds(order)
            if number == 0:
                # The same in every round, but for a comment.
                self._each(order, "size", work.size)
                self._floor("size", work.size_floor(self.own))
                self._each(order, "size-compressed", work.compressed_size)
            self._serve(order)
            for size in (variant for variant in self.variants if variant.isdecimal()):
                self._use(size)
                self._each(order, f"cold-{size}", work.cold)
                self._floor(f"cold-{size}", work.cold(self.floor))
                self._each(order, f"edit-prod-{size}", work.edit_to_prod)
                self._each(order, f"edit-verdict-{size}", work.edit_to_verdict)
                if number == 0:
                    self._each(order, f"size-{size}", work.size)

    def _builds(self, order: list[Contender]) -> None:
        self._each(order, "cold", work.cold)
        self._floor("cold", work.cold(self.floor))
        for one in order:
            # Compose has built the images without the labels that `inv build` gives them.
            work.build_as_typed(one)
        self._medians("noop", order, work.build_as_typed, work.inv_build_floor)
        self._medians("edit-prod", order, work.edit_to_prod, work.edit_to_prod_floor)
        self._each(order, "edit-verdict", work.edit_to_verdict)
        self._floor("edit-verdict", work.edit_to_verdict_floor(self.own))
        self._verdicts(order)
        self._keep("save-answer", figures.PRODLOCK, saves.to_answer(self.own, saves.LOOP))
        reloaded = saves.to_answer(self.own, saves.RELOAD)
        for name in (figures.ARTICLE, figures.UV):
            self._keep("save-answer", name, reloaded)
        self._floor("save-answer", saves.to_answer_floor(self.own))
        self._use(ONE_MORE)
        self._each(order, "dependency", work.build)
        self._use(PLAIN)
        for one in order:
            work.build(one)

    def _verdicts(self, order: list[Contender]) -> None:
        for one in order:
            # Only this project watches: the others build and test after each edit, which was just measured.
            seconds = verdicts.to_verdict(one) if one.inv else self.samples["edit-verdict"][one.name][-1]
            self._keep("save-verdict", one.name, seconds)
        self._floor("save-verdict", verdicts.to_verdict_floor(self.own))

    def _serve(self, order: list[Contender]) -> None:
        self._each(order, "first-answer", work.first_answer)
        self._floor("first-answer", work.first_answer(self.own, *_EMPTY))
        loads = [(one.name, work.load(one)) for _ in range(_REPEATS) for one in order]
        for one in order:
            rates, latencies = zip(*(measured for name, measured in loads if name == one.name), strict=True)
            self._keep("requests", one.name, statistics.median(rates))
            self._keep("p99", one.name, statistics.median(latencies))
        self._floor("requests", work.load(self.own, *_EMPTY)[0])
        self._use(SAME_PARSER)
        for one in order:
            work.build(one)
        self._each(order, "requests-httptools", lambda one: work.load(one)[0])

    def _each(self, order: list[Contender], key: str, measured: Callable[[Contender], float]) -> None:
        for one in order:
            self._keep(key, one.name, measured(one))

    def _medians(
        self,
        key: str,
        order: list[Contender],
        measured: Callable[[Contender], float],
        floor: Callable[[Contender], float],
    ) -> None:
        """Keep the median of several samples of a work, taken in turn: it is so short that a single one varies."""
        works = {one.name: partial(measured, one) for one in order} | {figures.FLOOR: partial(floor, self.own)}
        taken = [{name: sample() for name, sample in works.items()} for _ in range(_REPEATS)]
        for name in works:
            self._keep(key, name, statistics.median(one[name] for one in taken))

    def _floor(self, key: str, value: float) -> None:
        self._keep(key, figures.FLOOR, value)

    def _keep(self, key: str, name: str, value: float) -> None:
        self.samples.setdefault(key, {}).setdefault(name, []).append(value)
        print(f"{key:18} {name:10} {figures.amount(value):>8}", file=sys.stderr, flush=True)

    def _use(self, variant: str) -> None:
        for one in (*self.contenders, self.floor):
            one.use(self.locks, variant)


def _machine() -> dict[str, str]:
    """Return the facts of the machine that the figures depend on. Raises Failure where it has too few cores."""
    cores, memory = engine.output(PROJECT, "info", "--format={{.NCPU}} {{.MemTotal}}").split()
    if int(cores) < _CORES:
        raise Failure(
            f"The Engine must have {_CORES} cores, one for the service and one for its clients (got {cores}). "
            "To fix it: give it more, or run `inv bench` on another machine."
        )
    return {
        "cores": cores,
        "memory": f"{int(memory) / 2**30:.0f} GiB",
        "Engine": engine.output(PROJECT, "version", "--format={{.Server.Version}}").strip(),
        "Compose": engine.output(PROJECT, "compose", "version", "--short").strip(),
        "kernel": f"{platform.system()} {platform.machine()}",
    }


def _instruments() -> None:
    """Build the load generator, this project's tool stage, dev with watchfiles, and the stand-in for uv's image."""
    print("building the instruments", file=sys.stderr, flush=True)
    settings = site.environment(PROJECT)
    inside = "--build-context=inside=prodlock/inside"
    build = ("build", f"--tag={named('instruments')}", inside, *site.secrets(settings), "bench")
    engine.output(PROJECT, *build, env=settings)
    tools = stages.build(PROJECT, "poetry")
    engine.output(PROJECT, "tag", tools, named("tools"))
    engine.output(PROJECT, "tag", stages.build(PROJECT, "reload"), named("reload"))
    recipe = f"FROM {tools} AS tools\nFROM scratch\nCOPY --from=tools /opt/tool/bin/uv /uv\n"
    engine.output(PROJECT, "build", f"--tag={named('uv-binary')}", "-", given=recipe.encode())


@contextmanager
def _swept() -> Iterator[None]:
    """Remove the bench's containers, networks and images at the end, undisturbed by another Ctrl-C."""
    # A killed bench may have left some.
    _sweep()
    try:
        yield
    finally:
        with engine.undisturbed():
            _sweep()


def _sweep() -> None:
    everything = named("")
    _remove("container", "ps", "--all", "--quiet", f"--filter=name=^{everything}")
    _remove("network", "network", "ls", "--quiet", f"--filter=name=^{everything}")
    _remove("image", "image", "ls", "--format={{.Repository}}:{{.Tag}}", f"--filter=reference={everything}*")
    for name in (*figures.CONTENDERS, figures.FLOOR):
        work.remove_images(named(name))


def _remove(kind: str, *listing: str) -> None:
    """Remove everything that a listing prints."""
    found = engine.output(PROJECT, *listing, shielded=True).split()
    if found:
        engine.output(PROJECT, kind, "rm", *(() if kind == "network" else ("--force",)), *found, shielded=True)
