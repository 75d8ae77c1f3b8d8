"""Images on a real Engine, under a project name of their own, so that no other containers are touched."""

from __future__ import annotations

import http.client
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from prodlock import site
from prodlock.project import Project

# Removed when the tests end.
_FOLDER = tempfile.TemporaryDirectory(prefix="service-")
# The project under test: what an adopter takes of this repository, around the service in prodlock/tests/service.
ROOT = Path(_FOLDER.name, "service")
REPOSITORY = Path(__file__).parents[3]
TAKEN = (
    ".dockerignore", ".gitattributes", ".gitignore", "Dockerfile", "deploy", "docker-compose.yml", "poetry.lock",
    "prodlock", "pyproject.toml", "tasks.py",
)  # fmt: skip
# Two checkouts can run these tests at the same time, with a name and a port each.
NAME = os.environ.get("TESTS_NAME", "prodlock")
PROJECT, COPY = f"{NAME}-tests", f"{NAME}-copy"
PROD, DEV = f"{PROJECT}:prod", f"{PROJECT}:dev"
PORT = int(os.environ.get("TESTS_PORT", "8765"))
BASE = "python:3.13-slim-trixie"
QUOTE = json.dumps({"lines": [{"article": "bolt", "pieces": 2, "price": "1.05"}]})
# prod has no shell: a RUN on top of it borrows the base image's programs, and their libraries, for that one step.
BORROWED = (
    f"--mount=type=bind,from={BASE},source=/usr/bin,target=/bin "
    f"--mount=type=bind,from={BASE},source=/usr/lib,target=/usr/lib"
)


def assemble() -> None:
    """Put the project under test together, and commit it."""
    # A test runs docker as another user.
    Path(_FOLDER.name).chmod(0o755)
    shutil.copytree(REPOSITORY / "prodlock" / "tests" / "service", ROOT, ignore=_ignored())
    # For the linters.
    (ROOT / "__init__.py").unlink()
    for name in TAKEN:
        if (REPOSITORY / name).is_dir():
            shutil.copytree(REPOSITORY / name, ROOT / name, ignore=_ignored("tests"))
        else:
            shutil.copy(REPOSITORY / name, ROOT / name)
    committed(ROOT)


def _ignored(*names: str) -> Callable[[Any, list[str]], set[str]]:
    # Without this machine's settings; `.env.example` is a part of the project.
    private = (".env", ".env.[!e]*")
    return shutil.ignore_patterns(".git", ".venv*", "__pycache__", ".*_cache", *private, ".prodlock", "reports", *names)


def committed(folder: Path) -> None:
    """Make a repository of a folder, with one commit."""
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message=x")


def docker(
    *args: str,
    check: bool = True,
    cwd: Path = ROOT,
    **options: Any,  # noqa: ANN401
) -> subprocess.CompletedProcess[str]:
    """Run `docker ARGS` and return what it printed. Raises CalledProcessError, with its errors as a note."""
    try:
        return subprocess.run(["docker", *args], check=check, capture_output=True, text=True, cwd=cwd, **options)  # noqa: S607
    except subprocess.CalledProcessError as failed:
        failed.add_note(failed.stderr)
        raise


def inv_command(*args: str) -> list[str]:
    """Return the command that `inv ARGS` is here."""
    return [sys.executable, "-m", "invoke", *args]


