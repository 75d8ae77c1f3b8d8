"""The configuration of Renovate beside the files that it updates."""

from __future__ import annotations

import fnmatch
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
CONFIGURATION = json.loads((ROOT / ".github" / "renovate.json").read_text(encoding="utf-8"))
# A file of this project for each manager that has one, and what Renovate reads there.
READ = {
    "docker-compose": ("deploy/stack.yml", r"image: \$\{HAPROXY_IMAGE:-[a-z]+:[\d.]+\}"),
    "dockerfile": ("Dockerfile", r"(?m)^ARG BASE=[a-z]+:[\w.-]+$"),
    "github-actions": (".github/workflows/prodlock.yml", r"(?m)uses: \S+@[0-9a-f]{40} # v\d+\.\d+\.\d+$"),
    "poetry": ("pyproject.toml", r"(?m)^\[tool\.poetry\]$"),
    "pre-commit": (".pre-commit-config.yaml", r"(?m)^repos:$"),
}
# The Dockerfiles whose base image Renovate must find: those that start from Python's.
DOCKERFILES = [path for path in ROOT.rglob("Dockerfile") if "python:" in path.read_text("utf-8")]


def test_renovate_has_a_manager_for_every_kind_of_file() -> None:
    """The managers are an allow-list: an update of another one would need a rule."""
    assert set(CONFIGURATION["enabledManagers"]) == {*READ, "devcontainer"}
    assert CONFIGURATION["pre-commit"]["enabled"]


@pytest.mark.parametrize("manager", READ)
def test_files_have_the_form_that_renovate_reads(manager: str) -> None:
    """A pin of another form would get no update, without a message."""
    name, pattern = READ[manager]
    assert re.search(pattern, (ROOT / name).read_text(encoding="utf-8"))


def test_renovate_reads_the_haproxy_image() -> None:
    """The files in deploy/ and their templates have no name that the manager would find."""
    (pattern,) = CONFIGURATION["docker-compose"]["managerFilePatterns"]
    found = re.compile(pattern.strip("/"))
    names = [f"{folder}deploy/{name}.yml" for folder in ("", "prodlock/templates/") for name in ("proxy", "stack")]
    assert all(found.search(name) for name in names)
    assert not found.search("deploy/k8s/service.yaml")


def test_all_dockerfiles_have_one_base_image() -> None:
    """Renovate updates it in all of them at once."""
    texts = [path.read_text(encoding="utf-8") for path in DOCKERFILES]
    assert len(texts) > 3
    images = {image for text in texts for image in re.findall(r"\b(python:[\w.-]+)", text)}
    assert len(images) == 1


def test_renovate_leaves_the_requirements_of_the_tools() -> None:
    """Only update.sh writes these lists: Renovate would update one pin without the others."""
    lists = [str(path.relative_to(ROOT)) for path in (ROOT / "prodlock/inside/requirements").iterdir()]
    assert len(lists) > 5
    assert all(any(fnmatch.fnmatch(name, one) for one in CONFIGURATION["ignorePaths"]) for name in lists)
