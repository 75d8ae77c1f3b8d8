"""The commit that a build is made from, in messages and in the labels."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from prodlock import site, source
from prodlock.failure import Failure
from prodlock.project import Project
from prodlock.source import Commit

Git = Callable[..., None]


@pytest.fixture
def git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Git:
    """A function that runs git in a folder, without this user's configuration."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)

    def run(folder: Path, *args: str) -> None:
        user = ("-c", "user.name=x", "-c", "user.email=x@example.org")
        subprocess.run(["git", *user, *args], cwd=folder, check=True, capture_output=True)  # noqa: S607

    return run


def commit(git: Git, folder: Path, *options: str) -> None:
    """Make a repository of a folder, with a project in it."""
    folder.mkdir()
    for name, text in {"pyproject.toml": "size-budget-mb = 70\n", "poetry.lock": "locked\n"}.items():
        (folder / name).write_text(text, encoding="utf-8")
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message=x", *options)


@pytest.mark.skipif(os.name != "posix", reason="Windows allows no such names")
@pytest.mark.parametrize("name", ["a\nb", "a\u2028b", " a ", "a\x0cb\n"])
def test_a_repository_may_be_in_a_folder_of_any_name(tmp_path: Path, git: Git, name: str) -> None:
    """Also in one with a line break."""
    commit(git, tmp_path / name)
    found = source.commit(Project(tmp_path / name))
    assert found
    assert found.changes == 0
    assert source.head(Project(tmp_path / name)) == found.revision


