"""Check a production image: collect the evidence, apply the rules, report.

`inv check-prod-has-no-pytest` asks for traces of the dev group alone: fewer rules, less evidence. `inv check-prod` is
the whole proof. What it alone needs is imported where it is used: that takes a fiftieth of the narrow check.
"""

# ruff: noqa: PLC0415

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from prodlock import collector
from prodlock.failure import CANNOT_CHECK, FAILED, Failure
from prodlock.project import Project
from prodlock.proof import rules
from prodlock.proof.evidence import images, lock
from prodlock.proof.evidence.collect import Evidence, collect
from prodlock.proof.judges import configuration, credentials, leaks
from prodlock.proof.judges.staleness import staleness
from prodlock.proof.records import GENERATED, Expected
from prodlock.proof.report import Report, print_report, read_size
from prodlock.proof.rules import Finding


class Proof(NamedTuple):
    """The verdict of all rules on a production image, and the evidence that it is based on."""

    evidence: Evidence
    report: Report


def check(project: Project, image: str | None = None, *, whole: bool = True, bill: Path | None = None) -> Report:
    """Check a production image and return the report.

    The image is the project's own, another one of the Engine's, or a file that `docker save` wrote. `whole` applies all
    rules, else those about the dev group; `bill` is a CycloneDX file to compare with the image. Raises Failure, code 2,
    where the question can't be answered: evidence is missing, or an image is stale or not this project's.
    """
    if whole:
        return prove(project, image, bill=bill).report
    started = time.monotonic()
    with collector.paused():
        return _narrow_report(project, collect(project, image, whole=False), started)


def prove(project: Project, image: str | None = None, *, bill: Path | None = None) -> Proof:
    """Apply all rules to a production image, as `check` does, and return the report with its evidence."""
    started = time.monotonic()
    with collector.paused():
        evidence = collect(project, image, whole=True)
        return Proof(evidence, _whole_report(evidence, started, bill, is_own=not image))


def prod_has_no_pytest(project: Project, reference: str | None, *, as_json: bool) -> int:
    """Print every trace of a dev dependency in the production image, and return 0, or 1 where there is one."""
    return print_report(check(project, reference, whole=False), as_json=as_json)


def prod(project: Project, reference: str | None, *, bill: str | None, as_json: bool) -> int:
    """Print all in the production image that its sources do not account for, and return 0, or 1 where there is any."""
    check_file_name("--sbom", bill)
    return print_report(check(project, reference, bill=Path(bill) if bill else None), as_json=as_json)


def check_file_name(option: str, value: str | None) -> None:
    """Raise Failure where an option's value can't be a file; an empty one is a variable of a script that is not set."""
    if value is not None and (not value or Path(value).is_dir()):
        raise Failure(
            f"{option} must be the name of a file (got {value!r}). To fix it: name one, or leave the option out.",
            CANNOT_CHECK,
        )


def check_output(value: str | None) -> None:
    """Raise Failure where `--output` can't be a file that is written."""
    check_file_name("--output", value)
    folder = Path(value or "").absolute().parent
    if not folder.is_dir():
        raise Failure(
            f"{value} must be in an existing folder (got no folder {folder}). To fix it: make the folder, or name "
            "another.",
            CANNOT_CHECK,
        )


def sbom(project: Project, reference: str | None, output: str | None) -> int:
    """Write a bill of materials of the production image to a file, or print it, and return 0.

    Print a report and return 1 where the proof fails: an image that does not pass has no known components.
    """
    check_output(output)
    started = time.monotonic()
    with collector.paused():
        evidence = collect(project, reference, whole=True)
        # The size has no influence on what the image consists of.
        findings = [one for one in judge(evidence, _expected(evidence)) if one.rule is not rules.OVER_BUDGET]
    if findings:
        print("\n".join(_report(evidence, findings, started).lines()), file=sys.stderr)
        return FAILED
    document = bill_of_materials(project, evidence)
    if output:
        write(Path(output), document)
    else:
        print(document, end="")
    return 0


