"""Report where an image's bytes are as one HTML page, with a picture.

The page has no script and loads nothing. Names in an image may be hostile: all of them are escaped.
"""

from __future__ import annotations

import html
import itertools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from prodlock.failure import CANNOT_CHECK, Failure
from prodlock.origins import summary, text
from prodlock.origins.records import Kind
from prodlock.origins.report import INPUTS, RECORDED, VerifyReport
from prodlock.origins.treemap import Box, squarify
from prodlock.proof.rules import Finding, Rule

# How many findings of a rule are shown before the reader asks for more.
_SHOWN = 10
# Of the letters in the picture: the size, and the average width as a part of it.
_LETTER, _WIDTH = 13, 0.62
# The fewest letters of a name that identify it.
_LEGIBLE = 4
# The space around a kind of origin, and between its folders.
_MARGIN, _GAP = 2.0, 0.5
# Fills of the kinds of origins in a light and in a dark scheme, for dark and for light letters.
FILLS = {
    Kind.BASE: ("#ccd4dd", "#3c4754"),
    Kind.WHEEL: ("#b5d6f2", "#1d4b72"),
    Kind.BYTECODE: ("#d6caef", "#4a3c70"),
    Kind.INSTALLER: ("#f1dfaa", "#5c4a12"),
    Kind.REPOSITORY: ("#bde2bf", "#22552a"),
    Kind.DEBIAN: ("#e8d0bb", "#604329"),
    Kind.UNEXPLAINED: ("#f7aaa0", "#8a2a20"),
}
# Letters and background in a light and in a dark scheme.
INK, PAPER = ("#16191d", "#eceff2"), ("#ffffff", "#14181c")

# The folders of modules in an environment.
_ENVIRONMENT = re.compile(r"/(?:site|dist)-packages/")

_STYLE = """\
:root { color-scheme: light dark; --line: #c4cad1; --soft: #59626c; --bad: #a3170c; VARIABLES_LIGHT }
@media (prefers-color-scheme: dark) {
  :root { --line: #444d57; --soft: #a8b1bb; --bad: #ff9d92; VARIABLES_DARK }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 64rem; padding: 1rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.45 system-ui, sans-serif; overflow-wrap: break-word; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; } h2 { font-size: 1.2rem; margin: 2rem 0 .5rem; }
h3 { font-size: 1rem; margin: 1.25rem 0 .25rem; } p { margin: .25rem 0; }
code { font: .9em ui-monospace, monospace; unicode-bidi: isolate; overflow-wrap: anywhere; }
.soft { color: var(--soft); } .verdict { font-weight: 600; margin: .75rem 0; } .bad { color: var(--bad); }
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; }
th, td { border-bottom: 1px solid var(--line); padding: .25rem .5rem .25rem 0; text-align: left; vertical-align: top; }
th:last-child, td:last-child { padding-right: 0; }
.number { text-align: right; font-variant-numeric: tabular-nums; } td.number { white-space: nowrap; }
.swatch { display: inline-block; border-left: .8em solid; padding-left: .4em; }
figure { margin: 0; } figure > svg { display: block; width: 100%; height: auto; }
svg text { font: 13px system-ui, sans-serif; fill: var(--ink); } svg .kind { font-weight: 600; }
svg .cell { stroke: var(--paper); stroke-width: .5; } .narrow { display: none; max-width: 30rem; }
ul { margin: .25rem 0; padding-left: 1.25rem; } summary { cursor: pointer; }
@media (max-width: 45rem) { .wide { display: none; } .narrow { display: block; } table { font-size: .875rem; } }
"""


class _Part(NamedTuple):
    """A kind of origin in the picture, with its folders."""

    kind: Kind
    size: int
    cells: Sequence[summary.Total]


def write(report: VerifyReport, file: Path) -> None:
    """Write the page into a file. Raises Failure where that is not possible."""
    try:
        file.write_text(page(report), encoding="utf-8")
    except OSError as error:
        message = f"{file} must be a file that can be written (got: {error.strerror}). To fix it: name another file."
        raise Failure(message, CANNOT_CHECK) from None


def page(report: VerifyReport) -> str:
    """Return the page."""
    parts = _parts(report)
    name = _text(report.image)
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; "
            'img-src data:">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<link rel="icon" href="data:,">',
            f"<title>{name}: where every byte comes from</title>",
            f"<style>\n{_style()}</style>",
            "</head>",
            "<body>",
            *_heading(report),
            *_origins(report),
            *_picture(report, parts),
            *_findings(report),
            *_unproven(report),
            *_layers(report),
            "</body>",
            "</html>",
            "",
        ]
    )


def _text(value: str) -> str:
    """Return a text for HTML."""
    return html.escape(text.printable(value))


def _code(value: str) -> str:
    return f"<code>{_text(value)}</code>"


