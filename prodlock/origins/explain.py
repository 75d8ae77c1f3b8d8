"""Explain one path of an image, or one rule: `prodlock verify --explain`."""

from __future__ import annotations

import difflib
import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TypeAlias

from prodlock.failure import CANNOT_CHECK, Failure
from prodlock.image.records import File
from prodlock.origins import summary, text
from prodlock.origins.records import Attribution, Kind, Origin
from prodlock.origins.report import RECORDED, VerifyReport, table
from prodlock.proof import rules
from prodlock.proof.rules import Finding

_CODE = re.compile(r"LS\d{3}", re.IGNORECASE)
# Files and links, each with its origin.
_Files: TypeAlias = tuple[tuple[File, Origin], ...]
# How many other paths a message names, and how many are compared.
_NEAREST = 5
_COMPARED = 2000


def explain(target: str, report: VerifyReport) -> list[str]:
    """Return the lines on a path in the image, or on a rule and its findings.

    Raises Failure where the image has no such path, and where no rule has the code.
    """
    if is_rule(target):
        return _printable([*explain_rule(target), *_findings(_of_rule(target, report), report)])
    path, files, within = _found(target, report)
    return _printable(
        [*(_file(path, files, report) if files else ()), *(_folder(path, within, report) if within else ())]
    )


def narrowed(target: str, report: VerifyReport) -> VerifyReport:
    """Return the report on one path in the image, with every file, or on a rule. Raises Failure as `explain` does."""
    if is_rule(target):
        explain_rule(target)
        return replace(report, findings=tuple(_of_rule(target, report)))
    path, files, within = _found(target, report)
    attribution = replace(report.attribution, files=(*files, *within))
    return replace(report, attribution=attribution, findings=tuple(_of_path(path, report)), everything=True)


def _of_path(path: str, report: VerifyReport) -> list[Finding]:
    """Return the findings on a path, and on what is within it."""
    return [one for one in report.findings if one.path.startswith(_prefix(path)) or _concerns(one.path, path)]


def _of_rule(code: str, report: VerifyReport) -> list[Finding]:
    return [finding for finding in report.findings if finding.rule.code == code.upper()]


def _found(target: str, report: VerifyReport) -> tuple[str, _Files, _Files]:
    """Return a path in its common form, the files that have it, and those within it. Raises Failure without any."""
    if not target:
        message = "--explain must be the code of a rule or a path in the image (got nothing). To fix it: name one."
        raise Failure(message, CANNOT_CHECK)
    # A name may have a line break or another control character in it, which the report escapes.
    path = posixpath.normpath(f"/{target.lstrip('/')}")
    files = tuple(one for one in report.attribution.files if one[0].path == path)
    within = tuple(one for one in report.attribution.files if one[0].path.startswith(_prefix(path)))
    if not files and not within:
        raise Failure(_missing(path, report.attribution), CANNOT_CHECK)
    return path, files, within


def _prefix(path: str) -> str:
    """Return how the paths within a folder begin."""
    return f"{path.rstrip('/')}/"


def is_rule(target: str) -> bool:
    """Return whether a text is the code of a rule, and not a path."""
    return _CODE.fullmatch(target) is not None


def explain_rule(code: str) -> list[str]:
    """Return the lines on a rule. Raises Failure where no rule has the code."""
    rule = next((rule for rule in rules.RULES if rule.code == code.upper()), None)
    if rule is None:
        message = (
            f"--explain must be the code of a rule or a path in the image (got {code.upper()}). To fix it: use a code "
            "that the report prints."
        )
        raise Failure(message, CANNOT_CHECK)
    return [f"{rule.code} {rule.title}", rule.meaning, f"Usual cause: {rule.cause}", f"To fix it: {rule.remedy}"]


def _printable(lines: Sequence[str]) -> list[str]:
    return [text.printable(line) for line in lines]


