"""`inv check-prod-has-no-pytest` and `inv check-prod`: obtain the facts, have them judged, report."""

from __future__ import annotations

import contextlib
import functools
import gc
import hashlib
import io
import json
import math
import re
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from prodlock import source
from prodlock.docker import compose, engine, stages
from prodlock.failure import CANNOT_CHECK, FAILED, Failure
from prodlock.image import image
from prodlock.image.records import File, Image
from prodlock.inside import requirements
from prodlock.project import SOURCES, Project
from prodlock.proof import audit, configuration, credentials, expected, inventory, rules, services, world
from prodlock.proof.report import Report, read
from prodlock.proof.rules import Finding

# What dev and prod take from the base image alike.
_SYSTEM = "/usr/local"
_REVISION = "org.opencontainers.image.revision"
# Where dev has what its build took of poetry.lock.
_SELECTION = f"{audit.HOME}/selection.json"
# What may name an image (https://pkg.go.dev/github.com/distribution/reference): no path, and no option.
_REFERENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,511}")

# The rules that content breaks which the base image may have at the same path: it is none of dev's then.
_MAY_BE_BASE = (rules.DEV_CONTENT, rules.DEV_ONLY_IMPORT, rules.SECRET, rules.TOOL_TRACE)
# Returns the sha256 of what the base image has at a path.
Base = Callable[[str], AbstractSet[str]]


@dataclass(frozen=True)
class Facts:
    """What is known of the image under test, of dev, and of what the lock allows."""

    prod: str
    identifier: str
    image: Image
    dev: str
    tree: tuple[File, ...]
    lock: audit.Lock
    forbidden: audit.Forbidden
    app: Mapping[str, str]
    # What pyproject.toml says under `[tool.prodlock]`.
    settings: Mapping[str, Any]
    # What the working tree is made from; None where no repository has this project.
    commit: source.Commit | None
    # What production must be, and dev's part of the base image; only the whole proof asks for them.
    promise: expected.Expected | None = None
    system: tuple[File, ...] = ()

    @property
    def must_be(self) -> expected.Expected:
        """What production must be."""
        assert self.promise  # noqa: S101 - for the type checker: the whole proof has it
        return self.promise


def prod_has_no_pytest(project: Project, reference: str | None, *, as_json: bool) -> int:
    """Report every trace of a dev dependency in the production image, and return 0, or 1 where there is one.

    Raises Failure, code 2, where the question can't be answered: an image is absent, stale or not this
    project's, or the probe does not even find pytest in the dev image.
    """
    started = time.monotonic()
    facts = obtained(project, reference, whole=False)
    findings, difference, forbidden = _dev_leaks(facts, functools.partial(_in_base, project, facts.dev))
    if not findings:
        _refuse_stale(facts.prod, difference)
    report = Report(
        facts.prod,
        facts.identifier,
        _told(findings),
        f"is clean: nothing of pytest and {len(forbidden) - 1} other dev distributions",
        read(facts.image, time.monotonic() - started),
        {"stale": difference, "forbidden": sorted(forbidden)},
        [
            _compared(facts),
            *([f"It is stale as well: {difference}. Run `inv build`, then check again."] if difference else []),
        ],
    )
    return _printed(report, as_json=as_json)


def prod(project: Project, reference: str | None, *, bill: str | None, as_json: bool) -> int:
    """Run the whole proof, print its report, and return 0, or 1 where there are findings."""
    return _printed(check(project, reference, bill), as_json=as_json)


