"""examples/orders with a database: moved in, tested, developed, served, updated under load, and proved."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from prodlock.tests.engine.conftest import (
    BASE,
    NAME,
    PORT,
    REPOSITORY,
    answers,
    committed,
    docker,
    edit,
    git,
    inspected,
    inv,
    inv_command,
    until,
)
from prodlock.tests.engine.databases import POSTGRES, REDIS, built

PROJECT = f"{NAME}-orders"
PROD = f"{PROJECT}:prod"
ADDRESS = f"http://127.0.0.1:{PORT}"
# Of the Engine's tests, no other module has the package outside the project.
ENVIRONMENT = {"PRODLOCK_PROJECT": PROJECT, "COMPOSE_PROJECT_NAME": PROJECT, "PYTHONPATH": str(REPOSITORY)}
PROXIED = ("compose", "--file=docker-compose.yml", "--file=deploy/proxy.yml", "--profile=prod")
WRITERS = 12


class Orders:
    """The project in a folder, its tasks, and its service on PORT."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def done(self, *args: str, **environment: str) -> str:
        """Run a task that must succeed, and return what it printed on standard output."""
        done = inv(*args, cwd=self.root, **ENVIRONMENT, **environment)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def failure(self, *args: str) -> str:
        """Run a task that must fail as expected, and return what it printed on standard error."""
        done = inv(*args, cwd=self.root, **ENVIRONMENT)
        assert done.returncode == 1, done.stdout + done.stderr
        assert 'Traceback (most recent call last):\n  File "' + str(REPOSITORY) not in done.stderr
        return done.stderr

    def prodlock(self, *args: str) -> str:
        """Run the command `prodlock`, and return what it printed."""
        command = [sys.executable, "-m", "prodlock", *args]
        done = subprocess.run(
            command, cwd=self.root, env=os.environ | ENVIRONMENT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def docker(self, *args: str, **environment: str) -> str:
        """Run docker in the project's folder, and return what it printed."""
        return docker(*args, cwd=self.root, env=os.environ | ENVIRONMENT | {"PORT": str(PORT)} | environment).stdout

    def commit(self) -> None:
        """Commit the working tree."""
        git(self.root, "add", "--all")
        git(self.root, "commit", "--quiet", "--allow-empty", "--message=x")

    def left(self, *kinds: str) -> list[str]:
        """Return the containers and networks of the project and of its runs of tests."""
        found = self.docker("ps", "--all", "--format", "{{.Names}}").split()
        found += self.docker("network", "ls", "--format", "{{.Name}}").split()
        return [one for one in found if one.startswith((f"{PROJECT}-", f"{PROJECT}_")) and (not kinds or one in kinds)]


def write(article: str) -> int:
    """Create an order, and return its number."""
    created = httpx.post(f"{ADDRESS}/orders", json={"article": article, "pieces": 1}, timeout=10)
    assert created.status_code == 201, created.text
    return int(created.json()["id"])


def stored() -> dict[int, str]:
    """Return the articles of all orders by their numbers."""
    found: dict[int, str] = {}
    while page := httpx.get(f"{ADDRESS}/orders", params={"after": max(found, default=0), "limit": 1000}).json():
        found |= {one["id"]: one["article"] for one in page}
    return found


@pytest.fixture(scope="module")
def orders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orders]:
    """The example, moved in by `prodlock init`, committed and built."""
    root = tmp_path_factory.mktemp("adopter") / "orders"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(REPOSITORY / "examples" / "orders", root, ignore=ignored)
    project = Orders(root)
    with built(POSTGRES):
        project.prodlock("init", "--set", f'services={{db = "{POSTGRES}"}}')
        shutil.copytree(REPOSITORY / "deploy", root / "deploy")
        committed(root)
        project.done("build")
        # It has written the budget.
        project.commit()
        try:
            yield project
        finally:
            inv("clean", "--volumes", cwd=root, **ENVIRONMENT)


@contextmanager
def served(orders: Orders) -> Iterator[None]:
    """Serve production."""
    orders.done("serve", "--detach", f"--port={PORT}")
    try:
        yield
    finally:
        orders.done("stop")


def test_init_finds_the_database_and_its_migration(orders: Orders) -> None:
    """Of the keys, the image of the database alone was given."""
    described = (orders.root / "pyproject.toml").read_text(encoding="utf-8")
    assert 'environment = ["DATABASE_URL"]' in described
    assert 'commands = {migrate = "alembic upgrade head"}' in described


