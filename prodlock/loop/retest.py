"""Run the tests at every save: first those that the change affects, then all of them.

    python -m prodlock.loop.retest UTC_OFFSET [PYTEST_ARGUMENT ...]

Each run is a fork of this process, which has already imported pytest and the other packages that the tests import, but
no module of the tree. pytest-testmon records which tests execute which functions, and selects the affected ones.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import re
import select
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Generator, Iterable, Mapping, Sequence
from pathlib import Path
from types import FrameType, ModuleType
from typing import IO, Any, NamedTuple, NoReturn

import pytest

from prodlock.loop import tree
from prodlock.loop.changes import Tree, summary
from prodlock.loop.preload import Preloader, imported, of_tree
from prodlock.loop.terminal import Terminal

# For every run. pytest warns about plugins whose asserts it can no longer rewrite because they are already imported.
_OPTIONS = ("--quiet", "--no-header", "-W", "ignore:Module already imported:pytest.PytestAssertRewriteWarning")
# The affected ones of the tests that the user's arguments select; these run without being recorded, in half the time.
_AFFECTED = ("--testmon-forceselect", "--testmon-nocollect")
# All of them, recorded again.
_ALL = ("--testmon-noselect",)
# Results of tests, in the order of a verdict.
_KINDS = ("failed", "error", "passed", "skipped", "xfailed", "xpassed")
_GREEN, _RED, _PLAIN = "\033[1;32m", "\033[1;31m", "\033[0m"


class Outcome(NamedTuple):
    """What a run of pytest reports."""

    # pytest's exit code; negative: the signal that ended the process.
    code: int
    # The number of tests by their result.
    counts: Mapping[str, int]
    # The tests that failed, by their ids.
    failed: Sequence[str]
    # The modules that the run imported, without those of the tree.
    modules: Sequence[str]

    @property
    def passed(self) -> bool:
        """Whether tests have passed and none has failed."""
        return self.code == pytest.ExitCode.OK

    @property
    def none(self) -> bool:
        """Whether no test was selected, and nothing failed."""
        return self.code in {pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED} and not any(self.counts.values())

    @property
    def complete(self) -> bool:
        """Whether the selected tests ran; otherwise a module could not be imported, for example."""
        return self.code in {pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED}

    def __str__(self) -> str:
        """Return the number of tests by their result."""
        found = [(self.counts.get(kind, 0), kind) for kind in _KINDS]
        text = ", ".join(
            f"{count} {kind}{'s' if kind == 'error' and count > 1 else ''}" for count, kind in found if count
        )
        if text:
            return text
        if self.code < 0:
            return f"the run was ended by {signal.Signals(-self.code).name}"
        return "no test was collected" if self.none else f"pytest ended with exit code {self.code}"


def relevant(paths: Iterable[str]) -> set[str]:
    """Return the changed files that tests may read: not hidden files or what editors write beside a file."""
    return {path for path in paths if not re.search(r"(^|/)[.#][^/]*$|~$|^4913$", path)}


def selectable(root: Path, changed: Iterable[str]) -> bool:
    """Return whether pytest-testmon can select the tests that changed files affect.

    It compares functions of Python files. Data, configuration and fixtures of a conftest.py may affect every test.
    """
    return all(path.endswith(".py") and Path(path).name != "conftest.py" and (root / path).exists() for path in changed)


def verdict(outcome: Outcome, seconds: float, *, affected: bool, notice: str = "") -> str:
    """Return the line with the state of the affected tests, or of all tests."""
    tests = "affected tests" if affected else "all tests"
    if affected and outcome.none:
        text = f"No test is affected ({seconds:.2f} s)."
    else:
        text = f"{'PASSED' if outcome.passed else 'FAILED'} {tests}: {outcome} ({seconds:.2f} s)."
    if affected and outcome.complete:
        return f"{text} All tests run now."
    return f"{text} {notice}" if notice else text


class Plugin:
    """A plugin of pytest that counts results, and prints no traceback twice."""

    def __init__(self, reported: Iterable[str]) -> None:
        self.counts: dict[str, int] = {}
        self.failed: list[str] = []
        self._reported = set(reported)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(self) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Shorten the report of a test whose failure was printed by the run before."""
        report = yield
        if report.failed:
            self.failed.append(report.nodeid)
            if report.nodeid in self._reported:
                report.longrepr, report.sections = "as above", []
        return report

    def pytest_unconfigure(self, config: pytest.Config) -> None:
        """Count the results that the terminal shows."""
        reporter: Any = config.pluginmanager.get_plugin("terminalreporter")
        if reporter:
            self.counts = {kind: len(reporter.stats.get(kind, ())) for kind in _KINDS}


