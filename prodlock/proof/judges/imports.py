"""Find the modules that a Python source imports, without importing or running it."""

from __future__ import annotations

import ast
import contextlib
import functools
import io
import itertools
import operator
import re
import tokenize
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

# Exceptions whose handler is reached where a module is missing.
_CAUGHT = {"ImportError", "ModuleNotFoundError", "Exception", "BaseException"}
# Functions that import the module that their first argument names.
_IMPORTING = {
    "__import__", "import_from_string", "import_module", "import_string", "locate", "resolve_name", "run_module",
}  # fmt: skip
# Functions that run the source that their first argument is.
_RUNNING = {"exec", "eval", "compile"}
# Functions that run a command line, and a module in one.
_STARTING = {
    "call",
    "check_call",
    "check_output",
    "create_subprocess_shell",
    "getoutput",
    "popen",
    "Popen",
    "run",
    "system",
}
# Functions whose arguments are the words of a command line.
_SPAWNING = {"create_subprocess_exec", "execl", "execle", "execlp", "execlpe", "spawnl", "spawnle", "spawnlp"}
_STARTED = re.compile(r"\bpython[\d.]*(?:\s+-[A-Za-ln-z]\S*)*\s+-[bBdEiIOPqsSuvx]*m\s*([\w.]+)")
# Keys whose value names a class or a function of a module, by its dotted name.
_FACTORIES = {"class", "()"}
_DOTTED = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+")
# Methods that return values of a dictionary, and `os.getenv`.
_OF_DICT = {"get", "getenv", "items", "pop", "values"}
_ENDING = {"exit", "_exit", "quit"}
# The version of Python, or a part of it, and how it is compared.
_VERSION = re.compile(r"(?:sys\.)?version_info(?P<part>\[0\]|\.major|\[:2\])?")
_COMPARED: Mapping[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.GtE: operator.ge,
    ast.Gt: operator.gt,
}  # fmt: skip
# Variables that are true for type checkers alone.
_TYPING = {"TYPE_CHECKING", "MYPY"}
# What each image has: its system, and at least this Python.
_SYSTEM = {
    "sys.platform": "linux", "os.name": "posix", "platform.system()": "Linux", "sys.implementation.name": "cpython",
    "platform.python_implementation()": "CPython",
}  # fmt: skip
_PYTHONS = [(3, minor, 0) for minor in range(11, 100)]
_ASSIGNING = (ast.Assign, ast.AnnAssign, ast.NamedExpr)
# A format without widths, which may be immense.
_PLAIN_FORM = re.compile(r"(?:[^%{}]|%s|\{\w*\})*")
# How many texts one expression may stand for.
_MOST_TEXTS = 100
# Exceptions of `ast.parse` for sources that it can't parse.
_UNPARSABLE = (SyntaxError, ValueError, RecursionError, MemoryError, LookupError)


class Import(NamedTuple):
    """A module that a source imports, by its dotted name, and where."""

    name: str
    line: int
    # Names that are taken from it: each may be a module of its own.
    members: tuple[str, ...] = ()


def imported(source: bytes | str) -> list[Import]:
    """Return the modules that a source needs when it runs.

    Modules that only a type checker reads, modules whose absence the source handles, and relative imports are left out.
    A source that this interpreter can't parse, since it is newer or broken, is read by its tokens or its lines.
    """
    for form in (_unchanged, _skeleton):
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


def _unchanged(source: bytes | str) -> bytes | str:
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
                _write(lines, logical, depth)
                logical = []
            elif token.type not in {tokenize.COMMENT, tokenize.NL, tokenize.ENDMARKER}:
                logical.append(token)
    except (tokenize.TokenError, IndentationError) as error:
        raise SyntaxError(*error.args[:1]) from None
    return "\n".join(lines)


def _write(lines: list[str], logical: list[tokenize.TokenInfo], depth: int) -> None:
    """Write a logical line, reduced, at its line number in the source."""
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
        # Its calls count, if it can be parsed.
        reduced = joined if "\n" not in joined and _parses(joined) else "pass"
    if reduced.endswith(": ") and words[-1] != ":":
        # Its body follows in the same line.
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


