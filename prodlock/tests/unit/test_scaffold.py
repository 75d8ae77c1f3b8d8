"""`prodlock init` in an existing project, and `prodlock upgrade`: what they write, merge and refuse."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from prodlock import __version__, cli, configuration, generated, vendored
from prodlock.failure import FAILED, Failure
from prodlock.project import Project
from prodlock.scaffold import init, toml, upgrade
from prodlock.scaffold.changes import Changes
from prodlock.scaffold.merge import merge
from prodlock.tests.unit.existing import APP, HASHED
from prodlock.tests.unit.moving import edit, texts

KEYS = {"application": "main:app", "sources": ["main.py"], "environment": ["TOKEN"]}
Captured = pytest.CaptureFixture[str]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project that has moved in."""
    (tmp_path / "main.py").write_text("app = None\n", encoding="utf-8")
    (tmp_path / "poetry.lock").write_text("", encoding="utf-8")
    init.plan(tmp_path, KEYS, "shop").apply()
    return tmp_path


def upgraded(root: Path) -> int:
    """Run `prodlock upgrade`, and return its exit code."""
    return cli.main(["upgrade", f"--root={root}"])


# Changes


def test_mode_and_link_of_a_file_are_kept(tmp_path: Path) -> None:
    """A link in the project is followed; one out of it is refused."""
    root = tmp_path / "root"
    (root / "docker").mkdir(parents=True)
    (root / "docker/file").write_text("before", encoding="utf-8")
    (root / "docker/file").chmod(0o755)
    (root / "link").symlink_to("docker/file")
    changes = Changes(root)
    changes["link"] = "after"
    changes.apply()
    assert (root / "link").is_symlink()
    assert (root / "docker/file").read_text(encoding="utf-8") == "after"
    assert (root / "docker/file").stat().st_mode & 0o777 == 0o755
    (tmp_path / "outside").write_text("before", encoding="utf-8")
    for target in ("../outside", "nowhere"):
        (root / "link").unlink()
        (root / "link").symlink_to(target)
        with pytest.raises(Failure, match=r"^link must be a file in .*symbolic link"):
            changes["link"] = "after"
    assert (tmp_path / "outside").read_text(encoding="utf-8") == "before"


def test_a_second_run_at_the_same_time_is_refused(tmp_path: Path) -> None:
    """The file that the first one is writing stays."""
    (tmp_path / "two.prodlock-new").write_text("x", encoding="utf-8")
    changes = Changes(tmp_path)
    changes["one"], changes["two"] = "after", "after"
    with pytest.raises(Failure, match=r"File exists: .*two\.prodlock-new.*remove"):
        changes.apply()
    assert texts(tmp_path) == {"two.prodlock-new": b"x"}


def test_changes_are_written_as_a_whole(tmp_path: Path) -> None:
    """New files in new folders, other contents, removals; line ends are kept."""
    (tmp_path / "old").write_bytes(b"x")
    (tmp_path / "kept").write_bytes(b"a\r\n")
    changes = Changes(tmp_path)
    changes["a/b/new"], changes["old"], changes["kept"] = "1\n2\r\n", None, "a\r\n"
    assert set(changes.contents) == {"a/b/new", "old"}
    changes.apply()
    assert texts(tmp_path) == {"a/b/new": b"1\n2\r\n", "kept": b"a\r\n"}


