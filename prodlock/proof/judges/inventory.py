"""List the components of a production image, and judge whether a bill of materials lists the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, unquote

from prodlock.image.records import Image
from prodlock.proof import rules
from prodlock.proof.records import normalized
from prodlock.proof.rules import Finding

_CONFIGURATION = "prodlock:image:configuration"
_LAYER = "prodlock:image:layer"
_FILE = "prodlock:wheel"
_REVISION = "prodlock:revision"


def inventory(name: str, image: Image, golden: Mapping[str, Any]) -> dict[str, Any]:
    """Return the image and its components for `inside/sbom.py`: service, interpreter, wheels, Debian packages.

    Takes an image that passed the proof, and what the stage `golden` states. Components have a package URL
    (https://github.com/package-url/purl-spec), wheels the sha256 of the lock.
    """
    labels = image.config.get("Labels") or {}
    version = labels.get("org.opencontainers.image.version") or "0"
    wheels = [
        _component("library", one["name"], one["version"], f"pkg:pypi/{normalized(one['name'])}")
        | {"sha256": one["sha256"], "properties": {_FILE: one["file"]}}
        for one in golden["wheels"]
    ]
    packages = [
        _component("library", one["package"], one["version"], f"pkg:deb/debian/{quote(one['package'])}")
        for one in golden["packages"]
    ]
    for package, one in zip(packages, golden["packages"], strict=True):
        package["purl"] += f"?arch={one['architecture']}"
    python = _component("platform", "python", golden["python"], "pkg:generic/python")
    digest = image.identifier.removeprefix("sha256:")
    layers = [layer.diff_id for layer in image.layers]
    root = _component("container", name, version, f"pkg:oci/{name}") | {
        "sha256": digest,
        "properties": {_CONFIGURATION: image.identifier, _LAYER: layers},
    }
    created = labels.get("org.opencontainers.image.created") or "1980-01-01T00:00:00Z"
    app = _component("application", name, version, f"pkg:generic/{name}") | {
        "properties": {_REVISION: labels.get("org.opencontainers.image.revision") or "none"}
    }
    return {"image": root, "created": created, "components": [app, python, *wheels, *packages]}


def mismatches(bill: Mapping[str, Any], facts: Mapping[str, Any]) -> list[Finding]:
    """Return how a CycloneDX document and an inventory differ. Raises KeyError or TypeError for another document."""
    listed = Counter(map(_identity, _all(bill["components"])))
    held = Counter((unquote(one["purl"]), one["version"], one.get("sha256", "")) for one in facts["components"])
    root = bill["metadata"]["component"]
    image = {one["value"] for one in root.get("properties", ()) if one["name"] in {_CONFIGURATION, _LAYER}}
    layers = facts["image"]["properties"]
    found = [
        (rules.BILL_COMPONENT, purl, "the image has it, the bill of materials not")
        for purl, *_ in sorted(held - listed)
    ]
    found += [
        (rules.BILL_COMPONENT, purl, "the bill of materials has it, the image not")
        for purl, *_ in sorted(listed - held)
    ]
    if image != {layers[_CONFIGURATION], *layers[_LAYER]}:
        why = "the bill of materials is of another image, by its digests"
        found.append((rules.BILL_IMAGE, facts["image"]["purl"], why))
    return [Finding(rule, what, "bill of materials", "", why) for rule, what, why in found]


def _component(kind: str, name: str, version: str, purl: str) -> dict[str, Any]:
    return {"type": kind, "name": name, "version": version, "purl": f"{purl}@{quote(version, safe=':')}"}


def _all(components: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Yield the components of a document, also those within others."""
    for one in components:
        yield one
        yield from _all(one.get("components", ()))


def _identity(component: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return package URL, version and sha256 of a component of a document."""
    hashes = {one["alg"]: one["content"] for one in component.get("hashes", ())}
    purl = unquote(component.get("purl", component["name"]))
    # The package URL may have the version alone.
    version = component.get("version", purl.partition("?")[0].rpartition("@")[2])
    return purl, version, hashes.get("SHA-256", "")