def _style() -> str:
    variables = []
    for scheme in (0, 1):
        fills = [f"--{kind.name.lower()}: {fills[scheme]};" for kind, fills in FILLS.items()]
        variables.append(" ".join([f"--ink: {INK[scheme]};", f"--paper: {PAPER[scheme]};", *fills]))
    light, dark = variables
    return _STYLE.replace("VARIABLES_LIGHT", light).replace("VARIABLES_DARK", dark)


def _heading(report: VerifyReport) -> Iterator[str]:
    files, layers = len(report.attribution.files), len(report.layers)
    yield f"<h1>{_text(report.image)}</h1>"
    yield f'<p class="soft">{_code(report.identifier)}</p>'
    yield (
        f"<p>{text.count(layers, 'layer')}, {text.count(files, 'file')}, {text.size(report.size)}; base image "
        f"{_code(report.base)} ({report.extent_of_base}); lock {_code(report.lock)} "
        f"({_text(INPUTS.get(report.inputs, report.inputs))})</p>"
    )
    yield f'<p class="verdict{"" if report.clean else " bad"}">{_text(report.verdict())}</p>'
    yield from (f"<p>{_text(note)}</p>" for note in report.notes)


def _table(heads: Sequence[str], numbers: int, rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield a table; the last columns, as many as `numbers`, have numbers. The cells are HTML."""
    classes = [""] * (len(heads) - numbers) + [' class="number"'] * numbers
    yield '<div class="scroll"><table><thead><tr>'
    yield "".join(f'<th scope="col"{kind}>{head}</th>' for head, kind in zip(heads, classes, strict=True))
    yield "</tr></thead><tbody>"
    for row in rows:
        yield f"<tr>{''.join(f'<td{kind}>{cell}</td>' for cell, kind in zip(row, classes, strict=True))}</tr>"
    yield "</tbody></table></div>"


def _origins(report: VerifyReport) -> Iterator[str]:
    yield "<h2>Origins</h2>"
    rows = [
        [
            _swatch(row.kind),
            text.share(row.size, report.size),
            f"{row.files:,}",
            text.size(row.size),
            text.size(row.unproven_size) if row.unproven_files else "",
        ]
        for row in report.rows
    ]
    unproven = any(row.unproven_files for row in report.rows)
    heads = ["Origin", "Share", "Files", "Size", "Not proven"]
    # The last column only where it has something.
    yield from _table(
        heads if unproven else heads[:-1], 4 if unproven else 3, [row[: 5 if unproven else 4] for row in rows]
    )


def _swatch(kind: Kind) -> str:
    return f'<span class="swatch" style="border-color: var(--{kind.name.lower()})">{kind.value}</span>'


def _parts(report: VerifyReport) -> list[_Part]:
    """Return the kinds of origins that have bytes, the largest first."""
    files = {kind: [file for file, origin in report.attribution.files if origin.kind is kind] for kind in Kind}
    parts = [_Part(row.kind, row.size, summary.cells(files[row.kind], report.size)) for row in report.rows if row.size]
    return sorted(parts, key=lambda part: -part.size)


def _picture(report: VerifyReport, parts: Sequence[_Part]) -> Iterator[str]:
    yield "<h2>Where the bytes are</h2>"
    if not parts:
        yield "<p>The image has no bytes.</p>"
        return
    yield "<figure>"
    # Letters keep their size on a narrow screen.
    yield from _svg(report, parts, "wide", Box(0, 0, 960, 540))
    yield from _svg(report, parts, "narrow", Box(0, 0, 360, 600))
    yield "</figure>"
    yield "<details><summary>The picture as a table</summary>"
    rows = [
        [
            _swatch(part.kind),
            _code(cell.name),
            text.share(cell.size, report.size),
            f"{cell.files:,}",
            text.size(cell.size),
        ]
        for part in parts
        for cell in part.cells
    ]
    yield from _table(["Origin", "Folder", "Share", "Files", "Size"], 3, rows)
    yield "</details>"


def _svg(report: VerifyReport, parts: Sequence[_Part], name: str, box: Box) -> Iterator[str]:
    shares = ", ".join(f"{part.kind.value} {text.share(part.size, report.size)}" for part in parts)
    yield (
        f'<svg class="{name}" viewBox="0 0 {box.width:g} {box.height:g}" role="img" '
        f'aria-labelledby="{name}-title {name}-desc">'
    )
    yield f'<title id="{name}-title">Bytes of {_text(report.image)} by origin and folder</title>'
    yield f'<desc id="{name}-desc">Each area is in proportion to its bytes: {shares}. A table follows.</desc>'
    for part, area in zip(parts, squarify([part.size for part in parts], box), strict=True):
        yield from _kind(part, area.inside(_MARGIN), report.size)
    yield "</svg>"


def _kind(part: _Part, area: Box, whole: int) -> Iterator[str]:
    """Yield a kind of origin: its name above its folders where it has the place."""
    fill = f"var(--{part.kind.name.lower()})"
    title = f"{part.kind.value} {text.share(part.size, whole)}"
    label = _label(title, area, "kind")
    yield f"<g><title>{title}</title>{_rectangle(area, fill)}{label}</g>"
    inner = area.inside(_GAP, _LETTER + 6 if label else 0)
    for cell, place in zip(part.cells, squarify([cell.size for cell in part.cells], inner), strict=True):
        described = f"{cell.name}: {text.count(cell.files, 'file')}, {text.size(cell.size)}"
        yield f"<g><title>{_text(described)}</title>{_rectangle(place, fill)}{_label(_short(cell.name), place)}</g>"


def _short(folder: str) -> str:
    """Return what identifies a folder: its path in an environment, or else its name; with `/*` for the rest of one."""
    rest = "/*" if folder.endswith("/*") else ""
    path = folder.removesuffix("/*")
    inner = _ENVIRONMENT.split(path)[-1] if _ENVIRONMENT.search(path) else path[path.rfind("/") + 1 :]
    return f"{inner}{rest}" or "/"


def _rectangle(box: Box, fill: str) -> str:
    return f'<rect class="cell" {_attributes(box)} style="fill: {fill}"/>'


def _attributes(box: Box) -> str:
    return f'x="{box.x:.1f}" y="{box.y:.1f}" width="{box.width:.1f}" height="{box.height:.1f}"'


def _label(name: str, box: Box, kind: str = "folder") -> str:
    """Return a name at the top of a box as far as it fits; nothing where too little of it does."""
    fits = int((box.width - 8) / (_LETTER * _WIDTH))
    shown = text.printable(name)
    if box.height < _LETTER + 6 or fits < min(_LEGIBLE, len(shown)):
        return ""
    shown = html.escape(shown if len(shown) <= fits else f"{shown[: fits - 1]}…")
    # An inner drawing clips letters that are wider than the average.
    return f'<svg {_attributes(box)}><text class="{kind}" x="4" y="{_LETTER + 2}">{shown}</text></svg>'


def _findings(report: VerifyReport) -> Iterator[str]:
    if report.findings:
        yield "<h2>Findings</h2>"
    for rule, findings in report.grouped():
        yield from _rule(report, rule, findings)


def _rule(report: VerifyReport, rule: Rule, findings: Sequence[Finding]) -> Iterator[str]:
    yield f"<h3>{rule.code} {_text(rule.title)}: {text.count(len(findings), 'finding')}</h3>"
    yield f"<p>{_text(rule.meaning)}</p>"
    yield f'<p class="soft">Usual cause: {_text(rule.cause)} To fix it: {_text(rule.remedy)}</p>'
    yield from _list(report, findings[:_SHOWN])
    if len(findings) > _SHOWN:
        yield f"<details><summary>{len(findings) - _SHOWN:,} more</summary>"
        yield from _list(report, findings[_SHOWN:])
        yield "</details>"


def _list(report: VerifyReport, findings: Sequence[Finding]) -> Iterator[str]:
    for (layer, instruction), same in itertools.groupby(findings, lambda one: (one.layer, one.instruction)):
        place = [] if layer is None else [f"layer {layer + 1}"]
        if instruction:
            place.append(_code(text.shortened(text.instruction(instruction), 400)))
        yield f'<p class="soft">{": ".join(place)}</p>' if place else ""
        yield f"<ul>{''.join(f'<li>{_text(report.sentence(finding))}</li>' for finding in same)}</ul>"


def _unproven(report: VerifyReport) -> Iterator[str]:
    listed = summary.unproven(report.attribution)
    if listed:
        yield "<h2>Recorded, not proven</h2>"
    for kind in Kind:
        rows = [
            [_code(total.name), f"{total.files:,}", text.size(total.size)] for found, total in listed if found is kind
        ]
        if rows:
            yield f"<h3>{kind.value}: {_text(RECORDED.get(kind, 'by records in the image'))}</h3>"
            yield from _table(["Name", "Files", "Size"], 2, rows)


def _layers(report: VerifyReport) -> Iterator[str]:
    yield "<h2>Layers</h2>"
    sizes = [0] * len(report.layers)
    files = [0] * len(report.layers)
    for file, _ in report.attribution.files:
        sizes[file.layer] += file.size
        files[file.layer] += 1
    rows = [
        [
            f"{number + 1}",
            _layer(report, number),
            f"{files[number]:,}",
            text.size(sizes[number]),
        ]
        for number in range(len(report.layers))
    ]
    yield from _table(["Layer", "Instruction", "Files", "Size"], 2, rows)


def _layer(report: VerifyReport, number: int) -> str:
    """Return a layer's instruction, where it is recorded, and whether it is one of the base image."""
    instruction = text.shortened(report.instruction(number), 400)
    parts = [*(["base image"] if number < report.base_layers else []), *([_code(instruction)] if instruction else [])]
    return ": ".join(parts)
