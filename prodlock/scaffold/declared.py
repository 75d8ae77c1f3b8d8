"""Read the commands, ports and images that a project's own files of deployment declare."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from prodlock.scaffold.tree import Tree

DOCKERFILES = r"(?:.*\.)?Dockerfile(?:\..*)?"
COMPOSE = r"(?:docker-)?compose(?:[.-][^/]*)?\.ya?ml"
_RUNNERS = (("poetry", "run"), ("uv", "run"), ("pipenv", "run"), ("pdm", "run"), ("exec",), ("python", "-m"),
            ("python3", "-m"))  # fmt: skip
_SHELL = re.compile(r"\s*(?:&&|\|\||;|\||\n)\s*")


class Declared(NamedTuple):
    """A command, its place, and the Compose service or process type that it belongs to."""

    words: tuple[str, ...]
    where: str
    name: str = ""

    @property
    def program(self) -> str:
        """Return the name of the program."""
        return PurePosixPath(self.words[0]).name


def commands(tree: Tree) -> list[Declared]:  # noqa: C901, PLR0912
    """Return all commands that the project's files of deployment declare."""
    found: list[Declared] = []
    for path in tree.named(DOCKERFILES):
        last = {kind: text for kind, text in instructions(tree.text(path)) if kind in {"CMD", "ENTRYPOINT"}}
        for instruction, text in last.items():
            found += _split(text, f"{instruction} of {path}")
    for path in tree.named("Procfile"):
        for line in tree.text(path).splitlines():
            name, colon, text = line.partition(":")
            if colon and not name.strip().startswith("#"):
                found += _split(text, path, name.strip())
    for path in tree.named(COMPOSE):
        for service, keys in services(tree.text(path)).items():
            for key in ("entrypoint", "command"):
                found += _split(keys.get(key, ""), path, service)
    for path in tree.named(r"Makefile|[^/]*\.sh"):
        for line in re.sub(r"\\\r?\n", " ", tree.text(path)).splitlines():
            found += _split(line.strip().lstrip("@-"), path)
    for path in tree.named(r"pyproject\.toml"):
        tool = toml(tree, path).get("tool", {})
        for name in ("poe", "taskipy", "pdm", "hatch"):
            for text in _strings(tool.get(name, {}) if isinstance(tool, Mapping) else {}):
                found += _split(text, path)
    return found


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """Yield the instructions of a Dockerfile with their arguments."""
    joined = re.sub(r"\\\r?\n(?:\s*#.*\n)*", " ", text)
    for line in joined.splitlines():
        found = re.match(r"\s*([A-Za-z]+)\s+(.*)", line)
        if found:
            yield found[1].upper(), found[2].strip()


def services(text: str) -> dict[str, dict[str, str]]:
    """Return the keys of a Compose file's services, as text; a list is JSON. What has another form is left out."""
    found: dict[str, dict[str, str]] = {}
    service, key, inside = "", "", False
    depth = level = 0
    for line in text.splitlines():
        bare = re.sub(r"(?:^|\s)#.*$", "", line).rstrip()
        if not bare.strip():
            continue
        indent = len(bare) - len(bare.lstrip())
        pair = re.match(r"""\s*["']?([\w.-]+)["']?:(?:\s+(.*))?$""", bare)
        if indent == 0:
            inside, service, depth, level = bare == "services:", "", 0, 0
        elif inside and pair and (not depth or indent == depth):
            depth, level, service, key = indent, 0, pair[1], ""
            found[service] = {}
        elif service and pair and (not level or indent == level):
            level, key = indent, pair[1]
            found[service][key] = (pair[2] or "").strip()
        elif service and key and bare.lstrip().startswith("- "):
            listed = found[service][key]
            item = bare.lstrip()[2:].strip().strip("\"'")
            items = json.loads(listed) if listed.startswith("[") and key in {"command", "entrypoint", "ports"} else []
            if not listed or items:
                found[service][key] = json.dumps([*items, item])
        elif service and key and found[service][key][:1] in {">", "|"}:
            found[service][key] += " " + bare.strip()
    return found


def ports(tree: Tree, served: Declared | None) -> Iterator[tuple[int, str]]:
    """Yield the ports of the service with their places, the most certain one first."""
    if served:
        found = re.search(r"(?:--port[= ]|-p |(?:--bind|-b)[= ]\S*?:)(?:\$\{?\w+:-)?(\d+)", " ".join(served.words))
        if found:
            yield int(found[1]), served.where
    for path in tree.named(DOCKERFILES):
        for instruction, text in instructions(tree.text(path)):
            if instruction == "EXPOSE" and (number := re.match(r"\d+", text)):
                yield int(number[0]), path


def toml(tree: Tree, path: str) -> Mapping[str, Any]:
    """Return the content of a TOML file, which is empty where it can't be read."""
    try:
        return tomllib.loads(tree.text(path))
    except ValueError:
        return {}


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list):
        for one in value.values() if isinstance(value, Mapping) else value:
            yield from _strings(one)


def _split(text: str, where: str, name: str = "") -> Iterator[Declared]:
    """Yield the commands of a text: a list in JSON, or a line of a shell."""
    text = text.strip()
    if text[:1] in {">", "|"}:
        text = text.lstrip(">|-+ ")
    try:
        listed = json.loads(text) if text.startswith("[") else None
    except ValueError:
        listed = re.findall(r"""["']([^"']*)["']""", text)
    if isinstance(listed, list) and listed:
        words = [str(one) for one in listed]
        if PurePosixPath(words[0]).name in {"sh", "bash"}:
            yield from _split(words[-1], where, name)
            return
        pieces = [words]
    else:
        pieces = []
        for piece in _SHELL.split(text):
            try:
                pieces.append(shlex.split(piece, comments=True))
            except ValueError:
                continue
    for words in map(_bare, pieces):
        if len(words[1:]) > 1 and PurePosixPath(words[0]).name in {"sh", "bash"} and words[1].endswith("c"):
            yield from _split(words[2], where, name)
        elif words:
            yield Declared(tuple(words), where, name)


def _bare(words: list[str]) -> list[str]:
    """Remove assignments of variables and programs that start another one."""
    while words:
        if "=" in words[0] and not words[0].startswith("-"):
            words = words[1:]
            continue
        runner = next((one for one in _RUNNERS if tuple(words[: len(one)]) == one), None)
        if runner is None or (runner[-1] == "-m" and "." in (words[2:3] or ["."])[0]):
            break
        words = words[len(runner) :]
        # Options of `uv run` without a value.
        while words and runner[-1] == "run" and words[0].startswith("--"):
            words = words[1:]
    return words