# Top-level modules that are present where a statement is reached; EVERY: any module that it imports.
_Modules = frozenset[str]
_NONE: _Modules = frozenset()
_EVERY: _Modules = frozenset({"*"})
# The same in a `try` or a `with`, but not in the functions that are defined there: they run later.
_MEANWHILE: _Modules = frozenset({"?"})


class _Reader:
    """Reads the statements of one source."""

    def __init__(self, tree: ast.Module) -> None:
        nodes = list(ast.walk(tree))
        # The names of `importlib.import_module` and `typing.TYPE_CHECKING` in this source.
        self._importing, self._typing = set(_IMPORTING), set(_TYPING)
        for node in nodes:
            for alias in node.names if isinstance(node, ast.ImportFrom) else ():
                for known in (self._importing, self._typing):
                    if alias.name in known and alias.asname:
                        known.add(alias.asname)
        assigned = [(name, node) for node in nodes if isinstance(node, _ASSIGNING) for name in _targets(node)]
        self._importing |= {name for name, node in assigned if node.value and _last_name(node.value) in _IMPORTING}
        self._importing |= {
            node.name
            for node in nodes
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and self._passes(node)
        }
        # The texts of each name that is assigned once.
        bound = Counter(name for node in nodes for name in _bound(node))
        self._texts: dict[str, list[str]] = {}
        for name, value in (*((name, node.value) for name, node in assigned), *_iterated(nodes), *_defaults(nodes)):
            if value and bound[name] == 1 and (texts := self._strings(value)):
                self._texts[name] = texts
        # Exceptions whose handler is reached where a module is missing, also by a name for several.
        self._caught = _CAUGHT | {name for name, node in assigned if node.value and _kinds(node.value) & _CAUGHT}
        # Variables that are false where modules are absent.
        self._flags: dict[str, _Modules] = {}
        # Functions that look for a module.
        self._searching = {"find_spec"}
        self._searching |= {node.name for node in nodes if isinstance(node, ast.FunctionDef) and self._searches(node)}
        for node in nodes:
            if isinstance(node, ast.Try | ast.TryStar) and any(map(self._handles_absence, node.handlers)):
                stored = (name for handler in node.handlers for part in handler.body for name in _stored(part))
                sure = (name for part in node.body if _is_true(part) for name in _stored(part))
                self._flags |= dict.fromkeys([*stored, *sure], _tops(node.body))
        self._flags |= {
            name: there for name, node in assigned if node.value and (there := self._present(node.value)[0])
        }

    def read(self, nodes: Iterable[ast.AST], present: _Modules = _NONE) -> Iterator[Import]:
        """Yield what statements or expressions import, without the modules that are present where these are reached."""
        for node in nodes:
            if isinstance(node, ast.If | ast.IfExp):
                yield from self._branches(node, present)
                if isinstance(node, ast.If) and _leaves(node.body):
                    present |= self._present(node.test)[1]
            elif isinstance(node, ast.Try | ast.TryStar):
                handling = [handler for handler in node.handlers if self._handles_absence(handler)]
                known = _tops(node.body) if handling else _NONE
                yield from self.read(node.body, present | (_MEANWHILE if handling else _NONE))
                yield from self.read(node.handlers, present)
                yield from self.read(node.orelse, present | known)
                yield from self.read(node.finalbody, present)
                if all(_leaves(handler.body) for handler in handling):
                    present |= known
            elif isinstance(node, ast.With | ast.AsyncWith):
                yield from self.read(node.items, present)
                suppressed = any(_suppresses_absence(item.context_expr) for item in node.items)
                yield from self.read(node.body, present | (_MEANWHILE if suppressed else _NONE))
            elif isinstance(node, ast.BoolOp):
                # `find_spec("a") and import_module("a")`
                decided = present
                for value in node.values:
                    yield from self.read([value], decided)
                    decided |= self._present(value)[isinstance(node.op, ast.Or)]
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                # Its body runs later, outside of the `try` that it is defined in.
                yield from self.read(ast.iter_child_nodes(node), present - _MEANWHILE)
            else:
                found = self._imports(node)
                yield from (one for one in found if not (_EVERY | _MEANWHILE | {_top(one.name)}) & present)
                yield from self.read(ast.iter_child_nodes(node), present)

    def _branches(self, node: ast.If | ast.IfExp, present: _Modules) -> Iterator[Import]:
        body, orelse = ([part] if isinstance(part, ast.expr) else part for part in (node.body, node.orelse))
        runs = self._runs(node.test)
        there, there_otherwise = self._present(node.test)
        yield from self.read([node.test], present)
        if runs is not False:
            yield from self.read(body, present | there)
        if runs is not True:
            yield from self.read(orelse, present | there_otherwise)

    def _present(self, test: ast.expr) -> tuple[_Modules, _Modules]:
        """Return the modules that are present where a condition is true, and where it is false.

        It may look for them (`find_spec("x")`, `"x" in sys.modules`), or be a variable that depends on such a search.
        """
        there, absent = _NONE, _NONE
        if isinstance(test, ast.Name):
            there = self._flags.get(test.id, _NONE)
        elif isinstance(test, ast.NamedExpr):
            there, absent = self._present(test.value)
        elif isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
            absent, there = self._present(test.operand)
        elif isinstance(test, ast.BoolOp):
            held, failed = zip(*map(self._present, test.values), strict=True)
            there, absent = _NONE.union(*held), functools.reduce(_common, failed)
            if isinstance(test.op, ast.Or):
                there, absent = functools.reduce(_common, held), _NONE.union(*failed)
        elif isinstance(test, ast.Compare):
            there, absent = self._compared(test)
        elif isinstance(test, ast.Call):
            called = test.func
            of = _last_name(called.value) if isinstance(called, ast.Attribute) else ""
            there = _EVERY if _last_name(called) in self._searching or of == "modules" else _NONE
            if _last_name(called) == "bool" and test.args:
                there, absent = self._present(test.args[0])
        return there, absent

    def _compared(self, test: ast.Compare) -> tuple[_Modules, _Modules]:
        """Return the same as `_present` for a comparison."""
        operator, other = test.ops[0], test.comparators[0]
        there, absent = _NONE, _NONE
        if _last_name(other) == "modules":
            there = _EVERY
        elif isinstance(other, ast.Constant) and other.value is None:
            absent, there = self._present(test.left)
            if isinstance(operator, ast.IsNot | ast.NotEq):
                there, absent = absent, there
        return (absent, there) if isinstance(operator, ast.NotIn) else (there, absent)

    def _handles_absence(self, handler: ast.ExceptHandler) -> bool:
        """Return whether an `except` catches that a module is missing, and goes on."""
        caught = handler.type is None or _kinds(handler.type) & self._caught
        return bool(caught) and not any(_ends(statement) for statement in handler.body)

    def _searches(self, function: ast.FunctionDef) -> bool:
        """Return whether a function returns whether a module is present: by a search for it, or by a handled import."""
        nodes = list(ast.walk(function))
        returned = [node.value for node in nodes if isinstance(node, ast.Return) and node.value]
        absent = any(
            isinstance(node, ast.ExceptHandler) and self._handles_absence(node) and any(map(_is_false, node.body))
            for node in nodes
        )
        return absent or any(self._present(value)[0] for value in returned)

    def _runs(self, test: ast.expr) -> bool | None:
        """Return whether a branch runs in production, outside of a type checker, or None where that is not known."""
        if isinstance(test, ast.Constant):
            return bool(test.value)
        if isinstance(test, ast.Compare | ast.Call):
            return _of_platform(test)
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
        elif isinstance(node, ast.Call):
            yield from self._called(node)
        elif isinstance(node, ast.Dict):
            # `{"class": "a.Handler"}`, as logging.config reads it.
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and key.value in _FACTORIES:
                    yield from (Import(text, node.lineno) for text in self._strings(value) if _DOTTED.fullmatch(text))
        elif isinstance(node, ast.List | ast.Tuple):
            # `[sys.executable, "-m", "a"]`
            words = [one.value if isinstance(one, ast.Constant) else None for one in node.elts]
            named = words[words.index("-m") + 1 :][:1] if "-m" in words else []
            yield from (Import(word, node.lineno) for word in named if isinstance(word, str))

    def _called(self, node: ast.Call) -> Iterator[Import]:
        """Yield what a call imports or runs."""
        called = _last_name(node.func)
        if called in _SPAWNING:
            yield from self._imports(ast.Tuple(node.args, lineno=node.lineno))
        for text in self._given(node, 0, "name", "mod_name"):
            if called in self._importing:
                packages = self._given(node, 1, "package") if text.startswith(".") else [""]
                names = (_absolute(text.partition(":")[0], package) for package in packages)
                yield from (Import(name, node.lineno) for name in names if name)
            elif called in _RUNNING and "import" in text:
                yield from (found._replace(line=node.lineno) for found in imported(text))
            elif called in _STARTING and (started := _STARTED.search(text)):
                yield Import(started[1], node.lineno)
        # `map(import_module, NAMES)`
        given = [_last_name(one) in self._importing for one in node.args]
        for text in self._strings(ast.Tuple(node.args[given.index(True) + 1 :])) if any(given) else ():
            yield Import(text, node.lineno)

    def _passes(self, function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
        """Return whether a function imports the module that its first argument names."""
        names = [one.arg for one in (*function.args.posonlyargs, *function.args.args)]
        first = names[1:2] if names[:1] in (["self"], ["cls"]) else names[:1]
        calls = (node for node in ast.walk(function) if isinstance(node, ast.Call) and node.args)
        return any(_last_name(one.func) in self._importing and [_last_name(one.args[0])] == first for one in calls)

    def _given(self, call: ast.Call, position: int, *names: str) -> list[str]:
        """Return the texts that an argument of a call may be, by its position or its names."""
        given = [*call.args[position : position + 1], *(one.value for one in call.keywords if one.arg in names)]
        return self._strings(given[0]) if given else []

    def _strings(self, node: ast.expr) -> list[str]:
        """Return the texts that an expression of constants may be."""
        if isinstance(node, ast.Constant):
            return [node.value] if isinstance(node.value, str) else []
        if isinstance(node, ast.Name):
            return self._texts.get(node.id, [])
        if several := _several(node):
            return [text for one in several for text in self._strings(one)]
        if isinstance(node, ast.Call | ast.BinOp) and (formatted := self._formatted(node)):
            return formatted
        parts: list[ast.expr] = []
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            parts = [node.left, node.right]
        elif isinstance(node, ast.JoinedStr):
            parts = [part.value if isinstance(part, ast.FormattedValue) else part for part in node.values]
        texts = [self._strings(part) for part in parts] or [[]]
        # Few names consist of many texts.
        return ["".join(words) for words in itertools.islice(itertools.product(*texts), _MOST_TEXTS)]

    def _formatted(self, node: ast.Call | ast.BinOp) -> list[str]:
        """Return the texts that `"%s" % x`, `"{}".format(x)` and `".".join([x])` may be."""
        if isinstance(node, ast.BinOp):
            if not isinstance(node.op, ast.Mod):
                return []
            form, given, names = node.left, _several(node.right) or [node.right], []
        elif isinstance(node.func, ast.Attribute) and node.func.attr in {"format", "join"}:
            form, names = node.func.value, [str(one.arg) for one in node.keywords]
            given = [*node.args, *(one.value for one in node.keywords)]
            given = _several(given[0]) if node.func.attr == "join" and given else given
        else:
            return []
        texts = []
        for text, *words in itertools.islice(itertools.product(*map(self._strings, (form, *given))), _MOST_TEXTS):
            plain = words[: len(words) - len(names)]
            if not _PLAIN_FORM.fullmatch(text):
                continue
            with contextlib.suppress(AttributeError, IndexError, KeyError, TypeError, ValueError):
                if isinstance(node, ast.BinOp):
                    texts.append(text % tuple(words))
                elif isinstance(node.func, ast.Attribute) and node.func.attr == "join":
                    texts.append(text.join(words))
                else:
                    texts.append(text.format(*plain, **dict(zip(names, words[len(plain) :], strict=True))))
        return texts


def _of_platform(test: ast.Compare | ast.Call) -> bool | None:
    """Return whether a condition on the system, or on Python's version, holds in each image; None for another one."""
    if isinstance(test, ast.Call):
        # `sys.platform.startswith("win")`
        called, given = test.func, _literal(test.args[0]) if test.args else None
        system = _SYSTEM.get(ast.unparse(called.value)) if isinstance(called, ast.Attribute) else None
        starts: tuple[object, ...] = given if isinstance(given, tuple) else (given,)
        is_known = system and _last_name(called) == "startswith" and all(isinstance(one, str) for one in starts)
        return any(str(system).startswith(str(one)) for one in starts) if is_known else None
    if len(test.ops) != 1:
        return None
    left, right = ast.unparse(test.left), _literal(test.comparators[0])
    if version := _VERSION.fullmatch(left):
        return _of_version(version["part"], test.ops[0], right)
    return _of_system(_SYSTEM.get(left), test.ops[0], right)


def _of_version(part: str | None, operator: ast.cmpop, other: object) -> bool | None:
    """Return whether a comparison of a part of Python's version holds in each image, or None for another one."""
    compare = _COMPARED.get(type(operator)) if isinstance(other, tuple | int) else None
    parts: Mapping[str | None, Sequence[object]] = {
        None: _PYTHONS, "[0]": [3], ".major": [3], "[:2]": [one[:2] for one in _PYTHONS],
    }  # fmt: skip
    try:
        # As Python compares tuples: (3, 11, 0) is greater than (3, 11).
        held = {compare(one, other) for one in parts[part]} if compare else set()
    except TypeError:
        return None
    return held.pop() if len(held) == 1 else None


def _of_system(system: str | None, operator: ast.cmpop, other: object) -> bool | None:
    """Return whether a comparison of the system's name holds, or None for another one."""
    if system is None or not isinstance(other, str | tuple | list | set):
        return None
    if isinstance(operator, ast.Eq | ast.NotEq):
        return (system == other) == isinstance(operator, ast.Eq)
    return (system in other) == isinstance(operator, ast.In) if isinstance(operator, ast.In | ast.NotIn) else None


def _literal(node: ast.expr) -> object:
    """Return the value of a literal, or None for another expression."""
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, MemoryError, RecursionError):
        return None


