"""A main and a dev environment, the lock that they come from, and images with files planted in them."""

from __future__ import annotations

import hashlib

from prodlock.image.records import File, Image, Layer
from prodlock.proof.judges.forbidden import derive
from prodlock.proof.records import Lock, Sources

SITE = "/opt/venv/lib/python3.13/site-packages"
LONG = b"# long enough to be traced to its owner, whatever it is called and wherever it lies\n"


def file(path: str, content: bytes = b"", **more: object) -> File:
    """Return a regular file's record."""
    record = File(path, size=len(content), sha256=hashlib.sha256(content).hexdigest(), head=content)
    return record._replace(**more)  # type: ignore[arg-type]


def distribution(name: str, version: str, *modules: str, scripts: tuple[str, ...] = ()) -> list[File]:
    """Return what installing a distribution leaves: modules, scripts, metadata."""
    info = f"{SITE}/{name}-{version}.dist-info"
    files = [file(f"{SITE}/{module}", f"# {name} {module}\n".encode() + LONG) for module in modules]
    files += [
        file(f"/opt/venv/bin/{script}", f"#!/opt/venv/bin/python\nimport {name}\n".encode()) for script in scripts
    ]
    files.append(file(f"{info}/METADATA", f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n".encode()))
    owned = [path.path.replace("/opt/venv/bin/", "../../../bin/").replace(f"{SITE}/", "") for path in files]
    record = "".join(f"{path},sha256=x,1\n" for path in [*owned, f"{name}-{version}.dist-info/RECORD"])
    return [*files, file(f"{info}/RECORD", record.encode())]


MAIN = [
    *distribution("anyio", "4.16.0", "anyio/__init__.py", "anyio/pytest_plugin.py"),
    *distribution("setuptools", "80.0", "setuptools/__init__.py", "setuptools/_vendor/packaging/__init__.py"),
]
APP = [file("/srv/app/__init__.py"), file("/srv/app/main.py", b"# the service\n" + LONG)]
DEV = [
    *MAIN,
    *APP,
    *distribution("pytest", "9.2.0", "pytest/__init__.py", "_pytest/main.py", "py.py", scripts=("pytest", "py.test")),
    *distribution("packaging", "26.3", "packaging/__init__.py"),
    file("/srv/tasks.py", b"# tasks\n" + LONG),
    file("/srv/tests/test_x.py", b"# a test\n" + LONG),
]
PROD = [*MAIN, *APP]
# What the stage `sources` copies.
COPIED = {"/srv/app": "app"}
SOURCES = Sources(COPIED)
LOCK = Lock(
    main={"anyio": frozenset({"4.16.0"}), "setuptools": frozenset({"80.0"})},
    dev={"anyio": frozenset({"4.16.0"}), "pytest": frozenset({"9.2.0"}), "packaging": frozenset({"26.3"})},
)
RULES = derive(DEV, LOCK, SOURCES)
PYTEST = next(entry for entry in DEV if entry.path.endswith("/pytest/__init__.py")).head


def image(
    files: list[File] | None = None, config: dict[str, object] | None = None, history: tuple[str, ...] = ()
) -> Image:
    """Return an image of two layers."""
    layers = (Layer("sha256:0", "FROM base"), Layer("sha256:1", "COPY prod"))
    return Image("x:1", layers, {}, config or {}, history, tuple(files or []))
