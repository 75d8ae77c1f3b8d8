"""The commit of a build: comparison with the working tree by content, with real git."""

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
    """A committed project as the current folder."""
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
    """A changed file counts, whether a build reads it or not."""
    (project / name).write_text("edited\n", encoding="utf-8")
    assert changes() == 1


@pytest.mark.parametrize("flag", ["--assume-unchanged", "--skip-worktree"])
@pytest.mark.parametrize("name", ["Dockerfile", "app/main.py", "pyproject.toml"])
def test_a_flag_of_the_index_hides_no_edit(project: Path, flag: str, name: str) -> None:
    """`git status` trusts the flag; the comparison does not."""
    git(project, "update-index", flag, name)
    assert changes() == 0
    (project / name).write_text("# edited\n", encoding="utf-8")
    assert git(project, "status", "--porcelain") == ""
    assert changes() == 1


def test_a_filter_hides_no_edit(project: Path) -> None:
    """`git status` compares the output of a filter; the comparison reads the file."""
    (project / ".gitattributes").write_text("app/data.txt filter=fixed\n", encoding="utf-8")
    git(project, "add", ".gitattributes")
    git(project, "commit", "--quiet", "--message=filter")
    git(project, "config", "filter.fixed.clean", "echo one")
    (project / "app/data.txt").write_text("two\n", encoding="utf-8")
    assert git(project, "status", "--porcelain") == ""
    assert changes() == 1


def test_a_replaced_object_hides_no_edit(project: Path) -> None:
    """Git reads the replacement of an object, unless an option disables that."""
    (project / "app/main.py").write_text("x = 2\n", encoding="utf-8")
    other = git(project, "hash-object", "-w", "app/main.py")
    git(project, "replace", git(project, "rev-parse", "HEAD:app/main.py"), other)
    assert changes() == 1
    with source.build_tree(Project(), source.commit(Project())) as tree:
        assert (tree / "app/main.py").read_text(encoding="utf-8") == "x = 1\n"


@pytest.mark.parametrize("excluded", [".gitignore", ".git/info/exclude"])
def test_an_ignored_file_that_a_build_reads_is_counted(project: Path, excluded: str) -> None:
    """A build reads files that git ignores, but no bytecode."""
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


def test_a_file_that_dockerignore_excludes_is_not_counted(project: Path) -> None:
    """A pattern `**/NAME` excludes a file in every folder, unless a later line allows it again."""
    (project / ".git/info/exclude").write_text(".env*\n", encoding="utf-8")
    (project / "app/.env").touch()
    assert changes() == 1
    for lines, expected in (
        ("**/.env\n", 0),
        ("**/.env\n!app/.env\n", 1),
        ("**/.env\n!.env\n!application\n", 0),
        ("**/.env\n!app\n", 1),
        ("**/.env\n!app/.e*\n", 1),
    ):
        (project / ".dockerignore").write_text(DOCKERIGNORE + lines, encoding="utf-8")
        git(project, "commit", "--quiet", "--all", "--message=ignore")
        assert changes() == expected


@pytest.mark.parametrize(
    "text",
    [
        b"# caf\xe9\n" + DOCKERIGNORE.encode(),
        b"\xef\xbb\xbf" + DOCKERIGNORE.encode(),
        DOCKERIGNORE.encode() + b"!\xe9\n!a\0b\n",
    ],
    ids=["comment", "byte order mark", "names"],
)
def test_a_dockerignore_of_any_encoding_is_supported(project: Path, text: bytes) -> None:
    """A comment in another encoding, a byte order mark, names that are not UTF-8 or not names."""
    (project / ".dockerignore").write_bytes(text)
    git(project, "commit", "--quiet", "--all", "--message=x")
    assert changes() == 0
    (project / "app/main.py").write_text("edited\n", encoding="utf-8")
    assert changes() == 1


