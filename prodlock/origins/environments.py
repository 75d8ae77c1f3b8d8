"""Find the Python distributions that an image has metadata of, wherever they are."""

from __future__ import annotations

import csv
import io
import json
import posixpath
import re
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from prodlock.image.records import File
from prodlock.inside.lock.selection import normalized, packaging
from prodlock.origins.records import Installed, Subject
from prodlock.origins.visible import Layers
from prodlock.proof.judges.paths import is_below

_Held = TypeVar("_Held")
# The metadata of a distribution: METADATA since PEP 376, PKG-INFO of setuptools, or an egg-info that is one file.
_METADATA = re.compile(
    r"(?s)(?P<info>(?P<site>.*)/[^/]+\.(?:dist-info|egg-info))/(?:METADATA|PKG-INFO)|(?P<file>(?P<folder>.*)/[^/]+\.egg-info)"
)
_FIELD = re.compile(rb"(?m)^(Name|Version):[ \t]*([^\r\n]*)")
# A relative path that is not in its shortest form, and any absolute one.
_UNUSUAL = re.compile(r"(?:^|/)(?:[./]|$)")
# The folder of bytecode beside its sources, and what separates a module's name from the interpreter's (PEP 3147).
BYTECODE_FOLDER = "/__pycache__"
_TAG = re.compile(r"\.(?=cpython-|pypy|graalpy)")
# Folders that Python imports from, whether or not they have a distribution.
SITE = re.compile(r"(?s)(?P<prefix>.*)/lib(?:64)?/python(?P<version>3(?:\.\d+)?)t?/(?:site|dist)-packages")
# The folder that PDM installs modules to without an environment (PEP 582).
_LOCAL_PACKAGES = re.compile(r"(?s)(?P<prefix>.*/__pypackages__/3\.\d+)/lib")
# The folder of an interpreter: its standard library, and all that is below it.
LIBRARY = re.compile(r"/lib(?:64)?/python3\.\d+t?(?:/|$)")


def find(subject: Subject, layers: Layers) -> list[Installed]:
    """Return the distributions of all layers, also of layers that are hidden by later ones."""
    files = {(file.layer, file.path): file for file in subject.image.files if not (file.packed or file.directory)}
    return list(_found(files, subject.content, layers))


def _found(
    files: Mapping[tuple[int, str], File], content: Callable[[File], bytes], layers: Layers
) -> Iterator[Installed]:
    for (layer, path), file in files.items():
        match = _METADATA.fullmatch(path) if path.endswith(("/METADATA", "/PKG-INFO", ".egg-info")) else None
        if not match or not file.sha256:
            continue
        info = match["info"] or match["file"]

        def text(name: str, layer: int = layer, info: str = info) -> str:
            found = below(files, layer, f"{info}/{name}")
            return content(found).decode(errors="replace") if found and found.sha256 else ""

        head = content(file).partition(b"\n\n")[0]
        fields = {key.decode(): value.decode(errors="replace").strip() for key, value in reversed(_FIELD.findall(head))}
        stem = posixpath.basename(info).rpartition(".")[0]
        direct = _direct(text("direct_url.json"))
        yield Installed(
            normalized(fields.get("Name") or stem.partition("-")[0]),
            fields.get("Version") or stem.partition("-")[2],
            match["site"] or match["folder"],
            info,
            layer,
            not layers.is_seen(path, layer),
            frozenset(re.findall(r"(?m)^Tag:[ \t]*(\S+)", text("WHEEL"))),
            rows(text("RECORD"), posixpath.dirname(info)) or _listed(text("installed-files.txt"), info),
            text("INSTALLER").strip(),
            str(direct.get("url", "")),
            _is_editable(direct),
        )


def below(files: Mapping[tuple[int, str], _Held], layer: int, path: str) -> _Held | None:
    """Return what a layer, or else the nearest one below it, has at a path: a later layer may replace a single file."""
    return next((files[number, path] for number in range(layer, -1, -1) if (number, path) in files), None)


def rows(text: str, site: str) -> dict[str, str]:
    """Return the absolute path of each file in a RECORD, with its hash."""
    try:
        found = [row for row in csv.reader(io.StringIO(text)) if row and row[0]]
    except csv.Error:
        return {}
    folder = site.rstrip("/") + "/"
    return {
        posixpath.normpath(posixpath.join(site, row[0])) if _UNUSUAL.search(row[0]) else f"{folder}{row[0]}": (
            row[1] if len(row) > 1 else ""
        )
        for row in found
    }


def _listed(text: str, info: str) -> dict[str, str]:
    """Return the absolute path of each file that setuptools installed, relative to the metadata's folder."""
    return {posixpath.normpath(posixpath.join(info, line.strip())): "" for line in text.splitlines() if line.strip()}


def _direct(text: str) -> Mapping[str, object]:
    """Return the content of a direct_url.json (PEP 610); nothing where it is not one."""
    try:
        document = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _is_editable(direct: Mapping[str, object]) -> bool:
    folder = direct.get("dir_info")
    return isinstance(folder, dict) and folder.get("editable") is True


def moved(path: str, site: str) -> str:
    """Return where `pip install --target` has a file that RECORD lists outside of the folder of the modules.

    It moves scripts and data beside the modules, and leaves RECORD unchanged.
    """
    return posixpath.join(site, posixpath.relpath(path, posixpath.dirname(posixpath.dirname(site))))


def prefix(site: str) -> str:
    """Return the folder that scripts and data of a site are installed to, in `bin` and below it.

    Beside the modules themselves, as `pip install --target` does, where the folder is not site-packages.
    """
    match = SITE.fullmatch(site) or _LOCAL_PACKAGES.fullmatch(site)
    # Debian's own Python installs what pip brings to /usr/local.
    return match["prefix"] if match else site


def source_path(path: str, mirror: str = "") -> str:
    """Return the path of the source of a bytecode file (PEP 3147).

    `mirror` is the folder in which Python has the bytecode of all sources (PYTHONPYCACHEPREFIX).
    """
    folder, _, name = path.rpartition("/")
    if mirror and is_below(path, mirror):
        folder = folder.removeprefix(mirror)
    elif folder.endswith(BYTECODE_FOLDER):
        folder = folder.removesuffix(BYTECODE_FOLDER)
    else:
        return path.removesuffix("c")
    tag = _TAG.search(name)
    return f"{folder}/{name[: tag.start()] if tag else name.removesuffix('.pyc')}.py"


def is_same(version: str, other: str) -> bool:
    """Return whether two texts are one version (PEP 440): metadata has 2024.02.02 where a lock has 2024.2.2."""
    parse = packaging("version").Version
    try:
        return version == other or bool(parse(version) == parse(other))
    except ValueError:
        return False
