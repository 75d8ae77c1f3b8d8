"""The components of production, compared with a bill of materials."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from prodlock.image.records import Image, Layer
from prodlock.proof.judges import inventory

LABELS = {"org.opencontainers.image.version": "1.2", "org.opencontainers.image.created": "2026-01-02T03:04:05Z"}
IMAGE = Image("x:1", (Layer("sha256:0", "COPY"),), {}, {"Labels": LABELS}, (), (), "sha256:abc")
GOLDEN = {
    "wheels": [{"name": "Typing_Extensions", "version": "4.16", "file": "t.whl", "sha256": "12"}],
    "packages": [{"package": "libstdc++6", "version": "1:14.2+1", "architecture": "amd64"}],
    "python": "3.13.5",
}
FACTS = inventory.inventory("shop", IMAGE, GOLDEN)


def bill() -> dict[str, Any]:
    """Return the document that sbom.py writes for the facts, in the parts that are compared."""
    root = FACTS["image"]["properties"]
    values = [root["prodlock:image:configuration"], *root["prodlock:image:layer"]]
    names = ["prodlock:image:configuration", "prodlock:image:layer"]
    components = [
        {"name": one["name"], "purl": one["purl"]}
        | ({"hashes": [{"alg": "SHA-256", "content": one["sha256"]}]} if "sha256" in one else {})
        for one in FACTS["components"]
    ]
    properties = [{"name": name, "value": value} for name, value in zip(names, values, strict=True)]
    return copy.deepcopy({"metadata": {"component": {"properties": properties}}, "components": components})


def test_every_component_has_a_package_url() -> None:
    """As scanners look it up."""
    assert [one["purl"] for one in FACTS["components"]] == [
        "pkg:generic/shop@1.2",
        "pkg:generic/python@3.13.5",
        "pkg:pypi/typing-extensions@4.16",
        "pkg:deb/debian/libstdc%2B%2B6@1:14.2%2B1?arch=amd64",
    ]
    assert (FACTS["created"], FACTS["image"]["sha256"]) == ("2026-01-02T03:04:05Z", "abc")


def test_a_bill_of_the_same_image_matches() -> None:
    """Without a finding."""
    assert inventory.mismatches(bill(), FACTS) == []


def test_escapes_in_a_package_url_do_not_matter() -> None:
    """Tools differ in that."""
    document = bill()
    document["components"][3]["purl"] = "pkg:deb/debian/libstdc++6@1%3A14.2+1?arch=amd64"
    assert inventory.mismatches(document, FACTS) == []


def test_another_version_does_not_match() -> None:
    """One finding for the component of the image, one for the listed one."""
    document = bill()
    document["components"][2]["purl"] = "pkg:pypi/typing-extensions@4.15"
    assert [one.what for one in inventory.mismatches(document, FACTS)] == [
        "pkg:pypi/typing-extensions@4.16",
        "pkg:pypi/typing-extensions@4.15",
    ]


def test_a_version_beside_the_package_url_is_compared() -> None:
    """Both are read by tools; one of them may be left out."""
    document = bill()
    document["components"][2]["version"] = "4.15"
    assert len(inventory.mismatches(document, FACTS)) == 2
    document["components"][2]["version"] = "4.16"
    assert inventory.mismatches(document, FACTS) == []


def test_repeated_and_nested_components_are_compared() -> None:
    """It is more than the image has."""
    document = bill()
    document["components"].append(document["components"][2])
    document["components"][0] = document["components"][0] | {"components": [{"name": "hidden"}]}
    assert [one.what for one in inventory.mismatches(document, FACTS)] == ["hidden", "pkg:pypi/typing-extensions@4.16"]


def test_another_wheel_of_the_same_version_does_not_match() -> None:
    """By its sha256."""
    document = bill()
    document["components"][2]["hashes"][0]["content"] = "34"
    assert len(inventory.mismatches(document, FACTS)) == 2


def test_another_image_does_not_match() -> None:
    """Though it has the same components."""
    document = bill()
    document["metadata"]["component"]["properties"][1]["value"] = "sha256:9"
    (finding,) = inventory.mismatches(document, FACTS)
    assert "another image" in finding.why


def test_another_document_is_refused() -> None:
    """By an error that the caller turns into a sentence."""
    with pytest.raises(KeyError):
        inventory.mismatches({}, FACTS)