def test_a_failure_leaves_all_files_as_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk, for example, at the second file."""
    (tmp_path / "one").write_bytes(b"before")
    changes = Changes(tmp_path)
    changes["one"], changes["two"] = "after", "after"
    write = Path.write_bytes

    def failing(path: Path, content: bytes) -> int:
        if path.name.startswith("two"):
            write(path, b"")
            raise OSError(28, "No space left on device", str(path))
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", failing)
    with pytest.raises(Failure, match=r"No space left on device: .*nothing was written"):
        changes.apply()
    assert texts(tmp_path) == {"one": b"before"}


@pytest.mark.parametrize("error", [OSError(1, "Operation not permitted", "x"), KeyboardInterrupt()])
def test_a_failure_while_files_are_replaced_restores_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    """An immutable file, or Ctrl-C: new files and folders are removed, replaced ones get their content back."""
    for name in ("one", "removed", "two"):
        (tmp_path / name).write_text("before", encoding="utf-8")
    changes = Changes(tmp_path)
    changes["one"], changes["removed"], changes["a/b"], changes["two"] = "after", None, "after", "after"
    replace = Path.replace

    def failing(path: Path, target: Path) -> Path:
        if target.name == "two":
            raise error
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", failing)
    with pytest.raises((Failure, KeyboardInterrupt)):
        changes.apply()
    assert texts(tmp_path) == dict.fromkeys(("one", "removed", "two"), b"before")
    assert not (tmp_path / "a").exists()


def test_an_interruption_behind_a_replacement_restores_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C may come before the next statement."""
    (tmp_path / "one").write_text("before", encoding="utf-8")
    changes = Changes(tmp_path)
    changes["one"] = "after"
    replace = Path.replace

    def interrupted(path: Path, target: Path) -> Path:
        replace(path, target)
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        changes.apply()
    assert texts(tmp_path) == {"one": b"before"}


def test_a_file_that_changes_meanwhile_is_refused(tmp_path: Path) -> None:
    """Another run, or an editor, has written it since the changes were made."""
    changes = Changes(tmp_path)
    changes["one"], changes["two"] = "after", "after"
    (tmp_path / "two").write_text("mine", encoding="utf-8")
    with pytest.raises(Failure, match=r"^two must not change while .*nothing was written"):
        changes.apply()
    assert texts(tmp_path) == {"two": b"mine"}


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    """A folder, bytes that are not UTF-8, or a NUL character."""
    (tmp_path / "bytes").write_bytes(b"\xff")
    (tmp_path / "nul").write_bytes(b"\0")
    (tmp_path / "folder").mkdir()
    for name in ("bytes", "folder", "nul"):
        with pytest.raises(Failure, match=f"^{name} must be a readable text"):
            Changes(tmp_path)[name] = "x"


def test_the_diff_has_all_changes(tmp_path: Path) -> None:
    """As of `git diff`; some paths can be chosen."""
    (tmp_path / "old").write_text("x\n", encoding="utf-8")
    changes = Changes(tmp_path)
    changes["old"], changes["new"] = None, "y\n"
    lines = list(changes.diff())
    assert {"--- a/old", "+++ /dev/null", "-x", "--- /dev/null", "+++ b/new", "+y"} <= set(lines)
    assert "-x" not in list(changes.diff({"new": None}))


# Merges


@pytest.mark.parametrize(
    ("edited", "newer", "expected"),
    [
        ("a\nb\nc\n", "a\nb\nc\n", "a\nb\nc\n"),
        ("a\nb\nc\n", "a\nb\nd\n", "a\nb\nd\n"),
        ("x\nb\nc\n", "a\nb\nc\n", "x\nb\nc\n"),
        ("a\nb\nd\n", "a\nb\nd\n", "a\nb\nd\n"),
        ("x\na\nb\nc\n", "a\nb\nc\ny\n", "x\na\nb\nc\ny\n"),
        ("", "a\nb\nc\n", ""),
    ],
)
def test_edits_of_different_lines_are_merged(edited: str, newer: str, expected: str) -> None:
    """No conflict where only one side has changed a line."""
    assert merge("a\nb\nc\n", edited, newer, "9") == (expected, 0)


def test_edits_of_the_same_line_are_a_conflict() -> None:
    """Both are in the file, with what Prodlock wrote before."""
    text, conflicts = merge("a\n", "mine\n", "theirs\n", "9.0.0")
    assert conflicts == 1
    assert generated.CONFLICT.search(text)
    labels = ("<<<<<<< yours", "||||||| as Prodlock wrote it", ">>>>>>> Prodlock 9.0.0")
    assert all(one in text for one in ("mine", "theirs", *labels))


# TOML


