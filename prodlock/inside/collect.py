"""Collect what production takes from the base image: `python collect.py TREE BEFORE VENV`, in a build step.

The tree becomes a layer of an image that starts from scratch. It has the interpreter, the standard library, the few
files of the system that Python reads, and the shared libraries that these and the virtual environment VENV link to.
Debian packages that BEFORE, the dpkg status file of the unchanged base image, lacks were added by ARG PACKAGES and are
taken whole.

Supports the layout of the official Python images on Debian, CPython 3.11 to 3.14. The same base image and environment
give the same files.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import ssl
import subprocess
import sys
import sysconfig
import zoneinfo
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePath

# Parts of the standard library for its tests, for graphical interfaces, and for building and installing packages.
LEFT_OUT = {
    "ensurepip",
    "idlelib",
    "lib2to3",
    "pydoc_data",
    "site-packages",
    "test",
    "tests",
    "tkinter",
    "turtle",
    "turtledemo",
}
LEFT_OUT_PREFIXES = ("config-", "_ctypes_test", "_test", "_tkinter", "_xxtestfuzz", "xxlimited", "xxsubtype")
# Modules without bytecode: they replace a module in C, or are developers' tools. An import compiles them in memory.
UNCOMPILED = {
    "_pydatetime", "_pydecimal", "_pyio", "_pyrepl", "bdb", "cProfile", "doctest", "pdb", "pickletools", "profile",
    "pstats", "pydoc", "timeit", "trace", "unittest", "venv", "webbrowser", "zipapp",
}  # fmt: skip
# A library that no file links to: glibc loads it when a thread ends early (pthread_exit).
LOADED = "libgcc_s.so.1"
# Programs beside the interpreter: env(1) starts it with signals blocked.
PROGRAMS = ("/usr/bin/env",)
# The program that `ctypes.util.find_library` asks for the library of a Debian package: psycopg, GeoDjango and others
# load theirs in this way.
FINDER = Path("/sbin/ldconfig")
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
# Files that Python and the libraries read, beside certificates and time zones.
READ = (
    "/etc/debian_version",
    "/etc/ld.so.cache",
    "/etc/nsswitch.conf",
    "/etc/os-release",
    "/etc/protocols",
    "/etc/services",
    "/usr/lib/locale/C.utf8",
)
WRITTEN = {
    "/etc/group": "root:x:0:\napp:x:10001:\n",
    "/etc/passwd": "root:x:0:0:root:/root:/sbin/nologin\napp:x:10001:10001:app:/nonexistent:/sbin/nologin\n",
}
DPKG = Path("/var/lib/dpkg")


class Tree:
    """A folder that becomes a layer: below it, each file has the path that it has in the base image."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # The paths that were copied.
        self.paths: set[Path] = set()

    def add(self, path: Path) -> None:
        """Copy a file with the folders and links that lead to it, or the content of a folder."""
        if path.is_dir() and not path.is_symlink():
            for member in path.iterdir():
                self.add(member)
            return
        for step in [path] if is_plain(path) else steps(path):
            if step not in self.paths:
                self.paths.add(step)
                copy(step, within(self.folder, step))

    def write(self, path: Path, text: str) -> None:
        """Write a file that the base image lacks, or has with other content."""
        place = within(self.folder, path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")


def within(folder: Path, path: Path) -> Path:
    """Return the place of an image's path in a tree."""
    return Path(f"{folder}{path}")


def copy(source: Path, place: Path) -> None:
    """Copy a link, or a file: readable for everyone, executable where it was, and never setuid."""
    place.parent.mkdir(parents=True, exist_ok=True)
    if source.is_symlink():
        place.symlink_to(source.readlink())
    else:
        shutil.copyfile(source, place)
        place.chmod(0o755 if os.access(source, os.X_OK) else 0o644)


@functools.cache
def is_real(folder: Path) -> bool:
    """Return whether the path of a folder contains no link."""
    return folder == folder.resolve()


def is_plain(path: Path) -> bool:
    """Return whether a path contains no link."""
    return not path.is_symlink() and is_real(path.parent)


def steps(path: Path) -> Iterator[Path]:
    """Yield the links that a path contains, and the file that it leads to.

    Raises OSError for a broken link and for a cycle of links.
    """
    path.resolve(strict=True)
    at, left = Path("/"), list(path.parts[1:])
    while left:
        part = left.pop(0)
        at = at.parent if part == ".." else at / part
        if at.is_symlink():
            yield at
            target = at.readlink()
            left = [*target.parts, *left]
            at = at.parent
            if target.is_absolute():
                at, left = Path("/"), left[1:]
        elif at.is_file():
            yield at


def is_useful(module: PurePath) -> bool:
    """Return whether a service may use a file of the standard library, given by its path in the library."""
    names = [part.partition(".")[0] for part in module.parts]
    if module.suffix == ".pyc" and not UNCOMPILED.isdisjoint(names):
        return False
    return LEFT_OUT.isdisjoint(names) and not any(name.startswith(LEFT_OUT_PREFIXES) for name in names)


def is_elf(path: Path) -> bool:
    """Return whether a file is a program or a library (https://refspecs.linuxfoundation.org/elf/gabi4+/ch4.eheader.html)."""
    # Check name and mode first: thousands of files match neither, and need not be opened.
    if path.is_symlink() or not (".so" in path.name or os.access(path, os.X_OK)):
        return False
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def linked(files: Iterable[Path]) -> str:
    """Return the output of ldd(1): the libraries that programs and libraries link to."""
    # The exit code states only that a file is linked statically.
    return subprocess.run(["/usr/bin/ldd", *map(str, files)], capture_output=True, text=True, check=False).stdout


def libraries(listing: str) -> set[Path]:
    """Return the libraries that ldd found, from its output."""
    return {Path(path) for path in re.findall(r"^\t(?:\S+ => )?(/\S+) \(0x", listing, re.MULTILINE)}


def missing(listing: str) -> dict[str, str]:
    """Return the libraries that ldd did not find, from its output, each with a file that links to it."""
    found, file = {}, ""
    for line in listing.splitlines():
        if not line.startswith("\t"):
            file = line.removesuffix(":")
        elif line.endswith(" => not found"):
            found[line.split()[0]] = file
    return found


def stanzas(status: Path) -> dict[str, str]:
    """Return the record of each package in dpkg's status file, by the package's name (deb822(5))."""
    entries = status.read_text(encoding="utf-8").strip().split("\n\n")
    return {entry.partition("\n")[0].removeprefix("Package: "): entry + "\n" for entry in entries}


@functools.cache
def contents() -> dict[str, set[str]]:
    """Return the paths that each package owns, with /lib resolved to /usr/lib, as Debian has merged them."""
    real = functools.cache(os.path.realpath)
    owned = {}
    for listing in (DPKG / "info").glob("*.list"):
        split = map(os.path.split, listing.read_text(encoding="utf-8").splitlines())
        owned[listing.stem.partition(":")[0]] = {os.path.join(real(folder), name) for folder, name in split}  # noqa: PTH118
    return owned


def add_python(tree: Tree) -> None:
    """Add the interpreter under each of its names, the programs that start it, and the standard library."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    # An absolute path stays what it is.
    for name in ("python", "python3", f"python{version}", *PROGRAMS):
        tree.add(Path(sys.base_prefix, "bin", name))
    library = Path(sysconfig.get_path("stdlib"))
    for path in library.rglob("*"):
        if is_useful(path.relative_to(library)) and not path.is_dir():
            tree.add(path)


def add_data(tree: Tree) -> None:
    """Add the system's data: certificates where OpenSSL reads them, time zones where Python does, names and users."""
    bundle = Path(ssl.get_default_verify_paths().openssl_cafile)
    for path in (*map(Path, (*READ, *zoneinfo.TZPATH)), bundle.with_name("openssl.cnf")):
        if path.exists():
            tree.add(path)
    tree.add(CERTIFICATES)
    if bundle.exists():
        tree.add(bundle)
    else:
        link = within(tree.folder, bundle)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(CERTIFICATES)
    for written, text in WRITTEN.items():
        tree.write(Path(written), text)
    # The service's folder: WORKDIR would create it, with the time of the build.
    (tree.folder / "srv").mkdir()
    temporary = tree.folder / "tmp"
    temporary.mkdir()
    temporary.chmod(0o1777)


def add_packages(tree: Tree, before: Path) -> None:
    """Add the Debian packages that the base image lacks, as a whole, and the program that finds their libraries."""
    owned = contents()
    added = stanzas(DPKG / "status").keys() - stanzas(before).keys()
    if added and FINDER.exists():
        tree.add(FINDER)
    for package in added:
        for path in map(Path, owned[package]):
            # A link to a file that the image leaves out, such as a manual, is broken.
            if path.exists() and (path.is_symlink() or not path.is_dir()):
                tree.add(path)


def add_libraries(tree: Tree, environment: Path) -> None:
    """Add the shared libraries that programs and modules in the tree and in the virtual environment link to."""
    files = tree.paths.union(path for path in environment.rglob("*") if path.is_file())
    listing = linked(path for path in sorted(files) if is_elf(path))
    for name, file in missing(listing).items():
        print(f"{file} links to {name}, which the base image lacks: ARG PACKAGES can add it.", file=sys.stderr)
    for path in libraries(listing):
        # A library that a wheel brings is in the environment, which the image takes as a whole.
        if path.resolve().is_relative_to(environment):
            continue
        tree.add(path)
        loaded = path.resolve().with_name(LOADED)
        if path.name.startswith("libc.") and loaded.exists():
            tree.add(loaded)


def add_records(tree: Tree) -> None:
    """Add a record of each Debian package that has a file in the tree, and its copyright notice.

    The records are where scanners look for them in an image without dpkg: /var/lib/dpkg/status.d/PACKAGE.
    """
    known, owned = stanzas(DPKG / "status"), contents()
    taken = set(map(str, tree.paths))
    # Files that were generated at installation, which no package lists.
    generated = {"ca-certificates": str(CERTIFICATES)}
    for package in sorted(owned):
        if not taken.isdisjoint(owned[package]) or generated.get(package) in taken:
            tree.write(DPKG / "status.d" / package, known[package])
            notice = Path("/usr/share/doc", package, "copyright")
            if notice.exists():
                tree.add(notice)


def collect(folder: str, before: str, environment: str) -> None:
    """Write the tree to a folder."""
    tree = Tree(Path(folder))
    add_python(tree)
    add_data(tree)
    add_packages(tree, Path(before))
    add_libraries(tree, Path(environment))
    add_records(tree)


if __name__ == "__main__":
    collect(*sys.argv[1:])
