"""Read `[tool.prodlock]` in pyproject.toml: the one place that describes a project to Prodlock.

docs/reference/configuration.md explains each key.
"""

from __future__ import annotations

import difflib
import math
import re
import shlex
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from prodlock import recipes, variables
from prodlock.failure import Failure
from prodlock.integers import LAST_PORT

TABLE = "pyproject.toml: `[tool.prodlock]`"
# The locks that are found without the key `lock`, in this order.
LOCKS = ("poetry.lock", "uv.lock", "pylock.toml", "requirements.txt")
# The names that a lock may have, as patterns: the formats that a build reads.
_LOCK_NAMES = ("poetry.lock", "uv.lock", "pylock.toml", "pylock.*.toml", "*.txt")
# The Compose services that every project has.
RESERVED = ("api-prod", "api-tests", "api-dev")
# The size budget until `inv build` has measured production.
FIRST_BUILD = "first build"
# The command that runs to its end before the service starts, unless its `once` is false.
MIGRATE = "migrate"
# Ids of the databases that OSV collects, such as CVE-2026-1234, PYSEC-2026-12 and GHSA-abcd-2345-efgh.
_VULNERABILITY = re.compile(r"[A-Z][A-Za-z]*-[A-Za-z0-9:._-]+")
# What no instruction of a Dockerfile and no line of .dockerignore reads as anything but a name.
_PATH = re.compile(r"[A-Za-z0-9_.@+-]+(/[A-Za-z0-9_.@+-]+)*")
_URL_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)+/?|/")
_APPLICATION = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_GROUP = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
# Words that YAML reads as another value than a text.
YAML_WORDS = ("null", "true", "false", "yes", "no", "on", "off", "y", "n")
_SERVICE = re.compile(rf"(?!(?:{'|'.join(YAML_WORDS)})$)[a-z][a-z0-9_-]*")
# The version of Python in the name of an image, and the first one that the programs of a build run with.
_PYTHON = re.compile(r"(?:^|/)python:(\d+)(?:\.(\d+))?")
_FIRST_PYTHON = (3, 11)
_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]*")
# What only a shell interprets, production has none: this where it is not quoted,
_SHELL = re.compile(r"[|&;<>*?]")
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
# and variables anywhere, which Compose and double quotes expand; and control characters, which no Dockerfile has.
_NOWHERE = re.compile(r"[$`\x00-\x08\x0a-\x1f\x7f]")


class Kind(NamedTuple):
    """Values that a key takes: a description, an example, and a function that converts one or raises ValueError."""

    requirement: str
    example: str
    convert: Callable[[Any], Any]


@dataclass(frozen=True)
class Command:
    """A further command of the production image, which becomes a Compose service of that name."""

    name: str
    words: tuple[str, ...]
    # Whether it runs to its end before the service starts.
    once: bool


def _text(pattern: re.Pattern[str]) -> Callable[[Any], str]:
    def convert(value: Any) -> str:  # noqa: ANN401 - any value of TOML
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise ValueError
        return value

    return convert


def _list(convert: Callable[[Any], str]) -> Callable[[Any], tuple[str, ...]]:
    def converted(value: Any) -> tuple[str, ...]:  # noqa: ANN401
        if not isinstance(value, list):
            raise ValueError  # noqa: TRY004 - as for other values that are not valid
        return tuple(dict.fromkeys(map(convert, value)))

    return converted


def _some(convert: Callable[[Any], tuple[str, ...]]) -> Callable[[Any], tuple[str, ...]]:
    def converted(value: Any) -> tuple[str, ...]:  # noqa: ANN401
        found = convert(value)
        if not found:
            raise ValueError
        return found

    return converted


def _path(value: Any) -> str:  # noqa: ANN401
    """Convert a path to the form without `.` and without a slash at its end."""
    path = _text(_PATH)(value.rstrip("/") if isinstance(value, str) else value)
    if ".." in path.split("/"):
        raise ValueError
    return PurePosixPath(path).as_posix()


def _file(value: Any) -> str:  # noqa: ANN401
    """Convert a path that is not the project's folder."""
    path = _path(value)
    if path == ".":
        raise ValueError
    return path


