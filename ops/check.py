"""`inv check-prod-has-no-pytest`: obtain the facts, have them judged, report."""

from __future__ import annotations

import gc
import hashlib
import json
import tempfile
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace

from ops import audit, compose, configuration, engine, image
from ops.failure import CANNOT_CHECK, FAILED, Failure


def prod_has_no_pytest(reference: str | None, *, as_json: bool) -> int:
    """Report every trace of a dev dependency in the production image, and return 0, or 1 where there is one.

    Raises Failure, code 2, where the question can't be answered: an image is absent, stale or not this
    project's, or the probe does not even find pytest in the dev image.
    """
    started = time.monotonic()
    # Tens of thousands of records, none of them in a cycle: looking for cycles would take a tenth of the time.
    gc.disable()
    try:
        lock, app = _lock(), _app_files()
        project = compose.project()
        dev, prod = f"{project}:dev", reference or f"{project}:prod"
        _, identifier = _identifiers(dev, prod)
        # Most of the time passes while the Engine packs prod: all that concerns dev is done meanwhile.
        with tempfile.TemporaryFile() as archive, ThreadPoolExecutor() as pool:
            # By its id: a name without a tag would bring every tag of it.
            saving = pool.submit(engine.write, archive, "save", identifier)
            tree = image.tree(dev, audit.VENV, audit.HOME)
            rules = audit.forbidden(tree, lock)
            control = {finding.what for finding in audit.leaks(tree, rules, lock)}
            dev_difference = audit.staleness(tree, (lock.main, lock.dev), lock, app)
            sizes = {file.size for file in tree}
            saving.result()
            facts = image.read(prod, archive, sizes.__contains__)
    except Failure as failure:
        raise Failure(str(failure), CANNOT_CHECK) from None

    _refuse_stale(dev, dev_difference)
    findings = audit.declared(lock)
    missed = sorted((rules.distributions | {"pytest"}) - control)
    if missed and not findings:
        raise Failure(
            f"The probe does not find {missed[0]} in {dev}, where it must be: have it in the dev group and run "
            "`inv build`.",
            CANNOT_CHECK,
        )
    if not any(file.path.startswith(audit.APP + "/") for file in facts.files):
        raise Failure(f"{prod} is not an image of this project: it has no {audit.APP}.", CANNOT_CHECK)
    findings += audit.leaks(facts.files, rules, lock, facts)
    findings += configuration.leaks(facts, rules)
    difference = audit.staleness(facts.files, (lock.main,), lock, app)
    if not findings:
        _refuse_stale(prod, difference)

    read = {
        "layers": len(facts.layers),
        "files": len(facts.stored),
        "bytes": sum(file.size for file in facts.stored),
        "seconds": round(time.monotonic() - started, 2),
    }
    findings = [replace(finding, instruction=configuration.masked(finding.instruction)) for finding in findings]
    if as_json:
        report = {
            "image": prod,
            "id": identifier,
            "clean": not findings,
            "findings": [asdict(finding) for finding in findings],
            "stale": difference,
            "forbidden": sorted(rules.distributions),
            "read": read,
        }
        print(json.dumps(report, indent=2))
    else:
        _print(prod, findings, rules, read)
        if difference:
            print(f"It is stale as well: {difference}. Run `inv build`, then check again.")
    return FAILED if findings else 0


def _print(prod: str, findings: list[audit.Finding], rules: audit.Forbidden, read: dict[str, float]) -> None:
    for finding in findings:
        files = f" ({finding.files} files)" if finding.files > 1 else ""
        brought = f"; brought by: {' '.join(finding.instruction.split())[:100]}" if finding.instruction else ""
        print(f"LEAK {finding.what}: {finding.path}{files}: {finding.why}{brought}")
    if findings:
        verdict = f"{prod} holds {len(findings)} leak{'s' if len(findings) > 1 else ''}"
    else:
        verdict = f"{prod} is clean: nothing of pytest and {len(rules.distributions) - 1} other dev distributions"
    print(
        f"{verdict}. Read {read['layers']} layers, {read['files']:,} files, "
        f"{read['bytes'] / 1e6:.1f} MB in {read['seconds']:.1f} s."
    )


def _identifiers(*references: str) -> list[str]:
    """Return the id of each image. Raises Failure where one is not here."""
    return engine.output("image", "inspect", "--format={{.Id}}", *references).split()


def _lock() -> audit.Lock:
    """Return what poetry.lock allows."""
    try:
        return audit.lock_from(tomllib.loads((engine.ROOT / "poetry.lock").read_text(encoding="utf-8")))
    except (OSError, tomllib.TOMLDecodeError, KeyError) as error:
        raise Failure(f"poetry.lock can't be read ({error}): make it anew with `inv poetry -- lock`.") from None


def _app_files() -> dict[str, str]:
    """Return the sha256 of each file that a build takes from `app/`, by its path below it."""
    app = engine.ROOT / "app"
    return {
        path.relative_to(app).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in app.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def _refuse_stale(reference: str, difference: str) -> None:
    if difference:
        raise Failure(f"{reference} is stale: {difference}. Run `inv build`, then check again.", CANNOT_CHECK)
