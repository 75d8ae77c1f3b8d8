"""What is compared: a folder for each contender, with the same application and the same locked versions."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.figures import ARTICLE, CONTENDERS, PRODLOCK, SIZES, UV
from prodlock import site
from prodlock.docker import engine
from prodlock.failure import Failure
from prodlock.inside import requirements
from prodlock.project import Project

# Every container, image and network of a bench has a name that begins so.
PREFIX = "prodlock-bench-"
TOOLS = PREFIX + "tools"
UV_BINARY = PREFIX + "uv-binary"

# The variants of the lock: as it is, with one more package, and grown to so many.
PLAIN = "as-it-is"
ONE_MORE = "one-more"

HERE = Path(__file__).parent
PROJECT = Project(HERE.parent)
# What a fresh clone has not.
_LOCAL = (".git", ".venv*", ".*_cache", "__pycache__", ".env*", ".prodlock")
# A tutorial's service depends on uvicorn alone; the tests of this one's protocol need it.
_NO_TUTORIALS = "httptools"


@dataclass(frozen=True)
class Contender:
    """A way to build the service, in a folder of its own."""

    name: str
    folder: Path

    @property
    def project(self) -> str:
        """The name that Compose gives its images and containers."""
        return PREFIX + self.name

    @property
    def inv(self) -> bool:
        """Whether Invoke drives it."""
        return self.name == PRODLOCK

    def image(self, target: str = "prod") -> str:
        """Return the image that Compose builds for a target."""
        return f"{self.project}:{target}"

    def take(self, locks: Path, variant: str) -> None:
        """Put a variant's pyproject.toml and locks in place."""
        shutil.copytree(locks / variant / self.name, self.folder, dirs_exist_ok=True)


def copies(folder: Path) -> list[Contender]:
    """Copy the working tree for each contender, and dress each copy as the contender has it."""
    contenders = [Contender(name, folder / name) for name in CONTENDERS]
    for contender in contenders:
        shutil.copytree(PROJECT.root, contender.folder, ignore=shutil.ignore_patterns(*_LOCAL), symlinks=True)
        if contender.name != PRODLOCK:
            (contender.folder / ".dockerignore").unlink()
            shutil.copy(HERE / contender.name / "Dockerfile", contender.folder)
            shutil.copy(HERE / "compose.yml", contender.folder / "docker-compose.yml")
            shutil.copy(HERE / "plain.py", contender.folder / "main.py")
    return contenders


def depending(pyproject: str, names: Iterable[str]) -> str:
    """Return a pyproject.toml that depends on further distributions, whatever their version.

    Raises Failure where its dependencies are no list with a line each.
    """
    start = "\ndependencies = [\n"
    if start not in pyproject:
        raise Failure("The bench adds to pyproject.toml's dependencies: write them as a list, a line each.")
    return pyproject.replace(start, start + "".join(f'    "{name}",\n' for name in names), 1)


def for_tests_alone(pyproject: str, name: str) -> str:
    """Return a pyproject.toml that depends on a distribution in its dev group instead of in production."""
    requirement = re.search(rf'^    "{re.escape(name)}\b.*\n', pyproject, re.MULTILINE)
    if not requirement:
        return pyproject
    return pyproject.replace(requirement[0], "", 1).replace("\ndev = [\n", f"\ndev = [\n{requirement[0]}", 1)


def constrained(pyproject: str, lock: str) -> str:
    """Return a pyproject.toml that lets uv choose no other versions than those of a poetry.lock."""
    pins = []
    for package in tomllib.loads(lock)["package"]:
        markers = {requirements.marker(package.get("markers", ""), group) for group in package["groups"]}
        # Where one group needs it anywhere, the version is bound anywhere.
        condition = "" if "" in markers else " ; " + " or ".join(sorted(markers))
        pins.append(f"{package['name']}=={package['version']}{condition}")
    # A JSON string is a TOML string.
    return f"{pyproject}\n[tool.uv]\nconstraint-dependencies = {json.dumps(pins, indent=4)}\n"


def main_packages(lock: str) -> int:
    """Return how many packages a poetry.lock has in the main group."""
    return len(requirements.pinned(lock, "main"))


def variants(names: Sequence[str], present: int) -> dict[str, list[str]]:
    """Return what each variant of the lock adds to the `present` packages: the first of `names`, which need no others.

    The last of them is the one more. A size that the lock already exceeds, or that they do not reach, is left out.
    """
    *growing, one_more = names
    grown = {f"{size}": growing[: size - present] for size in SIZES if 0 <= size - present <= len(growing)}
    return {PLAIN: [], ONE_MORE: [one_more]} | grown


def lock(folder: Path, wanted: Mapping[str, Sequence[str]]) -> None:
    """Lock every variant for every contender: folder/VARIANT/CONTENDER has what `Contender.take` puts in place.

    Poetry locks in this project's tool stage, as for `inv poetry`, and keeps the versions that poetry.lock has; uv,
    which can't read that lock, makes its own of the same versions.
    """
    own = {name: (PROJECT.root / name).read_text(encoding="utf-8") for name in ("pyproject.toml", "poetry.lock")}
    desk = folder / "desk"
    desk.mkdir(parents=True)
    shutil.copy(site.environment(PROJECT)["CA_BUNDLE"], desk / ".ca-bundle.pem")
    for variant, names in wanted.items():
        print(f"locking: {variant}", file=sys.stderr, flush=True)
        full = depending(own["pyproject.toml"], names)
        locked = own["poetry.lock"]
        if names:
            locked = _locked(desk, full, locked)
        plain = for_tests_alone(full, _NO_TUTORIALS)
        plain_locked = _locked(desk, plain, locked)
        bound = constrained(plain, plain_locked)
        (desk / "pyproject.toml").write_text(bound, encoding="utf-8")
        (desk / "uv.lock").unlink(missing_ok=True)
        _tool(desk, "uv", "lock")
        uv_lock = (desk / "uv.lock").read_text(encoding="utf-8")
        _write(folder / variant / PRODLOCK, {"pyproject.toml": full, "poetry.lock": locked})
        _write(folder / variant / ARTICLE, {"pyproject.toml": plain, "poetry.lock": plain_locked})
        _write(folder / variant / UV, {"pyproject.toml": bound, "poetry.lock": plain_locked, "uv.lock": uv_lock})


def _locked(desk: Path, pyproject: str, lock: str) -> str:
    """Return the lock of a pyproject.toml, with the versions that `lock` has where it has them."""
    _write(desk, {"pyproject.toml": pyproject, "poetry.lock": lock})
    _tool(desk, "poetry", "lock")
    return (desk / "poetry.lock").read_text(encoding="utf-8")


def _tool(desk: Path, *command: str) -> None:
    """Run Poetry or uv on a folder, with this site's certificates and package index."""
    options = [f"--volume={desk}:/srv", "--env=HOME=/srv/home", "--env=CA_BUNDLE=/srv/.ca-bundle.pem"]
    index = site.environment(PROJECT)["INDEX_URL"]
    # By name: an address may hold a password.
    settings = dict.fromkeys(("POETRY_PYPI_MIRROR_URL", "UV_DEFAULT_INDEX"), index) if index else {}
    options += [f"--env={name}" for name in settings]
    if sys.platform != "win32":
        options.append(f"--user={os.getuid()}:{os.getgid()}")
    run = ("run", "--rm", "--init", f"--name={PREFIX}locking", *options, TOOLS, "online", *command)
    engine.output(PROJECT, *run, env=settings)


def _write(folder: Path, files: dict[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
