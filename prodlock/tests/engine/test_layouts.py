"""Six projects of other teams move in by one command, and are built, tested, proved and served without an edit.

prodlock/tests/layouts has them before that. `prodlock init` finds what each needs.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from prodlock import configuration
from prodlock.tests.engine.conftest import (
    COPY,
    PORT,
    REPOSITORY,
    copied,
    docker,
    git,
    inv,
    left_behind,
    until,
)

LAYOUTS = Path(__file__).parents[1] / "layouts"
# The bounds on what a project gets: files and lines that are there to be read, and all lines.
FILES, READ, ALL = 6, 200, 2000


@dataclass(frozen=True)
class Layout:
    """What is expected of a project after `prodlock init`."""

    # What is found of the configuration, among others.
    found: Mapping[str, Any]
    health: str
    # A request to the application: method, path, JSON, and a text in the answer.
    request: tuple[str, str, Any, str]
    # The generated files whose names the project has not taken.
    dockerfile: str = "Dockerfile"
    compose: str = "docker-compose.yml"
    # The project's own Dockerfile.
    existing: str = ""
    # Further commands of the production image, with a text that each prints.
    commands: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    # Whether the service keeps its own server.
    own_server: bool = False


EXPECTED = {
    "single": Layout(
        {"application": "main:app", "sources": ("main.py",), "lock": "requirements.txt", "server": ()},
        "/health",
        ("POST", "/links", {"url": "https://example.org"}, '"key"'),
        settings={"LINK_LENGTH": "8"},
    ),
    "src_poetry": Layout(
        {"application": "shop.main:app", "import_from": ("src",), "groups": ("main", "prod"), "port": 8080},
        "/healthcheck",
        ("GET", "/openapi.json", None, '"/products"'),
        dockerfile="prodlock.Dockerfile",
        compose="prodlock.compose.yml",
        existing="Dockerfile",
        commands={"migrate": ""},
        settings={"DATABASE_URL": "sqlite:////tmp/shop.db"},
    ),
    "packages": Layout(
        {"sources": ("alembic.ini", "app", "core", "migrations", "tasks_worker"), "dev_groups": ("lint", "test")},
        "/api/ping",
        ("POST", "/api/notices", {"to": "ann", "text": "hello"}, '{"waiting":1}'),
        commands={"migrate": "", "worker": "waiting for notices"},
    ),
    "workspace": Layout(
        {"import_from": ("backend",), "directory": "backend", "package": "tracker-backend", "lock": "uv.lock",
         "generated": ("frontend/dist",)},
        "/api/v1/utils/health-check/",
        ("GET", "/", None, "<title>tracker</title>"),
        dockerfile="prodlock.Dockerfile",
        compose="prodlock.compose.yml",
        existing="backend/Dockerfile",
        commands={"migrate": ""},
    ),
    "pylock": Layout(
        {"application": "billing.app:create_app", "lock": "pylock.toml", "ready": "/readyz", "extras": ()},
        "/healthz",
        ("POST", "/invoices", [{"text": "work", "price": "10"}], '"11.90"'),
    ),
    "hashes": Layout(
        {"application": "service.asgi:application", "lock": "requirements/base.txt",
         "sources": ("service", "static", "templates")},
        "/health",
        ("GET", "/", None, "<title>Guests</title>"),
        own_server=True,
    ),
}  # fmt: skip


def prodlock(*args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run `prodlock ARGS` in a folder."""
    command = [sys.executable, "-m", "prodlock", *args]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def commit(folder: Path) -> None:
    """Commit all that is new."""
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message=x")


@contextmanager
def moved_in(name: str) -> Iterator[Path]:
    """Give a copy of a project after `prodlock init`, whose dev image is built."""
    with project(name) as copy:
        done = prodlock("init", cwd=copy)
        assert done.returncode == 0, done.stderr
        commit(copy)
        done = inv("build", cwd=copy)
        assert done.returncode == 0, done.stderr
        yield copy


