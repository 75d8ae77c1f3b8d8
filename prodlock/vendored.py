"""Copy what a build and production need of Prodlock into a project's folder `prodlock`, and compare the copy.

So a bare `docker build .` works in a clone, and the same commit gives the same image. Python files are copied without
comments and docstrings: the installed package has the readable source.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

from prodlock import __version__
from prodlock.configuration import Configuration
from prodlock.failure import CANNOT_CHECK, Failure
from prodlock.project import Project

FOLDER = "prodlock"
VERSION = f"{FOLDER}/VERSION"
# ruff reads it for the files of its folder (https://docs.astral.sh/ruff/configuration/#config-file-discovery).
LINTERS = f"{FOLDER}/ruff.toml"
# The generated files as they were written: the base of the next merge.
BASE = f"{FOLDER}/base.json"
PACKAGE = Path(__file__).parent
HEADER = "# Prodlock wrote this file, and the checks compare it: do not edit it.\n"
# The folders that belong to Prodlock as a whole.
OWNED = (f"{FOLDER}/inside", f"{FOLDER}/server")
_PROGRAMS = ("inside/bytecode.py", "inside/collect.py", "inside/install.py", "inside/packages.sh", "inside/uv.txt")
# The module of the lock's format, by the end of the lock's name.
_FORMATS = {"poetry.lock": "poetry", "uv.lock": "uv", ".toml": "pylock", ".txt": "requirements"}
_ALL_FORMATS = set(_FORMATS.values())
# Tokens that are not code.
_NO_CODE = {
    tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER,
}  # fmt: skip


def files(configuration: Configuration) -> dict[str, str]:
    """Return the content of each vendored file by its path in the project."""
    copied = {f"{FOLDER}/{path}": _copied(PACKAGE / path) for path in sorted(_chosen(configuration))}
    return copied | {LINTERS: '# What ruff leaves out.\nexclude = ["*.py"]\n', VERSION: f"{__version__}\n"}


def _chosen(configuration: Configuration) -> Iterator[str]:
    """Yield the paths in the package of what the project needs."""
    yield from _PROGRAMS
    form = next(name for end, name in _FORMATS.items() if configuration.lock.endswith(end))
    for path in (PACKAGE / "inside/lock").glob("*.py"):
        if path.stem not in _ALL_FORMATS or path.stem == form:
            yield path.relative_to(PACKAGE).as_posix()
    if configuration.server:
        yield "server/healthcheck.py"
    else:
        yield from (path.relative_to(PACKAGE).as_posix() for path in (PACKAGE / "server").glob("*.py"))


def _copied(path: Path) -> str:
    text = path.read_text(encoding="utf-8")
    return HEADER + compact(text) if path.suffix == ".py" else text


def compact(source: str) -> str:
    """Return Python source without lines of comments, docstrings and blank lines. Its code is unchanged."""
    code: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in _NO_CODE:
            code.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            # A body needs another statement.
            is_needed = len(node.body) == 1 and not isinstance(node, ast.Module)
            if isinstance(first, ast.Expr) and ast.get_docstring(node, clean=False) is not None and not is_needed:
                code.difference_update(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    lines = source.splitlines(keepends=True)
    return "".join(line for number, line in enumerate(lines, 1) if number in code)


def check(project: Project) -> None:
    """Raise Failure, code 2, where the vendored files are not those of the installed version."""
    if project.is_own:
        return
    expected = files(project.configuration)
    written = version(project.root)
    if written and written != __version__:
        raise Failure(
            f"{FOLDER}/ must be of the installed Prodlock {__version__} (got {written}). To fix it: run `prodlock "
            f"upgrade`, or install Prodlock {written}.",
            CANNOT_CHECK,
        )
    present = {path.relative_to(project.root).as_posix() for path in of_project(project.root)}
    for path in sorted(expected.keys() | present):
        held = _text(project.root / path) if path in present else None
        if held != expected.get(path):
            found = "no such file" if held is None else "another file" if path in expected else "a file that it lacks"
            raise Failure(
                f"{path} must be that of Prodlock {__version__} (got {found}). To fix it: run `prodlock upgrade`.",
                CANNOT_CHECK,
            )


def version(root: Path) -> str:
    """Return the version that wrote the vendored files, or an empty string where there are none."""
    text = _text(root / VERSION).strip()
    return text if re.fullmatch(r"[0-9A-Za-z.+-]{1,40}", text) else ""


def of_project(root: Path) -> Iterator[Path]:
    """Yield the files in a project's folders that belong to Prodlock, without bytecode."""
    for folder in (root / name for name in OWNED):
        yield from (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    yield from (root / name for name in (LINTERS, VERSION) if (root / name).is_file())


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
