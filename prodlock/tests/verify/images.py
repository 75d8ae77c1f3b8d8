"""Images that ordinary Dockerfiles build of small projects, each with the findings that are true of it.

`python -m prodlock.tests.verify.images FOLDER [NAME ...]` writes each project and its image, as an archive, to
FOLDER/NAME.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from prodlock import site
from prodlock.project import Project

REPOSITORY = Path(__file__).parents[3]
PROJECTS = Path(__file__).parent / "projects"
DOCKERFILES = PROJECTS / "dockerfiles"
# Two checkouts can run these tests at the same time, with a name each.
NAME = f"{os.environ.get('TESTS_NAME', 'prodlock')}-verify"
BASE = "python:3.13-slim-trixie"
# What a step that downloads needs beside its command: this site's certificates, package indexes and logins.
_MOUNTS = " ".join(
    [f"--mount=type=secret,id={name}" for name in ("ca_bundle", "index_url", "extra_index_url", "netrc")]
    + ["--mount=type=bind,from=site,source=online.sh,target=/usr/local/bin/online"]
)
_DOWNLOADS = re.compile(r"^RUN ((?:--\S+ )*)(?=(?:\S*/)?(?:pip|python -m pip|uv|poetry) )", re.MULTILINE)
_COMMITTER = {"GIT_COMMITTER_DATE": "2026-01-02T03:04:05Z", "GIT_AUTHOR_DATE": "2026-01-02T03:04:05Z"}


class Found(NamedTuple):
    """A finding, or several of one rule, by what a report must have of them."""

    code: str
    # The name of the distribution, or the beginning of the path.
    what: str = ""

    def matches(self, finding: Mapping[str, Any]) -> bool:
        """Return whether a finding of a report is this one."""
        name = str(finding["what"]).partition(" ")[0]
        return finding["code"] == self.code and (self.what in {"", name} or str(finding["path"]).startswith(self.what))


@dataclass(frozen=True)
class Example:
    """A project and the Dockerfile of its image."""

    name: str
    # Its folder in `projects`, and the lock that it has.
    project: str = "shop"
    lock: str = "requirements.txt"
    # The folder that a user verifies in, and the options of the command.
    member: str = ""
    options: tuple[str, ...] = ()
    # The folder of the environment's modules; a plant goes there. The interpreter and the folder of the sources.
    site: str = "/usr/local/lib/python3.13/site-packages"
    python: str = "python"
    sources: str = "/code/app"
    # What is true of it: each must be found, and nothing else.
    findings: tuple[Found, ...] = ()
    # The beginnings of the paths of files that a finding names and nothing explains.
    unexplained: tuple[str, ...] = ()
    # Its Dockerfile, where that has another name, and that of an image that it is made from, in `projects/dockerfiles`.
    dockerfile: str = ""
    base: str = ""
    # Further dependencies of the project.
    packages: tuple[str, ...] = ()
    # Whether every run of the tests has it; the others take minutes.
    is_quick: bool = False
    # The user of the image: plants are made as root.
    user: str = "root"

    @property
    def tag(self) -> str:
        """The name of the image."""
        return f"{NAME}:{self.name}"

    @property
    def base_tag(self) -> str:
        """The name of its base image."""
        return f"{NAME}-{self.base}:latest" if self.base else BASE


@dataclass(frozen=True)
class Built:
    """An image on the Engine and the folder of its project."""

    example: Example
    folder: Path = field(compare=False)

    @property
    def working_directory(self) -> Path:
        """The folder that a user verifies in."""
        return self.folder / self.example.member

    @property
    def lock(self) -> str:
        """The lock, as the folder that a user verifies in names it."""
        return os.path.relpath(self.folder / self.example.lock, self.working_directory)

    @cached_property
    def versions(self) -> Mapping[str, str]:
        """The version of each distribution that the lock has."""
        if self.example.lock.endswith(".txt"):
            text = (self.folder / self.example.lock).read_text(encoding="utf-8")
            return dict(re.findall(r"^([\w-]+)==([^ ]+)", text, re.MULTILINE))
        return {one["name"]: one["version"] for one in packages(self.folder / self.example.lock)}


# Poetry and what it depends on, among it a distribution that the lock has for development; what it leaves.
_POETRY = (
    *(Found("LS611", name) for name in ("build", "pip", "poetry", "poetry-core", "virtualenv")),
    Found("LS601", "/usr/local/lib/python3.13/site-packages/"),
    Found("LS603", "packaging"),
    Found("LS610", "/root/.cache/"),
)
EXAMPLES = {
    one.name: one
    for one in (
        Example("pip", is_quick=True, findings=(Found("LS612", "/code/tests"),)),
        Example(
            "poetry",
            lock="poetry.lock",
            site="/app/.venv/lib/python3.13/site-packages",
            python="/app/.venv/bin/python",
            sources="/app/app",
            findings=_POETRY,
            # These findings stand for all files of Poetry, of what it has brought, and of the pip that it installs.
            unexplained=(
                "/usr/local/lib/python3.13/site-packages/",
                "/root/.cache/",
                "/usr/local/bin/",
                "/app/.venv/lib/python3.13/site-packages/pip",
                "/app/.venv/bin/pip",
            ),
        ),
        Example(
            "uv",
            is_quick=True,
            lock="uv.lock",
            site="/app/.venv/lib/python3.13/site-packages",
            python="/app/.venv/bin/python",
            sources="/app/app",
            user="app",
        ),
        Example(
            "system",
            sources="/srv/app",
            findings=(Found("LS611", "uv"),),
            unexplained=(
                "/usr/local/bin/uv",
                "/usr/local/lib/python3.13/site-packages/uv",
            ),
        ),
        Example("target", site="/app/vendor", sources="/app/app"),
        Example(
            "two",
            site="/opt/service/lib/python3.13/site-packages",
            python="/opt/service/bin/python",
            sources="/srv/app",
            findings=(Found("LS611", "pip"), Found("LS610", "/tmp/requirements.txt")),
        ),
        Example("native"),
        Example(
            "links",
            lock="uv.lock",
            site="/app/.venv/lib/python3.13/site-packages",
            python="/app/.venv/bin/python",
            sources="/app/app",
            # What the cache has beside the wheels' files.
            findings=(Found("LS610", "/app/.uv-cache"),),
            unexplained=("/app/.uv-cache/",),
        ),
        # An image from scratch, which has the base image's files and none of its layers.
        Example("flat", options=(f"--base={BASE}",)),
        Example(
            "conda",
            site="/opt/conda/lib/python3.13/site-packages",
            python="/opt/conda/bin/python",
            base="conda-base",
        ),
        Example(
            "workspace",
            project="workspace",
            lock="uv.lock",
            member="api",
            site="/app/.venv/lib/python3.13/site-packages",
            python="/app/.venv/bin/python",
            sources="/app/api/src/api",
        ),
        # With so many packages as the bench has.
        Example(
            "many",
            dockerfile="uv",
            lock="uv.lock",
            site="/app/.venv/lib/python3.13/site-packages",
            python="/app/.venv/bin/python",
            sources="/app/app",
            user="app",
            packages=tuple((REPOSITORY / "bench" / "packages.txt").read_text(encoding="utf-8").split()),
        ),
        # More than 1 GB, with a native library by apt, whose lists stay.
        Example(
            "data",
            packages=(
                "duckdb",
                "matplotlib",
                "numba",
                "numpy",
                "onnxruntime",
                "opencv-python-headless",
                "pandas",
                "polars",
                "psycopg",
                "pyarrow",
                "scikit-learn",
                "scipy",
                "statsmodels",
                "sympy",
                "transformers",
            ),
            findings=(Found("LS610", "/var/lib/apt/lists"),),
            unexplained=("/var/lib/apt/lists/",),
        ),
    )
}


def packages(lock: Path) -> list[dict[str, Any]]:
    """Return the entries of a poetry.lock or uv.lock."""
    entries: list[dict[str, Any]] = tomllib.loads(lock.read_text(encoding="utf-8"))["package"]
    return entries


def docker(*arguments: str, given: str | None = None, cwd: Path | None = None) -> str:
    """Run `docker ARGUMENTS` and return what it printed. Raises an error with its messages where it fails."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False, input=given, cwd=cwd)  # noqa: S607
    if done.returncode:
        raise AssertionError(f"docker {arguments[0]} failed:\n{done.stderr[-4000:]}")
    return done.stdout


