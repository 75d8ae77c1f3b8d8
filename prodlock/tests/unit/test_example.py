"""`prodlock init NAME`: a new service from the example."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from prodlock import cli, configuration, generated, service, vendored
from prodlock.failure import FAILED, Failure
from prodlock.inside.lock import poetry
from prodlock.project import Project
from prodlock.scaffold import example

REPOSITORY = Path(__file__).parents[3]
# What a user reads, beside the sources, the tests and the lock.
READ = ("pyproject.toml", "Dockerfile", "docker-compose.yml", ".dockerignore", "tasks.py", ".gitignore")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a new service."""
    folder = tmp_path_factory.mktemp("shop")
    (folder / ".git").mkdir()
    example.plan(folder, "shop", {}).apply()
    return folder


def texts(root: Path) -> dict[str, str]:
    """Return the files of a service by their paths."""
    files = (path for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(root).as_posix(): path.read_text(encoding="utf-8") for path in files}


def test_nothing_of_the_example_is_left(root: Path) -> None:
    """Neither its name nor its domain; the vendored programs split addresses, which have quoted parts."""
    found = texts(root)
    own = {path: text for path, text in found.items() if not path.startswith("prodlock/")}
    pattern = re.compile("quote|example service|price|bolt|discount", re.IGNORECASE)
    assert [path for path, text in own.items() if pattern.search(text)] == []
    assert not any(re.search(r"\bquotes\b|prodlock/tests", text) for text in found.values())
    # The control: the example has it.
    assert pattern.search((REPOSITORY / "app/settings.py").read_text(encoding="utf-8"))


@pytest.mark.parametrize(("path", "replaced"), example._TAKEN.items())
def test_each_replacement_is_needed(path: str, replaced: tuple[tuple[str, str], ...]) -> None:
    """An edit of the example that a pattern no longer matches would leave its name in new services."""
    text = (REPOSITORY / path).read_text(encoding="utf-8")
    for pattern, _ in replaced:
        if "quotes" not in pattern or (REPOSITORY / "app/quotes.py").exists():
            assert re.search(pattern, text, re.MULTILINE), pattern


def test_every_file_of_the_example_but_its_domain_is_taken() -> None:
    """A new module or test of the example is in new services, or decided against here."""
    files = {
        path.relative_to(REPOSITORY).as_posix()
        for name in ("app", "tests")
        for path in (REPOSITORY / name).rglob("*.py")
    }
    assert files - set(example._TAKEN) <= {"app/quotes.py", "tests/test_quotes.py"}


def test_the_sources_are_valid(root: Path) -> None:
    """Each Python file can be compiled, and has the name and the version of the new service."""
    found = texts(root)
    for path, text in found.items():
        if path.endswith(".py"):
            compile(text, path, "exec")
    assert 'default="shop"' in found["app/settings.py"]
    assert '__version__ = "0.1.0"' in found["app/__init__.py"]


def test_the_lock_is_fresh(root: Path) -> None:
    """The name and the version are not among what it records."""
    described = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    locked = tomllib.loads((root / "poetry.lock").read_text(encoding="utf-8"))
    assert (described["project"]["name"], described["project"]["version"]) == ("shop", "0.1.0")
    assert "license" not in described["project"]
    assert poetry.content_hash(described) == locked["metadata"]["content-hash"]


def test_the_files_are_those_of_its_configuration(root: Path) -> None:
    """Both checks compare them; Compose hands on the settings of the service."""
    project = Project(root, {})
    generated.check(project)
    vendored.check(project)
    assert service.variables(project) == {"APP_NAME", "APP_DOCS"}
    compose = (root / "docker-compose.yml").read_text(encoding="utf-8")
    assert re.search(r"environment: &environment \{.*\bAPP_DOCS, APP_NAME\}", compose)
    assert re.search(r"^name: shop$", compose, re.MULTILINE)


def test_an_upgrade_changes_nothing(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All files are those of the installed version."""
    assert cli.main(["upgrade", f"--root={root}"]) == 0
    assert capsys.readouterr().out.startswith("All files are those of Prodlock ")


def test_the_footprint_is_within_its_budget(root: Path) -> None:
    """At most 6 files and 200 lines to be read, at most 2,000 lines in all; the list of hashes is not counted."""
    found = texts(root)
    others = {path for path in found if not path.startswith(("app/", "tests/", "prodlock/")) and path != "poetry.lock"}
    assert others == set(READ)
    table = found["pyproject.toml"].partition("# Prodlock's")[2]
    read = [table, *(found[path] for path in READ if path != "pyproject.toml")]
    lines = sum(len(text.splitlines()) for text in read)
    assert lines <= 200
    copied = (text for path, text in found.items() if path.startswith("prodlock/") and not path.endswith("/uv.txt"))
    assert lines + sum(len(text.splitlines()) for text in copied) <= 2000


@pytest.mark.parametrize("name", ["a", "shop2", "my-shop", "my_shop", "0x", "a" * 50])
def test_a_valid_name_is_taken(tmp_path: Path, name: str) -> None:
    """It names a distribution, a Compose project and images."""
    contents = example.plan(tmp_path, name, {}).contents
    assert f"\nname: {name}\n".replace("0x", '"0x"') in (contents["docker-compose.yml"] or "")


@pytest.mark.parametrize(
    "name", ["", "Shop", "my shop", "-shop", "shop-", "a__b", "a.b", "../x", "ä", "a" * 51, "a\n", 'a"', "$A"]
)
def test_a_name_that_is_not_valid_is_refused(tmp_path: Path, name: str) -> None:
    """For Compose, for the image's name or for the distribution's."""
    with pytest.raises(Failure, match=r"^NAME must be at most 50 lower-case .*\(got .*\)\. To fix it: "):
        example.plan(tmp_path, name, {})


def test_the_name_of_a_dependency_is_refused(tmp_path: Path) -> None:
    """Poetry would take the service for its own dependency."""
    with pytest.raises(Failure, match=r"^NAME must not be .*\(got 'fastapi'\).*fastapi-service"):
        example.plan(tmp_path, "fastapi", {})


def test_a_folder_with_files_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also a second time; nothing is written."""
    (tmp_path / "notes.txt").touch()
    monkeypatch.chdir(tmp_path)
    assert cli.main(["init", "shop"]) == FAILED
    assert "must be empty for a new service (got notes.txt)" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_dry_run_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It prints the new files as a diff."""
    monkeypatch.chdir(tmp_path)
    assert cli.main(["init", "shop", "--dry-run"]) == 0
    assert "+++ b/app/main.py\n" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_a_key_can_be_set(tmp_path: Path) -> None:
    """As in an existing project."""
    example.plan(tmp_path, "shop", {"port": 9000}).apply()
    assert configuration.read(tmp_path).port == 9000
    assert "EXPOSE 9000\n" in (tmp_path / "Dockerfile").read_text(encoding="utf-8")
