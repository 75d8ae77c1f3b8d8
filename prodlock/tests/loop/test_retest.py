"""`inv test --watch`: what a save runs, its verdicts, and the process that forks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from prodlock.loop import retest
from prodlock.loop.retest import Outcome

REPOSITORY = Path(__file__).parents[3]
# Runs pytest twice in forks, preloads between them, and prints both outcomes and what was imported before each.
TWICE = """
import json, sys, threading
from pathlib import Path
from prodlock.loop.retest import Runner
import select
runner = Runner(Path.cwd(), sys.argv[1:])
found = []
for number in range(2):
    select.select([runner.start([])], [], [])
    outcome = runner.end()
    runner.preload(outcome.modules)
    found.append(outcome._asdict() | {"present": sorted(sys.modules), "threads": threading.active_count()})
print("RESULT", json.dumps(found))
"""


def outcome(code: int = 0, **counts: int) -> Outcome:
    """Return the outcome of a run with an exit code and numbers of results."""
    return Outcome(code, counts, [], [])


def run(tree: Path, files: Mapping[str, str], *arguments: str) -> tuple[list[dict[str, Any]], str]:
    """Run pytest twice in a tree of files; return both outcomes and all that was printed."""
    for name, text in files.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text, encoding="utf-8")
    # The packages that only these tests have are outside the tree.
    path = os.pathsep.join((str(REPOSITORY), str(tree.parent / "packages")))
    done = subprocess.run(
        [sys.executable, "-c", TWICE, "-p", "no:cacheprovider", *arguments],
        cwd=tree,
        env=os.environ | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    printed, _, result = done.stdout.rpartition("RESULT ")
    return json.loads(result), printed


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """An empty folder for a working tree."""
    (tmp_path / "tree").mkdir()
    return tmp_path / "tree"


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """A folder for packages outside the tree."""
    (tmp_path / "packages").mkdir()
    return tmp_path / "packages"


@pytest.mark.parametrize("path", ["app/main.py", "tests/data.json", "poetry.lock", "a/4913"])
def test_a_saved_file_is_relevant(path: str) -> None:
    """Tests may read any file."""
    assert retest.relevant([path]) == {path}


@pytest.mark.parametrize("path", ["app/.main.py.swp", "app/main.py~", "4913", "app/#main.py#", ".env"])
def test_what_editors_write_beside_a_file_is_not_relevant(path: str) -> None:
    """Swap files change at each key."""
    assert retest.relevant([path]) == set()


def test_changes_of_existing_modules_can_be_selected_by(tree: Path) -> None:
    """Functions of Python files are what pytest-testmon compares."""
    (tree / "a.py").touch()
    (tree / "test_a.py").touch()
    assert retest.selectable(tree, ["a.py", "test_a.py"])


@pytest.mark.parametrize("path", ["conftest.py", "tests/conftest.py", "pyproject.toml", "data.json", "removed.py"])
def test_other_changes_may_affect_every_test(tree: Path, path: str) -> None:
    """Fixtures, configuration, data, and a module that does not exist any more."""
    (tree / "a.py").touch()
    (tree / "tests").mkdir()
    if path != "removed.py":
        (tree / path).touch()
    assert not retest.selectable(tree, ["a.py", path])


@pytest.mark.parametrize(
    ("result", "affected", "line"),
    [
        (outcome(passed=3), True, "PASSED affected tests: 3 passed (0.30 s). All tests run now."),
        (outcome(), True, "No test is affected (0.30 s). All tests run now."),
        (outcome(5), True, "No test is affected (0.30 s). All tests run now."),
        (
            outcome(1, failed=1, passed=2),
            True,
            "FAILED affected tests: 1 failed, 2 passed (0.30 s). All tests run now.",
        ),
        (outcome(2, error=2), True, "FAILED affected tests: 2 errors (0.30 s)."),
        (outcome(4), True, "FAILED affected tests: pytest ended with exit code 4 (0.30 s)."),
        (outcome(passed=9, skipped=1), False, "PASSED all tests: 9 passed, 1 skipped (0.30 s)."),
        (outcome(1, error=1), False, "FAILED all tests: 1 error (0.30 s)."),
        (outcome(5), False, "FAILED all tests: no test was collected (0.30 s)."),
        (outcome(-11), False, "FAILED all tests: the run was ended by SIGSEGV (0.30 s)."),
    ],
)
def test_a_verdict_is_a_line(result: Outcome, line: str, *, affected: bool) -> None:
    """All tests follow, unless a module could not be imported."""
    assert retest.verdict(result, 0.3, affected=affected) == line


def test_a_notice_ends_the_last_verdict() -> None:
    """It is not repeated in the verdict on the affected tests, which another one follows."""
    assert retest.verdict(outcome(passed=1), 0.3, affected=False, notice="Stale.").endswith("(0.30 s). Stale.")
    assert "Stale" not in retest.verdict(outcome(passed=1), 0.3, affected=True, notice="Stale.")
    assert retest.verdict(outcome(2), 0.3, affected=True, notice="Stale.").endswith("(0.30 s). Stale.")


def test_a_run_returns_its_results(tree: Path) -> None:
    """Exit code, numbers, and the failed tests by their ids."""
    (found, _), _ = run(tree, {"test_a.py": "def test_a(): pass\ndef test_b(): assert 0\n"})
    assert (found["code"], found["failed"]) == (1, ["test_a.py::test_b"])
    assert found["counts"] == {"failed": 1, "error": 0, "passed": 1, "skipped": 0, "xfailed": 0, "xpassed": 0}


def test_a_run_that_dies_is_an_outcome(tree: Path) -> None:
    """The code is the signal."""
    (found, _), _ = run(tree, {"test_a.py": "import os, signal\ndef test_a(): os.kill(os.getpid(), signal.SIGSEGV)\n"})
    assert (found["code"], found["counts"]) == (-11, {})


@pytest.mark.parametrize(
    ("statement", "code", "reason"),
    [
        ("raise SystemExit('X must be set')", 1, "SystemExit: X must be set"),
        ("raise SystemExit(7)", 7, "SystemExit: 7"),
        ("raise SystemExit(0)", 1, "SystemExit: 0"),
    ],
)
def test_a_configuration_that_ends_the_run_is_a_failure_with_its_reason(
    tree: Path, statement: str, code: int, reason: str
) -> None:
    """No test has run: also where the exit code is 0."""
    (found, _), printed = run(tree, {"conftest.py": statement, "test_a.py": "def test_a(): pass\n"})
    assert (found["code"], sum(found["counts"].values())) == (code, 0)
    assert reason in printed


def test_packages_are_preloaded_and_modules_of_the_tree_are_not(tree: Path, packages: Path) -> None:
    """The second run finds the package imported, and imports the tree's modules again."""
    (packages / "outside.py").touch()
    files = {"inside.py": "", "test_a.py": "import inside, outside\ndef test_a(): pass\n", "conftest.py": ""}
    (first, second), _ = run(tree, files)
    assert "outside" in first["modules"]
    assert "outside" in first["present"]
    assert "outside" not in second["modules"]
    for found in (first, second):
        assert not {"inside", "test_a", "conftest"} & {*found["modules"], *found["present"]}


