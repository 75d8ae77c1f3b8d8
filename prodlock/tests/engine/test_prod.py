"""The content and the configuration of the images."""

from __future__ import annotations

import json
import tarfile
import time
import tomllib
from pathlib import Path, PurePosixPath

import pytest

from prodlock.tests.engine.conftest import BASE, COPY, DEV, PROD, ROOT, content, docker, git, inspected, inv

LIBRARY = "/usr/local/lib/python3.13"
FIELDS = "--showformat=${Package} ${Version} ${Architecture}\\n"


def python(script: str, *options: str, image: str = PROD) -> str:
    """Return what a script prints in a container of the image."""
    return docker("run", "--rm", "--network=none", *options, image, "python", "-c", script).stdout


def digests(image: str, folder: str) -> set[tuple[str, str]]:
    """Return path and sha256 of each file in a folder of an image."""
    script = (
        "import hashlib, json, pathlib; print(json.dumps([(str(path), hashlib.sha256(path.read_bytes()).hexdigest())"
        f" for path in pathlib.Path({folder!r}).rglob('*') if path.is_file()]))"
    )
    return {(path, digest) for path, digest in json.loads(python(script, image=image))}


@pytest.fixture(scope="module")
def files() -> dict[str, tarfile.TarInfo]:
    """The entries of prod's file system, by path."""
    return content(PROD)


def names(files: dict[str, tarfile.TarInfo], folder: str) -> list[str]:
    """Return the names of a folder's entries."""
    return sorted(PurePosixPath(path).name for path in files if str(PurePosixPath(path).parent) == folder)


def test_docker_build_gives_prod() -> None:
    """`docker build .` gives what Compose builds, except for Compose's labels and the values that `inv` sets."""
    bare, composed = inspected(docker("build", "--quiet", ".", cwd=ROOT).stdout.strip()), inspected(PROD)
    assert bare["RootFS"] == composed["RootFS"]
    labels = {name for name in composed["Config"].pop("Labels") if not name.startswith("com.docker.compose.")}
    assert set(bare["Config"].pop("Labels")) == labels
    assert bare["Config"] == composed["Config"]


def test_prod_has_allowed_programs_only(files: dict[str, tarfile.TarInfo]) -> None:
    """The allow-list has the interpreter, env(1) and main's commands; no shell and no package manager."""
    programs = {path for path in files if PurePosixPath(path).parent.name in {"bin", "sbin"}}
    assert programs == {
        "/usr/local/bin/python", "/usr/local/bin/python3", "/usr/local/bin/python3.13",
        "/opt/venv/bin/python", "/opt/venv/bin/python3", "/opt/venv/bin/python3.13",
        "/opt/venv/bin/fastapi", "/opt/venv/bin/idna", "/opt/venv/bin/uvicorn",
        "/usr/bin/env",
    }  # fmt: skip
    shells = {"bash", "busybox", "dash", "sh"}
    assert not [path for path in files if PurePosixPath(path).name in shells]


def test_images_have_allowed_folders_only(files: dict[str, tarfile.TarInfo]) -> None:
    """Docker itself adds /dev, /proc, /sys and the files that it mounts; on amd64 /lib64 has the loader."""
    assert set(names(files, "/")) - {".dockerenv", "dev", "lib64", "proc", "sys"} == {
        "etc", "lib", "opt", "srv", "tmp", "usr", "var",
    }  # fmt: skip
    assert set(names(files, "/etc")) - {"hostname", "hosts", "mtab", "resolv.conf"} == {
        "debian_version", "group", "ld.so.cache", "localtime", "nsswitch.conf", "os-release", "passwd", "protocols",
        "services", "ssl",
    }  # fmt: skip
    assert names(files, "/srv") == ["app", "prodlock"]
    assert names(content(DEV), "/srv") == [
        "app", "poetry.lock", "prodlock", "pyproject.toml", "reports", "selection.json", "tasks.py", "tests",
    ]  # fmt: skip


def test_prod_is_smaller_than_its_base_image() -> None:
    """With the service and its dependencies, prod has less than three fifths of the slim base image's size."""
    assert inspected(PROD)["Size"] < 0.6 * inspected(BASE)["Size"]


def test_prod_cannot_run_pytest() -> None:
    """`docker compose run api-prod pytest` finds no such executable."""
    done = docker("compose", "--profile=prod", "run", "--rm", "api-prod", "pytest", check=False)
    assert done.returncode != 0
    assert 'exec: "pytest": executable file not found' in done.stderr
    assert inv("stop").returncode == 0


