"""Verify an image: collect the evidence, give every file its origin, judge, report.

Evidence that can't be collected is a Failure with exit code 2, never an empty value.
"""

from __future__ import annotations

import contextlib
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from prodlock import collector, site
from prodlock.docker import engine
from prodlock.failure import CANNOT_CHECK, Failure
from prodlock.image.records import File
from prodlock.inside.lock.selection import Requirement, normalized
from prodlock.project import Project
from prodlock.verify import (
    bytecode,
    cache,
    debian,
    environments,
    findings,
    images,
    interpreter,
    locks,
    repository,
    wheels,
)
from prodlock.verify.attribution import Evidence, Key, attribute
from prodlock.verify.records import Bytecode, Installed, Locked, Python, Subject, Wheel
from prodlock.verify.report import VerifyReport
from prodlock.verify.visible import Layers


@dataclass(frozen=True)
class Options:
    """What is verified against what."""

    lock: Path | None = None
    groups: Sequence[str] = ()
    extras: Sequence[str] = ()
    base: str | None = None
    # Folders whose files are the project's sources; without them, the commit that is checked out.
    sources: Sequence[str] = ()
    # Whether each file that nothing accounts for is a finding.
    strict: bool = False
    # Whether the report lists every finding and every file.
    everything: bool = False


@dataclass(frozen=True)
class Output:
    """What is printed of the report, and written."""

    json: bool = False
    sarif: bool = False
    html: Path | None = None
    # A path of the image, or the code of a rule.
    explain: str | None = None


def run(project: Project, reference: str, options: Options, output: Output) -> int:
    """Verify an image, print the report, and return 0, or 1 where there are findings."""
    if output.explain and (rule := explain.rule(output.explain)):
        print("\n".join(rule))
        return 0
    report = verify(project, reference, options)
    if output.html:
        try:
            output.html.write_text(page.document(report), encoding="utf-8", errors="backslashreplace")
        except OSError as error:
            raise Failure(f"{output.html} can't be written: {error.strerror}.", CANNOT_CHECK) from None
    if output.explain:
        print_text("\n".join(explain.explain(output.explain, report)))
        return report.code
    if output.sarif:
        print_text(json.dumps(sarif.document(report), indent=2))
        return report.code
    return print_report(report, as_json=output.json)


def verify(project: Project, reference: str, options: Options | None = None) -> VerifyReport:
    """Return where every file of an image comes from, and the findings.

    The image is one of the Engine, a file that `docker save` wrote, or an OCI layout. Raises Failure, code 2, where the
    question can't be answered.
    """
    options = options or Options()
    started = time.monotonic()
    try:
        lock = options.lock or locks.find(project.root)
        with collector.paused(), images.open_image(project, reference, options.base) as subject:
            evidence = collect(project, subject, lock, options)
            compare = _Compiler(project, subject, evidence.python).compare
            attribution = attribute(evidence, compare)
            found = findings.judge(evidence, attribution, strict=options.strict)
    except Failure as failure:
        raise Failure(str(failure), CANNOT_CHECK) from None
    except OSError as error:
        name = error.filename or reference
        raise Failure(f"{name} can't be read: {error.strerror or error}.", CANNOT_CHECK) from None
    return VerifyReport(
        image=reference,
        identifier=subject.image.identifier,
        base=subject.base,
        base_layers=subject.base_layers,
        layers=subject.image.layers,
        lock=evidence.locked.file,
        inputs=evidence.locked.inputs,
        attribution=attribution,
        findings=tuple(found),
        strict=options.strict,
        seconds=time.monotonic() - started,
        notes=(f"Sources are compared with {evidence.repository.name}.",),
        everything=options.everything,
    )


def collect(project: Project, subject: Subject, lock: Path, options: Options) -> Evidence:
    """Collect the evidence about an image. Raises Failure where some of it can't be had."""
    python = interpreter.find(subject)
    locked = locks.read(project.root, lock, options.groups, options.extras, python)
    layers = Layers(subject.image.files)
    installed = tuple(environments.find(subject, layers))
    return Evidence(
        subject,
        python,
        locked,
        installed,
        _wheels(project, subject, installed, locked),
        repository.read(project.root, options.sources),
        debian.files(subject),
        layers,
        frozenset(_own(project.root)),
    )


def _wheels(project: Project, subject: Subject, installed: Sequence[Installed], locked: Locked) -> Mapping[Key, Wheel]:
    """Return the locked wheel of each distribution that has the lock's version and is from one of its wheels."""
    chosen: dict[Key, str] = {}
    needed: dict[str, Requirement] = {}
    for one in installed:
        requirement = locked.main.get(one.name)
        if one.layer < subject.base_layers or not requirement or requirement.version != one.version:
            continue
        if digest := wheels.choose(one, requirement):
            chosen[one.layer, one.info] = digest
            needed[digest] = requirement
    contents = wheels.contents(needed, site.environment(project), cache.folder(project.environment), engine.notify)
    return {key: contents[digest] for key, digest in chosen.items()}


def _own(root: Path) -> Iterator[str]:
    """Yield the names of the distributions that the project builds: its own, and those of a workspace's members."""
    for pattern in ("pyproject.toml", "*/pyproject.toml", "*/*/pyproject.toml"):
        for file in root.glob(pattern):
            with contextlib.suppress(OSError, ValueError):
                document = tomllib.loads(file.read_text(encoding="utf-8"))
                name = document.get("project", {}).get("name") or document.get("tool", {}).get("poetry", {}).get("name")
                if isinstance(name, str):
                    yield normalized(name)


@dataclass(frozen=True)
class _Compiler:
    """Compares bytecode, by the interpreter of the base image where the Engine has it."""

    project: Project
    subject: Subject
    python: Python

    def compare(self, files: Sequence[File], sources: Mapping[str, Sequence[File]]) -> Mapping[Key, Bytecode]:
        """Return how bytecode files compare with their sources."""
        folder = cache.folder(self.project.environment)
        return bytecode.compare(files, sources, self.subject.content, self.python, self._run(), folder)

    def _run(self) -> Callable[[bytes], bytes] | None:
        """Return a function that runs a program in a container of the base image; None where the Engine has none."""
        try:
            engine.output(self.project, "image", "inspect", "--format={{.Id}}", self.subject.base)
        except Failure:
            return None
        options = ("--rm", "--pull=never", "--network=none", "--interactive", "--entrypoint=python3")

        def run(given: bytes) -> bytes:
            return engine.output(self.project, "run", *options, self.subject.base, "-", given=given).encode()

        return run
