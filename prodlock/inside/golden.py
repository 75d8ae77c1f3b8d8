"""Compute what production may hold from its sources: the pinned base image, the locked wheels, the service.

    python -m prodlock.inside.golden world              in a build step: writes world.json
    python -m prodlock.inside.golden sources < TAR      prints world.json with the files of a tar of the sources

The computation is independent of the build: a wheel is accepted where its sha256 is in the lock's main group, and is
unpacked here (https://packaging.python.org/en/latest/specifications/binary-distribution-format/), so that neither the
installer nor a RECORD is trusted. Of the base image, production needs what collect.py takes. Each file is a row: path,
layer-independent facts, source, and whether it must be there.
"""

from __future__ import annotations

import base64
import configparser
import csv
import hashlib
import io
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from prodlock.inside import collect

HERE = Path(__file__).parents[2]
WORLD = HERE / "world.json"
VENV = Path("/opt/venv")
WHEELS = HERE / "wheels"
# The requirements that `inside/lock` selected from the lock.
SELECTION = HERE / "selection.json"
# dpkg's status file of the base image, before a package is added.
STATUS = HERE / "status"
# Folders of the kernel, of Docker and of this program.
FOREIGN = {"/dev", "/proc", "/run", "/sys", "/tmp", str(HERE)}  # noqa: S108
INSTALLER = "uv"
# The script that uv writes for an entry point (https://packaging.python.org/en/latest/specifications/entry-points/).
SCRIPT = """\
#!{python}
# -*- coding: utf-8 -*-
import sys
from {module} import {name}
if __name__ == "__main__":
    if sys.argv[0].endswith("-script.pyw"):
        sys.argv[0] = sys.argv[0][:-11]
    elif sys.argv[0].endswith(".exe"):
        sys.argv[0] = sys.argv[0][:-4]
    sys.exit({function}())
"""

# Path, kind (file, link, folder), permissions, sha256 or target, bytes, owner, source, whether it must be there.
Row = tuple[str, str, int, str, int, tuple[int, int], str, bool]
Sources = Callable[[str], str]


def rows(root: Path, source: Sources, *, required: bool, skipped: Iterable[str] = ()) -> Iterator[Row]:
    """Yield a row for each path below an image's root, except `skipped` files and the content of `skipped` folders."""
    left_out = set(skipped)
    for folder, folders, files in os.walk(root):
        at = PurePosixPath("/", Path(folder).relative_to(root).as_posix())
        for name in (*folders, *(name for name in files if str(at / name) not in left_out)):
            path = str(at / name)
            yield row(Path(folder, name), path, source(path), required=required)
        folders[:] = [name for name in folders if str(at / name) not in left_out]


def row(place: Path, path: str, source: str, *, required: bool) -> Row:
    """Return the row of one file, folder or link."""
    facts = place.lstat()
    mode, owner = stat.S_IMODE(facts.st_mode), (facts.st_uid, facts.st_gid)
    if place.is_symlink():
        return path, "link", mode, str(place.readlink()), 0, owner, source, required
    if place.is_dir():
        return path, "folder", mode, "", 0, owner, source, required
    digest = hashlib.sha256(place.read_bytes()).hexdigest()
    return path, "file", mode, digest, facts.st_size, owner, source, required


def mounted() -> set[str]:
    """Return the paths that the build step mounts over the image's (proc_pid_mountinfo(5))."""
    lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    return {line.split()[4] for line in lines}


def locked(selection: Path) -> dict[str, str]:
    """Return name and version of each distribution selected for main, by the sha256 of each of its files."""
    main = json.loads(selection.read_text(encoding="utf-8"))["groups"].get("main", [])
    return {digest: f"{one['name']} {one['version']}" for one in main for digest in one["sha256"]}