def bill_of_materials(project: Project, evidence: Evidence) -> str:
    """Return the bill of materials of an image that the whole proof has judged."""
    from prodlock.docker import engine, stages

    given = json.dumps(_inventory(evidence, _expected(evidence))).encode()
    run = ("run", "--rm", "--interactive", "--network=none", stages.build(project, "sbom"))
    return engine.output(project, *run, "python", "/srv/sbom.py", given=given, echo=True)


def write(file: Path, document: str) -> None:
    """Write a document to a file. Raises Failure where that is not possible."""
    try:
        file.write_text(document, encoding="utf-8")
    except OSError as error:
        raise Failure(
            f"{file} must be writable (got: {error.strerror}). To fix it: change its mode, or name another file.",
            CANNOT_CHECK,
        ) from None


def _expected(evidence: Evidence) -> Expected:
    assert evidence.expected  # noqa: S101 - for the type checker: the whole proof has it
    return evidence.expected


def _narrow_report(project: Project, evidence: Evidence, started: float) -> Report:
    """Apply the rules about the dev group, and return the report."""
    findings = _dev_leaks(evidence)
    if leaks.may_be_of_base(findings):
        findings = leaks.not_in_base(findings, evidence.image, images.base_files(project, evidence.dev))
    difference = staleness(evidence.image.files, (evidence.lock.main,), evidence.sources)
    if difference and not findings:
        raise lock.stale(evidence.reference, difference)
    forbidden = evidence.forbidden.distributions
    return _report(
        evidence,
        findings,
        started,
        verdict=f"is clean: nothing of pytest and {len(forbidden) - 1} other dev distributions",
        more={"stale": difference, "forbidden": sorted(forbidden), "inputs": evidence.lock.inputs},
        notes=[
            *_lock_note(evidence),
            *([f"It is stale as well: {difference}. Run `inv build`, then check again."] if difference else []),
        ],
    )


def _whole_report(evidence: Evidence, started: float, bill: Path | None, *, is_own: bool) -> Report:
    """Apply all rules, and return the report."""
    from prodlock.proof.judges import compose, contents

    expected = _expected(evidence)
    findings = judge(evidence, expected)
    if bill:
        findings += _bill_differences(bill, evidence, expected)
    rebuilt = tuple(layer.diff_id for layer in evidence.image.layers) == expected.declaration.diff_ids
    if is_own and not (rebuilt or findings):
        why = "a bare `docker build .` gives other layers, though their files are the same"
        findings = [Finding(rules.OTHER_LAYERS, "layers", evidence.configuration.dockerfile, "", why)]
    unjudged = compose.unjudged(expected.project)
    listed = ", ".join(f"{name} ({image})" for name, image in unjudged.items())
    wheels = expected.golden["wheels"]
    files = (entry for entries in expected.contents.entries.values() for entry in entries if entry.kind == "file")
    made = {entry.path: entry.content for entry in files if entry.source == GENERATED}
    return _report(
        evidence,
        findings,
        started,
        verdict=f"is {len(wheels)} locked wheels, the sources and the base image, byte for byte",
        more={
            "forbidden": sorted(evidence.forbidden.distributions),
            "sizes": contents.sizes(evidence.image, expected.contents),
            "rebuilt": rebuilt,
            "wheels": wheels,
            "generated": made,
            "inputs": evidence.lock.inputs,
            "unjudged": unjudged,
        },
        notes=[
            f"A bare `docker build .` gives {'the same' if rebuilt else 'other'} layers, by their digests.",
            *_lock_note(evidence),
            *_generated_note(len(made)),
            *([f"Compose runs other images as well, which are not judged: {listed}."] if unjudged else []),
        ],
    )


# What a lock's format does not state, by how the lock relates to pyproject.toml.
_INPUTS = {
    "consistent": "{lock} is consistent with pyproject.toml: its format does not state whether it is fresh.",
    "unknown": "{lock} can't be compared with what it was made from, which no pyproject.toml states.",
}


def _lock_note(evidence: Evidence) -> list[str]:
    note = _INPUTS.get(evidence.lock.inputs)
    return [note.format(lock=evidence.configuration.lock)] if note else []


def _generated_note(count: int) -> list[str]:
    return [f"No commit has the {count} generated files: `--json` lists them with their sha256."] if count else []


