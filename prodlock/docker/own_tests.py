"""Run the tests of Prodlock, of which many need an Engine, on this host."""

from __future__ import annotations

import signal
import subprocess
import sys
import venv

from prodlock import site
from prodlock.docker import engine, stages
from prodlock.failure import Failure, Terminated
from prodlock.project import Project

# The virtual environment of the tests' requirements.
FOLDER = ".venv-images"


def run(project: Project, arguments: list[str]) -> int:
    """Run the tests of Prodlock on this host against the Engine, and return pytest's exit code.

    The tests' requirements are locked with their hashes, and installed in a virtual environment of their own.
    """
    locked = stages.INSIDE / "requirements" / "test.txt"
    environment = project.root / FOLDER
    python = environment / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    installed = environment / "installed.txt"
    # An upgrade of the host's Python removes the environment's interpreter.
    if not (python.exists() and installed.is_file()) or installed.read_bytes() != locked.read_bytes():
        venv.create(environment, clear=True, with_pip=True)
        site.ignore(environment)
        install = [str(python), "-m", "pip", "install", "-q", "--require-hashes", "--only-binary", ":all:", "--no-deps"]
        if subprocess.run([*install, "--requirement", str(locked)], check=False).returncode:
            raise Failure("pip could not install the test group on this host; its messages above state the cause.")
        installed.write_bytes(locked.read_bytes())
    command = [
        str(python),
        "-m",
        "pytest",
        "--override-ini=testpaths=prodlock/tests/unit prodlock/tests/engine prodlock/tests/verify",
        *arguments,
    ]
    with subprocess.Popen(command, cwd=project.root) as process:
        try:
            return process.wait()
        except KeyboardInterrupt as interruption:
            with engine.undisturbed():
                # Ctrl-C of a terminal reaches pytest too, which then removes its containers and images.
                if isinstance(interruption, Terminated):
                    process.send_signal(signal.SIGINT)
                process.wait()
            raise