def _file(path: str, files: _Files, report: VerifyReport) -> Iterator[str]:
    """Yield the origin of a path in each layer that has it."""
    yield path
    for number, (file, origin) in enumerate(files):
        yield f"  {_layer(file.layer, report)}"
        yield f"    {_described(file)}"
        yield f"    origin: {_named(origin)}"
        if compared := report.attribution.bytecode.get((file.layer, path)):
            source = compared.source
            place = f", compared with {source.path} of layer {source.layer + 1}" if source else ""
            yield f"    bytecode: {compared.state}{place}"
        replaced = [later.layer for later, _ in files[number + 1 :] if later.layer > file.layer]
        deleted = report.attribution.deleted.get((file.layer, path))
        gone = min([*replaced, *([] if deleted is None else [deleted])], default=None)
        if gone is not None:
            how = "deleted" if gone == deleted else "replaced"
            yield f"    still in the image, {how} by {_layer(gone, report)}"
        found = [
            finding
            for finding in report.findings
            if finding.layer in {None, file.layer} and _concerns(finding.path, path)
        ]
        yield from (f"    {line}" for line in _findings(found, report, with_layer=False))


def _folder(path: str, within: _Files, report: VerifyReport) -> Iterator[str]:
    """Yield what a folder has of each kind of origin."""
    size = text.size(sum(file.size for file, _ in within))
    layers = ", ".join(f"{layer + 1}" for layer in sorted({file.layer for file, _ in within}))
    yield f"{path}: {text.count(len(within), 'file')}, {size}, in {'layers' if ',' in layers else 'layer'} {layers}"
    yield from table(summary.rows(Attribution(within, {})))
    yield from _findings(_of_path(path, report), report)


def _findings(findings: Sequence[Finding], report: VerifyReport, *, with_layer: bool = True) -> Iterator[str]:
    for finding in sorted(findings, key=lambda one: one.rule.code):
        layer = f", layer {finding.layer + 1}" if with_layer and finding.layer is not None else ""
        yield f"{finding.rule.code} {report.sentence(finding)}{layer}"


def _layer(number: int, report: VerifyReport) -> str:
    """Return a layer with its instruction, where it is recorded, and the base image, where it is one of its layers."""
    of_base = f" of the base image {report.base}" if number < report.base_layers else ""
    instruction = text.shortened(report.instruction(number), 400)
    return f"layer {number + 1}{of_base}{f': {instruction}' if instruction else ''}"


def _described(file: File) -> str:
    kind = f"link to {file.target}" if file.target else "file"
    parts = [kind, text.size(file.size), f"mode {file.mode:04o}", f"owner {file.owner[0]}:{file.owner[1]}"]
    parts += [file.extra] if file.extra else []
    return ", ".join([*parts, f"sha256 {file.sha256}"] if file.sha256 else parts)


def _named(origin: Origin) -> str:
    what = f": {origin.what}" if origin.what else ""
    if origin.kind is Kind.UNEXPLAINED:
        return f"{origin.kind.value}{what}"
    reason = RECORDED.get(origin.kind, "by records in the image")
    return f"{origin.kind.value}{what}; {'proven' if origin.proven else f'not proven: {reason}'}"


def _concerns(named: str, path: str) -> bool:
    """Return whether a finding's path is a path, a folder above it, or a member of the archive at it."""
    return bool(named) and (named == path or path.startswith(f"{named.rstrip('/')}/") or named.startswith(f"{path}!/"))


def _parents(path: str) -> Iterator[str]:
    while path != "/":
        path = posixpath.dirname(path)
        yield path


def _missing(path: str, attribution: Attribution) -> str:
    """Return the message for a path that the image does not have, with those that are nearest to it."""
    paths = dict.fromkeys(file.path for file, _ in attribution.files)
    # What the end of a path names: `jinja2/utils.py`.
    near = [one for one in paths if one.endswith(path)] or [one for one in paths if _base(one) == _base(path)]
    if not near:
        above = next((one for one in _parents(path) if _has(one, paths)), "/")
        prefix = _prefix(above)
        names = {one[len(prefix) :].partition("/")[0] for one in paths if one.startswith(prefix)}
        wrong = path[len(prefix) :].partition("/")[0]
        near = [prefix + name for name in difflib.get_close_matches(wrong, sorted(names)[:_COMPARED])] or [above]
    named = ", ".join(text.printable(one) for one in near[:_NEAREST])
    return (
        f"--explain must be the code of a rule or a path in the image (got {text.printable(path)}, which no layer has)."
        f" To fix it: use a path that the image has, such as {named}."
    )


def _base(path: str) -> str:
    return path[path.rfind("/") + 1 :]


def _has(folder: str, paths: dict[str, None]) -> bool:
    return any(path.startswith(_prefix(folder)) for path in paths)
