"""Compilation to bytecode in a build."""

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


def write(file: Path, text: str) -> None:
    """Write a file in a new folder."""
    file.parent.mkdir(parents=True)
    file.write_text(text, encoding="utf-8")


def cached(source: Path) -> Path:
    """Return the path of a source's bytecode."""
    return Path(cache_from_source(str(source)))


def compile_by(source: Path, mode: py_compile.PycInvalidationMode) -> None:
    """Compile a source as another program would."""
    py_compile.compile(str(source), invalidation_mode=mode)


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages of an environment, compiled as in a build step, in a process of its own."""
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
    # Compilation replaces the file of the bytecode: the links keep the files from before.
    os.link(cached(folder / "done.py"), folder / "done.before")
    os.link(cached(folder / "timed.py"), folder / "timed.before")
    subprocess.run([sys.executable, "-S", bytecode.__file__, "venv", str(environment)], check=True)
    return folder


def test_every_package_is_compiled(packages: Path) -> None:
    """There are more modules than one process compiles, and one whose bytecode would be compared with its source."""
    assert all(map(bytecode.is_compiled, [*packages.glob("module*.py"), packages / "timed.py"]))


def test_invalid_python_stays_uncompiled(packages: Path) -> None:
    """A template among the packages does not stop the compilation of other modules."""
    assert not bytecode.is_compiled(packages / "a_template.py")
    assert bytecode.is_compiled(packages / "module0.py")


def test_existing_bytecode_is_kept(packages: Path) -> None:
    """Dev compiles only the modules that it adds to main."""
    assert cached(packages / "done.py").samefile(packages / "done.before")
    assert not cached(packages / "timed.py").samefile(packages / "timed.before")


def test_bytecode_of_a_tree_has_its_later_paths(tmp_path: Path) -> None:
    """Tracebacks show these paths."""
    given, tree = tmp_path / "sources", tmp_path / "tree"
    write(given / "srv" / "app" / "main.py", "x = 1\n")
    assert bytecode.tree(str(given), str(tree))
    content = cached(tree / "srv" / "app" / "main.py").read_bytes()
    assert marshal.loads(content[HEADER:]).co_filename == "/srv/app/main.py"  # noqa: S302
    assert not (given / "srv" / "app" / "__pycache__").exists()


def test_a_tree_does_not_depend_on_the_checkout(tmp_path: Path) -> None:
    """Permissions, times and empty folders are not those of the machine that builds."""
    given, tree = tmp_path / "sources", tmp_path / "tree"
    write(given / "run.sh", "exit\n")
    (given / "run.sh").chmod(0o700)
    (given / "empty" / "folders").mkdir(parents=True)
    (given / "link").symlink_to("run.sh")
    assert bytecode.tree(str(given), str(tree))
    assert sorted(path.name for path in tree.rglob("*")) == ["link", "run.sh"]
    assert (tree / "link").readlink() == Path("run.sh")
    assert (tree / "run.sh").stat().st_mode & 0o777 == 0o644
    assert {path.lstat().st_mtime for path in (tree, *tree.iterdir())} == {bytecode.TIME}


def test_a_syntax_error_in_the_service_fails_the_build(tmp_path: Path) -> None:
    """The error is found in the build, not at the service's start."""
    write(tmp_path / "sources" / "main.py", "def\n")
    assert not bytecode.tree(str(tmp_path / "sources"), str(tmp_path / "tree"))
