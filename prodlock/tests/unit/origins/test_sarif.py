"""SARIF of `prodlock verify`: what the standard and code scanning require."""

from __future__ import annotations

import json
import re
from typing import Any

from prodlock.origins import sarif
from prodlock.tests.unit.origins.examples import CHANGED, finding, report

# RFC 3986: a relative reference without a colon in its first segment.
RELATIVE = re.compile(r"(?:[A-Za-z0-9._~/-]|%[0-9A-F]{2})+")


def run(*findings: Any, **more: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return the run of a log, as a parser of JSON returns it."""
    log = json.loads(json.dumps(sarif.document(report(*findings, **more))))
    assert log["version"] == "2.1.0"
    assert log["$schema"].endswith("/sarif-schema-2.1.0.json")
    (only,) = log["runs"]
    return dict(only)


def test_a_clean_image_has_a_run_without_results() -> None:
    """Code scanning closes former alerts only if the run is there."""
    found = run(notes=("A note.",))
    assert found["results"] == []
    assert found["tool"]["driver"]["name"] == "prodlock"
    (invocation,) = found["invocations"]
    assert (invocation["executionSuccessful"], invocation["exitCode"]) == (True, 0)
    assert [one["message"]["text"] for one in invocation["toolExecutionNotifications"]] == [
        "A note.",
        "shop:latest is clean: the origin of every file is proven (5 files).",
    ]
    assert found["properties"]["origins"][0]["kind"] == "base image"


def test_each_finding_is_a_result_with_its_rule() -> None:
    """The rule is found by its index; the location is the path in the image, with a line."""
    found = run(finding(CHANGED, "jinja2 3.1.6", None, path="/code/a b:c.py", why="differs", files=1), finding())
    rules = found["tool"]["driver"]["rules"]
    for result in found["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["message"]["text"]
        place = result["locations"][0]["physicalLocation"]
        assert RELATIVE.fullmatch(place["artifactLocation"]["uri"])
        assert place["artifactLocation"]["uriBaseId"] in found["originalUriBaseIds"]
        assert place["region"]["startLine"] == 1
    extra, changed = found["results"]
    assert (extra["ruleId"], changed["ruleId"]) == ("LS601", "LS605")
    assert extra["message"]["text"].endswith(
        ", layer 2; brought by: RUN pip install --index-url https://***@index.example -r x"
    )
    assert changed["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "code/a%20b%3Ac.py"
    assert changed["message"]["text"] == "jinja2 3.1.6: /code/a b:c.py: differs"


def test_a_rule_has_its_help() -> None:
    """Meaning, cause and remedy, as text and as Markdown; each rule once."""
    (rule,) = run(finding(), finding(what="idna 3.7"))["tool"]["driver"]["rules"]
    assert rule["shortDescription"]["text"] == "Distribution outside the lock"
    assert all("To fix it: Remove it." in rule["help"][form] for form in ("text", "markdown"))


def test_fingerprints_identify_findings() -> None:
    """They are the same in another layer, differ between findings, and are unique."""
    first, second = run(finding(layer=1), finding(what="idna 3.7"))["results"]
    (moved,) = run(finding(layer=3))["results"]
    prints = [result["partialFingerprints"]["primaryLocationLineHash"] for result in (first, second, moved)]
    assert prints[0] == prints[2] != prints[1]
    alike = run(finding(layer=1), finding(layer=2))["results"]
    assert len({result["partialFingerprints"]["primaryLocationLineHash"] for result in alike}) == 2


def test_hostile_names_are_escaped() -> None:
    """The document is valid UTF-8 and its texts have no control characters."""
    path = "/a\x1b[2J\n\u202e\udcff\ud800?#%41//..:x"
    found = run(finding(path=path, what=path, why=path), notes=(path,))
    (result,) = found["results"]
    assert RELATIVE.fullmatch(result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"])
    assert result["message"]["text"].isprintable()
    json.dumps(found, ensure_ascii=False).encode("utf-8")


def test_a_finding_of_the_whole_image_has_a_location() -> None:
    """A missing distribution has no path."""
    (result,) = run(finding(path="", layer=None))["results"]
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "."