def test_tests_have_a_database_of_their_own(orders: Orders) -> None:
    """They reach it, and nothing outside; it is removed with its data, and what production has stored stays."""
    with served(orders):
        number = write("kept")
        production = inspected(f"{PROJECT}-db-1")["NetworkSettings"]["Networks"][f"{PROJECT}_default"]["IPAddress"]
        present = orders.left()
        orders.done("test")
        ask = """
import socket, sys
socket.create_connection(("db", 5432), 2)
for place in sys.argv[1:]:
    try:
        socket.create_connection((place, 5432), 2)
    except OSError:
        continue
    sys.exit(f"{place} can be reached")
"""
        orders.done("shell", "--", "python", "-c", ask, production, "203.0.113.1")
        assert orders.left() == present
        assert stored()[number] == "kept"


def test_production_is_proved_and_has_no_password_in_its_settings(orders: Orders) -> None:
    """Both checks are clean. The password is in the secret's file alone, which git ignores."""
    with served(orders):
        secret = orders.root / ".prodlock" / "secrets" / "db_password"
        password = secret.read_text(encoding="ascii")
        inside = "print(open('/run/secrets/db_password').read())"
        containers = [f"{PROJECT}-{name}-1" for name in ("api-prod", "db", "migrate")]
        assert orders.docker("exec", containers[0], "python", "-c", inside).strip() == password
        assert len(password) > 40
        assert secret.parent.stat().st_mode & 0o077 == 0
        assert ".prodlock" not in git(orders.root, "status", "--short", "--untracked-files=all")
        described = [json.dumps(inspected(one)) for one in (*containers, PROD)]
        described += [orders.docker("logs", one) for one in containers]
        described += [orders.docker("history", "--no-trunc", PROD)]
        assert [text for text in described if password in text] == []
        report = json.loads(orders.done("check-prod", "--json"))
        assert (report["clean"], report["findings"]) == (True, [])
        assert POSTGRES in orders.done("check-prod")
        assert json.loads(orders.done("check-prod-has-no-pytest", "--json"))["clean"]


def test_data_stays_in_its_volume(orders: Orders) -> None:
    """`inv stop` and `inv clean` keep it; a lost password is reported before a container is made."""
    with served(orders):
        number = write("kept")
    assert orders.left() == []
    secret = orders.root / ".prodlock" / "secrets" / "db_password"
    secret.rename(secret.with_suffix(".away"))
    assert "must have the password that the data in the volume" in orders.failure("serve", "--detach", f"--port={PORT}")
    assert orders.left() == []
    secret.with_suffix(".away").rename(secret)
    with served(orders):
        assert stored()[number] == "kept"


def test_a_failed_migration_keeps_the_service_from_starting(orders: Orders) -> None:
    """The last lines of its log are printed, and nothing is left."""
    migration = orders.root / "migrations" / "versions" / "20260102_orders.py"
    text = migration.read_text(encoding="utf-8")
    broken = text.replace("down_revision = None", 'down_revision = "missing"')
    try:
        migration.write_text(broken, encoding="utf-8")
        printed = orders.failure("serve", "--detach", f"--port={PORT}")
    finally:
        migration.write_text(text, encoding="utf-8")
    assert "The last lines of migrate:" in printed
    assert printed.strip().endswith("migrate failed; the last lines above give the reason.")
    assert orders.left() == []


@contextmanager
def developed(orders: Orders) -> Iterator[None]:
    """Run `inv dev`."""
    with subprocess.Popen(
        inv_command("dev", f"--port={PORT}"), cwd=orders.root, env=os.environ | ENVIRONMENT, stderr=subprocess.PIPE
    ) as process:
        try:
            until(lambda: answers("/health"), 60)
            yield
        finally:
            process.terminate()
            process.communicate(timeout=60)


def test_development_has_a_database_that_stays(orders: Orders) -> None:
    """A migration is applied in the working tree; `inv dev` serves the same data twice, and leaves no container."""
    orders.done("shell", "--tree", "--", "alembic", "upgrade", "head")
    with developed(orders):
        number = write("draft")
        # Another command uses the database, and leaves it to the service.
        orders.done("shell", "--tree", "--", "alembic", "current")
        assert stored()[number] == "draft"
    assert orders.left() == []
    with developed(orders):
        assert stored() == {number: "draft"}
    assert orders.left() == []


