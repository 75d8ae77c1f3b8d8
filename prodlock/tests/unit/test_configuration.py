"""`[tool.prodlock]`: each key is validated, and a value that is not valid is refused by the name of its key."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from prodlock import configuration
from prodlock.configuration import KINDS, Command, Configuration
from prodlock.failure import Failure


def read(folder: Path, text: str) -> Configuration:
    """Return the configuration that a pyproject.toml with this text under [tool.prodlock] has."""
    head = "" if text.startswith("[tool]") else "[tool.prodlock]\n"
    (folder / "pyproject.toml").write_text(f"{head}{text}\n", encoding="utf-8")
    return configuration.read(folder)


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        ('sources = ["src/shop", "alembic.ini", "migrations/"]', "sources", ("src/shop", "alembic.ini", "migrations")),
        ('sources = ["app", "./app/"]', "sources", ("app",)),
        ('import-from = ["src", "."]', "import_from", ("src", ".")),
        ('directory = "backend"', "directory", "backend"),
        ('application = "shop.main:app.inner"', "application", "shop.main:app.inner"),
        ("server = \"gunicorn -b :80 'app.main:app'\"", "server", ("gunicorn", "-b", ":80", "app.main:app")),
        ("server = 'waitress-serve \"--listen=*:80\" a:b'", "server", ("waitress-serve", "--listen=*:80", "a:b")),
        ("server = \"gunicorn --forwarded-allow-ips='*'\"", "server", ("gunicorn", "--forwarded-allow-ips=*")),
        ("port = 80", "port", 80),
        ('health = ""', "health", ""),
        ('health = "/api/v1/utils/health-check/"', "health", "/api/v1/utils/health-check/"),
        ('groups = ["main", "prod"]', "groups", ("main", "prod")),
        ('memory = "1g"', "memory", "1g"),
        ("size-budget-mb = 70", "size_budget_mb", 70),
        ("size-budget-mb = 0.5", "size_budget_mb", 0.5),
        ('denied-in-main = ["pip", "pytest-*"]', "denied_in_main", ("pip", "pytest-*")),
        ('environment = ["DATABASE_URL", "SSL_CERT_FILE"]', "environment", ("DATABASE_URL", "SSL_CERT_FILE")),
        ('services = {db = "postgres:17"}', "services", (("db", "postgres:17"),)),
        ('commands = {worker = "arq shop.W"}', "commands", (Command("worker", ("arq", "shop.W"), once=False),)),
        ('commands = {migrate = "alembic x"}', "commands", (Command("migrate", ("alembic", "x"), once=True),)),
        ('commands = {x = {run = "a", once = true}}', "commands", (Command("x", ("a",), once=True),)),
    ],
)
def test_valid_values_are_converted(tmp_path: Path, text: str, field: str, value: object) -> None:
    """Paths without a slash at their end, commands as words."""
    assert getattr(read(tmp_path, text), field) == value


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("[tool]\nprodlock = 1", r"`\[tool.prodlock\]` must be a table \(got 1\)"),
        ("source = []", r"\(got `source`\)\. To fix it: write `sources`"),
        ("xyz = []", r"\(got `xyz`\)\. To fix it: remove it"),
        ('sources = "app"', r"`sources` must be a list of paths .* \(got 'app'\)"),
        ('sources = ["../app"]', r"`sources` must be a list of paths in the project"),
        ('sources = ["/app"]', "`sources` must be a list of paths in the project"),
        ('sources = ["."]', "`sources` must be a list of paths in the project"),
        ('sources = ["a b"]', "`sources` must be a list of paths in the project"),
        ('sources = ["a*"]', "`sources` must be a list of paths in the project"),
        ('sources = ["$HOME"]', "`sources` must be a list of paths in the project"),
        ('import-from = ["../x"]', "`import-from` must be a list of paths in the project"),
        ('directory = "/backend"', "`directory` must be a folder in the project"),
        ('application = "app.main"', "`application` must be an application as MODULE:ATTRIBUTE"),
        ('application = "app/main.py:app"', "`application` must be an application as MODULE:ATTRIBUTE"),
        ('server = "gunicorn $OPTIONS"', "`server` must be a command without variables"),
        ("server = \"gunicorn '$OPTIONS'\"", "`server` must be a command without variables"),
        ('server = "gunicorn --chdir=/srv/*"', "`server` must be a command without variables"),
        ("server = \"a '*' && b '*'\"", "`server` must be a command without variables"),
        ('server = "a && b"', "`server` must be a command without variables"),
        ('server = "a\\u0000"', "`server` must be a command without variables"),
        ("settings = 1", r"write, for example, `settings = \"app/settings\.py\"`"),
        ('server = "sh -c x"', "`server` must be a command without variables"),
        ('server = "A=1 gunicorn"', "`server` must be a command without variables"),
        ('server = "a \'b"', "`server` must be a command without variables"),
        ('port = "80"', "`port` must be a whole number from 1 to 65535"),
        ("port = true", "`port` must be a whole number from 1 to 65535"),
        ("port = 0", "`port` must be a whole number from 1 to 65535"),
        ("port = 65536", "`port` must be a whole number from 1 to 65535"),
        ('health = "health"', "`health` must be a path that begins with a slash"),
        ('health = "/a b"', "`health` must be a path that begins with a slash"),
        ('lock = "../poetry.lock"', "`lock` must be a poetry.lock"),
        ("groups = [1]", "`groups` must be a list of one or more names of dependency groups"),
        ("groups = []", r"`groups` must be a list of one or more names of dependency groups \(got \[\]\)"),
        ("dev-groups = []", "`dev-groups` must be a list of one or more names of dependency groups"),
        ('base = "python 3"', "`base` must be the name of an image"),
        ("memory = 256", "`memory` must be a number with the unit k, m or g"),
        ('memory = "0m"', "`memory` must be a number with the unit k, m or g"),
        ('commands = "x"', "`commands` must be a table of commands"),
        ('commands = {api-prod = "x"}', "`commands` must be a table of commands"),
        ('commands = {null = "x"}', "`commands` must be a table of commands"),
        ('services = {on = "x"}', "`services` must be a table of images"),
        ('commands = {X = "x"}', "`commands` must be a table of commands"),
        ('commands = {x = "a | b"}', "`commands` must be a table of commands"),
        ('commands = {x = {run = "a", twice = true}}', "`commands` must be a table of commands"),
        ('commands = {x = {run = "a", once = 1}}', "`commands` must be a table of commands"),
        ('services = {api-dev = "x"}', "`services` must be a table of images"),
        ('services = {db = "a b"}', "`services` must be a table of images"),
        ('services = {a = "b"}\ncommands = {a = "c"}', r"`commands` and `services` must have different names \(got a"),
        ('denied-in-main = "pytest"', "must be a list of names"),
        ("denied-in-main = [1]", "must be a list of names"),
        ('size-budget-mb = "70"', "must be a number"),
        ("size-budget-mb = true", r"must be a number, without quotation marks \(got True\)"),
        ("size-budget-mb = nan", r"must be a number, without quotation marks \(got nan\)"),
        ("size-budget-mb = -1", r"must be a number, without quotation marks \(got -1\)"),
        ('environment = "DEBUG"', r"`environment` must be a list of names"),
        ("environment = [1]", r"must be a list of names of variables, .* \(got \[1\]\)"),
        ('environment = ["A B"]', "must be a list of names"),
        ('environment = [""]', "must be a list of names"),
        ('environment = ["APP_*"]', "must be a list of names"),
        ('environment = ["DEBUG=1"]', "must be a list of names"),
        ('environment = ["DEBUG", "PYTHONPATH"]', "without those that decide which code runs"),
        ('audit-ignore = ["x"]', "`audit-ignore` must be a list of ids of vulnerabilities"),
    ],
)
def test_invalid_values_are_refused(tmp_path: Path, text: str, error: str) -> None:
    """One name would deny each of its letters, and a path outside of the project is in no commit."""
    with pytest.raises(Failure, match=error):
        read(tmp_path, text)


@pytest.mark.parametrize("key", KINDS)
def test_the_example_of_a_message_is_a_valid_value(tmp_path: Path, key: str) -> None:
    """A user may copy it."""
    assert read(tmp_path, f"{key} = {KINDS[key].example}")


def test_the_defaults_are_those_of_a_project_without_the_table(tmp_path: Path) -> None:
    """Also without pyproject.toml; the lock is the one that the project has."""
    assert configuration.read(tmp_path) == dataclasses.replace(Configuration(), lock="poetry.lock")
    (tmp_path / "uv.lock").touch()
    assert read(tmp_path, "").lock == "uv.lock"
    (tmp_path / "poetry.lock").touch()
    assert read(tmp_path, "").lock == "poetry.lock"
