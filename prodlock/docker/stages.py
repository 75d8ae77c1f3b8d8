"""The stages beside the two images: Poetry, the linters, and the lock's lists for the tests that run on the host."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

from prodlock import site
from prodlock.docker import compose, engine
from prodlock.failure import Failure
from prodlock.project import Project

HOST_VENV = ".venv-images"


def poetry(project: Project, arguments: list[str]) -> int:
    """Run Poetry on this project's pyproject.toml and poetry.lock, and return its exit code."""
    tools = build(project, "tools")
    given = site.environment(project)
    # In the working tree, because that is what the container sees; by name, because an address may hold a password.
    # Read before it is written: it may be that very file.
    site.export(project, Path(given["CA_BUNDLE"]).read_bytes())
    bundle = site.EXPORTED.as_posix()
    settings = ("--env=HOME=/tmp", "--env=POETRY_PYPI_MIRROR_URL", f"--env=CA_BUNDLE=/srv/{bundle}")
    command = ("run", "--rm", "--init", *_on_working_tree(project), *settings, tools, "online", "poetry", *arguments)
    return engine.run(project, *command, env={"POETRY_PYPI_MIRROR_URL": given["INDEX_URL"]})


def lint(project: Project, *, fix: bool) -> int:
    """Check style and types, or mend the style in place, and return the linters' exit code."""
    image = build(project, "lint")
    if fix:
        tree = _on_working_tree(project)
        commands = "ruff check --no-cache --fix . ; ruff format --no-cache ."
    else:
        tree = _on_working_tree(project, ":ro")
        commands = "ruff check --no-cache . && ruff format --no-cache --check . && mypy --cache-dir=/tmp/mypy ."
    return engine.run(project, "run", "--rm", "--init", "--network=none", *tree, image, "sh", "-c", commands)


def test_tool(project: Project, arguments: list[str]) -> int:
    """Run the tests of Prodlock on this host against the Engine, and return pytest's exit code.

    Its packages are the lock's groups main, dev and images, checked against its hashes, in an environment of their
    own. Which of them this host needs, pip finds by their markers.
    """
    lists = ("/lock/host/main.txt", "/lock/host/dev.txt", "/lock/host/images.txt")
    listed = engine.output(project, "run", "--rm", "--network=none", build(project, "lock"), "cat", *lists)
    venv_folder = project.root / HOST_VENV
    python = venv_folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    installed = venv_folder / "installed.txt"
    # Its Python is gone where the host's was upgraded.
    if not (python.exists() and installed.is_file()) or installed.read_text(encoding="utf-8") != listed:
        venv.create(venv_folder, clear=True, with_pip=True)
        site.ignore(venv_folder)
        requirements = venv_folder / "requirements.txt"
        requirements.write_text(listed, encoding="utf-8")
        install = [str(python), "-m", "pip", "install", "-q", "--require-hashes", "--only-binary", ":all:", "--no-deps"]
        if subprocess.run([*install, "--requirement", str(requirements)], check=False).returncode:
            raise Failure("pip could not install the test groups on this host; what it printed above says why.")
        requirements.rename(installed)
    command = [
        str(python),
        "-m",
        "pytest",
        "--override-ini=testpaths=prodlock/tests/unit prodlock/tests/engine",
        *arguments,
    ]
    with subprocess.Popen(command, cwd=project.root) as process:
        # Interrupted, `with` waits: Ctrl-C reaches pytest as well, which then removes what it made.
        return process.wait()


def build(project: Project, stage: str) -> str:
    """Build a stage that is no service and return its image's name. Raises Failure where that fails."""
    settings = site.environment(project)
    tag = f"{compose.project_name(project)}:{stage}"
    engine.build(project, "build", "--target", stage, "--tag", tag, *site.secrets(settings), ".", env=settings)
    return tag


def _on_working_tree(project: Project, rights: str = "") -> list[str]:
    """Return the options that give a container the working tree, and its user the rights of this one."""
    options = [f"--volume={project.root}:/srv{rights}", "--workdir=/srv"]
    if sys.platform != "win32":
        options.append(f"--user={os.getuid()}:{os.getgid()}")
    return options
