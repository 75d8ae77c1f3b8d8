"""The evidence about an image is complete, or there is no verdict."""

from __future__ import annotations

from dataclasses import replace

import pytest

from prodlock.failure import Failure
from prodlock.origins import environments
from prodlock.origins.command import check_base
from prodlock.origins.records import Locked
from prodlock.origins.visible import Layers
from prodlock.tests.unit.origins.subjects import distribution, requirement, subject

LOCKED = Locked(
    "uv.lock",
    {"shop": requirement("shop", "1")},
    {name: requirement(name, "1") for name in ("pytest", "pip")},
    "fresh",
)


@pytest.mark.parametrize(("name", "refused"), [("shop", True), ("pytest", True), ("pip", False), ("other", False)])
def test_a_stage_of_the_image_is_not_taken_for_its_base_image(name: str, refused: bool) -> None:  # noqa: FBT001
    """One that was found, and that has a locked distribution, also of development; a given one is trusted."""
    image = subject(distribution(name, "1", {f"{name}.py": b"x"})[0], {"/app/x": b"x"})
    installed = environments.find(image, Layers(image.image.files))
    check_base(image, installed, LOCKED)
    found = replace(image, base_found=True)
    if refused:
        with pytest.raises(Failure, match=rf"^A base image must be given \(got base .* has {name}, .* To fix it: "):
            check_base(found, installed, LOCKED)
    else:
        check_base(found, installed, LOCKED)