def check(project: Project, reference: str | None = None, bill: str | None = None) -> Report:
    """Report everything in the production image that the lock, the sources and the base image do not account for.

    With a bill of materials, a CycloneDX file, also how it and the image differ. Raises Failure, code 2, where the
    question can't be answered.
    """
    started = time.monotonic()
    facts = obtained(project, reference, whole=True)
    findings, forbidden, sizes = judged(project, facts)
    must_be = facts.must_be
    if bill:
        findings += _mismatches(project, Path(bill), facts)
    rebuilt = tuple(layer.diff_id for layer in facts.image.layers) == must_be.declaration.diff_ids
    others = "the same" if rebuilt else "other"
    if not (reference or rebuilt or findings):
        why = "a bare `docker build .` gives other layers, though their files are the same"
        findings = [Finding(rules.OTHER_LAYERS, "layers", "Dockerfile", "", why)]
    unjudged = services.unjudged(must_be.project)
    listed = ", ".join(f"{name} ({image})" for name, image in unjudged.items())
    return Report(
        facts.prod,
        facts.identifier,
        _told(findings),
        f"is {len(must_be.golden['wheels'])} locked wheels, the sources and the base image, byte for byte",
        read(facts.image, time.monotonic() - started),
        {
            "forbidden": sorted(forbidden),
            "sizes": sizes,
            "rebuilt": rebuilt,
            "wheels": must_be.golden["wheels"],
            "unjudged": unjudged,
        },
        [
            _compared(facts),
            f"A bare `docker build .` gives {others} layers, by their digests.",
            *([f"Compose runs images of others as well, which are not judged: {listed}."] if unjudged else []),
        ],
    )


def _compared(facts: Facts) -> str:
    """Return the line that names what an image was compared with."""
    return f"Compared with {facts.commit or 'the working tree: no repository has this project'}."


def _printed(report: Report, *, as_json: bool) -> int:
    """Print a report and return the exit code that it stands for."""
    text = report.data() if as_json else report.lines()
    # As standard error does by itself: a name may be of no encoding, and an output know only 256 characters.
    encoding = sys.stdout.encoding or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding))
    return FAILED if report.findings else 0


def sbom(project: Project, reference: str | None, output: str | None) -> int:
    """Write a bill of materials of the production image to a file, or print it, and return 0.

    Return 1, and report, where the proof fails: what was not proved can't be listed.
    """
    folder = Path(output or "").absolute().parent
    if not folder.is_dir():
        raise Failure(
            f"{output} can't be written: there is no folder {folder}. Make it, or name another.", CANNOT_CHECK
        )
    started = time.monotonic()
    facts = obtained(project, reference, whole=True)
    # A size that is not wanted says nothing against the bill of materials.
    findings = [finding for finding in judged(project, facts)[0] if finding.rule is not rules.OVER_BUDGET]
    if findings:
        seconds = time.monotonic() - started
        report = Report(facts.prod, facts.identifier, _told(findings), "", read(facts.image, seconds), {})
        print(report.lines(), file=sys.stderr)
        return FAILED
    given = json.dumps(_inventory(project, facts)).encode()
    stage = stages.build(project, "sbom")
    run = ("run", "--rm", "--interactive", "--network=none", stage, "python", "/srv/sbom.py")
    document = engine.output(project, *run, given=given, echo=True)
    if output:
        try:
            Path(output).write_text(document, encoding="utf-8")
        except OSError as error:
            raise Failure(f"{output} can't be written: {error.strerror}.", CANNOT_CHECK) from None
    else:
        print(document, end="")
    return 0


def _inventory(project: Project, facts: Facts) -> dict[str, Any]:
    return inventory.inventory(compose.project_name(project), facts.image, facts.must_be.golden)


def _mismatches(project: Project, bill: Path, facts: Facts) -> list[Finding]:
    """Return how a bill of materials and the image differ. Raises Failure, code 2, where it is none."""
    try:
        return inventory.mismatches(json.loads(bill.read_text(encoding="utf-8")), _inventory(project, facts))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Failure(f"{bill} is no CycloneDX document ({error}): make one with `inv sbom`.", CANNOT_CHECK) from None


def judged(project: Project, facts: Facts) -> tuple[list[Finding], frozenset[str], dict[str, int]]:
    """Return all findings of the whole proof, the forbidden distributions, and the bytes that each source has.

    Raises Failure, code 2, where the proof would prove nothing.
    """
    must_be = facts.must_be
    promised = must_be.world
    dev_leaks, _, forbidden = _dev_leaks(facts, promised.in_base)
    sizes = world.sizes(facts.image, promised)
    findings = [
        *dev_leaks,
        *_beyond(world.unaccounted(facts.image, promised), dev_leaks),
        *world.differing(facts.image.files, (*facts.tree, *facts.system)),
        *configuration.undeclared(facts.image, must_be.declaration, compose.project_name(project)),
        *services.judged(must_be.project, must_be.declaration, promised, facts.settings.get("environment", ())),
        *world.over_budget(sizes, facts.settings.get("size-budget-mb"), must_be.came),
    ]
    return findings, forbidden, sizes


