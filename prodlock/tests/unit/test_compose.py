"""The Compose files, the project and the containers that the tasks use."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from prodlock import tasks
from prodlock.docker import compose, containers, engine, production
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
def test_project_name_is_read_from_the_compose_file(folder: Path, line: str, name: str) -> None:
    """Compose is not run, so that `inv stop` works where the rest of the file or `.env` is broken."""
    (folder / "docker-compose.yml").write_bytes(f"{line}\nservices: [broken \u00fc\n".encode("latin-1"))
    (folder / ".env").write_text("COMPOSE_PROJECT_NAME=other\n", encoding="utf-8")
    assert compose.project_name(Project()) == name


def test_the_override_file_can_change_the_project_name(folder: Path) -> None:
    """Compose merges the override over the Compose file."""
    (folder / "docker-compose.override.yml").write_text("name: mine\n", encoding="utf-8")
    assert compose.project_name(Project()) == "mine"


@pytest.mark.parametrize("text", ["name: ${SHOP:-shop}\n", "services: {}\n"])
def test_compose_resolves_any_other_name(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """A variable, or the folder's name; COMPOSE_PROJECT_NAME is empty, so that `.env` cannot set it."""
    asked = []

    def output(_: Project, *args: str, env: dict[str, str]) -> str:
        asked.append((args, env))
        return '{"name": "resolved"}'

    monkeypatch.setattr(engine, "output", output)
    (folder / "docker-compose.yml").write_text(text, encoding="utf-8")
    assert compose.project_name(Project()) == "resolved"
    (((program, *_), env),) = asked
    assert (program, env) == ("compose", {"COMPOSE_PROJECT_NAME": ""})


def test_prodlock_project_names_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    """COMPOSE_PROJECT_NAME does not name it; an empty PRODLOCK_PROJECT counts as not set."""
    monkeypatch.setenv("COMPOSE_PROJECT_NAME", "other")
    monkeypatch.setenv("PRODLOCK_PROJECT", "")
    assert compose.project_name(Project()) == "shop"
    monkeypatch.setenv("PRODLOCK_PROJECT", "2_mine-too")
    assert compose.project_name(Project()) == "2_mine-too"


