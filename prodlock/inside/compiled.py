"""Compile the sources on standard input with this interpreter, and print digests of the bytecode, or the bytecode.

    python -I -S -c PROGRAM digests|bytecode < SOURCES

SOURCES is a line of JSON, a list of [sha256, optimization, size], and then the contents one after the other. The output
is a line of JSON with the interpreter's version and magic number, and then a line for each source: its
sha256, its optimization, the hash in the header of bytecode that names its source by hash (PEP 552), and the digest of
the bytecode, or the bytecode in base64. Where a source can't be compiled, both are `-`.

A path is in bytecode for tracebacks. The digest leaves it out, so that it is the same wherever the source is. The
program runs in containers of base images: it needs Python 3.8 or later and the standard library.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import json
import os
import platform
import sys
import warnings
from collections.abc import Iterable
from importlib import _bootstrap_external
from importlib.machinery import SourceFileLoader

# The number of files that one process compiles: earlier compilations of a process can show in the bytecode
# (https://github.com/python/cpython/issues/129724), and a source that crashes the interpreter ends one process.
PORTION = 100
# The bytes before the code in a bytecode file.
HEADER = 16


def path_of(digest: str) -> str:
    """Return the path that a source is compiled with. It has the source's own sha256, which no source contains."""
    return f"/{digest}.py"


def compiled(content: bytes, digest: str, optimization: int) -> bytes:
    """Return the bytecode of a source, as an import and compileall write it."""
    path = path_of(digest)
    # By the loader's own functions: the number of references to an object shows in its marshalled form.
    code = SourceFileLoader("compiled", path).source_to_code(content, path, _optimize=optimization)
    whole = _bootstrap_external._code_to_timestamp_pyc(code, 0, 0)  # type: ignore[attr-defined]  # noqa: SLF001
    return bytes(whole[HEADER:])


def digest_of(body: bytes, path: bytes) -> str:
    """Return the digest of bytecode without a path of at most 255 bytes.

    The path is left out where it follows its length, as marshal writes it. No other bytecode has the same pieces.
    """
    digest = hashlib.sha256()
    for piece in body.split(bytes([len(path)]) + path):
        digest.update(b"%d:" % len(piece))
        digest.update(piece)
    return digest.hexdigest()


def compile_all(portion: Iterable[tuple[str, int, bytes]], *, whole: bool) -> None:
    """Print a line for each source, with its digest or the whole bytecode."""
    for digest, optimization, content in portion:
        source_hash = result = "-"
        # Beside syntax errors: null bytes, nesting that is too deep, an unknown encoding.
        with_body = _bytecode(content, digest, optimization)
        if with_body is not None:
            source_hash = importlib.util.source_hash(content).hex()
            result = base64.b64encode(with_body).decode() if whole else digest_of(with_body, path_of(digest).encode())
        line = f"{digest} {optimization} {source_hash} {result}\n".encode()
        while line:
            # A line with a digest is one write, into which no other process writes.
            line = line[os.write(1, line) :]


def _bytecode(content: bytes, digest: str, optimization: int) -> bytes | None:
    try:
        return compiled(content, digest, optimization)
    except (SyntaxError, ValueError, LookupError, OverflowError, RecursionError, MemoryError):
        return None


def main(mode: str) -> None:
    """Compile the sources on all cores, in portions."""
    whole = mode == "bytecode"
    warnings.simplefilter("ignore")
    wanted = json.loads(sys.stdin.buffer.readline())
    interpreter = {"version": platform.python_version(), "magic": importlib.util.MAGIC_NUMBER.hex()}
    os.write(1, json.dumps(interpreter).encode() + b"\n")
    # The lines of whole bytecode are long: those of two processes would mix.
    cores, size = (1, 1) if whole else (len(os.sched_getaffinity(0)), PORTION)
    running = 0
    for start in range(0, len(wanted), size):
        portion = [
            (digest, level, sys.stdin.buffer.read(length)) for digest, level, length in wanted[start : start + size]
        ]
        if running == cores:
            os.wait()
            running -= 1
        if not os.fork():
            compile_all(portion, whole=whole)
            os._exit(0)
        running += 1
    for _ in range(running):
        os.wait()


if __name__ == "__main__":
    main(sys.argv[1])
