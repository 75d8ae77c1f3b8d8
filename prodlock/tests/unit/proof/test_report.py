"""Reports: lines of text, data, exit code."""

from __future__ import annotations

import json

from prodlock.image.records import File, Image, Layer
from prodlock.proof import rules
from prodlock.proof.report import Report, read_size
from prodlock.proof.rules import Finding

READ = {"layers": 4, "files": 2620, "bytes": 65_100_000, "seconds": 1.04, "memory": 73_000_000}
FINDING = Finding(rules.DEV_CONTENT, "pytest", "/opt/x", "COPY  a /opt/x", "its content is a file of it", 2, 4)


def report(*findings: Finding) -> Report:
    """Return a report on an image."""
    return Report("x:prod", "sha256:0", findings, "is clean: nothing of pytest", READ, {"stale": ""}, ("A note.",))


def test_a_report_without_findings_has_the_verdict() -> None:
    """With what was read, and the notes; exit code 0."""
    clean = report()
    read = "Read 4 layers, 2,620 files, 65.1 MB in 1.0 s, with 73 MB of memory."
    assert clean.lines() == [f"x:prod is clean: nothing of pytest. {read}", "A note."]
    assert clean.code == 0
    assert clean.data() == {
        "image": "x:prod", "id": "sha256:0", "clean": True, "findings": [], "stale": "", "read": READ,
    }  # fmt: skip


def test_a_finding_is_a_line_with_its_rule_and_its_remedy() -> None:
    """What, where, why, which instruction; exit code 1."""
    found = report(FINDING, FINDING)
    line, _, remedy, verdict, _ = found.lines()
    assert line == (
        "LEAK pytest: /opt/x (2 files), layer 5: its content is a file of it [LS106]; brought by: COPY a /opt/x"
    )
    assert remedy.startswith("LS106 Content of a file of the dev image. Usual cause: ")
    assert verdict.startswith("x:prod holds 2 leaks. Read ")
    assert found.code == 1
    (data, _) = json.loads(json.dumps(found.data()))["findings"]
    assert list(data) == [
        "code", "title", "cause", "remedy", "what", "path", "instruction", "why", "files", "layer",
    ]  # fmt: skip
    assert (data["code"], data["layer"]) == ("LS106", 4)


def test_the_size_of_an_image_is_what_was_read() -> None:
    """Files and links of all layers; neither folders nor members of archives."""
    files = (
        File("/a", size=3),
        File("/b", directory=True),
        File("/a!/c", size=5, packed=True),
        File("/d", target="/a"),
    )
    read = read_size(Image("x", (Layer("sha256:0", "COPY"),), {}, {}, (), files), 1.234)
    assert (read["layers"], read["files"], read["bytes"], read["seconds"]) == (1, 2, 3, 1.23)
