"""Contenders of the bench: a folder each, with the same application and the same locked versions."""

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

from bench.figures import ARTICLE, FLOOR, PRODLOCK, SIZES, UV
from prodlock import site
from prodlock.docker import compose, engine
from prodlock.failure import Failure
from prodlock.inside.lock import poetry, selection
from prodlock.project import Project

# The variants of the lock, beside those grown to so many packages.
PLAIN = "plain"
ONE_MORE = "one-more"
SAME_PARSER = "same-parser"
# This project depends on it. A tutorial's service depends on uvicorn alone, which then parses with h11.
PARSER = "httptools"

HERE = Path(__file__).parent
PROJECT = Project(HERE.parent)
# The files of the project that is compared, and those of them that belong to the service alone.
_SERVICE = ("app", "tests", ".env.example", "pyproject.toml", "poetry.lock")
_PROJECT = (*_SERVICE, "prodlock", "tasks.py", "Dockerfile", "docker-compose.yml", ".dockerignore")


def named(name: str) -> str:
    """Return the name of an image or a container of the bench; other checkouts on the same Engine use others."""
    return f"{compose.project_name(PROJECT)}-bench-{name}"


@dataclass(frozen=True)
class Contender:
    """A way to build the service, in a folder of its own."""

    name: str
    folder: Path

    @property
    def project(self) -> str:
        """The name that Compose gives its images and containers."""
        return named(self.name)

    @property
    def inv(self) -> bool:
        """Whether Invoke drives it."""
        return self.name == PRODLOCK

    def image(self, target: str = "prod") -> str:
        """Return the image that Compose builds for a target."""
        return f"{self.project}:{target}"

    def use(self, locks: Path, variant: str) -> None:
        """Copy a variant's pyproject.toml and locks into the folder."""
        shutil.copytree(locks / variant / self.name, self.folder, dirs_exist_ok=True)


def create(name: str, folder: Path) -> Contender:
    """Create a contender's folder: this project itself, or its service with another Dockerfile."""
    contender = Contender(name, folder / name)
    contender.folder.mkdir(parents=True)
    for path in _PROJECT if name == PRODLOCK else _SERVICE:
        _copy(PROJECT.root / path, contender.folder)
    if name != PRODLOCK:
        _copy(HERE / name / "Dockerfile", contender.folder)
        _copy(PROJECT.root / "prodlock" / "inside" / "online.sh", contender.folder)
        shutil.copy(HERE / "compose.yml", contender.folder / "docker-compose.yml")
    return contender


