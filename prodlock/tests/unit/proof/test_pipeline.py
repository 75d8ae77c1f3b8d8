"""The proof is a pipeline: evidence, judges, report."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PROOF = Path("prodlock/proof")
# What each part of the proof may import of the others; every part may import `records` and `rules`.
DIRECTIONS: dict[str, set[str]] = {
    "records": set(),
    "rules": set(),
    "judges": set(),
    "report": set(),
    # What decides which evidence is kept: forbidden names, staleness, variables, mounts.
    "evidence": {"judges"},
    "check": {"evidence", "judges", "report"},
    "deploy": {"evidence", "judges", "report"},
    "audit": {"evidence", "judges", "report"},
    "publish": {"check", "evidence", "report"},
}


def imported(module: Path) -> set[str]:
    """Return the modules of prodlock that a module imports, by their dotted names."""
    tree = ast.parse(module.read_text(encoding="utf-8"))
    found = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    names = {f"{node.module}.{alias.name}" for node in found for alias in node.names}
    return {name for name in names if name.startswith("prodlock.")}


@pytest.mark.parametrize(
    "module", [path for path in sorted(PROOF.rglob("*.py")) if path != PROOF / "__init__.py"], ids=str
)
def test_the_proof_has_one_direction(module: Path) -> None:
    """Judges never import what collects the evidence, and nothing imports the entry points."""
    part = module.relative_to(PROOF).parts[0].removesuffix(".py")
    used = {name.split(".")[2] for name in imported(module) if name.startswith("prodlock.proof.")}
    assert used <= DIRECTIONS[part] | {part, "records", "rules"}


def test_judges_import_only_records() -> None:
    """No Docker, no git, no file of this machine."""
    modules = list((PROOF / "judges").glob("*.py"))
    assert modules
    for module in modules:
        for name in imported(module):
            assert name.startswith(("prodlock.proof.", "prodlock.image.records.", "prodlock.variables")), (module, name)
