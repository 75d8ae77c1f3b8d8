"""The README and the tutorial: every command in them works, and the output shown is the real one."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import tasks
from prodlock.tests.engine.conftest import (
    COPY,
    DEV,
    PORT,
    PROD,
    PROJECT,
    REPOSITORY,
    committed,
    copied,
    docker,
    inv,
    left_behind,
    with_shell,
)

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
TUTORIAL = (REPOSITORY / "docs/tutorial/first-service.md").read_text(encoding="utf-8")
DEPLOY = (REPOSITORY / "docs/how-to/deploy.md").read_text(encoding="utf-8")
LEAKS = (REPOSITORY / "docs/how-to/leaks.md").read_text(encoding="utf-8")
NETWORKS = (REPOSITORY / "docs/how-to/networks.md").read_text(encoding="utf-8")
TASKS = {name.replace("_", "-") for name in tasks.namespace.tasks}


def console(page: str) -> list[tuple[str, str]]:
    """Return a page's commands, and the output shown below each."""
    blocks = "".join(re.findall(r"```console\n(.*?)```", page, re.DOTALL))
    parts = re.split(r"^\$ ", blocks, flags=re.MULTILINE)[1:]
    return [(command, output.strip()) for command, _, output in (part.partition("\n") for part in parts)]


def shown(page: str, command: str) -> str:
    """Return the output that a page shows below a command, the last time that it has it."""
    return dict(console(page))[command]


@pytest.fixture
def copy_of_repository() -> Iterator[Path]:
    """A copy of this repository, with its example, committed."""
    with copied(REPOSITORY) as copy:
        committed(copy)
        yield copy


def shape(text: str) -> str:
    """Return a text with figures, ids and names masked: they are another machine's, another day's."""
    text = re.sub(r"\b[0-9a-f]{40,}\b", "N", text)
    text = re.sub(r"\b(?:quotes|[\w-]+-(?:tests|copy)):", "NAME:", text)
    text = re.sub(r" {2,}", "  ", text)
    return re.sub(r"[\d.,]*\d", "N", re.sub(r"(Compared with commit ).*", r"\1N", text)).strip()


PLAIN = [command for command, _ in console(README) if command.startswith(("docker ", "curl "))]
# The others are of a release: see test_release.py.
PROXIED = [command for command, _ in console(DEPLOY) if command.startswith("docker compose -f ")]


# test_package.py installs from a git URL, test_layouts.py moves projects in, and tests/verify has images of all kinds.
OF_THE_PACKAGE = [
    "pip install 'prodlock @ git+REPOSITORY#subdirectory=prodlock'", "prodlock init", "prodlock verify shop:patched",
]  # fmt: skip


def test_every_command_of_the_readme_is_tried() -> None:
    """A command is a task, is run by the test below, or is what CI starts with."""
    assert {command for command, _ in console(README)} > set(OF_THE_PACKAGE)
    others = [command for command, _ in console(README) if command not in (*PLAIN, *OF_THE_PACKAGE)]
    assert (len(PLAIN), len(PROXIED)) == (4, 2)
    assert len(others) >= 5
    assert others[:2] == ["pip install invoke", "inv setup serve"]
    assert "pip install --quiet 'invoke" in (REPOSITORY / ".ci/run").read_text(encoding="utf-8")
    assert {command.split()[1] for command in others[1:]} <= TASKS


