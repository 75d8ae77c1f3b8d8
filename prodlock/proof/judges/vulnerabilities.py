"""Judge known vulnerabilities: which count, which are ignored, and which entries of `audit-ignore` match none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

# The group that production has.
_MAIN = "main"
# The command that locks a newer version of one distribution, by the lock's file name.
_UPDATES = {
    "poetry.lock": "`inv poetry -- update --lock {name}`",
    "uv.lock": "`inv uv -- lock --upgrade-package {name}`",
}
_UPDATE = "lock {name} again in a fixed version"


@dataclass(frozen=True)
class Vulnerability:
    """A known vulnerability of a locked distribution."""

    name: str
    version: str
    identifier: str
    aliases: tuple[str, ...]
    # The versions that fix it, in ascending order.
    fixed: tuple[str, ...]
    description: str
    # The groups of the lock that have the distribution.
    groups: tuple[str, ...]
    # The lock's file name.
    lock: str

    @property
    def in_production(self) -> bool:
        """Whether production has the distribution."""
        return _MAIN in self.groups

    @property
    def remedy(self) -> str:
        """How to fix it."""
        if self.fixed:
            return f"{_UPDATES.get(self.lock, _UPDATE).format(name=self.name)}, then `inv build`."
        return f"replace {self.name}, or add {self.identifier} to `audit-ignore` in pyproject.toml."


class Answer(NamedTuple):
    """What a vulnerability service answers about the locked distributions."""

    # The host of the service.
    service: str
    # The number of distributions in each group of the lock, and in all groups together.
    groups: Mapping[str, int]
    distributions: int
    vulnerabilities: Sequence[Vulnerability]


class Verdict(NamedTuple):
    """What of an answer counts."""

    findings: Sequence[Vulnerability]
    ignored: Sequence[Vulnerability]
    # The entries of `audit-ignore` that match no vulnerability.
    unused: Sequence[str]


def judge(known: Iterable[Vulnerability], ignore: Sequence[str]) -> Verdict:
    """Divide the vulnerabilities into findings and ignored ones."""
    findings: list[Vulnerability] = []
    ignored: list[Vulnerability] = []
    matched: set[str] = set()
    for one in known:
        matching = {one.identifier, *one.aliases}.intersection(ignore)
        matched |= matching
        (ignored if matching else findings).append(one)
    return Verdict(findings, ignored, [entry for entry in ignore if entry not in matched])
