"""Variables of `.env` that the tasks read themselves."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from prodlock import site
from prodlock.docker import engine, env_file
from prodlock.project import Project

# Receives the documents that Compose was given, and returns what it is to print for a variable.
Compose = Callable[[dict[str, str | None]], list[dict[str, object]]]


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Compose:
    """Replace Compose: it has the given values; the list that is returned collects what it was asked."""

    def replace(values: dict[str, str | None]) -> list[dict[str, object]]:
        asked: list[dict[str, object]] = []

        def output(_: Project, *args: str, given: bytes) -> str:
            assert args[:2] == ("compose", "--file=-")
            asked.append(json.loads(given))
            return json.dumps({"services": {"x": {"environment": dict.fromkeys(env_file.SHARED) | values}}})

        monkeypatch.setattr(engine, "output", output)
        return asked

    return replace


def test_a_variable_of_the_file_is_read_once(tmp_path: Path, answer: Compose) -> None:
    """Compose parses the file. It prints a `$` as `$$`."""
    asked = answer({"PORT": "8001", "INDEX_URL": "https://u:a$$b@index.example"})
    (tmp_path / ".env").touch()
    environment = env_file.Environment(tmp_path, {"SHOP": "1"})
    assert environment.get("PORT") == "8001"
    assert environment.get("INDEX_URL") == "https://u:a$b@index.example"
    assert environment.get("CA_BUNDLE") is None
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("written", "expected"),
    [("ca.pem", "{root}/ca.pem"), ("/etc/ca.pem", "/etc/ca.pem"), ("~/ca.pem", "/home/x/ca.pem"), ("", "")],
)
def test_paths_of_the_file_are_relative_to_the_projects_folder(
    tmp_path: Path, answer: Compose, monkeypatch: pytest.MonkeyPatch, written: str, expected: str
) -> None:
    """As in Compose, wherever a task is run."""
    monkeypatch.setenv("HOME", "/home/x")
    answer({"CA_BUNDLE": written, "NETRC": written, "PORT": "8001"})
    (tmp_path / ".env").touch()
    environment = env_file.Environment(tmp_path, {})
    assert [environment[name] for name in ("CA_BUNDLE", "NETRC")] == [expected.format(root=tmp_path)] * 2
    assert environment["PORT"] == "8001"


def test_the_environment_takes_precedence(tmp_path: Path, answer: Compose) -> None:
    """As in Compose, also where the variable is empty; the file is not read for it."""
    asked = answer({"PORT": "8001"})
    (tmp_path / ".env").touch()
    environment = env_file.Environment(tmp_path, {"PORT": ""})
    assert environment["PORT"] == ""
    assert not asked


def test_only_shared_variables_are_read(tmp_path: Path, answer: Compose) -> None:
    """Neither the project's name nor a variable that redirects Compose; nothing of the file is listed for docker."""
    asked = answer({"PORT": "8001", "PRODLOCK_PROJECT": "other"})
    (tmp_path / ".env").touch()
    environment = env_file.Environment(tmp_path, {"SHOP": "1"})
    assert {name: environment.get(name) for name in ("PRODLOCK_PROJECT", *engine.REDIRECTING)} == dict.fromkeys(
        ("PRODLOCK_PROJECT", *engine.REDIRECTING)
    )
    assert not asked
    assert environment["PORT"] == "8001"
    assert dict(environment.items()) == {"SHOP": "1"}
    given = engine.environment(Project(tmp_path, environment))
    assert {name: value for name, value in given.items() if value} == {"SHOP": "1", "DOCKER_BUILDKIT": "1"}


def test_without_the_file_compose_is_not_run(tmp_path: Path, answer: Compose) -> None:
    """A task takes no more time then."""
    asked = answer({"PORT": "8001"})
    assert env_file.Environment(tmp_path, {}).get("PORT") is None
    assert not asked


def test_builds_read_the_package_index_of_the_file(
    tmp_path: Path, answer: Compose, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the default of `inv` would replace what Compose reads there."""
    for name in env_file.SHARED:
        monkeypatch.delenv(name, raising=False)
    answer({"INDEX_URL": "https://index.example/simple"})
    (tmp_path / ".env").touch()
    assert site.environment(env_file.project(tmp_path))["INDEX_URL"] == "https://index.example/simple"
