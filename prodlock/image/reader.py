"""Read an image into records: what its layers and its configuration contain. Nothing is judged here."""

from __future__ import annotations

import hashlib
import io
import posixpath
import tarfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import IO, Any, NamedTuple

from prodlock.failure import CANNOT_CHECK, Failure
from prodlock.image import archives, documents, tar
from prodlock.image.documents import Documents
from prodlock.image.records import HEAD_BYTES, WIDE, File, Image, Layer, is_library
from prodlock.image.tar import Region, Tar

# How much of a text is kept, and how much of all texts of an image.
TEXT_BYTES = 4 << 20
_KEPT_BYTES = 64 << 20
_ARCHIVE_DEPTH = 4
# How the paths end of dev's documents that are kept whole: the files of each distribution, and what its build selected
# of the lock.
_DOCUMENTS = (".dist-info/RECORD", "/selection.json")

# Returns whether files of this size are hashed.
Sizes = Callable[[int], bool]
# Returns whether a text, by path and content, is kept whole.
Relevant = Callable[[str, bytes], bool]
# Returns whether a file, by path and sha256, is expected: what it contains is expected with it.
Trusted = Callable[[str, str], bool]

# What reading an archive raises where it is not valid.
UNREADABLE: tuple[type[Exception], ...] = (
    *archives.LAYER_ERRORS, tarfile.TarError, KeyError, IndexError, TypeError, ValueError, AttributeError, EOFError,
    OverflowError, RecursionError, MemoryError, OSError,
)  # fmt: skip


def _trust_nothing(_path: str, _digest: str) -> bool:
    return False


class _Options(NamedTuple):
    """How files are read: of which layer, which are hashed, how much archives may unpack to."""

    layer: int
    hashed: Sizes
    budget: archives.Budget
    # Whether the documents of dev are kept whole.
    documents: bool = False
    trusted: Trusted = _trust_nothing
    # None where no text is kept.
    relevant: Relevant | None = None
    # How many bytes of texts may still be kept.
    room: archives.Budget | None = None
    # Whether a layer below has the standard library: another copy of a module is then read.
    has_library: bool = False


def read(
    reference: str,
    archive: IO[bytes],
    hashed: Sizes,
    trusted: Trusted = _trust_nothing,
    relevant: Relevant | None = None,
) -> Image:
    """Return the one image in a file that `docker save` wrote, compressed by gzip or not.

    Files of the sizes that `hashed` accepts get their sha256. In files that are not `trusted`, archives are unpacked,
    and texts that are `relevant` are kept whole. Raises Failure, code 2, where there are too many of these, where a
    layer is not, to the last byte, the one that the configuration names, or where one Engine would read another image
    from the file than the next.
    """
    with refusing(reference):
        return _read(reference, archive, _Options(0, hashed, archives.Budget(), trusted=trusted, relevant=relevant))


@contextmanager
def refusing(reference: str) -> Iterator[None]:
    """Raise Failure, code 2, where a block can't read the archive of an image."""
    try:
        yield
    except UNREADABLE as error:
        raise Failure(
            f"The archive of {reference} must be readable (got: {_printable(error)}). To fix it: build or pull the "
            "image again, and save it alone.",
            CANNOT_CHECK,
        ) from error
    except archives.TooMuchError:
        raise Failure(
            f"{reference} must not unpack to far more than its size, nor have oversized headers (got one of these: it "
            "is broken or hostile). To fix it: build or pull it again.",
            CANNOT_CHECK,
        ) from None
    except archives.NoRoomError as error:
        raise Failure(
            f"The temporary folder must have room to unpack {reference} (got: {error}). To fix it: free space, or name "
            "another folder with TMPDIR.",
            CANNOT_CHECK,
        ) from None
    except archives.UnsupportedError:
        raise Failure(
            f"The layers of {reference} must be uncompressed or compressed by gzip (got Zstandard, which Python "
            "unpacks from 3.14 on). To fix it: use Python 3.14, or build it again with gzip.",
            CANNOT_CHECK,
        ) from None


def _read(reference: str, archive: IO[bytes], options: _Options) -> Image:
    options = options._replace(room=archives.Budget(_KEPT_BYTES))
    files: list[File] = []
    with tar.map_file(archive) as file, tar.plain(Tar(file, 0, len(file))) as saved, ThreadPoolExecutor(1) as pool:
        named = documents.read(saved)
        for number, (content, diff_id) in enumerate(named.layers):
            with tar.plain(content, bare=True) as layer:
                # On the other core: hashing does not hold the interpreter's lock.
                verified = pool.submit(_verify, layer, diff_id)
                try:
                    found = list(_files(layer, options._replace(layer=number)))
                finally:
                    # In any case: the layer must stay mapped until both have read it.
                    verified.result()
            files += found
            if any(is_library(file.path) for file in found):
                options = options._replace(has_library=True)
    return image_of(reference, named, files)


def image_of(reference: str, named: Documents, files: Iterable[File]) -> Image:
    """Return the record of an image, of its documents and its files."""
    document, diff_ids = named.document, [diff_id for _, diff_id in named.layers]
    steps = document.get("history") or []
    made = [step.get("created_by", "") for step in steps if not step.get("empty_layer")]
    made += ["unknown"] * (len(diff_ids) - len(made))
    return Image(
        reference=reference,
        layers=tuple(Layer(diff_id, step) for diff_id, step in zip(diff_ids, made, strict=False)),
        document=document,
        config=document.get("config") or {},
        history=tuple(step.get("created_by", "") for step in steps),
        files=tuple(files),
        identifier="sha256:" + hashlib.sha256(named.configuration).hexdigest(),
    )


