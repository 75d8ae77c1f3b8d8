"""What a source imports, by its text."""

from __future__ import annotations

import pytest

from prodlock.proof.judges.imports import Import, imported


def names(source: bytes | str) -> list[str]:
    """Return the names of what a source imports."""
    return [found.name for found in imported(source)]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import a.b, c as d\nfrom e.f import g\ndef h():\n    import i", ["a.b", "c", "e.f", "i"]),
        ("import a, \\\n    b", ["a", "b"]),
        ("x = 1; import a", ["a"]),
        ("class A:\n    import a", ["a"]),
        ("if x:\n    import a\nelif y:\n    import b\nelse:\n    import c", ["a", "b", "c"]),
        ("async def f():\n    async with g:\n        import a", ["a"]),
        ("match x:\n    case 1:\n        import a", ["a"]),
        ("importlib.import_module('a.b')", ["a.b"]),
        ("import_module(name='a')", ["a"]),
        ("from importlib import import_module as load\nload('a')", ["importlib", "a"]),
        ("__import__('a')", ["a"]),
        ("x = lambda: __import__('a')", ["a"]),
        ("runpy.run_module('a')", ["a"]),
        ("pkgutil.resolve_name('a.b:c')", ["a.b"]),
        ("exec('import a')", ["a"]),
        ("if __name__ == '__main__':\n    import a", ["a"]),
        ("import_module('.a', 'app')", ["app.a"]),
        ("import_module('..a', package='b.c')", ["b.a"]),
        ("import_module('...a', 'b.c')\nimport_module('.a')\nimport_module('.a', __package__)", []),
        ("import_module(name)", []),
        ("NAME: str = 'a'\nimport_module(NAME)", ["a"]),
        ("def f(name):\n    import_module(name)\ndef g():\n    name = 'a'", []),
        ("import_module('a' + '.b')\nimport_module(f'c')\nimport_module(f'd.{e}')", ["a.b", "c"]),
        ("for name in ('a', 'b'):\n    import_module(name)\n[__import__(n) for n in ['c']]", ["a", "b", "c"]),
        ("load = importlib.import_module\nload('a')", ["a"]),
        ("getattr(importlib, 'import_module')('a')", ["a"]),
        ("list(map(import_module, ['a', 'b']))\npartial(import_module, 'c')()", ["a", "b", "c"]),
        ("ONES = {'x': 'a', 'y': 'b'}\nimport_module(ONES[x])\nimport_module({'z': 'c'}.get(x))", ["a", "b", "c"]),
        ("for key, name in {'x': 'a'}.items():\n    import_module(name)", ["a"]),
        ("for name in {'x': 'a'}.values():\n    import_module(name)", ["a"]),
        ("import_module('%s.%s' % ('a', 'b'))\nimport_module('{}.{x}'.format('c', x='d'))", ["a.b", "c.d"]),
        ("import_module('.'.join(['a', 'b']))", ["a.b"]),
        ("import_module(x or 'a')\nimport_module('b' if x else 'c')", ["a", "b", "c"]),
        ("class A:\n    name = 'a'\n    def f(self):\n        import_module(self.name)", ["a"]),
        ("def f(x, name='a', *, other='b'):\n    import_module(name)\n    import_module(other)", ["a", "b"]),
        ("def load(name):\n    return import_module(name)\nload('a')\nload(name='b')", ["a", "b"]),
        ("class A:\n    def load(self, name):\n        return import_module(name)\nA().load('a')", ["a"]),
        ("def load(x, name):\n    return import_module(name)\nload('a', y)", []),
        ("subprocess.run([sys.executable, '-m', 'a.b', '-q'])", ["a.b"]),
        ("os.execv(python, (python, '-m', 'a'))\nos.system('python3.13 -I -m b.c -q')", ["a", "b.c"]),
        ("os.system('python3 -Im a')", ["a"]),
        ("{'h': {'class': 'a.B', 'x': 'c.D'}, 'f': {'()': 'e.f.G'}, 'i': {'class': 'j'}, **k}", ["a.B", "e.f.G"]),
        ("x = 'python -m a'\nprint('python -m b')\nparser.add_argument('-m', 'c')\n['-m', d]", []),
        ("'{0.x}'.format('a')\nimport_module('{0.x}{'.format('a'))\nimport_module('%d' % 'a')", []),
        ("import_module('%999999999s' % 'a')\nimport_module('{:999999999}'.format('a'))", []),
        ("from . import a\nfrom .b import c\nfrom .. import d", []),
        ('"""import a"""\n# import b\nx = "import c"', []),
        ("find_spec('a')", []),
        ("import_string('a.b')\npydoc.locate('c')\nimport_from_string('d:e')", ["a.b", "c", "d"]),
        ("import_module(os.getenv('X', 'a'))", ["a"]),
        ("create_subprocess_exec(sys.executable, '-m', 'a')\nos.execlp('python', 'python', '-m', 'b')", ["a", "b"]),
    ],
)
def test_each_form_of_import_is_read(source: str, expected: list[str]) -> None:
    """Statements and calls with constants, wherever they stand; no relative ones, no texts."""
    assert names(source) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import a\nelse:\n    import b", ["typing", "b"]),
        ("if typing.TYPE_CHECKING:\n    import a", []),
        ("from typing import TYPE_CHECKING as T\nif T:\n    import a", ["typing"]),
        ("if not TYPE_CHECKING:\n    import a\nelse:\n    import b", ["a"]),
        ("if TYPE_CHECKING and x:\n    import a", []),
        ("if TYPE_CHECKING or x:\n    import a", ["a"]),
        ("if x:\n    pass\nelif TYPE_CHECKING:\n    import a\nelse:\n    import b", ["b"]),
        ("x = __import__('a') if TYPE_CHECKING else __import__('b')", ["b"]),
        ("if False:\n    import a", []),
        ("if True:\n    import a\nelse:\n    import b", ["a"]),
        ("MYPY = False\nif MYPY:\n    import a", []),
        ("if sys.platform == 'win32':\n    import a\nelif os.name != 'nt':\n    import b\nelse:\n    import c", ["b"]),
        (
            "if platform.system() in ('x', 'y'):\n    import a\nif sys.platform.startswith('win'):\n    import b",
            [],
        ),
        ("if sys.version_info >= (3, 11):\n    import a\nelse:\n    import b", ["a"]),
        ("if sys.version_info < (3, 13):\n    import a\nelse:\n    import b", ["a", "b"]),
        ("if sys.version_info < (3,) or sys.version_info[:2] < (3, 9):\n    import a", []),
        ("if sys.platform == x or sys.version_info > (3, 8) or x.startswith('win'):\n    import a", ["a"]),
        ("if 'linux' == sys.platform or sys.platform.startswith(x) or sys.platform in 3:\n    import a", ["a"]),
        ("if sys.platform.startswith(('x', 1)) or os.name == 'x' == y or sys.version_info < 3:\n    import a", ["a"]),
        ("if sys.version_info < ('a',) or sys.version_info[0] < 3:\n    import a", ["a"]),
        ("if sys.version_info[0] < 3 or sys.version_info.major == 2:\n    import a", []),
        ("if sys.version_info <= (3, 10) or sys.version_info[:2] <= (3, 10):\n    import a", []),
        ("if version_info > (3, 10):\n    import a\nelse:\n    import b", ["a"]),
        ("if sys.version_info[:2] == (3, 12):\n    import a\nif sys.version_info == x:\n    import b", ["a", "b"]),
        ("if sys.platform.startswith(('win', 'cygwin')):\n    import a\nelse:\n    import b", ["b"]),
        ("if platform.python_implementation() == 'PyPy' or sys.implementation.name != 'cpython':\n    import a", []),
    ],
)
def test_what_no_image_runs_is_left_out(source: str, expected: list[str]) -> None:
    """What is for a type checker, another system or an older Python: the other branch runs."""
    assert names(source) == expected


