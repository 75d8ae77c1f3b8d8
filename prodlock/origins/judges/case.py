"""The case that the judges share: the evidence about an image, and the origins of its files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from prodlock.image.records import File, Image
from prodlock.origins.attribution import Evidence, Key
from prodlock.origins.records import Attribution, Origin
from prodlock.proof.judges import credentials
from prodlock.proof.rules import Finding, Rule

# What a finding states: its rule, what was found, where, why.
Verdict = tuple[Rule, str, str, str]


@dataclass(frozen=True)
class Case:
    """The evidence about an image, and the origins of its files."""

    evidence: Evidence
    attribution: Attribution

    @property
    def image(self) -> Image:
        """The image that is judged."""
        return self.evidence.subject.image

    @cached_property
    def origins(self) -> Mapping[Key, Origin]:
        """The origin of each file, by layer and path."""
        return {(file.layer, file.path): origin for file, origin in self.attribution.files}

    @cached_property
    def variables(self) -> Mapping[str, str]:
        """The variables of the image's configuration."""
        pairs = (str(one).partition("=") for one in self.image.config.get("Env") or ())
        return {name: value for name, _, value in pairs}

    def is_above_base(self, file: File) -> bool:
        """Return whether a file is in a layer above the base image."""
        return file.layer >= self.evidence.subject.base_layers

    def finding(self, verdict: Verdict, layer: int, count: int = 1) -> Finding:
        """Return a finding in a layer."""
        rule, what, path, why = verdict
        instruction = credentials.masked(self.image.layers[layer].instruction)
        return Finding(rule, what, path, instruction, why, count, layer)
