"""What bad input gets: a sentence with a remedy, a code that is not 0, nothing left running."""

from __future__ import annotations

import gzip
import io
import os
import re
import shutil
import signal
import subprocess
import tarfile
import time
from pathlib import Path
from uuid import uuid4

import pytest

from ops import site
from tests.images.conftest import (
    COPY,
    DEV,
    PORT,
    PROD,
    PROJECT,
    ROOT,
    docker,
    edit,
    install_again,
    inv,
    inv_command,
    left_behind,
    sentence,
)

VERBS = (["build"], ["serve", f"--port={PORT}"], ["test"], ["check-prod-has-no-pytest"], ["stop"], ["clean"], ["lint"])


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb[0])
def test_no_docker_on_the_path(verb: list[str], tmp_path: Path) -> None:
    """Says where Docker comes from."""
    said = sentence(inv(*verb, PATH=str(tmp_path)))
    assert said.startswith("There is no `docker` on PATH that can be run: run `inv setup`")


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb[0])
def test_no_engine(verb: list[str]) -> None:
    """Says how to start it."""
    said = sentence(inv(*verb, DOCKER_HOST="unix:///nowhere/docker.sock"))
    assert "The Docker Engine is not running: start it" in said


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody who may not use the socket")
@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb[0])
def test_no_permission_on_the_socket(verb: list[str], tmp_path: Path) -> None:
    """Says which group to join."""
    # Nobody could not even read the Python that runs `inv`: only `docker` is run by nobody, with a home of nobody's.
    program = tmp_path / "docker"
    nobody = "env HOME=/ setpriv --reuid=65534 --clear-groups"
    program.write_text(f'#!/bin/sh\nexec {nobody} {shutil.which("docker")} "$@"\n')
    program.chmod(0o755)
    done = inv(*verb, PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert "You may not use Docker's socket: run `sudo usermod -aG docker $USER`" in sentence(done)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can hide Docker's plugins")
@pytest.mark.parametrize(
    "verb", [verb for verb in VERBS if verb[0] not in {"check-prod-has-no-pytest", "lint"}], ids=lambda verb: verb[0]
)
def test_no_compose(verb: list[str]) -> None:
    """Compose is a plugin; without its folder, `docker compose` is no command. v1 on PATH does not help."""
    folders = [str(path) for path in map(Path, PLUGINS) if path.is_dir()]
    hide = " && ".join(f"mount -t tmpfs none {folder}" for folder in folders)
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", f'{hide} && exec "$@"', "sh", *inv_command(*verb)],  # noqa: S607
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "Docker Compose v2 or Buildx is missing (v1, `docker-compose`, will not do)" in sentence(done)


PLUGINS = (
    "/usr/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/local/lib/docker/cli-plugins",
)


def test_a_stale_lock(copy: Path) -> None:
    """A dependency was added by hand: the build stops and says how to lock again."""
    edit(copy / "pyproject.toml", '"fastapi>=0.165",', '"fastapi>=0.165",\n    "certifi",')
    said = sentence(inv("build", cwd=copy))
    assert said == (
        "The build failed. pyproject.toml changed significantly since poetry.lock was last generated: "
        "run `inv poetry -- lock`, review what it changed, and commit it."
    )
    done = docker("build", ".", cwd=copy, check=False)
    assert done.returncode != 0
    assert "pyproject.toml changed significantly since poetry.lock was last generated" in done.stderr


def test_a_wheel_that_is_not_the_locked_one(copy: Path) -> None:
    """The index serves something else than what was locked: the build stops and names it."""
    lock = copy / "poetry.lock"
    text = lock.read_text(encoding="utf-8")
    start = text.index('name = "h11"')
    wrong = re.sub(r"sha256:[0-9a-f]{64}", "sha256:" + "0" * 64, text[start:], count=2)
    lock.write_text(text[:start] + wrong, encoding="utf-8")
    said = sentence(inv("build", cwd=copy))
    assert said.startswith("The build failed. What the package index serves as h11==")


def test_no_network(copy: Path) -> None:
    """No index can be reached: the build stops and says what to check."""
    install_again(copy)
    said = sentence(inv("build", cwd=copy, INDEX_URL="http://127.0.0.1:9/simple"))
    assert said.startswith("The build failed. The build can't reach the package index: check the network")


def test_poetry_asks_the_index_that_is_named(copy: Path) -> None:
    """`inv poetry` trusts and asks as a build does; an index that is not there is not replaced by another."""
    lock = (copy / "poetry.lock").read_text(encoding="utf-8")
    named = inv("poetry", "--", "lock", cwd=copy, INDEX_URL=default_index())
    assert named.returncode == 0, named.stdout
    assert (copy / "poetry.lock").read_text(encoding="utf-8") == lock
    (copy / "poetry.lock").unlink()
    assert inv("poetry", "--", "lock", cwd=copy, INDEX_URL="http://127.0.0.1:9/simple").returncode != 0


def test_poetry_takes_the_exported_bundle_as_it_is(copy: Path) -> None:
    """Where the machine's store is no file, CA_BUNDLE is the very file that the container is shown."""
    bundle = copy / site.EXPORTED.name
    bundle.write_bytes(Path(site.environment()["CA_BUNDLE"]).read_bytes())
    before = bundle.read_bytes()
    done = inv("poetry", "--", "--version", cwd=copy, CA_BUNDLE=str(bundle))
    assert done.returncode == 0, done.stderr
    assert bundle.read_bytes() == before


def default_index() -> str:
    """Return the package index that tests may ask: the one that is set here, or else pip's own default."""
    pips = "from pip._internal.models.index import PyPI; print(PyPI.simple_url)"
    asked = docker("run", "--rm", "--entrypoint=/usr/local/bin/python", DEV, "-c", pips).stdout.strip()
    return site.environment()["INDEX_URL"] or asked


def test_an_absent_image() -> None:
    """2 means: cannot check."""
    done = inv("check-prod-has-no-pytest", "--image=nope")
    assert sentence(done) == "There is no image nope here: build this project's with `inv build`."
    assert (done.returncode, done.stdout) == (2, "")


def test_images_that_were_never_built() -> None:
    """Before the first `inv build` there is nothing to check."""
    done = inv("check-prod-has-no-pytest", COMPOSE_PROJECT_NAME="lockstep-never")
    assert sentence(done) == "There is no image lockstep-never:dev here: build this project's with `inv build`."
    assert done.returncode == 2


def test_an_image_of_somebody_elses() -> None:
    """A foreign image is neither clean nor a leak."""
    foreign = f"{PROJECT}-foreign"
    docker("build", "--quiet", f"--tag={foreign}", "-", input="FROM python:3.13-slim-trixie\nCMD true\n")
    done = inv("check-prod-has-no-pytest", f"--image={foreign}")
    docker("rmi", foreign)
    assert sentence(done) == f"{foreign} is not an image of this project: it has no /srv/app."
    assert done.returncode == 2


def test_a_stale_image(copy: Path) -> None:
    """The code has changed since the build: what is checked is not what would ship."""
    assert inv("build", cwd=copy).returncode == 0
    (copy / "app" / "new.py").write_text("x = 1\n", encoding="utf-8")
    done = inv("check-prod-has-no-pytest", cwd=copy)
    assert sentence(done) == f"{COPY}:dev is stale: app/new.py has changed since. Run `inv build`, then check again."
    assert done.returncode == 2


def test_prod_in_devs_place() -> None:
    """Another image than dev can't say what is forbidden."""
    kept = f"{PROJECT}:kept"
    docker("tag", DEV, kept)
    docker("tag", PROD, DEV)
    try:
        done = inv("check-prod-has-no-pytest")
    finally:
        docker("tag", kept, DEV)
        docker("rmi", kept)
    assert sentence(done).startswith(f"{DEV} is stale: it has no /srv/selection.json, which every build of this")
    assert done.returncode == 2


def test_a_dev_group_without_pytest(copy: Path) -> None:
    """The probe proves itself first: what can't find pytest in dev can't vouch for its absence from prod."""
    assert inv("poetry", "--", "remove", "--lock", "--group", "dev", "pytest", cwd=copy).returncode == 0
    assert inv("build", cwd=copy).returncode == 0
    done = inv("check-prod-has-no-pytest", cwd=copy)
    assert sentence(done).startswith(f"The probe does not find pytest in {COPY}:dev, where it must be: ")
    assert done.returncode == 2


@pytest.mark.parametrize("port", ["abc", "0", "65536", "-1"])
def test_an_impossible_port(port: str) -> None:
    """Said before anything is built."""
    done = inv("serve", f"--port={port}")
    assert sentence(done) == f"'{port}' is no port: give a number from 1 to 65535 with `inv serve --port N`."
    assert done.stderr.count("\n") == 1


def test_a_bench_of_no_rounds() -> None:
    """Said before anything is built."""
    assert sentence(inv("bench", "--rounds=0")) == (
        "There is no bench of no rounds: `inv bench --rounds N` takes 1 or more."
    )


def test_a_shell_beside_nothing() -> None:
    """Production has to run before one can look into it."""
    said = sentence(inv("shell", "--prod", "--", "true"))
    assert said == "Production is not running here: start it with `inv serve`."


def test_a_dependency_that_no_hash_covers(copy: Path) -> None:
    """A git repository in poetry.lock: the build stops and says which."""
    lock = copy / "poetry.lock"
    text = lock.read_text(encoding="utf-8")
    source = '\n[package.source]\ntype = "git"\nurl = "https://git.example/h11"\nreference = "x"\n'
    start = text.index('name = "h11"')
    end = text.index("\n\n[[package]]", start)
    lock.write_text(text[:end] + "\n" + source + text[end:], encoding="utf-8")
    said = sentence(inv("build", cwd=copy))
    assert said.startswith("The build failed. poetry.lock can't be installed: h11==0.16.0 comes from a git; only what")


def test_a_dry_run() -> None:
    """What would be surprising is refused: Invoke's --dry can't hold back what Invoke does not run."""
    assert sentence(inv("--dry", "build")) == (
        "These tasks can't run dry: each prints the docker command that it runs."
    )


def test_an_unknown_option() -> None:
    """Invoke itself says so."""
    done = inv("serve", "--prot=1")
    assert sentence(done) == "No idea what '--prot' is!"


def test_the_exit_code_of_pytest_is_the_tasks() -> None:
    """A failing test is 1, no test at all 5."""
    done = inv("test", "--", "-k", "test_root or test_the_name_is")
    assert (done.returncode, "2 passed" in done.stdout) == (0, True)
    assert inv("test", "--", "-k", "no_such_test").returncode == 5
    assert left_behind() == []


def test_a_closed_standard_input() -> None:
    """As some schedulers have it: the tests run all the same."""
    closed = ["sh", "-c", 'exec "$@" <&-', "sh", *inv_command("test", "--", "-k", "test_root")]
    assert subprocess.run(closed, cwd=ROOT, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_build(copy: Path, number: signal.Signals) -> None:
    """It ends at once with 130, and the next build succeeds."""
    # Another one each time: a build that once got through would be in the cache.
    compiling = "python -S /bytecode.py tree /out/tree"
    slow = f"echo interrupt me now {uuid4()} && sleep 60 && {compiling}"
    edit(copy / "Dockerfile", compiling, slow)
    with subprocess.Popen(inv_command("build"), cwd=copy, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "interrupt me now" in line and "RUN" not in line:
                break
        started = time.monotonic()
        process.send_signal(number)
        rest = process.stderr.read()
    assert process.returncode == 130
    assert time.monotonic() - started < 15
    assert rest.strip().splitlines()[-1] == "Interrupted."
    edit(copy / "Dockerfile", slow, compiling)
    assert inv("build", cwd=copy).returncode == 0


def test_no_secret_stays_in_an_image(copy: Path) -> None:
    """An index with a password and a bundle of authorities are used, and leave no byte behind."""
    # Made here: dev holds this very file.
    password = uuid4().hex
    secret = default_index().replace("://", f"://somebody:{password}@")
    install_again(copy)
    done = inv("build", cwd=copy, INDEX_URL=secret)
    assert done.returncode == 0, done.stderr
    for image in (f"{COPY}:prod", f"{COPY}:dev"):
        content = unpacked(image)
        assert any(b"import uvicorn" in blob for blob in content)
        assert not any(password.encode() in blob for blob in content)


def unpacked(image: str) -> list[bytes]:
    """Return what an image's archive holds, its layers uncompressed."""
    saved = subprocess.run(["docker", "save", image], check=True, capture_output=True).stdout  # noqa: S607
    with tarfile.open(fileobj=io.BytesIO(saved)) as archive:
        blobs = [file.read() for member in archive if (file := archive.extractfile(member))]
    return [gzip.decompress(blob) if blob.startswith(b"\x1f\x8b") else blob for blob in blobs]


def test_no_base_image(copy: Path) -> None:
    """Neither here nor in a registry that can be reached: the way to it is named."""
    edit(copy / "Dockerfile", "ARG BASE=python:3.13-slim-trixie", "ARG BASE=registry.invalid/python:1")
    said = sentence(inv("build", cwd=copy))
    assert said.startswith("The build failed. The base image registry.invalid/python:1 is not here and can't be pulled")


def test_a_lock_that_can_not_be_read(copy: Path) -> None:
    """A merge conflict in poetry.lock, or a lock of an old Poetry that names no groups: neither is a change of it."""
    docker("tag", DEV, f"{COPY}:dev")
    docker("tag", PROD, f"{COPY}:prod")
    lock = copy / "poetry.lock"
    text = lock.read_text(encoding="utf-8")
    for broken in ("<<<<<<< HEAD\n" + text, text.replace("groups = ", "group = ")):
        lock.write_text(broken, encoding="utf-8")
        done = inv("check-prod-has-no-pytest", cwd=copy)
        assert sentence(done).startswith("poetry.lock can't be read")
        assert done.returncode == 2


def test_interrupted_tests_leave_nothing_running(copy: Path) -> None:
    """Pytest is told, and its container is gone before `inv test` ends."""
    hanging = 'import time\n\n\ndef test_it():\n    print("it hangs", flush=True)\n    time.sleep(60)\n'
    (copy / "tests/app/test_hanging.py").write_text(hanging, encoding="utf-8")
    command = inv_command("test", "--", "-s", "tests/app/test_hanging.py")
    with subprocess.Popen(command, cwd=copy, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        assert any("it hangs" in line for line in process.stdout)
        process.terminate()
        process.stdout.read()
    assert process.returncode == 130
    assert left_behind() == []
