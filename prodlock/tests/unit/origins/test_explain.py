"""`prodlock verify --explain`: one path, or one rule."""

from __future__ import annotations

from dataclasses import replace

import pytest

from prodlock.failure import Failure
from prodlock.image.records import File
from prodlock.origins.explain import explain, explain_rule, is_rule, narrowed
from prodlock.origins.records import Bytecode, State
from prodlock.proof import rules
from prodlock.tests.unit.origins.examples import (
    CHANGED,
    DEBIAN,
    EXTRA,
    REPOSITORY,
    SITE,
    UNEXPLAINED,
    WHEEL,
    file,
    finding,
    report,
)

ENV = file("/code/.env", 2, b"TOKEN=x")


def test_a_file_is_explained_in_every_layer() -> None:
    """Instruction, size, mode, owner, sha256, origin, what became of it, and findings."""
    found = report(
        finding(CHANGED, "", 2, path="/code/.env", why="still ships", files=1),
        files=[(file("/code/.env", 1, b"A=b"), UNEXPLAINED), (ENV, REPOSITORY._replace(what=".env"))],
        deleted={(2, "/code/.env"): 3},
    )
    first, second = file("/code/.env", 1, b"A=b"), ENV
    assert explain("/code/.env", found) == [
        "/code/.env",
        "  layer 2: RUN pip install --index-url https://***@index.example -r x",
        f"    file, 3 B, mode 0644, owner 0:0, sha256 {first.sha256}",
        "    origin: unexplained",
        "    still in the image, replaced by layer 3: COPY . /code",
        "  layer 3: COPY . /code",
        f"    file, 7 B, mode 0644, owner 0:0, sha256 {second.sha256}",
        "    origin: repository: .env; proven",
        "    still in the image, deleted by layer 4: RUN rm /code/.env",
        "    LS605 /code/.env: still ships",
    ]


@pytest.mark.parametrize("written", ["usr/bin/env", "/usr/bin/env/", "//usr/../usr/./bin/env"])
def test_a_path_is_normalized(written: str) -> None:
    """With and without a slash; a file of the base image names it."""
    lines = explain(written, report())
    assert lines[:2] == ["/usr/bin/env", "  layer 1 of the base image python:3.13-slim: ADD file:0 in /"]


def test_the_report_is_narrowed_to_a_path_or_a_rule() -> None:
    """For JSON and SARIF: every file of the path, and the findings on it."""
    found = report(
        finding(CHANGED, "", 2, path="/code/.env", why="still ships", files=1),
        finding(EXTRA, "", 1, path=f"{SITE}/x.py", why="unknown", files=1),
        files=[(ENV, REPOSITORY), (file(f"{SITE}/x.py", 1, b"x"), UNEXPLAINED)],
    )
    for target, paths in (("/code", ["/code/main.py", "/code/.env"]), ("code/.env", ["/code/.env"])):
        data = narrowed(target, found).data()
        assert [one["path"] for one in data["files"]] == paths
        assert [one["path"] for one in data["findings"]] == ["/code/.env"]
    data = narrowed("ls605", found).data()
    assert [one["path"] for one in data["findings"]] == ["/code/.env"]
    assert "files" not in data
    for wrong in ("/absent", "LS999", ""):
        with pytest.raises(Failure, match=r"^--explain must be"):
            narrowed(wrong, found)


def test_a_file_that_a_later_layer_has_again_is_explained() -> None:
    """The first copy is deleted; the second one is not."""
    files = [(file("/code/a", 1), WHEEL), (file("/code/a", 3), WHEEL)]
    lines = explain("/code/a", report(files=files, deleted={(1, "/code/a"): 2}))
    assert [line for line in lines if "still in the image" in line] == [
        "    still in the image, deleted by layer 3: COPY . /code"
    ]


def test_a_link_and_a_recorded_file_are_described() -> None:
    """Where the link points, and why the file is not proven."""
    link = File("/usr/lib/libpq.so.5", 1, target="libpq.so.5.17", mode=0o777)
    lines = explain(link.path, report(files=[(link, DEBIAN)]))
    assert lines[2:] == [
        "    link to libpq.so.5.17, 0 B, mode 0777, owner 0:0",
        "    origin: Debian packages: libpq5 17.5; not proven: by the package manager's records in the image",
    ]