def online(instructions: str) -> str:
    """Return instructions whose steps with pip, uv or Poetry have this site's settings."""
    return _DOWNLOADS.sub(rf"RUN {_MOUNTS} \1sh /usr/local/bin/online ", instructions)


def build(instructions: str, context: Path, *options: str) -> None:
    """Build instructions in a build context."""
    settings = site.environment(Project(REPOSITORY))
    os.environ.update(settings)
    arguments = ["build", "--quiet", f"--build-context=site={REPOSITORY / 'prodlock' / 'inside'}"]
    docker(*arguments, *site.secrets(settings), *options, "--file=-", str(context), given=online(instructions))


def commit(folder: Path) -> None:
    """Commit all files of a folder to a repository of its own."""
    environment = os.environ | _COMMITTER | {"GIT_CONFIG_GLOBAL": os.devnull}
    user = ("-c", "user.name=x", "-c", "user.email=x@example.org")
    for arguments in (("init", "--quiet"), ("add", "--all"), ("commit", "--quiet", "--message=x")):
        subprocess.run(["git", *user, *arguments], cwd=folder, env=environment, check=True)  # noqa: S607


def create(example: Example, folder: Path) -> Built:
    """Put a project into a folder with its lock, and build its image."""
    shutil.copytree(PROJECTS / example.project, folder, ignore=shutil.ignore_patterns("__pycache__", ".*_cache"))
    _depend(folder / "pyproject.toml", example.packages)
    dockerfile = (DOCKERFILES / f"{example.dockerfile or example.name}.Dockerfile").read_text(encoding="utf-8")
    _lock(example, folder)
    (folder / "Dockerfile").write_text(dockerfile, encoding="utf-8")
    commit(folder)
    arguments = [f"--tag={example.tag}"]
    if example.base:
        base = (DOCKERFILES / f"{example.base}.Dockerfile").read_text(encoding="utf-8")
        build(base, folder, f"--tag={example.base_tag}")
        arguments.append(f"--build-arg=BASE={example.base_tag}")
    build(dockerfile, folder, *arguments)
    return Built(example, folder)


