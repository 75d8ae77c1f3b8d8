"""Copy what a build and production need of Prodlock into a project's folder `prodlock`, and compare the copy.

So a bare `docker build .` works in a clone, and the same commit gives the same image. Python files are copied without
comments and docstrings, in as few lines as possible: the installed package has the readable source.
"""

from __future__ import annotations

import ast
import base64
import binascii
import io
import itertools
import json
import re
import textwrap
import tokenize
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
BASE = f"{FOLDER}/BASE"
PACKAGE = Path(__file__).parent
# The folders that belong to Prodlock as a whole.
OWNED = (f"{FOLDER}/inside", f"{FOLDER}/server")
_PROGRAMS = ("inside/bytecode.py", "inside/collect.py", "inside/install.py", "inside/packages.sh", "inside/uv.txt")
# The module of the lock's format, by the end of the lock's name.
_FORMATS = {"poetry.lock": "poetry", "uv.lock": "uv", ".toml": "pylock", ".txt": "requirements"}
_ALL_FORMATS = set(_FORMATS.values())
# Tokens that are not code.
_NO_CODE = {tokenize.COMMENT, tokenize.NL, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
_OPENING, _CLOSING = {"(", "[", "{"}, {")", "]", "}"}
_IMPORT = re.compile(r"import [\w.]+")
# How a statement begins that can't follow the head of a block in its line (https://docs.python.org/3/reference/compound_stmts.html).
_COMPOUND = re.compile(r"\s*(?:@|(?:async|class|def|for|if|match|try|while|with)\b)")


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
    return compact(text) if path.suffix == ".py" else text


def compact(source: str) -> str:
    """Return Python source without comments, docstrings and blank lines, with at most one line for each statement.

    The result depends on the source alone, not on the version of Python that runs this.
    """
    rows = source.splitlines(keepends=True)
    docstrings = _docstrings(source)
    compacted, line = [], ""
    previous: tokenize.TokenInfo | None = None
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in _NO_CODE:
            continue
        (row, column), (last_row, last_column) = token.start, token.end
        if token.type == tokenize.NEWLINE:
            if line.strip():
                compacted.append(line.rstrip())
            line, previous = "", None
            continue
        if previous is None:
            line = rows[row - 1][:column]
        elif previous.end[0] == row:
            line += rows[row - 1][previous.end[1] : column]
        elif previous.string not in _OPENING and token.string not in _CLOSING:
            line += " "
        if token.start not in docstrings:
            text = "".join(rows[row - 1 : last_row])
            line += text[column : len(text) - len(rows[last_row - 1]) + last_column]
        previous = token
    return "".join(f"{line}\n" for line in _merged(_joined(compacted)))


def _joined(statements: Sequence[str]) -> Iterator[str]:
    """Yield statements and heads of blocks; a statement that is alone in its block follows the head in its line."""
    depths = [*(len(one) - len(one.lstrip()) for one in statements), 0]
    is_joined = False
    for number, head in enumerate(statements):
        if is_joined:
            is_joined = False
            continue
        body = "".join(statements[number + 1 : number + 2])
        is_joined = head.endswith(":") and depths[number + 2] < depths[number + 1] and not _COMPOUND.match(body)
        yield f"{head} {body.lstrip()}" if is_joined else head


def _merged(statements: Iterable[str]) -> Iterator[str]:
    """Yield statements; imports of modules that follow each other become one."""
    for are_imports, group in itertools.groupby(statements, lambda one: bool(_IMPORT.fullmatch(one))):
        lines = list(group)
        yield from [f"import {', '.join(line.removeprefix('import ') for line in lines)}"] if are_imports else lines


def _docstrings(source: str) -> set[tuple[int, int]]:
    """Return row and column of each docstring that is not the only statement of its body."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            needed = len(node.body) == 1 and not isinstance(node, ast.Module)
            if not needed and ast.get_docstring(node, clean=False) is not None:
                found.add((node.body[0].lineno, node.body[0].col_offset))
    return found


def packed(texts: Mapping[str, str]) -> str:
    """Return texts by their names as a compressed text."""
    content = zlib.compress(json.dumps(texts, sort_keys=True).encode(), 9)
    return "\n".join(textwrap.wrap(base64.b64encode(content).decode(), 120)) + "\n"


def unpacked(text: str) -> dict[str, str]:
    """Return the texts in a compressed text. Raises ValueError for another text."""
    try:
        texts = json.loads(zlib.decompress(base64.b64decode(text, validate=False)))
    except (zlib.error, binascii.Error) as error:
        raise ValueError(str(error)) from None
    if not isinstance(texts, dict) or not all(isinstance(one, str) for one in texts.values()):
        message = "not a table of texts"
        raise ValueError(message)
    return texts


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
    return text if re.fullmatch(r"[0-9][0-9A-Za-z.+-]{0,39}", text) else ""


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
