"""Read the wheels that a lock names: from the cache, or downloaded from the package indexes.

A wheel is accepted by its sha256 in the lock alone. The cache keeps what is in a wheel, not the wheel.
"""

from __future__ import annotations

import configparser
import hashlib
import io
import itertools
import re
import tempfile
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from prodlock.failure import CANNOT_CHECK, Failure
from prodlock.inside.lock.selection import Requirement, normalized, packaging
from prodlock.origins import cache as entries
from prodlock.origins.installers import declared
from prodlock.origins.records import Installed, Member, Python, Wheel

if TYPE_CHECKING:
    from prodlock.origins.index import Index, Listed

# Returns what prodlock/site.py finds; called only where the cache lacks something.
Settings = Callable[[], Mapping[str, str]]
# Takes the state of a long step, as a text.
Notify = Callable[[str], object]

# The kinds of entries in the cache: a change of what they have gets another name.
_WHEELS, _NAMES = "wheels-1", "names-1"
_THREADS = 8
# Seconds between two states of a long step.
_INTERVAL = 0.2
_SHA256 = "sha256:"
# How many bytes of a download are in memory.
_IN_MEMORY = 4 << 20


def choose(installed: Installed, locked: Requirement) -> str | None:
    """Return the sha256 of the wheel in the lock that an installed distribution's tags select, or None.

    The tags only select: whether the distribution is that wheel, its contents decide.
    """
    best: tuple[int, int, tuple[bool, list[tuple[int, ...]]], str] | None = None
    for file, digest in locked.files:
        if not digest.startswith(_SHA256) or (named := tags(file)) is None:
            continue
        agreement = _agreement(installed.tags, named)
        # pip prefers a later build, and of two platforms the one that is closer to this one.
        rank = agreement, _build(file), _platform(file), digest.removeprefix(_SHA256).lower()
        if agreement and (best is None or rank > best):
            best = rank
    return best and best[-1]


def fitting(locked: Requirement, python: Python, *, is_musl: bool) -> str | None:
    """Return the sha256 of the wheel in the lock that an interpreter can import, or None.

    It is for a distribution whose tags select none: some publishers rename a wheel for its platform and leave other
    tags in it, such as `py3-none-any`. As with tags, its contents decide.
    """
    ranks = [
        (_build(file), _platform(file), digest.removeprefix(_SHA256).lower())
        for file, digest in locked.files
        if digest.startswith(_SHA256) and fits(file, python, is_musl=is_musl)
    ]
    return max(ranks)[-1] if ranks else None


def is_musl(paths: Iterable[str]) -> bool:
    """Return whether the C library of an image is musl, by the name that its loader has among the image's paths."""
    return any(path.startswith(("/lib/ld-musl-", "/usr/lib/ld-musl-")) for path in paths)


def is_build_of(wheel: Wheel, info: str, digest: str) -> bool:
    """Return whether a distribution has the WHEEL file of a wheel, by its metadata's folder and the file's sha256.

    What was built from source has the tags of a wheel of the lock, or similar ones, and mostly another WHEEL file.
    """
    member = wheel.members.get(f"{info.rpartition('/')[2]}/WHEEL")
    return member is not None and member.sha256 == digest


def tags(file: str) -> frozenset[str] | None:
    """Return the tags in a wheel's file name (PEP 425), or None for the name of another file."""
    parts = file.lower().removesuffix(".whl").split("-")
    if not file.lower().endswith(".whl") or len(parts) not in {5, 6}:
        return None
    return _expanded("-".join(parts[-3:]))


