"""Images built as widespread templates do: what the checks and other tools find in them."""

from __future__ import annotations

import json
import re

import pytest

from prodlock.tests.engine.conftest import BASE, DEV, PROD, PROJECT, REPOSITORY, ROOT, docker, inv

DOCS = (REPOSITORY / "docs" / "explanation" / "proof.md").read_text(encoding="utf-8")
WAYS = {
    "the environment made with the dev group, copied onto slim": (
        f"FROM {BASE}\nENV PATH=/opt/venv/bin:$PATH\nCOPY --from={DEV} /opt/venv /opt/venv\nCOPY app /srv/app\n"
    ),
    "`COPY . .` beside an environment without it": (
        f"FROM {BASE}\nENV PATH=/opt/venv/bin:$PATH\nCOPY --from={PROD} /opt/venv /opt/venv\nCOPY . /srv\n"
    ),
    "Poetry in production": (
        f"FROM {BASE}\nENV PATH=/opt/venv/bin:$PATH\nCOPY --from={PROD} /opt/venv /opt/venv\n"
        f"COPY --from={PROJECT}:poetry /opt/tool /opt/tool\nCOPY app pyproject.toml poetry.lock /srv/app/\n"
    ),
}
COMMON = 'WORKDIR /srv\nCMD ["uvicorn", "app.main:create_app", "--factory", "--host", "0.0.0.0"]\n'


@pytest.fixture(scope="module")
def poetry() -> None:
    """Poetry's image."""
    assert inv("poetry", "--", "--version").returncode == 0


def leaks(command: str, tag: str) -> str:
    """Return how many findings a check has."""
    done = inv(command, "--json", f"--image={tag}")
    assert done.returncode in {0, 1}, done.stderr
    count = len(json.loads(done.stdout)["findings"])
    return f"{count} leak{'' if count == 1 else 's'}" if count else "clean"


def seen(tag: str) -> list[str]:
    """Return what each way of looking finds in an image."""
    run = ("run", "--rm", "--network=none", "--user=root")
    listed = docker(*run, tag, "sh", "-c", "pip list 2>/dev/null | grep -c pytest", check=False).stdout.strip()
    started = docker(*run, tag, "pytest", "--version", check=False).returncode == 0
    paths = docker(*run, tag, "find", "/", "-xdev", "-name", "*pytest*").stdout.splitlines()
    return [
        "found" if int(listed or 0) else "nothing",
        "starts" if started else "not found",
        f"{len(paths)} paths",
        leaks("check-prod-has-no-pytest", tag),
        leaks("check-prod", tag),
    ]


@pytest.mark.full_length
@pytest.mark.usefixtures("poetry")
@pytest.mark.parametrize("way", WAYS)
def test_documented_comparison_matches_the_images(way: str) -> None:
    """Each cell of the table in docs/explanation/proof.md is measured."""
    tag = f"{PROJECT}:template"
    docker("build", "--quiet", f"--tag={tag}", "--file=-", str(ROOT), input=WAYS[way] + COMMON)
    try:
        cells = seen(tag)
    finally:
        docker("rmi", tag)
    row = next((line for line in DOCS.splitlines() if line.startswith(f"| {way} |")), "")
    shown = [cell.strip() for cell in row.split("|")[2:-1]]
    # Figures change with every dependency.
    assert [re.sub(r"\d+", "N", cell) for cell in shown] == [re.sub(r"\d+", "N", cell) for cell in cells], cells
