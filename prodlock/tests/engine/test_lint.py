"""`inv lint`: all linters run, and an edit of the sources repeats no step of their image."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from uuid import uuid4

from prodlock import generated_workflow
from prodlock.tests.engine.conftest import REPOSITORY, edit, inv, sentence

# What `uv pip install` prints, and the state of the step that copies dev's packages.
INSTALLED = re.compile(r"^#\d+ .*Installed \d+ packages? in ", re.MULTILINE)
COPIED = re.compile(r"^#(\d+) \[beside-dev \d/\d\] COPY --from=dev .*\n(?:#\1 .*\n)*?#\1 (\w+)", re.MULTILINE)
# Files that the schemas refuse, each for a key or a value, and files that they accept.
BROKEN = {
    ".github/workflows/wrong.yml": "on: push\njobs: {build: {runs-on: ubuntu-24.04, step: [{run: inv build}]}}\n",
    ".github/workflows/other.yaml": "on: pushes\njobs: {build: {runs-on: ubuntu-24.04, steps: [{run: inv build}]}}\n",
    ".github/dependabot.yml": "version: 2\nupdates: [{package-ecosystem: pip, directory: /, schedule: often}]\n",
    "renovate.json": '{"enabled": "yes"}\n',
    ".gitlab-ci.yml": "build: {script: [inv build], stages: build}\n",
}
VALID = {
    generated_workflow.FILE: generated_workflow.files(Path("/nowhere"), "prodlock_tasks.py", is_own=False)[
        generated_workflow.FILE
    ].text,
    ".github/dependabot.yml": BROKEN[".github/dependabot.yml"].replace("often", "{interval: weekly}"),
    ".github/renovate.json": (REPOSITORY / ".github/renovate.json").read_text(encoding="utf-8"),
    # The documented pipeline, and a tag of GitLab's.
    ".gitlab-ci.yml": (REPOSITORY / "docs/how-to/ci.md")
    .read_text(encoding="utf-8")
    .split("```yaml\n")[-1]
    .split("```")[0]
    + "build: {script: [!reference [check, script]]}\n",
}


def failures(done: subprocess.CompletedProcess[str]) -> list[str]:
    """Return the linters that the last line of `inv lint` names."""
    found = re.fullmatch(
        r"The linters must pass \(got failures: (.*)\). To fix it: correct what they print above; `inv lint --fix` "
        r"corrects what ruff and codespell can correct.",
        sentence(done),
    )
    assert found
    return found[1].split(", ")


def test_lint_runs_every_linter_and_names_those_that_fail(copy: Path) -> None:
    """An unused import and a wrong type: both are printed, and the last line names both linters.

    So are a workflow and other files of a repository's host that their schemas refuse. A distribution that dev alone
    has, and the linters' requirements do not, is found.
    """
    module = copy / "app" / "wrong.py"
    module.write_text('"""A module."""\n\nimport os\n\nimport pytest_cov\n\nPLUGIN = pytest_cov.__file__\n', "utf-8")
    with module.open("a", encoding="utf-8") as file:
        file.write('COUNT: int = "three"\n')
    for path, text in BROKEN.items():
        (copy / path).parent.mkdir(parents=True, exist_ok=True)
        (copy / path).write_text(text, encoding="utf-8")
    done = inv("lint", cwd=copy)
    assert done.returncode == 1
    assert "F401" in done.stdout
    assert re.search(r"app/wrong.py:8: error: Incompatible types in assignment", done.stdout)
    assert not re.search(r"app/wrong.py:5: .*import-not-found", done.stdout)
    named = failures(done)
    assert named[0] == "ruff check"
    assert "mypy" in named
    assert "codespell" not in named
    assert named[-1] == "check-jsonschema"
    assert all(f"{path}::" in done.stdout for path in BROKEN)


def test_lint_finds_a_distribution_that_is_not_installed(copy: Path) -> None:
    """The positive control: mypy reports an import that neither dev nor the linters have.

    That of the schemas as well: they accept the workflow for a service, and a pipeline of GitLab.
    """
    (copy / "app" / "wrong.py").write_text('"""A module."""\n\nimport numpy\n\nARRAY = numpy.array([1])\n', "utf-8")
    for path, text in VALID.items():
        (copy / path).parent.mkdir(parents=True, exist_ok=True)
        (copy / path).write_text(text, encoding="utf-8")
    done = inv("lint", cwd=copy)
    assert done.returncode == 1
    assert re.search(r"app/wrong.py:3: error: Cannot find .* \[import-not-found\]", done.stdout)
    named = failures(done)
    assert "mypy" in named
    assert "check-jsonschema" not in named
    assert done.stdout.count("ok -- validation done") == len(VALID)


def test_an_edit_of_the_sources_repeats_no_step_of_the_linters(copy: Path) -> None:
    """The linters are installed again for other requirements of theirs alone, which is the positive control."""
    inv("lint", cwd=copy)
    edit(copy / "app" / "main.py", '"""', '"""Edited: ')
    edited = inv("lint", cwd=copy)
    assert "[api-tests dev" in edited.stderr
    assert not INSTALLED.search(edited.stderr)
    assert [copied[1] for copied in COPIED.findall(edited.stderr)] == ["CACHED"]
    with (copy / "prodlock/inside/requirements/lint.txt").open("a", encoding="utf-8") as file:
        file.write(f"# {uuid4()}\n")
    changed = inv("lint", cwd=copy)
    assert len(INSTALLED.findall(changed.stderr)) == 1
