"""Development in the dev image: reports of tests."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from prodlock.tests.engine.conftest import inv, inv_command, left_behind

REPORTING = (
    'import os\nimport time\n\n\ndef test_it():\n    with open("/srv/reports/owner.txt", "w") as file:\n'
    '        print(os.getuid(), file=file)\n    print("it runs", flush=True)\n    {end}\n'
)


def reporting(copy: Path, end: str) -> tuple[str, ...]:
    """Add a test that writes a report and ends by a statement; return the arguments of `inv` that run it."""
    (copy / "tests/test_report.py").write_text(REPORTING.format(end=end), encoding="utf-8")
    return ("test", "--", "-s", "tests/test_report.py", "--junitxml=reports/junit.xml")


def test_reports_of_failed_tests_belong_to_this_user(copy: Path) -> None:
    """The container's user wrote them; the exit code is pytest's, and the container is removed."""
    done = inv(*reporting(copy, "assert False"), "--cov", "--cov-report=html:reports/htmlcov", cwd=copy)
    assert done.returncode == 1, done.stderr
    reports = copy / "reports"
    assert (reports / "owner.txt").read_text() == "10001\n"
    assert b'failures="1"' in (reports / "junit.xml").read_bytes()
    assert (reports / "htmlcov/index.html").is_file()
    assert {path.stat().st_uid for path in (reports, *reports.rglob("*"))} == {os.getuid()}
    last = done.stderr.splitlines()[-2:]
    assert last[0].endswith(":/srv/reports -")
    assert last[1].startswith("Copied to reports/: ")
    assert left_behind() == []


def test_coverage_needs_no_reports(copy: Path) -> None:
    """`--cov` prints its table; nothing is copied, printed or created."""
    done = inv("test", "--", "--cov=app", cwd=copy)
    assert done.returncode == 0, done.stdout
    assert "app/main.py" in done.stdout
    assert "reports" not in done.stderr.splitlines()[-1]
    assert not (copy / "reports").exists()
    assert left_behind() == []


def test_reports_that_cannot_be_written_are_a_failure(copy: Path) -> None:
    """The message is one line, and the container is removed."""
    arguments = reporting(copy, "pass")
    (copy / "reports").write_bytes(b"")
    done = inv(*arguments, cwd=copy)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("reports/ must be writable (got: ")
    assert "Traceback" not in done.stderr
    assert left_behind() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_tests_leave_no_reports(copy: Path, number: signal.Signals) -> None:
    """No traceback, no container."""
    command = inv_command(*reporting(copy, "time.sleep(60)"))
    with subprocess.Popen(command, cwd=copy, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert any("it runs" in line for line in process.stdout)
        process.send_signal(number)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert err.splitlines()[-1] == "Interrupted."
    assert not (copy / "reports").exists()
    assert left_behind() == []
