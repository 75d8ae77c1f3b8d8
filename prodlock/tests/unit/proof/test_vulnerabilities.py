"""Known vulnerabilities: complete and incomplete answers, and the verdict on them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from prodlock.failure import CANNOT_CHECK, Failure
from prodlock.proof.audit import Report
from prodlock.proof.evidence.vulnerabilities import read
from prodlock.proof.judges.vulnerabilities import Answer, judge

KNOWN = {"id": "PYSEC-2026-1", "aliases": ["GHSA-b", "CVE-2026-1"], "fix_versions": ["2.0"], "description": "A fault."}


def document(**changes: object) -> dict[str, Any]:
    """Return what inside/audit.py prints for two distributions, one of them with a vulnerability."""
    answered = [
        {"name": "control", "version": "1", "vulns": [KNOWN]},
        {"name": "one-part", "version": "1.0", "vulns": [KNOWN]},
        {"name": "two", "version": "2.0", "vulns": []},
    ]
    groups = {"main": {"One.part": "1.0"}, "dev": {"two": "2.0", "one_part": "1.0"}}
    answer = {"dependencies": answered, "fixes": []}
    return {"groups": groups, "control": "control", "code": 1, "answer": json.dumps(answer), "messages": ""} | changes


def answered(change: Callable[[list[dict[str, Any]]], object]) -> dict[str, Any]:
    """Return the same after a change of the distributions that were answered."""
    content = document()
    answer = json.loads(content["answer"])
    change(answer["dependencies"])
    return content | {"answer": json.dumps(answer)}


def test_a_complete_answer_is_read() -> None:
    """Names are compared as PEP 503 normalizes them; the control is not part of the lock."""
    answer = read(document(messages="Found 2 known vulnerabilities in 2 packages\n"), "osv.example", "poetry.lock")
    assert (answer.service, answer.distributions, answer.groups) == ("osv.example", 2, {"main": 1, "dev": 2})
    (found,) = answer.vulnerabilities
    assert (found.name, found.version, found.identifier) == ("one-part", "1.0", "PYSEC-2026-1")
    assert (found.aliases, found.fixed, found.groups) == (("CVE-2026-1", "GHSA-b"), ("2.0",), ("dev", "main"))
    assert found.in_production


INCOMPLETE: dict[str, tuple[dict[str, Any], str]] = {
    "no answer within the time": (document(code=None, answer="", messages="no answer within 300 s"), "within 300 s"),
    "nothing printed": (document(code=0, answer="\n"), "got: no answer)"),
    "another exit code": (document(code=2, messages="usage: x\nerror: unknown option"), "error: unknown option"),
    "killed": (document(code=-9), "got: no answer)"),
    "a traceback": (
        document(answer="", messages="Traceback:\nrequests.exceptions.HTTPError: 502 x\n\npip_audit.ServiceError"),
        "got: 502 x)",
    ),
    "not JSON": (document(answer="<html>"), "an answer of another form"),
    "no distributions": (document(answer="{}"), "KeyError('dependencies')"),
    "a list": (document(answer="[]"), "an answer of another form"),
    "an empty list": (document(answer='{"dependencies": []}'), "no answer about one-part"),
    "a distribution is absent": (answered(lambda found: found.pop(2)), "no answer about two"),
    "the control is absent": (answered(lambda found: found.pop(0)), "no answer about control"),
    "a distribution was skipped": (
        answered(lambda found: found.__setitem__(2, {"name": "two", "skip_reason": "not found"})),
        "two was skipped: not found",
    ),
    "no vulnerabilities of the control": (
        answered(lambda found: found[0].update(vulns=[])),
        "no vulnerability of control, which has known ones",
    ),
    "no list of vulnerabilities": (answered(lambda found: found[2].pop("vulns")), "KeyError('vulns')"),
    "a warning": (document(messages="WARNING:pip_audit:X is missing 'affected' list"), "X is missing 'affected' list"),
    "a password": (document(code=3, messages="no route to https://u:geheim@osv.example/v1"), "https://osv.example/v1)"),
}


@pytest.mark.parametrize("kind", INCOMPLETE)
def test_an_incomplete_answer_is_refused(kind: str) -> None:
    """Exit code 2 and the reason; without the change, the same answer is read."""
    content, reason = INCOMPLETE[kind]
    with pytest.raises(Failure) as raised:
        read(content, "osv.example", "poetry.lock")
    assert raised.value.code == CANNOT_CHECK
    assert reason in str(raised.value)
    assert "geheim" not in str(raised.value)
    assert "\n" not in str(raised.value)


def test_descriptions_do_not_control_the_terminal() -> None:
    """The service decides what they contain."""
    known = KNOWN | {"description": "\x1b[2Jone\n two\r", "id": "X-\x1b[1m1"}
    (found,) = read(answered(lambda found: found[1].update(vulns=[known])), "x", "poetry.lock").vulnerabilities
    assert (found.description, found.identifier) == ("one two", "X-1")


def report(*ignore: str, lock: str = "poetry.lock") -> Report:
    """Return the report on the answer about a lock."""
    answer = read(document(), "osv.example", lock)
    return Report(answer, judge(answer.vulnerabilities, ignore))


def test_a_vulnerability_is_a_finding() -> None:
    """Exit code 1."""
    assert report().code == 1
    assert report().lines() == [
        "VULNERABLE one-part 1.0: PYSEC-2026-1 (CVE-2026-1, GHSA-b); groups dev and main, in production; fixed in 2.0; "
        "A fault. To fix it: `inv poetry -- update --lock one-part`, then `inv build`.",
        "The lock has 1 known vulnerability, 1 of them in production. osv.example answered about 2 distributions "
        "(dev 2, main 1).",
    ]


@pytest.mark.parametrize(
    ("lock", "command"),
    [
        ("uv.lock", "`inv uv -- lock --upgrade-package one-part`, then "),
        ("pylock.toml", "lock one-part again in a fixed version, then "),
    ],
)
def test_the_remedy_fits_the_lock(lock: str, command: str) -> None:
    """Each lock has a tool of its own."""
    assert f"To fix it: {command}`inv build`." in report(lock=lock).lines()[0]


@pytest.mark.parametrize("entry", ["PYSEC-2026-1", "CVE-2026-1", "GHSA-b"])
def test_an_ignored_vulnerability_is_printed_and_no_finding(entry: str) -> None:
    """By its id or an alias."""
    assert report(entry).code == 0
    line, verdict = report(entry).lines()
    assert line.startswith("IGNORED one-part 1.0: PYSEC-2026-1 ")
    assert verdict.startswith("The lock has no known vulnerabilities (1 ignored). ")
    assert json.loads(json.dumps(report(entry).data()))["ignored"][0]["id"] == "PYSEC-2026-1"


def test_an_entry_that_matches_nothing_is_reported() -> None:
    """Part of an id does not match."""
    assert report("PYSEC-2026").verdict.unused == ["PYSEC-2026"]
    assert "UNUSED PYSEC-2026 in `audit-ignore`: " in "\n".join(report("PYSEC-2026").lines())
    assert report("PYSEC-2026").code == 1


def test_no_vulnerability_is_exit_code_0() -> None:
    """The data has the same keys as with one."""
    answer = Answer("osv.example", {"main": 1}, 1, [])
    clean = Report(answer, judge([], []))
    assert clean.code == 0
    assert clean.data()["clean"]
    assert clean.data().keys() == report().data().keys()
