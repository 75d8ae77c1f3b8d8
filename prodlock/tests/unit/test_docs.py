"""The documentation: its length, its links, and its tables beside the code that they describe."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import prodlock
import tasks
from prodlock import configuration, service
from prodlock.project import Project
from prodlock.proof import audit, deploy
from prodlock.proof.evidence import compose
from prodlock.proof.judges.vulnerabilities import Answer, judge

ROOT = Path(__file__).parents[3]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
README = (ROOT / "README.md").read_text(encoding="utf-8")
# Files that the tutorial and the guides create.
CREATED = {"app/metrics.py", "tests/test_large_orders.py"}
TASKS = {name.replace("_", "-"): task for name, task in tasks.namespace.tasks.items()}


def page(name: str) -> str:
    """Return a page of the documentation."""
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def rows(text: str) -> dict[str, str]:
    """Return the rows of a page's tables by the names in their first cell."""
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    return {name: line for line in lines for name in re.findall(r"`([^`]+)`", line.split(" | ")[0])}


def test_the_readme_is_short() -> None:
    """At most 900 words, code included."""
    assert len(README.split()) <= 900


def anchors(text: str) -> set[str]:
    """Return the anchors that GitHub gives to a page's headings."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def links(path: Path) -> Iterator[str]:
    """Give the links of a page that lead into this repository."""
    for target in re.findall(r"\]\(([^)]+)\)", path.read_text(encoding="utf-8")):
        if not target.startswith(("http://", "https://")):
            yield target


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(path: Path) -> None:
    """Its file exists, and has the heading that the link names."""
    for link in links(path):
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        assert target.exists(), link
        assert not anchor or anchor in anchors(target.read_text(encoding="utf-8")), link


def test_every_page_is_in_the_index() -> None:
    """docs/README.md links to each page below it."""
    index = ROOT / "docs" / "README.md"
    listed = {(index.parent / link).resolve() for link in links(index)}
    assert listed == {path.resolve() for path in ROOT.glob("docs/*/*.md")}


def test_the_task_reference_lists_every_task() -> None:
    """No task is missing, and no other is listed."""
    assert {name.removeprefix("inv ") for name in rows(page("reference/tasks.md")) if name.startswith("inv ")} == set(
        TASKS
    )


@pytest.mark.parametrize("name", sorted(TASKS))
def test_the_task_reference_lists_every_option(name: str) -> None:
    """A task's row has each of its options."""
    row = rows(page("reference/tasks.md"))[f"inv {name}"]
    # Of an option that is on by default, the negation.
    options = {
        f"--{'no-' if argument.default is True else ''}{argument.names[0].replace('_', '-')}"
        for argument in TASKS[name].get_arguments()
    }
    assert set(re.findall(r"`(--[a-z-]+)", row)) == options


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_task_in_the_documentation_exists(path: Path) -> None:
    """`inv NAME` is a task, but in the changelog, which names former ones."""
    named = set(re.findall(r"(?:`|^\$ )inv ([a-z][a-z-]+)", path.read_text(encoding="utf-8"), re.MULTILINE))
    assert path.name == "CHANGELOG.md" or named <= set(TASKS)


@pytest.mark.parametrize("path", [*PAGES, ROOT / "prodlock/tasks.py"], ids=lambda path: str(path.relative_to(ROOT)))
def test_every_shown_selection_has_tests(path: Path) -> None:
    """`inv test -- -k NAME` selects tests of the example: pytest ends with 5 where it selects none."""
    tests = [*ROOT.glob("tests/test_*.py"), *(ROOT / name for name in CREATED if name.startswith("tests/"))]
    names = [path.stem for path in tests]
    # NAME stands for the name of a test.
    selected = re.findall(r"inv test [\w -]*-k ([a-z]\w*)", path.read_text(encoding="utf-8"))
    assert [name for name in selected if not any(name in one for one in names)] == []


def test_the_task_reference_lists_the_keys_of_the_data() -> None:
    """What `inv audit --json` and `inv deploy-check --json` print; test_closed_world.py compares that of the proof."""
    section = page("reference/tasks.md").partition("## Data")[2].partition("## ")[0]
    vulnerabilities = audit.Report(Answer("osv.example", {}, 0, []), judge([], ()))
    data = vulnerabilities.data() | deploy.Report([], []).data()
    assert set(data) <= set(re.findall(r"`(\w+)`", section))


def test_the_settings_reference_lists_every_variable() -> None:
    """And each default."""
    found = rows(page("reference/settings.md"))
    assert compose.settings_variables(Project(ROOT)) <= set(found)


def test_the_message_about_a_new_setting_is_the_quoted_one() -> None:
    """How to add a setting begins with it."""
    assert f"{service.dropped('docker-compose.yml', 'api-prod', 'APP_PAGE_SIZE')}\n" in page("how-to/settings.md")


def test_the_configuration_reference_lists_every_key() -> None:
    """And no other one."""
    assert set(rows(page("reference/configuration.md"))) == set(configuration.KINDS)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_path_in_the_documentation_exists(path: Path) -> None:
    """`prodlock/...` and the like name files; the changelog names former ones too."""
    text = path.read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:app|bench|deploy|docs|prodlock|tests)/[\w./-]*)`", text)) - CREATED
    assert path.name == "CHANGELOG.md" or not [name for name in named if not (ROOT / name).exists()]


def test_the_map_of_the_files_is_complete() -> None:
    """The architecture's map has each folder of the project and of the package, and only paths that exist."""
    drawn = page("explanation/architecture.md").split("```")[1]
    named = {
        ("prodlock/" if line.startswith("  ") else "") + name
        for line in drawn.splitlines()
        for name in re.findall(r"[\w.-]+/?(?=,? )", line[:22])
    }
    assert all((ROOT / name).exists() for name in named)
    folders = {path.parent.relative_to(ROOT) for path in ROOT.glob("*/*.*")} | {
        path.parent.relative_to(ROOT) for path in ROOT.glob("prodlock/*/*.py")
    }
    ours = {f"{folder}/" for folder in folders if not any(part.startswith((".", "_")) for part in folder.parts)}
    # What tasks write to `reports/` is not part of the project.
    assert ours <= named | {"docs/", "reports/"}


def test_the_package_reference_lists_every_public_name() -> None:
    """And each option of the command."""
    text = page("reference/package.md")
    assert set(prodlock.__all__) <= set(rows(text))
    printed = b"".join(
        subprocess.run([sys.executable, "-m", "prodlock", command, "--help"], capture_output=True, check=True).stdout
        for command in ("check", "init", "upgrade")
    ).decode()
    assert set(re.findall(r"`(--[a-z-]+)", text)) - {"--version"} == set(re.findall(r"--[a-z-]+", printed)) - {"--help"}


def test_the_glossary_is_sorted() -> None:
    """One row per term, in alphabetical order."""
    terms = re.findall(r"^\| ([^|]+) \| [^-|]", page("reference/glossary.md"), re.MULTILINE)[1:]
    assert len(terms) > 40
    assert terms == sorted(terms, key=str.lower)


def test_actions_are_pinned_by_commit() -> None:
    """Each `uses:` has the hash of a commit, and the tag that it belongs to."""
    used = [
        line
        for path in ROOT.glob(".github/workflows/*.yml")
        for line in path.read_text("utf-8").splitlines()
        if "uses:" in line
    ]
    assert used
    assert all(re.search(r"@[0-9a-f]{40} # v\d+\.\d+\.\d+$", line) for line in used)
