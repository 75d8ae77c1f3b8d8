"""Verify an image: collect the evidence, give every file its origin, judge, report.

Evidence that can't be collected is a Failure with exit code 2, never an empty value.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from prodlock import collector
from prodlock.failure import CANNOT_CHECK, Failure, unreadable
from prodlock.image.records import File
from prodlock.origins import (
    bytecode,
    cache,
    debian,
    environments,
    findings,
    images,
    interpreter,
    links,
    locks,
    own,
    repository,
    wheels,
)
from prodlock.origins.attribution import Evidence, Key, attribute
from prodlock.origins.judges import distributions
from prodlock.origins.progress import Progress
from prodlock.origins.records import Bytecode, Installed, Locked, Python, State, Subject, Wheel
from prodlock.origins.report import VerifyReport
from prodlock.origins.visible import Layers
from prodlock.project import Project
from prodlock.proof.report import print_report, print_text

# The first module of a standard library that Python looks for.
_LIBRARY = re.compile(r"(?s).*/lib(?:64)?/python3\.\d+t?/os\.py")


@dataclass(frozen=True)
class Options:
    """What is verified against what."""

    # The lock; several lists of requirements are one lock together. Without them, the one in the folder.
    locks: Sequence[Path] = ()
    groups: Sequence[str] = ()
    extras: Sequence[str] = ()
    base: str | None = None
    # Such as linux/arm64, for images of several platforms.
    platform: str = ""
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
    report = verify(project, reference, options)
    # Each form of output is imported where it is asked for: together they take a twentieth of a short run.
    if output.html:
        from prodlock.origins import page  # noqa: PLC0415

        page.write(report, output.html)
    shown = report
    if output.explain is not None:
        from prodlock.origins import explain  # noqa: PLC0415

        if not (output.json or output.sarif):
            print_text("\n".join(explain.explain(output.explain, report)))
            return report.code
        shown = explain.narrowed(output.explain, report)
    if output.sarif:
        from prodlock.origins import sarif  # noqa: PLC0415

        print_text(json.dumps(sarif.document(shown), indent=2))
    else:
        print_report(shown, as_json=output.json)
    return report.code


def verify(project: Project, reference: str, options: Options | None = None) -> VerifyReport:
    """Return where every file of an image comes from, and the findings.

    The image is one of the Engine, a file that `docker save` wrote, or an OCI layout. Raises Failure, code 2, where the
    question can't be answered.
    """
    options = options or Options()
    project.refuse_missing()
    started = time.monotonic()
    try:
        found_locks = options.locks or [locks.find(project.root)]
        # Before an image is saved.
        locks.check(found_locks)
        with (
            collector.paused(),
            Progress() as progress,
            images.open_image(project, reference, options.base, platform=options.platform) as subject,
        ):
            collection = _Collection(project, links.followed(subject), options, progress)
            evidence = collection.evidence(found_locks)
            attribution = attribute(evidence, functools.partial(collection.compare, evidence.python))
            found = findings.judge(evidence, attribution, strict=options.strict)
    except Failure as failure:
        raise Failure(str(failure), CANNOT_CHECK) from None
    except OSError as error:
        name = error.filename or reference
        raise Failure(unreadable(name, error), CANNOT_CHECK) from None
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
        notes=tuple(_notes(subject, evidence)),
        everything=options.everything,
        copied=subject.copied is not None,
    )


@dataclass(frozen=True)
class _Collection:
    """Collects the evidence about an image. Raises Failure where some of it can't be had."""

    project: Project
    subject: Subject
    options: Options
    # Gets the state of what takes long.
    progress: Progress

    def evidence(self, given: Sequence[Path]) -> Evidence:
        """Return the evidence, with the wheels that the lock names."""
        root, options = self.project.root, self.options
        python = interpreter.find(self.subject)
        locked = locks.read(root, given, options.groups, options.extras, python)
        locked = locked._replace(file=", ".join(_shown(str(one), root) for one in given))
        layers = Layers(self.subject.image.files)
        installed = tuple(environments.find(self.subject, layers))
        check_base(self.subject, installed, locked)
        return Evidence(
            self.subject,
            python,
            locked,
            installed,
            self._wheels(installed, locked, python),
            repository.read(self.project, options.sources, self._sizes()),
            debian.files(self.subject),
            layers,
            # In a workspace, the lock is above the member's folder; a list names folders without their names.
            own.names((root, given[0].parent, locks.top(root)), locked) | locked.local,
        )

    def _wheels(self, installed: Sequence[Installed], locked: Locked, python: Python) -> Mapping[Key, Wheel]:
        """Return the locked wheel of each distribution that has the lock's version and is from one of its wheels."""
        present = {
            (one.layer, one.info): (one, locked.main[one.name])
            for one in installed
            if one.layer >= self.subject.base_layers
            and one.name in locked.main
            # Of what is built from a repository of git, the lock has no file.
            and locked.main[one.name].files
            and environments.is_same(one.version, locked.main[one.name].version)
        }
        given = self._settings, self._cache, self.progress
        named = wheels.identify((requirement for _, requirement in present.values()), *given)
        chosen = {key: wheels.choose(one, named[requirement.name]) for key, (one, requirement) in present.items()}
        if rest := [key for key, (one, _) in present.items() if one.tags and not chosen[key]]:
            is_musl = wheels.is_musl(file.path for file in self.subject.image.files)
            chosen |= {key: wheels.fitting(named[present[key][1].name], python, is_musl=is_musl) for key in rest}
        needed = {digest: named[present[key][1].name] for key, digest in chosen.items() if digest}
        contents = wheels.contents(needed, *given)
        # A distribution that was built from source may have the tags of a wheel, but hardly its file WHEEL.
        files = {(file.layer, file.path): file.sha256 for file in self.subject.image.files}
        return {
            (layer, info): contents[digest]
            for (layer, info), digest in chosen.items()
            if digest
            and wheels.is_build_of(contents[digest], info, environments.below(files, layer, f"{info}/WHEEL") or "")
        }

    def compare(
        self, python: Python, files: Sequence[File], sources: Mapping[str, Sequence[File]]
    ) -> Mapping[Key, Bytecode]:
        """Return how bytecode compares with its sources, compiled by the interpreters of the base image."""
        subject = self.subject
        layers = "\n".join(subject.base_diff_ids)
        found: dict[Key, Bytecode] = {}
        # All of them: which one the image has is only stated by the image.
        for library in self._libraries_of_base(python) or [""]:
            base = python._replace(library=library or python.library)
            found |= bytecode.compare(
                [file for file in files if (one := found.get((file.layer, file.path))) is None or _is_open(one)],
                sources,
                subject.content,
                base,
                bytecode.in_container(self.project, subject.base_id, base) if subject.base_id else None,
                self._cache,
                base=hashlib.sha256(layers.encode()).hexdigest(),
                mirror=subject.bytecode_folder,
                notify=lambda done, of: self.progress(f"Bytecode: {done} of {of} sources compiled"),
            )
        return found

    def _libraries_of_base(self, python: Python) -> list[str]:
        """Return the standard libraries of the base image, that of the image's interpreter or its version first."""
        version = f"python{python.minor}"
        libraries = [
            file.path.removesuffix("/os.py") for file in self.subject.base_files if _LIBRARY.fullmatch(file.path)
        ]
        return sorted(libraries, key=lambda one: (one != python.library, not one.endswith(version)))

    def _settings(self) -> Mapping[str, str]:
        """Return the package indexes, certificates and logins of this machine."""
        from prodlock import site  # noqa: PLC0415 - a run with a full cache needs none of it

        return site.environment(self.project)

    def _sizes(self) -> frozenset[int]:
        """Return the sizes of the files above the base image."""
        return frozenset(file.size for file in self.subject.image.files if file.layer >= self.subject.base_layers)

    @property
    def _cache(self) -> Path:
        return cache.folder(self.project.environment)