def test_the_user_is_numeric_and_owns_no_file(files: dict[str, tarfile.TarInfo]) -> None:
    """The user is not root, and can write temporary files only."""
    assert inspected(PROD)["Config"]["User"] == "10001:10001"
    assert python("import os; print(os.getuid(), os.getgid())") == "10001 10001\n"
    assert python("import getpass; print(getpass.getuser())") == "app\n"
    assert {(file.uid, file.gid) for file in files.values()} == {(0, 0)}
    others = {path for path, file in files.items() if not file.issym() and file.mode & 0o022}
    assert {path for path in others if not path.startswith("/dev")} == {"/tmp"}
    assert not [path for path, file in files.items() if file.mode & 0o6000]


def test_every_module_of_the_standard_library_can_be_imported() -> None:
    """Prod imports all that the base image's interpreter imports, except for modules that are left out on purpose."""
    script = (
        "import importlib, pkgutil, sys, warnings; warnings.simplefilter('ignore')\n"
        "for name in sorted(sys.stdlib_module_names):\n"
        "    try:\n"
        "        importlib.import_module(name)\n"
        "        print(name)\n"
        "    except ImportError:\n"
        "        pass"
    )
    inside, whole = (set(python(script, image=image).split()) for image in (PROD, BASE))
    tests = {name for name in whole if name.startswith(("_test", "_xxtest", "xxlimited", "xxsubtype", "_ctypes_test"))}
    assert whole - inside - tests == {"ensurepip", "idlelib", "pydoc_data", "turtledemo"} & whole
    assert len(inside) > 250


def test_certificates_time_zones_names_and_threads_work() -> None:
    """Prod has the files of the system that Python reads at run time, which no import shows."""
    script = (
        "import ctypes, locale, os, socket, ssl, threading, time, zoneinfo\n"
        "print(len(ssl.create_default_context().get_ca_certs()) > 100)\n"
        "print(len(zoneinfo.available_timezones()) > 400, zoneinfo.ZoneInfo('Europe/Zurich').key)\n"
        "print(socket.getservbyname('https'), socket.getprotobyname('tcp'), socket.gethostbyname('localhost'))\n"
        "print(locale.setlocale(locale.LC_ALL, 'C.UTF-8'))\n"
        # pthread_exit opens libgcc_s, which no file links to, and aborts where it is missing.
        "end = ctypes.CDLL(None).pthread_exit\n"
        "threading.Thread(target=lambda: end(None), daemon=True).start(); time.sleep(0.2)\n"
        # Python itself still waits for the thread.
        "print('alive', flush=True); os._exit(0)"
    )
    assert python(script).splitlines() == ["True", "True Europe/Zurich", "443 6 127.0.0.1", "C.UTF-8", "alive"]


def test_scanners_find_the_system_libraries() -> None:
    """Each Debian library has a record (deb822) of its package and version, and a copyright notice."""
    script = (
        "import json, pathlib\n"
        "records = {path.name: path.read_text() for path in pathlib.Path('/var/lib/dpkg/status.d').iterdir()}\n"
        "assert all(pathlib.Path('/usr/share/doc', name, 'copyright').is_file() for name in records)\n"
        "print(json.dumps(records))"
    )
    records = json.loads(python(script))
    known = {}
    for line in docker("run", "--rm", BASE, "dpkg-query", "--show", FIELDS).stdout.splitlines():
        package, *rest = line.split()
        known[package] = rest
    for package, record in records.items():
        stated = dict(line.split(": ", 1) for line in record.splitlines() if line[0] != " " and ": " in line)
        assert stated["Package"] == package
        assert [stated["Version"], stated["Architecture"]] == known[package]
    assert {"base-files", "ca-certificates", "coreutils", "libc6", "libssl3t64", "libsqlite3-0", "tzdata"} <= set(
        records
    )
    assert not {"apt", "bash", "dpkg"} & set(records)


def test_every_module_was_compiled_in_the_build() -> None:
    """A read-only root cannot store bytecode. It is never compared with its source (PEP 552, flag 1)."""
    script = (
        "import sys; import app.main, uvicorn, httptools; "
        "cached = {m.__cached__ for m in list(sys.modules.values()) if getattr(m, '__cached__', None)}; "
        "print(len(cached) > 300, {open(name, 'rb').read(5)[4] for name in cached})"
    )
    assert python(script) == "True {1}\n"


def test_a_code_edit_or_a_version_bump_reinstalls_no_dependency(copy: Path) -> None:
    """The last layer changes, which is small; a changed dependency would change others."""
    before = inspected(PROD)["RootFS"]["Layers"]
    for name, old in (("pyproject.toml", 'version = "'), ("app/__init__.py", '__version__ = "')):
        path = copy / name
        path.write_text(path.read_text(encoding="utf-8").replace(old, old + "9"), encoding="utf-8")
    assert inv("build", cwd=copy).returncode == 0
    after = inspected(f"{COPY}:prod")["RootFS"]["Layers"]
    assert after[:-1] == before[:-1]
    assert after[-1] != before[-1]
    history = docker("history", "--human=false", "--format={{.Size}}", f"{COPY}:prod").stdout.split()
    assert 0 < max(map(int, history[:8])) < 250_000


