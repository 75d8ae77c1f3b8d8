"""The distributions that the server needs: the stated ranges, and a start without them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from prodlock.server import requirements
from prodlock.tests.program import Program

VALID = {"httptools": "0.7.1", "uvicorn": "0.40.0"}


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("uvicorn", "0.31"),
        ("uvicorn", "0.31.0"),
        ("uvicorn", "0.34.3"),
        ("uvicorn", "0.54.99"),
        ("uvicorn", "0.40.0.post1"),
        ("uvicorn", "0.40.0+local"),
        ("httptools", "0.6.3"),
        ("httptools", "0.10"),
        ("httptools", "1.0"),
    ],
)
def test_a_supported_version_is_accepted(name: str, version: str) -> None:
    """Numbers are compared as numbers."""
    assert requirements.missing(VALID | {name: version, "other": ""}) == []


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("uvicorn", "0.30.6"),
        ("uvicorn", "0.4.0"),
        ("uvicorn", "0.55"),
        ("uvicorn", "0.55.0rc1"),
        ("uvicorn", "1.0"),
        ("uvicorn", "1!0.40"),
        ("uvicorn", "0!0.40"),
        ("uvicorn", "latest"),
        ("httptools", "0.6.2"),
        ("httptools", "0"),
    ],
)
def test_an_unsupported_version_is_reported(name: str, version: str) -> None:
    """In a sentence with the range and the version."""
    expected = f"{name} must be {requirements.SUPPORTED[name]} (got {version})"
    assert requirements.missing(VALID | {name: version}) == [expected]


def test_every_missing_distribution_is_reported() -> None:
    """In the order of their names."""
    assert requirements.missing({"fastapi": "1"}) == [
        f"{name} must be {supported} (got none)" for name, supported in sorted(requirements.SUPPORTED.items())
    ]


def test_the_module_needs_only_the_standard_library() -> None:
    """The tool reads the ranges on machines without the server's dependencies."""
    script = "from prodlock.server.requirements import missing; print(len(missing({})))"
    done = subprocess.run([sys.executable, "-S", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "2\n"


@pytest.mark.parametrize(
    ("source", "got"),
    [("__version__ = '0.23.2'", "0.23.2"), ("__version__ = '0.99.0'", "0.99.0"), ("", "none")],
    ids=["older", "newer", "unknown"],
)
def test_the_server_refuses_an_unsupported_version_in_one_line(tmp_path: Path, source: str, got: str) -> None:
    """Before it imports the application. The exit code is 1."""
    (tmp_path / "uvicorn.py").write_text(source, encoding="utf-8")
    program = Program("-m", "prodlock.server", "absent:app", environment={"PYTHONPATH": str(tmp_path)})
    try:
        assert program.end() == 1
    finally:
        program.kill()
    (line,) = program.lines
    assert line.startswith(f"uvicorn must be {requirements.SUPPORTED['uvicorn']} (got {got}). To fix it: install ")


def test_the_server_reports_what_is_not_installed_in_one_line() -> None:
    """Without site-packages neither distribution is there."""
    command = [sys.executable, "-S", "-m", "prodlock.server", "absent:app"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == (
        "httptools must be >=0.6.3 (got none) and uvicorn must be >=0.31,<0.55 (got none). To fix it: install a "
        "supported version, or run the application with another server.\n"
    )


def test_an_error_within_a_distribution_is_not_a_missing_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dependency of uvicorn that is missing is reported with its own name."""
    (tmp_path / "httptools.py").write_text("import absent_module\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "httptools", raising=False)
    with pytest.raises(ModuleNotFoundError, match="absent_module"):
        requirements.check()
