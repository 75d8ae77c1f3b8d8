"""Compile sources to reproducible bytecode, in a build step.

    python -S bytecode.py stdlib         the standard library, which the official image has as source alone
    python -S bytecode.py venv FOLDER    the modules of a virtual environment that are not compiled yet
    python -S bytecode.py tree FROM TO   a copy of a folder that becomes the root; also sets permissions and times

Sources do not change after the build, so that no import compares them with their bytecode (PEP 552, unchecked). `-S`,
because earlier compilations of a process show in the bytecode (https://github.com/python/cpython/issues/129724), and a
.pth file can import a package at every start.
"""

from __future__ import annotations

import compileall
import os
import re
import shutil
import sys
import sysconfig
from collections.abc import Callable, Iterable
from importlib.util import MAGIC_NUMBER, cache_from_source
from pathlib import Path
from py_compile import PycInvalidationMode

MODE = PycInvalidationMode.UNCHECKED_HASH
# The first bytes of bytecode of that mode.
COMPILED = MAGIC_NUMBER + (1).to_bytes(4, "little")
# The time of files in seconds since 1970: 1980, the first that a zip can have. One time gives one layer.
TIME = 315532800
# Folders of the standard library that no image uses.
UNUSED = re.compile(r"/(config-.*|ensurepip|idlelib|lib2to3|pydoc_data|site-packages|test|tests|tkinter|turtledemo)/")
# The number of files that one process compiles.
PORTION = 100


def stdlib() -> bool:
    """Compile the standard library, and return whether that succeeded."""
    sources = Path(sysconfig.get_path("stdlib")).rglob("*.py")
    return in_portions([source for source in sources if not UNUSED.search(str(source))], quiet=1)


def venv(folder: str) -> bool:
    """Compile the packages, and return True: files that are not valid Python, such as templates, stay uncompiled."""
    sources = Path(folder, "lib").rglob("*.py")
    in_portions([source for source in sources if not is_compiled(source)], quiet=2)
    return True


def tree(source: str, folder: str) -> bool:
    """Copy a tree and compile it, with the later paths of its files in tracebacks; return whether that succeeded.

    The copy has no empty folders, which git does not store, and no permissions and times of the checkout.
    """
    shutil.copytree(source, folder, symlinks=True)
    done = compileall.compile_dir(folder, quiet=1, stripdir=folder, prependdir="/", invalidation_mode=MODE)
    # The content of a folder comes before the folder.
    for path in [*sorted(Path(folder).rglob("*"), reverse=True), Path(folder)]:
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() else 0o644)
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()
                continue
        os.utime(path, (TIME, TIME), follow_symlinks=False)
    return bool(done)


def is_compiled(source: Path) -> bool:
    """Return whether a source has bytecode of this Python and this mode."""
    bytecode = Path(cache_from_source(str(source)))
    if not bytecode.exists():
        return False
    with bytecode.open("rb") as file:
        return file.read(len(COMPILED)) == COMPILED


def in_portions(sources: Iterable[Path], quiet: int) -> bool:
    """Compile files on all cores, and return whether that succeeded.

    Each portion is compiled by a process that begins in the same state.
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
    """Compile files, and return whether that succeeded."""
    # Without `force`, bytecode of another mode that is as new as its source would be kept.
    done = [compileall.compile_file(source, quiet=quiet, force=True, invalidation_mode=MODE) for source in sources]
    return all(done)


COMMANDS: dict[str, Callable[..., bool]] = {"stdlib": stdlib, "venv": venv, "tree": tree}

if __name__ == "__main__":
    sys.exit(not COMMANDS[sys.argv[1]](*sys.argv[2:]))
