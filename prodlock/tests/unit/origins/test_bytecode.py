"""Bytecode is compared with a fresh compilation of its source: forged, stale and foreign files are recognised."""

from __future__ import annotations

import hashlib
import importlib.util
import marshal
import os
import platform
import py_compile
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from py_compile import PycInvalidationMode

import pytest

from prodlock.failure import Failure
from prodlock.image.records import File
from prodlock.inside import compiled
from prodlock.origins import bytecode, marshalled
from prodlock.origins.records import Bytecode, Python, State
from prodlock.project import Project
from prodlock.tests.unit.origins.stand_in import StandIn

MAGIC = int.from_bytes(importlib.util.MAGIC_NUMBER[:2], "little")
PYTHON = Python(platform.python_version(), "/usr/local/lib/python3", {})
TAG = sys.implementation.cache_tag
SOURCE = b'''"""A module."""
import os

NAMES = frozenset(("b", "a", "c"))


def add(one, two=(1, 2.5)):
    return os.path.join(one, *[str(x) for x in two])
'''
OTHER = SOURCE.replace(b"2.5", b"3.5")
TIME = 1_700_000_000


class Images:
    """The files of an image, which are compared."""

    def __init__(self, tmp_path: Path) -> None:
        self.folder = tmp_path
        self.cache = tmp_path / "cache"
        self.contents: dict[tuple[int, str], bytes] = {}
        self.files: list[File] = []

    def add(self, path: str, content: bytes, layer: int = 1, mtime: int = TIME) -> File:
        """Add a file to a layer."""
        digest = hashlib.sha256(content).hexdigest()
        file = File(path, layer, len(content), sha256=digest, mtime=mtime)
        self.contents[layer, path] = content
        self.files.append(file)
        return file

    def content(self, file: File) -> bytes:
        """Return the content of a file."""
        return self.contents[file.layer, file.path]

    def compile(
        self,
        source: bytes = SOURCE,
        path: str = "/app/module.py",
        mode: PycInvalidationMode = PycInvalidationMode.TIMESTAMP,
        optimize: int = 0,
    ) -> bytes:
        """Return the bytecode that py_compile writes for a source."""
        file = self.folder / "source.py"
        file.write_bytes(source)
        os.utime(file, (TIME, TIME))
        py_compile.compile(
            str(file), str(self.folder / "out.pyc"), path, doraise=True, optimize=optimize, invalidation_mode=mode
        )
        return (self.folder / "out.pyc").read_bytes()

    def compare(
        self, run: bytecode.Run | None = None, python: Python = PYTHON, base: str = "b", mirror: str = ""
    ) -> Mapping[str, Bytecode]:
        """Return what each bytecode file is, by path and, beside layer 1, layer."""
        files = [file for file in self.files if file.path.endswith(".pyc")]
        sources: dict[str, list[File]] = {}
        for file in self.files:
            if file.path.endswith(".py"):
                sources.setdefault(file.path, []).append(file)
        found = bytecode.compare(files, sources, self.content, python, run, self.cache, base=base, mirror=mirror)
        assert found.keys() == {(file.layer, file.path) for file in files}
        return {path if layer == 1 else f"{layer} {path}": one for (layer, path), one in found.items()}

    def state(self, data: bytes, name: str = f"__pycache__/module.{TAG}.pyc", python: Python = PYTHON) -> State:
        """Return the state of one bytecode file beside /app/module.py, with the same from the cache."""
        self.add("/app/module.py", SOURCE)
        self.add(f"/app/{name}", data)
        (one,) = self.compare(python=python).values()
        (again,) = self.compare(python=python).values()
        assert one == again
        return one.state


@pytest.fixture
def images(tmp_path: Path) -> Images:
    """An image without files."""
    return Images(tmp_path)


@pytest.mark.parametrize("mode", PycInvalidationMode)
@pytest.mark.parametrize(
    ("optimize", "name"),
    [
        (0, f"__pycache__/module.{TAG}.pyc"),
        (1, f"__pycache__/module.{TAG}.opt-1.pyc"),
        (2, f"__pycache__/module.{TAG}.opt-2.pyc"),
        (0, "module.pyc"),
        (2, "module.pyc"),
    ],
)
def test_bytecode_of_every_form_equals_its_compilation(
    images: Images, mode: PycInvalidationMode, optimize: int, name: str
) -> None:
    """Named by time, by checked and by unchecked hash; of each optimization; beside its source as well."""
    assert images.state(images.compile(mode=mode, optimize=optimize), name) is State.EQUAL


