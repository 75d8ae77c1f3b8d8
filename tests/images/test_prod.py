"""What production is made of."""

from __future__ import annotations

import time
from pathlib import Path

from tests.images.conftest import COPY, DEV, PROD, ROOT, docker, inspected, inv


def inside(reference: str, script: str) -> list[str]:
    """Return the lines that a shell script prints in a container of the image."""
    return docker("run", "--rm", "--network=none", "--user=0", reference, "sh", "-c", script).stdout.split("\n")[:-1]


def test_a_bare_build_is_prod() -> None:
    """`docker build .` gives what Compose builds, but for the labels that Compose puts on its own."""
    bare, composed = inspected(docker("build", "--quiet", ".", cwd=ROOT).stdout.strip()), inspected(PROD)
    assert bare["RootFS"] == composed["RootFS"]
    labels = composed["Config"].pop("Labels")
    assert all(name.startswith("com.docker.compose.") for name in labels)
    # Engines differ in whether they show what is not set.
    assert not bare["Config"].pop("Labels", None)
    assert bare["Config"] == composed["Config"]


def test_only_the_app_is_in_the_home_folder() -> None:
    """No tests, no tasks, no lock; dev has them."""
    assert inside(PROD, "ls -A /srv") == ["app"]
    assert inside(DEV, "ls -A /srv") == ["app", "ops", "poetry.lock", "pyproject.toml", "tasks.py", "tests"]


def test_the_virtual_environment_holds_what_the_main_group_needs() -> None:
    """An allow-list: whatever is new must be put here on purpose."""
    assert inside(PROD, "ls /opt/venv/bin | grep -v -i activate") == [
        "fastapi", "idna", "python", "python3", "python3.13", "uvicorn",
    ]  # fmt: skip


def test_nothing_that_builds_or_tests_is_in_production() -> None:
    """No compiler, no package manager in the environment, no test runner; dev shows that the probe works."""
    probe = "for name in pytest inv poetry uv gcc cc git; do command -v $name; done; ls -d /opt/venv/lib/*/*/pip*"
    assert inside(PROD, probe + "; true") == []
    assert inside(DEV, probe + "; true") == ["/opt/venv/bin/pytest", "/opt/venv/bin/inv"]


def test_prod_has_no_pytest_to_run() -> None:
    """`docker compose run api-prod pytest` finds no such executable."""
    done = docker("compose", "--profile=prod", "run", "--rm", "api-prod", "pytest", check=False)
    assert done.returncode != 0
    assert 'exec: "pytest": executable file not found' in done.stderr
    assert inv("stop").returncode == 0


def test_the_user_is_a_number_that_owns_nothing() -> None:
    """Not root, no name needed, and not able to change the code."""
    assert inspected(PROD)["Config"]["User"] == "10001:10001"
    assert docker("run", "--rm", PROD, "id", "-u").stdout == "10001\n"
    assert inside(PROD, "find / -xdev -user 10001") == []
    writable = "find /srv /opt /usr/local -writable ! -type l"
    assert docker("run", "--rm", PROD, "sh", "-c", writable).stdout == ""
    assert docker("run", "--rm", "--user=0", PROD, "sh", "-c", writable).stdout != ""


def test_every_module_was_compiled_at_build() -> None:
    """A read-only root can't keep bytecode. Its sources never change: they are not even looked at (PEP 552, flag 1)."""
    script = (
        "import sys; import app.main, uvicorn, httptools; "
        "cached = {m.__cached__ for m in list(sys.modules.values()) if getattr(m, '__cached__', None)}; "
        "print(len(cached) > 300, {open(name, 'rb').read(5)[4] for name in cached})"
    )
    assert docker("run", "--rm", PROD, "python", "-c", script).stdout == "True {1}\n"


def test_neither_a_code_edit_nor_a_version_bump_installs_again(copy: Path) -> None:
    """Both change the two layers of the app, and no other; a changed dependency would."""
    before = inspected(PROD)["RootFS"]["Layers"]
    for name, old in (("pyproject.toml", 'version = "'), ("app/__init__.py", '__version__ = "')):
        path = copy / name
        path.write_text(path.read_text(encoding="utf-8").replace(old, old + "9"), encoding="utf-8")
    assert inv("build", cwd=copy).returncode == 0
    after = inspected(f"{COPY}:prod")["RootFS"]["Layers"]
    assert after[:-2] == before[:-2]
    assert after[-2:] != before[-2:]


def test_dev_runs_what_prod_runs() -> None:
    """The environment's files that both have are the same, byte for byte."""
    digests = "cd /opt/venv && find . -type f -exec sha256sum {} + | sort -k 2"
    prod, dev = (set(inside(image, digests)) for image in (PROD, DEV))
    assert len(prod) > 500
    assert prod <= dev


def test_the_healthcheck_tells_a_hanging_service_from_a_healthy_one() -> None:
    """Healthy within seconds; unhealthy once the process stops answering."""
    container = docker("run", "--detach", "--health-interval=500ms", "--health-retries=1", PROD).stdout.strip()
    try:
        assert reaches(container, "healthy")
        docker("kill", "--signal=STOP", container)
        assert reaches(container, "unhealthy")
    finally:
        docker("rm", "--force", container)


def reaches(container: str, status: str) -> bool:
    """Wait until the container's health is `status`, 20 seconds at most."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if inspected(container)["State"]["Health"]["Status"] == status:
            return True
        time.sleep(0.1)
    return False