def test_modules_that_start_threads_are_not_preloaded(tree: Path, packages: Path) -> None:
    """Neither such a module nor one that imports it: a fork would not have the thread."""
    thread = "import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n"
    (packages / "starts.py").write_text(thread, encoding="utf-8")
    (packages / "imports.py").write_text("import starts", encoding="utf-8")
    (packages / "harmless.py").touch()
    (first, second), _ = run(tree, {"test_a.py": "import imports, harmless\ndef test_a(): pass\n"})
    assert {"imports", "starts", "harmless"} <= set(first["modules"])
    assert "harmless" in first["present"]
    assert not {"imports", "starts"} & {*first["present"], *second["present"]}
    assert (second["counts"]["passed"], second["threads"]) == (1, 1)


def test_preloaded_plugins_do_not_warn(tree: Path) -> None:
    """Where warnings are errors, such a warning would end the second run."""
    (first, second), printed = run(tree, {"test_a.py": "def test_a(): pass\n"}, "-W", "error")
    assert (first["code"], second["code"]) == (0, 0), printed


def test_processes_that_tests_leave_are_killed(tree: Path) -> None:
    """They would remain until the end of the watch; in a container of its own a run leaves none either."""
    code = (
        "import subprocess\ndef test_a():\n    process = subprocess.Popen(['sleep', '60'])\n"
        "    open('pid', 'w').write(str(process.pid))\n"
    )
    run(tree, {"test_a.py": code}, "-W", "ignore")
    process = Path("/proc", (tree / "pid").read_text(encoding="utf-8"), "status")
    assert not process.exists() or "\nState:\tZ" in process.read_text(encoding="utf-8")


def test_a_traceback_is_printed_once(tree: Path) -> None:
    """All tests follow the affected ones: their failures are shown by name."""
    (tree / "test_a.py").write_text("def test_a():\n    assert 'this' == 'that'\n", encoding="utf-8")
    script = (
        "from pathlib import Path; from prodlock.loop.retest import Runner; import select, sys\n"
        "runner = Runner(Path.cwd(), ['-p', 'no:cacheprovider'])\n"
        "select.select([runner.start([], sys.argv[1:])], [], [])\nrunner.end()\n"
    )
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    for reported, expected in (((), True), (("test_a.py::test_a",), False)):
        command = [sys.executable, "-c", script, *reported]
        printed = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=True).stdout
        assert "FAILED test_a.py::test_a" in printed
        assert ("E       AssertionError" in printed) is expected
        assert ("as above" in printed) is not expected