def fits(file: str, python: Python, *, is_musl: bool) -> bool:
    """Return whether a wheel is for an interpreter and its machine, by the tags in the wheel's file name.

    A build stage of another platform installs such wheels for itself.
    """
    named, machine = packaging("tags"), python.environment.get("platform_machine", "")
    version = tuple(map(int, python.minor.split(".")))
    code = f"cp{version[0]}{version[1]}"
    for tag in tags(file) or ():
        platform = tag.split("-", 2)[2]
        # The names of 32-bit Arm are versions: each runs what is built for an earlier one.
        is_machine = platform.endswith(f"_{machine}") or (machine.startswith("armv") and "_armv" in platform)
        is_other_libc = platform.startswith("manylinux" if is_musl else "musllinux")
        if platform != "any" and (is_other_libc or not ("linux" in platform and is_machine)):
            continue
        abi = code + "t" * python.library.endswith("t")
        supported = (*named.cpython_tags(version, [abi], [platform]), *named.compatible_tags(version, code, [platform]))
        if tag in map(str, supported):
            return True
    return False


def _expanded(tag: str) -> frozenset[str]:
    """Return the tags that a compressed set stands for, such as py2.py3-none-any."""
    return frozenset("-".join(one) for one in itertools.product(*(part.split(".") for part in tag.split("-"))))


def _agreement(stated: Iterable[str], named: frozenset[str]) -> int:
    """Return how well the tags in WHEEL agree with those in a file name; 0 for not at all."""
    # Build tools should write each tag on a line of its own; some write the compressed set of the file name.
    lowered = frozenset(tag for one in stated for tag in _expanded(one.lower()))
    if lowered == named:
        return 3
    if lowered & named:
        return 2
    # Build tools that rename a wheel for its platform may leave `linux_x86_64` in it.
    return 1 if {*map(_coarse, lowered)} & {*map(_coarse, named)} else 0


def _coarse(tag: str) -> str:
    """Return a tag with the kind of its platform instead of the platform's version."""
    code, abi, platform = tag.split("-", 2) if tag.count("-") > 1 else (tag, "", "")
    for kind in ("manylinux", "musllinux", "linux"):
        if platform.startswith(kind):
            machine = platform.removeprefix(kind).lstrip("0123456789_")
            return f"{code}-{abi}-linux-{machine}"
    return tag


def _build(file: str) -> int:
    """Return the build number in a wheel's file name, or -1."""
    found = re.fullmatch(r"[^-]+-[^-]+-(\d+)[^-]*-[^-]+-[^-]+-[^-]+", file)
    return int(found[1]) if found else -1


def _platform(file: str) -> tuple[bool, list[tuple[int, ...]]]:
    """Return what orders platforms: musl before glibc, an earlier version before a later one."""
    versions = re.findall(r"linux_(\d+)_(\d+)_", file)
    return "musllinux" not in file, sorted(tuple(map(int, one)) for one in versions)


def identify(needed: Iterable[Requirement], settings: Settings, cache: Path, notify: Notify) -> dict[str, Requirement]:
    """Return requirements by name, with the names of their files from the index where the lock names none.

    Raises Failure, code 2, where no index has one of the files.
    """
    found = {one.name: one for one in needed}
    missing = []
    for one in [one for one in found.values() if not any(file for file, _ in one.files)]:
        names = entries.read(cache, _NAMES, _key(one))
        if isinstance(names, dict) and names:
            found[one.name] = _named(one, names)
        else:
            missing.append(one)
    if missing:
        index = _index(settings)

        def search(one: Requirement) -> Requirement:
            listed = {file.sha256: file.name for file in _searched(index, one) if file.sha256}
            names = {digest: listed[digest] for digest in _digests(one) if digest in listed}
            if not names:
                raise _absent(one, f"a file of {one.name} {one.version}", index)
            entries.write(cache, _NAMES, _key(one), names)
            return _named(one, names)

        def state(done: int) -> None:
            notify(f"Package index: {done} of {len(missing)} distributions")

        found |= {one.name: one for one in _parallel(search, missing, state)}
    return found


