"""Describe the images of services that production needs, such as a database: a table, and the lines of Compose.

A service has three forms, each in a network of its own under the same host name: `db` beside production, `db-dev` for
`inv dev`, and `db-tests` for `inv test`. So no test can reach the data of production.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

# Where a task writes the passwords that it makes; git ignores the folder.
SECRETS = ".prodlock/secrets"
# The ends of the names of the forms for development and tests. They have no password, and only containers of the
# project reach them.
DEV, TESTS = "-dev", "-tests"
# The health check of a command beside the application, which answers no client: its container runs.
RUNNING = ("CMD", "python", "-S", "-c", "")


class Recipe(NamedTuple):
    """What a known image needs."""

    # The command of the health check. It must fail until the service answers its clients.
    check: tuple[str, ...]
    # The folder of its data.
    data: str
    # The variable that a client reads the address from, and the address where the service has the name `{host}`.
    variable: str
    address: str
    # The port that clients connect to.
    port: int
    # Variables of the image.
    environment: Mapping[str, str] = {}
    # The variable that names the file with the password, and the variables that allow clients without one.
    password: str = ""
    without_password: Mapping[str, str] = {}


_POSTGRES = Recipe(
    # While the image prepares its data, a server answers on the socket alone.
    ("pg_isready", "--host=127.0.0.1", "--username=app", "--dbname=app"),
    "/var/lib/postgresql",
    "DATABASE_URL",
    "postgresql{driver}://app@{host}/app",
    5432,
    # The default is another folder in each version.
    {"POSTGRES_DB": "app", "POSTGRES_USER": "app", "PGDATA": "/var/lib/postgresql/pgdata"},
    "POSTGRES_PASSWORD_FILE",
    {"POSTGRES_HOST_AUTH_METHOD": "trust"},
)
# By the last part of the name of an image's repository.
KNOWN: Mapping[str, Recipe] = {
    "postgres": _POSTGRES,
    "postgis": _POSTGRES,
    "pgvector": _POSTGRES,
    "redis": Recipe(("redis-cli", "ping"), "/data", "REDIS_URL", "redis://{host}:6379/0", 6379),
    "valkey": Recipe(("valkey-cli", "ping"), "/data", "REDIS_URL", "redis://{host}:6379/0", 6379),
}
# Of a line, without the commas that are added to it.
_WIDTH = 117
# What entrypoints need that start as root, own their data and then become another user.
_HARDENING = (
    "    cap_drop: [ALL]",
    "    cap_add: [CHOWN, DAC_OVERRIDE, FOWNER, SETGID, SETUID]",
    '    security_opt: ["no-new-privileges:true"]',
)


def known(image: str) -> Recipe | None:
    """Return the recipe of an image by its name, such as `postgres:17` or `registry.example/base/postgres@sha256:0`."""
    repository = re.sub(r"@.*|:[^/]*$", "", image)
    return KNOWN.get(repository.rpartition("/")[2])


def secret(name: str) -> str:
    """Return the name of the secret with the password of a service: a file of that name in /run/secrets."""
    return f"{name.replace('-', '_')}_password"


def secrets(services: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names of the secrets of services, given with their images."""
    found = ((name, known(image)) for name, image in services.items())
    return tuple(secret(name) for name, recipe in found if recipe and recipe.password)


def addresses(services: Mapping[str, str], driver: str) -> dict[str, str]:
    """Return the addresses of services by the variables that clients read, without a password.

    `driver` is what SQLAlchemy needs behind the name of the database system. The first service of a kind has the
    variable.
    """
    found: dict[str, str] = {}
    for name, image in services.items():
        if recipe := known(image):
            found.setdefault(recipe.variable, recipe.address.format(host=name, driver=driver))
    return found


def driver(lock: str) -> str:
    """Return what SQLAlchemy needs behind `postgresql` in an address, by the text of the lock."""
    names = set(re.findall(r"""^(?:name = ["']|)([A-Za-z0-9_.-]+)""", lock, re.MULTILINE))
    if not names & {"sqlalchemy", "SQLAlchemy", "sqlmodel"}:
        return ""
    return next((f"+{name}" for name in ("psycopg", "asyncpg") if name in names), "")


def compose(services: Mapping[str, str]) -> Iterator[str]:
    """Yield the lines of the services in a Compose file, in each of their forms."""
    for name, image in services.items():
        recipe = known(image)
        yield from _production(name, image, recipe)
        yield from _form(name, DEV, "watch", recipe)
        yield from _form(name, TESTS, "dev", recipe)


def flow(text: str) -> Iterator[str]:
    """Yield a line of YAML as lines of at most 120 characters where commas allow that."""
    indent = " " * (len(text) - len(text.lstrip()) + 2)
    line, *parts = text.split(", ")
    for part in parts:
        if len(line) + len(part) > _WIDTH:
            yield f"{line},"
            line = f"{indent}{part}"
        else:
            line += f", {part}"
    yield line


def _production(name: str, image: str, recipe: Recipe | None) -> Iterator[str]:
    yield ""
    yield f"  {name}: &{name}"
    yield "    profiles: [prod]"
    yield f"    image: {image}"
    if recipe:
        variables = dict(recipe.environment)
        if recipe.password:
            variables[recipe.password] = f"/run/secrets/{secret(name)}"
            yield f"    secrets: [{secret(name)}]"
        if variables:
            yield from flow(f"    environment: {_mapping(variables)}")
        yield f"    volumes: [{json.dumps(f'{name}:{recipe.data}')}]"
        yield from flow(f"    healthcheck: {{interval: 2s, retries: 30, test: {json.dumps(['CMD', *recipe.check])}}}")
        yield from _HARDENING
    yield "    mem_limit: 512m"
    yield "    cpus: 1"
    yield "    pids_limit: 256"
    yield "    restart: ${RESTART:-on-failure:5}"
    yield '    logging: {driver: json-file, options: {max-size: 10m, max-file: "3"}}'
    yield ""


def _form(host: str, end: str, profile: str, recipe: Recipe | None) -> Iterator[str]:
    """Yield the lines of the form for development, whose data stays in a volume, or of the form for tests."""
    network = f"networks: {{{end.removeprefix('-')}: {{aliases: [{host}]}}}}"
    keys = [f"<<: *{host}", f"profiles: [{profile}]", network]
    if recipe:
        if recipe.password:
            keys.append("secrets: []")
            keys.append(f"environment: {_mapping({**recipe.environment, **recipe.without_password})}")
        volume = json.dumps(f"{host}{end}:{recipe.data}")
        keys += [f"volumes: [{volume}]"] if end == DEV else ["volumes: []", f"tmpfs: [{recipe.data}]"]
    yield from flow(f"  {host}{end}: {{{', '.join(keys)}}}")


def _mapping(variables: Mapping[str, str]) -> str:
    return "{" + ", ".join(f"{name}: {value}" for name, value in variables.items()) + "}"
