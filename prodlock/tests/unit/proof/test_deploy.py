"""`inv deploy-check`: what it prints where the files can't be compared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from prodlock.failure import CANNOT_CHECK, FAILED, Failure
from prodlock.project import Project
from prodlock.proof import deploy
from prodlock.proof.evidence import deployment
from prodlock.proof.evidence.deployment import Resolved

STACK: dict[str, Any] = {"services": {"api-prod": {}}, "networks": {"default": {"ipam": {"config": [{"subnet": "x"}]}}}}


def resolved(**document: Any) -> Resolved:  # noqa: ANN401 - JSON
    """Return resolved files, valid ones unless `document` has others."""
    whole = {"stack": STACK, "written": STACK, "objects": [], "examples": [], "invalid": [], "foreign": []} | document
    return Resolved({"api-prod": {}}, STACK, {}, whole)


def check(monkeypatch: pytest.MonkeyPatch, **document: Any) -> int:  # noqa: ANN401 - JSON
    """Return the exit code for resolved files."""
    monkeypatch.setattr(deployment, "resolve", lambda _: resolved(**document))
    return deploy.check(Project())


@pytest.mark.parametrize("objects", [[], [{"kind": "Deployment", "metadata": {}, "spec": {"template": 1}}], [{}], [1]])
def test_what_no_schema_allows_is_printed_where_it_cannot_be_compared(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], objects: list[Any]
) -> None:
    """The sentence of the schema is the cause."""
    assert check(monkeypatch, objects=objects, invalid=["Deployment api: it is wrong."]) == FAILED
    assert capsys.readouterr().out == "deploy/k8s: Deployment api: it is wrong. [LS701]\n"


def test_findings_are_printed_as_data(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """With the code and the advice of their rule."""
    resolving = resolved(invalid=["Deployment api: it is wrong."], foreign=["HTTPRoute api"])
    monkeypatch.setattr(deployment, "resolve", lambda _: resolving)
    assert deploy.check(Project(), as_json=True) == FAILED
    printed = json.loads(capsys.readouterr().out)
    (finding,) = printed.pop("findings")
    assert printed == {"clean": False, "kinds": [], "unvalidated": ["HTTPRoute api"]}
    assert finding.keys() == {"code", "title", "cause", "remedy", "why"}
    assert (finding["code"], finding["why"]) == ("LS701", "deploy/k8s: Deployment api: it is wrong.")


@pytest.mark.parametrize(
    ("document", "got"),
    [
        ({"stack": {"services": {"web": {}}}}, "no service api-prod in deploy/stack.yml"),
        ({"stack": {"services": {"api-prod": {}}}}, "no subnet of the network `default` in deploy/stack.yml"),
        ({"objects": 1}, "TypeError"),
    ],
)
def test_another_form_of_the_files_is_refused(
    monkeypatch: pytest.MonkeyPatch, document: dict[str, Any], got: str
) -> None:
    """The message states what is missing."""
    with pytest.raises(Failure, match=rf"^deploy/ must have the form .*\(got: {got}") as raised:
        check(monkeypatch, **document)
    assert raised.value.code == CANNOT_CHECK


@pytest.mark.parametrize("content", [b"# caf\xe9\n", None])
def test_an_unreadable_file_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes | None) -> None:
    """Of another encoding, or absent."""
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "Dockerfile").write_text("FROM x\nUSER 1:1\nEXPOSE 8000\n", encoding="utf-8")
    if content:
        (tmp_path / "deploy").mkdir()
        (tmp_path / "deploy" / "haproxy.cfg").write_bytes(content)
    monkeypatch.setattr(deployment, "resolve", lambda _: resolved())
    with pytest.raises(Failure, match=r"\(got: .*deploy/haproxy\.cfg"):
        deploy.check(Project(tmp_path, {}))


def test_a_key_without_a_value_is_absent() -> None:
    """As Kubernetes reads it: a user has commented out all that was below it."""
    given = {"a": None, "b": [{"c": None, "d": 0}, None], "e": {"f": None}, "g": False, "h": ""}
    assert deployment._without_nulls(given) == {"b": [{"d": 0}, None], "e": {}, "g": False, "h": ""}