@pytest.mark.parametrize(
    "value",
    [
        "text", 'quotation " mark', "back\\slash", "tab\t and\nline", "ä €", "", True, False, 8000, 0.5, [], ["a", "b"],
        ["a" * 30] * 5, {"run": "alembic upgrade head", "once": True}, {"a": "x", "b": {"run": "y"}},
    ],
)  # fmt: skip
def test_toml_is_read_as_it_was_written(value: object) -> None:
    """Strings, numbers, booleans, lists and tables."""
    written = toml.table({"key": value, "other": 1})
    assert tomllib.loads(written) == {"tool": {"prodlock": {"key": value, "other": 1}}}
    assert all(len(line) <= 120 for line in written.splitlines())


# init


def test_a_project_without_pyproject_gets_one_with_the_table_alone(root: Path) -> None:
    """The keys are those that were found."""
    described = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    assert described == {"tool": {"prodlock": KEYS | {"size-budget-mb": "first build"}}}
    assert configuration.read(root).sources == ("main.py",)
    generated.check(Project(root, {}))
    vendored.check(Project(root, {}))


def test_a_lock_in_a_folder_is_read_with_the_pyproject_beside_it(tmp_path: Path) -> None:
    """Whether the project's folder has a pyproject.toml of its own or gets one."""
    (tmp_path / "main.py").touch()
    (tmp_path / "backend").mkdir()
    for name in ("uv.lock", "pyproject.toml"):
        (tmp_path / "backend" / name).touch()
    init.plan(tmp_path, KEYS | {"lock": "backend/uv.lock"}, "shop").apply()
    generated.check(Project(tmp_path, {}))
    dockerfile = (tmp_path / "Dockerfile").read_text(encoding="utf-8")
    assert "--mount=source=backend/pyproject.toml,target=/lock/backend/pyproject.toml" in dockerfile


@pytest.mark.parametrize("end", ["", "\n"])
def test_nothing_is_overwritten(tmp_path: Path, end: str) -> None:
    """Prodlock's files get other names; to pyproject.toml and .gitignore, lines are appended."""
    present = {
        "Dockerfile": "FROM x", "docker-compose.yml": "name: x", ".dockerignore": ".git", "tasks.py": "x = 1",
        "pyproject.toml": '[project]\nname = "x"', ".gitignore": ".env\n*.log", "poetry.lock": "",
    }  # fmt: skip
    for name, text in present.items():
        (tmp_path / name).write_text(text + end, encoding="utf-8")
    (tmp_path / "main.py").touch()
    init.plan(tmp_path, KEYS, "x").apply()
    found = {name: content.decode() for name, content in texts(tmp_path).items()}
    for name, text in present.items():
        if name in {"pyproject.toml", ".gitignore"}:
            assert found[name].startswith(text + (end or "\n") + "\n# Prodlock")
        else:
            assert found[name] == text + end
    assert found[".gitignore"].splitlines().count(".env") == 1
    names = {"prodlock.Dockerfile", "prodlock.Dockerfile.dockerignore", "prodlock.compose.yml", "prodlock_tasks.py"}
    assert names <= set(found)
    project = Project(tmp_path, {})
    assert (project.configuration.dockerfile, project.configuration.compose) == (init.DOCKERFILE, init.COMPOSE)
    generated.check(project)
    assert upgraded(tmp_path) == 0
    assert {name: content.decode() for name, content in texts(tmp_path).items()} == found


@pytest.mark.parametrize("path", ["tasks/__init__.py", "tasks/jobs.py"])
def test_a_folder_of_tasks_is_not_hidden(tmp_path: Path, path: str) -> None:
    """Python imports a package before a module of its name, and a module before a folder of modules."""
    for name in ("main.py", path):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    contents = init.plan(tmp_path, KEYS, "x").contents
    assert (init.TASKS in contents, "tasks.py" in contents) == (True, False)


@pytest.mark.parametrize("name", ["Dockerfile", "dockerfile", "Containerfile", ".dockerignore"])
def test_either_file_of_docker_gives_both_another_name(tmp_path: Path, name: str) -> None:
    """An ignore file of the user's would count for Prodlock's Dockerfile too, and the other way round."""
    (tmp_path / name).write_text("x\n", encoding="utf-8")
    (tmp_path / "main.py").touch()
    assert {"prodlock.Dockerfile", "prodlock.Dockerfile.dockerignore"} <= set(init.plan(tmp_path, KEYS, "x").contents)