@pytest.mark.parametrize(
    "line", ["!../x", "!./app", "!/app/", "! app", "!app/../app", "!:(icase)x", "!:x", "!-x", "!["]
)
def test_a_pattern_of_dockerignore_is_read_as_docker_reads_it(project: Path, line: str) -> None:
    """Cleaned, without what is above the project; git reads no options and no magic in it."""
    (project / ".dockerignore").write_text(f"{DOCKERIGNORE}{line}\n", encoding="utf-8")
    git(project, "commit", "--quiet", "--all", "--message=x")
    assert changes() == 0
    (project / "app/main.py").write_text("edited\n", encoding="utf-8")
    assert changes() == 1


def test_a_dockerignore_of_exclusions_is_supported(project: Path) -> None:
    """Where .dockerignore has exclusions only, a flag of the index hides no edit either."""
    (project / ".dockerignore").write_text(".git\n", encoding="utf-8")
    git(project, "commit", "--quiet", "--all", "--message=ignore")
    git(project, "update-index", "--assume-unchanged", "app/main.py")
    assert changes() == 0
    (project / "app/main.py").write_text("edited\n", encoding="utf-8")
    assert changes() == 1


@pytest.mark.parametrize("name", [*COMPOSE_FILES, *OVERRIDES])
def test_every_compose_file_is_compared(project: Path, name: str) -> None:
    """Compose finds a file by several names."""
    (project / name).write_text("name: x\n", encoding="utf-8")
    git(project, "add", name)
    git(project, "commit", "--quiet", "--message=compose")
    git(project, "update-index", "--assume-unchanged", name)
    assert changes() == 0
    (project / name).write_text("name: y\n", encoding="utf-8")
    assert changes() == 1


def test_a_removed_file_is_counted(project: Path) -> None:
    """The file is missing in the folder, or in the index alone."""
    (project / "app/data.txt").unlink()
    assert changes() == 1
    git(project, "checkout", "--", ".")
    git(project, "rm", "--quiet", "--cached", "pyproject.toml")
    assert changes() == 1


@pytest.mark.skipif(os.name != "posix", reason="Windows has no permission to execute a file")
@pytest.mark.parametrize("name", ["app/main.py", "README.md"])
def test_another_permission_is_counted_where_git_records_permissions(project: Path, name: str) -> None:
    """In a file that a build reads, and in any other."""
    (project / name).chmod(0o755)
    assert changes() == 1
    git(project, "config", "core.fileMode", "false")
    assert changes() == 0


@pytest.mark.parametrize("name", ["app/data.txt", "README.md"])
def test_a_staged_edit_is_counted(project: Path, name: str) -> None:
    """The index differs from the commit, also where the file is again what the commit has."""
    before = (project / name).read_bytes()
    (project / name).write_text("edited\n", encoding="utf-8")
    git(project, "add", name)
    assert changes() == 1
    (project / name).write_bytes(before)
    assert changes() == 1


def test_a_path_with_special_characters_is_compared_once(project: Path) -> None:
    """Git takes no build input for a pattern."""
    (project / "app/[x]*.py").write_text("x = 1\n", encoding="utf-8")
    git(project, "add", "--all")
    git(project, "commit", "--quiet", "--message=pattern")
    (project / ".dockerignore").write_text(f"{DOCKERIGNORE}!app/[x]*.py\n", encoding="utf-8")
    git(project, "commit", "--quiet", "--all", "--message=ignore")
    assert changes() == 0
    (project / "app/[x]*.py").write_text("x = 2\n", encoding="utf-8")
    (project / "app/[x]*.py").chmod(0o755)
    assert changes() == 1


def test_a_link_in_place_of_a_file_is_counted(project: Path) -> None:
    """A link is a change even where its target has the same content."""
    shutil.move(project / "app/data.txt", project / "data.txt")
    (project / "app/data.txt").symlink_to("../data.txt")
    assert "app/data.txt" in source.differing(Project(), "HEAD")