@pytest.mark.parametrize(
    "path",
    ["/build/lib/module.py", "module.py", f"/{'x' * 200}/module.py", f"/{'x' * 300}/module.py", "/\u00e4/module.py"],
)
def test_the_folder_of_the_compilation_does_not_matter(images: Images, path: str) -> None:
    """A build stage may have compiled it elsewhere: an import replaces the path."""
    assert images.state(images.compile(path=path)) is State.EQUAL


@pytest.mark.parametrize("folder", ["/app/" + "x" * 300, "/\u00e4pp"])
def test_paths_of_every_form_are_found(images: Images, folder: str) -> None:
    """Marshal writes long paths and those beyond ASCII in other ways."""
    images.add(f"{folder}/module.py", SOURCE)
    images.add(f"{folder}/__pycache__/module.{TAG}.pyc", images.compile(path=f"{folder}/module.py"))
    (one,) = images.compare().values()
    assert one.state is State.EQUAL


def flipped(data: bytes, at: int) -> bytes:
    """Return data with another byte at a place."""
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


FORGERIES: dict[str, Callable[[Images], bytes]] = {
    "a constant": lambda images: images.compile().replace(b"\x04\x40", b"\x05\x40"),
    "a name": lambda images: images.compile().replace(b"join", b"jaim"),
    "another source": lambda images: images.compile()[:16] + images.compile(OTHER)[16:],
    "another name of the source": lambda images: images.compile(path="/app/other.py"),
    "content behind the code": lambda images: images.compile() + b"x",
    "no code": lambda images: images.compile()[:16] + marshal.dumps("x"),
    "an end too early": lambda images: images.compile()[:-1],
    "no content": lambda _: b"",
    "a magic number of no version": lambda images: b"\x00\x01" + images.compile()[2:],
    "a magic number that is not in use": lambda images: (MAGIC + 1).to_bytes(2, "little") + images.compile()[2:],
    "the magic number of another version": lambda images: (3413).to_bytes(2, "little") + images.compile()[2:],
    "an unknown flag": lambda images: images.compile()[:4] + b"\x05" + images.compile()[5:],
    "another optimization": lambda images: images.compile(optimize=2),
    "an unchecked hash of another source": lambda images: images.compile(
        OTHER, mode=PycInvalidationMode.UNCHECKED_HASH
    ),
    "a checked hash and other code": lambda images: images.compile(mode=PycInvalidationMode.CHECKED_HASH)[:16]
    + images.compile(OTHER)[16:],
}  # fmt: skip


@pytest.mark.parametrize("forgery", FORGERIES)
def test_forged_bytecode_is_different(images: Images, forgery: str) -> None:
    """Also in the next run, when everything comes from the cache."""
    data = FORGERIES[forgery](images)
    assert data != images.compile()
    assert images.state(data) is State.DIFFERENT


def test_no_byte_of_the_code_can_be_changed(images: Images) -> None:
    """Except in the folder of the path, which imports replace, each flipped bit is recognised."""
    images.add("/app/module.py", SOURCE)
    data = images.compile()
    whole = marshalled.read(data[16:], MAGIC)
    for at in range(16, len(data)):
        images.add(f"/app/__pycache__/module.{TAG}.pyc", flipped(data, at), layer=at)
    accepted = {int(name.split()[0]) for name, one in images.compare().items() if one.state is State.EQUAL}
    path = data.index(whole.path)
    # A flag for later references that no object makes, and how a text is kept, do not change the code.
    others = {at for at in accepted if not path <= at < path + len("/app")}
    assert all(marshalled.read(flipped(data, at)[16:], MAGIC).digest == whole.digest for at in others)
    assert len(others) < len(data) // 10


def test_a_header_with_another_size_is_stale(images: Images) -> None:
    """It is of another source, and Python does not use such bytecode."""
    assert images.state(flipped(images.compile(), 12)) is State.STALE


def test_a_header_with_another_time_is_accepted_where_the_code_is_equal(images: Images) -> None:
    """Builders that set the time of each file leave it. Python does not use it, and it has no other code."""
    assert images.state(flipped(images.compile(), 8)) is State.EQUAL


def test_a_header_with_another_time_is_stale_where_the_code_differs(images: Images) -> None:
    """A source of the same size was compiled."""
    assert len(OTHER) == len(SOURCE)
    assert images.state(flipped(images.compile(OTHER), 8)) is State.STALE


