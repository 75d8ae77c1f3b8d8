"""Report findings as SARIF 2.1.0, for code scanning (https://docs.oasis-open.org/sarif/sarif/v2.1.0/)."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import Any
from urllib.parse import quote

from prodlock import __version__
from prodlock.origins import text
from prodlock.origins.report import VerifyReport
from prodlock.proof.rules import Finding, Rule

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
# The name of the root of the image, to which the locations are relative.
_ROOT = "IMAGE"


def document(report: VerifyReport) -> dict[str, Any]:
    """Return a report as a SARIF log of one run."""
    grouped = report.grouped()
    seen: Counter[str] = Counter()
    results = [
        _result(report, finding, index, seen) for index, (_, findings) in enumerate(grouped) for finding in findings
    ]
    run: dict[str, Any] = {
        "tool": {"driver": {"name": "prodlock", "version": __version__, "rules": [_rule(rule) for rule, _ in grouped]}},
        # Code scanning replaces the results of a former run with this id; another image has another.
        "automationDetails": {"id": f"prodlock verify {text.printable(report.image)}/"},
        "originalUriBaseIds": {
            _ROOT: {
                "uri": "file:///",
                "description": {"text": f"The root of the image {text.printable(report.image)}."},
            }
        },
        "invocations": [
            {
                "executionSuccessful": True,
                "exitCode": report.code,
                "toolExecutionNotifications": [
                    {"level": "note", "message": {"text": text.printable(line)}}
                    for line in (*report.notes, report.verdict())
                ],
            }
        ],
        "results": results,
        "columnKind": "unicodeCodePoints",
        "properties": {key: value for key, value in report.data().items() if key in _PROPERTIES},
    }
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}


# What of the report's data describes the run.
_PROPERTIES = ("image", "id", "clean", "strict", "base", "lock", "origins", "read")


def _rule(rule: Rule) -> dict[str, Any]:
    """Return a rule as a reporting descriptor."""
    advice = f"Usual cause: {rule.cause}\nTo fix it: {rule.remedy}"
    markdown = f"{rule.meaning}\n\n- Usual cause: {rule.cause}\n- To fix it: {rule.remedy}"
    return {
        "id": rule.code,
        "shortDescription": {"text": rule.title},
        "fullDescription": {"text": rule.meaning},
        "help": {"text": f"{rule.meaning}\n{advice}", "markdown": markdown},
        "defaultConfiguration": {"level": "error"},
    }


def _result(report: VerifyReport, finding: Finding, index: int, seen: Counter[str]) -> dict[str, Any]:
    """Return a finding as a result. `seen` counts the fingerprints of the results before it."""
    layer = "" if finding.layer is None else f", layer {finding.layer + 1}"
    instruction = text.instruction(finding.instruction)
    brought = f"; brought by: {text.shortened(instruction)}" if instruction else ""
    # Without the number of the layer: an instruction that is added below changes it.
    identity = f"{finding.rule.code}\0{finding.what}\0{finding.path}"
    fingerprint = hashlib.sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()
    seen[fingerprint] += 1
    result: dict[str, Any] = {
        "ruleId": finding.rule.code,
        "ruleIndex": index,
        "level": "error",
        "message": {"text": text.printable(f"{report.sentence(finding)}{layer}{brought}")},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": _uri(finding.path), "uriBaseId": _ROOT},
                    # Code scanning shows no result without a line.
                    "region": {"startLine": 1},
                }
            }
        ],
        # The name that code scanning compares; it is computed from a source file where it is missing.
        "partialFingerprints": {"primaryLocationLineHash": f"{fingerprint}:{seen[fingerprint]}"},
        "properties": {"what": text.printable(finding.what), "files": finding.files},
    }
    if finding.layer is not None:
        result["properties"]["layer"] = finding.layer
    if instruction:
        result["properties"]["instruction"] = text.printable(instruction)
    return result


def _uri(path: str) -> str:
    """Return a path in the image as a relative reference (RFC 3986); a name may not be valid UTF-8."""
    # A first segment with a colon would be a scheme; quote() encodes it.
    return quote(path.lstrip("/"), errors="surrogatepass") or "."
