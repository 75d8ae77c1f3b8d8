"""Which Compose files, project and containers the tasks act on."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from prodlock import tasks
from prodlock.docker import compose, containers, engine
from prodlock.failure import Failure
from prodlock.project import Project


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's folder with a docker-compose.yml, and an environment that names no project."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PRODLOCK_PROJECT", raising=False)
    (tmp_path / "docker-compose.yml").write_text("# A comment.\nname: shop\nservices: {}\n", encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("name: shop", "shop"),
        ('name: "shop-2"', "shop-2"),
        ("name:   'shop_3'  # not the folder's", "shop_3"),
        ("name: shop\r", "shop"),
    ],
)
def test_project_reads_the_name_from_the_compose_file(folder: Path, line: str, name: str) -> None:
    """Without Compose, so that `inv stop` works where the rest of the file or `.env` is broken."""
    (folder / "docker-compose.yml").write_bytes(f"{line}\nservices: [broken \u00fc\n".encode("latin-1"))
    (folder / ".env").write_text("COMPOSE_PROJECT_NAME=other\n", encoding="utf-8")
    assert compose.project_name(Project()) == name


def test_project_takes_the_name_of_the_override(folder: Path) -> None:
    """Compose merges it over the first file."""
    (folder / "docker-compose.override.yml").write_text("name: mine\n", encoding="utf-8")
    assert compose.project_name(Project()) == "mine"


@pytest.mark.parametrize("text", ["name: ${SHOP:-shop}\n", "services: {}\n"])
def test_project_asks_compose_for_any_other_name(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """A variable, or the folder's name; `.env` cannot set it, because the variable is set and empty."""
    asked = []

    def output(_: Project, *args: str, env: dict[str, str]) -> str:
        asked.append((args, env))
        return '{"name": "said"}'

    monkeypatch.setattr(engine, "output", output)
    (folder / "docker-compose.yml").write_text(text, encoding="utf-8")
    assert compose.project_name(Project()) == "said"
    (((program, *_), env),) = asked
    assert (program, env) == ("compose", {"COMPOSE_PROJECT_NAME": ""})


def test_prodlock_project_names_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    """COMPOSE_PROJECT_NAME does not; an empty PRODLOCK_PROJECT counts as not set."""
    monkeypatch.setenv("COMPOSE_PROJECT_NAME", "other")
    monkeypatch.setenv("PRODLOCK_PROJECT", "")
    assert compose.project_name(Project()) == "shop"
    monkeypatch.setenv("PRODLOCK_PROJECT", "2_mine-too")
    assert compose.project_name(Project()) == "2_mine-too"