def test_dev_contains_what_prod_runs() -> None:
    """The environment and the standard library of prod are in dev, byte for byte."""
    for folder, least in (("/opt/venv", 500), (LIBRARY, 1000)):
        prod, dev = digests(PROD, folder), digests(DEV, folder)
        assert len(prod) > least
        assert prod <= dev


def test_a_debian_package_is_added_with_its_libraries(copy: Path) -> None:
    """PACKAGES adds packages to dev, and to prod as a whole, with the libraries that they link to and with records."""
    dockerfile = copy / "Dockerfile"
    text = dockerfile.read_text(encoding="utf-8")
    assert 'ARG PACKAGES=""' in text
    dockerfile.write_text(text.replace('ARG PACKAGES=""', 'ARG PACKAGES="git libpq5"'), encoding="utf-8")
    done = inv("build", cwd=copy)
    assert done.returncode == 0, done.stderr
    script = (
        "import ctypes, pathlib, subprocess; print(ctypes.CDLL('libpq.so.5').PQlibVersion() > 150000)\n"
        "subprocess.run(['git', 'init', '--quiet', '/tmp/x'], check=True)\n"
        "print(pathlib.Path('/tmp/x/.git').is_dir())\n"
        "records = {path.name for path in pathlib.Path('/var/lib/dpkg/status.d').iterdir()}\n"
        "print({'git', 'libpq5', 'libssl3t64', 'libc-bin'} <= records)\n"
        "import ctypes.util; print(ctypes.util.find_library('pq'))"
    )
    assert python(script, image=f"{COPY}:prod").split() == ["True", "True", "True", "libpq.so.5"]
    assert docker("run", "--rm", f"{COPY}:dev", "git", "--version").stdout.startswith("git version")
    assert inv("check-prod-has-no-pytest", cwd=copy).returncode == 0


def test_labels_identify_the_commit(copy: Path) -> None:
    """The OCI labels state revision, version, time and source; uncommitted changes are marked."""
    pyproject = copy / "pyproject.toml"
    text = pyproject.read_text(encoding="utf-8").replace(
        "[project]\n", '[project]\nurls = { source = "https://git.example/prices" }\n'
    )
    pyproject.write_text(text, encoding="utf-8")
    git(copy, "init", "--quiet")
    git(copy, "add", "--all")
    git(copy, "commit", "--quiet", "--message=x", "--date=2026-01-02T03:04:05Z")
    revision = git(copy, "rev-parse", "HEAD")
    done = inv("build", cwd=copy)
    assert [line.split() for line in done.stdout.splitlines()] == [
        [f"{COPY}:prod", inspected(f"{COPY}:prod")["Id"]],
        [f"{COPY}:dev", inspected(f"{COPY}:dev")["Id"]],
        ["Made", "from", "commit", f"{revision},", "clean."],
    ]
    image = inspected(f"{COPY}:prod")
    labels = {name.rpartition(".")[2]: value for name, value in image["Config"]["Labels"].items() if "opencont" in name}
    assert labels == {
        "created": "2026-01-02T03:04:05Z",
        "revision": revision,
        "source": "https://git.example/prices",
        "version": tomllib.loads(text)["project"]["version"],
    }
    assert image["Created"] == "2026-01-02T03:04:05Z"

    (copy / "app" / "new.py").write_text("x = 1\n", encoding="utf-8")
    assert inv("build", cwd=copy).stdout.endswith(f"Made from commit {revision} with 1 file that differs.\n")
    label = inspected(f"{COPY}:prod")["Config"]["Labels"]["org.opencontainers.image.revision"]
    assert label == f"{revision}-dirty"


def test_the_healthcheck_detects_a_hanging_service() -> None:
    """The container is healthy within seconds, and unhealthy once the process stops answering."""
    container = docker("run", "--detach", "--health-interval=500ms", "--health-retries=1", PROD).stdout.strip()
    try:
        assert reaches(container, "healthy")
        docker("kill", "--signal=STOP", container)
        assert reaches(container, "unhealthy")
    finally:
        docker("rm", "--force", container)


def reaches(container: str, status: str) -> bool:
    """Return whether the container's health becomes `status` within 20 seconds."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if inspected(container)["State"]["Health"]["Status"] == status:
            return True
        time.sleep(0.1)
    return False