def test_a_checked_hash_of_another_source_is_stale(images: Images) -> None:
    """Python compiles the source again."""
    assert images.state(images.compile(OTHER, mode=PycInvalidationMode.CHECKED_HASH)) is State.STALE


@pytest.mark.parametrize("mode", PycInvalidationMode)
def test_bytecode_of_an_earlier_source_is_stale(images: Images, mode: PycInvalidationMode) -> None:
    """A later layer has replaced the source, and left the bytecode."""
    old = images.add("/app/module.py", SOURCE)
    images.add(f"/app/__pycache__/module.{TAG}.pyc", images.compile(mode=mode))
    images.add("/app/module.py", OTHER, layer=2, mtime=TIME + 5)
    (one,) = images.compare().values()
    assert one == Bytecode(State.STALE, old)


def test_replaced_bytecode_is_compared_with_the_source_of_its_time(images: Images) -> None:
    """Where a later layer replaces source and bytecode, both pairs are equal."""
    path = f"/app/__pycache__/module.{TAG}.pyc"
    images.add("/app/module.py", SOURCE)
    images.add(path, images.compile())
    images.add("/app/module.py", OTHER, layer=2)
    images.add(path, images.compile(OTHER), layer=2)
    assert {name: one.state for name, one in images.compare().items()} == {path: State.EQUAL, f"2 {path}": State.EQUAL}


def test_a_copy_of_the_same_source_with_another_time_is_not_stale(images: Images) -> None:
    """A later layer that has the same content changes nothing."""
    images.add("/app/module.py", SOURCE)
    images.add(f"/app/__pycache__/module.{TAG}.pyc", images.compile())
    images.add("/app/module.py", SOURCE, layer=2, mtime=TIME + 5)
    assert {one.state for one in images.compare().values()} == {State.EQUAL}


def test_a_hard_link_has_the_size_of_its_content(images: Images) -> None:
    """Layers keep the content of linked files once."""
    images.files.append(images.add("/app/module.py", SOURCE)._replace(size=0))
    del images.files[0]
    images.add(f"/app/__pycache__/module.{TAG}.pyc", images.compile())
    assert {one.state for one in images.compare().values()} == {State.EQUAL}


def test_bytecode_is_read_from_a_folder_of_its_own(images: Images) -> None:
    """That is the folder that PYTHONPYCACHEPREFIX names; it has the folders of the sources."""
    images.add("/app/module.py", SOURCE)
    images.add(f"/pyc/app/module.{TAG}.pyc", images.compile())
    assert {one.state for one in images.compare().values()} == {State.WITHOUT_SOURCE}
    assert {one.state for one in images.compare(mirror="/pyc").values()} == {State.EQUAL}
    images.add(f"/pyc/app/module.{TAG}.opt-1.pyc", images.compile(OTHER))
    assert images.compare(mirror="/pyc")[f"/pyc/app/module.{TAG}.opt-1.pyc"].state is State.DIFFERENT


def test_a_linked_source_is_followed(images: Images) -> None:
    """Installers link to their cache on request."""
    images.add("/cache/module.py", SOURCE)
    images.files.append(File("/app/module.py", 1, target="../cache/module.py"))
    images.add(f"/app/__pycache__/module.{TAG}.pyc", images.compile())
    assert {one.state for one in images.compare().values()} == {State.EQUAL}


def test_bytecode_may_have_the_name_of_a_link_to_its_source(images: Images) -> None:
    """As Debian's interpreter has a module under a second name."""
    images.add("/app/real.py", SOURCE)
    link = images.add("/app/module.py", b"")._replace(target="real.py", size=0, sha256="")
    images.files[-1] = link
    images.add(f"/app/__pycache__/module.{TAG}.pyc", images.compile())
    assert [one.state for one in images.compare().values()] == [State.EQUAL]


def test_bytecode_without_a_source_is_named_so(images: Images) -> None:
    """Python runs bytecode in the place of a source."""
    images.add("/app/hidden.pyc", images.compile())
    images.add(f"/app/__pycache__/gone.{TAG}.pyc", images.compile())
    assert {one.state for one in images.compare().values()} == {State.WITHOUT_SOURCE}


def test_bytecode_of_pytest_is_different(images: Images) -> None:
    """It has rewritten assertions."""
    assert images.state(images.compile(), f"__pycache__/module.{TAG}-pytest-9.2.0.pyc") is State.DIFFERENT


