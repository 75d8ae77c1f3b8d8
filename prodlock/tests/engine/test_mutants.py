"""Each judge, switched off in turn: some test of the judges must notice."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from prodlock.tests.engine.conftest import ROOT

JUDGES = (
    "compose",
    "configuration",
    "contents",
    "credentials",
    "deployment",
    "forbidden",
    "imports",
    "inventory",
    "leaks",
    "mounts",
    "paths",
    "staleness",
    "variables",
)
TESTS = tuple(f"test_{name}.py" for name in JUDGES)
# pytest's exit codes: a test failed; a module of tests computes something with the judge and could not be imported.
NOTICED = (1, 2)
# What a function that is switched off returns, by the beginning of its return type. A function of another type builds
# what the judges work on, and can't be switched off.
NEUTRAL = {
    "str": "''",
    "bool": "False",
    "int": "0",
    "list": "[]",
    "dict": "{}",
    "set": "set()",
    "frozenset": "frozenset()",
    "Iterator": "iter(())",
    "_Hit | None": "None",
    "Verdict": "None",
    "tuple[str, str] | None": "None",
    "re.Match[str] | None": "None",
}


def functions(module: str) -> dict[str, ast.FunctionDef]:
    """Return the functions and methods of a judge that can be switched off."""
    tree = ast.parse((ROOT / "prodlock" / "proof" / "judges" / f"{module}.py").read_text(encoding="utf-8"))
    found = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    return {name: node for name, node in found.items() if neutral(node)}


def neutral(function: ast.FunctionDef) -> str:
    """Return what a function returns that finds nothing, or `` where there is no such thing."""
    returned = ast.unparse(function.returns) if function.returns else ""
    return next((value for kind, value in NEUTRAL.items() if returned == kind or returned.startswith(f"{kind}[")), "")


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The judges and their tests, to be changed."""
    folder = tmp_path_factory.mktemp("mutants")
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "prodlock", folder / "prodlock", ignore=ignored)
    shutil.copytree(ROOT / "app", folder / "app", ignore=ignored)
    for name in ("docker-compose.yml", "pyproject.toml"):
        shutil.copy(ROOT / name, folder / name)
    return folder


def verdict(workshop: Path, tests: tuple[str, ...] = TESTS) -> int:
    """Run judges' tests, all of them unless some are named, and return pytest's exit code."""
    command = [
        sys.executable,
        "-B",
        "-m",
        "pytest",
        "--quiet",
        "--exitfirst",
        *(f"prodlock/tests/unit/proof/{name}" for name in tests),
    ]
    return subprocess.run(
        command, cwd=workshop, env=os.environ | {"PYTHONPATH": ""}, capture_output=True, check=False
    ).returncode


def test_the_judges_as_they_are_pass(workshop: Path) -> None:
    """The tests fail for the mutants' sake alone."""
    assert verdict(workshop) == 0


@pytest.mark.parametrize(("module", "name"), [(module, name) for module in JUDGES for name in functions(module)])
def test_a_judge_that_is_switched_off_is_noticed(workshop: Path, module: str, name: str) -> None:
    """By a test that fails, or by a module of tests that cannot be collected."""
    file = workshop / "prodlock" / "proof" / "judges" / f"{module}.py"
    source = file.read_text(encoding="utf-8")
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name == name:
            node.body = ast.parse(f"return {neutral(node)}").body
    file.write_text(ast.unparse(tree), encoding="utf-8")
    try:
        # Most are noticed by the tests of their own module: the others run only where these pass.
        assert (verdict(workshop, (f"test_{module}.py",)) or verdict(workshop)) in NOTICED
    finally:
        file.write_text(source, encoding="utf-8")
