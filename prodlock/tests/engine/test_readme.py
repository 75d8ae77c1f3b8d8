"""The README: each command in it works, and what it shows is what is printed."""

from __future__ import annotations

import os
import re
import subprocess

import pytest
from invoke.collection import Collection

import tasks
from prodlock.tests.engine.conftest import (
    DEV,
    PORT,
    PROD,
    PROJECT,
    REPOSITORY,
    copied,
    docker,
    inv,
    left_behind,
    with_shell,
)

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
TASKS = {name.replace("_", "-") for name in Collection.from_module(tasks).tasks}
CONSOLE = "".join(re.findall(r"```console\n(.*?)```", README, re.DOTALL))
COMMANDS = re.findall(r"^\$ (.*)$", CONSOLE, re.MULTILINE)
PLAIN = [command for command in COMMANDS if "inv " not in command]


def shape(text: str) -> str:
    """Return a text with its figures and commits masked: they are another machine's, another day's."""
    return re.sub(r"[\d.,]*\d", "N", re.sub(r"(Compared with commit ).*", r"\1N", text))


def shown(command: str) -> str:
    """Return what the README shows below a command."""
    below = CONSOLE.split(f"$ {command}\n")[1]
    return below.split("$ ")[0].strip()


def test_the_readme_shows_commands() -> None:
    """The tests below have something to test."""
    assert len(COMMANDS) >= 8
    assert len(PLAIN) == 6


@pytest.mark.parametrize("name", sorted(TASKS))
def test_every_task_is_in_the_readme(name: str) -> None:
    """In the table, with what it does."""
    assert f"| `inv {name}` | " in README


def test_every_task_in_the_readme_exists() -> None:
    """No `inv NAME` but those that `inv --list` has."""
    assert set(re.findall(r"\binv ([a-z][a-z-]+)", README)) <= TASKS


def test_every_other_command_is_run_by_a_test() -> None:
    """`inv ...` is a task; the rest is run below, but for what CI itself starts with."""
    assert [command for command in COMMANDS if command.startswith("pip")] == ["pip install invoke && inv setup serve"]
    assert "pip install" in (REPOSITORY / ".ci/run").read_text(encoding="utf-8")
    others = [command for command in COMMANDS if not re.match(r"(\w+=\S+ )*inv |pip install", command)]
    assert others == PLAIN


def test_the_commands_without_invoke(proxy_image: str) -> None:
    """One after the other, as they stand there, in a fresh copy."""
    script = "\n".join(PLAIN).replace(":8000/", f":{PORT}/")
    # Neither CA_BUNDLE nor INDEX_URL: whoever has no need of them sets nothing. (The layers are in the cache.)
    environment = {name: value for name, value in os.environ.items() if name not in {"CA_BUNDLE", "INDEX_URL"}}
    environment |= {"PORT": str(PORT), "HAPROXY_IMAGE": proxy_image}
    with copied(REPOSITORY) as copy:
        command = ["sh", "-ec", script]
        done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)
        assert left_behind() == []
    assert done.returncode == 0, done.stderr
    assert shown(PLAIN[1]) in done.stdout
    assert " passed in " in done.stdout


def test_the_shown_verdicts_are_real() -> None:
    """The check prints, but for the figures, what the README shows."""
    clean = inv("check-prod-has-no-pytest")
    assert shape(clean.stdout.strip()).replace(PROD, "quotes:prod") == shape(shown("inv check-prod-has-no-pytest"))
    leaky = (
        f"FROM {PROD}\nUSER root\n"
        f"COPY --from={DEV} /opt/venv/lib/python3.13/site-packages/_pytest/main.py /tmp/notes.py\n"
        + with_shell("RUN rm /tmp/notes.py\n")
    )
    docker("build", "--quiet", "--tag=leaky", "-", input=leaky)
    found = inv("check-prod-has-no-pytest", "--image", "leaky")
    docker("rmi", "leaky")
    assert shape(found.stdout.strip()) == shape(shown("inv check-prod-has-no-pytest --image leaky"))


def test_the_shown_ids_are_real() -> None:
    """`inv build` prints these three lines; ids and commit are another build's."""
    ours, readmes = (
        [
            re.sub(r"[0-9a-f]{40,}|, clean| with \d+ files? that differs?", "ID", line).split()
            for line in text.splitlines()
        ]
        for text in (inv("build").stdout.replace(PROJECT, "quotes"), shown("inv build --no-cache"))
    )
    assert ours == readmes


def test_the_shown_folders_are_real() -> None:
    """`inv shell --prod` runs a command beside production, which sees its files."""
    assert inv("serve", "--detach", f"--port={PORT}").returncode == 0
    try:
        listed = inv("shell", "--prod", "--", "ls", "/proc/1/root")
    finally:
        assert inv("stop").returncode == 0
    # Only amd64 has /lib64.
    assert set(shown("inv shell --prod -- ls /proc/1/root").split()) - set(listed.stdout.split()) <= {"lib64"}
    assert "srv" in listed.stdout.split()


def test_the_shown_checklist_is_real() -> None:
    """`inv setup` prints these four lines; versions are this machine's."""
    ours = [line.split()[0] for line in inv("setup").stdout.splitlines()]
    assert ours == [line.split()[0] for line in shown("inv setup").splitlines()]


def test_the_map_names_every_file() -> None:
    """The map of the files has all of app/, ops/ and bench/, and nothing that is not there."""
    drawn = README.split("## The files")[1].split("```")[1]
    for folder in ("app", "bench"):
        for path in sorted((REPOSITORY / folder).iterdir()):
            if path.is_file() and path.name != "__init__.py":
                assert path.name in drawn, path
    for name in re.findall(r"^(\S+)", drawn, re.MULTILINE):
        assert (REPOSITORY / name).exists(), name