def test_git_names_the_folder_that_a_user_must_trust(tmp_path: Path, git: Git, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one of the repository: git trusts no project below it by the project's folder. In any language."""
    commit(git, tmp_path / "the repository")
    project = tmp_path / "the repository" / "services" / "api"
    project.mkdir(parents=True)
    # A git that refuses as it does where another user owns the files.
    program = tmp_path / "programs" / "git"
    program.parent.mkdir()
    printed = "[ $LC_ALL = C ] && echo fatal: detected dubious ownership || echo fatal : propri\u00e9taire douteux"
    program.write_text(f"#!/bin/sh\nexec >&2\n{printed}\nexit 128\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("LC_ALL", "fr_FR.UTF-8")
    with pytest.raises(Failure, match=r"safe\.directory '[^']*/the repository'`, or make"):
        source.commit(Project(project))


@pytest.mark.skipif(os.name != "posix", reason="the program that signs is a shell script")
@pytest.mark.parametrize("setting", [(), ("log.showSignature", "true"), ("log.showRoot", "false")])
def test_settings_of_git_do_not_hide_the_lock_of_a_setting(tmp_path: Path, git: Git, setting: tuple[str, ...]) -> None:
    """A user's configuration may print the signature of each commit, or no difference of the first one."""
    signer = tmp_path / "signer"
    signer.write_text(
        "#!/bin/sh\ncat > /dev/null\necho '[GNUPG:] SIG_CREATED ' >&2\necho signature\n", encoding="utf-8"
    )
    signer.chmod(0o755)
    (tmp_path / ".gitconfig").write_text(f"[gpg]\nprogram = {signer}\n", encoding="utf-8")
    commit(git, tmp_path / "project", "--gpg-sign=x")
    if setting:
        git(tmp_path / "project", "config", *setting)
    assert source.locked_since(Project(tmp_path / "project"), "size-budget-mb") == "locked\n"


@pytest.mark.parametrize(
    ("content", "attributes", "settings"),
    [
        (b"locked\r\n", "", [("core.autocrlf", "true")]),
        (b"locked\r\n", "* text=auto eol=crlf\n", []),
        (b"large\n", "*.lock filter=store\n", [("filter.store.clean", "echo locked")]),
    ],
)
def test_what_git_converts_is_refused_with_a_remedy(
    tmp_path: Path, git: Git, content: bytes, attributes: str, settings: list[tuple[str, str]]
) -> None:
    """`git status` reports no change, and the image is not made of the commit's bytes."""
    root = tmp_path / "project"
    commit(git, root)
    (root / ".git" / "info" / "attributes").write_text(attributes, encoding="utf-8")
    for one in settings:
        git(root, "config", *one)
    source.refuse_converted(Project(root), source.commit(Project(root)))
    (root / "poetry.lock").write_bytes(content)
    found = source.commit(Project(root))
    assert found
    assert found.changes == 1
    with pytest.raises(Failure, match=r"\(got poetry\.lock, which git converts\)\. To fix it: check out with core"):
        source.refuse_converted(Project(root), found)
    # An edit is reported by git, and found by the proof.
    (root / "poetry.lock").unlink()
    source.refuse_converted(Project(root), found)
    git(root, "config", "filter.store.clean", "cat")
    (root / "poetry.lock").write_bytes(b"another\n")
    source.refuse_converted(Project(root), found)


def test_a_converted_file_may_be_generated(tmp_path: Path, git: Git) -> None:
    """A model in Git LFS, for example: the commit has its name alone. An edit of it is a change."""
    root = tmp_path / "project"
    commit(git, root)
    (root / "pyproject.toml").write_text('[tool.prodlock]\ngenerated = ["poetry.lock"]\n', encoding="utf-8")
    (root / ".git" / "info" / "attributes").write_text("*.lock filter=store\n", encoding="utf-8")
    git(root, "commit", "--quiet", "--all", "--message=x")
    (root / "poetry.lock").write_text("large", encoding="utf-8")
    for clean, changes in (("echo locked", 0), ("echo edited", 1), ("cat", 1)):
        git(root, "config", "filter.store.clean", clean)
        found = source.commit(Project(root))
        assert found
        assert found.changes == changes


ALLOWED = "*\n!app\n!poetry.lock\n!pyproject.toml\n"


@pytest.mark.parametrize(
    ("lines", "name", "changes"),
    [
        (f"{ALLOWED}!*.ini\n", "notes.txt", 0),
        (f"{ALLOWED}!*.ini\n", "app.ini", 1),
        (f"{ALLOWED}!**/*.ini\n", "more/app.ini", 1),
        (f"{ALLOWED}!**.ini\n", "app.ini", 1),
        (f"{ALLOWED}!conf?/[ab]*\n", "confs/b/c", 1),
        (f"{ALLOWED}!conf?/[ab]*\n", "confs/c", 0),
        (ALLOWED, "app/local.db", 1),
        (f"{ALLOWED}app/local.db\n", "app/local.db", 0),
        (f"{ALLOWED}./app/*.db\n", "app/local.db", 0),
        (f"{ALLOWED}app/**\n!app/lo\\cal.db\n", "app/local.db", 1),
        ("app/local.db\n", "app/local.db", 0),
        ("app/local.d\n#app\n![\n", "app/local.db", 1),
        (ALLOWED, "compose.override.yml", 1),
        ("", "notes.txt", 1),
    ],
)
def test_an_untracked_file_counts_where_a_build_reads_it(
    tmp_path: Path, git: Git, lines: str, name: str, changes: int
) -> None:
    """By the patterns of .dockerignore, as Docker reads them. Here in a worktree, where `.git` is a file."""
    commit(git, tmp_path / "main")
    root = tmp_path / "project"
    git(tmp_path / "main", "worktree", "add", "--quiet", str(root))
    (root / ".dockerignore").write_text(lines, encoding="utf-8")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message=x")
    for expected in (0, changes):
        found = source.commit(Project(root))
        assert found
        assert found.changes == expected
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (0, "commit abc, clean"),
        (1, "commit abc with 1 file that differs"),
        (2, "commit abc with 2 files that differ"),
    ],
)
def test_a_commit_is_printed_with_the_count_of_changes(changes: int, expected: str) -> None:
    """Without changes it is clean."""
    assert str(Commit("abc", 0, changes)) == expected


def test_the_labels_come_from_the_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    """They have its hash and its time, in UTC."""
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    found = source.arguments(Project(), Commit("abc", 1_700_000_000, 0))
    assert found["REVISION"] == "abc"
    assert found["CREATED"] == "2023-11-14T22:13:20Z"
    assert found["SOURCE_DATE_EPOCH"] == "1700000000"
    assert found["VERSION"]