def test_bytecode_is_explained_with_its_source() -> None:
    """What the comparison gave, and the copy of the source that it was made with."""
    path = f"{SITE}/jinja2/__pycache__/utils.cpython-313.pyc"
    found = report()
    compared = {(1, path): Bytecode(State.STALE, file(f"{SITE}/jinja2/utils.py", 1))}
    found = replace(found, attribution=replace(found.attribution, bytecode=compared))
    assert f"    bytecode: stale, compared with {SITE}/jinja2/utils.py of layer 2" in explain(path, found)
    compared = {(1, path): Bytecode(State.WITHOUT_SOURCE)}
    found = replace(found, attribution=replace(found.attribution, bytecode=compared))
    assert "    bytecode: without a source" in explain(path, found)


def test_a_folder_is_summarized() -> None:
    """By origin, with the findings in it and on it."""
    inner = finding(CHANGED, "jinja2 3.1.6", 1, path=f"{SITE}/jinja2/utils.py", why="differs", files=1)
    found = report(inner, finding(path=f"{SITE}/pytest"))
    assert explain(SITE, found) == [
        f"{SITE}: 2 files, 300 B, in layer 2",
        "origin              share      files       size",
        "locked wheels      66.7 %          1      200 B",
        "bytecode           33.3 %          1      100 B",
        "unexplained         0.0 %          0        0 B",
        f"LS601 pytest 9.2.0: {SITE}/pytest (42 files): the lock does not have it, layer 2",
        f"LS605 jinja2 3.1.6: {SITE}/jinja2/utils.py: differs, layer 2",
    ]
    assert explain("/", found)[0] == "/: 5 files, 1.0 kB, in layers 1, 2, 3"


def test_a_finding_on_a_folder_concerns_its_files() -> None:
    """A finding of a distribution stands for many files; one in an archive for the archive."""
    files = [(file(f"{SITE}/pytest/x.py", 1), UNEXPLAINED), (file("/x.zip", 1), UNEXPLAINED)]
    found = report(finding(path=f"{SITE}/pytest"), finding(path="/x.zip!/pytest/x.py", what="zip"), files=files)
    assert explain(f"{SITE}/pytest/x.py", found)[-1].startswith("    LS601 pytest 9.2.0: ")
    assert explain("/x.zip", found)[-1].startswith("    LS601 zip: ")
    assert not [line for line in explain("/usr/bin/env", found) if "LS601" in line]


@pytest.mark.parametrize(
    ("path", "nearest"),
    [
        ("jinja2/utils.py", f"{SITE}/jinja2/utils.py."),
        ("/opt/env", "/usr/bin/env."),
        ("/usr/bin/enw", "/usr/bin/env."),
        ("/usr/bin/unlike", "/usr/bin."),
        ("/zzz", "/."),
    ],
)
def test_a_missing_path_is_refused_with_the_nearest(path: str, nearest: str) -> None:
    """Exit code 2; the message names what the image has."""
    with pytest.raises(Failure, match="which no layer has") as failure:
        explain(path, report())
    assert failure.value.code == 2
    assert str(failure.value).endswith(f"such as {nearest}")


def test_no_path_is_refused() -> None:
    """An unset variable of a shell is not the root folder."""
    with pytest.raises(Failure, match=r"^--explain must be .* \(got nothing\)\. To fix it: name one"):
        explain("", report())


def test_a_rule_is_explained() -> None:
    """In capitals or not, without an image too; an unknown code is refused."""
    rule = rules.RULES[0]
    lines = [f"{rule.code} {rule.title}", rule.meaning, f"Usual cause: {rule.cause}", f"To fix it: {rule.remedy}"]
    assert explain_rule(rule.code.lower()) == lines
    assert explain(rule.code, report(finding(rule), finding(EXTRA))) == [
        *lines,
        f"{rule.code} pytest 9.2.0: {SITE}/pytest (42 files): the lock does not have it, layer 2",
    ]
    assert is_rule("ls101")
    assert not is_rule("/LS101")
    for explained in (explain_rule, lambda code: explain(code, report())):
        with pytest.raises(Failure, match=r"the code of a rule .*got LS999"):
            explained("LS999")


def test_hostile_names_are_escaped() -> None:
    """In the lines and in the message."""
    path = "/a\x1b[2J\nb"
    lines = explain(path, report(finding(path=path), files=[(File(path, 1, target=path), UNEXPLAINED)]))
    assert all(line.isprintable() for line in lines)
    with pytest.raises(Failure) as failure:
        explain(f"{path}x", report(files=[(File(path, 1), UNEXPLAINED)]))
    assert str(failure.value).isprintable()