def _depend(pyproject: Path, packages: Sequence[str]) -> None:
    """Add dependencies to a project."""
    lines = "".join(f'    "{package}",\n' for package in packages)
    text = pyproject.read_text(encoding="utf-8")
    pyproject.write_text(text.replace("dependencies = [\n", f"dependencies = [\n{lines}", 1), encoding="utf-8")


def _lock(example: Example, folder: Path) -> None:
    """Lock a project, and keep the lock that the example has.

    The Engine's build cache keeps the result: all examples of a project have the same versions.
    """
    instructions = (DOCKERFILES / "locks.Dockerfile").read_text(encoding="utf-8")
    output = folder / ".locks"
    stage = "poetry" if example.lock == "poetry.lock" else "uv"
    build(instructions, folder, f"--target={stage}", f"--output=type=local,dest={output}")
    wanted = ("requirements.txt", "requirements-dev.txt") if example.lock == "requirements.txt" else (example.lock,)
    for name in wanted:
        shutil.move(output / name, folder / name)
    shutil.rmtree(output)


def archive(tag: str, file: Path) -> Path:
    """Write an image to an archive."""
    docker("save", f"--output={file}", tag)
    return file


def main(folder: Path, names: Sequence[str]) -> None:
    """Write projects and archives of images to a folder."""
    for name in names or [name for name, example in EXAMPLES.items() if not example.packages]:
        target = folder / name
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        built = create(EXAMPLES[name], target / "project")
        archive(built.example.tag, target / "image.tar")
        print(name, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
