"""Reports on a small image with every kind of origin, made by hand."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from prodlock.image.records import File, Layer
from prodlock.origins.records import Attribution, Kind, Origin
from prodlock.origins.report import VerifyReport
from prodlock.proof.rules import Finding, Rule

SITE = "/usr/local/lib/python3.13/site-packages"
EXTRA = Rule("LS601", "Distribution outside the lock", "The lock does not have it.", "A second step.", "Remove it.")
CHANGED = Rule("LS605", "Changed file of a distribution", "It differs.", "A patch.", "Lock a wheel of your own.")
LAYERS = (
    Layer("sha256:0", "/bin/sh -c #(nop) ADD file:0 in / "),
    Layer("sha256:1", "RUN /bin/sh -c pip install --index-url https://user:s3cret@index.example -r x # buildkit"),
    Layer("sha256:2", "COPY . /code # buildkit"),
    Layer("sha256:3", "RUN |1 A=b /bin/sh -c rm /code/.env # buildkit"),
)
BASE = Origin(Kind.BASE, "python:3.13-slim")
WHEEL = Origin(Kind.WHEEL, "jinja2 3.1.6")
BYTECODE = Origin(Kind.BYTECODE, "jinja2 3.1.6")
REPOSITORY = Origin(Kind.REPOSITORY, "app/main.py")
DEBIAN = Origin(Kind.DEBIAN, "libpq5 17.5", proven=False)
UNVERIFIED = Origin(Kind.BYTECODE, "jinja2 3.1.6", proven=False)
UNEXPLAINED = Origin(Kind.UNEXPLAINED)

PROVEN: tuple[tuple[File, Origin], ...] = (
    (File("/usr/bin/env", 0, 600), BASE),
    (File("/root/.bashrc", 0, 50), BASE),
    (File(f"{SITE}/jinja2/utils.py", 1, 200), WHEEL),
    (File(f"{SITE}/jinja2/__pycache__/utils.cpython-313.pyc", 1, 100), BYTECODE),
    (File("/code/main.py", 2, 50), REPOSITORY),
)


def file(path: str, layer: int, content: bytes = b"") -> File:
    """Return a regular file with a content."""
    return File(path, layer, len(content), sha256=hashlib.sha256(content).hexdigest())


def finding(rule: Rule = EXTRA, what: str = "pytest 9.2.0", layer: int | None = 1, **more: object) -> Finding:
    """Return a finding in a layer."""
    instruction = "" if layer is None else LAYERS[layer].instruction
    values = {"path": f"{SITE}/pytest", "why": "the lock does not have it", "files": 42} | more
    return Finding(rule, what, instruction=instruction, layer=layer, **values)  # type: ignore[arg-type]


def report(
    *findings: Finding,
    files: Sequence[tuple[File, Origin]] = (),
    deleted: dict[tuple[int, str], int] | None = None,
    notes: tuple[str, ...] = (),
    everything: bool = False,
) -> VerifyReport:
    """Return a report on the proven files and the given ones."""
    return VerifyReport(
        image="shop:latest",
        identifier="sha256:f00",
        base="python:3.13-slim",
        base_layers=1,
        layers=LAYERS,
        lock="uv.lock",
        inputs="fresh",
        attribution=Attribution((*PROVEN, *files), deleted or {}),
        findings=findings,
        strict=False,
        seconds=1.234,
        notes=notes,
        everything=everything,
    )
