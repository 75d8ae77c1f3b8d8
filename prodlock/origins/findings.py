"""Judge the origins of an image's files: one finding for a distribution, or for the files of a folder."""

from __future__ import annotations

from prodlock.origins.attribution import Evidence
from prodlock.origins.judges import commands, distributions, entries, files, secrets
from prodlock.origins.judges.case import Case
from prodlock.origins.records import Attribution
from prodlock.proof.rules import Finding


def judge(evidence: Evidence, attribution: Attribution, *, strict: bool) -> list[Finding]:
    """Return the findings about an image. A finding about a distribution stands for the files that it claims."""
    case = Case(evidence, attribution)
    found, claims = distributions.judge(case)
    return [
        *found,
        *files.judge(case, claims, strict=strict),
        *commands.judge(case, claims),
        *entries.judge(case),
        *secrets.judge(case, claims),
    ]