def _lock(value: Any) -> str:  # noqa: ANN401
    path = _file(value)
    if not any(fnmatchcase(PurePosixPath(path).name, one) for one in _LOCK_NAMES):
        raise ValueError
    return path


def _base(value: Any) -> str:  # noqa: ANN401
    """Refuse an image whose name states an older Python, or a distribution other than Debian."""
    image = _text(_IMAGE)(value)
    if (found := _PYTHON.search(image)) and (int(found[1]), int(found[2] or _FIRST_PYTHON[1])) < _FIRST_PYTHON:
        raise ValueError
    if "alpine" in image.rpartition("/")[2]:
        raise ValueError
    return image


def _variable(value: Any) -> str:  # noqa: ANN401
    name = _text(variables.VARIABLE)(value)
    if variables.decides_code(name):
        raise ValueError
    return name


def _optional(convert: Callable[[Any], Any], empty: Any = "") -> Callable[[Any], Any]:  # noqa: ANN401
    return lambda value: empty if value == "" else convert(value)


def _words(value: Any) -> tuple[str, ...]:  # noqa: ANN401
    """Split a command as a shell does, and refuse what only a shell interprets."""
    if not isinstance(value, str) or _NOWHERE.search(value) or _SHELL.search(_QUOTED.sub("", value)):
        raise ValueError
    words = tuple(shlex.split(value))
    if not words or words[0] in {"sh", "bash", "cd"} or "=" in words[0]:
        raise ValueError
    return words


def _integer(least: int, most: int) -> Callable[[Any], int]:
    def convert(value: Any) -> int:  # noqa: ANN401
        # In Python, True is a number.
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise ValueError
        return value

    return convert


def _size(value: Any) -> float | None:  # noqa: ANN401
    if value == FIRST_BUILD:
        return None
    # No number is greater than NaN.
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < math.inf:
        raise ValueError
    return value


def _commands(value: Any) -> tuple[Command, ...]:  # noqa: ANN401
    if not isinstance(value, Mapping):
        raise ValueError  # noqa: TRY004
    found = []
    for name, given in value.items():
        table = {"run": given} if isinstance(given, str) else given
        if not isinstance(table, Mapping) or set(table) - {"run", "once"} or name in RESERVED:
            raise ValueError
        once = table.get("once", name == MIGRATE)
        if not isinstance(once, bool):
            raise ValueError  # noqa: TRY004
        found.append(Command(_text(_SERVICE)(name), _words(table.get("run")), once))
    return tuple(found)


def _services(value: Any) -> tuple[tuple[str, str], ...]:  # noqa: ANN401
    if not isinstance(value, Mapping) or set(value) & set(RESERVED):
        raise ValueError
    return tuple((_text(_SERVICE)(name), _text(_IMAGE)(image)) for name, image in value.items())


