"""The report of `prodlock verify`: text, data, exit code, verdict."""

from __future__ import annotations

import json

import pytest

from prodlock.image.records import File
from prodlock.origins import summary, text
from prodlock.origins.records import Attribution, Kind
from prodlock.tests.unit.origins.examples import (
    BYTECODE,
    CHANGED,
    DEBIAN,
    SITE,
    UNEXPLAINED,
    UNVERIFIED,
    WHEEL,
    finding,
    report,
)


def test_a_clean_report_has_origins_and_verdict() -> None:
    """Every file is proven; exit code 0."""
    clean = report(notes=("A note.",))
    assert clean.lines() == [
        "shop:latest: 4 layers, 5 files, 1.0 kB, 1.2 s",
        "base image python:3.13-slim (1 layer)",
        "lock uv.lock (up to date with pyproject.toml)",
        "",
        "origin              share      files       size",
        "base image         65.0 %          2      650 B",
        "locked wheels      20.0 %          1      200 B",
        "bytecode           10.0 %          1      100 B",
        "repository          5.0 %          1       50 B",
        "unexplained         0.0 %          0        0 B",
        "",
        "A note.",
        "shop:latest is clean: the origin of every file is proven (5 files).",
    ]
    assert (clean.code, clean.clean) == (0, True)


@pytest.mark.parametrize(
    ("origin", "verdict"),
    [
        (UNEXPLAINED, "shop:latest: no finding, but 1 file (0 B) is unexplained."),
        (DEBIAN, "shop:latest: no finding, but 1 file (0 B) is recorded and not proven."),
        (UNVERIFIED, "shop:latest: no finding, but 1 file (0 B) is recorded and not proven."),
    ],
    ids=["unexplained", "Debian", "unverified bytecode"],
)
def test_an_image_with_an_unproven_file_is_not_called_clean(origin: object, verdict: str) -> None:
    """Not even with one empty file; the exit code is 0, since there is no finding."""
    found = report(files=[(File("/etc/x", 2, 0), origin)])  # type: ignore[list-item]
    assert found.lines()[-1] == verdict
    assert (found.code, found.clean, found.data()["clean"]) == (0, False, False)


def test_findings_are_grouped_by_rule_and_layer() -> None:
    """One line each; the instruction is printed once for its layer, the remedy once for its rule."""
    changed = finding(CHANGED, "jinja2 3.1.6", 1, path=f"{SITE}/jinja2/utils.py", why="differs", files=1)
    env = finding(CHANGED, "", 2, path="/code/.env", files=1)
    found = report(env, changed, finding(), finding(what="idna 3.7"))
    lines = found.lines()
    first = lines.index("LS601 Distribution outside the lock: 2 findings")
    assert lines[first + 1 : first + 11] == [
        "  layer 2: RUN pip install --index-url https://***@index.example -r x",
        f"    pytest 9.2.0: {SITE}/pytest (42 files): the lock does not have it",
        f"    idna 3.7: {SITE}/pytest (42 files): the lock does not have it",
        "  Usual cause: A second step. To fix it: Remove it.",
        "",
        "LS605 Changed file of a distribution: 2 findings",
        "  layer 2: RUN pip install --index-url https://***@index.example -r x",
        f"    jinja2 3.1.6: {SITE}/jinja2/utils.py: differs",
        "  layer 3: COPY . /code",
        "    /code/.env: the lock does not have it",
    ]
    assert lines[-1] == "shop:latest: 4 findings."
    assert (found.code, found.clean) == (1, False)


def test_a_missing_distribution_has_neither_layer_nor_path() -> None:
    """No line is empty, and no name is there twice."""
    missing = finding(what="idna 3.7", layer=None, path="idna", why="not there", files=1)
    lines = report(missing).lines()
    assert lines[lines.index("LS601 Distribution outside the lock: 1 finding") + 1 :][:2] == [
        "    idna 3.7: not there",
        "  Usual cause: A second step. To fix it: Remove it.",
    ]


def test_many_findings_of_a_rule_are_counted() -> None:
    """Ten are printed, all with --all."""
    many = [finding(what=f"x{number}", layer=None) for number in range(1, 13)]
    lines = report(*many).lines()
    assert sum(line.startswith("    x") for line in lines) == 10
    assert "    2 more: --all" in lines
    lines = report(*many, everything=True).lines()
    assert sum(line.startswith("    x") for line in lines) == 12
    assert not [line for line in lines if "more" in line]


def test_control_characters_in_names_are_escaped() -> None:
    """Neither a terminal's escape, nor another line, nor a reversed direction of writing reaches the output."""
    path = "/a\x1b[2J\nLS000\r\u202e\u2028\udcff\x9b"
    found = report(finding(path=path, why=path), files=[(File(f"{path}/x", 2, 1), UNEXPLAINED)], notes=(path,))
    text = "\n".join(found.lines())
    assert r"/a\x1b[2J\nLS000\r\u202e\u2028\udcff\x9b" in text
    assert all(one.isprintable() or one == "\n" for one in text)
    assert not [line for line in found.lines() if line.startswith("LS000")]
    text.encode("utf-8")


def test_secrets_of_an_instruction_are_masked() -> None:
    """In the text and in the data."""
    found = report(finding())
    assert "s3cret" in found.findings[0].instruction
    assert "s3cret" not in "\n".join(found.lines()) + json.dumps(found.data())


