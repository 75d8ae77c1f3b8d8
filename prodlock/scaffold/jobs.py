"""Find further commands of a service, such as workers and migrations, and the services beside it."""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from prodlock import configuration
from prodlock.inside.lock.selection import normalized
from prodlock.scaffold import pyprojects, shipped, toml, yaml
from prodlock.scaffold.declared import ASIDE, SERVERS, Declared, Deployment
from prodlock.scaffold.modules import created, module_name
from prodlock.scaffold.shipped import Project
from prodlock.scaffold.tree import is_inside

WORKER, SCHEDULER, MIGRATE = "worker", "scheduler", configuration.MIGRATE
# Programs that run tasks; a word of some decides what they do.
_WORKERS = {
    "celery": {"worker": WORKER, "beat": SCHEDULER},
    "taskiq": {"worker": WORKER, "scheduler": SCHEDULER},
    "rq": {"worker": WORKER},
    "arq": {"": WORKER},
    "dramatiq": {"": WORKER},
    "saq": {"": WORKER},
    "procrastinate": {"worker": WORKER},
    "huey_consumer": {"": WORKER},
    "huey_consumer.py": {"": WORKER},
}
_MIGRATIONS = (("alembic", "upgrade"), ("aerich", "upgrade"))
# Where Celery's beat keeps the times of its last runs.
_SCHEDULE = "/tmp/celerybeat-schedule"  # noqa: S108 - a container's
_CONFIGURED = re.compile(r"beat_schedule(?:_filename|r)\b", re.IGNORECASE)
# Services that start a module of the project's own, by their names.
_NAMES = re.compile(r".*(?:worker|scheduler|beat|consumer|cron|clock|jobs?|queue|listener).*")
# Of any registry; Bitnami's images keep their data in other folders.
_IMAGES = re.compile(
    r"(?!.*bitnami)(?:[\w.:-]+/)*(?:postgres|postgis|pgvector|redis|valkey|mysql|mariadb|rabbitmq|mongo)(?::[\w.-]+)?"
    r"(?:@sha256:[0-9a-f]+)?"
)
# What a module that starts a server names.
_STARTS = re.compile(rf"\b(?:{'|'.join(sorted(SERVERS - {'fastapi'}))})\b")
# Programs that do no work of the service.
_IGNORED = frozenset({"pip", "pytest", "coverage", "alembic", "aerich", "poetry", "uv", "awscli", "supervisor"})
# Python's options without a value.
_FLAGS = re.compile(r"-[bBdEiIOPqsSuvx]+")
# What a service of tests alone has in its name, its file's or its profiles'.
_TESTS = re.compile(r"test|\bci\b|\be2e\b")


@dataclass
class Jobs:
    """Commands and their places, by name; the files that they need; and notes on commands that are left out."""

    commands: dict[str, tuple[str, str]] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def find(project: Project, deployment: Deployment, locked: Container[str] = ()) -> Jobs:
    """Return the workers and migrations that the project's files declare, each where it is unambiguous.

    Takes the distributions that production has.
    """
    declared: dict[str, dict[str, Declared]] = {}
    for is_deployed in (True, False):
        found: dict[str, dict[str, Declared]] = {}
        for one in deployment.commands:
            name = _kind(project, one)
            if one.is_deployed == is_deployed and name:
                found.setdefault(name, {}).setdefault(shlex.join(one.words), one)
        # A command of development counts where no deployment has one of its kind.
        declared = found | declared
    jobs = Jobs()
    for name, texts in declared.items():
        services = {one.name for one in texts.values()}
        if name == MIGRATE:
            # Another one may be a part of the start of the server.
            text = next(
                (text for text, one in texts.items() if re.search(r"migrat|release", one.name)), next(iter(texts))
            )
            _add(jobs, name, {text: texts[text]})
        elif len(texts) > 1 and len(services) == len(texts) and all(map(_is_service, services)):
            # Several workers, each a service of its own.
            for text, one in texts.items():
                _add(jobs, one.name, {text: one})
        else:
            _add(jobs, name, texts)
    _keep_schedules(project, jobs)
    scripts = _scripts(project)
    for one in deployment.commands:
        if one.is_deployed and one.program in scripts and _NAMES.fullmatch(one.name):
            module = scripts[one.program].partition(":")[0]
            jobs.notes.append(
                f"`commands` has no {one.name}, because images do not have the project's own scripts (got "
                f"`{shlex.join(one.words)}`, {one.where}). If production has it, start its module, for example with "
                f"`--set 'commands={{{one.name} = \"python -m {module}\"}}'`."
            )
    jobs.notes += _not_started(project) if "celery" in locked and not {*declared} - {MIGRATE} else ()
    jobs.notes += _others(project, deployment, locked)
    return jobs