@pytest.mark.parametrize("name", ["Shop", "-shop", "a b", "shop\n", "a/b", "\u0661", "--file=x"])
def test_prodlock_project_must_be_a_valid_name_for_compose(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The message repeats the value."""
    monkeypatch.setenv("PRODLOCK_PROJECT", name)
    with pytest.raises(Failure, match="PRODLOCK_PROJECT must be lower-case letters, digits"):
        compose.project_name(Project())


def test_stop_refuses_an_invalid_name_where_no_container_exists(monkeypatch: pytest.MonkeyPatch) -> None:
    """A misspelt name must not look like a stopped service."""
    monkeypatch.setattr(containers, "list_all", list)
    monkeypatch.setenv("PRODLOCK_PROJECT", "Mine")
    with pytest.raises(Failure, match="PRODLOCK_PROJECT must be lower-case letters, digits"):
        production.stop(Project())


def test_command_names_files_folder_project_and_profiles(folder: Path) -> None:
    """Otherwise Compose would read them from variables."""
    prefix = ("compose", "--file=docker-compose.yml")
    rest = ("--project-directory=.", "--project-name=shop", "--profile=prod")
    assert compose.command(Project(), "prod") == (*prefix, *rest)
    (folder / "docker-compose.override.yml").touch()
    assert compose.command(Project(), "prod") == (*prefix, "--file=docker-compose.override.yml", *rest)


def test_the_compose_file_may_be_in_a_folder(folder: Path) -> None:
    """Also where the project has another one of that name."""
    (folder / "ops").mkdir()
    (folder / "ops" / "docker-compose.yml").write_text("name: inner\n", encoding="utf-8")
    (folder / "pyproject.toml").write_text('[tool.prodlock]\ncompose = "ops/docker-compose.yml"\n', encoding="utf-8")
    options = ("--file=ops/docker-compose.yml", "--project-directory=.", "--project-name=inner")
    assert compose.command(Project()) == ("compose", *options)


def test_files_are_those_that_compose_finds_first(folder: Path) -> None:
    """The Compose file and the override, in the order that Compose documents."""
    for name in ("docker-compose.yaml", "compose.yaml", "docker-compose.override.yaml", "compose.override.yml"):
        (folder / name).touch()
    assert [file.name for file in compose.files(Project())] == ["compose.yaml", "compose.override.yml"]


def test_a_missing_compose_file_is_a_failure(folder: Path) -> None:
    """The message names the folder and the file."""
    (folder / "docker-compose.yml").unlink()
    with pytest.raises(Failure, match=r"must have a docker-compose\.yml \(got none\)"):
        compose.project_name(Project())


def test_an_unreadable_compose_file_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check of permissions is replaced, because root may read any file."""
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(Failure, match=r"docker-compose\.yml must be readable \(got no permission\)"):
        compose.project_name(Project())


@pytest.mark.parametrize("name", engine.REDIRECTING)
def test_docker_does_not_get_variables_that_redirect_compose(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """It gets other variables, and those that a task adds."""
    monkeypatch.setenv(name, "other")
    monkeypatch.setenv("SHOP", "1")
    found = engine.environment(Project(), {"PORT": "8001"})
    assert name not in found
    assert (found["SHOP"], found["PORT"]) == ("1", "8001")
    assert os.environ[name] == "other"


@pytest.mark.parametrize("name", engine.CLIENT)
def test_compose_and_docker_use_one_engine(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A variable of the environment counts for both, one of `.env` for neither: an empty variable precedes it."""
    monkeypatch.delenv(name, raising=False)
    assert engine.environment(Project())[name] == ""
    monkeypatch.setenv(name, "other")
    assert engine.environment(Project())[name] == "other"


def test_builds_use_buildkit_where_the_environment_disables_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The images cannot be built without it."""
    monkeypatch.setenv("DOCKER_BUILDKIT", "0")
    assert engine.environment(Project())["DOCKER_BUILDKIT"] == "1"


def test_builds_get_no_labels_of_buildx_where_the_environment_asks_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """They would be settings that the Dockerfile does not declare, and the check's remedy would be in vain."""
    monkeypatch.setenv("BUILDX_GIT_LABELS", "full")
    assert engine.environment(Project())["BUILDX_GIT_LABELS"] == ""


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
        "one_off": "False",
        "folder": str(Path.cwd()),
        "files": f"{Path.cwd()}/docker-compose.yml",
    }
    return "\t".join((columns | changed).values())


def test_a_container_names_its_address_its_origin_and_its_stop_command(folder: Path) -> None:
    """They come from the labels of Compose."""
    (folder / "tasks.py").touch()
    container = containers.parse(Project(), line(names="x/alias,shop-api-prod-1"))
    assert container.local
    assert container.standard
    assert str(container) == f"shop-api-prod-1 on http://localhost:8001, started from {folder}"
    assert container.stop_command() == "`inv stop`"


def test_a_container_of_another_checkout_has_that_checkouts_stop_command(folder: Path) -> None:
    """Where that checkout has been removed, the command is Docker's."""
    other = folder / "other"
    files = f"{other}/docker-compose.yml"
    container = containers.parse(Project(), line(folder=str(other), files=files))
    assert not container.local
    assert container.stop_command() == "`docker rm --force shop-api-prod-1`"
    other.mkdir()
    (other / "docker-compose.yml").touch()
    assert container.stop_command() == f"`docker compose --file={files} --project-name=shop --profile=prod down`"
    (other / "tasks.py").touch()
    assert container.stop_command() == f"`inv stop` in {other}"


def test_a_container_of_a_folder_that_cannot_be_read_has_dockers_stop_command(folder: Path) -> None:
    """As in another user's home. Root may enter every folder, but the system refuses a name of this length."""
    other = folder / ("x" * 300)
    container = containers.parse(Project(), line(folder=str(other), files=f"{other}/docker-compose.yml"))
    assert container.stop_command() == "`docker rm --force shop-api-prod-1`"


def test_a_container_of_other_compose_files_has_a_stop_command_with_these(folder: Path) -> None:
    """`inv stop` does not use them, though the folder is the same."""
    proxy = folder / "proxy.yml"
    proxy.touch()
    container = containers.parse(Project(), line(files=f"{folder}/docker-compose.yml,{proxy}"))
    assert container.local
    assert not container.standard
    assert f"--file={folder}/docker-compose.yml --file={proxy} " in container.stop_command()
    # A file with a standard name in another folder is another file.
    assert not containers.parse(Project(), line(files=f"{folder}/deploy/docker-compose.yml")).standard


def test_a_folder_may_have_a_comma_in_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compose separates the files in its label by commas as well."""
    folder = tmp_path / "a,b"
    folder.mkdir()
    monkeypatch.chdir(folder)
    container = containers.parse(Project(), line(files=f"{folder}/docker-compose.yml,{folder}/proxy.yml"))
    assert container.files == (f"{folder}/docker-compose.yml", f"{folder}/proxy.yml")
    assert containers.parse(Project(), line()).standard


def test_a_container_of_docker_run_is_removed_by_name() -> None:
    """It has no labels of Compose."""
    container = containers.parse(
        Project(), line(project="", service="", one_off="", folder="", files="", ports="", state="exited")
    )
    assert not container.local
    assert str(container) == "shop-api-prod-1 (exited), started with `docker run`"
    assert container.stop_command() == "`docker rm --force shop-api-prod-1`"


def test_a_container_of_compose_run_is_not_one_of_serve() -> None:
    """`inv stop` leaves running tests alone."""
    assert not containers.parse(Project(), line(one_off="True")).standard


def test_a_further_ctrl_c_does_not_disturb_a_removal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal sends it to docker as well. A container that another command has removed is accepted."""
    commands = []

    def output(_: Project, *args: str, shielded: bool = False, **__: object) -> str:
        commands.append(args[0])
        assert shielded
        if args[0] == "stop":
            raise Failure("No such container.")
        return ""

    monkeypatch.setattr(engine, "output", output)
    containers.remove(Project(), [containers.parse(Project(), line())], "shop")
    assert commands == ["stop", "ps", "network"]


def test_a_container_that_cannot_be_stopped_does_not_keep_others_from_being_removed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The failure is raised at the end, with the networks removed."""
    commands = []
    lines = [line(identifier="a"), line(identifier="b"), line(identifier="c")]

    def output(_: Project, *args: str, **__: object) -> str:
        commands.append((args[0], args[-1]))
        if args[0] == "stop" and args[-1] != "b":
            message = f"{args[-1]} can't be stopped."
            raise Failure(message)
        return "\n".join(lines) if args[0] == "ps" else ""

    monkeypatch.setattr(engine, "output", output)
    with pytest.raises(Failure, match=r"^a can't be stopped\.\nc can't be stopped\.$"):
        containers.remove(Project(), [containers.parse(Project(), one) for one in lines], "shop")
    assert ("rm", "b") in commands
    assert commands[-1][0] == "network"


@pytest.mark.parametrize(
    ("answer", "expected"),
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
def test_the_state_of_a_container_shows_whether_it_failed(answer: tuple[str, str, str, str], expected: bool) -> None:  # noqa: FBT001
    """A container that never started, because a dependency failed, has not failed."""
    assert containers.has_failed(*answer) == expected


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
def test_a_missing_separator_is_inserted(given: Sequence[str], corrected: list[str]) -> None:
    """Before the first word that is neither an option of the task nor another task."""
    assert tasks.with_separator(given, "test", {"--all", "--help"}, NAMES) == corrected


@pytest.mark.parametrize(
    "given",
    [[], ["test"], ["test", "--", "-k", "x"], ["build", "-x"], ["test", "--help"], ["test", "lint", "--fix"]],
)
def test_a_command_line_that_needs_no_separator_is_not_changed(given: Sequence[str]) -> None:
    """It has no arguments to pass on, or they follow `--`."""
    assert tasks.with_separator(given, "test", {"--all", "--help"}, NAMES) is None


def test_the_value_of_an_option_is_not_taken_for_a_task() -> None:
    """An image may have the name of a task. An option without a value may stand before the task."""
    takes_value = {"--image"}.__contains__
    given = ["check-prod", "--image", "test", "--json"]
    assert tasks.with_separator(given, "test", (), NAMES, takes_value) is None
    given = ["build", "--no-cache", "test", "-x"]
    assert tasks.with_separator(given, "test", (), NAMES, takes_value) == [*given[:3], "--", "-x"]
