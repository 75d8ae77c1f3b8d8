"""Find what a Python source imports: pure functions, from a text to names. Nothing is imported or run."""

from __future__ import annotations

import ast
import io
import re
import tokenize
import warnings
from collections.abc import Iterable, Iterator
from typing import NamedTuple

# Exceptions whose handler is reached where a module is missing.
_CAUGHT = {"ImportError", "ModuleNotFoundError", "Exception", "BaseException"}
# Functions that import the module that their first argument names.
_IMPORTING = {"import_module", "__import__", "run_module", "resolve_name"}
# Functions that run the source that their first argument is.
_RUNNING = {"exec", "eval", "compile"}
_ENDING = {"exit", "_exit", "quit"}
# Variables that are true for type checkers alone.
_TYPING = {"TYPE_CHECKING", "MYPY"}
# Exceptions of `ast.parse`: what can't be parsed is no reason to end.
_UNPARSABLE = (SyntaxError, ValueError, RecursionError, MemoryError, LookupError)


class Import(NamedTuple):
    """A module that a source imports, by its dotted name, and where."""

    name: str
    line: int
    # Names that are taken from it: each may be a module of its own.
    members: tuple[str, ...] = ()


def imported(source: bytes | str) -> list[Import]:
    """Return the modules that a source needs when it runs.

    Not those that only a type checker reads, nor those whose absence the source handles. Relative imports are left out.
    A source that this interpreter can't parse, since it is newer or broken, is read by its tokens or its lines.
    """
    for form in (_as_it_is, _skeleton):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tree = ast.parse(form(source))
            return list(dict.fromkeys(_Reader(tree).read(tree.body)))
        except _UNPARSABLE:
            continue
    text = _text(source)
    return [
        Import(name, text.count("\n", 0, match.start("names")) + 1)
        for match in re.finditer(r"^[ \t]*(?:from|import)[ \t]+(?P<names>[\w., \t]+)", text, re.MULTILINE)
        for name in re.findall(r"(?:^|,)[ \t]*(\w[\w.]*)", match["names"])
    ]


def _as_it_is(source: bytes | str) -> bytes | str:
    return source


def _text(source: bytes | str) -> str:
    return source if isinstance(source, str) else source.decode(errors="replace")


def _skeleton(source: bytes | str) -> str:
    """Return the imports of a source and the blocks that they are in, without what a newer Python has added."""
    lines: list[str] = []
    logical: list[tokenize.TokenInfo] = []
    depth = 0
    reading = tokenize.generate_tokens(io.StringIO(_text(source).lstrip("\ufeff")).readline)
    try:
        for token in reading:
            if token.type == tokenize.INDENT:
                depth += 1
            elif token.type == tokenize.DEDENT:
                depth -= 1
            elif token.type == tokenize.NEWLINE:
                _lay(lines, logical, depth)
                logical = []
            elif token.type not in {tokenize.COMMENT, tokenize.NL, tokenize.ENDMARKER}:
                logical.append(token)
    except (tokenize.TokenError, IndentationError) as error:
        raise SyntaxError(*error.args[:1]) from None
    return "\n".join(lines)


def _lay(lines: list[str], logical: list[tokenize.TokenInfo], depth: int) -> None:
    """Lay a logical line, reduced, at the number that it has in the source."""
    if not logical:
        return
    words = [token.string for token in logical]
    first = words[1] if words[0] == "async" and len(words) > 1 else words[0]
    joined = " ".join(words)
    if first in {"import", "from"}:
        reduced = joined
    elif first in {"try", "else", "finally", "except", "if", "elif"}:
        body = joined.partition(":")[0]
        parsable = _parses(f"{body}: pass" if first == "if" else f"if {body.removeprefix('elif ')}: pass")
        keeps = first in {"try", "else", "finally", "except"} or parsable
        reduced = f"{body}: " if keeps else f"{first} 1: "
    elif first == "def":
        reduced = "def _(): "
    elif words[-1] == ":":
        reduced = "if 1: "
    else:
        # What it calls counts, if it can be parsed.
        reduced = joined if "\n" not in joined and _parses(joined) else "pass"
    if reduced.endswith(": ") and words[-1] != ":":
        # Its body stands in the same line.
        rest = joined.partition(":")[2].strip()
        reduced += rest if _parses(rest) else "pass"
    lines.extend([""] * max(0, logical[0].start[0] - 1 - len(lines)))
    lines.append(" " * depth + reduced.rstrip())


def _parses(text: str) -> bool:
    try:
        ast.parse(text)
    except _UNPARSABLE:
        return False
    return True


