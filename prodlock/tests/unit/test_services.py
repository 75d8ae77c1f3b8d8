"""Passwords and images of the services beside the application."""

from __future__ import annotations

from pathlib import Path

import pytest

from prodlock.docker import engine, services
from prodlock.failure import Failure
from prodlock.project import Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project with two databases, a cache and no volume."""
    (tmp_path / "docker-compose.yml").write_text("name: shop\n", encoding="utf-8")
    table = '[tool.prodlock.services]\ndb = "postgres:17"\nold-db = "postgres:16"\ncache = "redis:8"\n'
    (tmp_path / "pyproject.toml").write_text(table, encoding="utf-8")
    return Project(tmp_path, {})


def test_passwords_are_random_and_stay(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each database has its own, which the container's user can read, in a folder that no other user can enter."""
    monkeypatch.setattr(engine, "output", lambda *_, **__: "")
    services.make_secrets(project)
    folder = project.root / ".prodlock" / "secrets"
    written = {file.name: file.read_text(encoding="ascii") for file in folder.iterdir()}
    assert set(written) == {"db_password", "old_db_password"}
    assert len({*written.values()}) == 2
    assert all(len(password) > 40 for password in written.values())
    assert {file.stat().st_mode & 0o777 for file in folder.iterdir()} == {0o644}
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder.parent / ".gitignore").read_text(encoding="ascii") == "*\n"
    services.make_secrets(project)
    assert written == {file.name: file.read_text(encoding="ascii") for file in folder.iterdir()}


def test_a_lost_password_is_not_replaced(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """The data in the volume was made with the former one."""
    monkeypatch.setattr(engine, "output", lambda *_, **__: "shop_db\n")
    with pytest.raises(Failure, match=r"db_password must have the password .* volume shop_db .*inv clean --volumes"):
        services.make_secrets(project)
    assert not (project.root / ".prodlock").exists()


def test_a_folder_that_can_not_be_written_is_a_failure(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is in its place."""
    monkeypatch.setattr(engine, "output", lambda *_, **__: "")
    (project.root / ".prodlock").write_text("", encoding="utf-8")
    with pytest.raises(Failure, match="must be a folder that can be written"):
        services.make_secrets(project)


def test_absent_images_are_pulled(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Present ones are not; a failure names the image."""
    pulled: list[str] = []

    def run(_: Project, *args: str, **__: object) -> int:
        pulled.append(args[-1])
        return args[-1] == "redis:8"

    monkeypatch.setattr(engine, "output", lambda _, *args, **__: "0123" if args[-1] == "postgres:16" else "")
    monkeypatch.setattr(engine, "run", run)
    with pytest.raises(Failure, match="The image redis:8 of `services`"):
        services.pull(project)
    assert pulled == ["postgres:17", "redis:8"]


def test_runs_of_tests_are_recognized_by_their_names() -> None:
    """`inv clean` removes what a killed one has left, and nothing of another project."""
    assert services.is_run("shop-run-0123456789ab", "shop")
    assert not services.is_run("shop", "shop")
    assert not services.is_run("shop-2-run-0123456789ab", "shop")
