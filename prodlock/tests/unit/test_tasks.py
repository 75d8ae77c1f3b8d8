"""The Invoke tasks: their documentation and their listing."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from invoke.config import Config
from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import Task

import tasks
from prodlock import site
from prodlock.tasks import GROUPS, listing, on_project

TASKS: dict[str, Task[Any]] = tasks.namespace.tasks
# Invoke empties a task's own table when the task's arguments are read.
HELP = {name: set(task.help) for name, task in TASKS.items()}


@pytest.mark.parametrize("name", TASKS)
def test_every_task_has_a_summary(name: str) -> None:
    """The first line of its docstring is a sentence that fits in a line of the listing."""
    first = (TASKS[name].__doc__ or "").split("\n")[0]
    assert first.endswith(".")
    assert first[0].isupper()
    assert len(first) <= 75


@pytest.mark.parametrize("name", TASKS)
def test_every_option_has_help(name: str) -> None:
    """`inv --help TASK` explains each option."""
    options = list(inspect.signature(TASKS[name].body).parameters)[1:]
    assert {option.replace("-", "_") for option in HELP[name]} == set(options)


@pytest.mark.parametrize("command", [["invoke", "help"], ["prodlock", "upgrade", "--dry-run"]])
@pytest.mark.parametrize("buffered", [{}, {"PYTHONUNBUFFERED": "1"}])
def test_an_ended_reader_of_the_output_causes_no_traceback(command: list[str], buffered: dict[str, str]) -> None:
    """As with `| head`: the rest is not written, also where it is written at the end alone."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"} | buffered
    reader, writer = os.pipe()
    os.close(reader)
    root = Path(tasks.__file__).parent
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=root, env=environment, check=False, stdout=writer, stderr=subprocess.PIPE
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such shell")
@pytest.mark.parametrize("closed", ["2>&-", "<&- 2>&-"])
def test_a_task_works_without_standard_error(closed: str) -> None:
    """As a daemon may start it: the commands that it would print, and docker's progress, are discarded."""
    program = (
        "import os, subprocess, sys; from prodlock import failure; from prodlock.docker import engine; "
        "call = lambda: subprocess.call('echo error >&2', shell=True); "
        "body = lambda: (engine.print_command('x'), sys.stderr.fileno(), call())[2]; "
        "print(failure.run(body), os.readlink('/proc/self/fd/2') if os.path.exists('/proc/self') else '/dev/null')"
    )
    done = subprocess.run(
        ["/bin/sh", "-c", f'"$0" -c "$1" {closed}', sys.executable, program],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.stdout == "(0, '') /dev/null\n"


def test_the_tasks_include_the_documented_ones() -> None:
    """The README names them."""
    documented = {"setup", "build", "serve", "stop", "test", "check-prod-has-no-pytest", "clean"}
    assert documented <= {name.replace("_", "-") for name in TASKS}


def test_the_listing_has_every_task_once_with_its_options() -> None:
    """Tasks of the project's own tasks.py are in the last group."""
    lines = list(listing(TASKS))
    assert sorted(line.split()[0] for line in lines if line.startswith("  ")) == sorted(TASKS)
    assert [line for line in lines if line.endswith(":")] == [*(f"{title}:" for title in GROUPS), "This project:"]
    own = lines[lines.index("This project:") :]
    assert [line.split()[0] for line in own if line.startswith("  ")] == ["bench", "test-tool"]
    assert any(line.startswith("  serve [--port] [--detach]  ") for line in lines)
    assert any(line.startswith("  test [--watch] [--debug] [-- ...]  ") for line in lines)


@pytest.mark.parametrize(
    ("text", "shown"),
    [(None, ""), ("", ""), ("\n    Load it.\n\n    Twice.\n    ", "  Load it."), ("Load.", "  Load.")],
)
def test_the_listing_has_tasks_of_any_docstring(text: str | None, shown: str) -> None:
    """A project's own task may have none, or one that begins in its second line."""

    def load(c: Context) -> None: ...

    load.__doc__ = text
    assert list(listing({"load": Task(load)}))[:2] == ["This project:", f"  load{shown}"]


OWN_TASKS = """\
from pathlib import Path
from invoke import Collection, task
from prodlock import tasks
@task
def load_all(c):
    "Load it."
namespace = tasks.collection(Path(__file__).parent)
namespace.add_collection(Collection("db", load_all))
"""


def test_the_list_has_the_tasks_of_collections(tmp_path: Path) -> None:
    """By the names that a command line has."""
    (tmp_path / "tasks.py").write_text(OWN_TASKS, encoding="utf-8")
    path = {"PYTHONPATH": str(Path(tasks.__file__).parent)}
    command = [sys.executable, "-m", "invoke"]
    done = subprocess.run(command, cwd=tmp_path, env=os.environ | path, check=True, capture_output=True, text=True)
    own = done.stdout.partition("This project:\n")[2].split("\n")[0]
    assert own.split() == ["db.load-all", "Load", "it."]


def test_every_grouped_task_exists() -> None:
    """A renamed task must not vanish from its group."""
    assert {name for names in GROUPS.values() for name in names} <= set(TASKS)


@pytest.mark.parametrize(
    ("line", "code", "message"),
    [
        (
            ["check-prod", "--", "--image=x"],
            2,
            "Arguments after `--` must follow a task that passes them on (got --image=x)",
        ),
        (["--", "a b"], 2, "Arguments after `--` must follow a task that passes them on (got 'a b')"),
        (["help", "test", "--", "-x"], 1, "`docker` must be a program on PATH"),
        (["help", "--"], 0, ""),
    ],
)
def test_arguments_that_no_task_reads_are_refused(tmp_path: Path, line: list[str], code: int, message: str) -> None:
    """Otherwise another image than the named one would be judged, for example. No program is on PATH here."""
    done = subprocess.run(
        [sys.executable, "-m", "invoke", *line],
        cwd=Path(tasks.__file__).parent,
        env=os.environ | {"PATH": str(tmp_path)},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == code
    assert message in done.stderr


def test_a_file_that_can_not_be_written_is_a_message(tmp_path: Path) -> None:
    """Without a traceback; exit code 1 would be findings of a check."""
    (tmp_path / ".prodlock").touch()
    run = on_project(lambda project: site.export(project, b""))
    with pytest.raises(Exit, match=r"/\.prodlock must be accessible \(got: File exists\)\. To fix it: ") as end:
        run(Context(Config({"prodlock": {"root": str(tmp_path)}})))
    assert end.value.code == 2


@pytest.mark.parametrize("setting", [{}, {"PYTHONDONTWRITEBYTECODE": "1"}])
def test_tasks_cache_the_bytecode_of_prodlock_unless_the_user_prevents_it(
    setting: dict[str, str], tmp_path: Path
) -> None:
    """Invoke turns the cache off for the tasks that it loads."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment |= {"PYTHONPYCACHEPREFIX": str(tmp_path), **setting}
    root = Path(tasks.__file__).parent
    subprocess.run([sys.executable, "-m", "invoke", "help"], cwd=root, env=environment, check=True, capture_output=True)
    assert bool([*tmp_path.rglob("prodlock/docker/env_file.*.pyc")]) is not bool(setting)
