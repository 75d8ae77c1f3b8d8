"""The architecture: who may import whom, and that every task explains itself."""

from __future__ import annotations

import ast
import functools
import inspect
import sys
from pathlib import Path
from typing import Any

import pytest
from invoke.collection import Collection
from invoke.tasks import Task

import tasks

TASKS: dict[str, Task[Any]] = Collection.from_module(tasks).tasks
MODULES = sorted(Path().glob("ops/*.py")) + sorted(Path().glob("app/*.py"))


# What programs import that run in a stage of their own.
STAGED = {
    "manifests.py": {"kubernetes_validate", "yaml"},
    "sbom.py": {"cyclonedx", "packageurl"},
}
# What a judge may import.
PURE = {
    "__future__", "ast", "collections", "dataclasses", "fnmatch", "functools", "io", "itertools", "json", "ops",
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


@pytest.mark.parametrize("module", [path for path in MODULES if path.parts[0] == "ops"], ids=str)
def test_ops_needs_only_the_standard_library(module: Path) -> None:
    """A host needs nothing but Python, Invoke and Docker; only tasks.py knows Invoke, only a stage's program more."""
    known = sys.stdlib_module_names | {"ops"} | STAGED.get(module.name, set())
    assert imported(module.read_text(encoding="utf-8")) <= known


@pytest.mark.parametrize("module", [path for path in MODULES if path.parts[0] == "app"], ids=str)
def test_app_never_imports_ops(module: Path) -> None:
    """What runs in production knows nothing of how it was built."""
    assert not imported(module.read_text(encoding="utf-8")) & {"ops", "tasks", "invoke"}


def test_only_the_engine_starts_docker() -> None:
    """There is one door to Docker: of the modules that start programs, no other names it as the first word."""
    starting, naming = set(), set()
    for module in (path for path in MODULES if path.parts[0] == "ops"):
        source = module.read_text(encoding="utf-8")
        if "subprocess" in imported(source):
            starting.add(module.name)
            lists = [node.elts for node in ast.walk(ast.parse(source)) if isinstance(node, ast.List | ast.Tuple)]
            if any(isinstance(words[0], ast.Constant) and words[0].value == "docker" for words in lists if words):
                naming.add(module.name)
    assert starting == {"collect.py", "debian.py", "engine.py", "golden.py", "manifests.py", "source.py", "stages.py"}
    assert naming == {"engine.py"}


@pytest.mark.parametrize(
    ("module", "known"),
    [
        ("audit", {"", "records", "rules"}),
        ("credentials", set()),
        ("imports", set()),
        ("tooling", set()),
        ("rules", set()),
        ("terms", set()),
        ("configuration", {"", "audit", "credentials", "records", "rules"}),
        ("inventory", {"", "audit", "records", "rules"}),
        ("services", {"", "records", "rules", "world"}),
        ("world", {"", "records", "rules"}),
    ],
)
def test_the_judges_do_nothing_but_judge(module: str, known: set[str]) -> None:
    """They know the records and one another; they read no file, start no program and print nothing."""
    tree = ast.parse(Path(f"ops/{module}.py").read_text(encoding="utf-8"))
    modules = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.removeprefix("ops").lstrip(".") for name in modules if name.startswith("ops")} == known
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
