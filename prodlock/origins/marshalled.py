"""Read marshalled code objects into a canonical form, without running or loading them.

Two compilations of one source can differ in how often they refer to an object, and in the order of a set: these are no
differences of the code. The format is the one of CPython's Python/marshal.c, versions 3.8 to 3.14.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

# The bit of an object's type that makes later references to it possible.
_FLAG = 0x80
# The objects without content, and those of a fixed size.
_SINGLE = b"NFTS."
_FIXED = {ord("i"): 4, ord("g"): 8, ord("y"): 16}
# The types of texts, with a length of one byte (zZ) or four, and those of them that are not ASCII.
_TEXTS, _UTF8 = b"zZaAut", b"ut"
# The magic number, without the bytes `\r\n`, from which on code objects have the fields of Python 3.11.
_NEW_FIELDS = 3450


class Code(NamedTuple):
    """A code object with all that it contains."""

    # Of all but the path of the source.
    digest: str
    # The path of the source, and how often it is written out.
    path: bytes
    written: int


def read(body: bytes, magic: int) -> Code:
    """Return the code object that a bytecode file contains after its header.

    Raises ValueError where it is not one code object to its last byte, or names several sources.
    """
    reader = _Reader(body, magic)
    try:
        if body[:1] not in {b"c", b"\xe3"}:
            raise ValueError("no code object")
        digest = reader.read()
    except (IndexError, RecursionError) as error:
        raise ValueError(f"not readable: {error}") from error
    if reader.position != len(body) or len(reader.paths) != 1:
        raise ValueError("content after the code object, or several paths")
    (path,) = reader.paths
    return Code(digest.hex(), path, reader.written)


class _Reader:
    """The state of reading one file. An object is represented by the digest of its content."""

    def __init__(self, body: bytes, magic: int) -> None:
        self.body = body
        self.position = 0
        self.paths: set[bytes] = set()
        self.written = 0
        self._new_fields = magic >= _NEW_FIELDS
        # What later references name by its number; None for an object whose content is still being read.
        self._objects: list[bytes | None] = []
        # Each text by its digest.
        self._texts: dict[bytes, bytes] = {}

    def read(self) -> bytes:
        """Read an object and return its digest."""
        kind = self._take(1)[0]
        if kind & ~_FLAG == ord("r"):
            known = self._objects[self._number()]
            if known is None:
                raise ValueError("an object that contains a reference to it")
            return known
        number = len(self._objects)
        if kind & _FLAG:
            self._objects.append(None)
            if kind & ~_FLAG in _SINGLE:
                # CPython does not number it, and never writes it so.
                raise ValueError("a reference to an object without content")
        digest = self._content(kind & ~_FLAG)
        if kind & _FLAG:
            self._objects[number] = digest
        return digest

    def _content(self, kind: int) -> bytes:  # noqa: PLR0911 - one for each type
        if kind in _SINGLE:
            return _digest(kind)
        if kind in _FIXED:
            return _digest(kind, self._take(_FIXED[kind]))
        if kind in _TEXTS:
            return self._text(kind)
        if kind == ord("s"):
            return _digest(kind, self._take(self._number()))
        if kind == ord("l"):
            # Digits of 15 bits; the count has the sign.
            count = self._number(signed=True)
            return _digest(kind, b"%d:" % count, self._take(2 * abs(count)))
        if kind in b"()":
            return _digest(ord("("), *self._several(self._take(1)[0] if kind == ord(")") else self._number()))
        if kind == ord(">"):
            return _digest(kind, *sorted(self._several(self._number())))
        if kind == ord(":"):
            return _digest(kind, *self._several(3))
        if kind == ord("c"):
            return self._code()
        raise ValueError(f"an object of type {kind}")

    def _text(self, kind: int) -> bytes:
        text = self._take(self._take(1)[0] if kind in b"zZ" else self._number())
        if kind not in _UTF8 and not text.isascii():
            raise ValueError("a text that is not ASCII")
        # Written as ASCII or UTF-8, interned or not: the same text.
        digest = _digest(ord("u"), text)
        self._texts[digest] = text
        return digest

    def _code(self) -> bytes:
        numbers = self._take(4 * (5 if self._new_fields else 6))
        # Code, constants, names and variables; then the path; then name, qualified name, first line and tables.
        before = self._several(5 if self._new_fields else 6)
        self.written += self.body[self.position] & ~_FLAG != ord("r")
        path = self._texts.get(self.read())
        if path is None:
            raise ValueError("a path that is not a text")
        self.paths.add(path)
        after = self._several(2 if self._new_fields else 1)
        line = self._take(4)
        return _digest(ord("c"), numbers, *before, *after, line, *self._several(2 if self._new_fields else 1))

    def _several(self, count: int) -> list[bytes]:
        return [self.read() for _ in range(count)]

    def _take(self, count: int) -> bytes:
        end = self.position + count
        if count < 0 or end > len(self.body):
            raise IndexError("the end of the file")
        taken = self.body[self.position : end]
        self.position = end
        return taken

    def _number(self, *, signed: bool = False) -> int:
        return int.from_bytes(self._take(4), "little", signed=signed)


def _digest(kind: int, *parts: bytes) -> bytes:
    """Return the digest of an object. Parts of one kind have a fixed size each, or there is one."""
    return hashlib.sha256(bytes([kind]) + b"".join(parts)).digest()
