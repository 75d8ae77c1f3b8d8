"""The vendored folder of a project: the code of the installed package, compared by the checks."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from prodlock import vendored
from prodlock.configuration import Configuration
from prodlock.failure import CANNOT_CHECK, Failure
from prodlock.project import Project

LOCKS = ("poetry.lock", "uv.lock", "pylock.toml", "requirements.txt")
PROGRAMS = sorted(
    path
    for folder in ("inside", "server")
    for path in (vendored.PACKAGE / folder).rglob("*.py")
    if "__pycache__" not in path.parts
)


def write(root: Path, files: dict[str, str]) -> None:
    """Write files below a folder."""
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project with its vendored files."""
    write(tmp_path, vendored.files(Configuration(lock="poetry.lock")))
    return Project(tmp_path, {})


class SingleImports(ast.NodeTransformer):
    """Makes a statement of each module that is imported."""

    def visit_Import(self, node: ast.Import) -> list[ast.Import]:
        """Return the statements."""
        return [ast.Import(names=[one]) for one in node.names]


def without_docstrings(source: str) -> str:
    """Return the syntax tree without docstrings and places, with an import for each module."""
    tree = SingleImports().visit(ast.parse(source))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            needed = len(node.body) == 1 and not isinstance(node, ast.Module)
            if ast.get_docstring(node) is not None and not needed:
                del node.body[0]
    return ast.dump(tree)


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: str(path.relative_to(vendored.PACKAGE)))
def test_a_vendored_program_has_the_code_of_the_installed_one(path: Path) -> None:
    """Only comments and docstrings are left out."""
    source = path.read_text(encoding="utf-8")
    compacted = vendored.compact(source)
    assert without_docstrings(compacted) == without_docstrings(source)
    assert len(compacted.splitlines()) <= len(source.splitlines())


def test_the_comparison_of_code_notices_a_change() -> None:
    """The control of the test above."""
    source = 'def f():\n    """Text."""\n    return (1,\n        2)  # two\n'
    assert vendored.compact(source) == "def f(): return (1, 2)\n"
    assert without_docstrings("def f():\n    return (1, 3)\n") != without_docstrings(source)


@pytest.mark.parametrize(
    "source",
    [
        'x = f"{a!r:>{w}} {{}} # no comment"  # one\n',
        'x = """a\n\n# no comment\n  b"""\ny = 1\n',
        "if x:  # why\n    # only a comment\n    pass\nelse:\n    y = [\n        1,\n        2,\n    ]\n",
        "@decorator(\n    1,\n)\nclass C:\n    'Docstring.'\n\n    x: int = 1\n",
        "class E(Exception):\n    '''Needed.'''\n",
        "x = 1 + \\\n    2\n",
        "import a\nimport b.c\nimport d as e\n\nimport f\nx = '''\nimport g\nimport h\n'''\n",
        "def f():\n    import a\n    import b\n\n\nimport c\n",
        "async def f():\n    async with a as b, c as d:\n        await b\n",
        "for x in y:\n    if x: pass\n    else: break\nelse:\n    while x:\n        x()\n",
        "def f():\n    'Docstring.'\n    if x:\n        return {1: 2}\n    match = 1\n",
        "try:\n    import a\nexcept E:\n    @b\n    def f():\n        pass\n",
    ],
)
def test_any_form_of_code_is_kept(source: str) -> None:
    """Strings that look like comments or code, broken lines, bodies of a docstring alone, blocks of one statement."""
    assert without_docstrings(vendored.compact(source)) == without_docstrings(source)


def test_imports_that_follow_each_other_are_one_statement() -> None:
    """Those of modules under their own names, outside of blocks."""
    source = "import a\nimport b.c\n\nimport d as e\nimport f\nfrom g import h\nimport i\n"
    assert vendored.compact(source) == "import a, b.c\nimport d as e\nimport f\nfrom g import h\nimport i\n"


@pytest.mark.parametrize("lock", LOCKS)
def test_only_the_reader_of_the_lock_is_vendored(lock: str) -> None:
    """The others are for locks of other formats."""
    found = {Path(path).stem for path in vendored.files(Configuration(lock=lock)) if "/lock/" in path}
    readers = {"poetry", "uv", "pylock", "requirements"}
    assert len(found & readers) == 1
    assert {"__init__", "__main__", "selection"} <= found


def test_a_serving_command_of_the_project_needs_no_server() -> None:
    """The health check alone is vendored."""
    found = vendored.files(Configuration(lock="poetry.lock", server=("gunicorn", "app.main:app")))
    assert [path for path in found if "/server/" in path] == ["prodlock/server/healthcheck.py"]


def test_the_files_of_the_installed_version_pass(project: Project) -> None:
    """The positive control; bytecode and the base of merges are not compared."""
    write(project.root, {"prodlock/inside/__pycache__/install.cpython-313.pyc": "", vendored.BASE: "x"})
    vendored.check(project)


@pytest.mark.parametrize("path", ["prodlock/inside/install.py", "prodlock/server/server.py", vendored.LINTERS])
def test_a_changed_file_is_refused(project: Project, path: str) -> None:
    """Code 2: the image would not be built from what the checks compare."""
    with (project.root / path).open("a", encoding="utf-8") as file:
        file.write("x = 1\n")
    with pytest.raises(Failure, match=f"^{path} must be that of .*another file.*`prodlock upgrade`") as caught:
        vendored.check(project)
    assert caught.value.code == CANNOT_CHECK


def test_a_missing_file_is_refused(project: Project) -> None:
    """A build would fail, or copy less."""
    (project.root / "prodlock/server/cork.py").unlink()
    with pytest.raises(Failure, match=r"^prodlock/server/cork\.py must be .*no such file"):
        vendored.check(project)


@pytest.mark.parametrize("path", ["prodlock/server/extra.py", "prodlock/inside/lock/uv.py", "prodlock/inside/x/y.txt"])
def test_an_additional_file_is_refused(project: Project, path: str) -> None:
    """It would ship, or run in a build."""
    write(project.root, {path: "x = 1\n"})
    with pytest.raises(Failure, match=f"^{path} must be that of .*a file that it lacks"):
        vendored.check(project)


@pytest.mark.parametrize("text", ["0.1.0\n", "9.9.9\n"])
def test_another_version_is_refused(project: Project, text: str) -> None:
    """Both versions are named, and both remedies."""
    write(project.root, {vendored.VERSION: text})
    with pytest.raises(Failure, match=rf"\(got {text.strip()}\).*`prodlock upgrade`, or install Prodlock {text[:5]}"):
        vendored.check(project)


def test_prodlocks_own_repository_has_no_copy(tmp_path: Path) -> None:
    """There, the folder is the package itself."""
    write(tmp_path, {"prodlock/__init__.py": ""})
    vendored.check(Project(tmp_path, {}))


def test_packed_texts_are_restored() -> None:
    """Another text is a ValueError."""
    texts = {"Dockerfile": "FROM x\n" * 100, "ä": "ö"}
    assert vendored.unpacked(vendored.packed(texts)) == texts
    for text in ("", "x", "eJwDAAAAAAE=", vendored.packed(texts)[:-20]):
        with pytest.raises(ValueError, match=r"."):
            vendored.unpacked(text)
