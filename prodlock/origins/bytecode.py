"""Compare the bytecode of an image with a fresh compilation of its sources.

The sources are compiled in a container of the base image, which is trusted, or by this interpreter. What a compilation
gave is kept between runs by the sha256 of the source, so that an image is compared again without a container.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import posixpath
import re
import struct
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from prodlock.docker import engine, saved
from prodlock.failure import Failure
from prodlock.image.records import File
from prodlock.inside import compiled
from prodlock.inside.compiled import HEADER
from prodlock.origins import cache as caches
from prodlock.origins import marshalled
from prodlock.origins.environments import BYTECODE_FOLDER, source_path
from prodlock.origins.records import Bytecode, Python, State
from prodlock.project import Project
from prodlock.proof.judges.paths import is_below

# The folder of bytecode, and the name of a file in it (PEP 3147, PEP 488).
_CACHED = re.compile(r".+?\.(?P<tag>cpython-\d+)t?(?:\.opt-(?P<optimization>[12]))?\.pyc")
# The magic numbers of the versions from 3.8 to 3.10 (importlib/_bootstrap_external.py). Since then, each has 50.
_MAGIC = {8: range(3400, 3420), 9: range(3420, 3430), 10: range(3430, 3450)}
_FIRST_OF_50 = 11
# Flags in the header (PEP 552): the source is named by time and size, or by hash and checked or not.
_BY_TIME, _UNCHECKED, _CHECKED = 0, 1, 3
_TIME_AND_SIZE = struct.Struct("<II")
# What Debian's interpreter and its packages have.
_DEBIAN = "/usr/lib/python3"
_EMPTY = hashlib.sha256().hexdigest()
# How many bytes of sources and how many files one container compiles.
_PORTION = 32 << 20
_MOST_FILES = 2000
# The kind of the cache's entries, one for each interpreter, and how many results one keeps.
_KIND = "bytecode"
_MOST_RESULTS = 60_000
# The types of texts with a length of one byte (Python/marshal.c), with and without the bit for references.
_SHORT_TEXTS = b"zZ\xfa\xda"
_MOST_SHORT = 255

Content = Callable[[File], bytes]
# Runs `inside/compiled.py` with a mode and an input, and returns its output.
Run = Callable[[str, bytes], bytes]
# The sha256 of a source, and the level of optimization.
_Key = tuple[str, int]


class _Compiled(NamedTuple):
    """A bytecode file that has a source."""

    file: File
    magic: int
    unchecked: bool
    # The hash of the source in the header; empty where the header names the source by time and size.
    source_hash: str
    # The levels of optimization that it may have.
    levels: tuple[int, ...]
    # The copy of the source that belongs to it in the finished image.
    current: File
    # The copies that its header may name, `current` first.
    copies: tuple[File, ...]
    # Of the code without its path; empty where the path was not found.
    digest: str
    # Whether Python may use it: its header names the time of a copy, or a hash.
    is_used: bool

    @property
    def key(self) -> tuple[int, str]:
        """Its layer and path."""
        return self.file.layer, self.file.path

    @property
    def compilations(self) -> Iterator[tuple[File, _Key]]:
        """The compilations that may have given it."""
        return ((copy, (copy.sha256, level)) for copy in self.copies for level in self.levels)

    def equal_to(self, copy: File) -> Bytecode:
        """Return its state where it equals the compilation of a copy of its source."""
        return Bytecode(State.EQUAL if copy.sha256 == self.current.sha256 else State.STALE, copy)


@dataclass
class _Result:
    """What the compilation of a source at a level of optimization gave."""

    # As in a header; `-` where it can't be compiled.
    source_hash: str
    # Of the code without its path: as compiled, and others that are the same code.
    digests: list[str]
    # By marshalled.py; empty until it is needed.
    canonical: str = ""


@dataclass
class _Interpreter:
    """An interpreter that is trusted, with all that it has compiled."""

    run: Run
    # The cache's key.
    key: str
    # Whether it is the base image's.
    of_base: bool = False
    version: str = ""
    magic: int = -1
    # What the cache has, as it has it, and what was used of it or added.
    kept: dict[str, list[str]] = field(default_factory=dict)
    results: dict[_Key, _Result] = field(default_factory=dict)
    changed: bool = False

    def result(self, key: _Key) -> _Result | None:
        """Return the result of a compilation, or None where it has not been made."""
        found = self.results.get(key)
        if not found and (row := self.kept.get(_name(key))):
            source_hash, canonical, *digests = row
            found = self.results[key] = _Result(source_hash, digests, canonical)
        return found


def _name(key: _Key) -> str:
    """Return the name of a compilation in the cache."""
    return f"{key[0]} {key[1]}"


def in_container(project: Project, base: str, python: Python) -> Run:
    """Return a function that runs `inside/compiled.py` in containers of the base image.

    It raises Failure where the Engine is not available, or the base image does not have the interpreter.
    """
    engines = saved.program(project)
    # The library is in `lib` or `lib64`, which is beside `bin`.
    folder, name = posixpath.split(python.library)
    interpreter = posixpath.join(posixpath.dirname(folder), "bin", name)
    program = Path(compiled.__file__).read_text(encoding="utf-8")

    def run(mode: str, given: bytes) -> bytes:
        options = [
            "--rm", "--interactive", "--network=none", "--pull=never", "--read-only", "--cap-drop=ALL",
            "--security-opt=no-new-privileges", f"--entrypoint={interpreter}",
        ]  # fmt: skip
        command = ("run", *options, base, "-I", "-S", "-c", program, mode)
        return engine.output(project, *command, given=given, program=engines).encode()

    return run


def on_host(mode: str, given: bytes) -> bytes:
    """Run `inside/compiled.py` with this interpreter, in a process of its own."""
    command = [sys.executable, "-I", "-S", compiled.__file__, mode]
    try:
        return subprocess.run(command, input=given, stdout=subprocess.PIPE, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise Failure(f"Python must be able to compile (got: {error}). To fix it: repair this installation.") from None


def compare(  # noqa: PLR0913, PLR0917 - the evidence, and how to get more of it
    files: Sequence[File],
    sources: Mapping[str, Sequence[File]],
    content: Content,
    python: Python,
    run: Run | None,
    cache: Path,
    *,
    base: str,
    mirror: str = "",
    notify: Callable[[int, int], None] = lambda _done, _all: None,
) -> Mapping[tuple[int, str], Bytecode]:
    """Return what each bytecode file is, by its layer and path.

    `sources` has the copies of each source, by path, in all layers. `run` compiles in the base image, whose digest is
    `base`: where it is None or fails, and for bytecode of another version, this interpreter compiles. `mirror` is the
    folder in which Python has the bytecode of all sources, or an empty string. `notify` gets the number of compiled
    sources, and of all to compile.
    """
    found: dict[tuple[int, str], Bytecode] = {}
    read: list[_Compiled] = []
    replaced = _replaced(files)
    for file in files:
        one = _read(file, sources, content, replaced[file.layer, file.path], mirror)
        if isinstance(one, Bytecode):
            found[file.layer, file.path] = one
        else:
            read.append(one)
    compilers = [(run, f"base {base} {python.library}")] if run else []
    for compiler, identity in (*compilers, (on_host, f"host {sys.version}")):
        rest = [one for one in read if one.key not in found]
        if not rest:
            break
        interpreter = _interpreter(compiler, identity, cache)
        interpreter.of_base = compiler is run
        try:
            found |= _judge(interpreter, rest, content, python, notify)
        except Failure:
            # It can't run here. The next one may have the same version.
            continue
        finally:
            _keep(interpreter, cache)
    return found | {one.key: Bytecode(State.UNVERIFIED, one.copies[0]) for one in read if one.key not in found}


def _replaced(files: Iterable[File]) -> Mapping[tuple[int, str], int]:
    """Return the number of the layer that has the next file of the same path, by layer and path."""
    replaced: dict[tuple[int, str], int] = {}
    last: dict[str, int] = {}
    for file in sorted(files, key=lambda one: -one.layer):
        replaced[file.layer, file.path] = last.get(file.path, sys.maxsize)
        last[file.path] = file.layer
    return replaced


def _read(
    file: File, sources: Mapping[str, Sequence[File]], content: Content, end: int, mirror: str
) -> _Compiled | Bytecode:
    """Return the facts of a bytecode file, or its state where no compilation is needed for it.

    `end` is the number of the layer that replaces it.
    """
    folder, _, name = file.path.rpartition("/")
    in_cache = folder.endswith(BYTECODE_FOLDER) or bool(mirror and is_below(file.path, mirror))
    cached = _CACHED.fullmatch(name) if in_cache else None
    path = source_path(file.path, mirror)
    copies = _copies(path, sources, end)
    if not copies:
        return Bytecode(State.WITHOUT_SOURCE)
    data = content(file)
    magic, flags = int.from_bytes(data[:2], "little"), int.from_bytes(data[4:8], "little")
    tag = _tag(magic)
    if (
        len(data) < HEADER
        or data[2:4] != b"\r\n"
        or flags not in {_BY_TIME, _UNCHECKED, _CHECKED}
        # Another program has written it, such as pytest.
        or (in_cache and not cached)
        # No Python of this version writes it.
        or not tag
        or (cached and tag != cached["tag"])
    ):
        return Bytecode(State.DIFFERENT, copies[0])
    named = data[8:HEADER]
    possible = [copy for copy in copies if flags != _BY_TIME or _time_and_size(copy, content) == named]
    is_used = bool(possible)
    # Builders that set the time of each file leave bytecode of another time: equal code is harmless.
    possible = possible or [copy for copy in copies if _time_and_size(copy, content)[4:] == named[4:]]
    if not possible:
        return Bytecode(State.STALE, copies[0])
    body = data[HEADER:]
    digest = _digest(body, path)
    if not digest and copies[0].path != path:
        digest = _digest(body, copies[0].path)
    return _Compiled(
        file,
        magic,
        unchecked=flags == _UNCHECKED,
        source_hash="" if flags == _BY_TIME else named.hex(),
        levels=(int(cached["optimization"] or 0),) if cached else (0, 1, 2),
        current=_hashed(copies[0], content),
        copies=tuple(_hashed(copy, content) for copy in possible),
        digest=digest,
        is_used=is_used,
    )


def _tag(magic: int) -> str:
    """Return the cache tag of the version that has a magic number, or an empty string."""
    first = _MAGIC[_FIRST_OF_50 - 1].stop
    if magic >= first:
        return f"cpython-3{_FIRST_OF_50 + (magic - first) // 50}"
    return next((f"cpython-3{minor}" for minor, numbers in _MAGIC.items() if magic in numbers), "")


def _copies(path: str, sources: Mapping[str, Sequence[File]], end: int) -> list[File]:
    """Return the copies of a source, the last one before a layer first, and then the later ones before the earlier."""
    found = sources.get(path, ())
    if len(found) == 1 and found[0].sha256 and not found[0].extra:
        return [*found]
    copies = [copy for copy in found if not copy.directory]
    # A link, such as uv makes to its cache on request.
    copies += [
        target
        for copy in copies
        if copy.target
        for target in sources.get(posixpath.normpath(posixpath.join(posixpath.dirname(path), copy.target)), ())
    ]
    regular = [copy for copy in copies if not (copy.target or copy.extra)]
    return sorted(regular, key=lambda copy: (copy.layer >= end, -copy.layer))


def _time_and_size(copy: File, content: Content) -> bytes:
    """Return the time and size of a source as a header has them."""
    # A hard link has no size in its layer.
    size = copy.size or (0 if copy.sha256 == _EMPTY else len(content(copy)))
    return _TIME_AND_SIZE.pack(copy.mtime & 0xFFFFFFFF, size & 0xFFFFFFFF)


def _hashed(copy: File, content: Content) -> File:
    return copy if copy.sha256 else copy._replace(sha256=_sha256(content(copy)))


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _digest(body: bytes, path: str) -> str:
    """Return the digest of code without the path of its source, or an empty string where that is not found."""
    written = os.fsencode(path)
    if len(written) > _MOST_SHORT or bytes([len(written)]) + written not in body:
        written = _written(body, os.fsencode(posixpath.basename(path)))
    return compiled.digest_of(body, written) if written and written.isascii() else ""


def _written(body: bytes, name: bytes) -> bytes:
    """Return the path that code has been compiled with, in another folder or build stage, or nothing."""
    for match in re.finditer(re.escape(name), body):
        end = match.end()
        for start in range(match.start(), max(end - _MOST_SHORT, 2) - 1, -1):
            if body[start - 1] == end - start and body[start - 2] in _SHORT_TEXTS:
                return body[start:end]
    return b""


def _interpreter(run: Run, identity: str, cache: Path) -> _Interpreter:
    """Return an interpreter with what the cache has of it."""
    # With another program, the results have another form.
    key = _sha256(f"{identity}\n{Path(compiled.__file__).read_text(encoding='utf-8')}".encode())
    interpreter = _Interpreter(run, key)
    kept = caches.read(cache, _KIND, key)
    if kept:
        interpreter.version, interpreter.magic, interpreter.kept = kept["version"], kept["magic"], kept["results"]
    return interpreter


def _keep(interpreter: _Interpreter, cache: Path) -> None:
    """Write what an interpreter has compiled to the cache."""
    if not interpreter.changed:
        return
    used = {_name(key): [one.source_hash, one.canonical, *one.digests] for key, one in interpreter.results.items()}
    results = dict([*(interpreter.kept | used).items()][-_MOST_RESULTS:])
    value = {"version": interpreter.version, "magic": interpreter.magic, "results": results}
    caches.write(cache, _KIND, interpreter.key, value)


def _judge(
    interpreter: _Interpreter,
    files: Sequence[_Compiled],
    content: Content,
    python: Python,
    notify: Callable[[int, int], None],
) -> dict[tuple[int, str], Bytecode]:
    """Return the states of the files that are of the interpreter's version. Raises Failure where it can't run."""
    if files and not interpreter.version:
        _compile(interpreter, "digests", {}, content)
    own = [one for one in files if one.magic == interpreter.magic]
    missing = {key: copy for one in own for copy, key in one.compilations if not interpreter.result(key)}
    done = 0
    for portion in _portions(missing):
        _compile(interpreter, "digests", portion, content)
        done += len(portion)
        notify(done, len(missing))
    # Of an interpreter's version, and with a number that it does not use.
    tag = _tag(interpreter.magic)
    found = {one.key: Bytecode(State.DIFFERENT, one.current) for one in files if _tag(one.magic) == tag}
    doubtful = []
    for one in own:
        possible = [(copy, key) for copy, key in one.compilations if _names(one, interpreter.result(key))]
        equal = [copy for copy, key in possible if one.digest and one.digest in _digests(interpreter, key)]
        if equal:
            found[one.key] = one.equal_to(equal[0])
        elif possible:
            doubtful.append((one, possible))
        else:
            # Python runs unchecked bytecode whatever its source has become.
            found[one.key] = Bytecode(State.DIFFERENT if one.unchecked else State.STALE, one.current)
    _compile_whole(interpreter, [(copy, key) for _, possible in doubtful for copy, key in possible], content)
    for one, possible in doubtful:
        copy = _equal_copy(one, possible, interpreter, content)
        # Another release of the same version may compile a source to other code. The base image's own is the one that
        # runs, but for the bytecode of Debian's beside it: what the image states of its version may be forged.
        is_debian = one.file.path.startswith(_DEBIAN) and not python.library.startswith(_DEBIAN)
        same = (interpreter.of_base and not is_debian) or f"{interpreter.version}.".startswith(f"{python.version}.")
        differs = State.DIFFERENT if one.is_used else State.STALE
        other = Bytecode(differs if same else State.UNVERIFIED, possible[0][0])
        found[one.key] = one.equal_to(copy) if copy else other
    return found


def _names(one: _Compiled, result: _Result | None) -> bool:
    """Return whether the header of bytecode may name the source that a result is of."""
    return not one.source_hash or result is None or result.source_hash == one.source_hash


def _digests(interpreter: _Interpreter, key: _Key) -> Sequence[str]:
    result = interpreter.result(key)
    return result.digests if result else ()


def _equal_copy(
    one: _Compiled, possible: Iterable[tuple[File, _Key]], interpreter: _Interpreter, content: Content
) -> File | None:
    """Return the copy whose compilation is the same code as a bytecode file, or None."""
    body = content(one.file)[HEADER:]
    try:
        code = marshalled.read(body, interpreter.magic)
    except ValueError:
        return None
    # Where it was compiled is of no effect: imports replace the path.
    names = {os.fsencode(posixpath.basename(path)) for path in (source_path(one.file.path), one.current.path)}
    if posixpath.basename(code.path) not in names:
        return None
    for copy, key in possible:
        result = interpreter.result(key)
        if result and result.canonical == code.digest:
            # Unless the path is also a text of the code, where it is left out of no digest.
            if one.digest and body.count(bytes([len(code.path)]) + code.path) == code.written:
                result.digests.append(compiled.digest_of(body, code.path))
                interpreter.changed = True
            return copy
    return None


def _portions(missing: Mapping[_Key, File]) -> Iterator[Mapping[_Key, File]]:
    """Yield the sources to compile, as many at a time as one container gets."""
    portion: dict[_Key, File] = {}
    size = 0
    for key, copy in missing.items():
        portion[key] = copy
        size += copy.size
        if size >= _PORTION or len(portion) >= _MOST_FILES:
            yield portion
            portion, size = {}, 0
    if portion:
        yield portion


def _compile_whole(interpreter: _Interpreter, wanted: Iterable[tuple[File, _Key]], content: Content) -> None:
    """Compile sources whose code is to be compared by its content, and those that a crash left out."""
    missing = {
        key: copy
        for copy, key in wanted
        if (result := interpreter.result(key)) is None or (result.digests and not result.canonical)
    }
    for portion in _portions(missing):
        _compile(interpreter, "bytecode", portion, content)


def _compile(interpreter: _Interpreter, mode: str, wanted: Mapping[_Key, File], content: Content) -> None:
    """Compile sources, and add the results to those of the interpreter. Raises Failure where it can't run."""
    contents = {key: content(copy) for key, copy in wanted.items()}
    rows = [[*key, len(text)] for key, text in contents.items()]
    output = interpreter.run(mode, b"".join((json.dumps(rows).encode(), b"\n", *contents.values())))
    try:
        about, *lines = output.splitlines()
        described = json.loads(about)
        interpreter.version = described["version"].rstrip("+")
        interpreter.magic = int.from_bytes(bytes.fromhex(described["magic"])[:2], "little")
        for line in lines:
            digest, level, source_hash, given = line.decode().split()
            key = digest, int(level)
            if mode == "digests" or given == "-":
                interpreter.results[key] = _Result(source_hash, [] if given == "-" else [given])
                continue
            body = base64.b64decode(given)
            result = interpreter.result(key) or interpreter.results.setdefault(key, _Result(source_hash, []))
            path = compiled.path_of(digest).encode()
            result.digests = result.digests or [compiled.digest_of(body, path)]
            result.canonical = marshalled.read(body, interpreter.magic).digest
    except (ValueError, KeyError, TypeError) as error:
        raise Failure(
            f"The Python of the base image must print digests of bytecode (got: {error}). To fix it: name the base "
            "image with --base."
        ) from None
    interpreter.changed = True