def contents(needed: Mapping[str, Requirement], settings: Settings, cache: Path, notify: Notify) -> dict[str, Wheel]:
    """Return the contents of wheels by their sha256. Those that the cache lacks are downloaded in parallel.

    Raises Failure, code 2, where no index has one of them, or where what it has is another file.
    """
    cached = {digest: _cached(cache, digest, one) for digest, one in needed.items()}
    found = {digest: wheel for digest, wheel in cached.items() if wheel}
    missing = [(digest, one) for digest, one in needed.items() if digest not in found]
    if missing:
        index, received = _index(settings), _Count()

        def read(pair: tuple[str, Requirement]) -> Wheel:
            wheel = _downloaded(index, *pair, received)
            value = {"file": wheel.file, "commands": wheel.commands, "members": wheel.members}
            entries.write(cache, _WHEELS, wheel.sha256, value)
            return wheel

        def state(done: int) -> None:
            notify(f"Locked wheels: {done} of {len(missing)}, {received.total / 1e6:.0f} MB")

        try:
            found |= {one.sha256: one for one in _parallel(read, missing, state)}
        finally:
            # Where one failed, the other threads end with their next part.
            received.stopped.set()
    return found


def _index(settings: Settings) -> Index:
    """Return the package indexes of the settings. Raises Failure, code 2, where a setting is not valid."""
    from prodlock.origins.index import Index  # noqa: PLC0415 - a run with a full cache needs none of it

    try:
        return Index(settings())
    except Failure as failure:
        raise Failure(str(failure), CANNOT_CHECK) from None


def _key(one: Requirement) -> str:
    """Return the key of a requirement's files in the cache."""
    return hashlib.sha256("\n".join(sorted(_digests(one))).encode()).hexdigest()


def _named(one: Requirement, names: Mapping[str, str]) -> Requirement:
    return one._replace(files=tuple((names.get(digest, ""), _SHA256 + digest) for digest in _digests(one)))


class _Count:
    """How many bytes all threads have received."""

    def __init__(self) -> None:
        self.total = 0
        self.stopped = threading.Event()
        self._lock = threading.Lock()

    def add(self, size: int) -> None:
        if self.stopped.is_set():
            raise Failure("", CANNOT_CHECK)
        with self._lock:
            self.total += size


def _parallel(run: Callable[[Any], Any], jobs: Iterable[Any], state: Callable[[int], object]) -> Iterator[Any]:
    """Run a function for each job in threads, and return the results. Raises what one of them raises."""
    pool = ThreadPoolExecutor(_THREADS)
    futures: list[Future[Any]] = [pool.submit(run, job) for job in jobs]
    pending = {*futures}
    try:
        while pending:
            done, pending = wait(pending, _INTERVAL, FIRST_COMPLETED)
            for one in done:
                one.result()
            state(len(futures) - len(pending))
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()
    return (one.result() for one in futures)


def _digests(one: Requirement) -> list[str]:
    return [digest.removeprefix(_SHA256).lower() for _, digest in one.files if digest.startswith(_SHA256)]


def _searched(index: Index, one: Requirement) -> Iterator[Listed]:
    """Yield the files of a distribution on each index, those of its own index first; or the one that its link names.

    Raises Failure, at the end, where an index can't be asked.
    """
    if one.link:
        from prodlock.origins.index import Listed  # noqa: PLC0415 - as above

        yield Listed(one.files[0][0], one.link, "")
        return
    failed = None
    for address in index.addresses(one.address):
        try:
            yield from index.files(address, normalized(one.name))
        except Failure as failure:
            failed = failed or failure
    if failed:
        raise failed


def _absent(one: Requirement, what: str, index: Index) -> Failure:
    return Failure(
        f"A package index must have {what}, which the lock names (got none with its sha256 on "
        f"{', '.join(index.addresses(one.address))}). To fix it: name the index that has it with INDEX_URL or "
        "EXTRA_INDEX_URL, or lock again.",
        CANNOT_CHECK,
    )


