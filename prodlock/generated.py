"""Render the files that Docker reads from `[tool.prodlock]`, and compare them with the project's.

The templates are in prodlock/templates. `{{name}}` is a value of the configuration, and a line that consists of it
alone is any number of lines. A user may edit a rendered file; but the lines with values must stay, so that the
configuration is the one place that is changed. `{{~name}}` is a value that the user may change in the file as well.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from prodlock import recipes
from prodlock.configuration import YAML_WORDS, Command, Configuration, pyproject
from prodlock.failure import Failure
from prodlock.project import Project

TEMPLATES = Path(__file__).with_name("templates")
HOME = "/srv"
# The variables that prodlock.server reads (prodlock/server/settings.py; a test compares them).
SERVER_VARIABLES = (
    "APP_LOG_FORMAT", "APP_LOG_LEVEL", "APP_MAX_BODY_BYTES", "APP_DRAIN_SECONDS", "APP_STOP_GRACE_SECONDS",
    "FORWARDED_ALLOW_IPS", "UVICORN_HOST", "UVICORN_ROOT_PATH", "UVICORN_TIMEOUT_GRACEFUL_SHUTDOWN",
    "UVICORN_TIMEOUT_KEEP_ALIVE",
)  # fmt: skip
# What a build reads of the tool, in Prodlock's own repository and in others.
_OWN = (
    "prodlock/__init__.py", "prodlock/inside/bytecode.py", "prodlock/inside/collect.py", "prodlock/inside/install.py",
    "prodlock/inside/lock", "prodlock/inside/packages.sh", "prodlock/inside/uv.txt", "prodlock/loop", "prodlock/server",
)  # fmt: skip
_VENDORED = ("prodlock/inside", "prodlock/server")
# How long a stop of production may take. A serving command of the project's own reads no such variable.
_GRACE = (
    "  # The service checks at its start that it can stop within this time.",
    "  stop_grace_period: ${APP_STOP_GRACE_SECONDS:-10}s",
)
_OWN_GRACE = ("  # The kernel ends what has not stopped by then.", "  stop_grace_period: 10s")
# How git marks a conflict (git-merge-file(1)).
CONFLICT = re.compile(r"^(<{7}|>{7}) ", re.MULTILINE)
_PLACEHOLDER = re.compile(r"\{\{(~?)([a-z ]+)\}\}")


@dataclass(frozen=True)
class Rendered:
    """A rendered file, and those of its lines that must stay in it, without the spaces around them."""

    text: str
    required: tuple[str, ...]


@dataclass(frozen=True)
class Facts:
    """What a rendering depends on beside the configuration."""

    # The Compose project's name.
    name: str
    # The variables that Compose hands on to the service.
    variables: tuple[str, ...]
    # Whether the repository is Prodlock's own.
    is_own: bool
    # The pyproject.toml files that a build reads: the project's, and those of the members of its workspace.
    described: tuple[str, ...] = ("pyproject.toml",)
    # The locks, the first of which is the configured one.
    locks: tuple[str, ...] = ("poetry.lock",)
    # What SQLAlchemy needs behind the name of the database system in an address, such as `+psycopg`.
    driver: str = ""


def facts(project: Project, name: str, variables: Iterable[str]) -> Facts:
    """Return the facts of a project, its Compose project's name and the variables that its service reads."""
    root, lock = project.root, project.configuration.lock
    return Facts(
        name, tuple(sorted(variables)), project.is_own, described(root, lock), locks(root, lock), driver(root, lock)
    )


def driver(root: Path, lock: str) -> str:
    """Return the driver that SQLAlchemy needs in the address of a database, by what the lock has."""
    file = root / lock
    return recipes.driver(file.read_text(encoding="utf-8", errors="replace")) if file.is_file() else ""


def described(root: Path, lock: str) -> tuple[str, ...]:
    """Return the pyproject.toml files of a project: its own, the one beside the lock, those of a workspace's members.

    https://docs.astral.sh/uv/concepts/projects/workspaces/
    """
    folder = root / PurePosixPath(lock).parent
    tool = configuration_table(folder).get("tool", {})
    uv = tool.get("uv", {}) if isinstance(tool, Mapping) else {}
    workspace = uv.get("workspace", {}) if isinstance(uv, Mapping) else {}
    members = {path for pattern in workspace.get("members", ()) for path in folder.glob(f"{pattern}/pyproject.toml")}
    members -= {path for pattern in workspace.get("exclude", ()) for path in folder.glob(f"{pattern}/pyproject.toml")}
    first = [path for path in (root / "pyproject.toml", folder / "pyproject.toml") if path.is_file()]
    return tuple(dict.fromkeys(path.relative_to(root).as_posix() for path in (*first, *sorted(members))))


