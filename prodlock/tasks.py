"""The Invoke tasks of a project that uses Prodlock; the project's own `tasks.py` adds others."""

from __future__ import annotations

import functools
import inspect
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Collection as SizedCollection
from pathlib import Path
from typing import Any

from invoke.collection import Collection
from invoke.context import Context
from invoke.exceptions import Exit
from invoke.main import program
from invoke.parser.argument import Argument
from invoke.tasks import Task, task

# Invoke turns the cache of bytecode off (its option --write-pyc), and each task would compile Prodlock again.
sys.dont_write_bytecode = bool(sys.flags.dont_write_bytecode)

from prodlock import failure  # noqa: E402
from prodlock.docker import env_file  # noqa: E402
from prodlock.failure import CANNOT_CHECK, FAILED, Failure  # noqa: E402
from prodlock.project import Project  # noqa: E402

# The groups of the tasks below in the order of the listing; a project's own tasks come last.
GROUPS: dict[str, Sequence[str]] = {
    "Development loop": ("dev", "build", "serve", "test", "shell", "venv", "stop", "clean"),
    "Proof": ("check-prod-has-no-pytest", "check-prod", "sbom", "publish", "deploy-check"),
    "Upkeep": ("setup", "poetry", "uv", "audit", "lint", "help"),
}
OWN_TASKS = "This project"

_IMAGE_HELP = "Another image, or a file that `docker save` wrote, instead of the one that `inv build` made."


def on_project(body: Callable[..., int | None]) -> Callable[..., None]:
    """Make the body of a task from a function of a project, which returns an exit code or raises Failure."""

    @functools.wraps(body)
    def wrapped(c: Context, *args: object, **kwargs: object) -> None:
        if c.config.run.dry:
            raise Exit(
                "Tasks must be run without --dry (got --dry). To fix it: leave it out; each task prints the docker "
                "commands that it runs.",
                code=FAILED,
            )
        refuse_unread(passed_arguments())
        code, message = failure.run(lambda: body(env_file.project(Path(c.config.prodlock.root)), *args, **kwargs))
        if code:
            raise Exit(message or None, code=code)

    return wrapped


def passed_arguments() -> list[str]:
    """Return the arguments after `--`, which Invoke's own `c.remainder` joins and so breaks their quoting."""
    return sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else []


def refuse_unread(arguments: Sequence[str]) -> None:
    """Refuse arguments after `--` where none of the tasks of the command line reads them. Raises Exit."""
    own = {name for names in GROUPS.values() for name in names}
    names = [one.name for one in getattr(program, "tasks", ())]
    if arguments and all(name in own and not isinstance(program.collection[name], PassThrough) for name in names):
        raise Exit(
            f"Arguments after `--` must follow a task that passes them on (got {shlex.join(arguments)}). To fix it: "
            "leave out the `--`; `inv --help TASK` lists the options of a task.",
            code=CANNOT_CHECK,
        )


class PassThrough(Task[Any]):
    """A task that passes the arguments after `--` on to a program, and refuses a command line without the `--`.

    Otherwise Invoke would print "No idea what '-k' is!", or take `-e` or `--version` for an option of its own.
    """

    def get_arguments(self, ignore_unknown_help: bool | None = None) -> list[Argument]:
        """Return the task's options. Invoke calls this before it parses the command line."""
        arguments: list[Argument] = super().get_arguments(ignore_unknown_help)
        name = self.name.replace("_", "-")
        names = {"help", "h"} | {name for argument in arguments for name in argument.names}
        options = {f"--{name}" if len(name) > 1 else f"-{name}" for name in names}
        tasks = set(program.collection.task_names) if hasattr(program, "collection") else set()
        if line := with_separator(sys.argv[1:], name, options, tasks, _takes_value):
            argument = line[line.index("--") + 1]
            raise Exit(
                f"Arguments that `{name}` passes on must follow `--` (got {argument!r}). To fix it: "
                f"`inv {shlex.join(line)}`.",
                code=FAILED,
            )
        return arguments


def with_separator(
    line: Sequence[str],
    task: str,
    options: SizedCollection[str],
    tasks: SizedCollection[str],
    takes_value: Callable[[str], bool] = lambda _: False,
) -> list[str] | None:
    """Insert the missing `--` behind a task and its options in a command line; return None where none is missing.

    The name of another task begins the next task of the command line. The word behind an option that takes a value
    is not a task.
    """
    words = line[: line.index("--")] if "--" in line else line
    places = (number for number, word in enumerate(words, 1) if word == task)
    first = next((one for one in places if one == 1 or not takes_value(words[one - 2])), 0)
    if not first:
        return None
    for number, word in enumerate(words[first:], first):
        if word in tasks:
            return None
        if word not in options:
            return [*words[:number], "--", *words[number:], *line[len(words) + 1 :]]
    return None


