"""Read the keys of a Compose file's services, line by line: the standard library has no reader of YAML.

Anchors, aliases, merge keys, and `extends` in one file are followed. What has another form than the usual ones is left
out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

_PAIR = re.compile(r"""\s*(?:"([^"]*)"|'([^']*)'|([\w.-]+|<<))\s*:(?:\s+(.*))?$""")
_ITEM = re.compile(r"""\s*(?:"((?:[^"\\]|\\.)*)"|'([^']*)'|([^,\[\]"']+))\s*(?:,|$)""")
# An entry of a mapping in one line: a text in quotation marks, a list or a mapping in it, and other texts.
_ENTRY = re.compile(r"""(?:"(?:[^"\\]|\\.)*"|'[^']*'|\[[^\]]*\]|\{[^{}]*\}|[^,"'\[\]{}])+""")
_COMMENT = re.compile(r"(?:^|\s)#.*$")
# The name of a value, and Compose's tags, such as `!override`.
_PROPERTIES = re.compile(r"(?:(?:&(?P<anchor>[^\s,\[\]{}]+)|!\w*)(?:\s+|$))+")
_ALIAS = re.compile(r"\*([^\s,\[\]{}]+)")
_MERGE = "<<"


@dataclass(frozen=True)
class Value:
    """A text, or a list of texts."""

    text: str = ""
    items: tuple[str, ...] | None = None

    def __iter__(self) -> Iterator[str]:
        """Yield the items, or the text."""
        yield from (self.text,) if self.items is None else self.items


@dataclass(eq=False)
class _Node:
    """A key's value: its first line, those that follow, and the keys of a mapping."""

    indent: int
    first: str = ""
    rest: list[str] = field(default_factory=list)
    keys: dict[str, _Node] = field(default_factory=dict)
    # The nodes that its aliases stand for.
    aliases: dict[str, _Node] = field(default_factory=dict)

    def value(self, seen: frozenset[_Node] = frozenset()) -> Value:
        """Return the text, or the list of texts, that the lines give."""
        if found := _ALIAS.fullmatch(self.first):
            other = self.aliases.get(found[1])
            return other.value(seen | {self}) if other and other not in seen else Value()
        if self.first[:1] in {"|", ">"}:
            return Value(("\n" if self.first[0] == "|" else " ").join(self.rest))
        if self.first.startswith("["):
            inside = " ".join([self.first, *self.rest]).removeprefix("[").rpartition("]")[0]
            items = (next(filter(None, found), "").strip() for found in _ITEM.findall(inside))
            return self._list(items, seen)
        if not self.first and self.rest and self.rest[0].startswith("-"):
            lines = (line[1:].strip() for line in self.rest if re.match(r"-(\s|$)", line))
            return self._list(map(_plain, lines), seen)
        return Value(_plain(" ".join([self.first, *self.rest]).strip()))

    def mapping(self, seen: frozenset[_Node] = frozenset()) -> dict[str, _Node]:
        """Return the keys, with those of an alias and of a merge key that the mapping does not have."""
        if found := _ALIAS.fullmatch(self.first):
            other = self.aliases.get(found[1])
            return other.mapping(seen | {self}) if other and other not in seen else {}
        keys = {name: one for name, one in self.keys.items() if name != _MERGE}
        for other in self.keys[_MERGE].aliases.values() if _MERGE in self.keys else ():
            if other not in seen:
                keys = other.mapping(seen | {self}) | keys
        return keys

    def _list(self, items: Iterator[str], seen: frozenset[_Node]) -> Value:
        """Return a list whose aliases are replaced by their texts; it is empty where one has no text."""
        found = []
        for item in items:
            alias = _ALIAS.fullmatch(item)
            other = self.aliases.get(alias[1]) if alias else None
            value = other.value(seen | {self}) if other and other not in seen else Value(item)
            if value.items is not None or (alias and not value.text) or value.text.startswith("*"):
                return Value(items=())
            found.append(value.text)
        return Value(items=tuple(found))


def services(text: str) -> dict[str, dict[str, Value]]:
    """Return the keys of each service."""
    top = _parsed(text).get("services", _Node(0)).mapping()
    return {name: {key: _value(key, one) for key, one in _extended(name, top).items()} for name in top}


def _value(key: str, node: _Node) -> Value:
    """Return the value of a key. Of a mapping: the names of `environment`, a part of `build` and `healthcheck`."""
    if inner := node.mapping().get({"build": "context", "healthcheck": "test"}.get(key, "")):
        return inner.value()
    names = tuple(node.mapping()) if key == "environment" else ()
    return Value(items=names) if names else node.value()


def _extended(name: str, services: Mapping[str, _Node], seen: frozenset[str] = frozenset()) -> dict[str, _Node]:
    """Return the keys of a service, with those of the one in the same file that it extends."""
    keys = services[name].mapping()
    extends = keys.get("extends", _Node(0))
    named = extends.mapping()
    other = (named.get("service", _Node(0)) if named else extends).value().text
    if other in services and other not in {*seen, name} and "file" not in named:
        return _extended(other, services, seen | {name}) | keys
    return keys


def _parsed(text: str) -> dict[str, _Node]:
    """Return the keys at the top of a document."""
    root = _Node(-1)
    anchors: dict[str, _Node] = {}
    open_nodes = [root]
    for line in text.splitlines():
        bare = _COMMENT.sub("", line).rstrip()
        if not bare or bare == "---":
            continue
        indent = len(bare) - len(bare.lstrip())
        # A list may begin, and a bracket may end, where the key does.
        while open_nodes[-1].indent >= indent + bare.lstrip().startswith(("-", "]", "}")) and len(open_nodes) > 1:
            open_nodes.pop()
        node = open_nodes[-1]
        pair = _PAIR.match(bare)
        if pair and not node.first and not node.rest:
            open_nodes.append(_added(node, indent, pair, anchors))
        else:
            node.rest.append(bare.strip())
            node.aliases |= _aliases(bare, anchors)
    return root.keys


def _added(node: _Node, indent: int, pair: re.Match[str], anchors: dict[str, _Node]) -> _Node:
    """Add a key to a mapping, and return its node."""
    name, first = pair[1] or pair[2] or pair[3] or "", (pair[4] or "").strip()
    added = node.keys[name] = _Node(indent)
    if properties := _PROPERTIES.match(first):
        first = first[properties.end() :]
    added.first, added.aliases = first, _aliases(first, anchors)
    if properties and properties["anchor"]:
        anchors[properties["anchor"]] = added
    if re.fullmatch(r"\{.*\}", first):
        for entry in _ENTRY.findall(first[1:-1]):
            if inner := _PAIR.match(entry.strip()):
                _added(added, indent + 1, inner, anchors)
    return added


def _aliases(text: str, anchors: Mapping[str, _Node]) -> dict[str, _Node]:
    return {name: anchors[name] for name in _ALIAS.findall(text) if name in anchors}


def _plain(text: str) -> str:
    """Remove the quotation marks around a text."""
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else text