def configuration_table(root: Path) -> Mapping[str, Any]:
    """Return the parsed pyproject.toml, or an empty table where there is none."""
    return pyproject(root) if (root / "pyproject.toml").is_file() else {}


def locks(root: Path, lock: str) -> tuple[str, ...]:
    """Return the lock, and the one beside it that has what development adds, where its format has two files.

    `dev_lock` in prodlock/inside/lock/selection.py finds the same one in a build step.
    """
    path = PurePosixPath(lock)
    beside = (path.with_name(name).as_posix() for name in development_locks(lock))
    return (lock, *[name for name in beside if name != lock and (root / name).is_file()][:1])


def development_locks(lock: str) -> list[str]:
    """Return the names that the file beside a lock may have that has what development adds."""
    path = PurePosixPath(lock)
    if path.name.startswith("pylock."):
        return ["pylock.dev.toml"]
    return [f"{path.stem}-dev.txt", f"dev-{path.name}", "dev.txt"] if path.suffix == ".txt" else []


def lock_inputs(project: Project) -> tuple[str, ...]:
    """Return the files that the build step of the lock reads."""
    lock = project.configuration.lock
    return (*described(project.root, lock), *locks(project.root, lock))


def inv(tasks: str) -> str:
    """Return the command that runs the tasks in a file: Invoke looks for tasks.py alone."""
    return "inv" if tasks == "tasks.py" else f"inv -c {Path(tasks).stem}"


def check(project: Project) -> None:
    """Raise Failure where a file lacks a line that the configuration gives."""
    # No required line depends on a name or on a variable.
    for path, rendered in files(project.configuration, facts(project, "", ())).items():
        try:
            text = (project.root / path).read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            # The first command that needs it reports that.
            continue
        except OSError as error:
            raise Failure(f"{path} must be readable (got: {error.strerror}). To fix it: change its mode.") from None
        if CONFLICT.search(text):
            raise Failure(
                f"{path} must have no marked conflicts (got some: an upgrade was not finished). To fix it: choose "
                "between the marked lines, and remove the marks."
            )
        if lines := missing(text, rendered.required):
            if not (project.root / "pyproject.toml").exists():
                raise Failure(
                    f"{path} must have what [tool.prodlock] in pyproject.toml gives (got no pyproject.toml). To fix "
                    "it: restore it, or run `prodlock init`."
                )
            raise Failure(
                f"{path} must have what [tool.prodlock] in pyproject.toml gives (got no line `{lines[0]}`). To fix it: "
                "run `prodlock upgrade`, or restore the line or the key."
            )


def fill(template: str, values: Mapping[str, str | Iterable[str]]) -> Rendered:
    """Fill a template. The values of lines that consist of a placeholder are lines."""
    lines: list[str] = []
    required: list[str] = []
    for line in template.splitlines():
        found = _PLACEHOLDER.findall(line)
        if not found:
            lines.append(line)
            continue
        (tilde, name), *_ = found
        value = values[name]
        if _PLACEHOLDER.fullmatch(line):
            filled = [value] if isinstance(value, str) else list(value)
        else:
            filled = [_PLACEHOLDER.sub(lambda match: str(values[match[2]]), line)]
        lines += filled
        if not tilde:
            required += [one.strip() for one in filled if one.strip() and not one.lstrip().startswith("#")]
    return Rendered("\n".join(lines) + "\n", tuple(required))


def files(configuration: Configuration, facts: Facts) -> dict[str, Rendered]:
    """Return the rendered files by their paths."""
    dockerfile = configuration.dockerfile
    compose = configuration.compose or "docker-compose.yml"
    ignored = ".dockerignore" if dockerfile == "Dockerfile" else f"{dockerfile}.dockerignore"
    values = {**_dockerfile(configuration, facts), **_compose(configuration, facts), **_ignored(configuration, facts)}
    found = {}
    templates = {dockerfile: "Dockerfile.template", compose: "docker-compose.yml", ignored: "dockerignore"}
    for path, template in templates.items():
        text = (TEMPLATES / template).read_text(encoding="utf-8")
        found[path] = fill(text, {"header": _header(template, configuration, is_own=facts.is_own), **values})
    return found


