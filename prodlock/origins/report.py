"""Report where an image's files come from, as lines of text or as data."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from prodlock.failure import FAILED
from prodlock.image.records import Layer
from prodlock.origins import summary, text
from prodlock.origins.records import Attribution, Kind
from prodlock.proof.report import finding_data
from prodlock.proof.rules import Finding, Rule

# How many findings of a rule, folders, and names of packages are printed.
_FINDINGS = 10
_FOLDERS = 5
_NAMES = 5
# How a lock relates to pyproject.toml.
INPUTS = {
    "fresh": "up to date with pyproject.toml",
    "consistent": "consistent with pyproject.toml; its format does not record whether it is up to date",
    "unknown": "not comparable with pyproject.toml",
}
# Why an origin is recorded and not proven.
RECORDED = {
    Kind.DEBIAN: "by the package manager's records in the image",
    Kind.BYTECODE: "no interpreter was available to compile the source again",
    Kind.INSTALLER: "recognized by their place, and not compared",
}


@dataclass(frozen=True)
class VerifyReport:
    """The origins of an image's files, and the findings."""

    image: str
    identifier: str
    # The name of the base image, and how many of the layers are the base image's.
    base: str
    base_layers: int
    layers: tuple[Layer, ...] = field(repr=False)
    # The path of the lock, and how it relates to pyproject.toml: `fresh`, `consistent` or `unknown`.
    lock: str
    inputs: str
    attribution: Attribution = field(repr=False)
    findings: tuple[Finding, ...]
    # Whether unexplained files are findings.
    strict: bool
    seconds: float
    # Lines before the verdict.
    notes: tuple[str, ...] = ()
    # Whether every finding and every file is listed.
    everything: bool = False
    # Whether the image has copies of the base image's files instead of its layers.
    copied: bool = False

    @property
    def code(self) -> int:
        """The exit code: 0 without findings, else 1."""
        return FAILED if self.findings else 0

    @property
    def clean(self) -> bool:
        """Whether nothing was found and the origin of every file is proven."""
        return not self.findings and not any(
            row.unproven_files or (row.kind is Kind.UNEXPLAINED and row.files) for row in self.rows
        )

    @functools.cached_property
    def rows(self) -> list[summary.Row]:
        """What the image has of each kind of origin."""
        return summary.rows(self.attribution)

    @functools.cached_property
    def size(self) -> int:
        """The bytes of all files."""
        return sum(file.size for file, _ in self.attribution.files)

    @property
    def extent_of_base(self) -> str:
        """What the image has of the base image: its layers, or copies of its files."""
        return "copies of its files" if self.copied else text.count(self.base_layers, "layer")

    def instruction(self, layer: int) -> str:
        """Return the instruction that made a layer, without secrets."""
        return text.instruction(self.layers[layer].instruction) if layer < len(self.layers) else ""

    def grouped(self) -> list[tuple[Rule, list[Finding]]]:
        """Return the findings by their rules, in the order of the codes; of a rule, in the order of the layers."""
        found = sorted(self.findings, key=lambda finding: (finding.rule.code, _layer(finding)))
        return [(rule, list(same)) for rule, same in itertools.groupby(found, lambda finding: finding.rule)]

    def data(self) -> dict[str, Any]:
        """Return the report as data, for JSON."""
        folders = summary.unexplained_folders(self.attribution)
        report: dict[str, Any] = {
            "image": self.image,
            "id": self.identifier,
            "clean": self.clean,
            "strict": self.strict,
            "base": {"image": self.base, "layers": self.base_layers},
            "lock": {"file": self.lock, "inputs": self.inputs},
            "layers": [
                {"diff_id": layer.diff_id, "instruction": self.instruction(number), "base": number < self.base_layers}
                for number, layer in enumerate(self.layers)
            ],
            "origins": [
                {
                    "kind": row.kind.value,
                    "files": row.files,
                    "bytes": row.size,
                    "share": row.size / self.size if self.size else 0.0,
                    "unproven_files": row.unproven_files,
                    "unproven_bytes": row.unproven_size,
                }
                for row in self.rows
            ],
            "findings": [
                finding_data(finding) | {"instruction": text.instruction(finding.instruction)}
                for _, findings in self.grouped()
                for finding in findings
            ],
            "unexplained": [
                {"path": file.path, "layer": file.layer, "bytes": file.size}
                for file in summary.unexplained(self.attribution)
            ],
            "unexplained_folders": [
                {"path": folder.name, "files": folder.files, "bytes": folder.size} for folder in folders
            ],
            "unproven": [
                {"kind": kind.value, "what": total.name, "files": total.files, "bytes": total.size}
                for kind, total in summary.unproven(self.attribution)
            ],
        }
        if self.everything:
            report["files"] = [
                {
                    "path": file.path,
                    "layer": file.layer,
                    "bytes": file.size,
                    "sha256": file.sha256,
                    "kind": origin.kind.value,
                    "what": origin.what,
                    "proven": origin.proven and origin.kind is not Kind.UNEXPLAINED,
                }
                for file, origin in self.attribution.files
            ]
        read = {
            "layers": len(self.layers),
            "files": len(self.attribution.files),
            "bytes": self.size,
            "seconds": round(self.seconds, 2),
        }
        return report | {"notes": list(self.notes), "read": read}

    def lines(self) -> list[str]:
        """Return the report as lines of text: origins, findings with their remedies, what is not proven, verdict."""
        lines = [*self._heading(), "", *table(self.rows), ""]
        for rule, findings in self.grouped():
            lines += [*self._found(rule, findings), ""]
        lines += [*self._unexplained(), *self._unproven(), *self.notes, self.verdict()]
        return [text.printable(line) for line in lines]

    def verdict(self) -> str:
        """Return the verdict in one line; only what is proven is called clean."""
        rest = []
        missing = [(row.files, row.size) for row in self.rows if row.kind is Kind.UNEXPLAINED]
        recorded = [(row.unproven_files, row.unproven_size) for row in self.rows]
        for rows, what in ((missing, "unexplained"), (recorded, "recorded and not proven")):
            number, size = (sum(column) for column in zip(*rows, strict=True))
            if number:
                rest.append(f"{text.count(number, 'file')} ({text.size(size)}) {'is' if number == 1 else 'are'} {what}")
        if self.findings:
            return f"{self.image}: {'; '.join([text.count(len(self.findings), 'finding'), *rest])}."
        if rest:
            return f"{self.image}: no finding, but {' and '.join(rest)}."
        files = len(self.attribution.files)
        return f"{self.image} is clean: the origin of every file is proven ({text.count(files, 'file')})."

    def _heading(self) -> Iterator[str]:
        files = text.count(len(self.attribution.files), "file")
        layers = text.count(len(self.layers), "layer")
        yield f"{self.image}: {layers}, {files}, {text.size(self.size)}, {self.seconds:.1f} s"
        yield f"base image {self.base} ({self.extent_of_base})"
        yield f"lock {self.lock} ({INPUTS.get(self.inputs, self.inputs)})"

    def _found(self, rule: Rule, findings: Sequence[Finding]) -> Iterator[str]:
        yield f"{rule.code} {rule.title}: {text.count(len(findings), 'finding')}"
        listed = findings if self.everything else findings[:_FINDINGS]
        for (layer, instruction), same in itertools.groupby(listed, lambda one: (one.layer, one.instruction)):
            place = [] if layer is None else [f"layer {layer + 1}"]
            if instruction:
                place.append(text.shortened(text.instruction(instruction)))
            if place:
                yield f"  {': '.join(place)}"
            for finding in same:
                yield f"    {self.sentence(finding)}"
        if len(listed) < len(findings):
            yield f"    {len(findings) - len(listed):,} more: --all"
        yield f"  Usual cause: {rule.cause} To fix it: {rule.remedy}"

    @staticmethod
    def sentence(finding: Finding) -> str:
        """Return what was found, where, and why that is a finding."""
        files = f" ({finding.files:,} files)" if finding.files > 1 else ""
        # What is missing has no path but its name.
        path = "" if finding.what.startswith(f"{finding.path} ") else f"{finding.path}{files}"
        return ": ".join(part for part in (finding.what, path, finding.why) if part)

    def _unexplained(self) -> Iterator[str]:
        folders = summary.unexplained_folders(self.attribution)
        if folders:
            yield "Largest folders of unexplained files:"
            for folder in folders[:_FOLDERS]:
                yield f"  {folder.name}: {text.count(folder.files, 'file')}, {text.size(folder.size)}"
            if len(folders) > _FOLDERS:
                yield f"  and {text.count(len(folders) - _FOLDERS, 'other folder')}"
            yield ""

    def _unproven(self) -> Iterator[str]:
        if any(row.unproven_files for row in self.rows):
            yield "Recorded, not proven:"
            for row in self.rows:
                if row.unproven_files:
                    names = self._names(row.kind)
                    reason = RECORDED.get(row.kind, "by records in the image")
                    yield (
                        f"  {row.kind.value}: {text.count(row.unproven_files, 'file')}, "
                        f"{text.size(row.unproven_size)}, {reason}{f': {names}' if names else ''}"
                    )
            yield ""

    def _names(self, kind: Kind) -> str:
        names = [total.name for found, total in summary.unproven(self.attribution) if found is kind and total.name]
        more = f" and {len(names) - _NAMES:,} more" if len(names) > _NAMES else ""
        return ", ".join(names[:_NAMES]) + more


def table(rows: Sequence[summary.Row]) -> Iterator[str]:
    """Yield the lines of a table of origins."""
    whole = sum(row.size for row in rows)
    yield f"{'origin':<16} {'share':>8} {'files':>10} {'size':>10}"
    for row in rows:
        yield f"{row.kind.value:<16} {text.share(row.size, whole):>8} {row.files:>10,} {text.size(row.size):>10}"


def _layer(finding: Finding) -> int:
    """Return the number of a finding's layer; one without a layer comes first."""
    return -1 if finding.layer is None else finding.layer
