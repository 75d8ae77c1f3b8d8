"""Tasks stop and remove only containers and images of their own checkout; no variable redirects them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from prodlock.tests.engine.conftest import (
    COPY,
    PORT,
    PROD,
    PROJECT,
    ROOT,
    answers,
    docker,
    edit,
    git,
    inv,
    inv_command,
    left_behind,
    sentence,
    until,
)
from prodlock.tests.engine.test_serve import serving

SECOND_PORT = PORT + 100


def running(name: str) -> bool:
    """Return whether a container of this name runs."""
    return docker("inspect", "--format={{.State.Running}}", name, check=False).stdout.strip() == "true"


def depending(copy: Path, database: str) -> None:
    """Make production depend on a service `db` in the Compose file of a copy."""
    service = f"services:\n  db:\n    profiles: [prod]\n    image: {PROD}\n{database}"
    edit(copy / "docker-compose.yml", "services:\n", service)
    depends = "    depends_on: {db: {condition: service_healthy}}\n"
    edit(copy / "docker-compose.yml", "  api-prod:\n", f"  api-prod:\n{depends}")


def database(health: str, script: str = "print('a line of db', flush=True); time.sleep(99)") -> str:
    """Return the settings of a service whose health check runs a Python expression."""
    return (
        f'    command: [python, -c, "import time; {script}"]\n    stop_grace_period: 1s\n    healthcheck:\n'
        f'      test: [CMD, python, -c, "{health}"]\n      interval: 1s\n      start_period: 1ms\n      retries: 1\n'
    )


HEALTHY, UNHEALTHY = database("0"), database("1/0")


def test_a_second_serve_is_refused_and_the_first_goes_on() -> None:
    """On another port and on the same one. The message names the container, its address and the command to stop it."""
    with serving() as (process, _):
        for options in ([f"--port={SECOND_PORT}", "--detach"], [f"--port={PORT}", "--detach"]):
            done = inv("serve", *options)
            assert sentence(done) == (
                f"Production must not be running yet (got {PROJECT}-api-prod-1 on http://localhost:{PORT}, started "
                f"from {ROOT}). To fix it: stop that with `inv stop`."
            )
            assert done.stderr.count("\n") == 1
        assert answers()
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    assert left_behind() == []


def test_of_two_simultaneous_serves_one_is_refused() -> None:
    """The refused one stops nothing of the other."""
    commands = [inv_command("serve", "--detach", f"--port={port}") for port in (PORT, SECOND_PORT)]
    both = [
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for command in commands
    ]
    try:
        outputs = [process.communicate(timeout=60) for process in both]
        codes = [process.returncode for process in both]
        assert sorted(codes) == [0, 1]
        assert answers(port=(PORT, SECOND_PORT)[codes.index(0)])
        assert "inv serve" in outputs[codes.index(1)][1].splitlines()[-1]
        assert "Traceback" not in outputs[codes.index(1)][1]
    finally:
        assert inv("stop").returncode == 0
    assert left_behind() == []


def test_another_checkout_of_the_same_name_leaves_the_first_alone(copy: Path) -> None:
    """Its `serve` is refused; its `stop` and `clean` name the container's checkout, and keep container and image."""
    # The container is started from ROOT, under the name of the copy.
    with serving():
        message = sentence(inv("serve", "--detach", f"--port={SECOND_PORT}", cwd=copy))
        assert message.endswith(f"started from {ROOT}). To fix it: stop that with `inv stop` in {ROOT}.")
        for task, left in (("stop", "Not stopped"), ("clean", "Not removed")):
            done = inv(task, cwd=copy)
            assert done.returncode == 0
            assert f"{left}: {COPY}-api-prod-1 on http://localhost:{PORT}" in done.stderr
        assert docker("images", "--quiet", f"{COPY}:prod").stdout
        assert answers()
    assert left_behind() == []