@pytest.mark.parametrize(
    "handler",
    [
        "ImportError", "ModuleNotFoundError", "Exception", "BaseException", "(OSError, ImportError)",
        "builtins.ImportError", "ImportError as error", "",
    ],
)  # fmt: skip
def test_an_import_whose_failure_is_handled_is_optional(handler: str) -> None:
    """What the handler and the other parts import is not."""
    parts = ("try:", f"except {handler}:", "else:", "finally:")
    source = "\n".join(f"{part}\n    import {name}" for part, name in zip(parts, "abcd", strict=True))
    assert names(f"{source}\nimport e") == ["b", "c", "d", "e"]


@pytest.mark.parametrize(
    "source",
    [
        "with suppress(ImportError):\n    import a",
        "with contextlib.suppress(ModuleNotFoundError):\n    import a",
        "if importlib.util.find_spec('a'):\n    import a",
        "if find_spec('a') is not None:\n    import a",
        "if 'a' in sys.modules:\n    import a",
        "try:\n    import a\nexcept* ImportError:\n    pass",
        "try:\n    import a\nexcept OSError:\n    raise\nexcept ImportError:\n    a = None",
        "try:\n    import a\nexcept ImportError:\n    a = None\nelse:\n    from a import b",
        "try:\n    import a\nexcept ImportError:\n    a = None\nif a is not None:\n    from a.b import c",
        "try:\n    import a\n    HAS = True\nexcept ImportError:\n    HAS = False\nif HAS and x:\n    from a import b",
        "HAS = False\ntry:\n    import a\n    HAS = True\nexcept ImportError:\n    pass\nif HAS:\n    from a import b",
        "HAS = find_spec('a') is not None\nif HAS:\n    import a",
        "if not find_spec('a'):\n    a = None\nelse:\n    import a",
        "if x or 'a' not in sys.modules:\n    pass\nelse:\n    import a",
        "if (spec := find_spec('a')) is not None:\n    import a",
        "if find_spec('a'):\n    def f():\n        import a",
        "if sys.modules.get('a'):\n    import a",
        "HAS = bool(find_spec('a'))\nif HAS:\n    import a",
        "def has(name):\n    return find_spec(name) is not None\nif has('a'):\n    import a",
        "def has():\n    try:\n        import a\n    except ImportError:\n        return False\n    return True\n"
        "def f():\n    if not has():\n        return\n    import a",
        "ABSENT = (ImportError, OSError)\ntry:\n    import a\nexcept ABSENT:\n    a = None",
        "x = find_spec('a') and import_module('a')",
        "x = not find_spec('a') or import_module('a')",
        "def f():\n    if find_spec('a') is None:\n        return\n    import a",
        "def f():\n    try:\n        import a\n    except ImportError:\n        return\n    from a import b",
    ],
)
def test_other_conditional_imports_are_optional(source: str) -> None:
    """A suppressed error, a condition that asks first."""
    assert names(source) == []


