"""Projects that `prodlock init` refuses: one message with the remedy, and nothing is written."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from prodlock import cli
from prodlock.failure import FAILED

REPOSITORY = Path(__file__).parents[3]
LAYOUTS = REPOSITORY / "prodlock/tests/layouts"
APPLICATION = "from fastapi import FastAPI\n\napp = FastAPI()\n"


class Case(NamedTuple):
    """A project in prodlock/tests/layouts, an edit of it, the options of `prodlock init`, and a part of its message."""

    layout: str
    edit: Callable[[Path], object]
    message: str
    options: tuple[str, ...] = ()


def added(name: str, text: str) -> Callable[[Path], object]:
    """Add lines to a file, which may be new."""

    def edit(root: Path) -> None:
        with (root / name).open("a", encoding="utf-8") as file:
            file.write(text)

    return edit


def replaced(name: str, pattern: str, text: str) -> Callable[[Path], object]:
    """Replace what a pattern matches in a file."""

    def edit(root: Path) -> None:
        before = (root / name).read_text(encoding="utf-8")
        after = re.sub(pattern, text, before, flags=re.DOTALL | re.MULTILINE)
        assert after != before
        (root / name).write_text(after, encoding="utf-8")

    return edit


def both(*edits: Callable[[Path], object]) -> Callable[[Path], object]:
    """Apply several edits."""
    return lambda root: [edit(root) for edit in edits]


def unchanged(root: Path) -> None:
    """Edit nothing."""
    assert root.is_dir()


def removed(name: str) -> Callable[[Path], object]:
    """Remove a file."""
    return lambda root: (root / name).unlink()


def setting(line: str) -> tuple[str, ...]:
    """Return the options that set a key."""
    return ("--set", line)


ANONYMOUS = replaced("main.py", r"^if __name__.*", "")
GIT_SOURCE = '[package.source]\ntype = "git"\nurl = "https://git.example/g.git"\nresolved_reference = "0123"\n\n'
CASES = {
    "two applications": Case(
        "single", both(ANONYMOUS, added("app.py", APPLICATION)), r"must have one application .*app\.py:3.*main\.py:12.*"
    ),
    "two serving commands": Case(
        "single",
        both(
            added("admin.py", APPLICATION),
            added("Procfile", "web: uvicorn main:app\n"),
            added("Dockerfile", 'FROM python:3.13\nCMD ["uvicorn", "admin:app"]\n'),
        ),
        r"must have one application .*admin:app.*Dockerfile.*main:app.*Procfile",
    ),
    "no application": Case(
        "single",
        both(ANONYMOUS, replaced("main.py", "^app = .*?$", "from elsewhere import app")),
        r"must create an application .*\(got none\)",
    ),
    "no module of this name": Case(
        "single", unchanged, r"`application` must name a module .*\(got nowhere:app", setting("application=nowhere:app")
    ),
    "not an application": Case(
        "single",
        unchanged,
        r"`application` must be an application as MODULE:ATTRIBUTE",
        setting("application=main.app"),
    ),
    "a module that is not valid": Case(
        "single", both(ANONYMOUS, added("main.py", "def f(\n")), r"\(got none, and main\.py:\d+ is not valid for Python"
    ),
    "no attribute of this name": Case(
        "single",
        unchanged,
        r"`application` must name an attribute .*main\.py are: main:",
        setting("application=main:x"),
    ),
    "sources without the application": Case(
        "single", unchanged, r"`sources` must have the module of the application, main\.py", setting("sources=[]")
    ),
    "an import folder without the application": Case(
        "single", unchanged, r"`import-from` must have a folder that the application", setting('import-from=["x"]')
    ),
    "a folder for commands that does not exist": Case(
        "single", unchanged, r"`directory` must name folders .*\(got nope", setting("directory=nope")
    ),
    "an old Python": Case("single", unchanged, r"`base` must .*3\.11 or later", setting("base=python:3.9-slim")),
    "a Dockerfile that is a module": Case(
        "single", unchanged, r"`dockerfile` must be a file of its own", setting("dockerfile=main.py")
    ),
    "a Compose file that exists": Case(
        "single", unchanged, r"^pytest\.ini must not exist yet", setting("compose=pytest.ini")
    ),
    "one name for two files": Case(
        "single", unchanged, r"`compose` must be a file of its own", setting("compose=Dockerfile")
    ),
    "two values of one option": Case("single", unchanged, r"`port` must be", setting('port=1\nhealth="/x"')),
    "an inline table": Case(
        "single", added("pyproject.toml", "tool = {x = {y = 1}}\n"), r"must have `tool` in a form .*\[tool\.NAME\]"
    ),
    "a deep pyproject.toml": Case(
        "single", added("pyproject.toml", f"x = {'[' * 3000}{']' * 3000}\n"), r"pyproject\.toml must be a TOML file"
    ),
    "a module of this name": Case("single", added("prodlock.py", ""), r"^prodlock\.py must not exist yet"),
    "a broken link of this name": Case(
        "single", lambda root: (root / "prodlock").symlink_to("nowhere"), r"^prodlock must not exist yet"
    ),
    "a pyproject.toml outside": Case(
        "single",
        both(
            lambda root: (root.parent / "x.toml").touch(),
            lambda root: (root / "pyproject.toml").symlink_to("../x.toml"),
        ),
        r"^pyproject\.toml must be a file in .*symbolic link",
    ),
    "a folder with a space": Case(
        "single",
        both(
            ANONYMOUS,
            lambda root: (root / "main.py").unlink(),
            lambda root: (root / "my app").mkdir(),
            added("my app/main.py", APPLICATION),
        ),
        r"^The files and folders that ship must have names of .*\(got my app.*rename it",
    ),
    "a test with an umlaut": Case(
        "single",
        lambda root: (root / "test_größe.py").touch(),
        r"must have names of .*\(got test_größe\.py.*rename it, or name others with `--set tests=",
    ),
    "no lock": Case("single", removed("requirements.txt"), r"must have a lock with the hashes .*\(got none\)"),
    "a lock without hashes": Case(
        "single",
        replaced("requirements.txt", r" \\\n *--hash=\S+", ""),
        r"must have a lock with the hashes .*\(got requirements\.txt.*hashes\).*--generate-hashes",
    ),
    "a lock that is not TOML": Case("workspace", added("uv.lock", "[[[\n"), r"uv\.lock must be a valid lock"),
    "a lock of Poetry 1": Case(
        "src_poetry", replaced("poetry.lock", r"^groups = .*?$", ""), r"poetry\.lock .*Poetry 1"
    ),
    "git, Poetry": Case(
        "src_poetry",
        replaced("poetry.lock", r'(^name = "gunicorn".*?)(?=^\[\[package\]\])', rf"\1{GIT_SOURCE}"),
        r"gunicorn==.* must come from a package index \(got git\)",
    ),
    "git, uv": Case(
        "workspace",
        replaced("uv.lock", r'(^name = "alembic"\nversion = \S+\nsource = ).*?$', r'\1{ git = "https://g.example" }'),
        r"alembic==.* must come from a package index \(got git\)",
    ),
    "git, pylock.toml": Case(
        "pylock",
        replaced(
            "pylock.toml",
            r'(^name = "h11"\n.*?)^sdist.*?(?=^\[\[)',
            r'\1vcs = { type = "git", url = "https://g.example" }\n',
        ),
        r"h11==0\.16\.0 must come from a package index \(got vcs\)",
    ),
    "git, requirements": Case(
        "single", added("requirements.txt", "lib @ git+https://git.example/lib.git@0123\n"), r"requirements\.txt"
    ),
    "a group that does not exist": Case(
        "src_poetry",
        unchanged,
        r"`groups` must be .*\(got production, and the project has dev, main, prod\)",
        setting('groups=["main", "production"]'),
    ),
    "a group for development that does not exist": Case(
        "workspace", unchanged, r"`dev-groups` must be .*\(got qa, .*\)", setting('dev-groups=["qa"]')
    ),
    "an extra that does not exist": Case(
        "pylock", unchanged, r"`extras` must be .*\(got mysql, .*postgres\)", setting('extras=["mysql"]')
    ),
    "a member that does not exist": Case(
        "workspace",
        unchanged,
        r"member nope must exist \(got: tracker-backend, tracker-importer\)",
        setting("package=nope"),
    ),
    "a source outside": Case(
        "single", unchanged, r"`sources` must be a list of paths in the project", setting('sources=["main.py", "../x"]')
    ),
    "a source that does not exist": Case(
        "single", unchanged, r"`sources` .*\(got data, which does not exist\)", setting('sources=["main.py", "data"]')
    ),
    "a source that git ignores": Case(
        "single",
        both(lambda root: (root / "data").mkdir(), added("data/x", "x"), added(".gitignore", "/data/\n")),
        r"`sources` .*\(got data, which git ignores\)",
        setting('sources=["main.py", "data"]'),
    ),
    "no image of Python": Case(
        "pylock",
        replaced("pyproject.toml", '">=3.12"', '">=3.8,<3.11"'),
        r"must allow a version of Python from 3\.11 .*\(got >=3\.8,<3\.11\)",
    ),
    "pyproject.toml is not TOML": Case("src_poetry", added("pyproject.toml", "[[[\n"), r"pyproject\.toml must be "),
    "a project that has moved in": Case(
        "src_poetry", added("pyproject.toml", "[tool.prodlock]\n"), r"must not have \[tool\.prodlock\] yet"
    ),
    "a folder of this name": Case("single", lambda root: (root / "prodlock").mkdir(), r"prodlock must not exist yet"),
    "an unknown key": Case("single", unchanged, r"--set must be KEY=VALUE", setting("sourses=x")),
    "a name for a folder with files": Case("single", unchanged, r"empty", ("shop",)),
}


def tree(root: Path) -> dict[str, str]:
    """Return the files and folders of a project, with the hashes of files."""
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        for path in root.rglob("*")
        if ".git" not in path.parts
    }


def project(folder: Path, name: str) -> Path:
    """Return a copy of a layout in a git repository."""
    root = Path(shutil.copytree(LAYOUTS / name, folder / name, ignore=shutil.ignore_patterns("__pycache__")))
    subprocess.run(["git", "init", "--quiet"], cwd=root, check=True)  # noqa: S607
    return root


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_project_is_refused_and_unchanged(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line on standard error, with the remedy; exit code 1."""
    root = project(tmp_path, case.layout)
    case.edit(root)
    before = tree(root)
    monkeypatch.chdir(root)
    assert cli.main(["init", *case.options]) == FAILED
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(case.message, line)
    assert "To fix it: " in line
    assert tree(root) == before


