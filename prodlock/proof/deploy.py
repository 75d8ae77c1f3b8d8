"""`inv deploy-check`: the files in deploy/ are valid, and run the service as the Compose file does."""

from __future__ import annotations

from prodlock.failure import CANNOT_CHECK, FAILED, Failure
from prodlock.project import Project
from prodlock.proof.evidence import deployment as evidence
from prodlock.proof.judges import deployment
from prodlock.proof.judges.deployment import PROXIED, PROXY_FILE, RELEASE, STACK
from prodlock.proof.judges.kubernetes import KUBERNETES


def check(project: Project) -> int:
    """Print what is wrong with the files in deploy/, and return 1, or 0 where nothing is.

    Raises Failure, code 2, where the question can't be answered.
    """
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
        findings = invalid
    for finding in findings:
        print(finding)
    if resolved.foreign:
        print(f"Not validated, because Kubernetes has no schema of its kind: {', '.join(resolved.foreign)}.")
    if not findings:
        foreign = {one.partition(" ")[0] for one in resolved.foreign}
        kinds = ", ".join(sorted({str(one["kind"]) for one in collected.objects} - foreign))
        agree = f"They, {PROXIED}, {PROXY_FILE} and {RELEASE} agree with {collected.base}."
        print(f"{STACK} and {KUBERNETES} ({kinds}) are valid. {agree}")
    return FAILED if findings else 0
