"""Find the groups and extras, and the Debian packages, that a project's Dockerfiles install."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field

from prodlock.scaffold.declared import Deployment, instructions, is_of_development
from prodlock.scaffold.tree import Tree

_INSTALLS = re.compile(r"\b(?:uv\s+(?:sync|export|pip\s+install)|poetry\s+(?:install|export)|pip3?\s+install)\b")
_PACKAGES = re.compile(r"\bapt(?:-get)?\s+(?:-\S+\s+)*install\b")
# What only a build from source needs.
_BUILD = re.compile(r".*-dev|build-essential|gcc|g\+\+|make|cmake|pkg-config|ca-certificates|python3?(?:-.*)?")
# Comments, and commands whose output is a part of another one: neither has names of packages.
_ASIDE = re.compile(r"`[^`]*`|\$\([^()]*\)|(?<!\S)#.*")
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+")
# Programs that download data of libraries, such as models and browsers.
_STEP = re.compile(
    r"\b(?:python[\d.]*\s+-m\s+)?(?:spacy\s+download|nltk\.downloader|playwright\s+install|textblob\.download_corpora"
    r"|unidic\s+download|(?:huggingface-cli|hf)\s+download|prisma\s+generate)\b[^&|;\n]*"
    r"""|\bpython[\d.]*\s+-c\s+(?P<mark>["'])(?:(?!(?P=mark)).)*(?:download|from_pretrained)(?:(?!(?P=mark)).)*(?P=mark)"""
)
_GROUPS = frozenset({"--group", "--only-group", "--with", "--only"})
_WITHOUT = frozenset({"--without", "--no-group"})
_NO_DEFAULTS = frozenset({"--only", "--only-group", "--no-default-groups"})
_EXTRAS = frozenset({"--extra", "--extras", "-E"})
# `pip install .[x]`.
_PROJECT = re.compile(r"(?:\.|\./|/\w+)\[([\w.,\s-]+)\]")


@dataclass
class Installed:
    """Groups and extras with the places that install them, and the place that installs all extras."""

    groups: dict[str, str] = field(default_factory=dict)
    extras: dict[str, str] = field(default_factory=dict)
    all_extras: str = ""
    # The groups that are left out of those that a tool installs by default, and whether all are.
    excluded: set[str] = field(default_factory=set)
    no_defaults: bool = False


def find(tree: Tree, deployment: Deployment) -> Installed:
    """Return what the Dockerfiles install, without those of development."""
    found = Installed()
    for path in deployment.dockerfiles:
        if is_of_development(path):
            continue
        for kind, text in instructions(tree.text(path)):
            if kind == "RUN" and _INSTALLS.search(text):
                _add(found, list(_words(deployment.expanded(text))), f"RUN of {path}")
    return found


def packages(tree: Tree, deployment: Deployment) -> dict[str, str]:
    """Return the Debian packages that the Dockerfiles install, with their places, without those of a build alone."""
    found: dict[str, str] = {}
    for path in deployment.dockerfiles:
        for kind, text in instructions(tree.text(path)):
            run = _ASIDE.sub(" ", deployment.expanded(text)) if kind == "RUN" else ""
            for piece in re.split(r"&&|\|\||[;\n]", run):
                if installs := _PACKAGES.search(piece):
                    names = (word.partition("=")[0] for word in piece[installs.end() :].split())
                    found |= {name: path for name in names if _PACKAGE.fullmatch(name) and not _BUILD.fullmatch(name)}
    return dict(sorted(found.items()))


def steps(tree: Tree, deployment: Deployment) -> dict[str, str]:
    """Return the commands by which Dockerfiles write further files into an image, with their places."""
    found: dict[str, str] = {}
    for path in deployment.dockerfiles:
        for kind, text in () if is_of_development(path) else instructions(tree.text(path)):
            for step in _STEP.finditer(deployment.expanded(text)) if kind == "RUN" else ():
                found[" ".join(step[0].split())] = path
    return found


def _add(found: Installed, words: list[str], where: str) -> None:
    for word, following in zip(words, [*words[1:], ""], strict=True):
        option, equals, value = word.partition("=")
        names = [one for one in re.split(r"[,\s]+", value if equals else following) if one]
        found.no_defaults |= option in _NO_DEFAULTS
        if option in _GROUPS:
            found.groups |= dict.fromkeys(names, where)
        elif option in _WITHOUT:
            found.excluded |= {*names}
        elif option in _EXTRAS:
            found.extras |= dict.fromkeys(names, where)
        elif option == "--all-extras":
            found.all_extras = where
        elif project := _PROJECT.fullmatch(word):
            found.extras |= dict.fromkeys(re.split(r"\s*,\s*", project[1].strip()), where)


def _words(text: str) -> Iterator[str]:
    for piece in re.split(r"&&|\|\||;", text):
        try:
            yield from shlex.split(piece, comments=True)
        except ValueError:
            continue