def _several(node: ast.expr) -> list[ast.expr]:
    """Return the expressions of which a value is one, or is made: of a literal, a look-up in one, a condition."""
    found: list[ast.expr] = []
    if isinstance(node, ast.Tuple | ast.List | ast.Set):
        found = node.elts
    elif isinstance(node, ast.Dict | ast.BoolOp):
        found = node.values
    elif isinstance(node, ast.IfExp):
        found = [node.body, node.orelse]
    elif isinstance(node, ast.Subscript):
        found = [node.value]
    elif isinstance(node, ast.Attribute) and _last_name(node.value) in {"self", "cls"}:
        found = [ast.Name(node.attr, ast.Load())]
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _OF_DICT:
        found = [node.func.value, *node.args[1:]]
    return found


def _absolute(name: str, package: str) -> str:
    """Return the dotted name of a module that may be relative to a package, `` where it leads out of it."""
    rest = name.lstrip(".")
    up = len(name) - len(rest)
    if not up:
        return name
    above = package.split(".")[: len(package.split(".")) - up + 1]
    return ".".join(filter(None, (*above, rest))) if above else ""


def _common(one: _Modules, other: _Modules) -> _Modules:
    """Return the modules that both have."""
    return other if "*" in one else one if "*" in other else one & other


def _top(name: str) -> str:
    return name.partition(".")[0]


