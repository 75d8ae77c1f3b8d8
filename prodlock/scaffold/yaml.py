"""Read the keys of a Compose file's services, line by line: the standard library has no reader of YAML.

What has another form than the usual ones is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_PAIR = re.compile(r"""\s*["']?([\w.-]+)["']?:(?:\s+(.*))?$""")
_ITEM = re.compile(r"""\s*(?:"((?:[^"\\]|\\.)*)"|'([^']*)'|([^,\[\]"']+))\s*(?:,|$)""")
_COMMENT = re.compile(r"(?:^|\s)#.*$")


@dataclass(frozen=True)
class Value:
    """A text, or a list of texts."""

    text: str = ""
    items: tuple[str, ...] | None = None

    def __iter__(self) -> Iterator[str]:
        """Yield the items, or the text."""
        yield from (self.text,) if self.items is None else self.items


@dataclass
class _Lines:
    """The lines of a key."""

    first: str
    rest: list[str] = field(default_factory=list)

    def value(self) -> Value:
        """Return the value that they give."""
        first = self.first
        if first[:1] in {"|", ">"}:
            return Value(("\n" if first[0] == "|" else " ").join(self.rest))
        if first.startswith("["):
            inside = " ".join([first, *self.rest]).removeprefix("[").rpartition("]")[0]
            return Value(items=tuple(next(filter(None, found), "").strip() for found in _ITEM.findall(inside)))
        if not first and self.rest and self.rest[0].startswith("-"):
            return Value(items=tuple(_plain(line[1:].strip()) for line in self.rest if re.match(r"-(\s|$)", line)))
        return Value(_plain(" ".join([first, *self.rest]).strip()))


def services(text: str) -> dict[str, dict[str, Value]]:
    """Return the keys of each service."""
    found: dict[str, dict[str, _Lines]] = {}
    keys: dict[str, _Lines] | None = None
    lines: _Lines | None = None
    inside = False
    depth = level = 0
    for line in text.splitlines():
        bare = _COMMENT.sub("", line).rstrip()
        if not bare:
            continue
        indent = len(bare) - len(bare.lstrip())
        pair = _PAIR.match(bare)
        if indent == 0:
            inside, keys, lines, depth, level = bare == "services:", None, None, 0, 0
        elif inside and pair and indent == (depth or indent):
            depth, level, lines = indent, 0, None
            keys = found[pair[1]] = {}
        elif keys is not None and pair and indent == (level or indent):
            level = indent
            lines = keys[pair[1]] = _Lines((pair[2] or "").strip())
        elif lines is not None:
            lines.rest.append(bare.strip())
    return {name: {key: one.value() for key, one in keys.items()} for name, keys in found.items()}


def _plain(text: str) -> str:
    """Remove the quotation marks around a text."""
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else text
