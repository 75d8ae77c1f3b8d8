"""The architecture: who may import whom, and that every task explains itself."""

from __future__ import annotations

import ast
import functools
import inspect
import sys
from pathlib import Path
from typing import Any

import pytest
from invoke.tasks import Task

import tasks

TASKS: dict[str, Task[Any]] = tasks.namespace.tasks
MODULES = sorted(path for path in Path("prodlock").rglob("*.py") if "tests" not in path.parts)
# What each part of the tool may import of the others. The top modules (failure, site, ...) stand below all packages.
DIRECTIONS = {
    "tasks": {"", "docker", "proof", "setup"},
    "proof": {"", "docker", "image", "inside", "server"},
    "setup": {"", "docker"},
    "docker": {""},
    "image": {"", "docker"},
    "inside": set(),
    "server": set(),
    "": set(),
}
# What programs import that run in a stage of their own, and what runs in production.
THIRD_PARTY = {
    "inside/manifests.py": {"kubernetes_validate", "yaml"},
    "inside/sbom.py": {"cyclonedx", "packageurl"},
    "server": {"uvicorn", "httptools"},
    "tasks.py": {"invoke"},
}
# What a judge may import.
JUDGES = (
    "audit",
    "configuration",
    "credentials",
    "imports",
    "inventory",
    "rules",
    "services",
    "terms",
    "tooling",
    "world",
)
PURE = {
    "__future__", "ast", "collections", "dataclasses", "fnmatch", "functools", "io", "itertools", "json", "prodlock",
    "pathlib", "posixpath", "re", "tokenize", "typing", "urllib", "warnings",
}  # fmt: skip


@functools.cache
def imported(source: str) -> frozenset[str]:
    """Return the top-level names that a module's source imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").split(".")[0])
    return frozenset(names)


def test_imports_are_seen() -> None:
    """Every form of import counts, wherever it stands."""
    source = "import a.b, c as d\nfrom e.f import g\ndef h():\n    import i"
    assert imported(source) == {"a", "c", "e", "i"}


def part(module: str) -> str:
    """Return the part of the tool that a module, by its dotted name, belongs to: a package, `tasks`, or ``."""
    first = module.removeprefix("prodlock").lstrip(".").partition(".")[0]
    return first if first in DIRECTIONS else ""


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_imports_have_one_direction(module: Path) -> None:
    """From the tasks to the proof to the image, and never back."""
    tree = ast.parse(module.read_text(encoding="utf-8"))
    own = part(".".join(module.with_suffix("").parts))
    found = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]
    names = {
        f"{node.module}.{alias.name}"
        for node in found
        for alias in node.names
        if str(node.module).startswith("prodlock")
    }
    assert {part(name) for name in names} - {own} <= DIRECTIONS[own]


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_the_host_needs_only_the_standard_library(module: Path) -> None:
    """A host needs nothing but Python, Invoke and Docker; only the tasks know Invoke, only a stage's program more."""
    path = module.relative_to("prodlock").as_posix()
    known = sys.stdlib_module_names | {"prodlock"}
    known |= THIRD_PARTY.get(path, set()) | THIRD_PARTY.get(path.partition("/")[0], set())
    assert imported(module.read_text(encoding="utf-8")) <= known


def test_app_never_imports_the_tool() -> None:
    """The service runs on any server, and does not depend on how its image was built."""
    for module in Path("app").glob("*.py"):
        assert not imported(module.read_text(encoding="utf-8")) & {"tasks", "invoke", "prodlock"}


def test_only_the_engine_starts_docker() -> None:
    """Of the modules that start programs, no other names docker as the first word."""
    starting, naming = set(), set()
    for module in MODULES:
        source = module.read_text(encoding="utf-8")
        if "subprocess" in imported(source):
            starting.add(module.name)
            lists = [node.elts for node in ast.walk(ast.parse(source)) if isinstance(node, ast.List | ast.Tuple)]
            if any(isinstance(words[0], ast.Constant) and words[0].value == "docker" for words in lists if words):
                naming.add(module.name)
    assert starting == {"collect.py", "debian.py", "engine.py", "golden.py", "manifests.py", "source.py", "stages.py"}
    assert naming == {"engine.py"}


@pytest.mark.parametrize("module", JUDGES)
def test_the_judges_do_nothing_but_judge(module: str) -> None:
    """They read no file, start no program and print nothing."""
    tree = ast.parse(Path(f"prodlock/proof/{module}.py").read_text(encoding="utf-8"))
    assert imported(ast.unparse(tree)) <= PURE
    called = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assert not called & {"open", "print", "exec", "eval"}


@pytest.mark.parametrize("name", TASKS)
def test_every_task_says_what_it_does(name: str) -> None:
    """One docstring a task, in the imperative, a line long in `inv --list`."""
    first = (TASKS[name].__doc__ or "").split("\n")[0]
    assert first.endswith(".")
    assert first[0].isupper()
    assert len(first) <= 100


@pytest.mark.parametrize("name", TASKS)
def test_every_option_has_help(name: str) -> None:
    """`inv --help TASK` explains each option."""
    options = list(inspect.signature(TASKS[name].body).parameters)[1:]
    assert {option.replace("-", "_") for option in TASKS[name].help} == set(options)


def test_the_tasks_are_the_promised_ones() -> None:
    """What a user types, as the README says."""
    promised = {"setup", "build", "serve", "stop", "test", "check-prod-has-no-pytest", "clean"}
    assert promised <= {name.replace("_", "-") for name in TASKS}