_NAME = _text(re.compile(r"[^\n]*"))
PATHS = Kind(
    "a list of paths in the project, relative to its folder, of letters, digits and `_.@+-/`",
    '["app"]',
    _list(_file),
)
FOLDERS = PATHS._replace(example='["src"]', convert=_list(_path))
FOLDER = Kind("a folder in the project, relative to the project's folder", '"backend"', _path)
LOCK = Kind(
    "a poetry.lock, uv.lock, pylock.toml or NAME.txt in the project, relative to the project's folder",
    '"poetry.lock"',
    _optional(_lock),
)
FILE = Kind("a file in the project, relative to the project's folder", '"deploy/Dockerfile"', _optional(_file))
APPLICATION = Kind("an application as MODULE:ATTRIBUTE", '"app.main:app"', _text(_APPLICATION))
COMMAND = Kind(
    "a command without variables, pipes and other syntax of a shell, which production does not have",
    '"gunicorn --bind=0.0.0.0:8000 app.main:app"',
    _optional(_words, ()),
)
PORT = Kind("a whole number from 1 to 65535", "8000", _integer(1, LAST_PORT))
URL_PATH = Kind("a path that begins with a slash", '"/health"', _text(_URL_PATH))
OPTIONAL_PATH = URL_PATH._replace(
    requirement="a path that begins with a slash, or empty where the service has none",
    convert=_optional(URL_PATH.convert),
)
GROUPS = Kind("a list of one or more names of dependency groups", '["main"]', _some(_list(_text(_GROUP))))
EXTRAS = Kind("a list of names of extras", '["postgres"]', _list(_text(_GROUP)))
PACKAGE = Kind("the name of a member of the workspace", '"backend"', _optional(_text(_GROUP)))
IMAGE = Kind("the name of an image with Python 3.11 or later, made from Debian", '"python:3.13-slim-trixie"', _base)
MEMORY = Kind("a number with the unit k, m or g", '"256m"', _text(re.compile(r"[1-9][0-9]{0,9}[kmg]")))
BUDGET = Kind("a number, without quotation marks", "70", _size)
NAMES = Kind("a list of names", '["NAME"]', _list(_NAME))
VARIABLES = Kind(
    "a list of names of variables, without those that decide which code runs, such as PYTHONPATH", '["NAME"]',
    _list(_variable),
)  # fmt: skip
VULNERABILITIES = Kind("a list of ids of vulnerabilities", '["CVE-2026-1234"]', _list(_text(_VULNERABILITY)))
COMMANDS = Kind(
    "a table of commands by the name of their service, of lower-case letters, digits, `_` and `-`, not "
    f"{', '.join(RESERVED)}; each without syntax of a shell, which production does not have",
    '{worker = "celery -A app.tasks worker", migrate = {run = "alembic upgrade head", once = true}}',
    _commands,
)
SERVICES = Kind(
    f"a table of images by the name of their service, not {', '.join(RESERVED)}", '{db = "postgres:17"}', _services
)


def _key(default: object, kind: Kind) -> Any:  # noqa: ANN401 - as `field`
    return field(default=default, metadata={"kind": kind})


@dataclass(frozen=True)
class Configuration:
    """The keys of `[tool.prodlock]`, each with its default. A key has `-` where its field has `_`."""

    # What ships beside the locked wheels; `generated` is what git ignores and a build makes.
    sources: tuple[str, ...] = _key(("app",), PATHS)
    generated: tuple[str, ...] = _key((), PATHS)
    # What dev has beside them.
    tests: tuple[str, ...] = _key(("tests",), PATHS)
    # The folders that modules are imported from, and the one that commands run in.
    import_from: tuple[str, ...] = _key((".",), FOLDERS)
    directory: str = _key(".", FOLDER)
    application: str = _key("app.main:create_app", APPLICATION)
    # The project's own serving command, instead of `prodlock.server`.
    server: tuple[str, ...] = _key((), COMMAND)
    port: int = _key(8000, PORT)
    health: str = _key("/health", OPTIONAL_PATH)
    ready: str = _key("/ready", OPTIONAL_PATH)
    # Where it is not set: the first of LOCKS that the project has.
    lock: str = _key("", LOCK)
    groups: tuple[str, ...] = _key(("main",), GROUPS)
    extras: tuple[str, ...] = _key((), EXTRAS)
    dev_groups: tuple[str, ...] = _key(("dev",), GROUPS)
    package: str = _key("", PACKAGE)
    base: str = _key("python:3.13-slim-trixie", IMAGE)
    memory: str = _key("256m", MEMORY)
    size_budget_mb: float | None = _key(None, BUDGET)
    commands: tuple[Command, ...] = _key((), COMMANDS)
    # Name and image of services beside production, such as a database.
    services: tuple[tuple[str, str], ...] = _key((), SERVICES)
    # The files that are found without these keys are the standard ones.
    dockerfile: str = _key("Dockerfile", FILE)
    compose: str = _key("", FILE._replace(example='"deploy/compose.yml"'))
    # The module whose class `Settings` has the service's settings, and variables that Compose may set beside them.
    settings: str = _key("", FILE._replace(example='"app/settings.py"'))
    environment: tuple[str, ...] = _key((), VARIABLES)
    # Distributions that the lock's runtime groups must not have: names, or patterns like `pytest-*`.
    denied_in_main: tuple[str, ...] = _key(("pytest",), NAMES)
    # Vulnerabilities that `inv audit` does not count, by an id or an alias.
    audit_ignore: tuple[str, ...] = _key((), VULNERABILITIES)


