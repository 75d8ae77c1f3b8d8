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

from prodlock import site
from prodlock.project import Project
from prodlock.tests.engine.conftest import (
    BASE,
    COPY,
    DEV,
    PORT,
    PROD,
    PROJECT,
    REPOSITORY,
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
def test_tasks_explain_a_missing_docker(verb: list[str], tmp_path: Path) -> None:
    """The message names `inv setup`."""
    # A build asks git first.
    (tmp_path / "git").symlink_to(str(shutil.which("git")))
    said = sentence(inv(*verb, PATH=str(tmp_path)))
    assert said.startswith("`docker` must be a program on PATH (got none that can be run). To fix it: run `inv")


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb[0])
def test_tasks_explain_a_stopped_engine(verb: list[str]) -> None:
    """The message states how to start it."""
    said = sentence(inv(*verb, DOCKER_HOST="unix:///nowhere/docker.sock"))
    assert "The Docker Engine must be running (got no answer). To fix it: start it" in said


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become a user who may not use the socket")
@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb[0])
def test_tasks_explain_a_missing_permission_on_the_socket(verb: list[str], tmp_path: Path) -> None:
    """The message names the group to join."""
    # The user 65534 could not even read the Python that runs `inv`: only `docker` is run as that user.
    program = tmp_path / "docker"
    other_user = "env HOME=/ setpriv --reuid=65534 --clear-groups"
    program.write_text(f'#!/bin/sh\nexec {other_user} {shutil.which("docker")} "$@"\n')
    program.chmod(0o755)
    done = inv(*verb, PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert "must have access to Docker's socket (got: permission denied). To fix it: run `sudo" in sentence(done)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can hide Docker's plugins")
@pytest.mark.parametrize(
    "verb", [verb for verb in VERBS if verb[0] in {"build", "serve", "test"}], ids=lambda verb: verb[0]
)
def test_tasks_explain_a_missing_compose(verb: list[str]) -> None:
    """Compose is a plugin; without its folder there is no `docker compose`. v1 on PATH does not help."""
    folders = [str(path) for path in map(Path, PLUGINS) if path.is_dir()]
    hide = " && ".join(f"mount -t tmpfs none {folder}" for folder in folders)
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", f'{hide} && exec "$@"', "sh", *inv_command(*verb)],  # noqa: S607
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "Docker Compose v2 and Buildx must be installed (got no such plugin; v1, `docker-compose`, is" in sentence(
        done
    )


PLUGINS = (
    "/usr/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/local/lib/docker/cli-plugins",
)


def message(done: subprocess.CompletedProcess[str]) -> str:
    """Return the message of a task whose build failed as expected: all behind the progress of both tries."""
    sentence(done)
    assert done.stderr.count("The build failed. Repeating it") == 1
    return "The build failed" + done.stderr.rpartition("The build failed")[2].rstrip()


def line_of(file: Path, text: str) -> int:
    """Return the number of the first line of a file that begins with a text."""
    lines = file.read_text(encoding="utf-8").splitlines()
    return next(number for number, line in enumerate(lines, 1) if line.startswith(text))


def test_build_refuses_a_stale_lock(copy: Path) -> None:
    """A dependency was added by hand: neither image is built, and the message states how to lock again."""
    edit(copy / "pyproject.toml", '"fastapi>=0.165",', '"fastapi>=0.165",\n    "certifi",')
    said = message(inv("build", cwd=copy))
    line = line_of(copy / "Dockerfile", "FROM ${BASE} AS lock")
    assert re.match(r"The build failed at Dockerfile:\d+, stage lock, step \d/\d, `RUN --network=none ", said)
    assert line < int(re.findall(r"Dockerfile:(\d+)", said)[0]) < line_of(copy / "Dockerfile", "FROM ${BASE} AS main")
    assert said.endswith(
        "\npoetry.lock must match pyproject.toml (got one generated before pyproject.toml changed). To fix it: "
        "run `inv poetry -- lock`, review what it changed, and commit it."
    )
    for target in ("prod", "dev"):
        done = docker("build", f"--target={target}", ".", cwd=copy, check=False)
        assert done.returncode != 0
        assert "pyproject.toml changed significantly since poetry.lock was last generated" in done.stderr


# What builds the list that an entry of poetry.lock is in.
INSTALLING = {"h11": ("main", ["build"]), "pluggy": ("dev-packages", ["test"])}


def locked(copy: Path, name: str, pattern: str, new: str) -> None:
    """Change the files of a distribution in poetry.lock; pyproject.toml still matches it."""
    lock = copy / "poetry.lock"
    text = lock.read_text(encoding="utf-8")
    start = text.index(f'name = "{name}"')
    end = text.index("\n]\n", start)
    changed = re.sub(pattern, new, text[start:end])
    assert changed != text[start:end]
    lock.write_text(text[:start] + changed + text[end:], encoding="utf-8")


@pytest.mark.parametrize("name", INSTALLING)
def test_build_refuses_a_wheel_with_another_hash(copy: Path, name: str) -> None:
    """The index serves something else than what was locked, for either image: the build stops and names it."""
    stage, task = INSTALLING[name]
    locked(copy, name, r"sha256:[0-9a-f]{64}", "sha256:" + "0" * 64)
    said = message(inv(*task, cwd=copy))
    assert f", stage {stage}, step 2/2, `RUN python /installer/install.py" in said
    assert said.splitlines()[-1].startswith(f"The package index must serve {name}==")


@pytest.mark.parametrize("wheel", ["", "-cp312-cp312-manylinux_2_17_x86_64.whl", "-cp313-cp313-win_amd64.whl"])
def test_build_refuses_a_distribution_without_a_wheel(copy: Path, wheel: str) -> None:
    """None at all, of another Python, for another platform: nothing is built from source, and nothing else stops."""
    locked(copy, "pluggy", r"-py3-none-any\.whl", wheel or ".zip")
    said = message(inv("test", cwd=copy))
    assert ", stage dev-packages, step 2/2, `RUN python /installer/install.py wheels /opt/venv /dev.txt" in said
    platform = docker("version", "--format={{.Server.Os}}/{{.Server.Arch}}").stdout.strip()
    assert re.search(rf", with exit code 1: pluggy [\d.]+ has no wheel for Python 3\.13 on {platform}, and n", said)
    assert docker("build", ".", cwd=copy).returncode == 0


def test_build_refuses_a_source_distribution(copy: Path) -> None:
    """poetry.lock names a wheel, and the index serves the source alone: uv does not build it either."""
    text = (copy / "poetry.lock").read_text(encoding="utf-8")
    entry = (
        '[[package]]\nname = "docopt"\nversion = "0.6.2"\ngroups = ["main"]\nfiles = [\n'
        '    {file = "docopt-0.6.2-py3-none-any.whl", hash = "sha256:' + "0" * 64 + '"},\n'
        '    {file = "docopt-0.6.2.tar.gz", hash = '
        '"sha256:49b3a825280bd66b3aa83585ef59c4a8c82f2c8a522dbe754a8bc8d08c85c491"},\n]\n\n'
    )
    (copy / "poetry.lock").write_text(text.replace("[[package]]", f"{entry}[[package]]", 1), encoding="utf-8")
    said = message(inv("build", cwd=copy))
    assert ", stage main, step 2/2" in said
    assert said.splitlines()[-1].startswith("The package index must serve a wheel of docopt==0.6.2 for this platform")


def test_build_explains_an_unreachable_index(copy: Path) -> None:
    """No index can be reached: the build stops, and the message states what to check."""
    install_again(copy)
    said = message(inv("build", cwd=copy, INDEX_URL="http://127.0.0.1:9/simple"))
    assert " && python /installer/install.py wheels" in said
    assert said.splitlines()[-1].startswith(
        "The package index must be reachable from the build (got no connection). To fix"
    )


# What is changed of the Dockerfile, and the message. All of it fails in the last steps: the others are cached.
STAGE = "FROM base AS app\n"
BROKEN = {
    "a message of its own": (
        # On one stream: BuildKit does not keep the order of two.
        'RUN --network=none echo certificate verify failed; echo "Connection refused: my reason"; exit 3',
        "at Dockerfile:{line}, stage app, step 1/2, `RUN --network=none echo certificate verify failed; echo "
        '"Connection refused: my reason"; exit 3`, with exit code 3. Its last lines:\n',
        "    Connection refused: my reason",
    ),
    "no message": ("RUN false", "at Dockerfile:{line}, stage app, step 1/2, `RUN false`, with", "printed nothing."),
    "a killed process": (
        "RUN sh -c 'kill -9 $$'; exit $?",
        "at Dockerfile:{line}, stage app, step 1/2, `RUN sh -c 'kill -9 $$'; exit $?`, with exit code 137",
        "The step must run to its end (got: killed, which happens when memory runs out). To fix it: give Docker more "
        "memory, or stop other programs.",
    ),
    "a full file system": (
        "RUN --mount=type=tmpfs,target=/small,size=4096 head -c 100000 /dev/zero > /small/x",
        "at Dockerfile:{line}, stage app, step 1/2, `RUN head -c 100000 /dev/zero > /small/x`, with exit code 1: head:",
        "The file systems that the step writes to must have room (got a full one). To fix it: free space (`docker "
        "system df` shows what Docker uses, `df` the disks).",
    ),
    "an unknown instruction": (
        "FOO bar",
        "at Dockerfile:{line}, `FOO bar`: dockerfile parse error on line {line}: unknown instruction: FOO",
        "",
    ),
    "an absent source": (
        "COPY nope /out/",
        'at Dockerfile:{line}, stage app, step 1/2, `COPY nope /out/`: "/nope": not found\n',
        "`nope` must be in the build context (got none). To fix it: create it, or, if it exists, allow it in "
        ".dockerignore (`!nope`).",
    ),
    "an unknown stage": (
        "COPY --from=bsae /x /y",
        "at Dockerfile:{line}, `COPY --from=bsae /x /y`: bsae: failed to resolve source metadata",
        "bsae must be a stage before that line, or an image that can be pulled (got neither). To fix it: correct "
        "the name.",
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_failed_build_names_the_step_and_the_line(copy: Path, kind: str) -> None:
    """Whatever the cause: the Dockerfile's line, the instruction, its last lines; a remedy only for a known one."""
    instruction, begins, ends = BROKEN[kind]
    edit(copy / "Dockerfile", STAGE, f"{STAGE}{instruction}\n")
    # What a user has set for the terminal does not hide the reason.
    said = message(inv("build", cwd=copy, BUILDKIT_PROGRESS="quiet"))
    assert said.startswith("The build failed " + begins.format(line=line_of(copy / "Dockerfile", instruction)))
    assert said.endswith(ends)


def test_build_refuses_a_syntax_error_in_the_service(copy: Path) -> None:
    """The compiler's own message, with file and line."""
    module = copy / "app" / "main.py"
    module.write_text(module.read_text(encoding="utf-8") + "\ndef broken(:\n", encoding="utf-8")
    said = message(inv("build", cwd=copy))
    assert ", stage app, step 1/1, `RUN --network=none python -S /bytecode.py tree /sources /out/tree" in said
    assert f'File "/srv/app/main.py", line {len(module.read_text().splitlines())}\n' in said
    assert said.endswith("SyntaxError: invalid syntax")


def test_build_explains_missing_files(copy: Path) -> None:
    """No lock, a base image without a sensible name, no Dockerfile."""
    (copy / "poetry.lock").rename(copy / "moved")
    said = message(inv("build", cwd=copy))
    assert re.match(r"The build failed at Dockerfile:\d+, stage \w+, step \d/\d, `RUN --network=none ", said)
    assert said.splitlines()[-1].startswith("`poetry.lock` must be in the build context (got none). To fix it: create")
    (copy / "moved").rename(copy / "poetry.lock")
    edit(copy / "Dockerfile", "ARG BASE=python:3.13-slim-trixie", 'ARG BASE="Python 3"')
    line = line_of(copy / "Dockerfile", "FROM ${BASE} AS base")
    said = message(inv("build", cwd=copy))
    assert said.startswith(f"The build failed at Dockerfile:{line}, `FROM ${{BASE}} AS base`: failed to parse")
    (copy / "Dockerfile").unlink()
    said = message(inv("build", cwd=copy))
    assert said.endswith("Dockerfile must exist (got none). To fix it: restore it (`git restore Dockerfile`).")


def test_second_try_of_a_build_without_cache_uses_no_cache(tmp_path: Path) -> None:
    """With `--no-cache`, the second try does not succeed by what an older build has left in the cache."""
    # Stands in for a fault that only a step that is run again meets.
    program = tmp_path / "docker"
    fault = 'case "$*" in *--no-cache*) echo "failed to solve: on purpose"; exit 1;; esac'
    program.write_text(f'#!/bin/sh\n{fault}\nexec {shutil.which("docker")} "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    assert message(inv("build", "--no-cache", PATH=path)) == "The build failed: on purpose"
    assert inv("build", PATH=path).returncode == 0


def test_build_succeeds_where_its_second_try_does(tmp_path: Path) -> None:
    """The fault was a passing one."""
    program = tmp_path / "docker"
    fault = f'case "$*" in *" build "*) [ -e {tmp_path}/tried ] || {{ touch {tmp_path}/tried; exit 1; }};; esac'
    program.write_text(f'#!/bin/sh\n{fault}\nexec {shutil.which("docker")} "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    done = inv("build", PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert done.returncode == 0
    assert "The build failed. Repeating it with captured output, for the reason." in done.stderr


def test_poetry_uses_the_configured_index(copy: Path) -> None:
    """`inv poetry` trusts and asks as a build does; an index that is not there is not replaced by another."""
    lock = (copy / "poetry.lock").read_text(encoding="utf-8")
    named = inv("poetry", "--", "lock", cwd=copy, INDEX_URL=default_index())
    assert named.returncode == 0, named.stdout
    assert (copy / "poetry.lock").read_text(encoding="utf-8") == lock
    (copy / "poetry.lock").unlink()
    assert inv("poetry", "--", "lock", cwd=copy, INDEX_URL="http://127.0.0.1:9/simple").returncode != 0


def test_poetry_does_not_change_the_exported_bundle(copy: Path) -> None:
    """CA_BUNDLE may be the very file that the container is given."""
    bundle = copy / site.EXPORTED
    bundle.parent.mkdir()
    bundle.write_bytes(Path(site.environment(Project(ROOT))["CA_BUNDLE"]).read_bytes())
    before = bundle.read_bytes()
    done = inv("poetry", "--", "--version", cwd=copy, CA_BUNDLE=str(bundle))
    assert done.returncode == 0, done.stderr
    assert bundle.read_bytes() == before


def default_index() -> str:
    """Return the package index that tests may ask: the one that is set here, or else pip's own default."""
    pips = "from pip._internal.models.index import PyPI; print(PyPI.simple_url)"
    asked = docker("run", "--rm", "--entrypoint=/usr/local/bin/python", DEV, "-c", pips).stdout.strip()
    return site.environment(Project(ROOT))["INDEX_URL"] or asked


def test_check_refuses_an_absent_image() -> None:
    """Exit code 2: the check could not be made."""
    done = inv("check-prod-has-no-pytest", "--image=nope")
    assert (
        sentence(done)
        == "The Engine must have the image nope (got none). To fix it: build this project's images with `inv build`."
    )
    assert (done.returncode, done.stdout) == (2, "")


def test_check_refuses_images_that_were_never_built() -> None:
    """Before the first `inv build` there is nothing to check."""
    done = inv("check-prod-has-no-pytest", PRODLOCK_PROJECT="prodlock-never")
    assert sentence(done).startswith("The Engine must have the image prodlock-never:dev (got none). To fix it: build ")
    assert done.returncode == 2


def test_check_refuses_the_image_of_another_project() -> None:
    """A foreign image is neither clean nor a leak."""
    foreign = f"{PROJECT}-foreign"
    docker("build", "--quiet", f"--tag={foreign}", "-", input="FROM python:3.13-slim-trixie\nCMD true\n")
    done = inv("check-prod-has-no-pytest", f"--image={foreign}")
    docker("rmi", foreign)
    assert sentence(done) == (
        f"{foreign} must be an image of this project (got one without /srv/app). To fix it: name another image, or run "
        "`inv build`."
    )
    assert done.returncode == 2


def test_check_refuses_a_stale_image(copy: Path) -> None:
    """The code has changed since the build: what is checked is not what would ship."""
    assert inv("build", cwd=copy).returncode == 0
    (copy / "app" / "new.py").write_text("x = 1\n", encoding="utf-8")
    done = inv("check-prod-has-no-pytest", cwd=copy)
    assert sentence(done) == (
        f"{COPY}:dev must not be stale (got: app/new.py has changed since). To fix it: run `inv build`, then check "
        "again."
    )
    assert done.returncode == 2


@pytest.mark.parametrize("other", [PROD, BASE])
@pytest.mark.parametrize("name", ["check-prod-has-no-pytest", "check-prod"])
def test_checks_refuse_another_image_in_the_place_of_dev(other: str, name: str) -> None:
    """An image without a list of what its build took of the lock is an error: exit code 2."""
    kept = f"{PROJECT}:kept"
    docker("tag", DEV, kept)
    docker("tag", other, DEV)
    try:
        done = inv(name)
    finally:
        docker("tag", kept, DEV)
        docker("rmi", kept)
    assert sentence(done).startswith(
        f"{DEV} must not be stale (got: it has no /srv/selection.json, which every build of "
    )
    assert done.returncode == 2
    assert "docker build" not in done.stderr


def test_check_refuses_a_dev_group_without_pytest(copy: Path) -> None:
    """The probe proves itself first: what can't find pytest in dev can't vouch for its absence from prod."""
    assert inv("poetry", "--", "remove", "--lock", "--group", "dev", "pytest", "pytest-cov", cwd=copy).returncode == 0
    assert inv("build", cwd=copy).returncode == 0
    done = inv("check-prod-has-no-pytest", cwd=copy)
    assert sentence(done).startswith(f"The check must find pytest in {COPY}:dev first (got no trace)")
    assert done.returncode == 2


NUMBERS = ["abc", "0", "65536", "-1", "8_0", "1" * 5000, "\uff18\uff11\uff12\uff13", "\u0668"]


@pytest.mark.parametrize("number", NUMBERS, ids=range(len(NUMBERS)))
def test_tasks_refuse_an_invalid_number(number: str) -> None:
    """Refused in one line before anything is built, in whatever way it is given."""
    for name, done in {
        "The port must be a whole number from 1 to 65535": inv("serve", f"--port={number}"),
        "The port must be a whole number from 1 to 65535 ": inv("serve", PORT=number),
        "The number of rounds must be a whole number from 1 to 1000": inv(
            "bench", f"--rounds={number}", cwd=REPOSITORY
        ),
    }.items():
        assert sentence(done).startswith(f"{name.strip()} (got {number!r}). To fix it: `inv ")
        assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("seconds", ["soon", "9e16", "99999999999999", "\uff19"])
def test_tasks_refuse_an_invalid_time(seconds: str) -> None:
    """SOURCE_DATE_EPOCH is the time that the image bears."""
    for task in ("build", "serve", "test", "lint", "poetry", "check-prod"):
        said = sentence(inv(task, SOURCE_DATE_EPOCH=seconds))
        assert said.startswith(f"SOURCE_DATE_EPOCH must be a whole number from 0 to 253402300799 (got {seconds!r})")


@pytest.mark.parametrize("bundle", ["/nowhere.pem", "/tmp", __file__])
def test_build_refuses_unusable_certificates(bundle: str) -> None:
    """An absent file, a folder, a file without any: refused in one line before anything is built."""
    done = inv("build", CA_BUNDLE=bundle)
    assert sentence(done).startswith(f"CA_BUNDLE must be a readable file of certificates in PEM format (got {bundle}: ")
    assert done.stderr.count("\n") == 1


def test_build_refuses_an_invalid_package_index() -> None:
    """No address, and no password in the message."""
    done = inv("build", INDEX_URL="user:secret@index.example/simple")
    assert sentence(done).startswith("The package index must be an address that begins with http:// or https://, ")
    assert done.stderr.count("\n") == 1
    assert "secret" not in done.stderr


def test_shell_beside_prod_needs_a_running_prod() -> None:
    """Production has to run before one can look into it."""
    said = sentence(inv("shell", "--prod", "--", "true"))
    assert said == "Production must be running in this checkout (got none). To fix it: start it with `inv serve`."


def test_build_refuses_a_distribution_without_a_hash(copy: Path) -> None:
    """A git repository in poetry.lock: the build stops, and the message names it."""
    lock = copy / "poetry.lock"
    text = lock.read_text(encoding="utf-8")
    source = '\n[package.source]\ntype = "git"\nurl = "https://git.example/h11"\nreference = "x"\n'
    start = text.index('name = "h11"')
    end = text.index("\n\n[[package]]", start)
    lock.write_text(text[:end] + "\n" + source + text[end:], encoding="utf-8")
    said = message(inv("build", cwd=copy))
    assert ", stage lock, step 2/2, `RUN --network=none " in said
    assert ": poetry.lock can't be installed: h11==0.16.0 must come from a package index (got git)" in said


def test_tasks_refuse_a_dry_run() -> None:
    """What would be surprising is refused: Invoke's --dry can't hold back what Invoke does not run."""
    assert sentence(inv("--dry", "build")) == (
        "Tasks must be run without --dry (got --dry). To fix it: leave it out; each task prints the docker commands "
        "that it runs."
    )


def test_tasks_refuse_an_unknown_option() -> None:
    """Invoke's own message is printed."""
    done = inv("serve", "--prot=1")
    assert sentence(done) == "No idea what '--prot' is!"


def test_task_test_returns_the_exit_code_of_pytest() -> None:
    """A failing test is 1, no test at all 5."""
    done = inv("test", "--", "-k", "test_root or test_quote")
    assert (done.returncode, "2 passed" in done.stdout) == (0, True)
    assert inv("test", "--", "-k", "no_such_test").returncode == 5
    assert left_behind() == []


def test_task_test_runs_with_a_closed_standard_input() -> None:
    """As some schedulers have it: the tests run all the same."""
    closed = ["sh", "-c", 'exec "$@" <&-', "sh", *inv_command("test", "--", "-k", "test_root")]
    assert subprocess.run(closed, cwd=ROOT, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_build_ends_with_130(copy: Path, number: signal.Signals) -> None:
    """It ends at once with 130, and the next build succeeds."""
    # Another one each time: a build that once got through would be in the cache.
    compiling = "python -S /bytecode.py tree /sources /out/tree"
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
    secret = default_index().replace("://", f"://user:{password}@")
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


def test_build_explains_a_missing_base_image(copy: Path) -> None:
    """Neither here nor in a registry that can be reached: the way to it is named."""
    edit(copy / "Dockerfile", "ARG BASE=python:3.13-slim-trixie", "ARG BASE=registry.invalid/python:1")
    said = message(inv("build", cwd=copy))
    line = line_of(copy / "Dockerfile", "FROM ${BASE} AS base")
    assert said.startswith(f"The build failed at Dockerfile:{line}, `FROM ${{BASE}} AS base`: registry.invalid/")
    assert said.splitlines()[-1].startswith(
        "The base image registry.invalid/python:1 must be on this Engine or in a registry"
    )


def test_check_refuses_an_unreadable_lock(copy: Path) -> None:
    """A merge conflict in poetry.lock, or a lock of an old Poetry that names no groups: neither is a change of it."""
    docker("tag", DEV, f"{COPY}:dev")
    docker("tag", PROD, f"{COPY}:prod")
    lock = copy / "poetry.lock"
    text = lock.read_text(encoding="utf-8")
    for broken in ("<<<<<<< HEAD\n" + text, text.replace("groups = ", "group = ")):
        lock.write_text(broken, encoding="utf-8")
        done = inv("check-prod-has-no-pytest", cwd=copy)
        assert sentence(done).startswith("poetry.lock must be a lock of Poetry 2 (got: ")
        assert done.returncode == 2


def test_interrupted_tests_leave_nothing_running(copy: Path) -> None:
    """Pytest gets the signal, and its container is gone before `inv test` ends."""
    hanging = 'import time\n\n\ndef test_it():\n    print("it hangs", flush=True)\n    time.sleep(60)\n'
    (copy / "tests/test_hanging.py").write_text(hanging, encoding="utf-8")
    command = inv_command("test", "--", "-s", "tests/test_hanging.py")
    with subprocess.Popen(command, cwd=copy, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        assert any("it hangs" in line for line in process.stdout)
        process.terminate()
        process.stdout.read()
    assert process.returncode == 130
    assert left_behind() == []