def unpack(wheel: Path, environment: Path, site_packages: Path) -> Iterator[Path]:
    """Install a wheel by the specification, and yield the path of each installed file."""
    with zipfile.ZipFile(wheel) as archive:
        described = next(name for name in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/WHEEL", name))
        metadata = described.removesuffix("/WHEEL")
        stem = metadata.removesuffix(".dist-info")
        places = {}
        for member in archive.infolist():
            if member.is_dir():
                continue
            place = destination(member.filename, stem, environment, site_packages)
            script = f"{stem}.data/scripts/" in member.filename
            content = archive.read(member)
            if script:
                # Replace the whole line, with the options of the interpreter.
                content = re.sub(rb"\A#!python[^\n]*\n?", f"#!{environment}/bin/python\n".encode(), content)
            write(place, content, executable=script or bool(member.external_attr >> 16 & 0o111))
            places[member.filename] = place
    information = site_packages / metadata
    added = [information / "INSTALLER", information / "REQUESTED"]
    write(added[0], INSTALLER.encode())
    write(added[1], b"")
    commands = dict(scripts(information / "entry_points.txt", environment))
    if name_of(stem) == "pip" and "pip" in commands:
        # Installers add a command of its own for the version of Python.
        commands[f"pip{site_packages.parent.name.removeprefix('python')}"] = commands["pip"]
    for name, text in commands.items():
        write(environment / "bin" / name, text.encode(), executable=True)
        added.append(environment / "bin" / name)
    write_record(information / "RECORD", places, added, site_packages)
    yield from {*places.values(), *added}


def destination(name: str, stem: str, environment: Path, site_packages: Path) -> Path:
    """Return the path that a member of a wheel is installed at. Raises ValueError outside the environment."""
    parts = PurePosixPath(name).parts
    base, rest = site_packages, parts
    if parts[0] == f"{stem}.data":
        headers = environment / "include" / "site" / site_packages.parent.name / name_of(stem)
        schemes = {"purelib": site_packages, "platlib": site_packages, "scripts": environment / "bin"}
        base, rest = (schemes | {"data": environment, "headers": headers})[parts[1]], parts[2:]
    place = base.joinpath(*rest)
    if ".." in rest or not place.is_relative_to(environment):
        message = f"{name} would leave the environment"
        raise ValueError(message)
    return place


def name_of(stem: str) -> str:
    """Return the normalized name of a distribution, from its `NAME-VERSION` (PEP 503)."""
    return re.sub(r"[-_.]+", "-", stem.rpartition("-")[0]).lower()


def scripts(entry_points: Path, environment: Path) -> Iterator[tuple[str, str]]:
    """Yield name and text of the script for each command that a distribution declares."""
    parser = configparser.ConfigParser(delimiters=("=",), interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    if entry_points.exists():
        parser.read(entry_points, encoding="utf-8")
    for group in ("console_scripts", "gui_scripts"):
        for name, reference in parser.items(group) if parser.has_section(group) else ():
            module, _, function = reference.partition("[")[0].strip().partition(":")
            python = environment / "bin" / "python"
            called = function.strip()
            yield name, SCRIPT.format(python=python, module=module.strip(), name=called.split(".")[0], function=called)


def write_record(record: Path, places: dict[str, Path], added: list[Path], site_packages: Path) -> None:
    """Write RECORD: the wheel's own rows, with those of changed files replaced, and rows for added files."""
    listed = csv.reader(io.StringIO(record.read_text(encoding="utf-8")))
    original = {line[0]: tuple(line[1:3]) for line in listed if line and line[0] in places}
    lines = []
    for name, place in places.items():
        changed = ".data/scripts/" in name
        digest, size = hashed(place) if changed else original.get(name, ("", str(place.stat().st_size)))
        lines.append((os.path.relpath(place, site_packages), *(("", "") if place == record else (digest, size))))
    lines += [(os.path.relpath(place, site_packages), *hashed(place)) for place in added]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(sorted(set(lines)))
    # The file keeps the permissions that it has in the wheel.
    record.write_bytes(text.getvalue().encode())


def hashed(place: Path) -> tuple[str, str]:
    """Return sha256 and size of a file as a RECORD has them."""
    content = place.read_bytes()
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    return f"sha256={digest}", str(len(content))


def write(place: Path, content: bytes, *, executable: bool = False) -> None:
    """Write a file, and set its permissions."""
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content)
    place.chmod(0o755 if executable else 0o644)


def install() -> tuple[dict[str, str], list[dict[str, str]]]:
    """Create the virtual environment from the wheels.

    Returns the source of each path, and name, version, file name and sha256 of each wheel.
    """
    known = locked(SELECTION)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(VENV)], check=True)
    for script in (VENV / "bin").glob("[Aa]ctivate*"):
        script.unlink()
    shutil.rmtree(VENV / "include")
    site_packages = Path(sysconfig.get_path("purelib", "venv", {"base": str(VENV), "platbase": str(VENV)}))
    brought, components = {}, []
    for wheel in sorted(WHEELS.glob("*.whl")):
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        if digest not in known:
            sys.exit(
                f"The package index must serve wheels with the sha256 in the lock (got {wheel.name} with another). To "
                "fix it: find out why before you change the lock."
            )
        name, _, version = known[digest].partition(" ")
        components.append({"name": name, "version": version, "file": wheel.name, "sha256": digest})
        for path in unpack(wheel, VENV, site_packages):
            brought[str(path)] = known[digest]
    absent = sorted(set(known.values()) - set(brought.values()))
    if absent:
        sys.exit(
            f"The package index must have a wheel of {absent[0]}, which the lock names (got none). To fix it: name an "
            "index that has it with INDEX_URL=ADDRESS."
        )
    compile_("venv", str(VENV))
    return brought, components


