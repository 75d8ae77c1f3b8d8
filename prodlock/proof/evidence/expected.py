"""Find out what production must be: from the lock, the base image, the sources and the Dockerfile.

The image under test is not asked.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

from prodlock import site, source
from prodlock.docker import compose, engine, stages
from prodlock.image.records import Declaration
from prodlock.inside.lock import selection
from prodlock.project import Project
from prodlock.proof.evidence import sources
from prodlock.proof.records import ComposeProject, Expected, ExpectedContents


def collect(project: Project, commit: source.Commit | None, resolved: ComposeProject) -> Expected:
    """Return what production of a commit must be. Raises Failure where that can't be found out."""
    with source.build_tree(project, commit) as tree, ThreadPoolExecutor() as pool:
        # It prints nothing, but of the two other builds each would overwrite the other's progress on a terminal.
        shipping = pool.submit(sources.archive, project, tree)
        run = ("run", "--rm", "--interactive", "--network=none", stages.build(project, "golden"))
        declaring = pool.submit(declaration, project, commit)
        command = ("python", "-m", "prodlock.inside.golden", "sources")
        golden = json.loads(engine.output(project, *run, *command, given=shipping.result(), echo=True))
        contents = ExpectedContents.from_rows(golden["rows"], project.configuration.generated)
        added = added_since_budget(project, golden["wheels"])
        return Expected(golden, contents, declaring.result(), resolved, added)


def added_since_budget(project: Project, wheels: Iterable[Mapping[str, str]]) -> frozenset[str]:
    """Return name and version of the wheels that the lock's runtime groups lacked when the size budget was set.

    According to git, and to the whole lock of then: its markers are not evaluated.
    """
    configuration = project.configuration
    before = source.locked_since(project, "size-budget-mb")
    try:
        known = selection.pinned(configuration.lock, before, configuration.groups)
    except (ValueError, KeyError):
        # That file was not a lock of this format.
        return frozenset()
    return frozenset(f"{one['name']} {one['version']}" for one in wheels) - known


def declaration(project: Project, commit: source.Commit | None) -> Declaration:
    """Return what the Dockerfile makes of a commit, built by a bare `docker build .`: no Compose, no target."""
    arguments = source.arguments(project, commit)
    settings = site.environment(project)
    tag = f"{compose.project_name(project)}:bare"
    options = [f"--file={project.configuration.dockerfile}", *(f"--build-arg={name}" for name in arguments)]
    engine.build(project, "build", f"--tag={tag}", *options, *site.secrets(settings), ".", env=settings | arguments)
    (facts,) = json.loads(engine.output(project, "image", "inspect", tag))
    steps = engine.output(project, "history", "--no-trunc", "--format={{json .CreatedBy}}", tag).splitlines()
    # https://github.com/opencontainers/image-spec/blob/main/config.md has these names in lower case.
    names = {"architecture": "Architecture", "os": "Os", "os.version": "OsVersion", "variant": "Variant"}
    document = {name: facts.get(field) or "" for name, field in names.items()}
    if commit:
        document["created"] = arguments["CREATED"]
    return Declaration(
        facts["Config"], tuple(json.loads(step) for step in reversed(steps)), tuple(facts["RootFS"]["Layers"]), document
    )
