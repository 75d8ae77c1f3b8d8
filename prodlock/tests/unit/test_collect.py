"""Collection of files from the base image for production, tested on the system that these tests run on."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path, PurePath

import pytest

from prodlock.inside import collect

LDD = """\
/usr/lib/a.so:
\tlinux-vdso.so.1 (0x00007ffd)
\tlibz.so.1 => /lib/x86_64-linux-gnu/libz.so.1 (0x00007f01)
\tlibpq.so.5 => not found
\t/lib64/ld-linux-x86-64.so.2 (0x00007f02)
/usr/bin/b:
\tnot a dynamic executable
/usr/lib/c.so:
\tstatically linked
"""


@pytest.mark.parametrize(
    "module",
    [
        "asyncio/events.py", "ctypes/__init__.py", "unittest/mock.py", "_pydecimal.py", "pdb.py",
        "lib-dynload/_ssl.cpython-313-x86_64-linux-gnu.so", "_sysconfigdata__linux_x86_64-linux-gnu.py",
        "__pycache__/typing.cpython-313.pyc",
    ],
)  # fmt: skip
def test_modules_that_a_service_may_import_are_taken(module: str) -> None:
    """Source, bytecode and extension modules are taken."""
    assert collect.is_useful(PurePath(module))


@pytest.mark.parametrize(
    "module",
    [
        "test/support/__init__.py", "unittest/test/__main__.py", "idlelib/run.py", "tkinter/__init__.py", "turtle.py",
        "__pycache__/turtle.cpython-313.pyc", "turtledemo/clock.py", "ensurepip/_bundled/pip-25.1-py3-none-any.whl",
        "lib2to3/pgen2/driver.py", "site-packages/pip/__init__.py", "config-3.13-x86_64-linux-gnu/Makefile",
        "lib-dynload/_tkinter.cpython-313-x86_64-linux-gnu.so", "lib-dynload/_testcapi.cpython-313-x86_64-linux-gnu.so",
        "pydoc_data/topics.py", "__pycache__/pdb.cpython-313.pyc",
    ],
)  # fmt: skip
def test_modules_that_no_service_needs_are_left_out(module: str) -> None:
    """Tests, graphical interfaces, installers, and the bytecode of developers' tools are left out."""
    assert not collect.is_useful(PurePath(module))


def test_ldds_output_is_parsed() -> None:
    """The loader counts as a library; the kernel's vDSO and static programs have no file to take."""
    assert collect.libraries(LDD) == {Path("/lib/x86_64-linux-gnu/libz.so.1"), Path("/lib64/ld-linux-x86-64.so.2")}
    assert collect.missing(LDD) == {"libpq.so.5": "/usr/lib/a.so"}


def test_the_libraries_of_the_interpreter_are_found() -> None:
    """The C library and the loader are among them, and every file exists."""
    found = collect.libraries(collect.linked([Path(sys.executable).resolve(), Path("/usr/bin/env")]))
    assert any(path.name.startswith("libc.so") for path in found)
    assert any(path.name.startswith("ld-linux") for path in found)
    assert all(path.exists() for path in found)


def test_links_are_taken_with_their_targets(tmp_path: Path) -> None:
    """A path with several links gives each link and the file."""
    real = tmp_path / "usr/lib"
    real.mkdir(parents=True)
    (real / "libz.so.1.3").write_text("z")
    (real / "libz.so.1").symlink_to("libz.so.1.3")
    (real / "libz.so").symlink_to("../lib/libz.so.1")
    (tmp_path / "lib").symlink_to("usr/lib")
    (tmp_path / "absolute").symlink_to(tmp_path / "lib/libz.so")
    root = tmp_path.resolve()
    assert list(collect.steps(root / "absolute")) == [
        root / "absolute", root / "lib", real / "libz.so", real / "libz.so.1", real / "libz.so.1.3",
    ]  # fmt: skip


def test_a_broken_link_is_refused(tmp_path: Path) -> None:
    """An image that lacks a file which it needs must not be built."""
    (tmp_path / "broken").symlink_to("nothing")
    with pytest.raises(FileNotFoundError):
        list(collect.steps(tmp_path / "broken"))


