"""Obtain facts: what the layers and the configuration of an image hold. Nothing is judged here."""

from __future__ import annotations

import hashlib
import io
import json
import mmap
import posixpath
import re
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Generator, Iterator, Mapping
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import IO, Any, NamedTuple, cast

from prodlock.docker import engine
from prodlock.failure import CANNOT_CHECK, Failure
from prodlock.image import archives
from prodlock.image.records import HEAD_BYTES, File, Image, Layer, is_library
from prodlock.project import Project

# How much of a text is shown to the judges, and how much of all texts is kept for them.
TEXT_BYTES = 4 << 20
_KEPT_BYTES = 64 << 20
_ARCHIVE_DEPTH = 4
# No manifest, configuration or RECORD is larger.
_DOCUMENT_BYTES = 16 << 20
# How much of a mapped file stays in memory.
_WINDOW = 16 << 20
_BLOCK = 512
# What a tar entry's extended header says that the entry itself has room for, or had (pax(1)).
_PLAIN_HEADERS = {"atime", "ctime", "gid", "linkpath", "mtime", "path", "size", "uid"}
# What names, links and extended attributes take; no honest entry has more.
_NAME_BYTES = 4096
# A number in a tar's header: octal digits, or binary behind a first bit (tar(5)).
_NUMBER = re.compile(rb"[0-7]+[ \0]*|[\x80\xff].{11}", re.DOTALL)
# The headers that may precede an entry: one extended header, or GNU's long name and long link.
_PRECEDING = {b"", b"x", b"L", b"K", b"LK", b"KL"}
_RECORD = re.compile(rb"(\d{1,9}) ([^=]+)=")
# How the paths end of the documents of dev that are kept whole: which files a distribution owns, what its build took
# of poetry.lock.
_DOCUMENTS = (".dist-info/RECORD", "/selection.json")
# What an extended header says by a number, and such a number (pax(1)).
_NUMBERED = {b"atime", b"ctime", b"gid", b"mtime", b"size", b"uid"}
_DECIMAL = re.compile(rb"-?\d{1,20}(\.\d{1,9})?")
# A user or a group by name, or none (useradd(8)).
_OWNER = re.compile(r"[a-z_][a-z0-9_-]{0,31}|")
# Names that mean something to Docker, as it writes them: in manifest.json, in an OCI index or manifest, and in a
# configuration.
_SAVED = frozenset({"Config", "LayerSources", "Layers", "RepoTags"})
_OCI = frozenset({"config", "digest", "layers", "manifests", "mediaType", "platform", "schemaVersion", "size"})
_CONFIGURATION = frozenset(
    {
        "architecture", "comment", "config", "created", "created_by", "diff_ids", "empty_layer", "history", "os",
        "os.version", "rootfs", "variant", "ArgsEscaped", "Cmd", "Entrypoint", "Env", "ExposedPorts", "Healthcheck",
        "Interval", "Labels", "OnBuild", "Retries", "Shell", "StartInterval", "StartPeriod", "StopSignal", "Test",
        "Timeout", "User", "Volumes", "WorkingDir",
    }
)  # fmt: skip
# What a user names: there case counts.
_MAPS = {"Annotations", "ExposedPorts", "Labels", "LayerSources", "Volumes", "annotations"}
# More than any Engine builds or pulls.
_LAYERS = 127
# A file, a hard link, a symbolic link, a folder. Readers take other types for one of these, or leave them out.
_PLAIN_TYPES = {tarfile.REGTYPE, tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.DIRTYPE}
_KINDS = {
    tarfile.CHRTYPE: "a character device",
    tarfile.BLKTYPE: "a block device",
    tarfile.FIFOTYPE: "a named pipe",
}

# Says whether files of so many bytes are hashed.
Sizes = Callable[[int], bool]
# Says whether a text, by path and content, is kept whole.
Telling = Callable[[str, bytes], bool]
# Says whether a file is, by path and sha256, one that is promised: what is packed into it is promised with it.
Promise = Callable[[str, str], bool]


def _nothing(_path: str, _digest: str) -> bool:
    return False


def _no_text(_path: str, _content: bytes) -> bool:
    return False


class _Tar(NamedTuple):
    """An uncompressed tar within a mapped file: from a byte to a byte of it."""

    map: mmap.mmap
    start: int
    end: int


