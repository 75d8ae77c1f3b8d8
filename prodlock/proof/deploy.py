"""`inv deploy-check`: the files in deploy/ are valid, and run the service as the Compose file does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from prodlock.failure import CANNOT_CHECK, FAILED, Failure
from prodlock.project import Project
from prodlock.proof import rules
from prodlock.proof.evidence import deployment as evidence
from prodlock.proof.judges import deployment
from prodlock.proof.judges.deployment import PROXIED, PROXY_FILE, RELEASE, STACK, Mistake
from prodlock.proof.judges.kubernetes import KUBERNETES
from prodlock.proof.report import advice, print_report


def check(project: Project, *, as_json: bool = False) -> int:
    """Print what is wrong with the files in deploy/, and return 1, or 0 where nothing is.

    Raises Failure, code 2, where the question can't be answered.
    """
    return print_report(_report(project), as_json=as_json)


@dataclass(frozen=True)
class Report:
    """A verdict on the files in deploy/."""

    findings: Sequence[Mistake]
    # The objects that Kubernetes has no schema of, and the kinds of the others.
    foreign: Sequence[str]
    kinds: Sequence[str] = ()
    # The name of the Compose file.
    base: str = ""

    @property
    def code(self) -> int:
        """The exit code: 0 without findings, else 1."""
        return FAILED if self.findings else 0

    def data(self) -> dict[str, Any]:
        """Return the report as data, for JSON."""
        findings = [advice(one.rule) | {"why": one.sentence} for one in self.findings]
        return {"clean": not self.findings, "findings": findings, "kinds": self.kinds, "unvalidated": self.foreign}

    def lines(self) -> list[str]:
        """Return the report as lines of text: findings with their remedies, what is not validated, the verdict."""
        lines = [f"{one.sentence} [{one.rule.code}]" for one in self.findings]
        if self.foreign:
            lines.append(f"Not validated, because Kubernetes has no schema of its kind: {', '.join(self.foreign)}.")
        if not self.findings:
            agree = f"They, {PROXIED}, {PROXY_FILE} and {RELEASE} agree with {self.base}."
            lines.append(f"{STACK} and {KUBERNETES} ({', '.join(self.kinds)}) are valid. {agree}")
        return lines


def _report(project: Project) -> Report:
    """Return the verdict. Raises Failure, code 2, where there is none."""
    invalid: list[str] = []
    try:
        resolved = evidence.resolve(project)
        invalid = resolved.invalid
        collected = evidence.collect(project, resolved)
        findings = deployment.judge(collected)
    except Failure as failure:
        raise Failure(str(failure), CANNOT_CHECK) from None
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        if not invalid:
            got = str(error) if isinstance(error, OSError | ValueError) else repr(error)
            raise Failure(
                f"deploy/ must have the form that `prodlock upgrade --deploy` writes (got: {got}). To fix it: restore "
                "what differs.",
                CANNOT_CHECK,
            ) from None
        # What no schema allows can't be compared.
        return Report([Mistake(rules.DEPLOY_SCHEMA, sentence) for sentence in invalid], resolved.foreign)
    foreign = {one.partition(" ")[0] for one in resolved.foreign}
    kinds = sorted({str(one["kind"]) for one in collected.objects} - foreign)
    return Report(findings, resolved.foreign, kinds, collected.base)
