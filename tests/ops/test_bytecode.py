"""What is compiled in a build, and how."""

from __future__ import annotations

import marshal
import py_compile
import subprocess
import sys
from importlib.util import cache_from_source
from pathlib import Path

from ops import bytecode

PROGRAM = bytecode.__file__
HEADER = 16


def cached(source: Path) -> Path:
    """Return where the bytecode of a source is."""
    return Path(cache_from_source(str(source)))


def compiled(*arguments: str) -> int:
    """Compile in a process of its own, as a build step does, and return its exit code."""
    return subprocess.run([sys.executable, PROGRAM, *arguments], check=False, capture_output=True).returncode


def package(environment: Path, *names: str) -> list[Path]:
    """Write modules into an environment's packages."""
    folder = environment / "lib" / "python" / "site-packages"
    folder.mkdir(parents=True)
    sources = [folder / name for name in names]
    for source in sources:
        source.write_text("x = 1\n", encoding="utf-8")
    return sources


def test_bytecode_is_taken_without_a_look_at_its_source(tmp_path: Path) -> None:
    """Each of more files than one process compiles."""
    sources = package(tmp_path, *(f"module{number}.py" for number in range(bytecode.PORTION + 1)))
    assert not any(map(bytecode.is_compiled, sources))
    assert compiled("venv", str(tmp_path)) == 0
    assert all(map(bytecode.is_compiled, sources))


def test_what_is_no_valid_python_stays_uncompiled_in_a_package(tmp_path: Path) -> None:
    """A template; the modules beside it are compiled all the same."""
    template, module = package(tmp_path, "a_template.py", "module.py")
    template.write_text("class {{name}}: ...\n", encoding="utf-8")
    assert compiled("venv", str(tmp_path)) == 0
    assert (bytecode.is_compiled(template), bytecode.is_compiled(module)) == (False, True)


def test_what_is_compiled_stays_as_it_is(tmp_path: Path) -> None:
    """So dev compiles what it adds to main. Bytecode that would look at its source's time is replaced."""
    done, timed = package(tmp_path, "done.py", "timed.py")
    assert compiled("venv", str(tmp_path)) == 0
    before = cached(done).stat().st_mtime_ns, cached(done).stat().st_ino
    py_compile.compile(str(timed), invalidation_mode=py_compile.PycInvalidationMode.TIMESTAMP)
    assert not bytecode.is_compiled(timed)
    assert compiled("venv", str(tmp_path)) == 0
    assert (cached(done).stat().st_mtime_ns, cached(done).stat().st_ino) == before
    assert bytecode.is_compiled(timed)


def test_a_tree_is_named_as_the_root_that_it_will_be(tmp_path: Path) -> None:
    """Tracebacks show that name."""
    source = tmp_path / "srv" / "app" / "main.py"
    source.parent.mkdir(parents=True)
    source.write_text("x = 1\n", encoding="utf-8")
    assert compiled("tree", str(tmp_path)) == 0
    assert marshal.loads(cached(source).read_bytes()[HEADER:]).co_filename == "/srv/app/main.py"  # noqa: S302


def test_an_app_that_is_no_python_fails_the_build(tmp_path: Path) -> None:
    """Sooner than the service's start."""
    (tmp_path / "main.py").write_text("def\n", encoding="utf-8")
    assert compiled("tree", str(tmp_path)) == 1