def test_a_folder_prodlock_of_the_users_is_refused(tmp_path: Path) -> None:
    """So is each of the other names that Prodlock's files get."""
    for name in ("prodlock", "prodlock.Dockerfile", "prodlock.compose.yml", "prodlock_tasks.py"):
        (tmp_path / name).mkdir()
        with pytest.raises(Failure, match=f"^{re.escape(name)} must not exist yet"):
            init.refuse_unsuitable(tmp_path)
        (tmp_path / name).rmdir()


def test_a_project_moves_in_once(root: Path) -> None:
    """`prodlock upgrade` writes what has changed since."""
    with pytest.raises(Failure, match=r"must not have \[tool\.prodlock\] yet .*`prodlock upgrade`"):
        init.refuse_unsuitable(root)


@pytest.mark.parametrize("text", ["class Settings:\n", "x = 1\n", None])
def test_settings_of_another_form_are_refused(tmp_path: Path, text: str | None) -> None:
    """A module that is not Python, one without the class, and none."""
    (tmp_path / "main.py").touch()
    if text is not None:
        (tmp_path / "settings.py").write_text(text, encoding="utf-8")
    with pytest.raises(Failure, match=r"^`settings` must be a module .*\(got settings\.py: "):
        init.plan(tmp_path, KEYS | {"settings": "settings.py"}, "x")


@pytest.mark.parametrize(
    ("setting", "expected"),
    [("port=80", 80), ("health=/x", "/x"), ('sources=["a"]', ["a"]), (" lock = uv.lock ", "uv.lock"), ("server=", "")],
)
def test_a_setting_is_toml_or_text(setting: str, expected: object) -> None:
    """A text needs no quotation marks."""
    assert list(init.overrides([setting]).values()) == [expected]


@pytest.mark.parametrize("setting", ["port", "ports=1", "=1", ""])
def test_a_setting_without_a_key_is_refused(setting: str) -> None:
    """The message shows the form."""
    with pytest.raises(Failure, match=r"^--set must be KEY=VALUE"):
        init.overrides([setting])


# upgrade


def test_an_upgrade_without_edits_changes_nothing(root: Path, capsys: Captured) -> None:
    """Also a second time."""
    before = texts(root)
    assert [upgraded(root), upgraded(root)] == [0, 0]
    assert texts(root) == before
    assert capsys.readouterr().out == f"All files are those of Prodlock {__version__} already.\n" * 2


def test_the_users_edits_are_kept(root: Path) -> None:
    """Also where the configuration has changed other lines of the same file."""
    edit(root / "Dockerfile", 'ARG PACKAGES=""', 'ARG PACKAGES="git"')
    edit(root / "docker-compose.yml", "cpus: 1", "cpus: 2")
    edit(root / "pyproject.toml", "[tool.prodlock]\n", "[tool.prodlock]\nport = 9000\n")
    assert upgraded(root) == 0
    dockerfile, compose = ((root / name).read_text(encoding="utf-8") for name in ("Dockerfile", "docker-compose.yml"))
    assert 'ARG PACKAGES="git"' in dockerfile
    assert "EXPOSE 9000" in dockerfile
    assert "cpus: 2" in compose
    assert "${PORT:-9000}:9000" in compose
    generated.check(Project(root, {}))
    before = texts(root)
    assert upgraded(root) == 0
    assert texts(root) == before