def test_variables_select_no_other_repository(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hook or a script may set variables that redirect git."""
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


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GIT_ICASE_PATHSPECS", "1"),
        ("GIT_GLOB_PATHSPECS", "1"),
        ("GIT_LITERAL_PATHSPECS", "1"),
        ("GIT_NOGLOB_PATHSPECS", "1"),
        ("GIT_INTERNAL_SUPER_PREFIX", "x/"),
        ("GIT_TRACE", "/dev/stdout"),
        ("GIT_TRACE2", "/dev/stdout"),
        ("GIT_NAMESPACE", "x"),
        ("GIT_SHALLOW_FILE", "/dev/null"),
    ],
)
def test_variables_change_neither_paths_nor_output(
    project: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """Some git commands fail with them, or print more than was asked for."""
    monkeypatch.setenv(name, value)
    assert changes() == 0
    (project / "app/main.py").write_text("edited\n", encoding="utf-8")
    assert changes() == 1


def test_a_repository_may_be_trusted_by_a_variable(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As CI services do, whose containers run as another user."""
    subprocess.run(["chown", "--recursive", "1234", str(project)], check=True)  # noqa: S607
    for name, value in {"COUNT": "1", "KEY_0": "safe.directory", "VALUE_0": "*"}.items():
        monkeypatch.setenv(f"GIT_CONFIG_{name}", value)
    assert changes() == 0


def test_a_sha256_repository_is_supported(tmp_path: Path, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Git can name objects by SHA-256."""
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
    """The project is in no repository, in one without a commit, or in one whose commit does not contain it."""
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
    """Only the project's files count."""
    shutil.rmtree(project / ".git")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", "--all")
    git(tmp_path, "commit", "--quiet", "--message=x")
    (tmp_path / "elsewhere.txt").touch()
    assert changes() == 0
    (project / "app/main.py").write_text("edited\n", encoding="utf-8")
    assert changes() == 1
    with source.build_tree(Project(), source.commit(Project())) as tree:
        assert (tree / "app/main.py").read_text(encoding="utf-8") == "x = 1\n"


def test_the_tree_of_a_commit_has_what_a_build_reads(project: Path) -> None:
    """Not what .dockerignore excludes; the files that describe the build are read nevertheless."""

    def names() -> set[str]:
        with source.build_tree(Project(), source.commit(Project())) as tree:
            return {path.relative_to(tree).as_posix() for path in tree.rglob("*") if path.is_file()}

    read = {".dockerignore", "Dockerfile", "app/data.txt", "app/main.py", "poetry.lock", "pyproject.toml"}
    assert names() == read
    # All is read where nothing excludes it.
    git(project, "rm", "--quiet", ".dockerignore")
    git(project, "commit", "--quiet", "--message=all")
    assert names() == FILES.keys() - {".dockerignore"}


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can change the owner of files")
def test_a_repository_of_another_user_is_a_failure(project: Path) -> None:
    """Git refuses it, as in CI containers; the message states the remedy."""
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
    """A damaged repository is an error, not an absent one."""
    assert callable(broken)
    broken(project)
    with pytest.raises(Failure, match=r"git must be able to read the repository \(got: "):
        source.commit(Project())


def test_a_missing_git_is_a_failure(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Git is required where there is a repository, and only there."""
    monkeypatch.setenv("PATH", str(project))
    with pytest.raises(Failure, match="To fix it: install git"):
        source.commit(Project())
    shutil.rmtree(project / ".git")
    assert source.commit(Project()) is None


def test_only_the_hash_of_a_commit_is_accepted(project: Path) -> None:
    """Other objects, other names and absent hashes are refused."""
    revision = git(project, "rev-parse", "HEAD")
    assert source.has_commit(Project(), revision)
    assert not source.has_commit(Project(), "0" * 40)
    assert not source.has_commit(Project(), "HEAD")
    assert not source.has_commit(Project(), git(project, "rev-parse", "HEAD:app"))