def test_the_revision_of_a_changed_tree_is_dirty() -> None:
    """The image differs from the commit."""
    assert source.arguments(Project(), Commit("abc", 0, 1))["REVISION"] == "abc-dirty"


def test_source_date_epoch_takes_precedence_over_the_commits_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The specification of SOURCE_DATE_EPOCH requires it."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1")
    assert source.arguments(Project(), Commit("abc", 5, 0))["CREATED"] == "1970-01-01T00:00:01Z"


@pytest.mark.parametrize("made_from", [Commit("abc", 5, 0), None])
@pytest.mark.parametrize("time", ["soon", "-1", "1.5", "9e16", "99999999999999", "\uff19", " 1"])
def test_source_date_epoch_must_be_seconds_of_a_date(
    monkeypatch: pytest.MonkeyPatch, time: str, made_from: Commit | None
) -> None:
    """Whole seconds since 1970, of a year with four digits; Docker reads the variable without a commit too."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", time)
    with pytest.raises(Failure, match=r"^SOURCE_DATE_EPOCH must be a whole number from 0 to 253402300799 \(got"):
        source.arguments(Project(), made_from)


@pytest.mark.parametrize("seconds", [999_999_999_999, -1])
def test_a_commit_time_out_of_range_is_refused(monkeypatch: pytest.MonkeyPatch, seconds: int) -> None:
    """Git accepts times beyond the year 9999. SOURCE_DATE_EPOCH replaces them."""
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    with pytest.raises(Failure, match=r"^The time of commit abc must be in the years 1970 to 9999 \(got"):
        source.arguments(Project(), Commit("abc", seconds, 0))
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1")
    assert source.arguments(Project(), Commit("abc", seconds, 0))["SOURCE_DATE_EPOCH"] == "1"


def test_source_date_epoch_may_be_the_last_second_of_a_date(monkeypatch: pytest.MonkeyPatch) -> None:
    """The labels have years of four digits."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", str(site.LAST_SECOND))
    assert source.arguments(Project(), Commit("abc", 5, 0))["CREATED"] == "9999-12-31T23:59:59Z"


def test_an_empty_source_date_epoch_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scripts clear variables so."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "")
    assert source.arguments(Project(), Commit("abc", 5, 0))["SOURCE_DATE_EPOCH"] == "5"


@pytest.mark.parametrize("text", ["[project]\nname = 'x'\n", "[tool.poetry]\n"])
def test_a_project_needs_no_version(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str) -> None:
    """Poetry requires none where a project is not a package."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pyproject.toml").write_text(text, encoding="utf-8")
    assert source.arguments(Project(), None) == {"VERSION": "", "SOURCE": ""}


@pytest.mark.parametrize("content", [b"[project]\nname = 'x' version = '1'\n", b"\xff", None])
def test_an_invalid_pyproject_is_a_failure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes) -> None:
    """It has a syntax error, another encoding, or does not exist."""
    monkeypatch.chdir(tmp_path)
    if content:
        (tmp_path / "pyproject.toml").write_bytes(content)
    with pytest.raises(Failure, match=r"^pyproject\.toml must be a TOML file that can be read \(got: "):
        source.arguments(Project(), None)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("project = 'x'\n", "project.version"),
        ("[project]\nversion = 1\n", "project.version"),
        ("[project]\nversion = ['1']\n", "project.version"),
        ("[project]\nurls = 'https://x'\n", "project.urls.source"),
        ("[project.urls]\nsource = false\n", "project.urls.source"),
    ],
)
def test_the_settings_of_pyproject_in_labels_must_be_strings(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, name: str
) -> None:
    """The message names the setting."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pyproject.toml").write_text(text, encoding="utf-8")
    with pytest.raises(Failure, match=rf"^{name} in pyproject\.toml must be a string \(got "):
        source.arguments(Project(), None)


def test_without_a_commit_there_is_neither_revision_nor_time() -> None:
    """The arguments have only version and source."""
    assert set(source.arguments(Project(), None)) == {"VERSION", "SOURCE"}