def test_replicas_of_other_compose_files_are_left_alone() -> None:
    """Those of deploy/proxy.yml, for example; the message names the command that stops them."""
    files = ("--file=docker-compose.yml", "--file=deploy/proxy.yml", "--profile=prod")
    try:
        docker("compose", *files, "up", "--detach", "--no-build", "api-prod", cwd=ROOT)
        remedy = f"--file={ROOT}/deploy/proxy.yml --project-name={PROJECT} --profile=prod down`"
        assert remedy in sentence(inv("serve", "--detach", f"--port={PORT}"))
        done = inv("stop")
        assert done.returncode == 0
        assert remedy in done.stderr
        assert running(f"{PROJECT}-api-prod-1")
        assert running(f"{PROJECT}-api-prod-2")
    finally:
        docker("compose", *files, "down", cwd=ROOT)


def test_a_container_of_docker_run_with_the_same_name_is_left_alone() -> None:
    """`serve` is refused; `stop` keeps it."""
    name = f"{PROJECT}-api-prod-1"
    docker("run", "--detach", f"--name={name}", PROD)
    try:
        message = sentence(inv("serve", "--detach", f"--port={PORT}"))
        assert message == (
            f"Production must not be running yet (got {name} (running), started with `docker run`). To fix it: stop "
            f"that with `docker rm --force {name}`."
        )
        assert inv("stop").returncode == 0
        assert running(name)
    finally:
        docker("rm", "--force", name)
    assert left_behind() == []


def test_serve_removes_the_exited_container_of_a_killed_serve() -> None:
    """The container survives the kill; after it has exited, the next `serve` replaces it."""
    with serving() as (process, _):
        process.kill()
        process.wait()
    name = f"{PROJECT}-api-prod-1"
    assert running(name)
    assert "To fix it: stop that with `inv stop`." in sentence(inv("serve", "--detach", f"--port={PORT}"))
    docker("stop", name)
    with serving():
        assert answers()
    assert left_behind() == []


@contextmanager
def another_project(folder: Path) -> Iterator[dict[str, str]]:
    """Run another project's container; yield the variables that redirect Compose to it."""
    name = f"{PROJECT}-other"
    folder.mkdir()
    file = folder / "compose.yml"
    file.write_text(f"name: {name}\nservices:\n  api-prod:\n    image: {PROD}\n    init: true\n", encoding="utf-8")
    (folder / "env").write_text(f"COMPOSE_PROJECT_NAME={name}\n", encoding="utf-8")
    where = ("compose", f"--file={file}", f"--project-name={name}")
    docker(*where, "up", "--detach", "--wait")
    try:
        yield {
            "COMPOSE_FILE": str(file),
            "COMPOSE_PROJECT_NAME": name,
            "COMPOSE_PROFILES": "dev",
            "COMPOSE_ENV_FILES": str(folder / "env"),
            "COMPOSE_REMOVE_ORPHANS": "1",
            "DOCKER_BUILDKIT": "0",
        }
        assert running(f"{name}-api-prod-1")
    finally:
        docker(*where, "down")


@pytest.mark.parametrize("place", ["environment", ".env"])
def test_no_variable_of_compose_redirects_a_task(copy: Path, tmp_path: Path, place: str) -> None:
    """It builds, starts, stops and removes only this project's images and containers."""
    with another_project(tmp_path / "other") as variables:
        if place == ".env":
            # In the environment these select the Engine of every task.
            variables |= {"DOCKER_HOST": "tcp://127.0.0.1:1", "BUILDX_BUILDER": "other"}
            (copy / ".env").write_text("".join(f"{name}={value}\n" for name, value in variables.items()))
        variables_set = variables if place == "environment" else {}
        assert inv("build", cwd=copy, **variables_set).returncode == 0
        done = inv("serve", "--detach", f"--port={PORT}", cwd=copy, **variables_set)
        assert done.returncode == 0, done.stderr
        assert running(f"{COPY}-api-prod-1")
        assert inv("stop", cwd=copy, **variables_set).returncode == 0
        assert left_behind() == []
        assert docker("images", "--quiet", f"{COPY}:prod").stdout
        assert inv("clean", cwd=copy, **variables_set).returncode == 0
        assert not docker("images", "--quiet", f"{COPY}:prod").stdout