def test_the_commands_without_invoke(copy_of_repository: Path, proxy_image: str) -> None:
    """The docker commands of the README and of the guide to deployment work in a fresh copy, in their order."""
    script = "\n".join(PLAIN + PROXIED).replace(":8000/", f":{PORT}/")
    # Neither CA_BUNDLE nor INDEX_URL: users who do not need them set nothing. (The layers are in the cache.)
    environment = {name: value for name, value in os.environ.items() if name not in {"CA_BUNDLE", "INDEX_URL"}}
    environment |= {"PORT": str(PORT), "HAPROXY_IMAGE": proxy_image}
    command = ["sh", "-ec", script]
    done = subprocess.run(command, cwd=copy_of_repository, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert shown(README, PLAIN[1]) in done.stdout
    assert " passed in " in done.stdout
    assert left_behind() == []


def test_the_shown_verdicts_are_real() -> None:
    """Both checks print the README's output but for figures; a planted leak is reported as the guide shows it."""
    for command in ("check-prod-has-no-pytest", "check-prod"):
        done = inv(command)
        assert shape(done.stdout) == shape(shown(README, f"inv {command}")), done.stderr
    leaky = (
        f"FROM {PROD}\nUSER root\n"
        f"COPY --from={DEV} /opt/venv/lib/python3.13/site-packages/_pytest/main.py /tmp/notes.py\n"
        + with_shell("RUN rm /tmp/notes.py\n")
    )
    docker("build", "--quiet", "--tag=leaky", "-", input=leaky)
    found = inv("check-prod-has-no-pytest", "--image", "leaky")
    docker("rmi", "leaky")
    assert shape(found.stdout) == shape(shown(LEAKS, "inv check-prod-has-no-pytest --image leaky"))


def test_the_shown_folders_are_real() -> None:
    """`inv shell --prod` runs a command beside production, which sees its files."""
    assert inv("serve", "--detach", f"--port={PORT}").returncode == 0
    try:
        listed = inv("shell", "--prod", "--", "ls", "/proc/1/root")
    finally:
        assert inv("stop").returncode == 0
    # Only amd64 has /lib64.
    assert set(shown(LEAKS, "inv shell --prod -- ls /proc/1/root").split()) - set(listed.stdout.split()) <= {"lib64"}
    assert "srv" in listed.stdout.split()


def test_the_shown_checklist_is_real() -> None:
    """`inv setup` prints these four lines; versions are this machine's."""
    names = [line.split()[0] for line in inv("setup").stdout.splitlines()]
    for page in (TUTORIAL, NETWORKS):
        assert names == [line.split()[0] for line in shown(page, "inv setup").splitlines()]


def steps() -> list[tuple[str, str, str]]:
    """Return the tutorial's steps: `run`, a command and its output; `create` or `edit`, a file and its text."""
    found = []
    for match in re.finditer(r"(?:`([\w/.]+)`[^`\n]*:\n\n)?```(console|python|diff)\n(.*?)```", TUTORIAL, re.DOTALL):
        path, language, text = match.groups()
        if language == "console":
            found += [("run", command, output) for command, output in console(match[0])]
        else:
            found.append(({"python": "create", "diff": "edit"}[language], path, text))
    return found


def change(file: Path, difference: str) -> None:
    """Replace the line that a difference removes with the one that it adds."""
    (removed,) = re.findall(r"^-(.*\n)", difference, re.MULTILINE)
    (added,) = re.findall(r"^\+(.*\n)", difference, re.MULTILINE)
    text = file.read_text(encoding="utf-8")
    assert text.count(removed) == 1
    file.write_text(text.replace(removed, added), encoding="utf-8")


def test_the_tutorial_works(copy_of_repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its steps, one after the other in a clone, print what it shows; lines below `...` stand anywhere behind it."""
    monkeypatch.setenv("PORT", str(PORT))
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "x")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "x@example.org")
    folder = tmp_path
    for kind, what, text in steps():
        if kind == "create":
            (folder / what).write_text(text, encoding="utf-8")
        elif kind == "edit":
            change(folder / what, text)
        elif what.startswith("cd "):
            folder = tmp_path / what.removeprefix("cd ")
        elif not what.startswith("pip "):
            command = what.replace("REPOSITORY", shlex.quote(str(copy_of_repository))).replace(":8000", f":{PORT}")
            done = subprocess.run(["sh", "-c", command], cwd=folder, capture_output=True, text=True, check=False)  # noqa: S607
            printed = shape(done.stdout.replace(f":{PORT}", ":8000"))
            for line in text.splitlines():
                assert line == "..." or matches(line, printed), (command, line, done.stdout, done.stderr[-2000:])
            # What fails is what the tutorial shows as failing.
            assert bool(done.returncode) == bool(re.search("^(?:FAILED|LEAK|LS209)", text, re.MULTILINE)), done.stderr
    assert docker("image", "ls", "--quiet", COPY).stdout == ""
    assert PROJECT != COPY


def matches(line: str, printed: str) -> bool:
    """Return whether a shown line is among the printed ones, but for figures and what `...` leaves out."""
    pattern = re.escape(shape(line)).replace(re.escape("..."), ".*")
    return bool(re.search(rf"^{pattern}$", printed, re.MULTILINE))