class Writers:
    """Clients that create orders without a pause, each with an article of its own; none asks twice."""

    def __init__(self) -> None:
        self.created: dict[int, str] = {}
        self.lost: list[str] = []
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._write, args=(number,)) for number in range(WRITERS)]

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Let them write."""
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._stopped.set()
            for thread in self._threads:
                thread.join()

    def _write(self, writer: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=30)
        count = 0
        while not self._stopped.is_set():
            article = f"{writer}-{count}"
            count += 1
            try:
                body = json.dumps({"article": article, "pieces": 1})
                connection.request("POST", "/orders", body, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                text = answer.read()
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                with self._lock:
                    self.lost.append(repr(error))
            else:
                with self._lock:
                    if answer.status == 201:
                        self.created[json.loads(text)["id"]] = article
                    else:
                        self.lost.append(f"{answer.status} {text!r}")
            self._stopped.wait(0.05)
        connection.close()


def replicas(orders: Orders, image: str) -> list[str]:
    """Return the containers of production."""
    return orders.docker(*PROXIED, "ps", "--quiet", "api-prod", HAPROXY_IMAGE=image).split()


def add_note(orders: Orders) -> None:
    """Add a column to the model, and write its migration as a user does: by autogenerate in the working tree."""
    models, main = orders.root / "orders" / "models.py", orders.root / "orders" / "main.py"
    edit(models, "    pieces: Mapped[int]\n", "    pieces: Mapped[int]\n    note: Mapped[str | None]\n")
    edit(main, "    id: int\n", "    id: int\n    note: str | None\n")
    orders.done("shell", "--tree", "--", "alembic", "upgrade", "head")
    orders.done("shell", "--tree", "--", "alembic", "revision", "--autogenerate", "--message=note")
    (written,) = (orders.root / "migrations" / "versions").glob("*_note.py")
    assert "op.add_column" in written.read_text(encoding="utf-8")
    assert written.stat().st_uid == os.getuid()


@pytest.mark.full_length
def test_a_rolling_update_with_a_migration_loses_nothing(orders: Orders, proxy_image: str) -> None:
    """While clients write, the migration runs, then new replicas replace the old ones; all orders are read back."""
    given = {"HAPROXY_IMAGE": proxy_image}
    # It writes the password.
    with served(orders):
        pass
    add_note(orders)
    git(orders.root, "stash", "--include-untracked")
    orders.done("build")
    former = inspected(PROD)["Id"]
    try:
        orders.docker(*PROXIED, "up", "--detach", "--wait", "--no-build", **given)
        until(lambda: answers("/ready"), 30)
        old = replicas(orders, proxy_image)
        assert len(old) == 2
        git(orders.root, "stash", "pop")
        orders.commit()
        orders.done("build")
        assert inspected(PROD)["Id"] != former
        writers = Writers()
        with writers.writing():
            until(lambda: len(writers.created) > 100, 60)
            orders.docker(*PROXIED, "run", "--rm", "--no-deps", "migrate", **given)
            start = ("up", "--detach", "--wait", "--no-build", "--no-deps", "--no-recreate", "--scale=api-prod=4")
            orders.docker(*PROXIED, *start, "api-prod", **given)
            # Until the proxy's checks have found them ready.
            time.sleep(3)
            for replica in old:
                orders.docker("stop", replica)
                orders.docker("rm", replica)
            before = len(writers.created)
            until(lambda: len(writers.created) > before + 100, 60)
        print(f"{len(writers.created)} orders, {len(writers.lost)} lost")
        assert writers.lost == []
        found = stored()
        assert {number: found.get(number) for number in writers.created} == writers.created
        assert all("note" in one for one in httpx.get(f"{ADDRESS}/orders").json())
        assert {inspected(one)["Image"] for one in replicas(orders, proxy_image)} == {inspected(PROD)["Id"]}
    finally:
        orders.docker(*PROXIED, "down", **given)
    # The positive control: what a writer loses is counted.
    late = Writers()
    with late.writing():
        until(lambda: bool(late.lost), 10)
    for check in ("check-prod", "check-prod-has-no-pytest"):
        assert json.loads(orders.done(check, "--json"))["clean"]


@pytest.fixture
def restored(orders: Orders) -> Iterator[None]:
    """The project has its former commit after the test."""
    former = git(orders.root, "rev-parse", "HEAD")
    yield
    git(orders.root, "reset", "--hard", "--quiet", former)


@pytest.mark.full_length
@pytest.mark.usefixtures("restored")
def test_a_second_service_and_a_worker_are_one_line_each(orders: Orders) -> None:
    """Redis beside the database, and a further command that runs beside the service, with its hardening."""
    described = orders.root / "pyproject.toml"
    edit(described, f'services = {{db = "{POSTGRES}"}}', f'services = {{db = "{POSTGRES}", cache = "{REDIS}"}}')
    work = "import signal, threading; signal.signal(signal.SIGTERM, lambda *_: exit(0)); threading.Event().wait()"
    (orders.root / "orders" / "worker.py").write_text(work, encoding="utf-8")
    edit(described, "commands = {", 'commands = {worker = "python -m orders.worker", ')
    orders.prodlock("upgrade")
    orders.commit()
    ask = """
