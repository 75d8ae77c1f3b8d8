"""Faults that are planted in images of ordinary Dockerfiles: each is found, by its rule, in its layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from prodlock.tests.verify import plants
from prodlock.tests.verify.conftest import Verified
from prodlock.tests.verify.images import EXAMPLES
from prodlock.tests.verify.plants import BATCHES, PLANTS, QUICK, Plant, Planted

# All faults are planted in these, of which every run has the first; some, in all others.
ALL_FAULTS = ("uv", "pip", "poetry")
OTHERS = [name for name in EXAMPLES if name not in ALL_FAULTS]


def marks(name: str) -> Any:  # noqa: ANN401 - pytest's types of marks have no public name
    """Return the marks of a test with an image: the others take minutes."""
    return () if name == ALL_FAULTS[0] else pytest.mark.full_length


CASES = [
    pytest.param(name, plant, id=f"{name}-{plant.name}", marks=marks(name))
    for name in ALL_FAULTS
    for plant in PLANTS
    if name not in plant.without
]
Images = Callable[[str, str], Planted]
Reports = Callable[[str, str], Verified]


@pytest.mark.parametrize(("name", "plant"), CASES)
def test_planted_fault_is_found(name: str, plant: Plant, planted: Images, planted_report: Reports) -> None:
    """The report has it by its rule, its name or path, and its layer; the exit code is 1."""
    image, verified = planted(name, plant.batch), planted_report(name, plant.batch)
    assert verified.code == 1
    is_found = plants.found(plant, image, verified.findings)
    assert is_found, plants.near(plant, image, verified.findings)


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("name", [pytest.param(name, marks=marks(name)) for name in ALL_FAULTS])
def test_only_planted_faults_are_found(name: str, batch: str, planted: Images, planted_report: Reports) -> None:
    """Every finding is that of a fault, or true of the image without faults."""
    assert plants.strays(planted(name, batch), planted_report(name, batch).findings) == []


@pytest.mark.full_length
@pytest.mark.parametrize("name", OTHERS)
def test_faults_are_found_in_every_layout(name: str, planted: Images, planted_report: Reports) -> None:
    """At least six are planted; all are found, and nothing else."""
    image, verified = planted(name, QUICK), planted_report(name, QUICK)
    assert len(image.places) > 5
    assert [plant.name for plant in image.places if not plants.found(plant, image, verified.findings)] == []
    assert plants.strays(image, verified.findings) == []