@pytest.mark.parametrize(("tag", "magic"), [(38, 3413), (39, 3425), (310, 3439), (315, 3650), (316, 3701)])
def test_bytecode_of_a_version_that_cannot_run_is_unverified(images: Images, tag: int, magic: int) -> None:
    """No interpreter of its version is there to compile its source."""
    data = magic.to_bytes(2, "little") + images.compile()[2:]
    assert images.state(data, f"__pycache__/module.cpython-{tag}.pyc") is State.UNVERIFIED


@pytest.mark.parametrize(
    ("tag", "magic"),
    [("cpython-311", 3495), ("cpython-312", 3531), ("cpython-313", 3571), ("cpython-314", 3600), ("", 3399), ("", 0)],
)
def test_each_version_has_its_magic_numbers(tag: str, magic: int) -> None:
    """Since Python 3.11, each has 50."""
    assert bytecode._tag(magic) == tag


def test_other_code_of_another_release_is_unverified(images: Images) -> None:
    """Releases of a version may compile to other code; where it is the same, it is verified."""
    python = PYTHON._replace(version="3.0.99")
    assert images.state(images.compile()[:16] + images.compile(OTHER)[16:], python=python) is State.UNVERIFIED


def test_equal_code_of_another_release_is_equal(images: Images) -> None:
    """The version of the image's interpreter matters for differences alone."""
    assert images.state(images.compile(), python=PYTHON._replace(version="3.0.99")) is State.EQUAL


def test_a_source_that_cannot_be_compiled_has_no_bytecode(images: Images) -> None:
    """A forged file beside it is different."""
    images.add("/app/module.py", b"def")
    data = images.compile()
    images.add(f"/app/__pycache__/module.{TAG}.pyc", data[:12] + (3).to_bytes(4, "little") + data[16:])
    assert {one.state for one in images.compare().values()} == {State.DIFFERENT}


def test_references_do_not_distinguish_code(images: Images) -> None:
    """Code with other references is the same code, and the cache then has its digest."""
    code = marshal.loads(images.compile()[16:])  # noqa: S302 - compiled here
    for version in (2, 4):
        data = images.compile()[:16] + marshal.dumps(code, version)
        assert data != images.compile()
        assert images.state(data) is State.EQUAL


def test_a_path_as_a_constant_is_part_of_the_code(images: Images) -> None:
    """A constant that equals the path of its module may not be replaced with another path."""
    source = SOURCE + b'PLACE = "/app/module.py"\n'
    images.add("/app/module.py", source)
    images.add(f"/app/__pycache__/module.{TAG}.pyc", images.compile(source))
    images.add("/opt/module.py", source)
    forged = images.compile(source).replace(b"/app/module.py", b"/opt/module.py")
    images.add(f"/opt/__pycache__/module.{TAG}.pyc", forged)
    for _ in range(2):
        states = {name: one.state for name, one in images.compare().items()}
        assert states == {
            f"/app/__pycache__/module.{TAG}.pyc": State.EQUAL,
            f"/opt/__pycache__/module.{TAG}.pyc": State.DIFFERENT,
        }


def counted(calls: list[str]) -> bytecode.Run:
    """Return a function that compiles on the host and counts."""

    def run(mode: str, given: bytes) -> bytes:
        calls.append(mode)
        return bytecode.on_host(mode, given)

    return run


def test_the_cache_saves_the_compilation(images: Images) -> None:
    """For the same base image alone; a damaged cache counts as none."""
    images.add("/app/module.py", SOURCE)
    images.add(f"/app/__pycache__/module.{TAG}.pyc", images.compile())
    calls: list[str] = []
    for base, expected in (("one", 2), ("one", 2), ("two", 4), ("one", 4)):
        assert {one.state for one in images.compare(counted(calls), base=base).values()} == {State.EQUAL}
        assert len(calls) == expected
    for file in images.cache.rglob("*"):
        if file.is_file():
            file.write_bytes(file.read_bytes()[:-1])
    images.compare(counted(calls), base="one")
    assert len(calls) == 6


def test_a_base_image_that_cannot_run_leaves_the_comparison_to_this_interpreter(images: Images) -> None:
    """The bytecode is of this interpreter's version."""

    def run(_mode: str, _given: bytes) -> bytes:
        raise Failure("no Engine")

    images.add("/app/module.py", SOURCE)
    images.add(f"/app/__pycache__/module.{TAG}.pyc", images.compile())
    assert {one.state for one in images.compare(run).values()} == {State.EQUAL}