import socket
with socket.create_connection(("cache", 6379), 5) as client:
    client.sendall(b"PING\\r\\n")
    print(client.recv(99).decode())
"""
    with built(REDIS):
        assert "+PONG" in orders.done("shell", "--", "python", "-c", ask)
        with served(orders):
            assert "+PONG" in orders.docker("exec", f"{PROJECT}-worker-1", "python", "-c", ask)
            worker = inspected(f"{PROJECT}-worker-1")
            assert worker["State"]["Running"]
            assert worker["HostConfig"]["ReadonlyRootfs"]
            assert worker["HostConfig"]["CapDrop"] == ["ALL"]
            assert worker["Image"] == inspected(f"{PROJECT}-api-prod-1")["Image"]
            orders.done("build")
            report = json.loads(orders.done("check-prod", "--json"))
            assert (report["clean"], report["findings"]) == (True, [])
        assert orders.left() == []
        edit(orders.root / "orders" / "worker.py", work, "raise SystemExit(3)")
        assert "worker did not become healthy" in orders.failure("serve", "--detach", f"--port={PORT}")
        assert orders.left() == []
        git(orders.root, "checkout", "orders")
        # Another command than the declared one is a finding.
        edit(orders.root / "docker-compose.yml", '["python", "-m", "orders.worker"]', '["python", "-m", "http.server"]')
        done = inv("check-prod", "--json", cwd=orders.root, **ENVIRONMENT)
        assert done.returncode == 2
        assert 'got no line `worker: {<<: *prod, command: ["python", "-m", "orders.worker"]' in done.stderr


@pytest.mark.usefixtures("restored")
def test_services_that_do_not_start_are_reported(orders: Orders) -> None:
    """An image that is nowhere, and one that exits; nothing is left."""
    described = orders.root / "pyproject.toml"
    text = described.read_text(encoding="utf-8")
    for image, reported in {
        f"localhost:1/{NAME}/absent:1": "must be on this Engine, or in a registry that it reaches",
        BASE: "mail-tests did not become healthy; the last lines above give the reason.",
    }.items():
        described.write_text(re.sub("services = {.*", f'services = {{mail = "{image}"}}', text), encoding="utf-8")
        orders.prodlock("upgrade")
        assert reported in orders.failure("test")
        assert orders.left() == []


@pytest.mark.full_length
def test_clean_removes_what_a_killed_run_of_tests_has_left(orders: Orders) -> None:
    """The database of the run, and its network."""
    process = subprocess.Popen(
        inv_command("shell", "--", "sleep", "99"),
        cwd=orders.root,
        env=os.environ | ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until(lambda: any("-dev-" in one for one in orders.left()), 90)
    process.kill()
    process.wait()
    assert any(one.endswith("-db-tests-1") for one in orders.left())
    orders.done("clean")
    assert orders.left() == []


@pytest.mark.full_length
def test_compose_alone_builds_migrates_and_serves(orders: Orders) -> None:
    """In a clone without images, with the documented command for the password: no image is pulled."""
    orders.done("clean", "--volumes")
    folder = orders.root / ".prodlock" / "secrets"
    shutil.rmtree(folder, ignore_errors=True)
    command = "mkdir -p .prodlock/secrets && openssl rand -hex 32 > .prodlock/secrets/db_password"
    subprocess.run(["sh", "-c", command], cwd=orders.root, check=True)  # noqa: S607
    compose: Callable[..., Any] = lambda *args: orders.docker("compose", "--profile=prod", *args)  # noqa: E731
    try:
        compose("up", "--build", "--detach", "--wait")
        assert stored() == {}
        write("bolt")
    finally:
        compose("down", "--volumes")