def _takes_value(word: str) -> bool:
    """Return whether a word of the command line is an option of a task that takes the next word as its value."""
    if not word.startswith("-") or not hasattr(program, "collection"):
        return False
    names = program.collection.task_names
    others = (one for one in map(program.collection.__getitem__, names) if not isinstance(one, PassThrough))
    arguments = (argument for one in others for argument in one.get_arguments() if argument.takes_value)
    return word.lstrip("-") in {name for argument in arguments for name in argument.names}


def listing(tasks: Mapping[str, Task[Any]]) -> Iterator[str]:
    """Yield the lines of a list of tasks in groups: names, options, first lines of docstrings."""
    grouped = {name for names in GROUPS.values() for name in names}
    usage = {name: " ".join((name, *_options(task))) for name, task in tasks.items()}
    width = max(map(len, usage.values()))
    for title, names in (GROUPS | {OWN_TASKS: sorted(tasks.keys() - grouped)}).items():
        if present := [name for name in names if name in tasks]:
            yield f"{title}:"
            for name in present:
                summary = (tasks[name].__doc__ or "").strip().partition("\n")[0]
                yield f"  {usage[name]:<{width}}  {summary}".rstrip()
            yield ""
    yield "`inv --help TASK` explains a task and its options."


def _options(task: Task[Any]) -> Iterator[str]:
    for option in list(inspect.signature(task.body).parameters.values())[1:]:
        # Of an option that is on by default, Invoke reads the negation.
        yield f"[--{'no-' if option.default is True else ''}{option.name.replace('_', '-')}]"
    if isinstance(task, PassThrough):
        yield "[-- ...]"


@task(name="help", default=True)
@on_project
def list_tasks(_: Project) -> None:
    """List the tasks in groups; `inv --help TASK` explains one."""
    # Those of collections in it as well.
    names = program.collection.task_names
    print("\n".join(listing({name: program.collection[name] for name in names})))


@task
@on_project
def setup(project: Project) -> None:
    """Set up this machine: Engine, Compose, Buildx, base image.

    Installs and starts Docker on Debian and Ubuntu, as root or with sudo. Changes nothing on a machine that is ready.
    """
    from prodlock.setup import machine

    machine.setup(project)


@task(
    help={
        "no-cache": "Build without the cache. The same commit gives the same prod, with the same id.",
        "platform": "Another platform than the Engine's own, for example linux/arm64; the Engine needs its emulator.",
    }
)
@on_project
def build(project: Project, no_cache: bool = False, platform: str = "") -> None:
    """Build prod and dev, and print their ids and the commit."""
    from prodlock.docker import images

    images.build_both(project, platform, cache=not no_cache)


@task(
    help={
        "port": "The port on 127.0.0.1 (default: $PORT, else `port` of [tool.prodlock]).",
        "detach": "Return once the service is healthy; `inv stop` stops it.",
    }
)
@on_project
def serve(project: Project, port: str = "", detach: bool = False) -> None:
    """Build and run prod, stream its logs, stop it gracefully on Ctrl-C."""
    from prodlock.docker import production

    production.serve(project, port, detach=detach)


@task(
    help={
        "port": "The port on 127.0.0.1 (default: $PORT, else `port` of [tool.prodlock]).",
        "preload": "Import third-party modules once for all starts; `--no-preload` imports all again at each.",
        "debug": "Wait for a debugger on 127.0.0.1:5678 at each start.",
    }
)
@on_project
def dev(project: Project, port: str = "", preload: bool = True, debug: bool = False) -> int:
    """Serve the working tree in dev; a saved file takes effect at once."""
    from prodlock.docker import live

    return live.serve(project, port, preload=preload, debug=debug)


@task
@on_project
def stop(project: Project) -> None:
    """Stop what `inv serve --detach` started in this checkout."""
    from prodlock.docker import production

    production.stop(project)


@task(
    klass=PassThrough,
    help={
        "watch": "Run the tests of the working tree again at every save: first the affected ones, then all.",
        "debug": "Wait until a debugger is attached to 127.0.0.1:5678.",
    },
)
@on_project
def test(project: Project, watch: bool = False, debug: bool = False) -> int:
    """Build dev and run pytest in it: `inv test -- -k settings -x`."""
    from prodlock.docker import development, retest

    if watch and debug:
        raise Failure("The option must be --watch or --debug (got both). To fix it: leave one of them out.")
    run = retest.watch if watch else retest.debug if debug else development.test
    return run(project, passed_arguments())


