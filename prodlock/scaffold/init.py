"""Move an existing project in: describe it in `[tool.prodlock]`, and write the files that Prodlock needs.

No file is overwritten. To pyproject.toml and to .gitignore, lines are appended.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path

from prodlock import configuration, generated, generated_deploy, generated_workflow, service, source, vendored
from prodlock.configuration import FIRST_BUILD, Configuration
from prodlock.failure import Failure
from prodlock.project import COMPOSE_FILES, Project
from prodlock.scaffold import toml
from prodlock.scaffold.changes import Changes

MARK = "# Prodlock"
# What git must not keep: settings and secrets of one machine, and bytecode. `reports/` gets a .gitignore of its own.
IGNORED = (".env", ".env.*", "!.env.example", "/.prodlock/", "__pycache__/")
# The names that Prodlock's files get where the standard ones are taken.
DOCKERFILE, COMPOSE, TASKS = "prodlock.Dockerfile", "prodlock.compose.yml", "prodlock_tasks.py"
# As long as the name of a new service may be.
_LONGEST_NAME = 50
# What a reader of the table would ask about.
_INTRODUCTION = "# Prodlock's docs/reference/configuration.md explains each key. After a change: `prodlock upgrade`.\n"


def refuse_unsuitable(root: Path) -> None:
    """Raise Failure where a project has moved in already, or where its files are in the way."""
    if (root / vendored.FOLDER / "__init__.py").is_file():
        raise Failure(
            f"{root} must not have a package `prodlock` of its own (got one). To fix it: run `prodlock init` in the "
            "folder of the service that you want to move in."
        )
    tool = generated.configuration_table(root).get("tool", {})
    if isinstance(tool, Mapping) and "prodlock" in tool:
        raise Failure(
            "pyproject.toml must not have [tool.prodlock] yet (got one: the project has moved in). To fix it: run "
            "`prodlock upgrade`, which writes what has changed."
        )
    for name in (vendored.FOLDER, f"{vendored.FOLDER}.py", DOCKERFILE, f"{DOCKERFILE}.dockerignore", COMPOSE, TASKS):
        if os.path.lexists(root / name):
            raise Failure(f"{name} must not exist yet (got one). To fix it: remove or rename it.")


def plan(root: Path, keys: Mapping[str, object], name: str, *, deploy: bool = False, workflow: bool = False) -> Changes:
    """Return the changes that move the project in a folder in, with deploy/ and the workflow or without.

    Takes the keys of `[tool.prodlock]`, and the name of the Compose project. Raises Failure where a key is not valid,
    where a source does not exist or is ignored by git, or where a file can't be read.
    """
    given = dict(keys)
    if any(os.path.lexists(root / file) for file in ("Dockerfile", "dockerfile", "Containerfile", ".dockerignore")):
        given.setdefault("dockerfile", DOCKERFILE)
    if any(os.path.lexists(root / file) for file in COMPOSE_FILES):
        given.setdefault("compose", COMPOSE)
    described = parse(root, toml.table(given))
    source.refuse_unavailable(Project(root), described.sources)
    for key, folders in (("import-from", described.import_from), ("directory", (described.directory,))):
        if wrong := [folder for folder in folders if not (root / folder).is_dir()]:
            raise Failure(
                f"`{key}` must name folders of the project (got {wrong[0]}, which is not one). To fix it: correct "
                "the path, or leave the key out."
            )
    return describe(Changes(root), given, name, deploy=deploy, workflow=workflow)


def describe(
    changes: Changes, keys: Mapping[str, object], name: str, *, deploy: bool = False, workflow: bool = False
) -> Changes:
    """Add to changes what describes a project to Prodlock, what Docker reads, and the vendored files."""
    root, table = changes.root, toml.table({**keys, "size-budget-mb": keys.get("size-budget-mb", FIRST_BUILD)})
    described = parse(root, table)
    facts = generated.Facts(
        name,
        tuple(sorted({*described.environment, *_settings(changes, described.settings)})),
        is_own=False,
        # Written here where the project has none.
        described=tuple(dict.fromkeys(("pyproject.toml", *generated.described(root, described.lock)))),
        locks=generated.locks(root, described.lock),
        driver=generated.driver(root, described.lock),
    )
    files = generated.files(described, facts)
    if taken := [path for path in files if os.path.lexists(root / path)]:
        raise Failure(
            f"{taken[0]} must not exist yet, for Prodlock to write it (got one). To fix it: give another name with "
            "the keys `dockerfile` and `compose`, or leave them out."
        )
    # A package `tasks` comes before a module of this name, which would hide a folder without `__init__.py`.
    tasks = TASKS if any(os.path.lexists(root / name) for name in ("tasks.py", "tasks")) else "tasks.py"
    further = generated_deploy.files(described, name, facts.variables) if deploy else {}
    further |= generated_workflow.files(root, tasks, is_own=False) if workflow else {}
    refuse_present(root, further)
    files |= further
    changes["pyproject.toml"] = _extended(changes.after("pyproject.toml"), f"{_INTRODUCTION}{table}")
    changes[vendored.BASE] = vendored.packed({path: one.text for path, one in files.items()})
    for path, rendered in files.items():
        changes[path] = rendered.text
    for path, text in vendored.files(described).items():
        changes[path] = text
    changes[tasks] = (generated.TEMPLATES / "tasks").read_text(encoding="utf-8")
    ignored = changes.after(".gitignore")
    present = {line.strip() for line in (ignored or "").splitlines()}
    if missing := [line for line in IGNORED if line not in present]:
        changes[".gitignore"] = appended(ignored, "\n".join((MARK, *missing)) + "\n")
    return changes


def refuse_present(root: Path, paths: Iterable[str]) -> None:
    """Raise Failure where one of the files that are written on request exists, which Prodlock did not write."""
    if present := [path for path in paths if os.path.lexists(root / path)]:
        raise Failure(
            f"{present[0]} must not exist yet, for Prodlock to write it (got one). To fix it: rename or remove it, and "
            "take over what you need of it afterwards."
        )


def _settings(changes: Changes, path: str) -> frozenset[str]:
    """Return the variables of the service's settings. Raises Failure where their module is not of the expected form."""
    if not path:
        return frozenset()
    try:
        return service.of_settings(changes.after(path) or "")
    except (SyntaxError, ValueError) as error:
        raise Failure(
            f"`settings` must be a module with a class `Settings` and a string PREFIX (got {path}: {error}). To fix "
            "it: leave the key out, and list the variables in `environment`."
        ) from None


