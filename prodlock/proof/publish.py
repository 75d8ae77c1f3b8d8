"""`inv publish`: what was proven is pushed to a registry, read back, signed, and only then given its tag."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prodlock import __version__, site
from prodlock.docker import engine, registry, reports, saved, signing
from prodlock.docker.registry import Destination
from prodlock.failure import FAILED, Failure
from prodlock.image.records import matches, platform_of
from prodlock.project import Project
from prodlock.proof import check
from prodlock.proof.check import Proof
from prodlock.proof.evidence.collect import Evidence
from prodlock.proof.report import rules_page

# The file of the bill of materials in the folder of the reports.
_BILL = "sbom.json"
# How much of the configuration's digest is in the tag that an image has until all is verified.
_DIGITS = 16


def publish(project: Project, to: str, key: str | None, platforms: Sequence[str], output: str | None) -> int:
    """Prove the production image, push it, and print its reference by digest; print the report and return 1 for a leak.

    The tag is the commit where `to` has none. With a key, the image is signed, and the bill of materials and the
    verdict are attested. Raises Failure, code 2 where the image can't be judged, where anything fails: the tag then
    names what it named before.
    """
    destination = registry.parse(to)
    for one in platforms:
        saved.check_platform(one)
    check.check_output(output)
    # Before the proof, which takes longer.
    registry.digest_of(project, destination, destination.tag or "latest")
    signer = None if key is None else signing.prepare(project, key, destination.registry)
    proof = check.prove(project)
    print("\n".join(proof.report.lines()), file=sys.stderr)
    if proof.report.findings:
        return FAILED
    evidence = proof.evidence
    _refuse(evidence, platforms)
    tag = destination.tag or _commit_tag(evidence)
    document = check.bill_of_materials(project, evidence)
    check.write(_file(project, output), document)
    digest = _push(project, proof, destination, tag, signer=signer, bill=document)
    signed = f", signed by {signer.name}" if signer else ""
    place = output or f"{reports.NAME}/{_BILL}"
    engine.notify(f"{destination.reference(tag)} is what was proven{signed}. Its bill of materials is {place}.")
    print(f"{destination.repository}@{digest}")
    return 0


def _push(  # noqa: PLR0913 - what is pushed, where, and with what
    project: Project, proof: Proof, to: Destination, tag: str, *, signer: signing.Signer | None, bill: str
) -> str:
    """Push the image that was proven, whatever its tag names by now, and return the digest of its manifest."""
    evidence = proof.evidence
    diff_ids = tuple(layer.diff_id for layer in evidence.image.layers)
    image = registry.Image(evidence.identifier, evidence.image.identifier, diff_ids)
    # First under a tag that only this image has: what is not verified never has the tag that was asked for.
    candidate = f"candidate-{image.configuration.removeprefix('sha256:')[:_DIGITS]}"
    # Throughout: without any tag, the Engine would remove the image.
    with registry.tagged(project, image.identifier, to.reference(candidate)):
        digest = registry.push(project, image, to, candidate)
        if signer:
            stated = verdict(proof, f"{to.repository}@{digest}")
            documents = {"sbom.json": bill.encode(), "verdict.json": json.dumps(stated, indent=2).encode()}
            signing.sign(project, signer, to, digest, documents)
        before = registry.digest_of(project, to, tag)
        if registry.push(project, image, to, tag) != digest:
            raise Failure(f"{to.reference(tag)} must name {digest} (got another manifest). To fix it: publish again.")
    if before not in {"", digest}:
        engine.notify(f"{to.reference(tag)} was {before} before.")
    return digest


def verdict(proof: Proof, reference: str) -> dict[str, Any]:
    """Return the verdict as an attestation states it: what was proven, by which rules, from what."""
    evidence = proof.evidence
    rules = hashlib.sha256(f"{rules_page()}\n".encode()).hexdigest()
    return {
        "image": reference,
        "configuration": evidence.image.identifier,
        "platform": platform_of(evidence.image.document),
        "commit": evidence.commit.revision if evidence.commit else None,
        "lock": {"name": evidence.configuration.lock, "sha256": evidence.lock.sha256},
        "checker": {"name": "prodlock", "version": __version__, "rules": rules},
        "exitCode": proof.report.code,
        "verdict": proof.report.verdict,
        "rebuilt": proof.report.more["rebuilt"],
        "time": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
    }


def _refuse(evidence: Evidence, platforms: Sequence[str]) -> None:
    """Raise Failure where the image is not of a commit, or not of each platform that was asked for."""
    if evidence.commit and evidence.commit.changes:
        raise Failure(
            f"The image must be made from a commit (got {evidence.commit}). To fix it: commit, run `inv build`, then "
            "publish."
        )
    stated = platform_of(evidence.image.document)
    if others := [one for one in platforms if not matches(stated, one)]:
        raise Failure(
            f"Each platform must be proven (got {', '.join(others)}; {evidence.reference} is of {stated}). To fix it: "
            f"build and publish it with DOCKER_DEFAULT_PLATFORM={others[0]}, or on a machine of that platform, under a "
            "tag of its own; `docker buildx imagetools create` joins the digests."
        )


def _commit_tag(evidence: Evidence) -> str:
    """Return the tag of an image for which no other one is given: its commit."""
    if not evidence.commit:
        raise Failure(
            "--to must have a tag where no repository has the project (got none). To fix it: add it, such as :1.0, or "
            "commit the project."
        )
    return evidence.commit.revision


def _file(project: Project, output: str | None) -> Path:
    """Return the file of the bill of materials; the folder of the default one is made, and ignored by git."""
    if output:
        return Path(output)
    folder = project.root / reports.NAME
    try:
        site.create(folder)
    except OSError as error:
        raise Failure(
            f"{folder} must be a folder that can be written (got: {error.strerror}). To fix it: change its owner."
        ) from None
    return folder / _BILL