def _header(template: str, configuration: Configuration, *, is_own: bool) -> list[str]:
    """Return the comment at the top of a file."""
    if template == "Dockerfile.template":
        file = "" if configuration.dockerfile == "Dockerfile" else f"--file={configuration.dockerfile} "
        images = (f"docker build {file}.", f"docker build {file}--target dev .")
        lines = [f"# Two images from one lock: `{images[0]}` is prod, `{images[1]}` is dev."]
        return [*lines, *(_STAGES if is_own else [_WRITTEN])]
    return ["# Each service names its profile, so that neither image is built or run by accident."]


_SIGNALS = (
    "# The kernel drops a signal that process 1 does not handle, but keeps a blocked one: a stop while the interpreter",
    "# starts is not lost. `prodlock.server` handles the signals before it imports the service.",
)
_WRITTEN = "# `prodlock upgrade` keeps edits of this file, but for lines with values of [tool.prodlock]."
_STAGES = (
    "#",
    "#   base, uv, lock -> main, dev-packages: the locked wheels, in /opt",
    "#   base, main, dev-packages -> dev",
    "#   base, main -> system ┐",
    "#                   main ├ prod, from scratch: it holds what is copied by name",
    "#   base, sources -> app ┘",
    "# prodlock/inside/Dockerfile builds the tools beside the images: Poetry, the linters and others.",
)


def serving_command(configuration: Configuration) -> tuple[str, ...]:
    """Return the command that serves the application in production."""
    if configuration.server:
        return configuration.server
    return ("env", "--block-signal=TERM,INT", "python", "-m", "prodlock.server", *server_arguments(configuration))


def server_arguments(configuration: Configuration) -> tuple[str, ...]:
    """Return the arguments of `prodlock.server`: the application, and the options that are not the default."""
    given = {"port": str(configuration.port), "health": configuration.health, "ready": configuration.ready}
    defaults = {name: str(getattr(Configuration, name)) for name in given}
    options = (f"--{name}={value}" for name, value in given.items() if value and value != defaults[name])
    return (configuration.application, *options)


def health_check(configuration: Configuration) -> tuple[str, ...]:
    """Return the command that checks the health of production."""
    port = [] if configuration.port == Configuration.port else [str(configuration.port)]
    # Without a path of its own, a server is healthy that answers at all; prodlock.server has one.
    path = configuration.health or ("any" if configuration.server else Configuration.health)
    return (
        "python", "-S", f"{HOME}/prodlock/server/healthcheck.py", *port,
        *([] if path == Configuration.health else [path]),
    )  # fmt: skip


def home(configuration: Configuration) -> str:
    """Return the folder in the image that commands run in."""
    return (PurePosixPath(HOME) / configuration.directory).as_posix()


def import_path(configuration: Configuration) -> tuple[str, ...]:
    """Return the folders of the image that PYTHONPATH has: those of the imports, and the project's.

    The server's package is in the latter. A program such as pytest or alembic does not add the current folder.
    """
    folders = ((PurePosixPath(HOME) / folder).as_posix() for folder in configuration.import_from)
    return tuple(dict.fromkeys((*folders, HOME)))


def lock_arguments(configuration: Configuration, folder: str) -> tuple[str, ...]:
    """Return the arguments of `prodlock.inside.lock`: what is installed, and the lock in a folder."""
    groups, dev_groups = configuration.groups, configuration.dev_groups
    return (
        *(f"--group={name}" for name in groups if groups != Configuration.groups),
        *(f"--extra={name}" for name in configuration.extras),
        *(f"--dev-group={name}" for name in dev_groups if dev_groups != Configuration.dev_groups),
        *([f"--package={configuration.package}"] if configuration.package else []),
        (PurePosixPath(folder) / configuration.lock).as_posix(),
    )