@contextmanager
def project(name: str) -> Iterator[Path]:
    """Give a committed copy of a project, in which the commands find Prodlock as an installed package."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(REPOSITORY))
        patch.setenv("PYTHONDONTWRITEBYTECODE", "1")
        for key, value in EXPECTED[name].settings.items():
            patch.setenv(key, value)
        with copied(LAYOUTS / name) as copy:
            git(copy, "init", "--quiet")
            commit(copy)
            if name == "workspace":
                # The frontend's build, which git ignores.
                (copy / "frontend/dist/assets").mkdir(parents=True)
                (copy / "frontend/dist/index.html").write_text("<title>tracker</title>\n", encoding="utf-8")
                (copy / "frontend/dist/assets/index.js").write_text("document.title;\n", encoding="utf-8")
            yield copy


def written(copy: Path) -> dict[str, str]:
    """Return the lines that `prodlock init` added, by file. No other line may have changed."""
    added = {}
    for line in git(copy, "status", "--porcelain", "--untracked-files=all").splitlines():
        state, path = line[:2].strip(), line[2:].strip()
        text = (copy / path).read_text(encoding="utf-8")
        if state == "??":
            added[path] = text
        else:
            before = git(copy, "show", f"HEAD:{path}") + "\n"
            assert path in {"pyproject.toml", ".gitignore"}
            assert text.startswith(before)
            added[path] = text.removeprefix(before)
    return added


def footprint(added: Mapping[str, str]) -> tuple[int, int, int]:
    """Return how many files are there to be read, their lines, and all lines. uv.txt is a list of hashes."""
    lines = {path: len(text.splitlines()) for path, text in added.items() if not path.endswith("/uv.txt")}
    read = [count for path, count in lines.items() if not path.startswith("prodlock/")]
    return len(read), sum(read), sum(lines.values())


def copies_of(copy: Path, dockerfile: str) -> None:
    """Build the project's own Dockerfile without its installations: what it copies must be in its build context."""
    text = re.sub(r"(?m)^RUN .*$", "", (copy / dockerfile).read_text(encoding="utf-8"))
    docker("build", "--quiet", f"--tag={COPY}:bare", "--file=-", ".", cwd=copy, input=text)


def runs(copy: Path, compose: str, command: str, text: str) -> None:
    """Run a further command of the production image, and stop it once it has printed a text."""
    run = ("compose", f"--file={compose}", "--profile=prod", "run", "--no-deps")
    if not text:
        assert docker(*run, "--rm", command, cwd=copy, check=False).returncode == 0
        return
    container = docker(*run, "--detach", command, cwd=copy).stdout.strip()
    try:
        until(lambda: text in docker("logs", container).stdout, 20)
        docker("stop", container)
        assert docker("inspect", "--format={{.State.ExitCode}}", container).stdout.strip() == "0"
    finally:
        docker("rm", "--force", container)


# What the proof prints of a lock that does not state what it was made from.
NOTES = {
    "pylock.toml": "pylock.toml is consistent with pyproject.toml",
    "requirements.txt": "requirements.txt can't be compared with what it was made from",
}
# The other formats and layouts take minutes, so that only `--all` tries them.
ALWAYS = {"single", "pylock", "workspace"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in ALWAYS else pytest.mark.full_length) for name in EXPECTED]
)
def test_a_project_moves_in_without_an_edit_of_its_code(name: str) -> None:
    """`prodlock init`, a commit, then build, test, both checks, serve, a request, stop."""
    layout = EXPECTED[name]
    seconds: dict[str, float] = {}

    def task(*words: str) -> str:
        started = time.monotonic()
        done = inv(*words, cwd=copy)
        seconds[words[0]] = time.monotonic() - started
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    with project(name) as copy:
        done = prodlock("init", cwd=copy)
        assert done.returncode == 0, done.stderr
        added = written(copy)
        assert {layout.dockerfile, layout.compose, "tasks.py", "pyproject.toml"} <= added.keys()
        assert ("Without prodlock.server" in done.stdout) is layout.own_server
        configured = configuration.read(copy)
        assert {key: getattr(configured, key) for key in layout.found} == layout.found
        files, read, total = footprint(added)
        commit(copy)
        # It sets the size budget.
        task("build")
        assert git(copy, "status", "--porcelain") == "M pyproject.toml"
        task("test")
        task("check-prod-has-no-pytest")
        printed = task("check-prod")
        for lock, note in NOTES.items():
            assert (note in printed) is (configured.lock == lock), printed
        task("serve", "--detach", f"--port={PORT}")
        with httpx.Client(base_url=f"http://127.0.0.1:{PORT}") as client:
            assert client.get(layout.health).status_code == 200
            method, path, body, text = layout.request
            assert text in client.request(method, path, json=body).text
        task("stop")
        assert left_behind() == []
        for command, text in layout.commands.items():
            runs(copy, layout.compose, command, text)
        if layout.existing:
            copies_of(copy, layout.existing)
        assert git(copy, "status", "--porcelain") == "M pyproject.toml"
        task("clean")
    took = ", ".join(f"{one} {value:.0f} s" for one, value in seconds.items())
    print(f"{name}: {files} files, {read} lines to read, {total} in all; {took}")
    assert files <= FILES
    assert read <= READ
    assert total <= ALL


def test_a_distribution_without_a_wheel_stops_the_build() -> None:
    """Nothing is built from source: the message names the distribution and what to do."""
    with project("packages") as copy:
        lock = copy / "poetry.lock"
        text = re.sub(r'(?m)^ *\{file = "sqlalchemy-[^"]*\.whl".*\n', "", lock.read_text(encoding="utf-8"))
        assert "sqlalchemy-" in text
        lock.write_text(text, encoding="utf-8")
        assert prodlock("init", cwd=copy).returncode == 0
        commit(copy)
        done = inv("build", cwd=copy)
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        assert re.search(r"sqlalchemy \S+ has no wheel for Python 3\.13 on .*To fix it: lock a version", done.stderr)
        assert docker("image", "ls", "--quiet", f"{COPY}:prod").stdout == ""
