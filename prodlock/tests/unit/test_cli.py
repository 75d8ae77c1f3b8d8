"""The command `prodlock`."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from prodlock import __version__, cli
from prodlock.failure import CANNOT_CHECK, INTERRUPTED, Failure
from prodlock.project import COMPOSE_FILES, Project
from prodlock.proof import check

INACCESSIBLE = (
    "{} must be accessible (got: {}). To fix it: restore it, change its mode or its owner, or free space on the disk.\n"
)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with a Compose file and pyproject.toml."""
    folder = tmp_path / "project"
    (folder / "app").mkdir(parents=True)
    (folder / "docker-compose.yml").touch()
    (folder / "pyproject.toml").touch()
    return folder


def test_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    """It exits with 0."""
    with pytest.raises(SystemExit) as end:
        cli.main(["--version"])
    assert (end.value.code, capsys.readouterr().out) == (0, f"prodlock {__version__}\n")


@pytest.mark.parametrize("command", ["check", "init", "upgrade", "verify"])
def test_help_documents_the_exit_codes(capsys: pytest.CaptureFixture[str], command: str) -> None:
    """Those of each command."""
    with pytest.raises(SystemExit) as end:
        cli.main([command, "--help"])
    assert end.value.code == 0
    meaning = "no finding" if command in {"check", "verify"} else "written"
    assert f"exit codes:\n  0    {meaning}" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["checks"], ["check", "--images=x"], ["verify", "x", "--sarif", "--json"]])
def test_an_invalid_command_line_exits_with_2(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    """Standard error has the usage and the reason."""
    with pytest.raises(SystemExit) as end:
        cli.main(arguments)
    assert end.value.code == CANNOT_CHECK
    assert "error: " in capsys.readouterr().err


def test_check_passes_its_options_to_the_proof(monkeypatch: pytest.MonkeyPatch, project: Path) -> None:
    """It returns the exit code of the proof."""
    calls = []

    def prod(project: Project, reference: str | None, *, bill: str | None, as_json: bool) -> int:
        calls.append((project.root, reference, bill, as_json))
        return 1

    monkeypatch.setattr(check, "prod", prod)
    assert cli.main(["check", f"--root={project}", "--image=x", "--sbom=y", "--json"]) == 1
    monkeypatch.chdir(project / "app")
    assert cli.main(["check"]) == 1
    assert calls == [(project, "x", "y", True), (project, None, None, False)]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (Failure("The reason.", CANNOT_CHECK), (CANNOT_CHECK, "The reason.\n")),
        (KeyboardInterrupt, (INTERRUPTED, "Interrupted.\n")),
        (PermissionError(13, "No permission", "/x/y"), (CANNOT_CHECK, INACCESSIBLE.format("/x/y", "No permission"))),
        (OSError(errno.ENOSPC, "Full"), (CANNOT_CHECK, INACCESSIBLE.format("The disk", "Full"))),
        (OSError(errno.ENOENT, "None"), (CANNOT_CHECK, INACCESSIBLE.format("The current folder", "None"))),
    ],
)
def test_an_expected_failure_is_a_message(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    project: Path,
    error: Exception,
    expected: tuple[int, str],
) -> None:
    """Standard error has one line, without a traceback."""

    def prod(*_: object, **__: object) -> int:
        raise error

    monkeypatch.setattr(check, "prod", prod)
    assert (cli.main(["check", f"--root={project}"]), capsys.readouterr().err) == expected


def test_an_error_of_another_kind_is_raised(monkeypatch: pytest.MonkeyPatch, project: Path) -> None:
    """Such as one of the network: it is a fault of the program."""

    def prod(*_: object, **__: object) -> int:
        raise ConnectionResetError(errno.ECONNRESET, "reset")

    monkeypatch.setattr(check, "prod", prod)
    with pytest.raises(ConnectionResetError):
        cli.main(["check", f"--root={project}"])


@pytest.mark.parametrize("name", COMPOSE_FILES)
def test_the_project_is_the_nearest_folder_with_its_files(
    monkeypatch: pytest.MonkeyPatch, project: Path, name: str
) -> None:
    """Under each name that Compose accepts; a pyproject.toml alone is not enough."""
    (project / "docker-compose.yml").rename(project / name)
    (project / "app" / "pyproject.toml").touch()
    monkeypatch.chdir(project / "app")
    assert cli.find_root(None) == project
    assert cli.find_root(project) == project


def test_a_folder_without_a_project_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], project: Path, tmp_path: Path
) -> None:
    """A folder that `--root` names must be the project's own."""
    monkeypatch.chdir(tmp_path)
    assert cli.main(["check"]) == CANNOT_CHECK
    assert capsys.readouterr().err.startswith(f"{tmp_path} or a folder above it must have pyproject.toml, with")
    # Root may enter every folder, but the system refuses a name of this length.
    for folder in (project / "app", project / ("x" * 300)):
        assert cli.main(["check", f"--root={folder}"]) == CANNOT_CHECK
        assert capsys.readouterr().err.startswith(f"{folder} must have pyproject.toml, with [tool.prodlock]")