def _dockerfile(configuration: Configuration, facts: Facts) -> dict[str, str | Iterable[str]]:
    paths = ":".join(import_path(configuration))
    copied = [f"COPY {path} {HOME}/{path}" for path in (*configuration.sources, *configuration.generated)]
    mounts = [f"--mount=source={path},target=/lock/{path}" for path in (*facts.described, *facts.locks)]
    explained = _SIGNALS if facts.is_own else ()
    folder = home(configuration)
    return {
        "base": configuration.base,
        "sources": [*(["COPY prodlock/__init__.py /srv/prodlock/"] if facts.is_own else []), *copied],
        "import path": f"PYTHONPATH={paths}",
        "lock mounts": list(_in_lines(mounts)),
        "lock arguments": " ".join(lock_arguments(configuration, "/lock")),
        "folders of tests": " ".join(
            dict.fromkeys((".", configuration.directory, PurePosixPath(configuration.directory, "reports").as_posix()))
        ),
        "workdir": [f"WORKDIR {folder}"] if folder != HOME else [],
        "test command": _exec(("pytest",)),
        "port": str(configuration.port),
        "health check": _exec(health_check(configuration)),
        "command": [*explained, f"CMD {_exec(serving_command(configuration))}"],
    }


def _in_lines(mounts: Iterable[str]) -> Iterator[str]:
    """Yield options of RUN in lines of at most 120 characters, each of which continues."""
    line = "   "
    for one in mounts:
        if len(line) + len(one) > 117 and line.strip():  # noqa: PLR2004 - a line, without ` \\`
            yield f"{line} \\"
            line = "   "
        line += f" {one}"
    yield f"{line} \\"


def _compose(configuration: Configuration, facts: Facts) -> dict[str, str | Iterable[str]]:
    server = () if configuration.server else SERVER_VARIABLES
    names = (*facts.variables, *server)
    live = serving_command(configuration)
    if facts.is_own:
        live = ("python", "-m", "prodlock.loop.serve", *server_arguments(configuration))
    action = "sync" if facts.is_own else "sync+restart"
    build = ["context: .", "secrets: [ca_bundle, index_url, extra_index_url, netrc]"]
    if configuration.dockerfile != "Dockerfile":
        build.insert(1, f"dockerfile: {configuration.dockerfile}")
    services, commands = dict(configuration.services), configuration.commands
    addresses = recipes.addresses(services, facts.driver)
    handed_on = [
        *(["<<: *server"] if server else []),
        *(_handed_on(name, addresses) for name in facts.variables if name not in server),
    ]
    secrets = recipes.secrets(services)
    return {
        # YAML reads some names as a number, a date or another value than a text.
        "name": facts.name if facts.name[:1].isalpha() and facts.name not in YAML_WORDS else f'"{facts.name}"',
        "build": list(recipes.flow(f"x-build: &build {{{', '.join(build)}}}")),
        "server": [*recipes.flow(f"x-server: &server {{{', '.join(server)}}}"), ""] if server else [],
        "environment": list(recipes.flow(f"  environment: &environment {{{', '.join(handed_on)}}}")),
        "memory": configuration.memory,
        "grace": list(_GRACE if server else _OWN_GRACE),
        "secrets of prod": [f"  secrets: [{', '.join(secrets)}]"] if secrets else [],
        "conditions of prod": list(_conditions(services, (one.name for one in commands if one.once))),
        "commands": [line for command in commands for line in _command(command, configuration)],
        "tests": list(_tests(services, addresses)),
        "live network": ["    networks: [dev]", *_conditions(_forms(services, recipes.DEV))] if services else [],
        "services": list(recipes.compose(services)),
        "secrets": list(_top_level(services)),
        "live command": json.dumps(live),
        "live environment": list(_live_environment(names)),
        "watched": [
            *(
                f"        - {{action: {action}, path: {path}, target: {HOME}/{path}}}"
                for path in (*configuration.sources, *configuration.generated)
            ),
            *(f"        - {{action: rebuild, path: {path}}}" for path in facts.locks),
        ],
    }


def _live_environment(names: Iterable[str]) -> Iterator[str]:
    """Yield the environment of `inv dev`: that of production, but for what is different while code is changed."""
    entries = ["<<: *environment"]
    if "APP_DRAIN_SECONDS" in names:
        yield "    # A request that is on its way when code is saved may be lost."
        entries.append('APP_DRAIN_SECONDS: "${APP_DRAIN_SECONDS:-0}"')
    if "APP_DOCS" in names:
        entries.append('APP_DOCS: "${APP_DOCS:-true}"')
    yield from recipes.flow(f"    environment: {{{', '.join(entries)}}}")


