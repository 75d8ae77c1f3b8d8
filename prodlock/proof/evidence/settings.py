"""Read the project's settings of the proof: `[tool.prodlock]` in pyproject.toml."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from prodlock import source
from prodlock.failure import Failure
from prodlock.project import Project
from prodlock.proof.judges import variables

# Ids of the databases that OSV collects, such as CVE-2026-1234, PYSEC-2026-12 and GHSA-abcd-2345-efgh.
_VULNERABILITY = r"[A-Z][A-Za-z]*-[A-Za-z0-9:._-]+"
_TABLE = "pyproject.toml: `[tool.prodlock]`"


@dataclass(frozen=True)
class Settings:
    """What the project allows and denies."""

    # Distributions that the lock's main group must not have: names, or patterns like `pytest-*`.
    denied_in_main: tuple[str, ...] = ("pytest",)
    # Variables that Compose may set beside those of the service's settings.
    environment: tuple[str, ...] = ()
    size_budget_mb: float | None = None
    # Vulnerabilities that `inv audit` does not count, by an id or an alias.
    audit_ignore: tuple[str, ...] = ()


def read(project: Project) -> Settings:
    """Return the settings. Raises Failure where one is not valid."""
    tool = source.pyproject(project).get("tool", {})
    table: object = tool.get("prodlock", {}) if isinstance(tool, Mapping) else tool
    if not isinstance(table, Mapping):
        raise Failure(
            f"{_TABLE} must be a table (got {table!r}). To fix it: write its settings below a line of its own."
        )
    denied = table.get("denied-in-main", list(Settings.denied_in_main))
    if not _is_list_of_names(denied):
        raise Failure(
            f"{_TABLE}: `denied-in-main` must be a list of names (got {denied!r}). To fix it: write "
            '`denied-in-main = ["NAME"]`.'
        )
    allowed = table.get("environment", [])
    if not _is_list_of_names(allowed) or not all(variables.VARIABLE.fullmatch(name) for name in allowed):
        raise Failure(
            f"{_TABLE}: `environment` must be a list of names of variables (got {allowed!r}). To fix it: write "
            '`environment = ["NAME"]`.'
        )
    if deciding := [name for name in allowed if variables.decides_code(name)]:
        raise Failure(
            f"{_TABLE}: `environment` must not have variables that decide which code runs (got {', '.join(deciding)}). "
            "To fix it: set them in the Dockerfile."
        )
    budget = table.get("size-budget-mb")
    # In Python, True is a number; no number is greater than NaN.
    is_number = isinstance(budget, int | float) and not isinstance(budget, bool) and 0 <= budget < math.inf
    if budget is not None and not is_number:
        raise Failure(
            f"{_TABLE}: `size-budget-mb` must be a number, without quotation marks (got {budget!r}). To fix it: write "
            "`size-budget-mb = 70`, or remove it."
        )
    ignored = table.get("audit-ignore", [])
    if not _is_list_of_names(ignored) or not all(re.fullmatch(_VULNERABILITY, name) for name in ignored):
        raise Failure(
            f"{_TABLE}: `audit-ignore` must be a list of ids of vulnerabilities (got {ignored!r}). To fix it: write "
            '`audit-ignore = ["CVE-2026-1234"]`.'
        )
    return Settings(tuple(denied), tuple(allowed), budget, tuple(ignored))


def _is_list_of_names(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)
