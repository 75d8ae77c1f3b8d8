"""The Invoke tasks of a project that uses Prodlock; its own `tasks.py` adds others."""

from __future__ import annotations

import functools
import shlex
import signal
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from invoke.collection import Collection as TaskCollection
from invoke.context import Context
from invoke.exceptions import Exit
from invoke.main import program
from invoke.parser.argument import Argument
from invoke.tasks import Task, task

from prodlock.docker import compose, stages
from prodlock.failure import FAILED, INTERRUPTED, Failure, Terminated
from prodlock.project import Project
from prodlock.setup import machine


def terminate(_number: int, _frame: FrameType | None) -> None:
    """Handle a signal by an interruption."""
    raise Terminated


def sentences(body: Callable[..., int | None]) -> Callable[..., None]:
    """Make a task of a function of a project: it ends with an exit code, an expected failure with a message."""

    @functools.wraps(body)
    def wrapped(c: Context, *args: object, **kwargs: object) -> None:
        # SIGTERM and a closed terminal end a task as Ctrl-C does, so that it leaves nothing running.
        for name in ("SIGTERM", "SIGHUP"):
            # Windows has no SIGHUP; `nohup` has it ignored on purpose.
            number = getattr(signal, name, None)
            if number and signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, terminate)
        if c.config.run.dry:
            raise Exit("These tasks can't run dry: each prints the docker command that it runs.", code=FAILED)
        try:
            code = body(Project(Path(c.config.prodlock.root)), *args, **kwargs)
        except Failure as failure:
            raise Exit(str(failure), code=failure.code) from None
        except KeyboardInterrupt:
            raise Exit("Interrupted.", code=INTERRUPTED) from None
        if code:
            raise Exit(code=code)

    return wrapped


def handed_on() -> list[str]:
    """Return what follows `--`, which Invoke's own `c.remainder` joins so that quoted arguments fall apart."""
    return sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else []


class HandingOn(Task[Any]):
    """A task that hands on what follows `--`, and says so where a user has left the `--` out.

    Invoke would say "No idea what '-k' is!", or take `-e` or `--version` for an option of its own.
    """

    def get_arguments(self, ignore_unknown_help: bool | None = None) -> list[Argument]:
        """Return the task's options. Invoke asks for them before it parses the command line."""
        arguments: list[Argument] = super().get_arguments(ignore_unknown_help)
        task = self.name.replace("_", "-")
        names = {"help", "h"} | {name for argument in arguments for name in argument.names}
        options = {f"--{name}" if len(name) > 1 else f"-{name}" for name in names}
        tasks = set(program.collection.task_names) if hasattr(program, "collection") else set()
        if line := separated(sys.argv[1:], task, options, tasks):
            raise Exit(f"What `{task}` hands on must follow `--`. To fix it: `inv {shlex.join(line)}`.", code=FAILED)
        return arguments


def separated(line: Sequence[str], task: str, options: Collection[str], tasks: Collection[str]) -> list[str] | None:
    """Return a command line with the `--` that it lacks after a task, its options and other tasks, or None.

    Another task is one to run next.
    """
    words = line[: line.index("--")] if "--" in line else line
    if task not in words:
        return None
    first = words.index(task) + 1
    for number, word in enumerate(words[first:], first):
        if word in tasks:
            return None
        if word not in options:
            return [*words[:number], "--", *words[number:], *line[len(words) + 1 :]]
    return None


@task(name="help", default=True)
@sentences
def list_tasks(_: Project) -> None:
    """List the tasks, as `inv` alone does; `inv --help TASK` explains one."""
    program.run(["inv", "--list"], exit=False)


@task
@sentences
def setup(project: Project) -> None:
    """Make this machine ready: Engine, Compose, Buildx, base image. Changes nothing on one that is."""
    machine.setup(project)


