"""What is compiled in a build, and how."""

from __future__ import annotations

import marshal
import os
import py_compile
import subprocess
import sys
from importlib.util import cache_from_source
from pathlib import Path

import pytest

from prodlock.inside import bytecode

HEADER = 16


def cached(source: Path) -> Path:
    """Return where the bytecode of a source is."""
    return Path(cache_from_source(str(source)))


def compile_by(source: Path, mode: py_compile.PycInvalidationMode) -> None:
    """Compile as others do."""
    py_compile.compile(str(source), invalidation_mode=mode)


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment's packages, compiled as a build step does it, in a process of its own."""
    environment = tmp_path_factory.mktemp("venv")
    folder = environment / "lib" / "python" / "site-packages"
    folder.mkdir(parents=True)
    names = ["done", "timed", *(f"module{number}" for number in range(bytecode.PORTION))]
    for name in names:
        (folder / f"{name}.py").write_text("x = 1\n", encoding="utf-8")
    (folder / "a_template.py").write_text("class {{name}}: ...\n", encoding="utf-8")
    compile_by(folder / "done.py", py_compile.PycInvalidationMode.UNCHECKED_HASH)
    compile_by(folder / "timed.py", py_compile.PycInvalidationMode.TIMESTAMP)
    assert not bytecode.is_compiled(folder / "timed.py")
    # Bytecode that is made again is another file, which takes its place.
    os.link(cached(folder / "done.py"), folder / "done.before")
    os.link(cached(folder / "timed.py"), folder / "timed.before")
    subprocess.run([sys.executable, "-S", bytecode.__file__, "venv", str(environment)], check=True)
    return folder


def test_every_package_is_compiled(packages: Path) -> None:
    """More of them than one process compiles, and those whose bytecode would look at its source's time."""
    assert all(map(bytecode.is_compiled, [*packages.glob("module*.py"), packages / "timed.py"]))


def test_what_is_no_valid_python_stays_uncompiled(packages: Path) -> None:
    """A template among the packages: the modules beside it are compiled all the same."""
    assert not bytecode.is_compiled(packages / "a_template.py")
    assert bytecode.is_compiled(packages / "module0.py")


def test_what_is_compiled_stays_as_it_is(packages: Path) -> None:
    """So dev compiles what it adds to main, and no more."""
    assert cached(packages / "done.py").samefile(packages / "done.before")
    assert not cached(packages / "timed.py").samefile(packages / "timed.before")


def test_a_tree_is_named_as_the_root_that_it_will_be(tmp_path: Path) -> None:
    """Tracebacks show that name."""
    source = tmp_path / "srv" / "app" / "main.py"
    source.parent.mkdir(parents=True)
    source.write_text("x = 1\n", encoding="utf-8")
    assert bytecode.tree(str(tmp_path))
    assert marshal.loads(cached(source).read_bytes()[HEADER:]).co_filename == "/srv/app/main.py"  # noqa: S302


def test_an_app_that_is_no_python_fails_the_build(tmp_path: Path) -> None:
    """Sooner than the service's start."""
    (tmp_path / "main.py").write_text("def\n", encoding="utf-8")
    assert not bytecode.tree(str(tmp_path))
