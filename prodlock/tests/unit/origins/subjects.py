"""Images that tests make of files alone."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence

from prodlock.image.records import File, Image, Layer
from prodlock.inside.lock.selection import Requirement
from prodlock.origins.attribution import Evidence, attribute
from prodlock.origins.environments import find
from prodlock.origins.findings import judge
from prodlock.origins.records import (
    Attribution,
    Bytecode,
    Locked,
    Member,
    Origin,
    Package,
    Python,
    Repository,
    Subject,
    Wheel,
)
from prodlock.origins.visible import Layers

SITE = "/usr/local/lib/python3.13/site-packages"
PYTHON = Python("3.13.5", "/usr/local/lib/python3.13", {})
# A file's content; of a link, `-> TARGET`; a mode behind the path after a space, such as `/bin/x 755`.
Contents = Mapping[str, bytes]


def sha256(content: bytes) -> str:
    """Return the sha256 of a content."""
    return hashlib.sha256(content).hexdigest()


def subject(*layers: Contents, base_layers: int = 1) -> Subject:
    """Return an image with these layers."""
    files, contents = [], {}
    for number, layer in enumerate(layers):
        for name, content in layer.items():
            path, _, mode = name.partition(" ")
            target = content[3:].decode() if content.startswith(b"-> ") else ""
            digest = "" if target or "/.wh." in path else sha256(content)
            file = File(
                path,
                number,
                len(content) * (not target),
                int(mode or "644", 8),
                target=target,
                sha256=digest,
                head=content[:1024],
            )
            files.append(file)
            contents[number, path] = content
    made = tuple(Layer(f"sha256:{number}", f"RUN step {number}") for number, _ in enumerate(layers))
    image = Image("shop", made, {}, {}, (), tuple(files))
    return Subject(image, "base", base_layers, lambda file: contents[file.layer, file.path])


def row(path: str, content: bytes) -> str:
    """Return a row of a RECORD."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    return f"{path},sha256={digest},{len(content)}"


def distribution(
    name: str, version: str, modules: Contents, site: str = SITE, commands: Mapping[str, str] | None = None
) -> tuple[dict[str, bytes], Wheel]:
    """Return the files of an installed distribution, and its wheel. The modules' paths are relative to the site."""
    info = f"{name}-{version}.dist-info"
    entries = "".join(f"{command} = {entry}\n" for command, entry in (commands or {}).items())
    plain = dict(modules) | {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\nText\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nTag: py3-none-any\n",
    }
    if entries:
        plain[f"{info}/entry_points.txt"] = f"[console_scripts]\n{entries}".encode()
    record = "\n".join([*(row(path, content) for path, content in plain.items()), f"{info}/RECORD,,\n"]).encode()
    members = {path: Member(sha256(content), len(content)) for path, content in plain.items()}
    members[f"{info}/RECORD"] = Member(sha256(record), len(record))
    wheel = Wheel(name, version, f"{name}-{version}-py3-none-any.whl", "0" * 64, members, dict(commands or {}))
    installed = {f"{site}/{path}": content for path, content in plain.items()}
    rows = record + row(f"{info}/INSTALLER", b"pip\n").encode() + b"\n"
    return installed | {f"{site}/{info}/RECORD": rows, f"{site}/{info}/INSTALLER": b"pip\n"}, wheel


def requirement(name: str, version: str) -> Requirement:
    """Return a locked distribution."""
    return Requirement(name, version, ((f"{name}-{version}-py3-none-any.whl", "sha256:" + "0" * 64),))


def evidence(  # noqa: PLR0913 - what an origin is derived from
    image: Subject,
    wheels: Sequence[Wheel] = (),
    *,
    main: Sequence[Requirement] = (),
    dev: Sequence[Requirement] = (),
    repository: Mapping[str, bytes] | None = None,
    debian: Mapping[tuple[int, str], Package] | None = None,
    own: frozenset[str] = frozenset(),
) -> Evidence:
    """Return evidence: the wheels are locked, and chosen for the distributions of their names and versions."""
    layers = Layers(image.image.files)
    installed = tuple(find(image, layers))
    by_version = {(wheel.name, wheel.version): wheel for wheel in wheels}
    locked = {wheel.name: requirement(wheel.name, wheel.version) for wheel in wheels}
    files: dict[str, list[str]] = {}
    for path, content in (repository or {}).items():
        if content:
            files.setdefault(sha256(content), []).append(path)
    empty = frozenset(path for path, content in (repository or {}).items() if not content)
    return Evidence(
        image,
        PYTHON,
        Locked("poetry.lock", locked | {one.name: one for one in main}, {one.name: one for one in dev}, "fresh"),
        installed,
        {
            (one.layer, one.info): by_version[one.name, one.version]
            for one in installed
            if (one.name, one.version) in by_version
        },
        Repository("commit 1", files, empty),
        debian or {},
        layers,
        own,
    )


def attributed(given: Evidence, bytecode: Mapping[tuple[int, str], Bytecode] | None = None) -> Attribution:
    """Return the origins, with what a comparison of bytecode gives."""
    return attribute(given, lambda _files, _sources: bytecode or {})


def origins(given: Evidence, bytecode: Mapping[tuple[int, str], Bytecode] | None = None) -> dict[str, Origin]:
    """Return the origin of each path; of a path in several layers that of the last one."""
    return {file.path: origin for file, origin in attributed(given, bytecode).files}


def found(
    given: Evidence, bytecode: Mapping[tuple[int, str], Bytecode] | None = None, *, strict: bool = False
) -> set[tuple[str, str]]:
    """Return code and path of each finding."""
    return {(one.rule.code, one.path) for one in judge(given, attributed(given, bytecode), strict=strict)}
