"""Report findings, as lines of text or as data.

python -m prodlock.proof.report > docs/reference/rules.md        print the rules as a page
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from prodlock.failure import CANNOT_CHECK, FAILED, Failure, discard_output
from prodlock.image.records import Image
from prodlock.proof.rules import RULES, Finding, Rule

if sys.platform != "win32":
    import resource


@dataclass(frozen=True)
class Report:
    """A verdict on an image, and the evidence that it is based on."""

    image: str
    identifier: str
    findings: tuple[Finding, ...]
    # What the image is, where nothing was found.
    verdict: str
    # What was read of the image: layers, files, bytes; seconds, and bytes of memory.
    read: Mapping[str, float]
    # What a check adds to the data.
    more: Mapping[str, Any]
    # Lines behind the verdict.
    notes: tuple[str, ...] = ()

    @property
    def code(self) -> int:
        """The exit code: 0 without findings, else 1."""
        return FAILED if self.findings else 0

    def data(self) -> dict[str, Any]:
        """Return the report as data, for JSON."""
        facts = {"image": self.image, "id": self.identifier, "clean": not self.findings}
        found = {"findings": [finding_data(finding) for finding in self.findings]}
        return facts | found | dict(self.more) | {"read": self.read}

    def lines(self) -> list[str]:
        """Return the report as lines of text: findings, the remedies of their rules, verdict, notes.

        Names are those of the image: they may not be valid in any encoding.
        """
        lines = [_line(finding) for finding in self.findings]
        broken = {finding.rule.code: finding.rule for finding in self.findings}
        lines += [
            f"{code} {rule.title}. Usual cause: {rule.cause} To fix it: {rule.remedy}"
            for code, rule in sorted(broken.items())
        ]
        many = "s" if len(self.findings) > 1 else ""
        verdict = f"holds {len(self.findings)} leak{many}" if self.findings else self.verdict
        lines.append(
            f"{self.image} {verdict}. Read {self.read['layers']} layers, {self.read['files']:,} files, "
            f"{self.read['bytes'] / 1e6:.1f} MB in {self.read['seconds']:.1f} s, with "
            f"{self.read['memory'] / 1e6:.0f} MB of memory."
        )
        return [*lines, *self.notes]


class Printable(Protocol):
    """A report as lines of text, as data, and with its exit code."""

    @property
    def code(self) -> int:
        """The exit code: 0 without findings, else 1."""

    def data(self) -> dict[str, Any]:
        """Return the report as data, for JSON."""

    def lines(self) -> list[str]:
        """Return the report as lines of text."""


def print_report(report: Printable, *, as_json: bool) -> int:
    """Print a report and return its exit code."""
    print_text(json.dumps(report.data(), indent=2) if as_json else "\n".join(report.lines()))
    return report.code


def print_text(text: str) -> None:
    """Print a text whose names may not be valid in any encoding, to an output that may have 256 characters only.

    Raises Failure, code 2, where it can't be written: without the report, there is no verdict.
    """
    try:
        # Standard error escapes what its encoding lacks in the same way.
        encoding = sys.stdout.encoding or "utf-8"
        print(text.encode(encoding, "backslashreplace").decode(encoding), flush=True)
    except BrokenPipeError:
        # As with `| head`: there is no message, but the exit code must not be that of findings.
        discard_output()
        raise Failure("", CANNOT_CHECK) from None
    except (OSError, AttributeError) as error:
        reason = "it is closed"
        if isinstance(error, OSError):
            reason = error.strerror or str(error)
            # The interpreter must not write what is left at its end.
            discard_output()
        raise Failure(
            f"Standard output must be one that the report can be written to (got: {reason}). To fix it: free some "
            "room, or redirect the output to another file.",
            CANNOT_CHECK,
        ) from None


def read_size(image: Image, seconds: float) -> dict[str, float]:
    """Return what was read of an image, in bytes and seconds, and the most memory that was used, in bytes."""
    return {
        "layers": len(image.layers),
        "files": len(image.stored),
        "bytes": sum(file.size for file in image.stored),
        "seconds": round(seconds, 2),
        "memory": _memory(),
    }


def _memory() -> int:
    """Return the most memory that this process has used, in bytes; 0 where the system does not report it."""
    if sys.platform == "win32":
        return 0
    # Kilobytes, but for macOS (getrusage(2)).
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def finding_data(finding: Finding) -> dict[str, Any]:
    """Return a finding as data, with its rule's code and advice."""
    return advice(finding.rule) | {name: value for name, value in vars(finding).items() if name != "rule"}


def advice(rule: Rule) -> dict[str, str]:
    """Return a rule's code, title, usual cause and remedy as data."""
    return {"code": rule.code, "title": rule.title, "cause": rule.cause, "remedy": rule.remedy}


def _line(finding: Finding) -> str:
    files = f" ({finding.files} files)" if finding.files > 1 else ""
    layer = "" if finding.layer is None else f", layer {finding.layer + 1}"
    brought = f"; brought by: {' '.join(finding.instruction.split())[:100]}" if finding.instruction else ""
    return f"LEAK {finding.what}: {finding.path}{files}{layer}: {finding.why} [{finding.rule.code}]{brought}"


def rules_page() -> str:
    """Return the rules as a page of documentation, in Markdown."""
    lines = [
        "# Rules",
        "",
        "Each finding of `inv check-prod-has-no-pytest`, `inv check-prod`, `inv deploy-check` and `prodlock verify`",
        "refers to a rule by its code, `code` in `--json`. This page is written by",
        "`python -m prodlock.proof.report > docs/reference/rules.md`.",
        "",
        "| codes | subject | applied by |",
        "|---|---|---|",
        "| LS1xx | development in production | `inv check-prod-has-no-pytest`, `inv check-prod` |",
        "| LS2xx | the closed world: files | `inv check-prod` |",
        "| LS3xx | the image's configuration and history | `inv check-prod` |",
        "| LS4xx | Compose | `inv check-prod` |",
        "| LS5xx | the bill of materials | `inv check-prod --sbom` |",
        "| LS6xx | images of any Dockerfile | `prodlock verify` |",
        "| LS7xx | files for deployment | `inv deploy-check` |",
    ]
    for rule in RULES:
        lines += ["", f"## {rule.code} {rule.title}", "", rule.meaning, ""]
        lines += [f"- Usual cause: {rule.cause}", f"- To fix it: {rule.remedy}"]
    return "\n".join(lines)


if __name__ == "__main__":
    print(rules_page())