def compile_(*what: str) -> None:
    """Compile in a new process, as the build does: earlier compilations of a process show in the bytecode."""
    subprocess.run([sys.executable, "-S", str(Path(__file__).with_name("bytecode.py")), *what], check=True)


def sources(brought: dict[str, str]) -> Sources:
    """Return a function that returns the source of a path."""

    def source(path: str) -> str:
        if path in collect.WRITTEN or path.startswith(str(collect.DPKG / "status.d")):
            return "the build"
        plain = PurePosixPath(path)
        if plain.suffix == ".pyc":
            module = plain.parent.parent / f"{plain.name.partition('.')[0]}.py"
            return f"bytecode of {brought.get(str(module), 'the standard library')}"
        return brought.get(path, "Python's venv" if plain.is_relative_to(VENV) else "the base image")

    return source


def world() -> None:
    """Write world.json: the rows of the base image, of the lock and of the build."""
    base = list(rows(Path("/"), lambda _: "the base image", required=False, skipped=FOREIGN | mounted()))
    compile_("stdlib")
    brought, wheels = install()
    tree = HERE / "tree"
    collect.collect(str(tree), str(STATUS), str(VENV))
    place = collect.within(tree, VENV)
    place.parent.mkdir(exist_ok=True)
    VENV.rename(place)
    taken = list(rows(tree, sources(brought), required=True))
    recorded = sorted((tree / "var/lib/dpkg/status.d").glob("*"))
    packages = [dict(fields(record.read_text(encoding="utf-8"))) for record in recorded]
    document = {"rows": base + taken, "wheels": wheels, "packages": packages, "python": sys.version.split()[0]}
    WORLD.write_text(json.dumps(document), encoding="utf-8")
    # Only the interpreter is needed from here on.
    shutil.rmtree(tree)


def fields(stanza: str) -> Iterator[tuple[str, str]]:
    """Yield the fields of a dpkg record that identify the package (deb822(5))."""
    for line in stanza.splitlines():
        name, _, value = line.partition(": ")
        if name in {"Package", "Version", "Architecture", "Source"}:
            yield name.lower(), value


def shipped() -> None:
    """Print world.json with the rows of the sources, from their tar on standard input."""
    given, tree = Path("/tmp/sources"), Path("/tmp/tree")  # noqa: S108
    with tarfile.open(fileobj=sys.stdin.buffer, mode="r|") as archive:
        # CPython 3.11 has filters since 3.11.4.
        safely: dict[str, Any] = {"filter": "tar"} if hasattr(tarfile, "tar_filter") else {}
        archive.extractall(given, **safely)  # noqa: S202 - of this project's git
    compile_("tree", str(given), str(tree))
    for path in (tree / "srv").rglob("*"):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() else 0o644)
    document = json.loads(WORLD.read_text(encoding="utf-8"))
    document["rows"] += rows(tree, lambda _: "the sources", required=True)
    json.dump(document, sys.stdout)


COMMANDS: dict[str, Callable[[], None]] = {"world": world, "sources": shipped}

if __name__ == "__main__":
    COMMANDS[sys.argv[1]]()
