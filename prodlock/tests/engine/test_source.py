"""The commit that a build is made from: compared by content, with real git."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from prodlock import source
from prodlock.failure import Failure
from prodlock.project import COMPOSE_FILES, OVERRIDES, Project
from prodlock.tests.engine.conftest import git

DOCKERIGNORE = "*\n!app\n!poetry.lock\n!pyproject.toml\n**/__pycache__\n"
FILES = {
    ".dockerignore": DOCKERIGNORE,
    "Dockerfile": "FROM scratch\n",
    "README.md": "# x\n",
    "app/data.txt": "one\n",
    "app/main.py": "x = 1\n",
    "poetry.lock": "",
    "prodlock/__init__.py": "",
    "prodlock/server/__init__.py": "",
    "pyproject.toml": "[project]\n",
}


@pytest.fixture(autouse=True)
def images() -> None:
    """No image is built for these tests."""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A committed project, which the tool works on."""
    folder = tmp_path / "project"
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message=x")
    monkeypatch.chdir(folder)
    # Without this user's configuration, which may trust every folder.
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    return folder


def changes() -> int:
    """Return how many files differ from the commit."""
    found = source.commit(Project())
    assert found
    return found.changes


def test_a_committed_project_is_clean(project: Path) -> None:
    """Its revision and its time are the commit's."""
    found = source.commit(Project())
    assert found
    assert found == (git(project, "rev-parse", "HEAD"), 1_767_323_045, 0)


@pytest.mark.parametrize("name", ["Dockerfile", "app/main.py", "poetry.lock", "README.md"])
def test_an_edit_is_counted(project: Path, name: str) -> None:
    """Whether a build reads the file or not."""
    (project / name).write_text("edited\n", encoding="utf-8")
    assert changes() == 1


@pytest.mark.parametrize("flag", ["--assume-unchanged", "--skip-worktree"])
@pytest.mark.parametrize("name", ["Dockerfile", "app/main.py", "pyproject.toml"])
def test_a_flag_of_the_index_hides_no_edit(project: Path, flag: str, name: str) -> None:
    """`git status` believes the flag."""
    git(project, "update-index", flag, name)
    assert changes() == 0
    (project / name).write_text("edited\n", encoding="utf-8")
    assert git(project, "status", "--porcelain") == ""
    assert changes() == 1


def test_a_filter_hides_no_edit(project: Path) -> None:
    """`git status` compares what a filter makes of the file."""
    (project / ".gitattributes").write_text("app/data.txt filter=fixed\n", encoding="utf-8")
    git(project, "add", ".gitattributes")
    git(project, "commit", "--quiet", "--message=filter")
    git(project, "config", "filter.fixed.clean", "echo one")
    (project / "app/data.txt").write_text("two\n", encoding="utf-8")
    assert git(project, "status", "--porcelain") == ""
    assert changes() == 1


def test_a_replaced_object_hides_no_edit(project: Path) -> None:
    """Git shows another object in the place of a replaced one, unless it is asked not to."""
    (project / "app/main.py").write_text("x = 2\n", encoding="utf-8")
    other = git(project, "hash-object", "-w", "app/main.py")
    git(project, "replace", git(project, "rev-parse", "HEAD:app/main.py"), other)
    assert changes() == 1
    with source.app(Project(), source.commit(Project())) as tree:
        assert (tree / "app/main.py").read_text(encoding="utf-8") == "x = 1\n"


@pytest.mark.parametrize("excluded", [".gitignore", ".git/info/exclude"])
def test_an_ignored_file_that_a_build_reads_is_counted(project: Path, excluded: str) -> None:
    """A build takes it; bytecode it does not take."""
    (project / excluded).write_text("*.env\n__pycache__\n", encoding="utf-8")
    if excluded == ".gitignore":
        git(project, "add", excluded)
        git(project, "commit", "--quiet", "--message=ignore")
    (project / "app/__pycache__").mkdir()
    (project / "app/__pycache__/main.pyc").touch()
    (project / "local.env").touch()
    assert changes() == 0
    (project / "app/local.env").touch()
    assert changes() == 1
    (project / ".git/info/exclude").write_text("*.env\n*.venv\n__pycache__\n", encoding="utf-8")
    (project / "app/x.venv").mkdir()
    (project / "app/x.venv/main.py").touch()
    assert changes() == 2


def test_what_no_build_reads_is_not_counted(project: Path) -> None:
    """A name that .dockerignore leaves out wherever it is; it counts from the line on that brings it back."""
    (project / ".git/info/exclude").write_text(".env*\n", encoding="utf-8")
    (project / "app/.env").touch()
    assert changes() == 1
    for lines, expected in (("**/.env\n", 0), ("**/.env\n!app/.env\n", 1)):
        (project / ".dockerignore").write_text(DOCKERIGNORE + lines, encoding="utf-8")
        git(project, "commit", "--quiet", "--all", "--message=ignore")
        assert changes() == expected


def test_any_form_of_dockerignore_will_do(project: Path) -> None:
    """One that names only what is left out: the index hides no edit then either."""
    (project / ".dockerignore").write_text(".git\n", encoding="utf-8")
    git(project, "commit", "--quiet", "--all", "--message=ignore")
    git(project, "update-index", "--assume-unchanged", "app/main.py")
    assert changes() == 0
    (project / "app/main.py").write_text("edited\n", encoding="utf-8")
    assert changes() == 1


@pytest.mark.parametrize("name", [*COMPOSE_FILES, *OVERRIDES])
def test_every_compose_file_is_compared(project: Path, name: str) -> None:
    """Whichever name Compose finds it by."""
    (project / name).write_text("name: x\n", encoding="utf-8")
    git(project, "add", name)
    git(project, "commit", "--quiet", "--message=compose")
    git(project, "update-index", "--assume-unchanged", name)
    assert changes() == 0
    (project / name).write_text("name: y\n", encoding="utf-8")
    assert changes() == 1


