"""Services beside the application, such as a database, in the Compose file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from prodlock import configuration, generated, recipes
from prodlock.configuration import Command, Configuration
from prodlock.failure import Failure

POSTGRES, REDIS = recipes.KNOWN["postgres"], recipes.KNOWN["redis"]
COMMANDS = (
    Command("worker", ("celery", "worker"), once=False),
    Command("migrate", ("alembic", "upgrade", "head"), once=True),
    Command("seed", ("python", "-m", "seed"), once=True),
)


def composed(services: Sequence[tuple[str, str]], *variables: str) -> dict[str, list[str]]:
    """Return the lines of each service and of each part of a rendered Compose file, by its name."""
    described = Configuration(lock="poetry.lock", services=tuple(services), commands=COMMANDS)
    facts = generated.Facts("shop", variables, is_own=False, driver="+psycopg")
    found: dict[str, list[str]] = {}
    part = name = ""
    for line in generated.files(described, facts)["docker-compose.yml"].text.splitlines():
        part = line.partition(":")[0] if line[:1].isalpha() else part
        if line[:1].isalpha() or (part == "services" and re.match("  [a-z]", line)):
            name = line.strip().partition(":")[0]
            found[name] = [line]
        elif name:
            found[name].append(line.strip())
    return found


@pytest.mark.parametrize(
    ("image", "recipe"),
    [
        ("postgres", POSTGRES),
        ("postgres:17-alpine", POSTGRES),
        ("docker.io/library/postgres:17", POSTGRES),
        ("registry.example:5000/base/postgres", POSTGRES),
        ("pgvector/pgvector:pg17", POSTGRES),
        (f"postgres:17@sha256:{0:064}", POSTGRES),
        ("redis:8", REDIS),
        ("postgres-exporter:1", None),
        ("example/mypostgres", None),
        ("mailpit", None),
    ],
)
def test_an_image_is_recognized_by_the_end_of_its_repository(image: str, recipe: recipes.Recipe | None) -> None:
    """Registry, tag and digest do not count."""
    assert recipes.known(image) is recipe


@pytest.mark.parametrize(
    ("lock", "driver"),
    [
        ('name = "psycopg"\nname = "sqlalchemy"\n', "+psycopg"),
        ('name = "asyncpg"\nname = "sqlalchemy"\n', "+asyncpg"),
        ("sqlalchemy==2.0 --hash=sha256:0\nasyncpg==0.30 \\\n    --hash=sha256:0\n", "+asyncpg"),
        ('name = "sqlmodel"\nname = "psycopg"\n', "+psycopg"),
        ('name = "sqlalchemy"\nname = "psycopg2-binary"\n', ""),
        ('name = "psycopg"\n', ""),
        ("", ""),
    ],
)
def test_the_driver_of_an_address_is_that_of_the_lock(lock: str, driver: str) -> None:
    """SQLAlchemy needs it; libpq and asyncpg do not understand it."""
    assert recipes.driver(lock) == driver


def test_without_services_the_tests_have_no_network() -> None:
    """And the file has neither networks nor volumes."""
    found = composed(())
    assert "network_mode: none" in found["api-tests"]
    assert not {"networks", "volumes"} & set(found)
    assert not any("depends_on" in line for line in found["api-tests"] + found["api-dev"])


def test_a_service_waits_for_databases_and_for_commands_that_run_once() -> None:
    """In the order of the table. A service without a health check must have been started."""
    found = {name: " ".join(lines) for name, lines in composed([("db", "postgres:17"), ("mail", "mailpit")]).items()}
    services = "db: {condition: service_healthy}, mail: {condition: service_started}"
    migrated, seeded = (f"{name}: {{condition: service_completed_successfully}}" for name in ("migrate", "seed"))
    for name in ("api-prod", "worker"):
        assert f"depends_on: {{{services}, {migrated}, {seeded}}}" in found[name]
    assert f"depends_on: {{{services}}}" in found["migrate"]
    assert f"depends_on: {{{services}, {migrated}}}" in found["seed"]
    assert [name for name in found if 'restart: "no"' in found[name]] == ["migrate", "seed"]
    for form, name in (("tests", "api-tests"), ("dev", "api-dev")):
        waited = f"db-{form}: {{condition: service_healthy}}, mail-{form}: {{condition: service_started}}"
        assert f"depends_on: {{{waited}}}" in found[name]


def test_each_form_of_a_database_has_its_own_network_and_data() -> None:
    """Production alone has a password, from a file; the tests keep nothing."""
    found = {name: " ".join(lines) for name, lines in composed([("main-db", "postgres:17")], "DATABASE_URL").items()}
    assert "secrets: [main_db_password]" in found["x-prod"]
    assert "POSTGRES_PASSWORD_FILE: /run/secrets/main_db_password}" in found["main-db"]
    assert 'volumes: ["main-db:/var/lib/postgresql"]' in found["main-db"]
    assert "networks" not in found["main-db"]
    for form in ("dev", "tests"):
        lines = found[f"main-db-{form}"]
        assert "secrets: []" in lines
        assert "POSTGRES_HOST_AUTH_METHOD: trust}" in lines
        assert f"networks: {{{form}: {{aliases: [main-db]}}}}" in lines
        assert f"networks: [{form}]" in found["api-tests" if form == "tests" else "api-dev"]
    assert "volumes: [], tmpfs: [/var/lib/postgresql]" in found["main-db-tests"]
    assert found["networks"] == "networks: {dev: {}, tests: {internal: true}}"
    assert found["volumes"] == "volumes: {main-db: {}, main-db-dev: {}}"


def test_addresses_have_a_default_without_a_password() -> None:
    """For a variable that the service reads. The tests have theirs whatever the environment is."""
    found = composed([("db", "postgres:17"), ("cache", "redis:8")], "APP_NAME", "DATABASE_URL")
    assert any('DATABASE_URL: "${DATABASE_URL:-postgresql+psycopg://app@db/app}"' in line for line in found["x-prod"])
    assert not any("REDIS_URL" in line for line in found["x-prod"])
    tests = 'environment: {DATABASE_URL: "postgresql+psycopg://app@db/app", REDIS_URL: "redis://cache:6379/0"}'
    assert tests in found["api-tests"]


@pytest.mark.parametrize("name", ["db-dev", "db-tests", "db"])
def test_names_must_differ_from_those_of_the_forms_of_services(tmp_path: Path, name: str) -> None:
    """Each form is a Compose service."""
    table = f'[tool.prodlock]\nservices = {{db = "postgres"}}\ncommands = {{{name} = "celery"}}\n'
    (tmp_path / "pyproject.toml").write_text(table, encoding="utf-8")
    with pytest.raises(Failure, match=rf"must have different names \(got {name} twice"):
        configuration.read(tmp_path)
