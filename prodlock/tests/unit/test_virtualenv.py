"""The virtual environment of an editor: which Python makes it, what it is made from, and what it never touches."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from prodlock.failure import Failure
from prodlock.project import Project
from prodlock.setup import virtualenv

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the interpreter is a script")

# No interpreter of these tests has this version.
VERSION = "3.99"
# An interpreter that writes each of its command lines, with pip's variables, to a file beside it; a file FAILS there
# makes one of its programs fail.
INTERPRETER = f"""#!{sys.executable}
import json, os, shutil, sys
from pathlib import Path

log = Path({{log!r}})
arguments = sys.argv[1:]
variables = {{{{name: value for name, value in os.environ.items() if name in ("PIP_INDEX_URL", "PIP_CERT")}}}}
with log.open("a") as file:
    print(json.dumps([arguments, variables]), file=file)
fails = log.with_name("FAILS")
if fails.exists() and fails.read_text() in " ".join(arguments):
    print("it failed", file=sys.stderr)
    if fails.read_text() == "install":
        (Path(sys.argv[0]).parent / "half").touch()
    sys.exit(1)
if "-c" in arguments:
    print({{version!r}})
elif "venv" in arguments:
    target = Path(arguments[-1], "bin", "python")
    target.parent.mkdir(parents=True)
    shutil.copy(sys.argv[0], target)
elif arguments[1].endswith("__main__.py"):
    for group in ("main", "dev", "docs"):
        text = "".join(f"{{{{name}}}}==1 --hash=sha256:00\\n" for name in ("both", group))
        Path(arguments[-1], group + ".txt").write_text(text)
"""


def interpreter(file: Path, log: Path, version: str = f"{VERSION}.1") -> Path:
    """Write an interpreter of a version."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(INTERPRETER.format(log=str(log), version=version), encoding="utf-8")
    file.chmod(0o755)
    return file


class Host:
    """A project, and a machine with an interpreter on its PATH."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "project"
        self.root.mkdir()
        (self.root / "Dockerfile").write_text(f"ARG BASE=python:{VERSION}-slim\n", encoding="utf-8")
        (self.root / "poetry.lock").write_text("one", encoding="utf-8")
        self.log, self.fails = folder / "log", folder / "FAILS"
        self.python = interpreter(folder / "bin" / f"python{VERSION}", self.log)
        bundle = folder / "bundle.pem"
        bundle.write_bytes(b"")
        self.environment = {
            "PATH": str(self.python.parent),
            "PYENV_ROOT": str(folder / "pyenv"),
            "CA_BUNDLE": str(bundle),
            "INDEX_URL": "https://user:password@index.example/simple",
        }
        self.project = Project(self.root, self.environment)
        self.venv = self.root / ".venv"

    def calls(self) -> list[tuple[list[str], dict[str, str]]]:
        """Return the command lines so far that are more than a question for the version, with pip's variables."""
        lines = self.log.read_text(encoding="utf-8").splitlines() if self.log.exists() else []
        return [(arguments, variables) for arguments, variables in map(json.loads, lines) if "-c" not in arguments]


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """A machine with the image's Python."""
    return Host(tmp_path)