def test_an_invalid_project_name_is_refused() -> None:
    """The message has one line; nothing has been removed."""
    done = inv("clean", PRODLOCK_PROJECT="My Shop")
    assert sentence(done).startswith("PRODLOCK_PROJECT must be lower-case letters, digits, `_` and `-`")
    assert done.stderr.count("\n") == 1


def test_the_override_file_is_used(copy: Path) -> None:
    """`inv serve` runs the same as `docker compose up`; `inv stop` stops it even after the override was removed."""
    override = copy / "docker-compose.override.yml"
    override.write_text("services:\n  api-prod:\n    environment: [APP_NAME=overridden]\n", encoding="utf-8")
    assert inv("serve", "--detach", f"--port={PORT}", cwd=copy).returncode == 0
    variables = docker("inspect", "--format={{.Config.Env}}", f"{COPY}-api-prod-1").stdout
    override.unlink()
    assert inv("stop", cwd=copy).returncode == 0
    assert "APP_NAME=overridden" in variables
    assert left_behind() == []


def test_the_last_lines_of_a_failed_dependency_are_printed(copy: Path) -> None:
    """They follow its name; production itself never started."""
    depending(copy, UNHEALTHY)
    done = inv("serve", "--detach", f"--port={PORT}", cwd=copy)
    assert sentence(done) == "db did not become healthy; the last lines above give the reason."
    assert "The last lines of db:" in done.stderr
    assert "a line of db" in done.stdout + done.stderr
    assert "The last lines of api-prod" not in done.stderr
    assert left_behind() == []


def test_serve_stops_the_dependencies_that_it_started(copy: Path) -> None:
    """A dependency that already ran keeps running."""
    depending(copy, HEALTHY)
    for started_before in (False, True):
        if started_before:
            docker("compose", "--profile=prod", "up", "--detach", "--wait", "--no-build", "db", cwd=copy)
        with serving(cwd=copy, APP_DRAIN_SECONDS="0") as (process, _):
            assert running(f"{COPY}-db-1")
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
        assert running(f"{COPY}-db-1") == started_before
    assert inv("stop", cwd=copy).returncode == 0
    assert left_behind() == []