class _Terms(NamedTuple):
    """On what terms files are read: of which layer, which are hashed, how much archives may unpack to."""

    layer: int
    hashed: Sizes
    budget: archives.Budget
    # Whether the documents of dev are kept whole.
    records: bool = False
    promised: Promise = _nothing
    telling: Telling = _no_text
    # How many bytes of texts may still be kept.
    room: archives.Budget | None = None
    # Whether a layer below brought the standard library: another copy of a module is then read.
    has_library: bool = False


class _Region(io.RawIOBase):
    """A part of a mapped file, as a file of its own."""

    def __init__(self, mapped: mmap.mmap, start: int, end: int) -> None:
        self._map, self._start, self._end, self._at = mapped, start, end, start

    def readinto(self, buffer: Any, /) -> int:  # noqa: ANN401
        """Read on."""
        content = self._map[self._at : min(self._at + len(buffer), self._end)]
        buffer[: len(content)] = content
        self._at += len(content)
        return len(content)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Go to a place."""
        self._at = max(self._start, (self._start, self._at, self._end)[whence] + offset)
        return self.tell()

    def tell(self) -> int:
        """Return the place."""
        return self._at - self._start

    def seekable(self) -> bool:
        """Return that it is."""
        return True

    def readable(self) -> bool:
        """Return that it is."""
        return True


def read(
    reference: str,
    archive: IO[bytes],
    hashed: Sizes,
    promised: Promise = _nothing,
    telling: Telling = _no_text,
) -> Image:
    """Return the facts of the one image in `archive`, a file that `docker save` wrote, compressed by gzip or not.

    Files of the sizes that `hashed` accepts get their sha256. Of what is not `promised`, archives are looked into,
    and texts that are `telling` are kept whole. Raises Failure, code 2, where there are too many of these, where a
    layer is not, to the last byte, what the image's configuration says it is, or where one Engine would take another
    image out of `archive` than the next.
    """
    try:
        with _mapped(archive) as file, _plain(_Tar(file, 0, len(file))) as saved, ThreadPoolExecutor(1) as pool:
            members = _named(saved)
            (manifest,) = _parsed(_document(saved, members["manifest.json"]), _SAVED)
            if set(manifest) - _SAVED or len(manifest["Layers"]) > _LAYERS:
                message = "a manifest that no Engine writes"
                raise tarfile.ReadError(message)
            if "index.json" in members:
                _check_index(saved, members, manifest)
            configuration = _document(saved, members[manifest["Config"]])
            document = _parsed(configuration, _CONFIGURATION)
            _check_types(document)
            diff_ids = document["rootfs"]["diff_ids"]
            budget, room = archives.Budget(), archives.Budget(_KEPT_BYTES)
            has_library = False
            files: list[File] = []
            for number, (name, diff_id) in enumerate(zip(manifest["Layers"], diff_ids, strict=True)):
                member = members[name]
                layer = _Tar(saved.map, member.offset_data, member.offset_data + member.size)
                with _plain(layer, bare=True) as tar:
                    # On the other core: hashing does not hold the interpreter's lock.
                    verified = pool.submit(_verify, tar, diff_id)
                    try:
                        terms = _Terms(
                            number,
                            hashed,
                            budget,
                            promised=promised,
                            telling=telling,
                            room=room,
                            has_library=has_library,
                        )
                        found = list(_files(tar, terms))
                    finally:
                        # In any case: the layer may not be let go of while it is being read.
                        verified.result()
                files += found
                has_library = has_library or any(is_library(file.path) for file in found)
        steps = document.get("history") or []
        made = [step.get("created_by", "") for step in steps if not step.get("empty_layer")]
        made += ["unknown"] * (len(diff_ids) - len(made))
        return Image(
            reference=reference,
            layers=tuple(Layer(*pair) for pair in zip(diff_ids, made, strict=False)),
            document=document,
            config=document.get("config") or {},
            history=tuple(step.get("created_by", "") for step in steps),
            files=tuple(files),
            identifier="sha256:" + hashlib.sha256(configuration).hexdigest(),
        )
    except (
        tarfile.TarError, zlib.error, KeyError, IndexError, TypeError, ValueError, AttributeError, EOFError,
        OverflowError, RecursionError, MemoryError, OSError,
    ) as error:  # fmt: skip
        raise Failure(
            f"The archive of {reference} can't be read ({_said(error)}): build or pull it again.", CANNOT_CHECK
        ) from error
    except archives.TooMuchError:
        raise Failure(
            f"{reference} unpacks to far more than its size, or has headers too large: it is broken, or a trap. "
            "Build or pull it again.",
            CANNOT_CHECK,
        ) from None
    except archives.NoRoomError as error:
        raise Failure(
            f"There is no room to unpack {reference} ({error}): free some, or name another folder with TMPDIR.",
            CANNOT_CHECK,
        ) from None


def trees(project: Project, reference: str, *folders: str) -> Generator[tuple[File, ...], None, None]:
    """Give the files below each of the folders as a container of the image would see them, each with its sha256."""
    # Created, never started: starting one beside a running `docker save` takes a second longer.
    container = engine.output(project, "create", "--pull=never", reference, echo=True).strip()
    try:
        for folder in folders:
            yield tuple(_folder(project, container, PurePosixPath(folder)))
    finally:
        engine.output(project, "rm", container)


def _folder(project: Project, container: str, folder: PurePosixPath) -> Iterator[File]:
    with tempfile.TemporaryFile() as archive:
        engine.write(project, archive, "cp", f"{container}:{folder}", "-")
        with _mapped(archive) as copied:
            tar = _Tar(copied, 0, len(copied))
            yield from _files(tar, _Terms(0, _every_size, archives.Budget(), records=True), above=str(folder.parent))


def _every_size(_: int) -> bool:
    return True


def _said(error: Exception) -> str:
    """Return what an error says, fit to be printed: a name in a hostile archive may be no text."""
    text = f"it has no {error}" if isinstance(error, KeyError) else str(error) or type(error).__name__
    return text.encode(errors="backslashreplace").decode()[:200]


def _mapped(archive: IO[bytes]) -> mmap.mmap:
    """Map a file into memory: thousands of small reads then cost no system calls."""
    return mmap.mmap(archive.fileno(), 0, access=mmap.ACCESS_READ)


def _forget(mapped: mmap.mmap, start: int, end: int) -> None:
    """Let go of a mapped part that was read: a large image takes no more memory than a small one."""
    start -= start % mmap.PAGESIZE
    # Windows has no such advice, and needs none: it trims what is mapped by itself.
    if hasattr(mapped, "madvise") and end > start:
        mapped.madvise(mmap.MADV_DONTNEED, start, end - start)


def _entries(tar: _Tar) -> Iterator[tarfile.TarInfo]:
    """Give the entries of a tar; their offsets count from the start of the mapped file.

    Raises ReadError where something that is no entry follows, which tarfile takes for the end, and for an entry that
    is larger than the tar, has holes, or would be unpacked outside of the folder that a tar is unpacked to.
    """
    tar.map.seek(tar.start)
    limited = archives.Limited(tar.map)
    seen = forgotten = tar.start
    with tarfile.open(fileobj=cast("IO[bytes]", limited), mode="r:") as archive:
        for entry in archives.entries(archive, limited):
            if entry.offset >= tar.end:
                return
            if entry.size < 0 or (entry.isreg() and entry.offset_data + entry.size > tar.end):
                message = f"an entry of {entry.size} bytes, which is more than there is"
                raise tarfile.ReadError(message)
            if archive.pax_headers:
                message = "a header for all entries, which not every reader heeds"
                raise tarfile.ReadError(message)
            _check_headers(tar, entry)
            if entry.issparse():
                message = "an entry with holes"
                raise tarfile.ReadError(message)
            if posixpath.normpath(entry.name.lstrip("/")).startswith(".."):
                message = f"an entry outside of the image: {entry.name}"
                raise tarfile.ReadError(message)
            yield entry
            seen = entry.offset_data + entry.size
            if seen - forgotten > _WINDOW:
                _forget(tar.map, forgotten, seen)
                forgotten = seen
        for at in range(archive.offset, tar.end, _WINDOW):
            if tar.map[at : min(at + _WINDOW, tar.end)].strip(b"\0"):
                message = f"no tar entry at byte {archive.offset - tar.start}"
                raise tarfile.ReadError(message)


def _check_headers(tar: _Tar, entry: tarfile.TarInfo) -> None:
    """Raise ReadError for headers that readers understand differently, or that hold more than they say."""
    kinds, sound, at = b"", True, entry.offset
    while at < entry.offset_data - _BLOCK:
        kind = tar.map[at + 156 : at + 157]
        size = int(tar.map[at + 124 : at + 136].rstrip(b" \0") or b"0", 8)
        body = tar.map[at + _BLOCK : at + _BLOCK + size]
        padding = tar.map[at + _BLOCK + size : at + _BLOCK + size + -size % _BLOCK]
        whole = _records(body) == size if kind == b"x" else size <= _NAME_BYTES and b"\0" not in body.rstrip(b"\0")
        sound = sound and whole and not padding.strip(b"\0")
        kinds += kind
        at += _BLOCK + size + len(padding)
    sound = sound and kinds in _PRECEDING and bool(_NUMBER.fullmatch(tar.map[at + 124 : at + 136]))
    if not sound or max(len(entry.name), len(entry.linkname)) > _NAME_BYTES:
        message = "a header that not every reader understands alike"
        raise tarfile.ReadError(message)


def _records(body: bytes) -> int:
    """Return how many bytes of an extended header are records: `LENGTH NAME=VALUE`, LENGTH counts all (pax(1)).

    Each name once, and numbers where numbers belong: of two values readers take one, and nobody sees the other.
    """
    at, names = 0, set()
    while match := _RECORD.match(body, at):
        end, name = at + int(match[1]), match[2]
        sound = match.end() < end and body[end - 1 : end] == b"\n" and name not in names
        if not sound or (name in _NUMBERED and not _DECIMAL.fullmatch(body[match.end() : end - 1])):
            break
        names.add(name)
        at = end
    return at


def _named(saved: _Tar) -> dict[str, tarfile.TarInfo]:
    """Return the entries of a saved image by name. Raises ReadError where a name is there twice."""
    members: dict[str, tarfile.TarInfo] = {}
    for member in _entries(saved):
        name = posixpath.normpath(member.name)
        if name in members and not member.isdir():
            message = f"{name} is there twice"
            raise tarfile.ReadError(message)
        members[name] = member
    return members


def _check_index(saved: _Tar, members: Mapping[str, tarfile.TarInfo], manifest: Mapping[str, Any]) -> None:
    """Raise ReadError where index.json, which some Engines go by, leads to another image than manifest.json.

    An index names manifests and further indexes, a manifest its configuration and its layers; what it names of other
    platforms need not be there (https://github.com/opencontainers/image-spec/blob/main/image-layout.md).
    """
    wanted = [posixpath.normpath(name) for name in (manifest["Config"], *manifest["Layers"])]
    pending, seen = ["index.json"], set()
    while pending:
        name = pending.pop()
        if name in seen or name not in members:
            continue
        seen.add(name)
        document = _parsed(_document(saved, members[name]), _OCI)
        pending += [_blob(one) for one in document.get("manifests") or () if not _is_attestation(one)]
        if "config" in document:
            named = [_blob(one) for one in (document["config"], *document["layers"])]
            if named != wanted and named[0] in members:
                message = "index.json leads to another image than manifest.json"
                raise tarfile.ReadError(message)


def _blob(descriptor: Mapping[str, str]) -> str:
    """Return where an OCI layout has what a descriptor describes."""
    return "blobs/" + descriptor["digest"].replace(":", "/")


def _is_attestation(descriptor: Mapping[str, Any]) -> bool:
    """Return whether a descriptor is of what BuildKit says about a build: an image of no platform."""
    platform = descriptor.get("platform") or {}
    return platform.get("os") == platform.get("architecture") == "unknown"


@contextmanager
def _plain(packed: _Tar, *, bare: bool = False) -> Iterator[_Tar]:
    """Give a tar that may be compressed, as the containerd image store hands out layers; if so, as `bare` as asked."""
    mapped, start, end = packed
    if mapped[start : start + len(archives.GZIP)] != archives.GZIP:
        yield packed
        return
    budget = archives.Budget.of(end - start)
    chunks = (mapped[at : min(at + (1 << 20), end)] for at in range(start, end, 1 << 20))
    with tempfile.TemporaryFile() as plain:
        for chunk in archives.unpacked(chunks, archives.GZIP, budget, whole=True, bare=bare):
            archives.store(plain, chunk)
        plain.flush()
        _forget(mapped, start, end)
        with _mapped(plain) as unpacked:
            yield _Tar(unpacked, 0, len(unpacked))


def _verify(tar: _Tar, diff_id: str) -> None:
    """Raise ReadError where a layer is not the one that the image's configuration names."""
    if "sha256:" + _digest(tar) != diff_id:
        message = f"a layer is not {diff_id}"
        raise tarfile.ReadError(message)


def _digest(part: _Tar) -> str:
    """Return the sha256 of a part of a mapped file."""
    digest = hashlib.sha256()
    with memoryview(part.map) as view:
        for at in range(part.start, part.end, _WINDOW):
            end = min(at + _WINDOW, part.end)
            with view[at:end] as window:
                digest.update(window)
            if end < part.end:
                _forget(part.map, at, end)
    return digest.hexdigest()


def _files(tar: _Tar, terms: _Terms, above: str = "/") -> Iterator[File]:
    """Give a record for each entry of an uncompressed tar, and for the members of archives in it.

    The tar's names are relative to the folder `above`.
    """
    root = above.rstrip("/") + "/"
    regular: dict[str, File] = {}
    for entry in _entries(tar):
        path = posixpath.normpath(root + entry.name.lstrip("/"))
        file = File(
            path,
            terms.layer,
            # Some builders have the type of the file in it.
            mode=entry.mode & 0o7777,
            directory=entry.isdir(),
            owner=(entry.uid, entry.gid),
            extra=_extra(tar, entry),
        )
        if entry.isreg():
            content = _Tar(tar.map, entry.offset_data, entry.offset_data + entry.size)
            digest = _digest(content) if terms.hashed(entry.size) else ""
            head, promised = _head(path, content, terms), terms.promised(path, digest)
            if not promised and (text := _text(path, head, _Region(*content), terms)):
                digest, head = digest or _digest(content), text
            file = file._replace(size=entry.size, sha256=digest, head=head)
            regular[path] = file
            yield file
            if not promised and _is_archive(content, file.head):
                yield from _members(path, _Region(*content), entry.size, terms)
        elif entry.islnk() and (linked := regular.get(posixpath.normpath(root + entry.linkname.lstrip("/")))):
            yield file._replace(sha256=linked.sha256, head=linked.head)
        else:
            yield file._replace(target=entry.linkname)


def _extra(tar: _Tar, entry: tarfile.TarInfo) -> str:
    """Return what an entry is or carries beyond a plain file, folder or link, or ``."""
    # An extended attribute holds bytes, or rights (https://man7.org/linux/man-pages/man7/xattr.7.html).
    carried = sorted(set(entry.pax_headers) - _PLAIN_HEADERS)
    end = entry.offset_data + (entry.size if entry.isreg() else 0)
    if tar.map[end : min(end + -end % _BLOCK, tar.end)].strip(b"\0"):
        carried.append("bytes behind its end")
    if not (_OWNER.fullmatch(entry.uname) and _OWNER.fullmatch(entry.gname)):
        carried.append(f"the owner {entry.uname}:{entry.gname}")
    if entry.linkname and not (entry.issym() or entry.islnk()):
        carried.append(f"a link's target, {entry.linkname}")
    if entry.type not in _PLAIN_TYPES:
        carried.append(_KINDS.get(entry.type, f"an entry of type {entry.type!r}"))
    return ", ".join(carried)


def _head(path: str, content: _Tar, terms: _Terms) -> bytes:
    kept = _DOCUMENT_BYTES if terms.records and path.endswith(_DOCUMENTS) else HEAD_BYTES
    return content.map[content.start : min(content.end, content.start + kept)]


def _text(path: str, head: bytes, content: IO[bytes] | io.RawIOBase, terms: _Terms) -> bytes:
    """Return the content of a text that is kept whole, or nothing. Raises Failure, code 2, where these are too many."""
    if not head or b"\0" in head or (is_library(path) and not terms.has_library):
        return b""
    text = head
    if len(head) >= HEAD_BYTES:
        content.seek(0)
        text = content.read(TEXT_BYTES) or b""
    if not terms.telling(path, text):
        return b""
    try:
        if terms.room:
            terms.room.take(len(text))
    except archives.TooMuchError:
        raise Failure(
            f"The image has more than {_KEPT_BYTES >> 20} MiB of texts to judge, up to {path}: remove what is not the "
            "service's.",
            CANNOT_CHECK,
        ) from None
    return text


def _document(tar: _Tar, entry: tarfile.TarInfo) -> bytes:
    """Return the content of a manifest or a configuration. Raises ReadError where it is too large for one."""
    if entry.size > _DOCUMENT_BYTES:
        message = f"{entry.name} is too large"
        raise tarfile.ReadError(message)
    return tar.map[entry.offset_data : entry.offset_data + entry.size]


def _is_archive(content: _Tar, head: bytes) -> bool:
    # A zip may stand behind anything (a zipapp's first line, a cache's own header): its directory is at its end.
    tail = max(content.start, content.end - archives.ZIP_TAIL)
    return archives.looks_packed(head) or content.map.find(archives.ZIP_END, tail, content.end) >= 0


def _parsed(document: bytes, known: AbstractSet[str]) -> Any:  # noqa: ANN401
    """Return a JSON document. Raises ValueError where readers would understand it differently.

    Docker reads known names without regard to case (https://pkg.go.dev/encoding/json#Unmarshal): of `config` and
    `Config` the last one counts there.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            message = "a name that is there twice"
            raise ValueError(message)
        return found

    parsed = json.loads(document, object_pairs_hook=once)
    _check_names(parsed, {name.casefold(): name for name in known})
    return parsed


def _check_names(value: object, known: Mapping[str, str]) -> None:
    """Raise ValueError where a name is a known one in another case. Takes the known names by their folded form."""
    if isinstance(value, list):
        for one in value:
            _check_names(one, known)
    elif isinstance(value, dict):
        for name, one in value.items():
            if known.get(name.casefold(), name) != name:
                message = f"{name}, which Docker reads as {known[name.casefold()]}"
                raise ValueError(message)
            if name not in _MAPS:
                _check_names(one, known)


def _check_types(document: Any) -> None:  # noqa: ANN401
    """Raise TypeError where a configuration has a value of a type that it can't have by the specification."""
    settings, steps = document.get("config") or {}, document.get("history") or []
    texts = [document.get(name, "") for name in ("architecture", "created", "os")]
    texts += [step.get(name, "") for step in steps for name in ("comment", "created", "created_by")]
    texts += [*(settings.get("Env") or []), *(settings.get("Labels") or {}).values()]
    for name in ("Cmd", "Entrypoint", "OnBuild", "Shell"):
        texts += settings.get(name) or []
    texts += (settings.get("Healthcheck") or {}).get("Test") or []
    if not all(isinstance(text, str) for text in texts):
        message = "a setting that is no text"
        raise TypeError(message)


def _members(path: str, file: Any, size: int, terms: _Terms, depth: int = 1) -> Iterator[File]:  # noqa: ANN401
    """Give the members of an archive, and of archives in it; nothing for what only looks like one."""
    refusal = Failure(
        f"{path.partition('!')[0]} is an archive too deep or too large to look into: remove it from the image.",
        CANNOT_CHECK,
    )
    try:
        for name, content, length in archives.members(file, size, terms.budget):
            if depth > _ARCHIVE_DEPTH:
                raise refusal
            member = f"{path}!{posixpath.normpath('/' + name.lstrip('/'))}"
            content.seek(0)
            head = content.read(HEAD_BYTES)
            digest = _hash(content) if terms.hashed(length) else ""
            if text := _text(member, head, content, terms):
                digest, head = digest or _hash(content), text
            yield File(member, terms.layer, length, sha256=digest, head=head, packed=True)
            if archives.is_archive(content, length):
                yield from _members(member, content, length, terms, depth + 1)
    except archives.TooMuchError:
        raise refusal from None


def _hash(content: IO[bytes]) -> str:
    content.seek(0)
    digest = hashlib.sha256()
    while chunk := content.read(1 << 20):
        digest.update(chunk)
    return digest.hexdigest()
