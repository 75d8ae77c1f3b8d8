"""Make a virtual environment on the host from the lock, for an editor: the main and dev groups, as in the dev image."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from prodlock import generated, site
from prodlock.docker import engine
from prodlock.failure import Failure
from prodlock.project import Project
from prodlock.setup import base
from prodlock.setup.progress import progress

FOLDER = ".venv"
# A file of each environment that was made here. It has what the environment was made from, once that is complete.
MARKER = "prodlock.txt"
GROUPS = ("main", "dev")
_SELECT = Path(__file__).parents[1] / "inside" / "lock" / "__main__.py"
# Debian has ensurepip, which brings pip to an environment, in a package of its own.
_PROBE = "import ensurepip, platform, venv; print(platform.python_version())"


def make(project: Project) -> None:
    """Make .venv from the lock, or change nothing where it was made from the present one.

    Raises Failure where .venv was not made here, and where the host lacks the image's Python; a failed attempt leaves
    the former state.
    """
    place = project.root / FOLDER
    if os.path.lexists(place) and (place.is_symlink() or not (place / MARKER).is_file()):
        raise Failure(
            f"{FOLDER} must be absent or made by `inv venv` (got another environment). To fix it: remove it, or move "
            f"it away (`mv {FOLDER} {FOLDER}-own`)."
        )
    version = minor_version(project)
    state = f"Python {version}, {project.configuration.lock} {_digest(project)}\n"
    if _is_complete(place, state, version):
        print(f"{FOLDER} has what {project.configuration.lock} lists for Python {version} already.")
        return
    interpreter, full = find(project, version)
    try:
        with _replaced(place), tempfile.TemporaryDirectory() as folder:
            count = _fill(project, place, interpreter, Path(folder))
            (place / MARKER).write_text(state, encoding="utf-8")
    except OSError as error:
        raise Failure(
            f"{FOLDER} must be writable (got: {error.strerror or error}: {error.filename}). To fix it: make your user "
            "its owner, and end the programs that use it."
        ) from None
    print(f"{_python(Path(FOLDER))} is Python {full} with the {count} distributions of {project.configuration.lock}.")


def minor_version(project: Project) -> str:
    """Return the version of the image's Python, `3.13` for example.

    The base image's name has it, or else its interpreter prints it.
    """
    image = base.name(project)
    if named := re.search(r"(?:^|/)python:(\d+\.\d+)", image):
        return named[1]
    script = "import sys; print(*sys.version_info[:2], sep='.')"
    return engine.output(project, "run", "--rm", "--network=none", image, "python", "-c", script, echo=True).strip()


def find(project: Project, version: str) -> tuple[list[str], str]:
    """Return the command of an interpreter of a minor version that can make an environment, and its full version."""
    for command in _candidates(project.environment, version):
        if full := _version(command, version):
            return command, full
    raise Failure(
        f"The image's Python, {version}, must be on this machine with its module venv (got no python{version} that "
        f"runs). To fix it: install it (`apt install python{version}-venv` where the distribution has it, "
        f"`pyenv install {version}`, `uv python install {version}`, https://www.python.org/downloads/), or let the "
        "editor work in a container of the dev image."
    )


def _candidates(environment: Mapping[str, str], version: str) -> Iterator[list[str]]:
    """Yield the commands of interpreters that may have a minor version."""
    if version == f"{sys.version_info.major}.{sys.version_info.minor}":
        # Not that of an environment: `inv` may be installed in the one that is replaced.
        yield [getattr(sys, "_base_executable", None) or sys.executable]
    path = environment.get("PATH")
    if named := shutil.which(f"python{version}", path=path):
        yield [named]
    versions = Path(environment.get("PYENV_ROOT") or Path.home() / ".pyenv", "versions")
    # 3.13.10 is newer than 3.13.9.
    installed = versions.glob(f"{version}.*/bin/python")
    yield from ([str(one)] for one in sorted(installed, key=lambda one: _numbers(one.parents[1].name), reverse=True))
    # The launcher of Windows.
    if launcher := shutil.which("py", path=path):
        yield [launcher, f"-{version}"]


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)]


def _version(command: list[str], wanted: str) -> str:
    """Return the full version of an interpreter, or an empty string where it has another minor version or fails.

    The command of a version manager, for example, fails where the version is not activated.
    """
    try:
        done = subprocess.run([*command, "-I", "-c", _PROBE], capture_output=True, text=True, check=False)
    except OSError:
        return ""
    found = done.stdout.strip()
    return found if done.returncode == 0 and found.startswith(f"{wanted}.") else ""


def _digest(project: Project) -> str:
    """Return the sha256 of the lock. Raises Failure where it can't be read."""
    try:
        paths = generated.locks(project.root, project.configuration.lock)
        return hashlib.sha256(b"".join((project.root / path).read_bytes() for path in paths)).hexdigest()
    except OSError as error:
        raise Failure(
            f"{project.configuration.lock} must be readable (got: {error.strerror}). To fix it: restore it, or lock "
            "again."
        ) from None