@task(
    help={
        "no-cache": "Build every step anew. The same commit gives the same prod, by its id.",
        "platform": "Another platform than the Engine's own, say linux/arm64: by emulation, which it must have.",
    }
)
@sentences
def build(project: Project, no_cache: bool = False, platform: str = "") -> None:
    """Build both images, prod and dev, and print their ids and the commit that they were made from."""
    compose.build_both(project, platform, cache=not no_cache)


@task(
    help={
        "port": "The port on 127.0.0.1 (default: $PORT, else 8000).",
        "detach": "Return once the service is healthy; `inv stop` stops it.",
    }
)
@sentences
def serve(project: Project, port: str = "", detach: bool = False) -> None:
    """Build and run production, stream its logs, stop it cleanly on Ctrl-C."""
    compose.serve(project, port, detach=detach)


@task
@sentences
def stop(project: Project) -> None:
    """Stop what `inv serve --detach` started in this checkout, and nothing else."""
    compose.stop(project)


@task(klass=HandingOn)
@sentences
def test(project: Project) -> int:
    """Build dev and run pytest in it: `inv test -- -k health -x` hands on what follows `--`."""
    return compose.test(project, handed_on())


@task(
    klass=HandingOn,
    help={"prod": "Beside the running prod container, which has no shell: in its network and process namespaces."},
)
@sentences
def shell(project: Project, prod: bool = False) -> int:
    """Open a shell in the dev image, or run what follows `--` in it."""
    return compose.shell(project, handed_on(), beside_prod=prod)


@task(
    help={
        "image": "Another image, or a file that `docker save` wrote, instead of the image that `inv build` made.",
        "json": "Print the report as JSON.",
    }
)
@sentences
def check_prod_has_no_pytest(project: Project, image: str | None = None, json: bool = False) -> int:
    """Prove that no dev dependency is in prod. Exit code: 0 clean, 1 leak, 2 cannot check."""
    from prodlock.proof import check

    return check.prod_has_no_pytest(project, image, as_json=json)


@task(
    help={
        "image": "Another image, or a file that `docker save` wrote, instead of the image that `inv build` made.",
        "sbom": "Compare a CycloneDX file with the image as well.",
        "json": "Print the report as JSON.",
    }
)
@sentences
def check_prod(project: Project, image: str | None = None, sbom: str | None = None, json: bool = False) -> int:
    """Prove that prod is the lock, app/ and the base image, byte for byte: 0 yes, 1 leak, 2 cannot check."""
    from prodlock.proof import check

    return check.prod(project, image, bill=sbom, as_json=json)


@task(
    help={
        "image": "Another image, or a file that `docker save` wrote, instead of the image that `inv build` made.",
        "output": "The file to write, instead of standard output.",
    }
)
@sentences
def sbom(project: Project, image: str | None = None, output: str | None = None) -> int:
    """Write a CycloneDX bill of materials of prod, once the proof has found what it consists of."""
    from prodlock.proof import check

    return check.sbom(project, image, output)


@task
@sentences
def deploy_check(project: Project) -> int:
    """Check deploy/ against its schemas and docker-compose.yml: 0 valid and alike, 1 not, 2 cannot check."""
    from prodlock.proof import deploy

    return deploy.check(project)


@task(klass=HandingOn)
@sentences
def poetry(project: Project) -> int:
    """Run Poetry in its stage: `inv poetry -- add --lock httpx`, `inv poetry -- lock`."""
    return stages.poetry(project, handed_on())


@task(help={"fix": "Mend what can be mended in the working tree instead."})
@sentences
def lint(project: Project, fix: bool = False) -> int:
    """Check style and types with ruff and mypy."""
    return stages.lint(project, fix=fix)


@task
@sentences
def clean(project: Project) -> None:
    """Remove this checkout's containers, network and images."""
    compose.clean(project)


def collection(root: Path) -> TaskCollection:
    """Return the tasks of the project in a folder."""
    tasks = TaskCollection.from_module(sys.modules[__name__])
    tasks.configure({"prodlock": {"root": str(root)}})
    return tasks