def check_base(subject: Subject, installed: Sequence[Installed], locked: Locked) -> None:
    """Raise Failure where the base image that was found may be an earlier stage of the image itself.

    What it has is not judged: it must not be an image with the project's own environment, or that for development.
    """
    # Images of Python have some tools, which a lock may have as well.
    names = locked.main.keys() | (locked.dev.keys() - distributions.TOOLS)
    below = [one.name for one in installed if one.layer < subject.base_layers and one.name in names]
    if subject.base_found and below:
        raise Failure(
            f"A base image must be given (got {subject.base} by its layers, and it has {below[0]}, which {locked.file} "
            "has as well). To fix it: name the image of the Dockerfile's last FROM with --base "
            f"(`--base {subject.base}` where it is that one)."
        )


def _notes(subject: Subject, evidence: Evidence) -> Iterator[str]:
    if subject.copied:
        yield (
            f"The image has no layer of {subject.base}: its files are compared with those of that image. Where it was "
            "built on another version of it, name that one with --base."
        )
    yield f"Sources are compared with {evidence.repository.name}."


def _is_open(one: Bytecode) -> bool:
    """Return whether another interpreter may compare bytecode that one could not."""
    return one.state is State.UNVERIFIED


def _shown(lock: str, root: Path) -> str:
    """Return the path of a lock relative to the project's folder, where it is in it."""
    path = Path(lock).absolute()
    return str(path.relative_to(root)) if path.is_relative_to(root) else lock
