"""The program of the stage `audit`, and the address of the vulnerability service."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from prodlock import site
from prodlock.failure import Failure
from prodlock.inside import audit
from prodlock.project import Project


def test_the_list_has_each_distribution_once_and_the_control() -> None:
    """With hashes: without them, pip-audit prints warnings for complete answers too."""
    one = {"name": "one", "version": "1.0", "sha256": ["a", "b"]}
    two = {"name": "two", "version": "2.0", "sha256": ["c"]}
    lines = audit.listed({"main": [one], "dev": [one, two]}).splitlines()
    control = "pycrypto==2.6.1 --hash=sha256:f2ce1e989b272cfcb677616763e0a2e7ec659effa67a88aa92b3a65528f60a3c"
    assert lines == [control, "one==1.0 --hash=sha256:a --hash=sha256:b", "two==2.0 --hash=sha256:c"]


def test_a_locked_control_is_listed_with_its_locked_version() -> None:
    """pip-audit refuses two versions of one distribution."""
    locked = {"name": "pycrypto", "version": "2.6", "sha256": ["a"]}
    assert audit.listed({"main": [locked]}) == "pycrypto==2.6 --hash=sha256:a\n"


@pytest.mark.parametrize(("script", "code"), [("echo {}; echo x >&2; exit 1", 1), ("sleep 60", None)])
def test_the_time_for_all_answers_is_limited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, code: int | None
) -> None:
    """Here to a second; the positive control answers before."""
    program = tmp_path / "pip-audit"
    program.write_text(f"#!/bin/sh\n{'exec ' if code is None else ''}{script}\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(audit, "SECONDS", 1)
    answer = audit.ask("", "https://osv.example/v1/query")
    assert answer["code"] == code
    expected = ("", "no answer within 1 s") if code is None else ("{}\n", "x\n")
    assert (answer["answer"], answer["messages"]) == expected


def test_the_default_service_is_osv() -> None:
    """Also where the variable is empty."""
    assert site.audit_url(Project(environment={})) == "https://api.osv.dev/v1/query"
    assert site.audit_url(Project(environment={"AUDIT_URL": ""})) == site.OSV


@pytest.mark.parametrize("address", ["http://127.0.0.1:80/x", "https://user:p%40ss@osv.example/v1/query"])
def test_another_service_can_be_set(address: str) -> None:
    """With a user and a password too."""
    assert site.audit_url(Project(environment={"AUDIT_URL": address})) == address


@pytest.mark.parametrize("address", ["osv.example", "ftp://u:geheim@h", "https://", "http://[geheim", "https://a b"])
def test_an_invalid_service_is_refused(address: str) -> None:
    """The message does not repeat the address, which may hold a password."""
    with pytest.raises(Failure, match=r"^AUDIT_URL must be an address that begins with http") as raised:
        site.audit_url(Project(environment={"AUDIT_URL": address}))
    assert "geheim" not in str(raised.value)
