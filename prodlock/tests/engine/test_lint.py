"""`inv lint`: all linters run, and an edit of the sources repeats no step of their image."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from uuid import uuid4

from prodlock.tests.engine.conftest import edit, inv, sentence

# What `uv pip install` prints, and the state of the step that copies dev's packages.
INSTALLED = re.compile(r"^#\d+ .*Installed \d+ packages? in ", re.MULTILINE)
COPIED = re.compile(r"^#(\d+) \[beside-dev \d/\d\] COPY --from=dev .*\n(?:#\1 .*\n)*?#\1 (\w+)", re.MULTILINE)


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

    A distribution that dev alone has, and the linters' requirements do not, is found.
    """
    module = copy / "app" / "wrong.py"
    module.write_text('"""A module."""\n\nimport os\n\nimport pytest_cov\n\nPLUGIN = pytest_cov.__file__\n', "utf-8")
    with module.open("a", encoding="utf-8") as file:
        file.write('COUNT: int = "three"\n')
    done = inv("lint", cwd=copy)
    assert done.returncode == 1
    assert "F401" in done.stdout
    assert re.search(r"app/wrong.py:8: error: Incompatible types in assignment", done.stdout)
    assert not re.search(r"app/wrong.py:5: .*import-not-found", done.stdout)
    named = failures(done)
    assert named[0] == "ruff check"
    assert "mypy" in named
    assert "codespell" not in named


def test_lint_finds_a_distribution_that_is_not_installed(copy: Path) -> None:
    """The positive control: mypy reports an import that neither dev nor the linters have."""
    (copy / "app" / "wrong.py").write_text('"""A module."""\n\nimport numpy\n\nARRAY = numpy.array([1])\n', "utf-8")
    done = inv("lint", cwd=copy)
    assert done.returncode == 1
    assert re.search(r"app/wrong.py:3: error: Cannot find .* \[import-not-found\]", done.stdout)
    assert "mypy" in failures(done)


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