def _handed_on(name: str, addresses: Mapping[str, str]) -> str:
    """Return the entry of a variable that Compose hands on; an address has a default."""
    return f'{name}: "${{{name}:-{addresses[name]}}}"' if name in addresses else name


def _command(command: Command, configuration: Configuration) -> Iterator[str]:
    """Yield the lines of a further command. One that runs to its end does so once, after those before it."""
    first = [one.name for one in configuration.commands if one.once]
    if command.once:
        first = first[: first.index(command.name)][-1:]
    # `api-prod` builds the image. Without any check, `up --wait` fails in some versions of Compose.
    entries = ["<<: *prod", f"command: {json.dumps(command.words)}", "pull_policy: never"]
    if command.once:
        entries += ["healthcheck: {disable: true}", 'restart: "no"']
    else:
        entries.append(f"healthcheck: {{test: {_exec(recipes.RUNNING)}}}")
    entries += _waits(dict(configuration.services), first)
    yield from recipes.flow(f"  {command.name}: {{{', '.join(entries)}}}")
    yield ""


def _waits(services: Mapping[str, str], completed: Iterable[str] = ()) -> list[str]:
    """Return the entry with what a service waits for, if any: services, given with their images, and commands' ends."""
    waited = {
        name: "service_healthy" if recipes.known(image) else "service_started" for name, image in services.items()
    }
    waited |= dict.fromkeys(completed, "service_completed_successfully")
    conditions = ", ".join(f"{name}: {{condition: {condition}}}" for name, condition in waited.items())
    return [f"depends_on: {{{conditions}}}"] if conditions else []


def _conditions(services: Mapping[str, str], completed: Iterable[str] = ()) -> Iterator[str]:
    """Yield the lines with what a service waits for."""
    for entry in _waits(services, completed):
        yield from recipes.flow(f"    {entry}")


def _forms(services: Mapping[str, str], end: str) -> dict[str, str]:
    return {f"{name}{end}": image for name, image in services.items()}


def _tests(services: Mapping[str, str], addresses: Mapping[str, str]) -> Iterator[str]:
    if not services:
        yield "    # The tests need nothing outside their container, so no network is created for them."
        yield "    network_mode: none"
        return
    yield "    # The tests reach services of their own, and nothing outside."
    yield "    networks: [tests]"
    if addresses:
        given = (f"{name}: {json.dumps(one)}" for name, one in addresses.items())
        yield from recipes.flow(f"    environment: {{{', '.join(given)}}}")
    yield from _conditions(_forms(services, recipes.TESTS))


def _top_level(services: Mapping[str, str]) -> Iterator[str]:
    """Yield the secrets of services, and their volumes and networks."""
    for name in recipes.secrets(services):
        yield f"  {name}: {{file: {recipes.SECRETS}/{name}}}"
    if services:
        yield ""
        yield "networks: {dev: {}, tests: {internal: true}}"
        names = [name for name, image in services.items() if recipes.known(image)]
        if names:
            yield f"volumes: {{{', '.join(f'{name}{end}: {{}}' for name in names for end in ('', recipes.DEV))}}}"


def _ignored(configuration: Configuration, facts: Facts) -> dict[str, str | Iterable[str]]:
    tool = _OWN if facts.is_own else _VENDORED
    paths = {
        *configuration.sources,
        *configuration.generated,
        *configuration.tests,
        *facts.described,
        *facts.locks,
        *tool,
    }
    # Those that the last lines of the file would exclude follow them.
    examples = {path for path in paths if PurePosixPath(path).name.startswith(".env")}
    return {
        "allowed": [f"!{path}" for path in sorted(paths - examples)],
        "examples": [f"!{path}" for path in sorted(examples)],
    }


def _exec(words: Iterable[str]) -> str:
    """Return a command in the exec form of a Dockerfile, which is JSON."""
    return json.dumps(list(words), ensure_ascii=False)


def missing(text: str, required: Iterable[str]) -> list[str]:
    """Return the required lines that a file's text lacks, whatever the spaces around them are."""
    present = {line.strip() for line in text.splitlines()}
    return [line for line in required if line not in present]