def _copy(path: Path, folder: Path) -> None:
    """Copy a file or a folder, without what Python has cached in it."""
    if path.is_dir():
        shutil.copytree(path, folder / path.name, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(path, folder)


def depending(pyproject: str, names: Iterable[str]) -> str:
    """Return a pyproject.toml with further dependencies, of any version.

    Raises Failure where its dependencies are not a list with one line each.
    """
    start = "\ndependencies = [\n"
    if start not in pyproject:
        raise Failure(
            "pyproject.toml must have its dependencies as a list with one line each (got another form). "
            "To fix it: write them so; the bench adds lines to them."
        )
    return pyproject.replace(start, start + "".join(f'    "{name}",\n' for name in names), 1)


def without(pyproject: str, name: str) -> str:
    """Return a pyproject.toml without a dependency, whatever its version."""
    return re.sub(rf'^    "{re.escape(name)}(?![\w.-]).*\n', "", pyproject, count=1, flags=re.MULTILINE)


def constrained(pyproject: str, lock: str) -> str:
    """Return a pyproject.toml with which uv chooses the versions of a poetry.lock."""
    pins = []
    for package in tomllib.loads(lock)["package"]:
        markers = {poetry.marker(package.get("markers", ""), group) for group in package["groups"]}
        # Where one group needs it on every platform, the version is bound on every platform.
        condition = "" if "" in markers else " ; " + " or ".join(sorted(markers))
        pins.append(f"{package['name']}=={package['version']}{condition}")
    # A JSON string is a TOML string.
    return f"{pyproject}\n[tool.uv]\nconstraint-dependencies = {json.dumps(pins, indent=4)}\n"


def main_packages(lock: str) -> int:
    """Return the number of packages in the main group of a poetry.lock."""
    return len(selection.pinned("poetry.lock", lock))


def variants(names: Sequence[str], present: int) -> dict[str, list[str]]:
    """Return the packages that each variant of the lock adds to the `present` ones.

    `names` are packages without dependencies. The last one is added in ONE_MORE alone. A size that the lock already
    exceeds, or that the names do not reach, is left out.
    """
    *growing, one_more = names
    grown = {f"{size}": growing[: size - present] for size in SIZES if 0 <= size - present <= len(growing)}
    return {PLAIN: [], SAME_PARSER: [], ONE_MORE: [one_more]} | grown


def lock(folder: Path, wanted: Mapping[str, Sequence[str]]) -> None:
    """Lock each variant, and write FOLDER/VARIANT/CONTENDER with its pyproject.toml and locks.

    Poetry runs in this project's tool stage, as for `inv poetry`, and keeps the versions of poetry.lock. uv can't read
    that lock; it makes its own with the same versions.
    """
    own = {name: (PROJECT.root / name).read_text(encoding="utf-8") for name in ("pyproject.toml", "poetry.lock")}
    desk = folder / "desk"
    desk.mkdir(parents=True)
    shutil.copy(site.environment(PROJECT)["CA_BUNDLE"], desk / ".ca-bundle.pem")
    for variant, names in wanted.items():
        print(f"locking: {variant}", file=sys.stderr, flush=True)
        full = depending(own["pyproject.toml"], names)
        locked = _locked(desk, full, own["poetry.lock"]) if names else own["poetry.lock"]
        plain = full if variant == SAME_PARSER else without(full, PARSER)
        plain_locked = locked if plain == full else _locked(desk, plain, locked)
        bound = constrained(plain, plain_locked)
        (desk / "pyproject.toml").write_text(bound, encoding="utf-8")
        (desk / "uv.lock").unlink(missing_ok=True)
        _tool(desk, "uv", "lock")
        uv_lock = (desk / "uv.lock").read_text(encoding="utf-8")
        _write(folder / variant / PRODLOCK, {"pyproject.toml": full, "poetry.lock": locked})
        _write(folder / variant / ARTICLE, {"pyproject.toml": plain, "poetry.lock": plain_locked})
        for name in (UV, FLOOR):
            _write(folder / variant / name, {"pyproject.toml": bound, "poetry.lock": plain_locked, "uv.lock": uv_lock})


def _locked(desk: Path, pyproject: str, lock: str) -> str:
    """Return the lock of a pyproject.toml, with the versions that `lock` has where it has them."""
    _write(desk, {"pyproject.toml": pyproject, "poetry.lock": lock})
    _tool(desk, "poetry", "lock")
    return (desk / "poetry.lock").read_text(encoding="utf-8")


def _tool(desk: Path, *command: str) -> None:
    """Run Poetry or uv on a folder, with this site's certificates and package index."""
    options = [f"--volume={desk}:/srv", "--env=HOME=/srv/home", "--env=CA_BUNDLE=/srv/.ca-bundle.pem"]
    index = site.environment(PROJECT)["INDEX_URL"]
    # By name: the address may hold a password.
    settings = dict.fromkeys(("POETRY_PYPI_MIRROR_URL", "UV_DEFAULT_INDEX"), index) if index else {}
    options += [f"--env={name}" for name in settings]
    if sys.platform != "win32":
        options.append(f"--user={os.getuid()}:{os.getgid()}")
    run = ("run", "--rm", "--init", f"--name={named('locking')}", *options, named("tools"), "online", *command)
    engine.output(PROJECT, *run, env=settings)


def _write(folder: Path, files: dict[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
