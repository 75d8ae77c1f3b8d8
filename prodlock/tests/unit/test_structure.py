"""The architecture: which parts of the tool import which others."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest

# The package itself imports its public names when they are used: see test_package.py.
MODULES = sorted(
    path
    for path in Path("prodlock").rglob("*.py")
    if "tests" not in path.parts and path != Path("prodlock/__init__.py")
)
# Which parts each part imports. Modules beside the packages (failure, site, ...) are the part ``.
DIRECTIONS = {
    "tasks": {"", "docker", "proof", "setup"},
    "cli": {"", "docker", "origins", "proof", "scaffold"},
    "__main__": {"cli"},
    "proof": {"", "docker", "image", "inside", "server"},
    "scaffold": {"", "inside", "server"},
    "origins": {"", "docker", "image", "inside", "proof"},
    "setup": {"", "docker"},
    "docker": {""},
    "image": {""},
    "inside": set(),
    "loop": {"server"},
    "server": set(),
    "": set(),
}
# Third-party packages of programs that run in a build stage or in the dev container, of the server, of the
# tasks, and of the package's build.
THIRD_PARTY = {
    "hatch_build.py": {"hatchling"},
    "inside/install.py": {"pip"},
    "inside/manifests.py": {"kubernetes_validate", "yaml"},
    "inside/sbom.py": {"cyclonedx", "packageurl"},
    "loop/debug.py": {"debugpy", "pytest"},
    "loop/retest.py": {"pytest", "testmon"},
    "server": {"uvicorn", "httptools"},
    "tasks.py": {"invoke"},
}
# The modules that judge evidence, and all that these may import.
JUDGES = (
    "proof/records.py",
    "proof/rules.py",
    *(path.relative_to("prodlock").as_posix() for path in sorted(Path("prodlock/proof/judges").glob("*.py"))),
    *(path.relative_to("prodlock").as_posix() for path in sorted(Path("prodlock/origins/judges").glob("*.py"))),
    *(f"origins/{name}.py" for name in ("attribution", "environments", "findings", "records", "summary", "visible")),
)
PURE = {
    "__future__", "ast", "collections", "configparser", "contextlib", "csv", "dataclasses", "decimal", "enum",
    "fnmatch", "functools", "hashlib", "io", "itertools", "json", "operator", "prodlock", "pathlib", "posixpath",
    "re", "sys", "tokenize", "typing", "urllib", "warnings",
}  # fmt: skip
WRITES_ENVIRONMENT = re.compile(
    r"environ(\[[^]]*\] *([|+]?=[^=])|\.(update|setdefault|pop|popitem|clear)\b| *\|=)"
    r"|\b(putenv|unsetenv)\b|del .*environ"
)


def imports(source: str) -> set[str]:
    """Return the dotted names that a module's source imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def imported(source: str) -> set[str]:
    """Return the top-level packages that a module's source imports."""
    return {name.partition(".")[0] for name in imports(source)}


def part(name: str) -> str:
    """Return the part of the tool that a module belongs to, by its dotted name."""
    first = name.removeprefix("prodlock.").partition(".")[0]
    return first if first in DIRECTIONS else ""


def test_every_form_of_import_is_found() -> None:
    """The positive control of the tests below."""
    source = "import a.b, c as d\nfrom e.f import g\ndef h():\n    import i"
    assert imports(source) == {"a.b", "c", "e.f.g", "i"}


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_imports_have_one_direction(module: Path) -> None:
    """From the tasks to the proof to the image, and never back."""
    own = part(".".join(module.with_suffix("").parts))
    found = {part(name) for name in imports(module.read_text(encoding="utf-8")) if name.startswith("prodlock.")}
    assert found - {own} <= DIRECTIONS[own]


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_the_host_needs_only_the_standard_library(module: Path) -> None:
    """Only the tasks import Invoke, and only programs of a build stage and the server import other packages."""
    path = module.relative_to("prodlock").as_posix()
    allowed = sys.stdlib_module_names | {"prodlock"}
    allowed |= THIRD_PARTY.get(path, set()) | THIRD_PARTY.get(path.partition("/")[0], set())
    assert imported(module.read_text(encoding="utf-8")) <= allowed


def test_app_does_not_import_the_tool() -> None:
    """The service runs on any server, and does not depend on its build."""
    modules = list(Path("app").glob("*.py"))
    assert modules
    for module in modules:
        assert not imported(module.read_text(encoding="utf-8")) & {"tasks", "invoke", "prodlock"}


def test_only_the_engine_module_starts_docker() -> None:
    """No other module that starts programs has an argument list that begins with `docker`."""
    starting, naming = set(), set()
    for module in MODULES:
        source = module.read_text(encoding="utf-8")
        if "subprocess" in imported(source):
            starting.add(module.name)
            lists = [node.elts for node in ast.walk(ast.parse(source)) if isinstance(node, ast.List | ast.Tuple)]
            if any(isinstance(words[0], ast.Constant) and words[0].value == "docker" for words in lists if words):
                naming.add(module.name)
    assert starting == {
        "audit.py",
        "bytecode.py",
        "collect.py",
        "debian.py",
        "engine.py",
        "golden.py",
        "install.py",
        "manifests.py",
        "merge.py",
        "own_tests.py",
        "source.py",
        "tree.py",
        "virtualenv.py",
    }
    assert naming == {"engine.py"}


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_no_module_writes_the_environment(module: Path) -> None:
    """Settings are arguments: a child process gets its variables from its caller."""
    assert not WRITES_ENVIRONMENT.search(module.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "line",
    [
        'os.environ["A"] = "b"',
        "os.environ |= settings",
        "os.environ.update(settings)",
        'os.environ.setdefault("A", "b")',
        'environ.pop("A")',
        'del os.environ["A"]',
        'os.putenv("A", "b")',
    ],
)
def test_writing_the_environment_is_found(line: str) -> None:
    """The positive control of the test above."""
    assert WRITES_ENVIRONMENT.search(line)


@pytest.mark.parametrize("module", JUDGES)
def test_judges_have_no_side_effects(module: str) -> None:
    """They read no file, start no program and print nothing."""
    tree = ast.parse(Path("prodlock", module).read_text(encoding="utf-8"))
    assert imported(ast.unparse(tree)) <= PURE
    called = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assert not called & {"open", "print", "exec", "eval"}