def test_a_removed_file_is_counted(project: Path) -> None:
    """From the folder, or from the index alone."""
    (project / "app/data.txt").unlink()
    assert changes() == 1
    git(project, "checkout", "--", ".")
    git(project, "rm", "--quiet", "--cached", "pyproject.toml")
    assert changes() == 1


def test_a_link_in_a_files_place_is_counted(project: Path) -> None:
    """Though its target has the same content."""
    shutil.move(project / "app/data.txt", project / "data.txt")
    (project / "app/data.txt").symlink_to("../data.txt")
    assert "app/data.txt" in source.differing(Project(), "HEAD")


def test_variables_lead_to_no_other_repository(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a hook or a script sets them."""
    (project / "app/main.py").write_text("edited\n", encoding="utf-8")
    other = tmp_path / "other"
    shutil.copytree(project, other)
    git(other, "commit", "--quiet", "--all", "--message=other")
    for name, value in {
        "GIT_DIR": other / ".git",
        "GIT_WORK_TREE": other,
        "GIT_INDEX_FILE": other / ".git/index",
    }.items():
        monkeypatch.setenv(name, str(value))
    assert changes() == 1


def test_another_hash_is_known(tmp_path: Path, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Git can name objects by sha256."""
    folder = tmp_path / "sha256"
    shutil.copytree(project, folder, ignore=shutil.ignore_patterns(".git"))
    git(folder, "init", "--quiet", "--object-format=sha256")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message=x")
    monkeypatch.chdir(folder)
    assert changes() == 0
    (folder / "app/main.py").write_text("edited\n", encoding="utf-8")
    assert changes() == 1


def test_without_a_repository_there_is_no_commit(project: Path, tmp_path: Path) -> None:
    """None is there, or none that has this project: the one of a folder above, one without a commit."""
    shutil.rmtree(project / ".git")
    assert source.commit(Project()) is None
    git(tmp_path, "init", "--quiet")
    assert source.commit(Project()) is None
    (tmp_path / "notes.txt").touch()
    git(tmp_path, "add", "notes.txt")
    git(tmp_path, "commit", "--quiet", "--message=notes")
    assert source.commit(Project()) is None
    git(tmp_path, "add", "project")
    git(tmp_path, "commit", "--quiet", "--message=project")
    assert changes() == 0


def test_a_project_below_the_repositorys_root_is_compared(project: Path, tmp_path: Path) -> None:
    """Its own files alone."""
    shutil.rmtree(project / ".git")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", "--all")
    git(tmp_path, "commit", "--quiet", "--message=x")
    (tmp_path / "elsewhere.txt").touch()
    assert changes() == 0
    (project / "app/main.py").write_text("edited\n", encoding="utf-8")
    assert changes() == 1
    with source.app(Project(), source.commit(Project())) as tree:
        assert (tree / "app/main.py").read_text(encoding="utf-8") == "x = 1\n"


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can give files away")
def test_a_repository_of_another_user_is_a_failure(project: Path) -> None:
    """As CI containers mount it: git refuses, and names the remedy."""
    subprocess.run(["chown", "--recursive", "1234", str(project)], check=True)  # noqa: S607
    with pytest.raises(
        Failure, match=r"git must be able to read the repository \(got: detected dubious ownership"
    ) as error:
        source.commit(Project())
    assert f"To fix it: run `git config --global --add safe.directory {project}`" in str(error.value)


@pytest.mark.parametrize(
    "broken",
    [
        lambda folder: (folder / ".git/HEAD").write_text("nonsense", encoding="utf-8"),
        lambda folder: (folder / ".git/config").write_text("[core", encoding="utf-8"),
        lambda folder: (folder / ".git/index").write_bytes(b"nonsense"),
        lambda folder: shutil.rmtree(folder / ".git/objects"),
        lambda folder: (folder / ".git").rename(folder / ".old") and (folder / ".git").write_text("gitdir: /nowhere"),
        lambda folder: git(folder, "config", "core.worktree", str(folder.parent)),
        lambda folder: Path(folder, ".git", git(folder, "symbolic-ref", "HEAD")).write_bytes(b""),
        lambda folder: Path(folder, ".git", git(folder, "symbolic-ref", "HEAD")).unlink(),
        lambda folder: git(folder.parent, "init", "--quiet") or (folder / ".git/HEAD").unlink(),
    ],
    ids=["HEAD", "configuration", "index", "objects", "worktree", "root", "empty branch", "lost branch", "above"],
)
def test_a_broken_repository_is_a_failure(project: Path, broken: object) -> None:
    """It is not the same as none."""
    assert callable(broken)
    broken(project)
    with pytest.raises(Failure, match=r"git must be able to read the repository \(got: "):
        source.commit(Project())


def test_a_missing_git_is_a_failure(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is a repository; without one nothing has to be read."""
    monkeypatch.setenv("PATH", str(project))
    with pytest.raises(Failure, match="To fix it: install git"):
        source.commit(Project())
    shutil.rmtree(project / ".git")
    assert source.commit(Project()) is None


def test_a_commit_is_known_by_its_name_alone(project: Path) -> None:
    """Neither another object nor another name will do."""
    revision = git(project, "rev-parse", "HEAD")
    assert source.knows(Project(), revision)
    assert not source.knows(Project(), "0" * 40)
    assert not source.knows(Project(), "HEAD")
    assert not source.knows(Project(), git(project, "rev-parse", "HEAD:app"))
