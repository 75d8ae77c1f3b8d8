"""Find a project's lock, its groups, and its version of Python."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from prodlock.failure import Failure
from prodlock.scaffold.declared import DOCKERFILES, instructions, toml
from prodlock.scaffold.tree import Tree

DEVELOPMENT = re.compile(
    r"(?:.*[-_])?(?:dev\w*|tests?|testing|lint\w*|docs?|typ(?:ing|es)|mypy|ci|format\w*)(?:[-_].*)?"
)
MINORS = range(11, 15)
PREFERRED = 13
_HASHED = re.compile(r"--hash[= ]sha(?:256|384|512):")
_REQUIREMENTS = re.compile(r"(?:.*/)?(?:requirements(?:[-.](?:prod|production|main|base))?\.txt|"
                           r"requirements/(?:base|prod|production|main|requirements)\.txt)")  # fmt: skip


def normalized(name: str) -> str:
    """Return the normalized name of a distribution (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


class Lock(NamedTuple):
    """A lock, the member of its workspace, its groups, and the names of its distributions."""

    path: str
    package: str
    groups: tuple[str, ...]
    dev_groups: tuple[str, ...]
    names: frozenset[str]


def find(tree: Tree, place: str, application: str) -> Lock:
    """Return the lock of the project in a folder, or above it. Raises Failure where there is none with hashes."""
    folders = [place]
    while folders[-1] not in {".", ""}:
        folders.append(posixpath.dirname(folders[-1]) or ".")
    without = []
    for folder in folders:
        prefix = "" if folder == "." else f"{folder}/"
        for name in ("poetry.lock", "uv.lock", "pylock.toml"):
            if tree.has(prefix + name):
                return _described(tree, prefix + name, prefix, application)
        for path in tree.files:
            if path.startswith(prefix) and path.count("/") <= prefix.count("/") + 1 and _REQUIREMENTS.fullmatch(path):
                if _HASHED.search(tree.text(path)):
                    names = re.findall(r"^([A-Za-z0-9][\w.-]*)(?:\[[^\]]*\])?\s*==", tree.text(path), re.MULTILINE)
                    return Lock(path, "", ("main",), ("dev",), frozenset(map(normalized, names)))
                without.append(path)
    got, remedy = "none", "lock the dependencies with `poetry lock`, `uv lock` or `pip lock`"
    if without:
        got = f"{without[0]} without hashes"
        remedy = (
            f"lock it, for example `uv pip compile --generate-hashes {without[0]} --output-file {without[0]}`, or use "
            "`poetry lock` or `uv lock`"
        )
    elif tree.has("pyproject.toml") and "poetry" in toml(tree, "pyproject.toml").get("tool", {}):
        remedy = "run `poetry lock`"
    raise Failure(f"The project must have a lock with the hashes of its dependencies (got {got}). To fix it: {remedy}.")


def base(tree: Tree, place: str) -> tuple[str, str]:
    """Return the base image, and the place that decided. Raises Failure where no version of Python is allowed."""
    described = dict(_descriptions(tree, place))
    constraints = {
        path: one
        for path, table in described.items()
        if isinstance(one := _constraint(table), str) and one.strip() not in {"", "*"}
    }
    allowed = [minor for minor in MINORS if all(_allows(one, minor) for one in constraints.values())]
    if not allowed:
        path, one = next(iter(constraints.items()))
        raise Failure(
            f"{path} must allow a version of Python from 3.{MINORS[0]} to 3.{MINORS[-1]} (got {one}). To fix it: widen "
            "the constraint, and lock again."
        )
    for minor, where in _used(tree, place):
        if minor in allowed:
            return f"python:3.{minor}-slim-trixie", where
    minor = PREFERRED if PREFERRED in allowed else allowed[-1]
    return f"python:3.{minor}-slim-trixie", next(iter(constraints), "the preferred version")


def _described(tree: Tree, path: str, prefix: str, application: str) -> Lock:
    locked = toml(tree, path)
    packages = locked.get("package" if not path.endswith("pylock.toml") else "packages", [])
    names = frozenset(normalized(str(one.get("name"))) for one in packages if isinstance(one, dict))
    root = toml(tree, f"{prefix}pyproject.toml")
    tool = root.get("tool", {})
    package, described = "", root
    if path.endswith("uv.lock"):
        workspace = tool.get("uv", {}).get("workspace", {})
        for file in tree.named(r"pyproject\.toml"):
            folder = posixpath.dirname(file)
            inside = posixpath.relpath(folder or ".", prefix or ".")
            matches = any(fnmatchcase(inside, posixpath.normpath(one)) for one in workspace.get("members", []))
            if matches and application.startswith(f"{folder}/"):
                described = toml(tree, file)
                package = str(described.get("project", {}).get("name", ""))
    poetry = tool.get("poetry", {}).get("group", {})
    groups = {name for name, one in poetry.items() if not (isinstance(one, dict) and one.get("optional"))}
    if path.endswith("poetry.lock"):
        groups |= set(root.get("dependency-groups", {}))
        if tool.get("poetry", {}).get("dev-dependencies"):
            groups.add("dev")
    elif path.endswith("uv.lock"):
        default = described.get("tool", {}).get("uv", {}).get("default-groups", [])
        declared = described.get("dependency-groups", {})
        groups = {name for name in declared if DEVELOPMENT.fullmatch(name) or name in default}
        # An environment of tests has the workspace's own group as well.
        groups |= {name for name in root.get("dependency-groups", {}) if name == "dev"}
    else:
        groups = set(root.get("dependency-groups", {})) & {"dev"}
    groups -= {"main"}
    dev = sorted(name for name in groups if DEVELOPMENT.fullmatch(name))
    runtime = sorted(name for name in groups if name not in dev)
    return Lock(path, package, ("main", *runtime), tuple(dev) or ("dev",), names)


def _descriptions(tree: Tree, place: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for folder in dict.fromkeys((place, ".")):
        path = posixpath.normpath(f"{folder}/pyproject.toml")
        if tree.has(path):
            yield path, toml(tree, path)


def _constraint(table: Mapping[str, Any]) -> object:
    project = table.get("project", {}).get("requires-python")
    return project or table.get("tool", {}).get("poetry", {}).get("dependencies", {}).get("python", "")


def _used(tree: Tree, place: str) -> Iterator[tuple[int, str]]:
    for path in tree.named(DOCKERFILES):
        for instruction, text in instructions(tree.text(path)):
            if instruction in {"FROM", "ARG"} and (
                found := re.search(r"python\S*?[:=-]v?3\.(\d+)", text, re.IGNORECASE)
            ):
                yield int(found[1]), path
    for folder in dict.fromkeys((place, ".")):
        path = posixpath.normpath(f"{folder}/.python-version")
        try:
            text = (tree.root / path).read_text(encoding="utf-8")
        except (OSError, ValueError):
            continue
        if found := re.match(r"\s*3\.(\d+)", text):
            yield int(found[1]), path


def _allows(constraint: str, minor: int) -> bool:
    """Return whether some release of a minor version meets a constraint of PEP 440 or of Poetry."""
    return any(
        all(_meets(one.strip(), minor) for one in re.split(r",|\s+(?=[<>=!~^])", alternative) if one.strip())
        for alternative in constraint.split("||")
    )


def _meets(one: str, minor: int) -> bool:  # noqa: C901, PLR0911
    found = re.fullmatch(r"(>=|<=|==|!=|~=|===|>|<|\^|~|)\s*(\d+)(?:\.(\d+|\*))?(?:\.(\d+|\*))?\S*", one)
    if not found:
        return True
    operator, major, second, third = found[1], int(found[2]), found[3], found[4]
    if major != 3:  # noqa: PLR2004
        return {">=": major < 3, ">": major < 3, "<": major > 3, "<=": major > 3, "!=": True}.get(operator, False)  # noqa: PLR2004
    if second in {None, "*"}:
        return operator not in {"<", "!="}
    exact = int(second)
    match operator:
        case ">=":
            return minor >= exact
        case ">":
            # A later patch release is greater.
            return minor >= exact if third else minor > exact
        case "<=":
            return minor <= exact if third else minor < exact
        case "<":
            return minor <= exact if third and third not in {"0", "*"} else minor < exact
        case "^":
            return minor >= exact
        case "~=":
            return minor == exact if third else minor >= exact
        case "!=":
            return minor != exact or bool(third and third != "*")
        case _:
            return minor == exact