def test_overlapping_edits_are_marked(root: Path, capsys: Captured) -> None:
    """Exit code 1; until they are decided, another upgrade is refused and writes nothing."""
    edit(root / "Dockerfile", "EXPOSE 8000", "EXPOSE 8001")
    edit(root / "pyproject.toml", "[tool.prodlock]\n", "[tool.prodlock]\nport = 9000\n")
    assert upgraded(root) == FAILED
    assert capsys.readouterr().err.startswith("Dockerfile must be decided by you: ")
    before = texts(root)
    assert generated.CONFLICT.search(before["Dockerfile"].decode())
    assert upgraded(root) == FAILED
    assert "Dockerfile must have no marked conflicts" in capsys.readouterr().err
    assert texts(root) == before
    text = re.sub(r"<{7}.*?={7}\n(.*?)>{7}.*?\n", r"\1", before["Dockerfile"].decode(), flags=re.DOTALL)
    (root / "Dockerfile").write_text(text, encoding="utf-8")
    assert upgraded(root) == 0


@pytest.mark.parametrize("end", ["\r\n", ""])
def test_ends_of_lines_are_not_edits(root: Path, end: str) -> None:
    """Git writes others on Windows; an editor may leave out the last one."""
    text = (root / "Dockerfile").read_text(encoding="utf-8")
    written = text.replace("\n", end).encode() if end else text.rstrip().encode()
    (root / "Dockerfile").write_bytes(written)
    edit(root / "pyproject.toml", "[tool.prodlock]\n", "[tool.prodlock]\nport = 9000\n")
    assert upgraded(root) == 0
    after = (root / "Dockerfile").read_bytes()
    assert b"EXPOSE 9000" in after
    assert after.count(b"\r\n") == (after.count(b"\n") if end else 0)


def test_a_renamed_file_keeps_its_edits(root: Path) -> None:
    """With the key that names it."""
    edit(root / "Dockerfile", 'ARG PACKAGES=""', 'ARG PACKAGES="git"')
    (root / "Dockerfile").rename(root / "prod.Dockerfile")
    edit(root / "pyproject.toml", "[tool.prodlock]\n", '[tool.prodlock]\nport = 9000\ndockerfile = "prod.Dockerfile"\n')
    assert upgraded(root) == 0
    text = (root / "prod.Dockerfile").read_text(encoding="utf-8")
    assert 'ARG PACKAGES="git"' in text
    assert "EXPOSE 9000" in text
    assert not (root / "Dockerfile").exists()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('dockerfile = "notes"', "^notes must not exist yet"),
        ('compose = "prodlock/VERSION"', "`compose` must be a file of its own"),
        ('lock = "missing.txt"', "The lock must be a file of the project"),
        ('lock = "main.py"', "`lock` must be a poetry.lock"),
    ],
)
def test_a_file_of_another_purpose_is_refused(root: Path, capsys: Captured, line: str, message: str) -> None:
    """An upgrade writes no conflicts into it."""
    (root / "notes").write_text("mine\n", encoding="utf-8")
    edit(root / "pyproject.toml", "[tool.prodlock]\n", f"[tool.prodlock]\n{line}\n")
    before = texts(root)
    assert upgraded(root) == FAILED
    assert re.search(message, capsys.readouterr().err)
    assert texts(root) == before


def test_a_project_without_its_table_is_refused(root: Path, capsys: Captured) -> None:
    """The defaults of all keys would replace what was written."""
    (root / "pyproject.toml").write_text("", encoding="utf-8")
    before = texts(root)
    assert upgraded(root) == FAILED
    assert "must have [tool.prodlock] (got none" in capsys.readouterr().err
    assert texts(root) == before


def test_a_given_name_of_a_file_is_used_beside_an_existing_one(tmp_path: Path) -> None:
    """The usual other name is for a user that gives none."""
    (tmp_path / "Dockerfile").write_text("FROM x\n", encoding="utf-8")
    (tmp_path / "main.py").touch()
    contents = init.plan(tmp_path, KEYS | {"dockerfile": "docker/Dockerfile"}, "x").contents
    assert "docker/Dockerfile" in contents
    assert init.DOCKERFILE not in contents


@pytest.mark.parametrize("name", ["123", "on"])
def test_a_name_that_yaml_reads_as_another_value_is_quoted(tmp_path: Path, name: str) -> None:
    """An upgrade keeps it."""
    (tmp_path / "main.py").touch()
    (tmp_path / "poetry.lock").touch()
    init.plan(tmp_path, KEYS, name).apply()
    before = texts(tmp_path)
    assert f'\nname: "{name}"\n'.encode() in before["docker-compose.yml"]
    assert upgraded(tmp_path) == 0
    assert texts(tmp_path) == before