class Runner:
    """Runs pytest in forks of this process, and imports what they import."""

    def __init__(self, root: Path, arguments: Sequence[str]) -> None:
        self._root = root
        # Of two filters of warnings the last one counts.
        self._arguments = [*arguments, *_OPTIONS]
        if any(argument.startswith("--cov") for argument in arguments):
            # pytest-testmon measures by coverage.py as well; only one of them can.
            self._arguments += ["--no-cov", "-W", "ignore:Coverage disabled"]
        self._preloader = Preloader(root)
        self._pid = 0
        # Written by the run before it ends. A pipe could fill, or be kept open by a process that a test has started.
        self._results: IO[str] = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115
        self._terminal = Terminal()

    def start(self, options: Sequence[str], reported: Sequence[str] = ()) -> int:
        """Start pytest, and return a descriptor that becomes readable when it ends.

        `reported` are the tests whose tracebacks have been printed.
        """
        self._results.seek(0)
        self._results.truncate()
        sys.stdout.flush()
        self._pid = os.fork()
        if not self._pid:
            self._run([*self._arguments, *options], reported)
        return os.pidfd_open(self._pid)

    def end(self) -> Outcome:
        """Return the results of the started pytest; kill it where it has not ended, and what its tests have left."""
        pid, self._pid = self._pid, 0
        # The process itself first: its group does not exist in its first moment.
        for kill in (os.kill, os.killpg):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                kill(pid, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        self._terminal.restore()
        self._results.seek(0)
        results = json.loads(self._results.read() or "{}")
        return Outcome(code, results.get("counts", {}), results.get("failed", []), results.get("modules", []))

    def close(self) -> None:
        """Kill the started pytest, if any."""
        if self._pid:
            self.end()

    def preload(self, modules: Sequence[str]) -> None:
        """Import modules for the runs to come."""
        self._preloader.preload(modules)

    def _run(self, arguments: list[str], reported: Sequence[str]) -> NoReturn:
        """Run pytest as the command `pytest` does, write the results, and end this process."""
        # A session, and so a process group, of its own: it can still read from the terminal, but Ctrl-C does not reach
        # it.
        os.setsid()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        # `python -m` has added the current folder. Where the tests need that, pytest's configuration has it.
        if sys.path[0] in {"", str(Path.cwd())}:
            del sys.path[0]
        for name in of_tree(self._root, list(sys.modules)):
            del sys.modules[name]
        sys.modules["__main__"] = ModuleType("__main__")
        importlib.invalidate_caches()
        sys.argv = ["pytest", *arguments]
        inherited = set(sys.modules)
        plugin = Plugin(reported)
        code = 1
        try:
            code = int(pytest.main(arguments, plugins=[plugin]))
        except SystemExit as ended:
            # Of a conftest.py, for example. No test has run, whatever the code is.
            code = ended.code if isinstance(ended.code, int) and ended.code else code
            print(f"SystemExit: {ended.code}")
        except BaseException:  # noqa: BLE001 - the process ends
            traceback.print_exc(file=sys.stdout)
        finally:
            modules = imported(self._root, inherited)
            json.dump({"counts": plugin.counts, "failed": plugin.failed, "modules": modules}, self._results)
            for stream in (self._results, sys.stdout, sys.stderr):
                stream.flush()
            # Threads that the tests have left do not delay it.
            os._exit(code)


class Watch:
    """The state of the tests of a tree, kept up to date."""

    def __init__(self, root: Path, offset: int, arguments: Sequence[str]) -> None:
        self._root = root
        self._offset = offset
        self._runner = Runner(root, arguments)
        self._tree = Tree(root, skipped=tree.vendored(root))
        self._lock_name = tree.lock()
        self._lock = self._locked()
        # What has changed since the last complete run, and when that was noticed.
        self._pending: set[str] = set()
        self._noticed = 0.0

    def run(self) -> NoReturn:
        """Run all tests; then, at every save, the affected ones and all."""
        self._print("All tests run now, and again at every save. Ctrl-C ends this.")
        self._noticed = time.monotonic()
        self._all()
        while True:
            if not self._pending:
                self._notice(self._tree.wait())
                continue
            self._print(summary(self._pending))
            if not selectable(self._root, self._pending):
                self._all()
            elif affected := self._finish(_AFFECTED):
                self._report(affected, affected=True)
                if affected.complete:
                    self._all(affected.failed)

    def close(self) -> None:
        """End the tests that run."""
        self._runner.close()

    def _all(self, reported: Sequence[str] = ()) -> None:
        """Run all tests and print the verdict, unless a save interrupts them."""
        outcome = self._finish(_ALL, reported)
        if outcome:
            self._report(outcome, affected=False)
            self._runner.preload(outcome.modules)

    def _finish(self, options: Sequence[str], reported: Sequence[str] = ()) -> Outcome | None:
        """Run pytest and return its results, or None where a save interrupts it."""
        ended = self._runner.start(options, reported)
        try:
            while not select.select([ended], [], [], self._tree.pause)[0]:
                if self._notice(self._tree.changed()):
                    self._runner.end()
                    # The run may have printed a part of a line.
                    print()
                    return None
        finally:
            os.close(ended)
        self._pending.clear()
        return self._runner.end()

    def _notice(self, changed: Iterable[str]) -> bool:
        """Remember changes, and return whether there are any that count."""
        found = relevant(changed)
        if found:
            self._pending |= found
            self._noticed = time.monotonic()
        return bool(found)

    def _report(self, outcome: Outcome, *, affected: bool) -> None:
        notice = ""
        if self._locked() != self._lock:
            notice = (
                f"{self._lock_name} has changed: press Ctrl-C and run `inv test --watch` again, which installs its "
                "packages."
            )
        line = verdict(outcome, time.monotonic() - self._noticed, affected=affected, notice=notice)
        self._print(line, "" if affected and outcome.none else _GREEN if outcome.passed else _RED)

    def _print(self, line: str, color: str = "") -> None:
        """Print a line with the user's time of day."""
        clock = time.strftime("%H:%M:%S", time.gmtime(time.time() + self._offset))
        colored = f"{color}{line}{_PLAIN}" if color and sys.stdout.isatty() else line
        print(f"{clock} {colored}", flush=True)

    def _locked(self) -> bytes:
        try:
            return (self._root / self._lock_name).read_bytes()
        except OSError:
            return b""


def main() -> None:
    """Watch the project until a signal."""
    from testmon import pytest_testmon  # noqa: PLC0415 - a package of the image `loop` alone

    # Before the first run: pytest-testmon would read the metadata of every installed package at each one.
    packages = pytest_testmon.get_system_packages()
    pytest_testmon.get_system_packages = lambda ignore: packages  # noqa: ARG005
    watch = Watch(tree.root(), int(sys.argv[1]), sys.argv[2:])

    def end(_number: int, _frame: FrameType | None) -> NoReturn:
        # Not by an exception: Python ignores one that is raised in a callback, for example of the import system.
        watch.close()
        os._exit(0)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
    watch.run()


if __name__ == "__main__":
    main()