@pytest.mark.parametrize(
    ("number", "seconds"), [(signal.SIGINT, 0.0), (signal.SIGTERM, 0.1), (signal.SIGTERM, 0.3), (signal.SIGINT, 1.0)]
)
def test_an_interrupted_start_leaves_nothing_behind(copy: Path, number: signal.Signals, seconds: float) -> None:
    """At several times after Compose began to create the containers; the exit code is 130."""
    depending(copy, database("1/0").replace("retries: 1", "retries: 99"))
    command = inv_command("serve", "--detach", f"--port={PORT}")
    with subprocess.Popen(command, cwd=copy, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert any(" create " in line for line in process.stderr)
        time.sleep(seconds)
        process.send_signal(number)
        rest = process.stderr.read()
    assert process.returncode == 130
    assert rest.splitlines()[-1] == "Interrupted."
    assert left_behind() == []


def test_stop_and_clean_work_with_an_invalid_compose_file_or_env_file(copy: Path) -> None:
    """They read neither; `build` fails with a message."""
    assert inv("serve", "--detach", f"--port={PORT}", cwd=copy).returncode == 0
    for name in (".env", "docker-compose.yml"):
        with (copy / name).open("a", encoding="utf-8") as file:
            file.write("\nbroken: [\n'")
        assert sentence(inv("build", cwd=copy))
    for task in ("stop", "clean"):
        assert inv(task, cwd=copy).returncode == 0
        assert left_behind() == []


def test_stop_and_serve_leave_running_tests_alone(copy: Path) -> None:
    """One-off containers belong to the task that started them."""
    shutil.copy(ROOT / "docker-compose.yml", copy)
    command = inv_command("shell", "--", "sh", "-c", "echo Rea''ched; sleep 60")
    with subprocess.Popen(command, cwd=copy, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        assert any("Reached" in line for line in process.stdout)
        assert inv("stop", cwd=copy).returncode == 0
        assert process.poll() is None
        assert [line for line in left_behind() if "-dev-" in line]
        process.terminate()
        process.stdout.read()
    # The Engine removes a container after its client has ended.
    until(lambda: left_behind() == [], 5)


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        (["test", "-k", "a or b"], "inv test -- -k 'a or b'"),
        (["test", "tests/test_main.py"], "inv test -- tests/test_main.py"),
        (["shell", "--prod", "python", "-V"], "inv shell --prod -- python -V"),
        (["poetry", "--version"], "inv poetry -- --version"),
        (["uv", "--version"], "inv uv -- --version"),
        (["test-tool", "-x", "--", "-v"], "inv test-tool -- -x -v"),
    ],
)
def test_a_missing_separator_gets_a_hint(line: list[str], hint: str) -> None:
    """One line has the correct command, for each task that passes arguments on."""
    done = inv(*line)
    message = sentence(done)
    assert message.startswith(f"Arguments that `{line[0]}` passes on must follow `--` (got ")
    assert message.endswith(f"). To fix it: `{hint}`.")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)


def test_inv_without_a_task_lists_the_tasks() -> None:
    """In groups; `inv help` prints the same."""
    done = inv()
    assert (done.returncode, done.stdout) == (0, inv("help").stdout)
    assert "check-prod-has-no-pytest" in done.stdout


def test_git_ignores_secrets_and_generated_files(repository: Path) -> None:
    """The project's .gitignore has secrets; files that tasks generate are ignored without a line in it."""
    (repository / "reports").mkdir()
    for name in (".env", ".env.local", "app/.env", "reports/junit.xml"):
        (repository / name).write_text("PASSWORD=x\n", encoding="utf-8")
    (repository / ".env.example").write_text("PASSWORD=\n", encoding="utf-8")
    assert git(repository, "status", "--porcelain", "--untracked-files=all") == "?? .env.example"
    for name in (".env", ".env.local", "app/.env", "reports/junit.xml", ".env.example"):
        (repository / name).unlink()
    (repository / ".gitignore").write_text("__pycache__/\n", encoding="utf-8")
    git(repository, "commit", "--quiet", "--all", "--message=y")
    assert inv("poetry", "--", "--version", cwd=repository).returncode == 0
    assert inv("uv", "--", "--version", cwd=repository).returncode == 0
    assert (repository / ".prodlock" / "ca-bundle.pem").is_file()
    assert git(repository, "status", "--porcelain", "--untracked-files=all") == ""


def test_env_files_in_app_are_excluded_from_images(copy: Path) -> None:
    """The .dockerignore excludes `.env` in every folder, and other files are copied."""
    for name in (".env", ".env.production", "settings.env"):
        (copy / "app" / name).write_text("PASSWORD=x\n", encoding="utf-8")
    done = docker("build", "--quiet", "--target=sources", "--output=type=local,dest=out", ".", cwd=copy, check=False)
    assert done.returncode == 0, done.stderr
    found = {path.name for path in (copy / "out").rglob("*env*")}
    assert found == {"settings.env"}


def test_a_variable_redirects_plain_docker_compose() -> None:
    """The positive control of the tests above."""
    redirecting = os.environ | {"COMPOSE_PROJECT_NAME": "redirected"}
    assert docker("compose", "config", "--format=json", cwd=ROOT, env=redirecting).stdout.count('"redirected"')