def parse(root: Path, table: str) -> Configuration:
    """Return the configuration that the lines of `[tool.prodlock]` give. Raises Failure where a key is not valid."""
    return configuration.of_table(root, tomllib.loads(table)["tool"]["prodlock"])


def _extended(before: str | None, text: str) -> str:
    """Return pyproject.toml with a table appended. Raises Failure where its own text does not allow that."""
    after = appended(before, text)
    try:
        tomllib.loads(after)
    except ValueError:
        raise Failure(
            "pyproject.toml must have `tool` in a form that a table can be appended to (got an inline table `tool = "
            "{...}`). To fix it: write `[tool.NAME]` tables instead."
        ) from None
    return after


def appended(before: str | None, text: str) -> str:
    """Return a text with lines appended, behind an empty line."""
    if not before:
        return text
    return before + ("" if before.endswith("\n") else "\n") + "\n" + text


def compose_name(root: Path) -> str:
    """Return a valid name for the Compose project: the project's own, or else its folder's."""
    project = generated.configuration_table(root).get("project", {})
    given = str(project.get("name") or root.resolve().name) if isinstance(project, Mapping) else root.resolve().name
    return re.sub(r"[^a-z0-9_-]+", "-", given.lower())[:_LONGEST_NAME].strip("-_") or "service"


def overrides(settings: Iterable[str]) -> dict[str, object]:
    """Return the keys that options `KEY=VALUE` set, whose values are TOML, or text where they are not."""
    found: dict[str, object] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        key = key.strip()
        if not equals or key not in configuration.KINDS:
            raise Failure(
                f"--set must be KEY=VALUE with a key of [tool.prodlock] (got {setting!r}). To fix it: write, for "
                "example, --set application=app.main:app."
            )
        found[key] = _parsed(text)
    return found


def _parsed(text: str) -> object:
    """Return a value of TOML, or the text where it is not one value."""
    try:
        parsed = tomllib.loads(f"x = {text}")
    except (ValueError, RecursionError):
        return text.strip()
    return parsed["x"] if len(parsed) == 1 else text.strip()