def layer_files(layer: Tar, hashed: Sizes) -> Iterator[File]:
    """Yield a record for each entry of an uncompressed layer; archives in it are not unpacked."""
    return _files(layer, _Options(0, hashed, archives.Budget(), trusted=lambda _path, _digest: True))


def read_folder(archive: IO[bytes], *, above: str) -> tuple[File, ...]:
    """Return the files in a tar of a folder, each with its sha256. The tar's names are relative to the path `above`."""
    with tar.map_file(archive) as copied:
        options = _Options(0, lambda _: True, archives.Budget(), documents=True)
        return tuple(_files(Tar(copied, 0, len(copied)), options, above=above))


def _printable(error: Exception) -> str:
    """Return an error's message, fit to be printed: a name in a hostile archive may not be text."""
    text = f"it has no {error}" if isinstance(error, KeyError) else str(error) or type(error).__name__
    if isinstance(error, AttributeError | TypeError | IndexError):
        # Python's own words for it do not help.
        text = "documents that are not an image's"
    return text.encode(errors="backslashreplace").decode()[:200]


def _verify(layer: Tar, diff_id: str) -> None:
    """Raise ReadError where a layer is not the one that the image's configuration names."""
    if "sha256:" + tar.sha256_of(layer) != diff_id:
        message = f"a layer is not {diff_id}"
        raise tarfile.ReadError(message)


def _files(layer: Tar, options: _Options, above: str = "/") -> Iterator[File]:
    """Yield a record for each entry of an uncompressed tar, and for the members of archives in it.

    The tar's names are relative to the folder `above`.
    """
    root = above.rstrip("/") + "/"
    # What a hard link may lead to: files, and symbolic links.
    stored: dict[str, File] = {}
    for entry in tar.entries(layer):
        path = posixpath.normpath(root + entry.name.lstrip("/"))
        size, target, digest, head, place = 0, "", "", b"", -1
        content = None
        is_hard_link = entry.islnk()
        linked = stored.get(posixpath.normpath(root + entry.linkname.lstrip("/"))) if is_hard_link else None
        if entry.isreg():
            size = entry.size
            content = Tar(layer.map, entry.offset_data, entry.offset_data + size)
            place = content.start - layer.start
            digest = tar.sha256_of(content) if options.hashed(size) else ""
            head = content.map[content.start : content.start + min(size, _kept(path, options))]
            trusted = options.trusted(path, digest)
            if not trusted and (text := _text(path, head, Region(*content), options)):
                digest, head = digest or tar.sha256_of(content), text
        elif linked:
            target, digest, head, place = linked.target, linked.sha256, linked.head, linked.place
        else:
            target = entry.linkname
        extra = tar.describe_extra(layer, entry)
        if is_hard_link and not linked:
            extra = ", ".join(filter(None, (extra, f"a hard link to {target}, which its layer does not have")))
        file = File(
            path,
            options.layer,
            size,
            # Some builders write the file's type into it.
            entry.mode & 0o7777,
            entry.isdir(),
            target,
            digest,
            head,
            (entry.uid, entry.gid),
            extra,
            mtime=int(entry.mtime),
            place=place,
        )
        yield file
        if content or entry.issym():
            stored[path] = file
        if content and not trusted and _is_archive(content, head):
            yield from _members(path, Region(*content), size, options)


def _kept(path: str, options: _Options) -> int:
    """Return how much of a file is kept for the judges."""
    return documents.MOST_BYTES if options.documents and path.endswith(_DOCUMENTS) else HEAD_BYTES


def _text(path: str, head: bytes, content: IO[bytes] | io.RawIOBase, options: _Options) -> bytes:
    """Return the content of a text that is kept whole, or nothing. Raises Failure, code 2, where these are too many."""
    is_text = b"\0" not in head or head.startswith(WIDE)
    if not options.relevant or not head or not is_text or (is_library(path) and not options.has_library):
        return b""
    text = head
    if len(head) >= HEAD_BYTES:
        content.seek(0)
        text = content.read(TEXT_BYTES) or b""
    if not options.relevant(path, text):
        return b""
    try:
        if options.room:
            options.room.take(len(text))
    except archives.TooMuchError:
        raise Failure(
            f"The image must have at most {_KEPT_BYTES >> 20} MiB of texts to judge (got more, up to {path}). To fix "
            "it: remove what is not the service's.",
            CANNOT_CHECK,
        ) from None
    return text


def _is_archive(content: Tar, head: bytes) -> bool:
    # A zip may follow other content (a zipapp's first line, a cache's header): its directory is at its end.
    tail = max(content.start, content.end - archives.ZIP_TAIL)
    # A search in bytes takes a fifth of the time of one in mapped memory.
    return archives.looks_packed(head) or archives.ZIP_END in content.map[tail : content.end]


def _members(path: str, file: Any, size: int, options: _Options, depth: int = 1) -> Iterator[File]:  # noqa: ANN401
    """Yield the members of an archive, and of archives in it; nothing for a file that only looks like one."""
    refusal = Failure(
        f"{path.partition('!')[0]} must be an archive that can be searched (got one that is too deep or too large). To "
        "fix it: remove it from the image.",
        CANNOT_CHECK,
    )
    try:
        for name, content, length in archives.members(file, size, options.budget):
            if depth > _ARCHIVE_DEPTH:
                raise refusal
            member = f"{path}!{posixpath.normpath('/' + name.lstrip('/'))}"
            content.seek(0)
            head = content.read(HEAD_BYTES)
            digest = tar.sha256_of_stream(content) if options.hashed(length) else ""
            if text := _text(member, head, content, options):
                digest, head = digest or tar.sha256_of_stream(content), text
            yield File(member, options.layer, length, sha256=digest, head=head, packed=True)
            if archives.is_archive(content, length):
                yield from _members(member, content, length, options, depth + 1)
    except archives.TooMuchError:
        raise refusal from None