@pytest.mark.parametrize(
    ("library", "program"),
    [
        ("/usr/local/lib/python3.13", "/usr/local/bin/python3.13"),
        ("/usr/lib64/python3.12", "/usr/bin/python3.12"),
        ("/var/lang/lib/python3.14t", "/var/lang/bin/python3.14t"),
    ],
)
def test_the_interpreter_of_a_library_compiles(tmp_path: Path, library: str, program: str) -> None:
    """Its binary is in the folder `bin` beside `lib`, or `lib64` as in Fedora and its like."""
    engine = StandIn(tmp_path)
    run = bytecode.in_container(
        Project(tmp_path, {"PATH": str(engine.path)}), "sha256:base", PYTHON._replace(library=library)
    )
    with pytest.raises(Failure):
        run("digests", b"")
    assert f" --entrypoint={program} sha256:base " in (tmp_path / "calls").read_text(encoding="utf-8")


@pytest.mark.parametrize("output", [b"", b"x", b"{}\n", b'{"version": "3.9.1", "magic": "00"}\nx y\n'])
def test_an_output_that_is_not_valid_is_refused(images: Images, output: bytes) -> None:
    """The interpreter of this machine compiles instead."""
    images.add("/app/module.py", SOURCE)
    images.add(f"/app/__pycache__/module.{TAG}.pyc", flipped(images.compile(), 40))
    assert {one.state for one in images.compare(lambda _mode, _given: output).values()} == {State.DIFFERENT}


def test_marshalled_code_is_read_to_its_last_byte(images: Images) -> None:
    """Code that ends early raises ValueError, at whatever byte."""
    body = images.compile()[16:]
    assert marshalled.read(body, MAGIC).path == b"/app/module.py"
    for end in range(len(body)):
        with pytest.raises(ValueError, match=r"."):
            marshalled.read(body[:end], MAGIC)


@pytest.mark.parametrize(
    "rest", [b"c" * 4000, b"r\0\0\0\0", b"(\xff\xff\xff\x7f", b")\xff" * 5000, b"\xa9\x01r\0\0\0\0"],
)  # fmt: skip
def test_hostile_code_is_refused(rest: bytes) -> None:
    """Nested too deep, with references into nothing, longer than the file."""
    with pytest.raises(ValueError, match=r"."):
        marshalled.read(b"c" + bytes(20) + rest, MAGIC)


def test_a_digest_leaves_out_the_path_and_nothing_else() -> None:
    """The path counts only behind its length."""
    one, other = b"/a/x.py", b"/opt/x.py"
    assert compiled.digest_of(b"a\x07/a/x.pyb", one) == compiled.digest_of(b"a\x09/opt/x.pyb", other)
    assert compiled.digest_of(b"a/a/x.pyb", one) != compiled.digest_of(b"a/opt/x.pyb", other)
    assert compiled.digest_of(b"ab\x07/a/x.py", one) != compiled.digest_of(b"a\x07/a/x.pyb", one)


def test_other_code_for_the_interpreter_of_the_base_image_is_different(images: Images) -> None:
    """Whatever version the image states: its records may be forged. That of Debian's, beside it, is unverified."""
    stated = PYTHON._replace(version="3.99.1")
    forged = images.compile()[:16] + images.compile(OTHER)[16:]
    images.add("/app/module.py", SOURCE)
    images.add(f"/app/__pycache__/module.{TAG}.pyc", forged)
    images.add("/usr/lib/python3/dist-packages/module.py", SOURCE)
    images.add(f"/usr/lib/python3/dist-packages/__pycache__/module.{TAG}.pyc", forged)
    found = images.compare(bytecode.on_host, stated)
    assert [one.state for one in found.values()] == [State.DIFFERENT, State.UNVERIFIED]


def test_marshalled_objects_that_cpython_does_not_number_are_refused() -> None:
    """With them, later references would lead elsewhere than in CPython."""
    code = compile("a = None\n", "/m.py", "exec")
    body = marshal.dumps(code)
    marshalled.read(body, MAGIC)
    for kind in b"NFT":
        changed = body.replace(b"N", bytes([kind | 0x80]), 1)
        assert changed != body
        with pytest.raises(ValueError, match="reference"):
            marshalled.read(changed, MAGIC)