def _downloaded(index: Index, digest: str, one: Requirement, received: _Count) -> Wheel:
    """Return the contents of a wheel on an index."""
    file = next((name for name, found in one.files if found.lower() == _SHA256 + digest), "")
    other = ""
    if one.link and "://" not in one.link:
        return _beside_lock(one, file, digest)
    for listed in _searched(index, one):
        # An index may have no sha256 on its pages.
        if listed.sha256 != digest and (listed.sha256 or listed.name != file):
            continue
        with tempfile.SpooledTemporaryFile(_IN_MEMORY) as content:
            hashed = _Hashed(content, received)
            if not index.download(listed.address, hashed.write, hashed.restart):
                continue
            if hashed.hexdigest() == digest:
                return opened(content, one, file or listed.name, digest)
            other = hashed.hexdigest()
    if other:
        raise Failure(
            f"{file} must have the sha256 {digest} of the lock (got {other} from the package index). To fix it: find "
            "out why the index has another file of this name before you trust either; INDEX_URL names another index.",
            CANNOT_CHECK,
        )
    if one.link:
        from prodlock.origins.index import bare  # noqa: PLC0415 - as above

        raise Failure(
            f"{bare(one.link)} must be a file that can be downloaded, which the lock names (got none). To fix it: lock "
            "again.",
            CANNOT_CHECK,
        )
    raise _absent(one, file or f"a wheel of {one.name} {one.version}", index)


def _beside_lock(one: Requirement, file: str, digest: str) -> Wheel:
    """Return the contents of a wheel that the lock names by a path."""
    content = Path(one.link).read_bytes()
    if (other := hashlib.sha256(content).hexdigest()) != digest:
        raise Failure(
            f"{one.link} must have the sha256 {digest} of the lock (got {other}). To fix it: lock again.", CANNOT_CHECK
        )
    return opened(io.BytesIO(content), one, file, digest)


class _Hashed:
    """A file with the sha256 of what is written to it."""

    def __init__(self, file: Any, received: _Count) -> None:  # noqa: ANN401 - a temporary file has no type of its own
        self._file = file
        self._received = received
        self._hash = hashlib.sha256()

    def restart(self) -> None:
        self._file.seek(0)
        self._file.truncate()
        self._hash = hashlib.sha256()

    def write(self, part: bytes) -> None:
        self._received.add(len(part))
        self._file.write(part)
        self._hash.update(part)

    def hexdigest(self) -> str:
        return self._hash.hexdigest()


def opened(content: IO[bytes], one: Requirement, file: str, digest: str) -> Wheel:
    """Return the contents of a wheel, whose sha256 is that of the lock.

    Raises Failure, code 2, where it is not a wheel.
    """
    try:
        with zipfile.ZipFile(content) as archive:
            members, commands = {}, {}
            for member in archive.infolist():
                if member.is_dir():
                    continue
                with archive.open(member) as stream:
                    members[member.filename] = _member(stream, ".data/scripts/" in member.filename)
                if member.filename.endswith(".dist-info/entry_points.txt") and member.filename.count("/") == 1:
                    commands = dict(declared(archive.read(member).decode()))
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, OSError,
            configparser.Error) as error:  # fmt: skip
        raise Failure(
            f"{file} must be a wheel (got: {error}). To fix it: lock another version of {one.name}.", CANNOT_CHECK
        ) from None
    return Wheel(normalized(one.name), one.version, file, digest, members, commands)


def _member(stream: IO[bytes], is_script: bool) -> Member:  # noqa: FBT001
    """Return what is recorded of a file in a wheel."""
    digest, size, body = hashlib.sha256(), 0, None
    first = stream.readline(1024) if is_script else b""
    if first.startswith(b"#!python"):
        body = hashlib.sha256()
    digest.update(first)
    size += len(first)
    while part := stream.read(1 << 20):
        digest.update(part)
        size += len(part)
        if body:
            body.update(part)
    return Member(digest.hexdigest(), size, body.hexdigest() if body else "")


def _cached(cache: Path, digest: str, one: Requirement) -> Wheel | None:
    """Return the contents of a wheel from the cache, or None where it has no entry that can be read."""
    value = entries.read(cache, _WHEELS, digest)
    try:
        members = {path: Member(*member) for path, member in value["members"].items()}
        return Wheel(normalized(one.name), one.version, value["file"], digest, members, value["commands"])
    except (KeyError, TypeError, AttributeError):
        return None
