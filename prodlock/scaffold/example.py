"""Start a new service from the example of Prodlock's repository, without the example's name and domain."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

from prodlock.failure import Failure
from prodlock.scaffold import init
from prodlock.scaffold.changes import Changes
from prodlock.scaffold.data import data

# A valid name of a distribution, a Compose project and an image
# (https://packaging.python.org/en/latest/specifications/name-normalization/, https://docs.docker.com/reference/compose-file/version-and-name/).
_NAME = re.compile(r"(?=.{1,50}\Z)[a-z0-9]+([-_][a-z0-9]+)*")
# What a new service takes of the example: the rest is its domain. For each file, what is left out or replaced.
_TAKEN: Mapping[str, tuple[tuple[str, str], ...]] = {
    "app/__init__.py": (("The example service", "The service"), (r'(?<=^__version__ = ").+(?="$)', "{version}")),
    # Comments for rules of ruff that only Prodlock's repository has.
    "app/docs.py": ((r"  # noqa: .*", ""),),
    "app/errors.py": (),
    "app/main.py": ((r"(?<=import )(.*), quotes$", r"\1"), (r"^ *app\.include_router\(quotes\.router\)\n", "")),
    "app/settings.py": ((r'(?<=default=")quotes', "{name}"),),
    "poetry.lock": (),
    "tests/__init__.py": (),
    "tests/conftest.py": (),
    "tests/test_docs.py": ((', "/quotes"', ""),),
    "tests/test_errors.py": (),
    "tests/test_main.py": ((', "/quotes"', ""),),
    # A new service has no .env.example.
    "tests/test_settings.py": (
        (r"\n\ndef test_the_example_lists_every_setting(?s:.*)", ""),
        (r"^import re\nfrom pathlib import Path\n\n", ""),
        ("PREFIX, ", ""),
    ),
}
# The tables of its pyproject.toml that are not about Prodlock's repository.
_TABLES = ("[project]", "[dependency-groups]", "[tool.poetry]", "[tool.pytest.ini_options]")
_VERSION = "0.1.0"


def plan(root: Path, name: str, keys: Mapping[str, object], *, deploy: bool = False, workflow: bool = False) -> Changes:
    """Return the changes that start a new service in an empty folder, with deploy/ and the workflow or without.

    Takes keys of `[tool.prodlock]` that differ from the example's. Raises Failure where the name is not valid, or where
    the folder has files other than git's.
    """
    described = data("pyproject.toml").read_text(encoding="utf-8")
    _check(root, name)
    changes = Changes(root)
    for path, replaced in _TAKEN.items():
        text = data(path).read_text(encoding="utf-8")
        for pattern, replacement in replaced:
            text = re.sub(pattern, replacement.format(name=name, version=_VERSION), text, flags=re.MULTILINE)
        changes[path] = text
    changes["pyproject.toml"] = _pyproject(described, name)
    own = tomllib.loads(described)["tool"]["prodlock"]
    # An empty list is the default.
    taken = {key: value for key, value in own.items() if value != []}
    given = taken | {"tests": ["tests"]} | dict(keys)
    return init.describe(changes, given, name, deploy=deploy, workflow=workflow)


def _check(root: Path, name: str) -> None:
    """Raise Failure where a name is not valid, or where a folder is not empty."""
    if not _NAME.fullmatch(name):
        raise Failure(
            "NAME must be at most 50 lower-case letters and digits, with single `-` or `_` between them (got "
            f"{name!r}). To fix it: write, for example, `prodlock init shop`."
        )
    locked = {one["name"] for one in tomllib.loads(data("poetry.lock").read_text(encoding="utf-8"))["package"]}
    if name.replace("_", "-") in {*locked, "prodlock"}:
        raise Failure(
            f"NAME must not be the name of a distribution that the service needs (got {name!r}). To fix it: write "
            f"another one, for example, `prodlock init {name}-service`."
        )
    try:
        present = sorted(path.name for path in root.iterdir() if path.name != ".git")
    except OSError as error:
        raise Failure(f"{root} must be readable (got: {error.strerror}). To fix it: change its mode.") from None
    if present:
        more = f" and {len(present) - 1} more" if present[1:] else ""
        raise Failure(
            f"{root} must be empty for a new service (got {present[0]}{more}). To fix it: run `prodlock init {name}` "
            "in a new folder; or, to move the project of this folder in, `prodlock init` without a name."
        )


def _pyproject(text: str, name: str) -> str:
    """Return the new service's pyproject.toml from the example's: the same requirements, so that the lock is fresh."""
    tables = [table for table in re.split(r"^(?=\[)", text, flags=re.MULTILINE) if table.startswith(_TABLES)]
    # The only setting of a linter: the width of the lines.
    found = "".join(tables).rstrip() + "\n\n[tool.ruff]\nline-length = 120\n"
    for key, value in {"name": name, "version": _VERSION, "description": f"The service {name}."}.items():
        found = re.sub(rf"^{key} = .*", f'{key} = "{value}"', found, count=1, flags=re.MULTILINE)
    return re.sub(r"^license = .*\n", "", found, count=1, flags=re.MULTILINE)