@task(
    klass=PassThrough,
    help={
        "prod": "Beside the running prod container, which has no shell: in its network and process namespaces.",
        "tree": "On the working tree, which the command can change, with the services of `inv dev`.",
    },
)
@on_project
def shell(project: Project, prod: bool = False, tree: bool = False) -> int:
    """Open a shell in dev, or run a command: `inv shell -- python -V`."""
    from prodlock.docker import development

    return development.shell(project, passed_arguments(), beside_prod=prod, on_tree=tree)


@task
@on_project
def venv(project: Project) -> None:
    """Make .venv from the lock for an editor: main and dev groups.

    Needs the image's Python on this machine. Changes nothing where the lock has not changed.
    """
    from prodlock.setup import virtualenv

    virtualenv.make(project)


@task(help={"image": _IMAGE_HELP, "json": "Print the report as JSON."})
@on_project
def check_prod_has_no_pytest(project: Project, image: str | None = None, json: bool = False) -> int:
    """Prove that no dev dependency is in prod.

    Exit code: 0 clean, 1 findings, 2 no verdict because evidence is missing.
    """
    from prodlock.proof import check

    return check.prod_has_no_pytest(project, image, as_json=json)


@task(
    help={
        "image": _IMAGE_HELP,
        "sbom": "Compare a CycloneDX file with the image as well.",
        "json": "Print the report as JSON.",
    }
)
@on_project
def check_prod(project: Project, image: str | None = None, sbom: str | None = None, json: bool = False) -> int:
    """Prove where every byte of prod comes from.

    It must be the lock, the sources and the base image. Exit code: 0 clean, 1 findings, 2 no verdict.
    """
    from prodlock.proof import check

    return check.prod(project, image, bill=sbom, as_json=json)


@task(help={"image": _IMAGE_HELP, "output": "The file to write, instead of standard output."})
@on_project
def sbom(project: Project, image: str | None = None, output: str | None = None) -> int:
    """Write a CycloneDX bill of materials of prod.

    First proves what prod contains; writes nothing where that fails. Exit code: 0 written, 1 findings, 2 no verdict.
    """
    from prodlock.proof import check

    return check.sbom(project, image, output)


@task(
    iterable=["platform"],
    help={
        "to": "REGISTRY/NAME or REGISTRY/NAME:TAG; without a tag, the tag is the hash of the commit.",
        "sign": "Sign with cosign, and attest the bill of materials and the verdict: a private key's file or address.",
        "platform": "Refuse an image that is not of this platform, such as linux/arm64; may be repeated.",
        "output": "The file of the bill of materials (default: reports/sbom.json).",
    },
)
@on_project
def publish(
    project: Project,
    to: str = "",
    sign: str | None = None,
    platform: Sequence[str] | None = None,
    output: str | None = None,
) -> int:
    """Prove prod, push it to a registry, and print its digest.

    Exit code: 0 published, 1 findings or a refusal, 2 no verdict because evidence is missing.
    """
    from prodlock.proof import publish

    return publish.publish(project, to, sign, platform or (), output)


@task(help={"json": "Print the report as JSON."})
@on_project
def deploy_check(project: Project, json: bool = False) -> int:
    """Check deploy/ against its schemas and docker-compose.yml.

    Exit code: 0 valid and consistent, 1 findings, 2 no verdict because files are missing.
    """
    from prodlock.proof import deploy

    return deploy.check(project, as_json=json)


@task(klass=PassThrough)
@on_project
def poetry(project: Project) -> int:
    """Run Poetry on the working tree: `inv poetry -- add --lock httpx`."""
    from prodlock.docker import stages

    return stages.poetry(project, passed_arguments())


@task(klass=PassThrough)
@on_project
def uv(project: Project) -> int:
    """Run uv on the working tree: `inv uv -- add httpx`."""
    from prodlock.docker import stages

    return stages.uv(project, passed_arguments())


@task(help={"json": "Print the report as JSON."})
@on_project
def audit(project: Project, json: bool = False) -> int:
    """Ask for known vulnerabilities of what the lock has.

    Exit code: 0 none, 1 vulnerabilities, 2 no complete answer.
    """
    from prodlock.proof import audit

    return audit.check(project, as_json=json)


@task(help={"fix": "Fix what ruff and codespell can fix in the working tree, instead of checking it."})
@on_project
def lint(project: Project, fix: bool = False) -> int:
    """Check style, types, Dockerfiles, shell scripts and spelling."""
    from prodlock.docker import linters

    return linters.lint(project, fix=fix)


@task(help={"volumes": "Remove the volumes of databases as well, with their data."})
@on_project
def clean(project: Project, volumes: bool = False) -> None:
    """Remove this checkout's containers, networks and images."""
    from prodlock.docker import cleanup

    cleanup.clean(project, volumes=volumes)


def collection(root: Path) -> Collection:
    """Return the tasks of the project in a folder."""
    tasks = Collection.from_module(sys.modules[__name__])
    tasks.configure({"prodlock": {"root": str(root)}})
    return tasks
