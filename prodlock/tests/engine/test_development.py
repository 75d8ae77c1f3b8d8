"""Development around the dev image: reports of tests, an editor's environment and container, `docker compose watch`."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from prodlock import site
from prodlock.docker.build_failure import instructions
from prodlock.docker.live import DEBUG_PORT
from prodlock.project import Project
from prodlock.tests.engine.conftest import (
    BASE,
    COPY,
    DEV,
    PORT,
    REPOSITORY,
    answers,
    docker,
    edit,
    inv,
    inv_command,
    left_behind,
    until,
)

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
    assert (reports / ".gitignore").read_text() == "*\n"
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


@pytest.fixture
def with_this_python(copy: Path) -> Path:
    """A copy whose base image has the Python that runs the tests."""
    edit(copy / "Dockerfile", BASE, f"python:{sys.version_info.major}.{sys.version_info.minor}-slim")
    return copy


def test_the_environment_of_an_editor_runs_the_tests(with_this_python: Path) -> None:
    """It has the main and dev groups of the lock, and a second run changes nothing."""
    done = inv("venv", cwd=with_this_python)
    assert done.returncode == 0, done.stderr
    python = with_this_python / ".venv/bin/python"
    tests = subprocess.run([python, "-m", "pytest"], cwd=with_this_python, capture_output=True, text=True, check=False)
    assert " passed in " in tests.stdout, tests.stdout + tests.stderr
    own = with_this_python / ".venv/own.txt"
    own.touch()
    again = inv("venv", cwd=with_this_python)
    assert (again.returncode, again.stderr) == (0, "")
    assert own.exists()


def test_the_environment_of_an_editor_has_hashed_wheels_only(with_this_python: Path) -> None:
    """A wheel with another hash than the lock's is refused, and nothing is left."""
    lock = with_this_python / "poetry.lock"
    lock.write_text(re.sub(r"sha256:[0-9a-f]{64}", f"sha256:{'0' * 64}", lock.read_text(encoding="utf-8")), "utf-8")
    done = inv("venv", cwd=with_this_python)
    assert done.returncode == 1
    assert "THESE PACKAGES DO NOT MATCH THE HASHES" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("pip could not install what the lock lists")
    assert not list(with_this_python.glob(".venv*"))


def test_an_environment_of_the_host_does_not_replace_the_images(copy: Path) -> None:
    """It reaches no image; where the tree is mounted, it is seen and not used."""
    fastapi = copy / ".venv/lib/python3.13/site-packages/fastapi/__init__.py"
    fastapi.parent.mkdir(parents=True)
    fastapi.write_text("raise ImportError\n", encoding="utf-8")
    (copy / ".venv/bin").mkdir()
    for name in ("python", "pytest"):
        (copy / ".venv/bin" / name).write_text("#!/bin/sh\nexit 3\n", encoding="utf-8")
        (copy / ".venv/bin" / name).chmod(0o755)
    assert inv("test", cwd=copy).returncode == 0
    assert inv("shell", "--", "test", "-e", ".venv", cwd=copy).returncode == 1
    mounted = ("run", "--rm", "--network=none", f"--volume={copy}:/srv", DEV)
    script = "import fastapi, pathlib, sys; print(sys.prefix, fastapi.__file__, pathlib.Path('.venv').exists())"
    prefix, file, seen = docker(*mounted, "python", "-c", script).stdout.split()
    assert (prefix, file.startswith("/opt/venv/"), seen) == ("/opt/venv", True, "True")
    assert " passed in " in docker(*mounted, "pytest").stdout


def test_compose_watch_copies_what_is_saved(copy: Path) -> None:
    """The image's user has a name, which Compose looks up; the service is started again."""
    settings = site.environment(Project(copy)) | {"PORT": str(PORT)}
    command = ["docker", "compose", "--profile=watch", "up", "--build", "--watch", "api-dev"]
    version = copy / "app/__init__.py"

    def is_served(expected: str) -> bool:
        try:
            return bool(httpx.get(f"http://127.0.0.1:{PORT}/", timeout=2).json()["version"] == expected)
        except (httpx.TransportError, ValueError):
            return False

    with subprocess.Popen(
        command, cwd=copy, env=os.environ | settings, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            until(lambda: answers("/health"), 90)
            before = httpx.get(f"http://127.0.0.1:{PORT}/").json()["version"]
            edit(version, before, "9.9.9")
            until(lambda: is_served("9.9.9"), 30)
            owner = docker("exec", f"{COPY}-api-dev-1", "stat", "--format=%u:%g", "app/__init__.py").stdout
            assert owner == "10001:10001\n"
        finally:
            process.send_signal(signal.SIGINT)
            printed, _ = process.communicate(timeout=60)
            docker("compose", "--profile=watch", "down", cwd=copy)
    assert "Syncing" in printed
    assert left_behind() == []


def test_the_dev_container_is_the_dev_image() -> None:
    """Its stage, its build secrets, its user and its folder are those of the Dockerfile and docker-compose.yml."""
    container = json.loads((REPOSITORY / ".devcontainer/devcontainer.json").read_text(encoding="utf-8"))
    build = container["build"]
    dockerfile = REPOSITORY / ".devcontainer" / build["dockerfile"]
    stages = [step.stage for step in instructions(dockerfile.read_text(encoding="utf-8"))]
    assert build["target"] in stages
    assert (REPOSITORY / ".devcontainer" / build["context"]).resolve() == REPOSITORY
    secrets = [re.sub(r".*id=(\w+),.*", r"\1", option) for option in build["options"]]
    compose = (REPOSITORY / "docker-compose.yml").read_text(encoding="utf-8")
    assert f"secrets: [{', '.join(secrets)}]" in compose
    script = "import os, pwd, sys; print(pwd.getpwuid(os.getuid()).pw_name, os.getcwd(), sys.executable)"
    user, folder, interpreter = docker("run", "--rm", "--network=none", DEV, "python", "-c", script).stdout.split()
    assert (container["remoteUser"], container["workspaceFolder"]) == (user, folder)
    assert container["workspaceMount"].endswith(f"target={folder}")
    assert container["customizations"]["vscode"]["settings"]["python.defaultInterpreterPath"] == interpreter


def test_the_launch_configuration_maps_the_folder_of_the_image() -> None:
    """Breakpoints in the working tree are those of /srv."""
    launch = json.loads((REPOSITORY / ".vscode/launch.json").read_text(encoding="utf-8"))
    (attach,) = launch["configurations"]
    folder = docker("image", "inspect", "--format={{.Config.WorkingDir}}", DEV).stdout.strip()
    assert attach["pathMappings"] == [{"localRoot": "${workspaceFolder}", "remoteRoot": folder}]
    assert attach["connect"] == {"host": "127.0.0.1", "port": DEBUG_PORT}