def judge(evidence: Evidence, expected: Expected) -> list[Finding]:
    """Return the findings of all rules. Raises Failure, code 2, where the evidence proves nothing."""
    from prodlock.proof.judges import compose, contents

    image, must_be = evidence.image, expected.contents
    dev_leaks = leaks.not_in_base(_dev_leaks(evidence), image, must_be.base)
    return [
        *dev_leaks,
        *_beyond(contents.unaccounted(image, must_be), dev_leaks),
        *contents.differing(image.files, (*evidence.dev_files, *evidence.dev_system)),
        *configuration.undeclared(image, expected.declaration, evidence.name),
        *compose.judge(expected.project, expected.declaration, must_be, evidence.configuration.environment),
        *contents.over_budget(contents.sizes(image, must_be), evidence.configuration.size_budget_mb, expected.added),
    ]


def _dev_leaks(evidence: Evidence) -> list[Finding]:
    """Return the traces of the dev group in production. Raises Failure, code 2, where the evidence proves nothing."""
    selected, forbidden, image = evidence.lock, evidence.forbidden, evidence.image
    # A positive control: the same rules must find each of these distributions in dev.
    control = {finding.what for finding in leaks.leaks(evidence.dev_files, forbidden, selected)}
    if difference := staleness(evidence.dev_files, (selected.main, selected.dev), evidence.sources):
        raise lock.stale(evidence.dev, difference)
    denied = leaks.denied(selected, evidence.configuration.denied_in_main, evidence.configuration.lock)
    missed = sorted((forbidden.distributions | {"pytest"}) - control)
    if missed and not denied:
        raise Failure(
            f"The check must find {missed[0]} in {evidence.dev} first (got no trace). To fix it: have it in the dev "
            "group, and run `inv build`.",
            CANNOT_CHECK,
        )
    if not any(evidence.sources.include(file.path) for file in image.files):
        # The service's own sources are last.
        *_, absent = evidence.sources.copied
        raise Failure(
            f"{evidence.reference} must be an image of this project (got one without {absent}). To fix it: name "
            "another image, or run `inv build`.",
            CANNOT_CHECK,
        )
    return [
        *denied,
        *leaks.leaks(image.files, forbidden, selected, image),
        *configuration.leaks(image, forbidden),
    ]


def _beyond(findings: Iterable[Finding], known: Iterable[Finding]) -> list[Finding]:
    """Return the findings that no known one covers: in its layer, at or below its path."""
    covered = {(finding.layer, finding.path) for finding in known}

    def is_covered(finding: Finding) -> bool:
        parts = finding.path.split("/")
        return any((finding.layer, "/".join(parts[: end + 1])) in covered for end in range(len(parts)))

    return [finding for finding in findings if not is_covered(finding)]


def _inventory(evidence: Evidence, expected: Expected) -> dict[str, Any]:
    from prodlock.proof.judges import inventory

    return inventory.inventory(evidence.name, evidence.image, expected.golden)


def _bill_differences(bill: Path, evidence: Evidence, expected: Expected) -> list[Finding]:
    """Return how a bill of materials and the image differ. Raises Failure, code 2, for another document."""
    from prodlock.proof.judges import inventory

    try:
        document = json.loads(bill.read_text(encoding="utf-8"))
        return inventory.mismatches(document, _inventory(evidence, expected))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Failure(
            f"{bill} must be a CycloneDX document (got: {error}). To fix it: make one with `inv sbom`.", CANNOT_CHECK
        ) from None


def _report(  # noqa: PLR0913 - the parts of a report
    evidence: Evidence,
    findings: Iterable[Finding],
    started: float,
    *,
    verdict: str = "",
    more: Mapping[str, Any] | None = None,
    notes: Iterable[str] = (),
) -> Report:
    """Return a report without secrets."""
    compared = f"Compared with {evidence.commit or 'the working tree: no repository has this project'}."
    return Report(
        evidence.reference,
        evidence.identifier,
        tuple(map(_masked, findings)),
        verdict,
        read_size(evidence.image, time.monotonic() - started),
        more or {},
        (compared, *notes) if more else (),
    )


def _masked(finding: Finding) -> Finding:
    return replace(finding, instruction=credentials.masked(finding.instruction), why=credentials.masked(finding.why))