def _not_started(project: Project) -> Iterator[str]:
    """Yield the note on an application of Celery, where no file starts a worker."""
    for path, name, line in created(project.tree, {"Celery"}):
        folder = next((one for one in project.folders if is_inside(path, one)), "")
        if folder and not ASIDE.search(path):
            command = f"celery --app {module_name(path, folder)}:{name} worker"
            yield (
                f"`commands` has no {WORKER}, because no file starts one (got the application of Celery "
                f"{path}:{line}). If production has it, write it with `--set 'commands={{{WORKER} = "
                f"{toml.value(command)}}}'`."
            )
            return


def _others(project: Project, deployment: Deployment, locked: Container[str]) -> Iterator[str]:
    """Yield the note on commands of a deployment that are of no known kind."""
    others = {
        shlex.join(one.words): one
        for one in deployment.commands
        if one.is_deployed
        and not one.serves
        # Django's server of development.
        and "runserver" not in one.words
        and not _kind(project, one)
        and _runs(project, one, locked)
        # A program of another image.
        and not _is_of_another_image(deployment.compose.get(one.path, {}).get(one.name, {}))
    }
    if others:
        listed = ", ".join(f"`{text}` ({one.where})" for text, one in others.items())
        text, one = next(iter(others.items()))
        name = one.name if _is_service(one.name) else "name"
        yield (
            f"Not among `commands`: {listed}. Name those that production has, for example with "
            f"`--set 'commands={{{name} = {toml.value(text)}}}'`."
        )


def _is_of_another_image(keys: Mapping[str, yaml.Value]) -> bool:
    """Return whether a service of a Compose file has an image that no build of the project makes."""
    return "image" in keys and "build" not in keys


def _runs(project: Project, one: Declared, locked: Container[str]) -> bool:
    """Return whether a command is a program of the lock, or a module of the project that starts no server."""
    if not one.program.startswith("python"):
        return one.program not in _IGNORED and normalized(one.program) in locked
    first = _first(one.words)
    started = one.words[first + 1 : first + 2] if one.words[first] == "-m" else one.words[first : first + 1]
    files = list(modules(project, map(shlex.quote, started)))
    imported = project.modules.closure(files, project.folders)
    return bool(files) and not any(_STARTS.search(project.tree.text(file)) for file in imported)


def _first(words: Sequence[str]) -> int:
    """Return the number of the word behind Python's flags, such as `-u`."""
    return next((number for number, word in enumerate(words) if number and not _FLAGS.fullmatch(word)), 0)


def modules(project: Project, texts: Iterable[str]) -> Iterator[str]:
    """Yield the files of the project's modules that commands start or name."""
    for text in texts:
        for word in shlex.split(text):
            name = word.partition(":")[0].rpartition("=")[2]
            if file := project.file(re.sub(r"^(?:--[\w-]+=)?(?:file:)?", "", word)):
                yield file
            for one in (name, name.rpartition(".")[0], f"{name}.__main__", f"{name}.celery"):
                if re.fullmatch(r"\w+(\.\w+)*", one) and (module := project.modules.find(one, project.folders)):
                    yield module


