"""Images of the examples on a real Engine, and the reports of `prodlock verify` on them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from prodlock.tests.verify import images, plants
from prodlock.tests.verify.images import EXAMPLES, REPOSITORY, Built, docker
from prodlock.tests.verify.plants import Planted


class Verified(NamedTuple):
    """The exit code, the report and the messages of a run of `prodlock verify`."""

    code: int
    report: dict[str, Any]
    messages: str

    @property
    def findings(self) -> list[dict[str, Any]]:
        """The findings of the report."""
        found: list[dict[str, Any]] = self.report["findings"]
        return found


def verify(built: Built, reference: str, *options: str, cached: Path) -> Verified:
    """Run `prodlock verify` in a project's folder."""
    command = [sys.executable, "-m", "prodlock", "verify", reference, "--json", f"--lock={built.lock}"]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "XDG_CACHE_HOME": str(cached)}
    done = subprocess.run(
        [*command, *built.example.options, *options],
        cwd=built.working_directory,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in {0, 1}, done.stderr
    return Verified(done.returncode, json.loads(done.stdout), done.stderr)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of the projects; the images are removed with it."""
    yield tmp_path_factory.mktemp("verify")
    made = f"--filter=reference={images.NAME}*"
    tags = docker("image", "ls", "--format={{.Repository}}:{{.Tag}}", made).split()
    if tags:
        docker("rmi", *tags)


@pytest.fixture(scope="session")
def example(folder: Path) -> Callable[[str], Built]:
    """Returns the project and the image of an example, which is built once."""
    return cache(lambda name: images.create(EXAMPLES[name], folder / name))


@pytest.fixture(scope="session")
def planted(folder: Path, example: Callable[[str], Built]) -> Callable[[str, str], Planted]:
    """Returns an image of an example with the faults of a batch, which is built once."""
    context = plants.context(folder / "context")
    return cache(lambda name, batch: plants.plant(example(name), batch, context))


@pytest.fixture(scope="session")
def clean_report(folder: Path, example: Callable[[str], Built]) -> Callable[[str], Verified]:
    """Returns the report on the image of an example. A base image is given only where it was built here, too."""

    @cache
    def report(name: str) -> Verified:
        base = [f"--base={EXAMPLES[name].base_tag}"] if EXAMPLES[name].base else []
        return verify(example(name), EXAMPLES[name].tag, *base, cached=folder / "cache")

    return report


@pytest.fixture(scope="session")
def planted_report(folder: Path, planted: Callable[[str, str], Planted]) -> Callable[[str, str], Verified]:
    """Returns the report on an image with the faults of a batch."""

    @cache
    def report(name: str, batch: str) -> Verified:
        image = planted(name, batch)
        # Given, because the image without the faults is a longer prefix of its layers.
        return verify(image.built, image.tag, f"--base={EXAMPLES[name].base_tag}", cached=folder / "cache")

    return report
