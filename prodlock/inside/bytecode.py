"""Compile to bytecode, the same every time, in a build step.

    python -S bytecode.py stdlib         the standard library, which the official image brings as source alone
    python -S bytecode.py venv FOLDER    what a virtual environment has that is not compiled yet
    python -S bytecode.py tree FOLDER    a folder that will be the root, with the permissions that files have there

No source changes after the build: no start has to look whether one has (PEP 552, unchecked). -S, because what a process
has compiled before shows in the bytecode (https://github.com/python/cpython/issues/129724), and a package can have
itself imported at every start, by a .pth file.
"""

from __future__ import annotations

import compileall
import os
import re
import sys
import sysconfig
from collections.abc import Callable, Iterable
from importlib.util import MAGIC_NUMBER, cache_from_source
from pathlib import Path
from py_compile import PycInvalidationMode

MODE = PycInvalidationMode.UNCHECKED_HASH
# How bytecode of that mode begins.
COMPILED = MAGIC_NUMBER + (1).to_bytes(4, "little")
# Of the standard library: nothing of these runs in an image.
UNUSED = re.compile(r"/(config-.*|ensurepip|idlelib|lib2to3|pydoc_data|site-packages|test|tests|tkinter|turtledemo)/")
# How many files one process compiles.
PORTION = 100


def stdlib() -> bool:
    """Compile the standard library, and return whether all of it could be."""
    sources = Path(sysconfig.get_path("stdlib")).rglob("*.py")
    return in_portions([source for source in sources if not UNUSED.search(str(source))], quiet=1)


def venv(folder: str) -> bool:
    """Compile the packages. What is no valid Python, a wheel's templates say, stays uncompiled."""
    sources = Path(folder, "lib").rglob("*.py")
    in_portions([source for source in sources if not is_compiled(source)], quiet=2)
    return True


def tree(folder: str) -> bool:
    """Compile a tree, whose tracebacks name files by their later paths, and return whether all of it could be.

    Removes empty folders, which git does not have, and sets permissions, which the checkout decides.
    """
    done = compileall.compile_dir(folder, quiet=1, stripdir=folder, prependdir="/", invalidation_mode=MODE)
    # What is in a folder comes before the folder.
    for path in [*sorted(Path(folder).rglob("*"), reverse=True), Path(folder)]:
        if path.is_symlink():
            continue
        path.chmod(0o755 if path.is_dir() else 0o644)
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()
    return bool(done)


def is_compiled(source: Path) -> bool:
    """Return whether a source has bytecode as it is made here."""
    bytecode = Path(cache_from_source(str(source)))
    if not bytecode.exists():
        return False
    with bytecode.open("rb") as file:
        return file.read(len(COMPILED)) == COMPILED


def in_portions(sources: Iterable[Path], quiet: int) -> bool:
    """Compile files on all cores, and return whether all of them could be.

    Each portion in a process that begins in the same state.
    """
    ordered = sorted(sources)
    cores = len(os.sched_getaffinity(0))
    running, codes = 0, []
    for start in range(0, len(ordered), PORTION):
        if running == cores:
            codes.append(os.wait()[1])
            running -= 1
        if not os.fork():
            sys.exit(not compile_all(ordered[start : start + PORTION], quiet))
        running += 1
    codes += [os.wait()[1] for _ in range(running)]
    return not any(codes)


def compile_all(sources: Iterable[Path], quiet: int) -> bool:
    """Compile files, and return whether all of them could be."""
    # By force: it would leave other bytecode that is as new as its source.
    done = [compileall.compile_file(source, quiet=quiet, force=True, invalidation_mode=MODE) for source in sources]
    return all(done)


COMMANDS: dict[str, Callable[..., bool]] = {"stdlib": stdlib, "venv": venv, "tree": tree}

if __name__ == "__main__":
    sys.exit(not COMMANDS[sys.argv[1]](*sys.argv[2:]))
