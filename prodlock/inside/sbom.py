"""Write a bill of materials: `python sbom.py < FACTS`, in the sbom stage.

The format is CycloneDX (https://cyclonedx.org/docs/1.6/json/). inventory.py derives FACTS from the proof; the same
facts give the same document. A document that is not valid against CycloneDX's schema is an error.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL


def component(facts: Mapping[str, Any]) -> Component:
    """Return the component that one entry of the facts describes."""
    digest = facts.get("sha256")
    return Component(
        name=facts["name"],
        version=facts["version"],
        type=ComponentType(facts["type"]),
        bom_ref=facts["purl"],
        purl=PackageURL.from_string(facts["purl"]),
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest)] if digest else [],
        properties=properties(facts.get("properties", {})),
    )


def properties(facts: Mapping[str, str | list[str]]) -> Iterable[Property]:
    """Return properties, one for each value."""
    for name, values in facts.items():
        for value in [values] if isinstance(values, str) else values:
            yield Property(name=name, value=value)


def main() -> None:
    """Print the bill of materials."""
    facts = json.load(sys.stdin)
    root = component(facts["image"])
    bom = Bom(
        components=map(component, facts["components"]), serial_number=uuid5(NAMESPACE_URL, facts["image"]["sha256"])
    )
    bom.metadata.component = root
    bom.metadata.timestamp = datetime.fromisoformat(facts["created"])
    bom.metadata.tools.tools.clear()
    bom.metadata.tools.components.clear()
    bom.register_dependency(root, bom.components)
    document = make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string(indent=2)
    wrong = JsonStrictValidator(SchemaVersion.V1_6).validate_str(document)
    if wrong:
        sys.exit(f"The document is not valid CycloneDX: {wrong.data}")
    print(document)


if __name__ == "__main__":
    main()
