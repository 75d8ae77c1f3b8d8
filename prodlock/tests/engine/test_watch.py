"""`inv test --watch`: which tests a save runs, and the verdicts."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator

import pytest

from prodlock.tests.engine.conftest import copied, docker, until
from prodlock.tests.engine.watching import FIRST, Watching, running, watching


@pytest.fixture(scope="module")
def watch() -> Iterator[Watching]:
    """A watch of a copy in which all tests pass; each test leaves it so."""
    with copied() as copy:
        (copy / "tests/test_first.py").write_text(FIRST, encoding="utf-8")
        (copy / "tests/answer.txt").write_text("42", encoding="utf-8")
        with watching(copy, "--watch") as watch:
            assert "PASSED all tests: 3 passed" in watch.until(r"all tests:.*\n")
            yield watch


def test_a_save_runs_the_affected_tests_and_then_all(watch: Watching) -> None:
    """The test that does not use the edited function runs in the second run only."""
    main = (watch.folder / "app/main.py").read_text(encoding="utf-8")
    printed = watch.save("app/main.py", main.replace("(line.price)", "(line.price) + 1"))
    assert "app/main.py changed." in printed
    assert "FAILED affected tests: 1 failed (" in printed
    assert "FAILED all tests: 1 failed, 2 passed (" in printed
    assert len(re.findall(r"test_main.py:\d+: AssertionError", printed)) == 1, "only the first run prints the traceback"
    printed = watch.save("app/main.py", main)
    assert "PASSED affected tests: 1 passed (" in printed
    assert printed.splitlines()[-1].partition(" ")[2].startswith("PASSED all tests: 3 passed (")


def test_a_save_that_affects_no_test_runs_all(watch: Watching) -> None:
    """A comment."""
    printed = watch.save("tests/test_first.py", f"# A comment.\n{FIRST}")
    assert "No test is affected (" in printed
    assert "PASSED all tests: 3 passed (" in printed


def test_a_new_test_runs_and_a_removed_one_does_not(watch: Watching) -> None:
    """A removed file may be imported by any test: all run."""
    assert "PASSED affected tests: 1 passed (" in watch.save("tests/test_second.py", FIRST.replace("first", "second"))
    (watch.folder / "tests/test_second.py").unlink()
    printed = watch.until(r"all tests:.*\n")
    assert "tests/test_second.py changed." in printed
    assert "PASSED all tests: 3 passed (" in printed
    assert "affected" not in printed


@pytest.mark.parametrize("name", ["tests/test_first.py", "app/main.py", "tests/conftest.py"])
def test_a_syntax_error_is_shown_and_the_next_save_recovers(watch: Watching, name: str) -> None:
    """In a test, in the service, and in a conftest.py."""
    file = watch.folder / name
    before = file.read_text(encoding="utf-8") if file.exists() else ""
    selected = "all tests" if name.endswith("conftest.py") else "affected tests"
    printed = watch.save(name, f"{before}\ndef broken(:\n", verdicts=[selected])
    assert "SyntaxError: invalid syntax" in printed
    assert "FAILED" in printed.splitlines()[-1]
    printed = watch.save(name, before, verdicts=["all tests"])
    assert "PASSED all tests: 3 passed (" in printed


def test_data_and_configuration_may_affect_every_test(watch: Watching) -> None:
    """All tests run at once, with the new configuration."""
    printed = watch.save("tests/answer.txt", "43", verdicts=["all tests"])
    assert "tests/answer.txt changed." in printed
    assert "affected" not in printed
    pyproject = (watch.folder / "pyproject.toml").read_text(encoding="utf-8")
    broken = pyproject.replace("[tool.pytest.ini_options]", "[tool.pytest.ini_options")
    printed = watch.save("pyproject.toml", broken, verdicts=["all tests"])
    assert "FAILED all tests: pytest ended with exit code 4 (" in printed
    assert "PASSED all tests" in watch.save("pyproject.toml", pyproject, verdicts=["all tests"])


def test_a_changed_lock_is_reported_until_it_is_restored(watch: Watching) -> None:
    """The image has the packages of the lock that it was built from."""
    lock = (watch.folder / "poetry.lock").read_text(encoding="utf-8")
    notice = "poetry.lock has changed: press Ctrl-C and run `inv test --watch` again"
    for name, text in (("poetry.lock", f"{lock}\n"), ("tests/test_first.py", f"{FIRST}\n")):
        assert notice in watch.save(name, text, verdicts=["all tests"]).splitlines()[-1]
    assert notice not in watch.save("poetry.lock", lock, verdicts=["all tests"])


def test_a_save_interrupts_the_tests_and_starts_them_again(watch: Watching) -> None:
    """No verdict on the former state is printed."""
    slow = "import time\n\n\ndef test_first() -> None:\n    print('started', flush=True)\n    time.sleep({})\n"
    (watch.folder / "tests/test_first.py").write_text(slow.format(60), encoding="utf-8")
    watch.until("test_first.py changed")
    until(lambda: "sleep" in docker("exec", running().split()[0], "cat", "/srv/tests/test_first.py").stdout, 5)
    time.sleep(1)
    began = time.monotonic()
    printed = watch.save("tests/test_first.py", FIRST.replace("True", "not False"))
    assert time.monotonic() - began < 10
    assert "FAILED" not in printed
    assert printed.count("PASSED affected tests: 1 passed (") == 1
    assert "PASSED all tests: 3 passed (" in printed
    watch.save("tests/test_first.py", FIRST)


def test_a_run_that_dies_is_a_failure(watch: Watching) -> None:
    """The container stays."""
    printed = watch.save(
        "tests/test_first.py", "import os\n\n\ndef test_first() -> None:\n    os.abort()\n", verdicts=["affected tests"]
    )
    assert "FAILED affected tests: the run was ended by SIGABRT (" in printed
    assert "PASSED all tests: 3 passed (" in watch.save("tests/test_first.py", FIRST)


def test_a_watch_cannot_write_to_the_tree_and_has_no_network(watch: Watching) -> None:
    """It reads the tree as this user, and leaves neither a database nor bytecode there."""
    (container,) = running().split()
    user = docker("inspect", "--format={{.Config.User}}", container).stdout.strip()
    assert user == f"{os.getuid()}:{os.getgid()}"
    written = docker("exec", container, "touch", "/tmp/x", "/srv/app/x", check=False)
    assert "'/srv/app/x': Read-only file system" in written.stderr
    assert "/tmp/x" not in written.stderr
    assert docker("exec", container, "ls", "/sys/class/net").stdout.split() == ["lo"]
    assert not [*watch.folder.glob("app/**/*.pyc"), *watch.folder.glob("**/.testmon*")]