def inv(*args: str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `inv ARGS` and return its exit code and what it printed."""
    return subprocess.run(
        inv_command(*args), cwd=cwd, env=os.environ | environment, capture_output=True, text=True, check=False
    )


def sentence(done: subprocess.CompletedProcess[str]) -> str:
    """Return the last line on standard error of a task that failed as expected: no traceback, a code that is not 0."""
    assert done.returncode != 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr.strip().splitlines()[-1]


def check(*args: str, cwd: Path = ROOT) -> tuple[int, dict[str, Any]]:
    """Run the check and return its exit code and its report."""
    done = inv("check-prod-has-no-pytest", "--json", *args, cwd=cwd)
    assert done.returncode in {0, 1}, done.stderr
    return done.returncode, json.loads(done.stdout)


def inspected(reference: str) -> dict[str, Any]:
    """Return what the Engine reports about an image or a container."""
    facts: dict[str, Any] = json.loads(docker("inspect", reference).stdout)[0]
    return facts


def with_shell(instructions: str) -> str:
    """Return instructions whose every RUN has a shell and the base image's programs, which leave nothing behind."""
    return re.sub(
        r"^RUN ((?:--\S+ )*)", rf"RUN \1{BORROWED} export PATH=$PATH:/bin; ", instructions, flags=re.MULTILINE
    )


def content(reference: str) -> dict[str, tarfile.TarInfo]:
    """Return what a container of an image would see, by path."""
    container = docker("create", reference).stdout.strip()
    exported = subprocess.run(["docker", "export", container], check=True, capture_output=True).stdout  # noqa: S607
    docker("rm", container)
    with tarfile.open(fileobj=io.BytesIO(exported)) as archive:
        return {f"/{member.name}": member for member in archive}


def edit(file: Path, old: str, new: str) -> None:
    """Replace what must stand in a file once or more."""
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")


def install_again(copy: Path) -> None:
    """Make the next build install main's wheels again, whatever is cached."""
    installing = "python /installer/install.py wheels /opt/venv /main.txt"
    edit(copy / "Dockerfile", installing, f": {uuid4()} && {installing}")


def git(folder: Path, *args: str) -> str:
    """Run git with a fixed user and time, and return what it prints."""
    user = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    environment = {"GIT_COMMITTER_DATE": "2026-01-02T03:04:05Z", "PATH": "/usr/bin:/bin", "HOME": str(folder)}
    done = subprocess.run(["git", *user, *args], cwd=folder, env=environment, capture_output=True, check=True)  # noqa: S607
    return done.stdout.decode().strip()


@pytest.fixture(scope="session", autouse=True)
def images() -> Iterator[None]:
    """Both images, built as a user builds them; removed at the end."""
    # The second is for the plain `docker compose` commands of the tests alone: `inv` ignores it.
    os.environ |= {"PRODLOCK_PROJECT": PROJECT, "COMPOSE_PROJECT_NAME": PROJECT}
    # A shell's background jobs ignore Ctrl-C and hand that on: what is tested here must not.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    assemble()
    built = inv("build")
    assert built.returncode == 0, built.stderr
    yield
    inv("clean")


@contextmanager
def served() -> Iterator[str]:
    """Run production as `inv serve` does, on PORT; give its container."""
    done = inv("serve", "--detach", f"--port={PORT}")
    assert done.returncode == 0, done.stderr
    try:
        yield docker("compose", "--profile=prod", "ps", "--quiet", "api-prod", cwd=ROOT).stdout.strip()
    finally:
        assert inv("stop").returncode == 0


@pytest.fixture
def service() -> Iterator[str]:
    """Production's container, for one test."""
    with served() as container:
        yield container


def until(condition: Callable[[], bool], seconds: float) -> float:
    """Wait until a condition holds and return how many seconds that took."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < seconds, f"not so within {seconds} s"
        time.sleep(0.02)
    return time.monotonic() - started


def answers(path: str = "/ready", port: int = PORT, timeout: float = 2) -> bool:
    """Return whether the service answers 200 within so many seconds."""
    try:
        return httpx.get(f"http://127.0.0.1:{port}{path}", timeout=timeout).status_code == 200
    except httpx.TransportError:
        return False


def python_in(container: str, script: str, *options: str) -> str:
    """Return what a script prints in a running container."""
    return docker("exec", *options, container, "python", "-c", script).stdout.strip()


def status(container: str, field: str) -> str:
    """Return a field of the status of process 1 (proc_pid_status(5))."""
    script = f"print(*(line for line in open('/proc/1/status') if line.startswith('{field}:')))"
    return python_in(container, script).partition(":")[2].strip()


def memory(container: str) -> int:
    """Return the bytes that process 1 has had in memory, at most so far."""
    return int(status(container, "VmHWM").split()[0]) * 1024


@contextmanager
def copied(project: Path = ROOT) -> Iterator[Path]:
    """Copy a project, so that a test may change it; its images and containers are called COPY."""
    names = dict.fromkeys(("PRODLOCK_PROJECT", "COMPOSE_PROJECT_NAME"), COPY)
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(prefix="copy-") as folder:
        for name, value in names.items():
            patch.setenv(name, value)
        copy = Path(shutil.copytree(project, Path(folder, "copy"), ignore=_ignored()))
        yield copy
        inv("clean", cwd=copy, **names)


@pytest.fixture
def copy() -> Iterator[Path]:
    """A copy of the project that a test may change."""
    with copied() as folder:
        yield folder


@pytest.fixture
def repository(copy: Path) -> Path:
    """A copy of the project, committed."""
    committed(copy)
    return copy


def secrets() -> list[str]:
    """Return the options that hand a build this machine's certificates and package index."""
    settings = site.environment(Project(ROOT))
    os.environ.update(settings)
    return list(site.secrets(settings))


@contextmanager
def planted(instructions: str, *args: str) -> Iterator[str]:
    """Build an image by instructions on top of prod; give its name, and remove it afterwards."""
    tag = f"{PROJECT}:{uuid4().hex}"
    docker("build", "--quiet", f"--tag={tag}", *args, input=f"FROM {PROD}\nUSER root\n{with_shell(instructions)}\n")
    try:
        yield tag
    finally:
        docker("rmi", tag)


def left_behind() -> list[str]:
    """Return this project's containers and networks."""
    mine = f"label=com.docker.compose.project={os.environ['PRODLOCK_PROJECT']}"
    containers = docker("ps", "--all", "--filter", mine, "--format", "container {{.Names}}").stdout
    networks = docker("network", "ls", "--filter", mine, "--format", "network {{.Name}}").stdout
    return (containers + networks).splitlines()


class SecondEngine:
    """An Engine beside the machine's own: with the containerd image store, and a bridge that leads nowhere."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.address = f"unix://{folder}/socket"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        settings = self.folder / "daemon.json"
        settings.write_text(json.dumps({"features": {"containerd-snapshotter": True}}), encoding="utf-8")
        options = [f"--config-file={settings}", f"--host={self.address}", f"--bridge={PROJECT}", "--iptables=false"]
        places = [f"--{name}={self.folder}/{name}" for name in ("data-root", "exec-root", "pidfile")]
        with Path(self.folder, "log").open("ab") as log:
            self.process = subprocess.Popen(["dockerd", *options, *places], stdout=log, stderr=log)  # noqa: S607
        until(lambda: self.docker("version", check=False).returncode == 0, 30)

    def stop(self) -> None:
        """Stop it as a machine does that is shut down."""
        assert self.process
        self.process.terminate()
        self.process.wait(30)

    def docker(self, *args: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run `docker ARGS` on it."""
        return docker(f"--host={self.address}", *args, check=check)

    def load(self, image: str) -> None:
        """Bring an image of the first Engine to it."""
        saved = self.folder / "image.tar"
        docker("save", f"--output={saved}", image)
        self.docker("load", f"--input={saved}")


@pytest.fixture(scope="session")
def second_engine() -> Iterator[SecondEngine]:
    """A second Engine that runs."""
    if sys.platform != "linux" or os.geteuid() != 0 or not (shutil.which("dockerd") and shutil.which("ip")):
        pytest.skip("a second Engine needs Linux, root, dockerd and ip")
    with bridge(PROJECT), tempfile.TemporaryDirectory(prefix="engine-") as folder:
        engine = SecondEngine(Path(folder))
        engine.start()
        try:
            yield engine
        finally:
            engine.stop()


@pytest.fixture(scope="session")
def containerd_store(second_engine: SecondEngine) -> str:
    """The address of an Engine with the containerd image store, which has the base image."""
    second_engine.load(BASE)
    return second_engine.address


@contextmanager
def bridge(name: str) -> Iterator[None]:
    """Make a bridge for a second Engine. An Engine without a bridge would remove that of the first."""
    subprocess.run(["ip", "link", "add", name, "type", "bridge"], check=True)  # noqa: S607
    try:
        yield
    finally:
        subprocess.run(["ip", "link", "delete", name], check=True)  # noqa: S607


class Clients:
    """So many clients that ask without a pause, each on one connection for as long as that is kept; none asks twice."""

    def __init__(self, count: int) -> None:
        self.answered = 0
        self.lost: list[str] = []
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._ask) for _ in range(count)]

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Let them ask."""
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._stopped.set()
            for thread in self._threads:
                thread.join()

    def _ask(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=15)
        answered = 0
        while not self._stopped.is_set():
            try:
                connection.request("POST", "/quotes", QUOTE, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                body = answer.read()
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                wrong = repr(error)
            else:
                wrong = "" if answer.status == 200 and b'"2.10"' in body else f"{answer.status} {body!r}"
            if wrong:
                with self._lock:
                    self.lost.append(wrong)
            answered += 1
            self._stopped.wait(0.03)
        connection.close()
        with self._lock:
            self.answered += answered


@pytest.fixture(scope="session")
def proxy_image() -> Iterator[str]:
    """HAProxy from Debian's packages, started as the official image starts it."""
    tag = f"{PROJECT}:haproxy"
    docker(
        "build", "--quiet", f"--tag={tag}", "--target=base", "--build-arg=PACKAGES=haproxy", *secrets(), ".", cwd=ROOT
    )
    command = '["haproxy", "-W", "-db", "-f", "/usr/local/etc/haproxy/haproxy.cfg"]'
    instructions = f"FROM {tag}\nUSER haproxy\nENTRYPOINT []\nCMD {command}\n"
    docker("build", "--quiet", f"--tag={tag}", "-", input=instructions)
    yield tag
    docker("rmi", "--force", tag)