@pytest.mark.parametrize(
    "source",
    [
        "try:\n    import a\nexcept OSError:\n    pass",
        "try:\n    import a\nfinally:\n    pass",
        "try:\n    import a\nexcept ImportError:\n    raise RuntimeError('install a') from None",
        "try:\n    import a\nexcept ImportError:\n    sys.exit('no a')",
        "try:\n    def f():\n        import a\nexcept ImportError:\n    pass",
        "with suppress(OSError):\n    import a",
        "with open('x'):\n    import a",
        "if find_spec('a') is None:\n    import a",
        "if not find_spec('b'):\n    import a",
        "if 'b' not in sys.modules:\n    import a",
        "if x or find_spec('a'):\n    import a",
        "x = find_spec('a') or import_module('a')",
        "if find_spec('b') is None:\n    raise SystemExit\nimport a",
        "try:\n    pass\nexcept ImportError:\n    b = None\nif b:\n    import a",
        "b = x is not None\nif b:\n    import a",
        "def b(x):\n    return x is not None\nif b(1):\n    import a",
        "def b(x):\n    try:\n        return x()\n    except OSError:\n        return False\nif b(1):\n    import a",
        "ERRORS = (OSError, KeyError)\ntry:\n    import a\nexcept ERRORS:\n    a = None",
        "def f():\n    if find_spec('b') is None:\n        return\n    b()\nimport a",
    ],
)
def test_an_import_whose_failure_ends_the_program_is_needed(source: str) -> None:
    """Another error is handled, or the handler raises, or the import runs outside of the `try`."""
    assert names(source) == ["a"]


@pytest.mark.parametrize(
    "source",
    [
        b"\xef\xbb\xbfimport a",
        b"# coding: latin-1\n# \xe9\nimport a",
        b"# coding: no-such-encoding\nimport a",
        b"import a\r\nx = 1\r\n",
        b"# \xff\nimport a",
        b"import a\nx = '\\d'",
        b"import a\nif 1\n",
        b"import a\n\0",
        "import \uff41",
    ],
)
def test_encodings_and_errors_hide_no_import(source: bytes | str) -> None:
    """A byte order mark, a declared or a wrong encoding, a syntax error, letters that Python reads as others."""
    assert names(source) == ["a"]


def test_a_source_that_cannot_be_parsed_is_read_by_its_lines() -> None:
    """And what is nested too deeply ends nothing."""
    assert names("x = '\0'\nx = '''\n  from d import e\nimport a, b.c\n") == ["d", "a", "b.c"]
    assert names("(" * 100_000) == []


NEWER = '''
type Money = int
def f[T](x: T) -> T:
    """doc
    import no"""
    import a
    return f"{x["k"]}"
try:
    import b
except ImportError:
    b = None
if TYPE_CHECKING:
    import c
else: import d
class A[T]:
    """
    import no
    """
    async def g(self):
        import_module("e")
        for x in y:
            pass
x = = 1
'''


def test_a_source_for_a_newer_python_is_read() -> None:
    """The host's Python may be older than the image's: blocks that guard imports are understood all the same."""
    assert names(NEWER) == ["a", "d", "e"]


def test_an_import_has_its_line_and_its_members() -> None:
    """Each name that is taken from a package may be a module."""
    assert imported("\nfrom a import b, c") == [Import("a", 2, ("b", "c"))]
    assert imported("x = = 1\nimport a") == [Import("a", 2)]