def test_the_environment_has_both_groups_of_the_lock(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    """From wheels with the lock's hashes; git ignores it."""
    virtualenv.make(host.project)
    created, selected, installed = (arguments for arguments, _ in host.calls())
    assert created == ["-I", "-m", "venv", str(host.venv)]
    assert selected[1:-1] == [str(virtualenv._SELECT), "poetry.lock"]
    assert installed[:4] == ["-I", "-m", "pip", "install"]
    assert {"--require-hashes", "--only-binary", ":all:", "--no-deps"} <= set(installed)
    lists = [Path(option.partition("=")[2]).name for option in installed if option.startswith("--requirement")]
    assert lists == ["main.txt", "dev.txt"]
    assert (host.venv / ".gitignore").read_text() == "*\n"
    assert [path.name for path in host.root.iterdir() if path.name.startswith(".venv")] == [".venv"]
    printed = capsys.readouterr().out
    assert printed == f".venv/bin/python is Python {VERSION}.1 with the 3 distributions of poetry.lock.\n"


def test_a_second_run_changes_nothing_until_the_lock_changes(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    """A changed lock, a removed interpreter and a killed attempt each make it start from an empty folder."""
    virtualenv.make(host.project)
    (host.venv / "own.txt").touch()
    virtualenv.make(host.project)
    assert len(host.calls()) == 3
    assert "already" in capsys.readouterr().out
    (host.root / "poetry.lock").write_text("two", encoding="utf-8")
    virtualenv.make(host.project)
    assert len(host.calls()) == 6
    (host.venv / "bin/python").unlink()
    virtualenv.make(host.project)
    assert len(host.calls()) == 9
    # As a killed attempt leaves it.
    (host.venv / virtualenv.MARKER).write_text("", encoding="utf-8")
    virtualenv.make(host.project)
    assert len(host.calls()) == 12
    assert not (host.venv / "own.txt").exists()


@pytest.mark.parametrize("kind", ["folder", "file", "link", "dangling link"])
def test_an_environment_of_another_origin_is_not_touched(host: Host, kind: str, tmp_path: Path) -> None:
    """Whatever its kind, and nothing is run."""
    other = tmp_path / "other"
    if kind == "folder":
        (host.venv / "bin").mkdir(parents=True)
    elif kind == "file":
        host.venv.touch()
    else:
        if kind == "link":
            other.mkdir()
            (other / virtualenv.MARKER).touch()
        host.venv.symlink_to(other)
    with pytest.raises(Failure, match=r"^\.venv must be absent or made by `inv venv` \(got another environment\)"):
        virtualenv.make(host.project)
    assert os.path.lexists(host.venv)
    assert host.calls() == []


@pytest.mark.parametrize("program", ["install", "__main__.py", "-m venv"])
def test_a_failed_attempt_leaves_nothing(host: Host, program: str) -> None:
    """The next one succeeds."""
    host.fails.write_text(program, encoding="utf-8")
    with pytest.raises(Failure, match=r"pip could not install|it failed"):
        virtualenv.make(host.project)
    assert [path.name for path in host.root.iterdir() if path.name.startswith(".venv")] == []
    host.fails.unlink()
    virtualenv.make(host.project)
    assert (host.venv / "bin/python").exists()


def test_a_failed_attempt_keeps_the_former_environment(host: Host) -> None:
    """Complete, under the same path, and recognized as one of the former lock."""
    virtualenv.make(host.project)
    before = (host.venv / virtualenv.MARKER).read_text()
    (host.root / "poetry.lock").write_text("two", encoding="utf-8")
    host.fails.write_text("install", encoding="utf-8")
    with pytest.raises(Failure, match="left in its former state"):
        virtualenv.make(host.project)
    assert (host.venv / virtualenv.MARKER).read_text() == before
    assert not (host.venv / "bin/half").exists()
    assert [path.name for path in host.root.iterdir() if path.name.startswith(".venv")] == [".venv"]


def test_an_interruption_leaves_nothing(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """The half-made environment is removed."""

    def interrupted(*_: object) -> None:
        assert (host.venv / virtualenv.MARKER).read_text() == ""
        raise KeyboardInterrupt

    monkeypatch.setattr(virtualenv, "_fill", interrupted)
    with pytest.raises(KeyboardInterrupt):
        virtualenv.make(host.project)
    assert not host.venv.exists()


def test_a_stale_lock_is_refused(host: Host) -> None:
    """With the remedy that a build prints."""
    script = host.python.read_text().replace("it failed", "pyproject.toml changed significantly since ...")
    host.python.write_text(script)
    host.fails.write_text("__main__.py", encoding="utf-8")
    with pytest.raises(Failure, match=r"poetry\.lock must match pyproject\.toml .* `inv poetry -- lock`"):
        virtualenv.make(host.project)


def test_a_distribution_without_a_wheel_is_refused(host: Host) -> None:
    """Before pip is run."""
    refusal = "# x 1 has no wheel for Python 3.99"
    host.python.write_text(host.python.read_text().replace('"".join(f', f'"{refusal}\\n" + "".join(f'))
    with pytest.raises(Failure, match=r"^x 1 has no wheel"):
        virtualenv.make(host.project)
    assert not any("pip" in arguments for arguments, _ in host.calls())
    assert not host.venv.exists()


def test_the_password_of_the_index_is_on_no_command_line(host: Host, tmp_path: Path) -> None:
    """Pip gets index and certificates by variables; an empty bundle is none."""
    virtualenv.make(host.project)
    assert "user:password" not in str([arguments for arguments, _ in host.calls()])
    assert host.calls()[-1][1] == {"PIP_INDEX_URL": host.environment["INDEX_URL"]}
    bundle = next(iter(Path("/etc/ssl/certs").glob("ca-certificates.crt")), None)
    if bundle:
        (tmp_path / "bundle.pem").write_bytes(bundle.read_bytes())
        (host.root / "poetry.lock").write_text("two", encoding="utf-8")
        virtualenv.make(host.project)
        assert host.calls()[-1][1]["PIP_CERT"] == str(tmp_path / "bundle.pem")


def test_the_python_of_a_version_manager_is_found(host: Host, tmp_path: Path) -> None:
    """Where the program on PATH fails or is of another version; the newest patch release."""
    interpreter(host.python, host.log, version="3.98.1")
    for patch in (9, 10):
        interpreter(tmp_path / f"pyenv/versions/{VERSION}.{patch}/bin/python", host.log, version=f"{VERSION}.{patch}")
    command, version = virtualenv.find(host.project, VERSION)
    assert (command, version) == ([str(tmp_path / f"pyenv/versions/{VERSION}.10/bin/python")], f"{VERSION}.10")
    host.python.write_text("#!/bin/sh\nexit 127\n")
    assert virtualenv.find(host.project, VERSION)[1] == f"{VERSION}.10"


def test_the_launcher_of_windows_is_asked(host: Host) -> None:
    """By the version."""
    host.python.rename(host.python.with_name("py"))
    assert virtualenv.find(host.project, VERSION)[0] == [str(host.python.with_name("py")), f"-{VERSION}"]


def test_the_running_interpreter_is_preferred(host: Host) -> None:
    """Where it has the version; where it is an environment's, the one that the environment was made by."""
    running = f"{sys.version_info.major}.{sys.version_info.minor}"
    ((command,), version) = virtualenv.find(host.project, running)
    assert version.startswith(f"{running}.")
    assert Path(command).is_relative_to(sys.base_prefix)


@pytest.mark.parametrize("reason", ["none", "without ensurepip"])
def test_a_missing_python_is_explained(host: Host, reason: str) -> None:
    """The message names what to install; nothing is created."""
    if reason == "none":
        host.python.unlink()
    else:
        host.fails.write_text("ensurepip", encoding="utf-8")
    message = rf"^The image's Python, {re.escape(VERSION)}, must be on this machine .*apt install python3\.99-venv"
    with pytest.raises(Failure, match=message) as failure:
        virtualenv.make(host.project)
    assert failure.value.code == 1
    assert not host.venv.exists()


@pytest.mark.parametrize(
    "image", ["python:3.13-slim-trixie", "registry.example:5000/mirror/python:3.13@sha256:00", "python:3.13.5"]
)
def test_the_version_is_read_from_the_name_of_the_base_image(host: Host, image: str) -> None:
    """Whatever registry, patch release and digest it has."""
    (host.root / "Dockerfile").write_text(f"ARG BASE={image}\n", encoding="utf-8")
    assert virtualenv.minor_version(host.project) == "3.13"


def test_the_interpreter_of_another_base_image_prints_its_version(host: Host, tmp_path: Path) -> None:
    """Its name may have another number."""
    (host.root / "Dockerfile").write_text("ARG BASE=registry.example/base:2.14\n", encoding="utf-8")
    docker = tmp_path / "bin/docker"
    docker.write_text('#!/bin/sh\nprintf "%s\\n" "$*" >&2\necho 3.98\n', encoding="utf-8")
    docker.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        # The program is found on the PATH of this process.
        patch.setenv("PATH", f"{docker.parent}:{os.environ['PATH']}")
        assert virtualenv.minor_version(host.project) == "3.98"


def test_a_missing_lock_is_a_failure(host: Host) -> None:
    """The message names the command that makes it."""
    (host.root / "poetry.lock").unlink()
    with pytest.raises(Failure, match=r"^poetry\.lock must be readable"):
        virtualenv.make(host.project)


def test_pyvenv_of_the_standard_library_is_used() -> None:
    """The positive control of the interpreter above: a real one answers the probe with its version."""
    done = subprocess.run([sys.executable, "-I", "-c", virtualenv._PROBE], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"{sys.version_info.major}.{sys.version_info.minor}.")