@pytest.mark.parametrize("name", sorted({case.layout for case in CASES.values()}))
def test_the_projects_are_not_refused_without_the_edits(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The positive control of the cases; a dry run writes nothing."""
    root = project(tmp_path, name)
    before = tree(root)
    monkeypatch.chdir(root)
    assert cli.main(["init", "--dry-run"]) == 0
    assert tree(root) == before
    assert cli.main(["init"]) == 0
    assert tree(root).keys() > before.keys()


def unwritable(root: Path) -> None:
    """Make a folder read-only. For root, who may write everywhere, a folder has the name of a file."""
    if os.geteuid():
        root.chmod(0o555)
    else:
        (root / ".gitignore.prodlock-new/x").mkdir(parents=True)


def test_a_folder_that_cannot_be_written_stays_unchanged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No file is left half-written, and no folder is left empty."""
    root = project(tmp_path, "single")
    unwritable(root)
    before = tree(root)
    monkeypatch.chdir(root)
    assert cli.main(["init"]) == FAILED
    root.chmod(0o755)
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(r"must be writable \(got: .*To fix it: .*nothing was written", line)
    assert tree(root) == before


def test_an_upgrade_that_is_not_finished_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its conflicts are decided first."""
    root = project(tmp_path, "single")
    monkeypatch.chdir(root)
    assert cli.main(["init"]) == 0
    added("Dockerfile", "<<<<<<< yours\nENV A=1\n=======\nENV A=2\n>>>>>>> Prodlock 9\n")(root)
    before = tree(root)
    capsys.readouterr()
    assert cli.main(["upgrade"]) == FAILED
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(r"Dockerfile must have no marked conflicts .*To fix it: ", line)
    assert tree(root) == before


def test_a_reader_that_ends_is_not_a_traceback(tmp_path: Path) -> None:
    """As in `prodlock init --dry-run | head`; nothing is written."""
    root = project(tmp_path, "single")
    before = tree(root)
    settings = {"PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "prodlock", "init", "--dry-run"]
    with subprocess.Popen(
        command, cwd=root, env=os.environ | settings, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        process.stdout.close()
        _, error = process.communicate(timeout=20)
    assert (process.returncode, error) == (FAILED, "")
    assert tree(root) == before
