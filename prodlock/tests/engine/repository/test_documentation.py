"""The documentation of safeguards and hardening lists what the tests check, and the files have what it lists."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path

import pytest

from prodlock.docker.build_failure import instructions
from prodlock.tests.engine.conftest import REPOSITORY
from prodlock.tests.engine.test_hardening import ITEMS

TABLE = (REPOSITORY / "docs" / "reference" / "safeguards.md").read_text(encoding="utf-8")
COMPOSE = (REPOSITORY / "docker-compose.yml").read_text(encoding="utf-8")
DOCKERFILES = {
    name: instructions((REPOSITORY / name).read_text(encoding="utf-8"))
    for name in ("Dockerfile", "prodlock/inside/Dockerfile")
}
RUNS = [step for steps in DOCKERFILES.values() for step in steps if step.keyword == "RUN"]
# What a service is, not what it may not do.
NO_SAFEGUARDS = {"build", "environment", "image", "profiles"}
# Programs of a build that download.
DOWNLOADING = re.compile(r"/(?:online\.sh|install\.py|packages\.sh) ")


@pytest.fixture(autouse=True)
def images() -> None:
    """No image is built for these tests."""


def rows() -> list[list[str]]:
    """Return the cells of the rows of the tables."""
    lines = [line for line in TABLE.splitlines() if line.startswith("| ") and not line.startswith("| safeguard ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def functions(file: Path) -> set[str]:
    """Return the names of a test module's functions."""
    return {node.name for node in ast.parse(file.read_text(encoding="utf-8")).body if isinstance(node, ast.FunctionDef)}


def test_every_safeguard_names_tests_that_exist() -> None:
    """Each row names at least one test, and files that exist."""
    assert len(rows()) > 30
    for safeguard, place, tests in rows():
        for name in re.findall(r"[\w./-]+\.(?:py|sh|txt|yml)|\bDockerfile\b", place):
            assert (REPOSITORY / name).exists(), name
        for test in tests.split(", "):
            file, _, function = test.partition("::")
            assert function in functions(Path(__file__).parents[1] / file), safeguard


@pytest.mark.parametrize("name", DOCKERFILES)
def test_this_projects_dockerfiles_are_read_as_buildkit_reads_them(name: str) -> None:
    """Every instruction begins on the line that is named for it: no here-document's line is one."""
    lines = (REPOSITORY / name).read_text(encoding="utf-8").splitlines()
    keywords = {"ARG", "CMD", "COPY", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL", "RUN", "USER", "WORKDIR"}
    for instruction in DOCKERFILES[name]:
        assert lines[instruction.line - 1].split()[0] == instruction.keyword
    assert {instruction.keyword for instruction in DOCKERFILES[name]} <= keywords
    assert len(DOCKERFILES[name]) == sum(bool(re.match(r"[A-Z]+ ", line)) for line in lines)


def test_the_dockerfile_is_short() -> None:
    """At most 100 lines with its comments, and ten stages."""
    assert len((REPOSITORY / "Dockerfile").read_text(encoding="utf-8").splitlines()) <= 100
    assert sum(instruction.keyword == "FROM" for instruction in DOCKERFILES["Dockerfile"]) <= 10


def keys(service: str) -> set[str]:
    """Return the keys of a service in docker-compose.yml, and of what it takes over of x-prod."""
    block = re.search(rf"^  {service}:\n((?:    .*\n|\n)+)", COMPOSE, re.MULTILINE)
    shared = re.search(r"^x-prod: &prod\n((?:  .*\n)+)", COMPOSE, re.MULTILINE)
    assert block
    assert shared
    found = set(re.findall(r"^    (\w+):", block[1], re.MULTILINE))
    return found | (set(re.findall(r"^  (\w+):", shared[1], re.MULTILINE)) if "<<: *prod" in block[1] else set())


def test_every_key_of_compose_is_in_the_table() -> None:
    """The table has every key, but for those that describe the service, and the names of the secrets."""
    named = set(re.findall(r"`(\w+)`", TABLE))
    assert {"read_only", "ports"} <= keys("api-prod")
    for service in ("api-prod", "api-tests"):
        assert keys(service) - NO_SAFEGUARDS <= named
    assert set(re.findall(r"secrets: \[([\w, ]+)\]", COMPOSE)[0].split(", ")) <= named


def test_only_steps_that_download_have_a_network() -> None:
    """The table lists the stages of the others, and no step that runs a downloading program is without one."""
    without = {step.stage for step in RUNS if "--network=none" in step.text}
    (listed,) = [row[0] for row in rows() if "--network=none" in row[0]]
    assert without == set(re.findall(r"`(\w+)`", listed))
    for step in RUNS:
        assert ("--network=none" in step.text) != bool(DOWNLOADING.search(step.text)), step


def installers() -> list[list[str]]:
    """Return the words of every command of this project that installs or downloads distributions."""
    bench = instructions((REPOSITORY / "bench/Dockerfile").read_text(encoding="utf-8"))
    texts = [step.text for step in (*RUNS, *bench) if step.keyword == "RUN"]
    texts += [path.read_text(encoding="utf-8") for path in sorted((REPOSITORY / "prodlock/inside").rglob("*.sh"))]
    commands = [command for text in texts for command in re.split(r"&&|\n", text) if not command.startswith("#")]
    found = [shlex.split(command) for command in commands if re.search(r"\bpip (install|sync|download)\b", command)]
    for name in ("prodlock/inside/install.py", "prodlock/docker/own_tests.py", "prodlock/setup/virtualenv.py"):
        tree = ast.parse((REPOSITORY / name).read_text(encoding="utf-8"))
        lists = [node.elts for node in ast.walk(tree) if isinstance(node, ast.List)]
        words = [[str(one.value) for one in elements if isinstance(one, ast.Constant)] for elements in lists]
        found += [one for one in words if "pip" in one]
    return found


def test_every_installer_takes_hashed_wheels_only() -> None:
    """By options: `uv pip` does not read the variable UV_NO_BUILD."""
    assert len(installers()) == 4
    for words in installers():
        assert "--require-hashes" in words, words
        assert words[words.index("--only-binary") + 1] == ":all:", words


def test_documentation_lists_each_item() -> None:
    """The items listed in docs/explanation/serving.md are those that are checked here."""
    text = (REPOSITORY / "docs" / "explanation" / "serving.md").read_text(encoding="utf-8")
    listed = {line.split("|")[1].strip() for line in text.splitlines() if line.startswith(("| 4.", "| 5."))}
    assert listed == set(ITEMS)
