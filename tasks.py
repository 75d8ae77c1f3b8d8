"""The tasks of this repository: Prodlock's, and those that develop Prodlock itself. `inv` alone lists them."""

from __future__ import annotations

from pathlib import Path

from invoke.tasks import task

from prodlock import tasks
from prodlock.project import Project
from prodlock.tasks import PassThrough, on_project, passed_arguments


@task(klass=PassThrough, help={"all": "Run repetitions, generated requests and the bench in full length."})
@on_project
def test_tool(project: Project, all: bool = False) -> int:
    """Test Prodlock on this machine's Engine: `inv test-tool -- -k leak`."""
    from prodlock.docker import own_tests

    return own_tests.run(project, [*(["--all"] if all else []), *passed_arguments()])


@task(
    help={
        "rounds": "The number of measurements of each figure (default: 5).",
        "json": "Print the results as JSON.",
    }
)
@on_project
def bench(_: Project, rounds: str = "5", json: bool = False) -> int:
    """Measure this project beside a tutorial's Dockerfile and uv's.

    Exit code 1: a target is missed.
    """
    from bench import run

    return run.run(rounds, as_json=json)


namespace = tasks.collection(Path(__file__).parent)
namespace.add_task(test_tool)
namespace.add_task(bench)