@pytest.mark.parametrize("name", ["Shop", "-shop", "a b", "shop\n", "a/b", "\u0661", "--file=x"])
def test_prodlock_project_must_be_a_name_that_compose_takes(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The message shows what was set."""
    monkeypatch.setenv("PRODLOCK_PROJECT", name)
    with pytest.raises(Failure, match="PRODLOCK_PROJECT must be lower-case letters, digits"):
        compose.project_name(Project())


def test_stop_refuses_a_wrong_name_also_where_no_container_exists(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a mistyped name would look like a stopped service."""
    monkeypatch.setattr(containers, "listed", list)
    monkeypatch.setenv("PRODLOCK_PROJECT", "Mine")
    with pytest.raises(Failure, match="PRODLOCK_PROJECT must be lower-case letters, digits"):
        compose.stop(Project())


def test_command_names_files_folder_project_and_profiles(folder: Path) -> None:
    """Whatever Compose would otherwise take from a variable."""
    prefix = ("compose", "--file=docker-compose.yml")
    rest = ("--project-directory=.", "--project-name=shop", "--profile=prod")
    assert compose.command(Project(), "prod") == (*prefix, *rest)
    (folder / "docker-compose.override.yml").touch()
    assert compose.command(Project(), "prod") == (*prefix, "--file=docker-compose.override.yml", *rest)


def test_files_are_those_that_compose_prefers(folder: Path) -> None:
    """One of each kind, in the order that Compose documents."""
    for name in ("docker-compose.yaml", "compose.yaml", "docker-compose.override.yaml", "compose.override.yml"):
        (folder / name).touch()
    assert [file.name for file in compose.files(Project())] == ["compose.yaml", "compose.override.yml"]


def test_a_missing_compose_file_is_named(folder: Path) -> None:
    """One line, no traceback."""
    (folder / "docker-compose.yml").unlink()
    with pytest.raises(Failure, match=r"must have a docker-compose\.yml \(got none\)"):
        compose.project_name(Project())


def test_a_compose_file_that_cannot_be_read_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may read any, so that the question is answered here."""
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(Failure, match=r"docker-compose\.yml must be readable \(got no permission\)"):
        compose.project_name(Project())


@pytest.mark.parametrize("name", engine.REDIRECTING)
def test_docker_does_not_see_what_redirects_compose(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Other variables it sees, and what a task adds."""
    monkeypatch.setenv(name, "other")
    monkeypatch.setenv("SHOP", "1")
    found = engine.environment(Project(), {"PORT": "8001"})
    assert name not in found
    assert (found["SHOP"], found["PORT"]) == ("1", "8001")
    assert os.environ[name] == "other"


def line(**changed: str) -> str:
    """Return a line of `docker ps` for a container that `inv serve` made in this folder."""
    columns = {
        "identifier": "0123456789ab",
        "names": "shop-api-prod-1",
        "image": "shop:prod",
        "state": "running",
        "ports": "127.0.0.1:8001->8000/tcp",
        "project": "shop",
        "service": "api-prod",
        "once": "False",
        "folder": str(Path.cwd()),
        "files": f"{Path.cwd()}/docker-compose.yml",
    }
    return "\t".join((columns | changed).values())


def test_a_container_says_where_it_is_and_how_to_stop_it(folder: Path) -> None:
    """By the labels that Compose gives it."""
    (folder / "tasks.py").touch()
    container = containers.parsed(Project(), line(names="x/alias,shop-api-prod-1"))
    assert container.here
    assert container.usual
    assert str(container) == f"shop-api-prod-1 on http://localhost:8001, started from {folder}"
    assert container.remedy() == "`inv stop`"


def test_a_container_of_another_checkout_is_stopped_there(folder: Path) -> None:
    """Or by Docker, where that checkout is gone."""
    other = folder / "other"
    files = f"{other}/docker-compose.yml"
    container = containers.parsed(Project(), line(folder=str(other), files=files))
    assert not container.here
    assert container.remedy() == "`docker rm --force shop-api-prod-1`"
    other.mkdir()
    (other / "docker-compose.yml").touch()
    assert container.remedy() == f"`docker compose --file={files} --project-name=shop --profile=prod down`"
    (other / "tasks.py").touch()
    assert container.remedy() == f"`inv stop` in {other}"


def test_a_container_of_other_files_is_stopped_with_these(folder: Path) -> None:
    """`inv stop` knows nothing of them, though the folder is the same one."""
    proxy = folder / "proxy.yml"
    proxy.touch()
    container = containers.parsed(Project(), line(files=f"{folder}/docker-compose.yml,{proxy}"))
    assert container.here
    assert not container.usual
    assert f"--file={folder}/docker-compose.yml --file={proxy} " in container.remedy()
    # A file with a usual name in another folder is another file.
    assert not containers.parsed(Project(), line(files=f"{folder}/deploy/docker-compose.yml")).usual


def test_a_container_made_by_hand_is_stopped_by_its_name() -> None:
    """It has no labels of Compose's."""
    container = containers.parsed(
        Project(), line(project="", service="", once="", folder="", files="", ports="", state="exited")
    )
    assert not container.here
    assert str(container) == "shop-api-prod-1 (exited), started by hand"
    assert container.remedy() == "`docker rm --force shop-api-prod-1`"


def test_a_container_of_compose_run_is_not_one_of_serve() -> None:
    """`inv stop` leaves running tests alone."""
    assert not containers.parsed(Project(), line(once="True")).usual


@pytest.mark.parametrize(
    ("answer", "broken"),
    [
        (("running", "0", "0", "healthy"), False),
        (("running", "0", "0", ""), False),
        (("running", "0", "0", "starting"), False),
        (("created", "0", "0", ""), False),
        (("exited", "0", "0", ""), False),
        (("exited", "3", "0", ""), True),
        (("running", "0", "0", "unhealthy"), True),
        (("running", "0", "1", "starting"), True),
        (("restarting", "1", "2", ""), True),
        (("dead", "0", "0", ""), True),
    ],
)
def test_failing_containers_are_told_from_the_others(answer: tuple[str, str, str, str], broken: bool) -> None:  # noqa: FBT001
    """One that never started, for want of another, has not failed itself."""
    assert containers.broken(*answer) == broken


NAMES = {"build", "test", "lint"}


@pytest.mark.parametrize(
    ("given", "corrected"),
    [
        (["test", "-k", "a b"], ["test", "--", "-k", "a b"]),
        (["test", "tests/test_x.py"], ["test", "--", "tests/test_x.py"]),
        (["build", "test", "-x", "--", "-v"], ["build", "test", "--", "-x", "-v"]),
        (["test", "--all", "x"], ["test", "--all", "--", "x"]),
        (["test", "-x", "build"], ["test", "--", "-x", "build"]),
    ],
)
def test_a_missing_separator_is_put_where_it_belongs(given: Sequence[str], corrected: list[str]) -> None:
    """Before the first word that is neither an option of the task nor another task."""
    assert tasks.separated(given, "test", {"--all", "--help"}, NAMES) == corrected


@pytest.mark.parametrize(
    "given",
    [[], ["test"], ["test", "--", "-k", "x"], ["build", "-x"], ["test", "--help"], ["test", "lint", "--fix"]],
)
def test_a_command_line_that_needs_no_separator_is_left_alone(given: Sequence[str]) -> None:
    """Nothing to hand on, or handed on as it must be."""
    assert tasks.separated(given, "test", {"--all", "--help"}, NAMES) is None