def obtained(project: Project, reference: str | None, *, whole: bool) -> Facts:
    """Obtain the facts. Raises Failure, code 2, where they can't be had."""
    # Tens of thousands of records, none of them in a cycle: looking for cycles would take a tenth of the time.
    gc.disable()
    try:
        made_from = source.commit(project)
        # Without them there is no production to check, whatever the project is called.
        compose.files(project)
        name = compose.project_name(project)
        dev, prod = f"{name}:dev", reference or f"{name}:prod"
        locked, settings, app = _lock_content(project), _settings(project), _app_files(project)
        file = _file(reference)
        identifiers = _identifiers(project, dev, *([] if file else [prod]))
        if whole and not file:
            # Before anything is built for the comparison.
            labels = engine.output(project, "image", "inspect", "--format={{json .Config.Labels}}", identifiers[-1])
            _refuse_other_commit(project, prod, json.loads(labels) or {}, made_from)
        # Most of the time passes while the Engine packs prod: all that concerns dev is done meanwhile.
        with file.open("rb") if file else tempfile.TemporaryFile() as archive, ThreadPoolExecutor() as pool:
            # By its id: a name without a tag would bring every tag of it.
            saving = None if file else pool.submit(engine.write, project, archive, "save", identifiers[-1])
            with contextlib.closing(image.trees(project, dev, audit.HOME, audit.VENV, _SYSTEM)) as trees:
                home = next(trees)
                # Before anything is built for the comparison, too.
                lock = _lock(dev, home, locked)
                obtaining = pool.submit(expected.obtain, project, made_from) if whole else None
                tree = (*next(trees), *home)
                system = next(trees) if whole else ()
            sizes = {one.size for one in tree}
            forbidden = audit.forbidden(tree, lock)
            if audit.staleness(tree, (lock.main, lock.dev), app):
                app = _taken_files(project)
            promise = obtaining.result() if obtaining else None
            promised = promise.world.brought if promise else forbidden.allows
            if saving:
                saving.result()
            hashed = (lambda _: True) if whole else sizes.__contains__
            facts = image.read(prod, archive, hashed, promised, forbidden.tells)
            if whole:
                _refuse_other_commit(project, prod, facts.config.get("Labels") or {}, made_from)
    except Failure as failure:
        raise Failure(str(failure), CANNOT_CHECK) from None
    except OSError as error:
        # Without a file name it is the temporary one that an image is saved to.
        read = error.filename or "The image"
        raise Failure(f"{read} can't be read: {error.strerror or error}.", CANNOT_CHECK) from None
    identifier = facts.identifier if file else identifiers[-1]
    return Facts(prod, identifier, facts, dev, tree, lock, forbidden, app, settings, made_from, promise, system)


def _file(reference: str | None) -> Path | None:
    """Return the file that a reference names, or None where it names an image of the Engine's.

    Raises Failure for what can be neither: Docker would take it for an option, or for an image of another name.
    """
    # A name of an image may be longer than one of a file can be.
    with contextlib.suppress(OSError, ValueError):
        if reference and Path(reference).is_file():
            return Path(reference)
    if reference and not _REFERENCE.fullmatch(reference):
        raise Failure(
            f"--image must be the name of an image or a saved file (got {reference!r}). To fix it: name either."
        )
    return None