def services(deployment: Deployment, taken: Iterable[str]) -> tuple[dict[str, str], str]:
    """Return the databases and queues of the Compose files by the name of their service, and the first file."""
    found: dict[str, str] = {}
    place = ""
    for path, one in deployment.compose.items():
        for name, keys in one.items():
            image = deployment.expanded(keys.get("image", yaml.Value()).text)
            # A database of tests is not one of production.
            of_tests = _TESTS.search(f"{name} {posixpath.basename(path)} {' '.join(keys.get('profiles', ()))}")
            if _IMAGES.fullmatch(image) and _is_service(name) and name not in taken and not of_tests:
                found.setdefault(name, image)
                place = place or path
    return found, place


def is_exec(text: str) -> bool:
    """Return whether a command runs without a shell."""
    try:
        return bool(configuration.KINDS["server"].convert(text))
    except ValueError:
        return False


def _kind(project: Project, one: Declared) -> str:
    """Return the name of a command, or an empty string where it is not a further command of the service."""
    words = one.words
    if one.program in _WORKERS:
        return next((kind for word, kind in _WORKERS[one.program].items() if not word or word in words), "")
    if any(words[0] == program and word in words for program, word in _MIGRATIONS) or shipped.is_of_django(words):
        return MIGRATE
    if one.is_deployed and _NAMES.fullmatch(one.name) and _is_service(one.name) and re.match(r"python", one.program):
        first = _first(words)
        started = words[first + 1 : first + 2] if words[first] == "-m" else words[first : first + 1]
        return one.name if any(modules(project, map(shlex.quote, started))) else ""
    return ""


def _keep_schedules(project: Project, jobs: Jobs) -> None:
    """Let Celery's beat write its schedule where production can write."""
    for name, (text, where) in jobs.commands.items():
        if _writes_schedule(project, shlex.split(text)):
            jobs.commands[name] = (f"{text} --schedule={_SCHEDULE}", where)
            jobs.notes.append(
                f"Celery's beat keeps its schedule in {_SCHEDULE}, because production can write to /tmp alone (got "
                f"`{text}`, {where}). A new container starts with an empty one."
            )


def _writes_schedule(project: Project, words: Sequence[str]) -> bool:
    """Return whether a command is Celery's beat that keeps its schedule in the working directory."""
    is_beat = words[0] == "celery" and bool({"beat", "-B", "--beat"} & {*words})
    is_given = any(re.match(r"-[sS]|--schedule", word) for word in words)
    if not is_beat or is_given:
        return False
    return not any(_CONFIGURED.search(project.tree.text(path)) for path in project.tree.python)


def _scripts(project: Project) -> dict[str, str]:
    """Return the scripts that an installation of the project has, with what each starts."""
    found: dict[str, str] = {}
    for _, content in pyprojects.own(project.tree, project.place):
        for keys in (("project", "scripts"), ("tool", "poetry", "scripts")):
            found |= {name: one for name, one in pyprojects.table(content, *keys).items() if isinstance(one, str)}
    return found


def _add(jobs: Jobs, name: str, texts: dict[str, Declared]) -> None:
    listed = ", ".join(f"`{text}` ({one.where})" for text, one in texts.items())
    remedy = f"If production has it, write it with `--set 'commands={{{name} = \"...\"}}'`."
    if len(texts) > 1:
        jobs.notes.append(f"`commands` has no {name}, because the project has several: {listed}. {remedy}")
        return
    text, one = next(iter(texts.items()))
    if is_exec(text):
        jobs.commands[name] = (text, one.where)
    else:
        jobs.notes.append(f"`commands` has no {name}, because it needs a shell: {listed}. {remedy}")


def _is_service(name: str) -> bool:
    return bool(re.fullmatch(r"[a-z][a-z0-9_-]*", name)) and name not in configuration.RESERVED
