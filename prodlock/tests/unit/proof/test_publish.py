"""What is refused after the proof, and what the verdict states."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from prodlock import __version__
from prodlock.failure import FAILED, Failure
from prodlock.project import Project
from prodlock.proof import check, publish
from prodlock.proof.check import Proof
from prodlock.proof.evidence.collect import Evidence
from prodlock.proof.records import Lock
from prodlock.proof.report import Report
from prodlock.source import Commit
from prodlock.tests.unit.proof.examples import image

CLEAN = Commit("c" * 40, 5, 0)


def evidence(commit: Commit | None = CLEAN, platform: str = "linux/amd64") -> Evidence:
    """Return the part of the evidence that publishing needs."""
    system, _, architecture = platform.partition("/")
    stated = {"os": system, "architecture": architecture}
    given: dict[str, Any] = {
        "reference": "quotes:prod",
        "image": replace(image(), document=stated, identifier="sha256:1"),
        "commit": commit,
        "configuration": SimpleNamespace(lock="poetry.lock"),
        "lock": Lock({}, {}, sha256="a" * 64),
    }
    return cast("Evidence", SimpleNamespace(**given))


@pytest.mark.parametrize(
    ("to", "platforms", "output", "message"),
    [
        ("quotes", [], None, "--to must be REGISTRY/NAME"),
        ("localhost:1/quotes", ["arm64"], None, "--platform must be OS/ARCHITECTURE, such as linux/amd64"),
        ("localhost:1/quotes", [""], None, "--platform must be OS/ARCHITECTURE, such as linux/amd64"),
        ("localhost:1/quotes", [], "", "--output must be the name of a file"),
        ("localhost:1/quotes", [], "none/sbom.json", "none/sbom.json must be in an existing folder"),
    ],
)
def test_an_invalid_option_is_refused_before_docker_is_run(
    to: str, platforms: list[str], output: str | None, message: str
) -> None:
    """In one message."""
    with pytest.raises(Failure, match=message):
        publish.publish(Project(environment={"PATH": ""}), to, None, platforms, output)


@pytest.mark.parametrize("platforms", [[], ["linux/amd64"], ["linux/amd64", "linux/amd64"]])
@pytest.mark.parametrize("commit", [CLEAN, None])
def test_an_image_of_a_commit_and_its_platform_is_accepted(commit: Commit | None, platforms: list[str]) -> None:
    """Also of a project that no repository has."""
    publish._refuse(evidence(commit), platforms)


def test_an_image_of_uncommitted_files_is_refused() -> None:
    """No one could build it again."""
    with pytest.raises(
        Failure, match=r"must be made from a commit \(got commit c+ with 2 files that differ\)"
    ) as raised:
        publish._refuse(evidence(CLEAN._replace(changes=2)), [])
    assert raised.value.code == FAILED


@pytest.mark.parametrize("platforms", [["linux/arm64"], ["linux/amd64", "linux/arm64"]])
def test_each_platform_must_be_proven(platforms: list[str]) -> None:
    """The message names those that are not, and what to do."""
    with pytest.raises(Failure, match=r"Each platform must be proven \(got linux/arm64; quotes:prod is of linux/amd64"):
        publish._refuse(evidence(), platforms)
    publish._refuse(evidence(platform="linux/arm64"), ["linux/arm64"])


def test_the_commit_is_the_tag_where_none_is_given() -> None:
    """It is never moved to another source. Without a commit a tag must be given."""
    assert publish._commit_tag(evidence()) == "c" * 40
    with pytest.raises(Failure, match="--to must have a tag where no repository has the project"):
        publish._commit_tag(evidence(None))


def test_a_bill_of_materials_that_can_not_be_written_is_a_failure(tmp_path: Path) -> None:
    """With the remedy; nothing has been pushed by then."""
    with pytest.raises(Failure, match=r"must be writable \(got: Is a directory\)\. To fix it: "):
        check.write(tmp_path, "{}")
    with pytest.raises(Failure, match=r"reports must be a folder that can be written \(got: .*\)\. To fix it: "):
        publish._file(Project(tmp_path / "removed", {}), None)


def test_the_verdict_states_what_was_proven() -> None:
    """Image, configuration, commit, lock, rules, tool, exit code; the lock of the proof, not one that follows it."""
    report = Report("quotes:prod", "sha256:1", (), "is proven", {}, {"rebuilt": True})
    stated = publish.verdict(Proof(evidence(), report), "registry.example/quotes@sha256:2")
    assert stated.pop("time").endswith("Z")
    rules = Path("docs/reference/rules.md").read_bytes()
    assert stated == {
        "image": "registry.example/quotes@sha256:2",
        "configuration": "sha256:1",
        "platform": "linux/amd64",
        "commit": "c" * 40,
        "lock": {"name": "poetry.lock", "sha256": "a" * 64},
        "checker": {"name": "prodlock", "version": __version__, "rules": hashlib.sha256(rules).hexdigest()},
        "exitCode": 0,
        "verdict": "is proven",
        "rebuilt": True,
    }