def test_a_cycle_of_links_is_refused(tmp_path: Path) -> None:
    """The program must not follow the links endlessly."""
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises((OSError, RuntimeError)):
        list(collect.steps(tmp_path / "a"))


def test_a_tree_keeps_links_and_drops_privileges(tmp_path: Path) -> None:
    """A copy is readable for all, executable where the original is, and never setuid."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "program").write_bytes(b"x")
    (source / "program").chmod(0o4700)
    (source / "data").write_bytes(b"y")
    (source / "data").chmod(0o600)
    (source / "link").symlink_to("data")
    tree = collect.Tree(tmp_path / "tree")
    tree.add(source)
    copies = collect.within(tree.folder, source)
    assert {path.name: oct(path.lstat().st_mode) for path in copies.iterdir() if not path.is_symlink()} == {
        "program": "0o100755",
        "data": "0o100644",
    }
    assert (copies / "link").readlink() == Path("data")
    assert tree.paths == {source / "program", source / "data", source / "link"}


def test_libraries_of_the_environment_are_collected(tmp_path: Path) -> None:
    """The tree gets the libraries that the environment's files link to, but not these files."""
    environment = tmp_path / "venv"
    (environment / "lib").mkdir(parents=True)
    shutil.copy("/usr/bin/env", environment / "lib/extension.so")
    tree = collect.Tree(tmp_path / "tree")
    collect.add_libraries(tree, environment)
    assert any(path.name.startswith("libc.so") for path in tree.paths)
    assert not any(path.is_relative_to(environment) for path in tree.paths)


def test_libraries_in_the_environment_are_not_collected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wheel that brings a library finds it by a relative path; the image takes the environment as a whole."""
    library = tmp_path / "venv/lib/x.libs/libx.so.1"
    library.parent.mkdir(parents=True)
    shutil.copy("/usr/bin/env", library)
    (tmp_path / "venv/lib/x").mkdir()
    listing = f"\tlibx.so.1 => {tmp_path}/venv/lib/x/../x.libs/libx.so.1 (0x0)\n\tlibe => /usr/bin/env (0x0)\n"
    monkeypatch.setattr(collect, "linked", lambda _: listing)
    tree = collect.Tree(tmp_path / "tree")
    collect.add_libraries(tree, tmp_path / "venv")
    assert tree.paths == {Path("/usr/bin/env")}


def test_the_package_that_owns_a_file_is_found() -> None:
    """In dpkg's own database, libc6 owns the C library, whichever path Debian's list has."""
    owned = collect.contents()
    library = next(path for path in collect.libraries(collect.linked([Path("/usr/bin/env")])) if "libc.so" in path.name)
    assert str(library.resolve()) in owned["libc6"]
    assert collect.stanzas(collect.DPKG / "status")["libc6"].startswith(
        "Package: libc6\nStatus: install ok installed\n"
    )


def test_added_packages_are_taken_whole(tmp_path: Path) -> None:
    """A package that the earlier status lacks was added on purpose; of others, only linked files are taken.

    `ctypes.util.find_library` finds the libraries of added packages by ldconfig.
    """
    status = (collect.DPKG / "status").read_text(encoding="utf-8")
    before = tmp_path / "before"
    before.write_text(
        "\n\n".join(stanza for stanza in status.split("\n\n") if not stanza.startswith("Package: netbase\n")),
        encoding="utf-8",
    )
    tree = collect.Tree(tmp_path / "tree")
    collect.add_packages(tree, before)
    assert {Path("/etc/services"), Path("/etc/rpc")} <= tree.paths
    assert not any(path.is_relative_to("/usr/lib") for path in tree.paths)
    assert os.path.realpath(collect.FINDER) in map(str, tree.paths)
    unchanged = collect.Tree(tmp_path / "unchanged")
    collect.add_packages(unchanged, collect.DPKG / "status")
    assert unchanged.paths == set()