def test_written_files_that_git_ignores_are_reported(
    tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit would not have them; a .gitignore may list what is kept alone."""
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)  # noqa: S607
    (tmp_path / ".gitignore").write_text("*\n!/main.py\n!/requirements.txt\n!/tasks.py\n", encoding="utf-8")
    for name, text in {"main.py": APP, "requirements.txt": HASHED}.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert cli.main(["init"]) == 0
    message = capsys.readouterr().err
    assert message.startswith("git must keep what is written (got ")
    assert "pyproject.toml" in message
    assert "tasks.py" not in message
    assert message.endswith("To fix it: add exceptions to .gitignore, such as `!/prodlock/**`.\n")


def test_a_dry_run_writes_nothing(root: Path, capsys: Captured) -> None:
    """It prints the difference."""
    edit(root / "pyproject.toml", "[tool.prodlock]\n", "[tool.prodlock]\nport = 9000\n")
    before = texts(root)
    assert cli.main(["upgrade", f"--root={root}", "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert "-EXPOSE 8000\n+EXPOSE 9000\n" in printed
    assert printed.endswith("Nothing was written.\n")
    assert texts(root) == before


def test_vendored_files_follow_the_configuration(root: Path) -> None:
    """Those that the project no longer needs are removed, and changed ones restored."""
    edit(root / "pyproject.toml", "[tool.prodlock]\n", '[tool.prodlock]\nserver = "gunicorn main:app"\n')
    edit(root / "prodlock/inside/install.py", "import", "import  ")
    (root / "prodlock/inside/bytecode.py").unlink()
    assert upgraded(root) == 0
    assert [path.name for path in (root / "prodlock/server").iterdir()] == ["healthcheck.py"]
    vendored.check(Project(root, {}))


def test_a_removed_file_is_written_again(root: Path) -> None:
    """As after `git rm` of a file that is needed."""
    text = (root / "docker-compose.yml").read_bytes()
    edit(root / "docker-compose.yml", "name: shop", f"name: {root.name}")
    (root / ".dockerignore").unlink()
    assert upgraded(root) == 0
    assert (root / ".dockerignore").is_file()
    assert (root / "docker-compose.yml").read_bytes() != text


@pytest.mark.parametrize("version", ["99.0.0", "0.99.0"])
def test_an_older_installed_version_is_refused(root: Path, capsys: Captured, version: str) -> None:
    """It can't have what the newer one has written."""
    (root / vendored.VERSION).write_text(f"{version}\n", encoding="utf-8")
    before = texts(root)
    assert upgraded(root) == FAILED
    assert f"The installed Prodlock must be at least {version}" in capsys.readouterr().err
    assert texts(root) == before


def test_a_newer_installed_version_prints_the_changes(root: Path, capsys: Captured) -> None:
    """The sections of the changelog since the version that wrote the files."""
    (root / vendored.VERSION).write_text("0.1.0\n", encoding="utf-8")
    assert upgraded(root) == 0
    printed = capsys.readouterr().out
    assert "## [0.2.0]" in printed
    assert "## [0.1.0]" not in printed
    assert (root / vendored.VERSION).read_text(encoding="utf-8") == f"{__version__}\n"
    assert list(upgrade.news("99.0.0")) == []


@pytest.mark.parametrize(
    ("name", "text"), [("VERSION", None), ("VERSION", "?"), ("VERSION", "abc"), ("BASE", None), ("BASE", "x")]
)
def test_a_damaged_folder_is_refused(root: Path, capsys: Captured, name: str, text: str | None) -> None:
    """Without the version or the base, edits and older files look the same."""
    path = root / vendored.FOLDER / name
    path.unlink()
    if text:
        path.write_text(text, encoding="utf-8")
    before = texts(root)
    assert upgraded(root) == FAILED
    assert f"prodlock/{name} must " in capsys.readouterr().err
    assert texts(root) == before
