"""Mutants of the judges: a unit test fails where a judge finds nothing."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from prodlock.tests.engine.conftest import REPOSITORY

UNIT = REPOSITORY / "prodlock" / "tests" / "unit" / "proof"
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
    "vulnerabilities",
)
TESTS = tuple(f"test_{name}.py" for name in JUDGES)
# pytest's exit codes: a test failed; a module of tests computes something with the judge and could not be imported.
NOTICED = (1, 2)
# What a function returns that finds nothing, by the beginning of its return type. Functions of other types build what
# the judges work on; they have no mutant.
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
    """Return the functions and methods of a judge that have a mutant."""
    tree = ast.parse((REPOSITORY / "prodlock" / "proof" / "judges" / f"{module}.py").read_text(encoding="utf-8"))
    found = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    return {name: node for name, node in found.items() if neutral(node)}


def neutral(function: ast.FunctionDef) -> str:
    """Return the expression that a function's mutant returns, or an empty text where it has no mutant."""
    returned = ast.unparse(function.returns) if function.returns else ""
    return next((value for kind, value in NEUTRAL.items() if returned == kind or returned.startswith(f"{kind}[")), "")


@pytest.fixture(autouse=True)
def images() -> None:
    """No image is built for these tests."""


@dataclass(frozen=True)
class Runs:
    """Test runs, each in a process that was forked from one that has imported pytest."""

    process: subprocess.Popen[str]

    def code(self, tests: Sequence[str], module: str = "", source: str = "") -> int:
        """Return pytest's exit code for some tests, with a mutant in the place of a module."""
        assert self.process.stdin
        assert self.process.stdout
        wanted = {
            "tests": [str(UNIT / name) for name in tests],
            "module": f"prodlock.proof.judges.{module}" if module else "",
            "source": source,
        }
        self.process.stdin.write(json.dumps(wanted) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """The process that runs the judges' tests."""
    command = [sys.executable, str(Path(__file__).with_name("mutants.py"))]
    # Nine tenths of each run's time otherwise: plugins, and the compilation of the tests.
    environment = os.environ | {
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTHONDONTWRITEBYTECODE": "",
        "PYTHONPATH": str(REPOSITORY),
        "PYTHONPYCACHEPREFIX": str(tmp_path_factory.mktemp("bytecode")),
    }
    with subprocess.Popen(
        command, cwd=REPOSITORY, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield Runs(process)
        # The end of its standard input ends it.


def test_judges_without_a_mutant_pass(runs: Runs) -> None:
    """The control: only a mutant makes the tests below fail."""
    assert runs.code(TESTS) == 0


@pytest.mark.parametrize(("module", "name"), [(module, name) for module in JUDGES for name in functions(module)])
def test_unit_tests_notice_a_judge_that_finds_nothing(runs: Runs, module: str, name: str) -> None:
    """A test fails, or a module of tests cannot be collected."""
    tree = ast.parse((REPOSITORY / "prodlock" / "proof" / "judges" / f"{module}.py").read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name == name:
            node.body = ast.parse(f"return {neutral(node)}").body
    mutant = ast.unparse(tree)
    # Most are noticed by the tests of their own module: the others run only where these pass.
    tests = [one for one in TESTS if one == f"test_{module}.py"]
    own = runs.code(tests, module, mutant) if tests else 0
    assert (own or runs.code(TESTS, module, mutant)) in NOTICED
