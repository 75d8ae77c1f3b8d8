"""`inv deploy-check`: the files in deploy/ are valid, and run the service as the Compose file does."""

from __future__ import annotations

from prodlock.failure import CANNOT_CHECK, FAILED, Failure
from prodlock.project import Project
from prodlock.proof.evidence.deployment import KUBERNETES, PROXIED, PROXY, STACK, collect
from prodlock.proof.judges import deployment


def check(project: Project) -> int:
    """Print what is wrong with the files in deploy/, and return 1, or 0 where nothing is.

    Raises Failure, code 2, where the question can't be answered.
    """
    try:
        evidence = collect(project)
        findings = deployment.judge(evidence)
    except Failure as failure:
        raise Failure(str(failure), CANNOT_CHECK) from None
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise Failure(
            f"deploy/ must have the form of this project's own (got: {error!r}). To fix it: compare them.", CANNOT_CHECK
        ) from None
    for finding in findings:
        print(finding)
    if not findings:
        kinds = ", ".join(sorted(str(one["kind"]) for one in evidence.objects))
        print(f"{STACK} and {KUBERNETES} ({kinds}) are valid. They, {PROXIED} and {PROXY} agree with {evidence.base}.")
    return FAILED if findings else 0
