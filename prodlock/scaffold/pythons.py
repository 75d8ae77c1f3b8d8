"""Find the version of Python that a project uses, and the base image for it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from prodlock.failure import Failure
from prodlock.scaffold import pyprojects
from prodlock.scaffold.declared import Deployment, instructions
from prodlock.scaffold.tree import Tree, join

MINORS = range(11, 15)
PREFERRED = 13
_MAJOR = 3
_ONE = re.compile(r"(>=|<=|===|==|!=|~=|>|<|\^|~|)\s*(\d+)(?:\.(\d+|\*))?(?:\.(\d+|\*))?\S*")


class _Bound(NamedTuple):
    """A minor version that a constraint names, and its patch version, empty where it names none."""

    minor: int
    patch: str

    @property
    def has_patch(self) -> bool:
        return self.patch not in {"", "*"}


# Files that name a version of Python, and its form in each: of pyenv and uv, asdf, mise, and Heroku.
_MISE = r"""^\s*python\s*=[^"'\n]*["']3\.(\d+)"""
_FILES = {
    ".python-version": r"\A\s*(?:cpython[-@])?3\.(\d+)",
    ".tool-versions": r"^\s*python\s+3\.(\d+)",
    "mise.toml": _MISE,
    ".mise.toml": _MISE,
    "runtime.txt": r"^\s*python-3\.(\d+)",
}
# Whether some release of a minor version meets a constraint of PEP 440 or of Poetry.
_OPERATORS: Mapping[str, Callable[[int, _Bound], bool]] = {
    ">=": lambda minor, bound: minor >= bound.minor,
    "^": lambda minor, bound: minor >= bound.minor,
    # A later patch release is greater.
    ">": lambda minor, bound: minor >= bound.minor if bound.has_patch else minor > bound.minor,
    # Before the first patch release, which has no number in `3.12`.
    "<=": lambda minor, bound: minor <= bound.minor,
    "<": lambda minor, bound: minor <= bound.minor if bound.has_patch and bound.patch != "0" else minor < bound.minor,
    "~=": lambda minor, bound: minor == bound.minor if bound.has_patch else minor >= bound.minor,
    "!=": lambda minor, bound: minor != bound.minor or bound.has_patch,
}
# Whether a constraint on another major version holds for this one.
_OTHER_MAJORS: Mapping[str, Callable[[int], bool]] = {
    ">=": lambda major: major < _MAJOR,
    ">": lambda major: major < _MAJOR,
    "<": lambda major: major > _MAJOR,
    "<=": lambda major: major > _MAJOR,
    "!=": lambda _: True,
}


def base(tree: Tree, place: str, deployment: Deployment) -> tuple[str, str]:
    """Return the base image, and the place that decided. Raises Failure where no version of Python is allowed."""
    constraints = dict(_constraints(tree, place))
    allowed = [minor for minor in MINORS if all(allows(one, minor) for one in constraints.values())]
    if not allowed:
        path, one = next(iter(constraints.items()))
        raise Failure(
            f"{path} must allow a version of Python from 3.{MINORS[0]} to 3.{MINORS[-1]} (got {one}). To fix it: widen "
            "the constraint, and lock again."
        )
    for minor, where in _used(tree, place, deployment):
        if minor in allowed:
            return image(minor), where
    minor = PREFERRED if PREFERRED in allowed else allowed[-1]
    return image(minor), next(iter(constraints), "the preferred version")


def image(minor: int) -> str:
    """Return the name of the base image of a minor version."""
    return f"python:{_MAJOR}.{minor}-slim-trixie"


def allows(constraint: str, minor: int) -> bool:
    """Return whether some release of a minor version meets a constraint of PEP 440 or of Poetry."""
    return any(
        all(_meets(one.strip(), minor) for one in re.split(r",|\s+(?=[<>=!~^])", alternative) if one.strip())
        for alternative in re.split(r"\|\|?", constraint)
    )


def _meets(one: str, minor: int) -> bool:
    found = _ONE.fullmatch(one)
    if not found:
        return True
    operator, major, second, third = found[1], int(found[2]), found[3], found[4] or ""
    if major != _MAJOR:
        return operator in _OTHER_MAJORS and _OTHER_MAJORS[operator](major)
    if second in {None, "*"}:
        return operator not in {"<", "!="}
    # Versions without an operator are equal.
    meets = _OPERATORS.get(operator)
    bound = _Bound(int(second), third)
    return meets(minor, bound) if meets else minor == bound.minor


def _constraints(tree: Tree, place: str) -> Iterator[tuple[str, str]]:
    for path, content in pyprojects.own(tree, place):
        project = pyprojects.at(content, "project", "requires-python")
        one = project or pyprojects.at(content, "tool", "poetry", "dependencies", "python")
        if isinstance(one, str) and one.strip() not in {"", "*"}:
            yield path, one


def _used(tree: Tree, place: str, deployment: Deployment) -> Iterator[tuple[int, str]]:
    """Yield the minor versions that the project's files use, with their places."""
    for path in deployment.dockerfiles:
        for kind, text in instructions(tree.text(path)):
            # Not the version of a distribution, such as `python:3-alpine3.20`.
            pattern = r"python(?:(?!alpine)\S)*?[:=-]?v?(?:3\.|-3)(\d+)"
            if kind in {"FROM", "ARG"} and (found := re.search(pattern, deployment.expanded(text), re.IGNORECASE)):
                yield int(found[1]), path
    for folder in dict.fromkeys((place, ".")):
        for name, form in _FILES.items():
            path = join(folder, name)
            if found := re.search(form, tree.text(path), re.MULTILINE):
                yield int(found[1]), path