KINDS: Mapping[str, Kind] = {one.name.replace("_", "-"): one.metadata["kind"] for one in fields(Configuration)}


def read(root: Path) -> Configuration:
    """Return the configuration of the project in a folder: the defaults where it has no pyproject.toml.

    Raises Failure naming the key that is not valid.
    """
    tool = (pyproject(root) if (root / "pyproject.toml").exists() else {}).get("tool", {})
    table: object = tool.get("prodlock", {}) if isinstance(tool, Mapping) else tool
    if not isinstance(table, Mapping):
        raise Failure(f"{TABLE} must be a table (got {table!r}). To fix it: write its keys below a line of its own.")
    return of_table(root, table)


def of_table(root: Path, table: Mapping[str, Any]) -> Configuration:
    """Return the configuration of the project in a folder from its parsed table.

    Raises Failure naming the key that is not valid.
    """
    found = parse(table)
    if not found["lock"]:
        found["lock"] = next((name for name in LOCKS if (root / name).is_file()), LOCKS[0])
    configuration = Configuration(**found)
    _check_names(configuration)
    _check_files(configuration)
    return configuration


def _check_files(configuration: Configuration) -> None:
    """Raise Failure where a file that Prodlock writes would have the name of another file."""
    taken = {"pyproject.toml", ".gitignore", ".dockerignore", "tasks.py", "prodlock_tasks.py"}
    taken |= {configuration.lock, *configuration.sources}
    for key, path, example in (
        ("dockerfile", configuration.dockerfile, "prodlock.Dockerfile"),
        ("compose", configuration.compose or "docker-compose.yml", "prodlock.compose.yml"),
    ):
        if path in taken or path.startswith("prodlock/"):
            raise Failure(
                f"{TABLE}: `{key}` must be a file of its own (got {path!r}, which has another purpose). To fix it: "
                f'write, for example, `{key} = "{example}"`.'
            )
        taken |= {path, f"{path}.dockerignore"}


def _check_names(configuration: Configuration) -> None:
    """Raise Failure where two Compose services would have one name. A service has forms for dev and for the tests."""
    names = [one.name for one in configuration.commands]
    names += [f"{name}{end}" for name, _ in configuration.services for end in ("", recipes.DEV, recipes.TESTS)]
    if double := sorted({name for name in names if names.count(name) > 1}):
        raise Failure(
            f"{TABLE}: `commands` and `services` must have different names (got {', '.join(double)} twice; a service "
            f"has forms with `{recipes.DEV}` and `{recipes.TESTS}` behind its name). To fix it: rename one of them."
        )


def parse(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a configuration from a parsed table. Raises Failure naming the key that is not valid."""
    for key in table:
        if key not in KINDS:
            similar = difflib.get_close_matches(key, KINDS, 1)
            remedy = f"write `{similar[0]}`" if similar else "remove it"
            raise Failure(f"{TABLE}: each key must be one that Prodlock has (got `{key}`). To fix it: {remedy}.")
    found: dict[str, Any] = {one.name: one.default for one in fields(Configuration)}
    for key, value in table.items():
        kind = KINDS[key]
        try:
            found[key.replace("-", "_")] = kind.convert(value)
        except ValueError:
            raise Failure(
                f"{TABLE}: `{key}` must be {kind.requirement} (got {value!r}). To fix it: write, for example, "
                f"`{key} = {kind.example}`."
            ) from None
    return found


def pyproject(root: Path) -> Mapping[str, Any]:
    """Parse pyproject.toml. Raises Failure where it can't be read."""
    try:
        return toml(root / "pyproject.toml")
    except (OSError, ValueError, RecursionError) as error:
        raise Failure(
            f"pyproject.toml must be a TOML file that can be read (got: {error}). To fix it: correct it, or restore it "
            "(`git restore pyproject.toml`)."
        ) from None


def toml(file: Path) -> Mapping[str, Any]:
    """Parse a TOML file. Raises OSError, ValueError or RecursionError where that is not possible."""
    text = file.read_text(encoding="utf-8")
    if text.startswith("\ufeff"):
        # The error of the parser does not name it, and no editor shows it.
        message = "a byte order mark at its start, which TOML does not have"
        raise ValueError(message)
    return tomllib.loads(text)
