"""Collect the evidence: the image under test, what it is compared with, and the project's settings.

Evidence that can't be collected is a Failure with exit code 2, never an empty value.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from prodlock import generated, source
from prodlock.configuration import Configuration
from prodlock.docker import compose, engine, registry
from prodlock.failure import CANNOT_CHECK, Failure, unreadable
from prodlock.image import reader
from prodlock.image.records import File, Image
from prodlock.project import Project
from prodlock.proof.evidence import images, lock, sources
from prodlock.proof.judges import forbidden
from prodlock.proof.judges.forbidden import Forbidden
from prodlock.proof.judges.staleness import changed_source
from prodlock.proof.records import HOME, VENV, ComposeProject, Expected, Lock, Sources

# What dev and prod take from the base image alike.
_SYSTEM = "/usr/local"
_REVISION = "org.opencontainers.image.revision"


@dataclass(frozen=True)
class Evidence:
    """All that the rules are applied to."""

    # The project's name, and how the image under test was named.
    name: str
    reference: str
    identifier: str
    image: Image
    # The dev image: its name, and its files in the virtual environment and the home folder.
    dev: str
    dev_files: tuple[File, ...]
    lock: Lock
    sources: Sources
    forbidden: Forbidden
    configuration: Configuration
    # What the working tree is made from; None where no repository has this project.
    commit: source.Commit | None
    # What production must be, and dev's part of the base image: for the whole proof alone.
    expected: Expected | None = None
    dev_system: tuple[File, ...] = ()


def collect(project: Project, reference: str | None, *, whole: bool) -> Evidence:
    """Collect the evidence. Raises Failure, code 2, where some of it can't be had."""
    project.refuse_missing()
    try:
        # git works while Docker does.
        with ThreadPoolExecutor(1) as pool:
            committing = pool.submit(source.commit, project)
            try:
                return _collect(project, reference, committing, whole=whole)
            except Failure:
                # That git can't read the repository is reported first.
                committing.result()
                raise
    except Failure as failure:
        raise Failure(str(failure), CANNOT_CHECK) from None
    except OSError as error:
        # Without a file name it is the temporary one that an image is saved to.
        name = error.filename or "The image"
        raise Failure(unreadable(name, error), CANNOT_CHECK) from None


def _collect(
    project: Project, reference: str | None, committing: Future[source.Commit | None], *, whole: bool
) -> Evidence:
    # Without Compose files there is no production to check, whatever the project's name is.
    compose.files(project)
    generated.check(project)
    if not project.is_own:
        from prodlock import vendored  # noqa: PLC0415 - Prodlock's own repository has no vendored files

        vendored.check(project)
    source.refuse_unavailable(project, project.configuration.sources)
    if whole:
        # The narrow check asks for traces of the dev group alone, wherever the sources come from.
        source.refuse_submodules(project, project.configuration.sources)
    name = compose.project_name(project)
    file = images.saved_file(reference)
    dev, prod = f"{name}:dev", reference or f"{name}:prod"
    locked = lock.read(project)
    shipped = sources.of_working_tree(project)
    if not file:
        registry.pull_missing(project, prod)
    name_of_prod = images.names(project, dev, *([] if file else [prod]))[-1]
    if whole and not file:
        # Before anything is built for the comparison.
        refuse_other_commit(project, prod, name_of_prod.labels, committing.result())
    # Most of the time passes while the Engine packs prod: all that concerns dev is done meanwhile.
    with file.open("rb") if file else tempfile.TemporaryFile() as archive, ThreadPoolExecutor() as pool:
        # By its id: a name without a tag would bring every tag of it.
        saving = None if file else pool.submit(engine.write, project, archive, "save", name_of_prod.identifier)
        resolving = pool.submit(_resolve, project) if whole else None
        with images.folders(project, pool, dev, HOME, VENV, *([_SYSTEM] if whole else [])) as (home, venv, *system):
            # Before anything is built for the comparison, too.
            selected = lock.selected(dev, home.result(), project.configuration.lock, locked)
            commit = committing.result()
            collecting = pool.submit(_expect, project, commit, resolving.result()) if resolving else None
            dev_files = (*venv.result(), *home.result())
            dev_system = system[0].result() if system else ()
        if changed_source(dev_files, shipped):
            # Or a file that .dockerignore excludes.
            shipped = sources.of_build(project)
        forbids = forbidden.derive(dev_files, selected, shipped)
        must_be = collecting.result() if collecting else None
        if saving:
            saving.result()
        sizes = {one.size for one in dev_files}
        hashed = (lambda _: True) if whole else sizes.__contains__
        trusted = must_be.contents.provides if must_be else forbids.allows
        image = reader.read(prod, archive, hashed, trusted, forbids.is_relevant)
        if whole and file:
            refuse_other_commit(project, prod, image.config.get("Labels") or {}, commit)
    return Evidence(
        name=name,
        reference=prod,
        identifier=image.identifier if file else name_of_prod.identifier,
        image=image,
        dev=dev,
        dev_files=dev_files,
        lock=selected,
        sources=shipped,
        forbidden=forbids,
        configuration=project.configuration,
        commit=commit,
        expected=must_be,
        dev_system=dev_system,
    )


def _resolve(project: Project) -> ComposeProject:
    # Modules that the narrow check does not need, here and below.
    from prodlock.proof.evidence import compose  # noqa: PLC0415

    return compose.collect(project)


def _expect(project: Project, commit: source.Commit | None, resolved: ComposeProject) -> Expected:
    from prodlock.proof.evidence import expected  # noqa: PLC0415

    return expected.collect(project, commit, resolved)


def refuse_other_commit(
    project: Project, reference: str, labels: Mapping[str, str], commit: source.Commit | None
) -> None:
    """Raise Failure where an image's label states that it was made from another commit of this repository.

    And where git converts what a build reads: then it is made of no commit's bytes. An image without that label can
    still be compared, byte for byte.
    """
    source.refuse_converted(project, commit)
    labelled = labels.get(_REVISION, "")
    wanted = source.arguments(project, commit).get("REVISION", "")
    if labelled != wanted and source.has_commit(project, labelled.removesuffix("-dirty")):
        raise lock.stale(reference, f"it was made from {labelled}, this is {wanted or 'no commit'}")
