"""Reproducible builds: the same commit gives the same production image, by its id."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from prodlock.tests.engine.conftest import COPY, docker, git, inv, inv_command


def build(repository: Path, folder: Path, *, umask: int, owner: int) -> str:
    """Clone a repository to a folder, build it without any cache, and return prod's id."""
    subprocess.run(["git", "clone", "--quiet", str(repository), str(folder)], umask=umask, check=True)  # noqa: S607
    for path in (folder / "app").rglob("*"):
        os.chown(path, owner, owner)
        os.utime(path, (owner, owner))
    environment = os.environ | {"USER": f"user{owner}", "TZ": f"X{owner % 12}"}
    done = subprocess.run(
        inv_command("build", "--no-cache"),
        cwd=folder, env=environment, umask=umask, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    name, identifier = done.stdout.splitlines()[0].split()
    assert name == f"{COPY}:prod"
    return identifier


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can change the owner of files")
def test_the_same_commit_gives_the_same_image(repository: Path, tmp_path: Path) -> None:
    """The folder, time, umask, owner, user name and time zone differ, and no cache is used."""
    first = build(repository, tmp_path / "here", umask=0o022, owner=1000)
    second = build(repository, tmp_path / "a" / "folder elsewhere", umask=0o077, owner=2000)
    assert first == second


def test_another_commit_gives_another_image(repository: Path) -> None:
    """The control: image ids differ even where only the commit differs."""
    ids = []
    for message in ("y", "z"):
        git(repository, "commit", "--quiet", "--allow-empty", f"--message={message}")
        assert inv("build", cwd=repository).returncode == 0
        ids.append(docker("image", "inspect", "--format={{.Id}}", f"{COPY}:prod").stdout)
    assert ids[0] != ids[1]


def configuration(engine: str, folder: Path) -> str:
    """Return the name of prod's configuration in an Engine's archive: its digest, which covers those of the layers."""
    saved = folder / "prod.tar"
    docker(f"--host={engine}", "save", f"--output={saved}", f"{COPY}:prod")
    with tarfile.open(saved) as archive:
        manifest = archive.extractfile("manifest.json")
        assert manifest
        (image,) = json.load(manifest)
    return str(image["Config"])


def test_both_image_stores_have_the_same_image(repository: Path, tmp_path: Path, containerd_store: str) -> None:
    """Layers and configuration have the same digests in containerd's store, where the image has another id."""
    # The second Engine's bridge reaches no package index.
    on_host = ", ".join(f"{name}: {{build: {{network: host}}}}" for name in ("api-prod", "api-tests", "api-dev"))
    (repository / "docker-compose.override.yml").write_text(f"services: {{{on_host}}}\n")
    seen = []
    for engine in (
        docker("context", "inspect", "--format={{.Endpoints.docker.Host}}").stdout.strip(),
        containerd_store,
    ):
        done = inv("build", cwd=repository, DOCKER_HOST=engine)
        assert done.returncode == 0, done.stderr
        seen.append((configuration(engine, tmp_path), done.stdout.split()[1]))
    (classic, first), (containerd, second) = seen
    assert classic == containerd
    assert first != second