def _is_complete(place: Path, state: str, version: str) -> bool:
    """Return whether an environment was made from a state, and its interpreter, which may be removed, still runs."""
    with contextlib.suppress(OSError):
        return (place / MARKER).read_text(encoding="utf-8") == state and bool(_version([str(_python(place))], version))
    return False


def _python(place: Path) -> Path:
    return place / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


@contextlib.contextmanager
def _replaced(place: Path) -> Iterator[None]:
    """Create the folder of an environment for a block; restore the former one where the block fails.

    It can't be made elsewhere and moved: its programs contain its path.
    """
    with tempfile.TemporaryDirectory(prefix=f"{FOLDER}-", dir=place.parent) as folder:
        former = Path(folder, "former")
        if place.exists():
            place.rename(former)
        try:
            place.mkdir()
            # First: an attempt that is killed is not mistaken for another environment.
            (place / MARKER).touch()
            site.ignore(place)
            yield
        except BaseException:
            with engine.undisturbed():
                shutil.rmtree(place, ignore_errors=True)
                if former.exists():
                    former.rename(place)
            raise


def _fill(project: Project, place: Path, interpreter: list[str], folder: Path) -> int:
    """Install the main and dev groups in an environment, and return the number of distributions."""
    _run(project, [*interpreter, "-I", "-m", "venv", str(place)])
    python = str(_python(place))
    # The lock's markers are evaluated by the interpreter that they are about.
    _run(project, [python, "-I", str(_SELECT), *generated.lock_arguments(project.configuration, "."), str(folder)])
    files = [file for group in GROUPS if (file := folder / f"{group}.txt").exists()]
    listed = "".join(file.read_text(encoding="utf-8") for file in files)
    if refused := re.findall(r"^# (.*has no wheel .*)$", listed, re.MULTILINE):
        raise Failure("\n".join(refused))
    install = [python, "-I", "-m", "pip", "install", "--require-hashes", "--only-binary", ":all:", "--no-deps"]
    options = ["--quiet", "--no-input", "--disable-pip-version-check"]
    lists = [f"--requirement={file}" for file in files]
    with progress(f"Installing the groups {' and '.join(GROUPS)} of {project.configuration.lock} in {FOLDER}"):
        # pip's messages are long: they go to the terminal.
        done = subprocess.run(
            [*install, *options, *lists],
            cwd=project.root,
            env=dict(project.environment) | _pip_settings(project),
            check=False,
        )
        if done.returncode:
            raise Failure(
                f"pip could not install what the lock lists; its messages above state the cause. {FOLDER} has been "
                "left in its former state."
            )
    # A distribution may be in both groups.
    return len(set(re.findall(r"^([\w.-]+)==", listed, re.MULTILINE)))


def _pip_settings(project: Project) -> dict[str, str]:
    """Return the variables that give pip this site's indexes, their logins and certificates.

    An address may hold a password, which other users could read on a command line.
    """
    found = site.environment(project)
    given = {
        "PIP_INDEX_URL": found["INDEX_URL"],
        # Where it is not set, pip reads its own configuration, which may also name folders.
        "PIP_EXTRA_INDEX_URL": found["EXTRA_INDEX_URL"] if project.environment.get("EXTRA_INDEX_URL") else "",
        "NETRC": found["NETRC"],
    }
    settings = {name: value for name, value in given.items() if value}
    bundle = Path(found["CA_BUNDLE"])
    # Where no bundle is set, pip's own default is the better one: the system's store holds more than a file on macOS.
    if project.environment.get("CA_BUNDLE") and bundle.read_bytes():
        settings["PIP_CERT"] = str(bundle)
    return settings


def _run(project: Project, command: list[str]) -> None:
    """Run a program. Raises Failure with what it printed where it fails."""
    done = subprocess.run(command, cwd=project.root, env=project.environment, capture_output=True, check=False)
    if done.returncode:
        printed = (done.stderr + done.stdout).decode(errors="replace").strip()
        if printed.startswith("pyproject.toml changed significantly"):
            raise Failure(
                "poetry.lock must match pyproject.toml (got one generated before pyproject.toml changed). To fix it: "
                "run `inv poetry -- lock`, review what it changed, and commit it."
            )
        raise Failure(f"{FOLDER} could not be made: {printed or f'exit code {done.returncode}'}")