@pytest.mark.parametrize(
    ("recorded", "instruction"),
    [
        ("RUN /bin/sh -c pip install x # buildkit", "RUN pip install x"),
        ("RUN |2 A=b C=d /bin/sh -c make # buildkit", "RUN make"),
        ("/bin/sh -c #(nop) COPY dir:0 in /code ", "COPY dir:0 in /code"),
        ("/bin/sh -c pip  install x", "RUN pip install x"),
        ("COPY . /code # buildkit", "COPY . /code"),
        ("unknown", "unknown"),
    ],
)
def test_an_instruction_is_printed_as_a_dockerfile_has_it(recorded: str, instruction: str) -> None:
    """Without what BuildKit and the classic builder write around it."""
    assert text.instruction(recorded) == instruction


def test_the_data_is_complete() -> None:
    """Every finding, every unexplained file, what is not proven; every file with --all."""
    files = [
        (File("/etc/x", 2, 3), UNEXPLAINED),
        (File("/usr/lib/libpq.so.5", 1, 7), DEBIAN),
    ]
    data = json.loads(json.dumps(report(finding(), files=files).data()))
    assert list(data) == [
        "image", "id", "clean", "strict", "base", "lock", "layers", "origins", "findings", "unexplained",
        "unexplained_folders", "unproven", "notes", "read",
    ]  # fmt: skip
    assert data["layers"][1] == {
        "diff_id": "sha256:1",
        "instruction": "RUN pip install --index-url https://***@index.example -r x",
        "base": False,
    }
    (one,) = data["findings"]
    assert (one["code"], one["layer"], one["files"]) == ("LS601", 1, 42)
    assert one["instruction"] == data["layers"][one["layer"]]["instruction"]
    assert data["origins"][-2:] == [
        {
            "kind": "Debian packages",
            "files": 1,
            "bytes": 7,
            "share": 7 / 1010,
            "unproven_files": 1,
            "unproven_bytes": 7,
        },
        {"kind": "unexplained", "files": 1, "bytes": 3, "share": 3 / 1010, "unproven_files": 0, "unproven_bytes": 0},
    ]
    assert data["unexplained"] == [{"path": "/etc/x", "layer": 2, "bytes": 3}]
    assert data["unexplained_folders"] == [{"path": "/etc", "files": 1, "bytes": 3}]
    assert data["unproven"] == [{"kind": "Debian packages", "what": "libpq5 17.5", "files": 1, "bytes": 7}]
    assert data["read"] == {"layers": 4, "files": 7, "bytes": 1010, "seconds": 1.23}
    everything = report(files=files, everything=True).data()["files"]
    assert [(one["path"], one["kind"], one["proven"]) for one in everything[-2:]] == [
        ("/etc/x", "unexplained", False),
        ("/usr/lib/libpq.so.5", "Debian packages", False),
    ]


def test_an_empty_image_has_a_report() -> None:
    """No share is divided by zero."""
    empty = report()
    empty = type(empty)(**vars(empty) | {"attribution": Attribution((), {})})
    assert "unexplained         0.0 %          0        0 B" in empty.lines()


def test_unexplained_files_are_summed_by_folder() -> None:
    """A folder without other files stands for all below it; of a mixed one its own files count; largest first."""
    files = [
        (File("/root/.cache/pip/a/1", 1, 10), UNEXPLAINED),
        (File("/root/.cache/pip/b/2", 1, 20), UNEXPLAINED),
        (File("/usr/bin/tool", 1, 5), UNEXPLAINED),
        (File("/top", 1, 1), UNEXPLAINED),
    ]
    attribution = report(files=files).attribution
    assert summary.unexplained_folders(attribution) == [
        ("/root/.cache/pip", 2, 30),
        ("/usr/bin", 1, 5),
        ("/", 1, 1),
    ]


def test_what_is_not_proven_is_listed() -> None:
    """By kind, with the packages' names and the reason; the largest first, and no more than five."""
    debian = [(File(f"/x{number}", 1, number), DEBIAN._replace(what=f"lib{number} 1")) for number in range(7)]
    lines = report(files=[*debian, (File("/y.pyc", 1, 2), UNVERIFIED)]).lines()
    first = lines.index("Recorded, not proven:")
    assert lines[first + 1 : first + 3] == [
        "  bytecode: 1 file, 2 B, no interpreter was available to compile the source again: jinja2 3.1.6",
        "  Debian packages: 7 files, 21 B, by the package manager's records in the image: "
        "lib6 1, lib5 1, lib4 1, lib3 1, lib2 1 and 2 more",
    ]


def test_rows_are_in_the_order_of_the_kinds() -> None:
    """Proven and unproven files of a kind are one row."""
    attribution = report(files=[(File("/y.pyc", 1, 2), UNVERIFIED)]).attribution
    (row,) = (row for row in summary.rows(attribution) if row.kind is Kind.BYTECODE)
    assert row == (Kind.BYTECODE, 2, 102, 1, 2)
    kinds = [row.kind for row in summary.rows(attribution)]
    assert kinds == [kind for kind in Kind if kind in kinds]
    assert {BYTECODE.kind, WHEEL.kind} <= set(kinds)


@pytest.mark.parametrize(
    ("number", "shown"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (999_949, "999.9 kB"), (999_950, "1.0 MB"),
     (999_950_000, "1.00 GB"), (1_370_000_000, "1.37 GB")],
)  # fmt: skip
def test_sizes_have_units(number: int, shown: str) -> None:
    """Rounding never gives 1,000 of a unit."""
    assert text.size(number) == shown


@pytest.mark.parametrize(
    ("part", "whole", "shown"),
    [
        (0, 100, "0.0 %"),
        (1, 10_000_000, "<0.1 %"),
        (9_999_999, 10_000_000, ">99.9 %"),
        (1, 1, "100.0 %"),
        (0, 0, "0.0 %"),
    ],
)
def test_shares_are_not_rounded_to_nothing_or_everything(part: int, whole: int, shown: str) -> None:
    """100.0 % means all, 0.0 % means none."""
    assert text.share(part, whole) == shown