def _dev_leaks(facts: Facts, base: Base) -> tuple[list[Finding], str, frozenset[str]]:
    """Return what of the dev group is in production, how production is stale, and which distributions are forbidden.

    Takes what the base image has at a path: time zones, say, which a distribution of dev carries as well.
    Raises Failure, code 2, where the probe proves nothing.
    """
    lock, prod, forbidden = facts.lock, facts.image, facts.forbidden
    control = {finding.what for finding in audit.leaks(facts.tree, forbidden, lock)}
    _refuse_stale(facts.dev, audit.staleness(facts.tree, (lock.main, lock.dev), facts.app))
    findings = audit.declared(lock, facts.settings.get("denied-in-main", ("pytest",)))
    missed = sorted((forbidden.distributions | {"pytest"}) - control)
    if missed and not findings:
        raise Failure(
            f"The probe does not find {missed[0]} in {facts.dev}, where it must be: have it in the dev group and run "
            "`inv build`.",
            CANNOT_CHECK,
        )
    if not any(file.path.startswith(f"{audit.APP}/") for file in prod.files):
        raise Failure(f"{facts.prod} is not an image of this project: it has no {audit.APP}.", CANNOT_CHECK)
    digests = {(file.layer, file.path): file.sha256 for file in prod.files}
    findings += [
        finding
        for finding in audit.leaks(prod.files, forbidden, lock, prod)
        if finding.rule not in _MAY_BE_BASE
        or digests.get((finding.layer or 0, finding.path), "?") not in base(finding.path)
    ]
    findings += configuration.leaks(prod, forbidden)
    return findings, audit.staleness(prod.files, (lock.main,), facts.app), forbidden.distributions


@functools.cache
def _base_files(project: Project, dev: str) -> Mapping[str, frozenset[str]]:
    """Return the sha256 of each file that dev has from the base image, by path.

    All of them at once: a folder of dev's that was copied under another name is a thousand questions.
    """
    own = (f"{audit.VENV}/", f"{audit.HOME}/")
    (files,) = image.trees(project, dev, "/")
    plain = (file for file in files if not file.packed)
    return {file.path: frozenset({file.sha256}) for file in plain if not file.path.startswith(own)}


def _in_base(project: Project, dev: str, path: str) -> frozenset[str]:
    """Return the sha256 of what dev has at a path from the base image."""
    return _base_files(project, dev).get(path, frozenset())


def _beyond(findings: Iterable[Finding], known: Iterable[Finding]) -> list[Finding]:
    """Return the findings that no known one already tells of: in its layer, at or below its path."""
    told = {(finding.layer, finding.path) for finding in known}

    def is_told(finding: Finding) -> bool:
        parts = finding.path.split("/")
        return any((finding.layer, "/".join(parts[: end + 1])) in told for end in range(len(parts)))

    return [finding for finding in findings if not is_told(finding)]


def _refuse_other_commit(
    project: Project, reference: str, labels: Mapping[str, str], made_from: source.Commit | None
) -> None:
    """Raise Failure, code 2, where an image's label says that it was made from another commit of this repository.

    An image without that label may still be compared, byte for byte.
    """
    held = labels.get(_REVISION, "")
    wanted = source.arguments(project, made_from).get("REVISION", "")
    if held != wanted and source.knows(project, held.removesuffix("-dirty")):
        raise Failure(
            f"{reference} is stale: it was made from {held}, this is {wanted or 'no commit'}. "
            "Run `inv build`, then check again.",
            CANNOT_CHECK,
        )


def _told(findings: Iterable[Finding]) -> list[Finding]:
    """Return findings as they may be printed: without a secret in them."""
    return [
        replace(finding, instruction=credentials.masked(finding.instruction), why=credentials.masked(finding.why))
        for finding in findings
    ]


def _identifiers(project: Project, *references: str) -> list[str]:
    """Return the id of each image. Raises Failure where one is not here."""
    return engine.output(project, "image", "inspect", "--format={{.Id}}", *references).split()


def _lock_content(project: Project) -> bytes:
    """Return what poetry.lock holds. Raises Failure where there is none."""
    try:
        return (project.root / "poetry.lock").read_bytes()
    except OSError as error:
        raise _unreadable_lock(error) from None


