"""`inv audit`: known vulnerabilities of the locked distributions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from prodlock.failure import CANNOT_CHECK, FAILED, Failure
from prodlock.project import Project
from prodlock.proof.evidence import vulnerabilities
from prodlock.proof.judges.vulnerabilities import Answer, Verdict, Vulnerability, judge
from prodlock.proof.report import print_report

# As much of a description as a line has.
_DESCRIBED = 100


def check(project: Project, *, as_json: bool) -> int:
    """Print the known vulnerabilities of what the lock has, and return 1, or 0 where there is none.

    Raises Failure, code 2, where the question can't be answered.
    """
    try:
        ignore = project.configuration.audit_ignore
        answer = vulnerabilities.collect(project)
    except Failure as failure:
        raise Failure(str(failure), CANNOT_CHECK) from None
    return print_report(Report(answer, judge(answer.vulnerabilities, ignore)), as_json=as_json)


@dataclass(frozen=True)
class Report:
    """A verdict on the lock, and the answer that it is based on."""

    answer: Answer
    verdict: Verdict

    @property
    def code(self) -> int:
        """The exit code: 0 without findings, else 1."""
        return FAILED if self.verdict.findings else 0

    def data(self) -> dict[str, Any]:
        """Return the report as data, for JSON."""
        return {
            "clean": not self.verdict.findings,
            "findings": [_data(one) for one in self.verdict.findings],
            "ignored": [_data(one) for one in self.verdict.ignored],
            "unused": self.verdict.unused,
            "distributions": self.answer.distributions,
            "groups": self.answer.groups,
            "service": self.answer.service,
        }

    def lines(self) -> list[str]:
        """Return the report as lines of text: findings, what is ignored, unused entries, the verdict."""
        findings, ignored, unused = self.verdict
        lines = [f"VULNERABLE {_line(one)} To fix it: {one.remedy}" for one in findings]
        lines += [f"IGNORED {_line(one)}" for one in ignored]
        lines += [
            f"UNUSED {entry} in `audit-ignore`: no locked distribution has it. To fix it: remove the entry."
            for entry in unused
        ]
        noun = "known vulnerability" if len(findings) == 1 else "known vulnerabilities"
        in_production = sum(one.in_production for one in findings)
        found = f"{len(findings)} {noun}, {in_production} of them in production" if findings else f"no {noun}"
        more = f" ({len(ignored)} ignored)" if ignored else ""
        sizes = ", ".join(f"{group} {size}" for group, size in sorted(self.answer.groups.items()))
        asked = f"{self.answer.service} answered about {self.answer.distributions} distributions ({sizes})."
        return [*lines, f"The lock has {found}{more}. {asked}"]


def _data(one: Vulnerability) -> dict[str, Any]:
    """Return a vulnerability as data."""
    facts = {"name": one.name, "version": one.version, "id": one.identifier, "aliases": one.aliases, "fixed": one.fixed}
    place = {"groups": one.groups, "production": one.in_production}
    return facts | place | {"description": one.description, "remedy": one.remedy}


def _line(one: Vulnerability) -> str:
    """Return a vulnerability as text."""
    aliases = f" ({', '.join(one.aliases)})" if one.aliases else ""
    groups = f"{'groups' if len(one.groups) > 1 else 'group'} {' and '.join(one.groups)}"
    production = "in production" if one.in_production else "not in production"
    fixed = f"fixed in {', '.join(one.fixed)}" if one.fixed else "no version fixes it"
    described = one.description[:_DESCRIBED].rstrip(". ")
    return f"{one.name} {one.version}: {one.identifier}{aliases}; {groups}, {production}; {fixed}; {described}."
