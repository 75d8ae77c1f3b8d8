"""Small existing projects for the tests of the discovery."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from prodlock.scaffold.find import Found, find

APP = "from fastapi import FastAPI\napp = FastAPI()\n"
VERSIONS = {"fastapi": "0.130.0", "httptools": "0.7.1", "uvicorn": "0.40.0"}
HASHED = "".join(f"{name}=={version} --hash=sha256:00\n" for name, version in VERSIONS.items())


def find_in(root: Path, files: Mapping[str, str], given: Mapping[str, object] | None = None) -> Found:
    """Write a project's files, with a lock where it has none, and return what is found."""
    if not any("lock" in name or "requirements" in name for name in files):
        files = {"requirements.txt": HASHED, **files}
    if "requirements.txt" in files:
        files = {"requirements-dev.txt": "pytest==9.0 --hash=sha256:00\n", **files}
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return find(root, given)


def hashed(*names: str) -> str:
    """Return a list of requirements with hashes that has what prodlock.server needs and further distributions."""
    return HASHED + "".join(f"{name}==1.0 --hash=sha256:00\n" for name in names)


def poetry_lock(groups: Mapping[str, Iterable[str]] | None = None, extras: Mapping[str, str] | None = None) -> str:
    """Return a poetry.lock that has what prodlock.server needs, and distributions of groups and of extras."""
    packages = [_package(name, version, "main") for name, version in VERSIONS.items()]
    packages.append(_package("pytest", "9.0", "dev"))
    packages += [_package(name, "1.0", group) for group, names in (groups or {}).items() for name in names]
    packages += [
        _package(name, "1.0", "main") + f"markers = \"extra == '{extra}'\"\n" for name, extra in (extras or {}).items()
    ]
    return "".join(packages)


def uv_lock(project: str = "shop", path: str = ".", dependencies: Iterable[str] = VERSIONS) -> str:
    """Return a uv.lock of a project, or of the member of a workspace in a folder."""
    source = '{ registry = "https://index.example/simple" }'
    packages = [
        f'[[package]]\nname = "{name}"\nversion = "{VERSIONS.get(name, "1.0")}"\nsource = {source}\n'
        for name in {**VERSIONS, **dict.fromkeys(dependencies)}
    ]
    needed = ", ".join(f'{{ name = "{name}" }}' for name in dependencies)
    own = f'[[package]]\nname = "{project}"\nversion = "1"\nsource = {{ virtual = "{path}" }}\n'
    own += f"dependencies = [{needed}]\n"
    members = "" if path == "." else f'[manifest]\nmembers = ["{project}"]\n'
    return f'version = 1\nrequires-python = ">=3.11"\n{members}' + "".join([*packages, own])


def _package(name: str, version: str, group: str) -> str:
    return f'[[package]]\nname = "{name}"\nversion = "{version}"\ngroups = ["{group}"]\nfiles = []\n'