def _lock(dev: str, tree: Iterable[File], content: bytes) -> audit.Lock:
    """Return what the build of dev took of poetry.lock, which holds `content` now.

    Raises Failure where dev does not state it, or was built from another lock; where poetry.lock is not a lock, that.
    """
    try:
        selection = json.loads(next(file.head for file in tree if file.path == _SELECTION))
        if selection["schema"] != requirements.SCHEMA:
            difference = f"its {_SELECTION} is of another version of this project's build"
        elif selection["lock"] != hashlib.sha256(content).hexdigest():
            difference = "poetry.lock has changed since"
        else:
            return audit.lock_from(selection)
    except StopIteration:
        difference = f"it has no {_SELECTION}, which every build of this project's dev image writes"
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        difference = f"its {_SELECTION} can't be read ({error!r})"
    # Only now: parsing a lock takes a twentieth of the check.
    try:
        requirements.pinned(content.decode(), "main")
    except (ValueError, KeyError, TypeError) as error:
        raise _unreadable_lock(error) from None
    raise _stale(dev, difference)


def _unreadable_lock(error: Exception) -> Failure:
    reason = f"it has no {error}" if isinstance(error, KeyError) else error
    return Failure(f"poetry.lock can't be read ({reason}): make it anew with `inv poetry -- lock`.", CANNOT_CHECK)


def _settings(project: Project) -> Mapping[str, Any]:
    """Return what pyproject.toml says under `[tool.prodlock]`. Raises Failure where it can't mean anything."""
    tool = source.pyproject(project).get("tool", {})
    found: Mapping[str, Any] = tool.get("prodlock", {}) if isinstance(tool, Mapping) else tool
    if not isinstance(found, Mapping):
        raise Failure(
            f"pyproject.toml: `[tool.prodlock]` must be a table (got {found!r}). To fix it: write its settings below "
            "a line `[tool.prodlock]`."
        )
    denied, budget = found.get("denied-in-main", []), found.get("size-budget-mb", 0)
    if not (isinstance(denied, list) and all(isinstance(name, str) for name in denied)):
        raise Failure("pyproject.toml: `denied-in-main` must be a list of names, each in quotation marks.")
    allowed = found.get("environment", [])
    if not (
        isinstance(allowed, list)
        and all(isinstance(name, str) and services.VARIABLE.fullmatch(name) for name in allowed)
    ):
        raise Failure(
            "pyproject.toml: `environment` under [tool.prodlock] must be a list of names of variables "
            f'(got {allowed!r}). To fix it: write `environment = ["NAME"]`.'
        )
    if deciding := [name for name in allowed if services.decides_code(name)]:
        raise Failure(
            "pyproject.toml: `environment` under [tool.prodlock] must not have variables that decide which code runs "
            f"(got {', '.join(deciding)}). To fix it: set them in the Dockerfile."
        )
    # In Python, True is a number; nothing is more than not-a-number.
    if isinstance(budget, bool) or not isinstance(budget, int | float) or not 0 <= budget < math.inf:
        raise Failure(
            "pyproject.toml: `size-budget-mb` under [tool.prodlock] must be a number, without quotation marks "
            f"(got {budget!r}). To fix it: write `size-budget-mb = 70`, or remove it."
        )
    return found


def _app_files(project: Project) -> dict[str, str]:
    """Return the sha256 of each file of the sources, by its path in the project."""
    places = (project.root / source for source in SOURCES)
    return {
        path.relative_to(project.root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for place in places
        for path in (place.rglob("*") if place.is_dir() else (place,))
        if path.is_file() and not path.is_symlink() and "__pycache__" not in path.parts
    }


def _taken_files(project: Project) -> dict[str, str]:
    """Return the same, but for what .dockerignore leaves out: Docker knows, and takes a while to say so."""
    with tarfile.open(fileobj=io.BytesIO(expected.taken(project, project.root))) as archive:
        files = {entry.name.removeprefix("srv/"): archive.extractfile(entry) for entry in archive if entry.isreg()}
        return {name: hashlib.sha256(file.read()).hexdigest() for name, file in files.items() if file}


def _refuse_stale(reference: str, difference: str) -> None:
    if difference:
        raise _stale(reference, difference)


def _stale(reference: str, difference: str) -> Failure:
    return Failure(f"{reference} is stale: {difference}. Run `inv build`, then check again.", CANNOT_CHECK)