def _tops(nodes: Iterable[ast.AST]) -> _Modules:
    """Return the top-level modules that statements import."""
    found = set()
    for node in (inner for outer in nodes for inner in ast.walk(outer)):
        if isinstance(node, ast.Import):
            found |= {_top(alias.name) for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(_top(node.module))
    return frozenset(found)


def _leaves(body: Sequence[ast.stmt]) -> bool:
    """Return whether a block leaves its function or loop."""
    return bool(body) and isinstance(body[-1], ast.Return | ast.Continue | ast.Break)


def _targets(node: ast.Assign | ast.AnnAssign | ast.NamedExpr) -> list[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _iterated(nodes: Iterable[ast.AST]) -> Iterator[tuple[str, ast.expr]]:
    """Yield the variable of each loop over a literal, and the literal."""
    for node in nodes:
        if isinstance(node, ast.For | ast.AsyncFor | ast.comprehension) and isinstance(node.target, ast.Name):
            yield node.target.id, node.iter
        elif isinstance(node, ast.For | ast.AsyncFor | ast.comprehension) and isinstance(node.target, ast.Tuple):
            # Of `{...}.items()` the last one is the value.
            yield _last_name(node.target.elts[-1]), node.iter


def _defaults(nodes: Iterable[ast.AST]) -> Iterator[tuple[str, ast.expr]]:
    """Yield each parameter that has a default, and the default."""
    for node in nodes:
        if isinstance(node, ast.arguments):
            plain = [*node.posonlyargs, *node.args]
            pairs = zip(
                (*plain[len(plain) - len(node.defaults) :], *node.kwonlyargs),
                (*node.defaults, *node.kw_defaults),
                strict=True,
            )
            yield from ((one.arg, default) for one, default in pairs if default)


def _bound(node: ast.AST) -> list[str]:
    """Return the names that a node binds."""
    if isinstance(node, ast.Name):
        return [] if isinstance(node.ctx, ast.Load) else [node.id]
    if isinstance(node, ast.alias):
        return [node.asname or _top(node.name)]
    name = getattr(node, "arg" if isinstance(node, ast.arg) else "name", None)
    return [name] if isinstance(name, str) else []


def _stored(node: ast.AST) -> Iterator[str]:
    """Yield the names that a statement assigns."""
    for inner in ast.walk(node):
        yield from _targets(inner) if isinstance(inner, _ASSIGNING) else ()


def _is_true(node: ast.AST) -> bool:
    """Return whether a statement is `NAME = True`."""
    return isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and node.value.value is True


def _is_false(node: ast.AST) -> bool:
    """Return whether a statement is `return False`, or `return None`."""
    if not isinstance(node, ast.Return):
        return False
    return node.value is None or (isinstance(node.value, ast.Constant) and not node.value.value)


def _last_name(node: ast.AST) -> str:
    """Return the name of a variable, the last of `a.b.c`, or the one that `getattr` takes."""
    if isinstance(node, ast.Call) and _last_name(node.func) == "getattr" and len(node.args) > 1:
        return (
            node.args[1].value if isinstance(node.args[1], ast.Constant) and isinstance(node.args[1].value, str) else ""
        )
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def _kinds(node: ast.expr | None) -> set[str]:
    """Return the names of the exceptions in a tuple, or of one."""
    return {_last_name(kind) for kind in (node.elts if isinstance(node, ast.Tuple) else [node]) if kind}


def _ends(statement: ast.stmt) -> bool:
    """Return whether a statement raises, or ends the process."""
    call = statement.value if isinstance(statement, ast.Expr) else None
    return isinstance(statement, ast.Raise) or (isinstance(call, ast.Call) and _last_name(call.func) in _ENDING)


def _suppresses_absence(expression: ast.expr) -> bool:
    """Return whether a `with` is `contextlib.suppress(ImportError)`."""
    is_suppress = isinstance(expression, ast.Call) and _last_name(expression.func) == "suppress"
    return is_suppress and any(_last_name(kind) in _CAUGHT for kind in getattr(expression, "args", ()))