class _Reader:
    """Reads the statements of one source."""

    def __init__(self, tree: ast.Module) -> None:
        # What `importlib.import_module` and `typing.TYPE_CHECKING` are called here.
        self._importing, self._typing = set(_IMPORTING), set(_TYPING)
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    for known in (self._importing, self._typing):
                        if alias.name in known and alias.asname:
                            known.add(alias.asname)

    def read(self, nodes: Iterable[ast.AST], *, optional: bool = False) -> Iterator[Import]:
        """Give what statements or expressions import; nothing while that is `optional`, but for what runs later."""
        for node in nodes:
            if isinstance(node, ast.If | ast.IfExp):
                yield from self._branches(node, optional=optional)
            elif isinstance(node, ast.Try | ast.TryStar):
                handled = optional or any(_handles_absence(handler) for handler in node.handlers)
                yield from self.read(node.body, optional=handled)
                yield from self.read([*node.handlers, *node.orelse, *node.finalbody], optional=optional)
            elif isinstance(node, ast.With | ast.AsyncWith):
                yield from self.read(node.items, optional=optional)
                suppressed = any(_suppresses_absence(item.context_expr) for item in node.items)
                yield from self.read(node.body, optional=optional or suppressed)
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                # Its body runs later, outside of the `try` that it is defined in.
                yield from self.read(ast.iter_child_nodes(node))
            else:
                if not optional:
                    yield from self._imports(node)
                yield from self.read(ast.iter_child_nodes(node), optional=optional)

    def _branches(self, node: ast.If | ast.IfExp, *, optional: bool) -> Iterator[Import]:
        body, orelse = ([part] if isinstance(part, ast.expr) else part for part in (node.body, node.orelse))
        runs = self._runs(node.test)
        yield from self.read([node.test], optional=optional)
        if runs is not False:
            yield from self.read(body, optional=optional or _asks_for_module(node.test))
        if runs is not True:
            yield from self.read(orelse, optional=optional)

    def _runs(self, test: ast.expr) -> bool | None:
        """Return whether a branch runs outside of a type checker, or None where that is not known."""
        if isinstance(test, ast.Constant):
            return bool(test.value)
        if _last_name(test) in self._typing:
            return False
        if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
            runs = self._runs(test.operand)
            return None if runs is None else not runs
        if isinstance(test, ast.BoolOp):
            decisive = isinstance(test.op, ast.Or)
            parts = [self._runs(value) for value in test.values]
            return decisive if decisive in parts else None if None in parts else not decisive
        return None

    def _imports(self, node: ast.AST) -> Iterator[Import]:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            yield Import(node.module, node.lineno, tuple(alias.name for alias in node.names))
        elif isinstance(node, ast.Call) and (text := _first_text(node)):
            called = _last_name(node.func)
            if called in self._importing and not text.startswith("."):
                yield Import(text.partition(":")[0], node.lineno)
            elif called in _RUNNING and "import" in text:
                yield from (found._replace(line=node.lineno) for found in imported(text))


def _last_name(node: ast.AST) -> str:
    """Return the name of a variable, or the last of `a.b.c`."""
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def _first_text(call: ast.Call) -> str:
    """Return the first argument of a call, or the one called `name`, where that is a text."""
    given = [*call.args[:1], *(keyword.value for keyword in call.keywords if keyword.arg in {"name", "mod_name"})]
    return next((one.value for one in given if isinstance(one, ast.Constant) and isinstance(one.value, str)), "")


def _handles_absence(handler: ast.ExceptHandler) -> bool:
    """Return whether an `except` catches that a module is missing, and goes on."""
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    caught = any(kind is None or _last_name(kind) in _CAUGHT for kind in kinds)
    return caught and not any(_ends(statement) for statement in handler.body)


def _ends(statement: ast.stmt) -> bool:
    """Return whether a statement raises, or ends the process."""
    call = statement.value if isinstance(statement, ast.Expr) else None
    return isinstance(statement, ast.Raise) or (isinstance(call, ast.Call) and _last_name(call.func) in _ENDING)


def _suppresses_absence(expression: ast.expr) -> bool:
    """Return whether a `with` is `contextlib.suppress(ImportError)`."""
    is_suppress = isinstance(expression, ast.Call) and _last_name(expression.func) == "suppress"
    return is_suppress and any(_last_name(kind) in _CAUGHT for kind in getattr(expression, "args", ()))


def _asks_for_module(test: ast.expr) -> bool:
    """Return whether a condition asks if a module is there: `find_spec("x")`, `"x" in sys.modules`."""
    if isinstance(test, ast.UnaryOp):
        return False
    return any(
        _last_name(node) in {"find_spec", "modules"}
        for node in ast.walk(test)
        if isinstance(node, ast.Name | ast.Attribute)
    ) and not any(isinstance(node, ast.Is | ast.Eq | ast.NotIn) for node in ast.walk(test))
