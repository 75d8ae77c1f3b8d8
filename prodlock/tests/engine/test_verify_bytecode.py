"""Bytecode is compared with compilations in containers of the base image."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import json
from pathlib import Path

import pytest

from prodlock.docker import engine
from prodlock.failure import Failure
from prodlock.image.records import File
from prodlock.origins import bytecode
from prodlock.origins.records import Python, State
from prodlock.project import Project
from prodlock.tests.engine.conftest import BASE, ROOT

SOURCE = b"def add(one, two=(1, 2.5)):\n    return [one, *two]\n"
# Compiles a source in a container, and prints path, time and bytecode of both ways to name the source.
COMPILE = """
import base64, json, os, platform, py_compile, sys
from py_compile import PycInvalidationMode as Mode
os.mkdir("/tmp/app")
open("/tmp/app/module.py", "wb").write(sys.stdin.buffer.read())
os.utime("/tmp/app/module.py", (5, 5))
data = {}
for mode in (Mode.TIMESTAMP, Mode.CHECKED_HASH):
    py_compile.compile("/tmp/app/module.py", "/tmp/out", "/app/module.py", invalidation_mode=mode)
    data[mode.name] = base64.b64encode(open("/tmp/out", "rb").read()).decode()
print(json.dumps([platform.python_version(), sys.implementation.cache_tag, data]))
"""


@pytest.fixture(scope="module")
def compiled() -> tuple[Python, str, dict[str, bytes]]:
    """The Python of the base image, its cache tag, and bytecode of it."""
    printed = engine.output(
        Project(ROOT), "run", "--rm", "--interactive", "--network=none", BASE, "python", "-c", COMPILE, given=SOURCE
    )
    version, tag, data = json.loads(printed)
    minor = ".".join(version.split(".")[:2])
    decoded = {mode: base64.b64decode(text) for mode, text in data.items()}
    return Python(version, f"/usr/local/lib/python{minor}", {}), tag, decoded


def state(python: Python, tag: str, data: bytes, cache: Path) -> State:
    """Return the state of a bytecode file of an image."""
    source = File("/app/module.py", 1, len(SOURCE), sha256=hashlib.sha256(SOURCE).hexdigest(), mtime=5)
    file = File(f"/app/__pycache__/module.{tag}.pyc", 1, len(data), sha256=hashlib.sha256(data).hexdigest())
    contents = {source.path: SOURCE, file.path: data}
    run = bytecode.in_container(Project(ROOT), BASE, python)
    found = bytecode.compare(
        [file], {source.path: [source]}, lambda one: contents[one.path], python, run, cache, base="x"
    )
    return found[1, file.path].state


def test_bytecode_of_the_base_images_python_is_compared(
    compiled: tuple[Python, str, dict[str, bytes]], tmp_path: Path
) -> None:
    """Named by time or by hash; a changed byte makes it different."""
    python, tag, data = compiled
    assert {state(python, tag, one, tmp_path) for one in data.values()} == {State.EQUAL}
    forged = {one[:-1] + bytes([one[-1] ^ 1]) for one in data.values()}
    assert {state(python, tag, one, tmp_path) for one in forged} == {State.DIFFERENT}


def test_bytecode_is_unverified_where_the_base_image_has_no_python_of_its_version(
    compiled: tuple[Python, str, dict[str, bytes]], tmp_path: Path
) -> None:
    """Unless the interpreter of this machine has the version."""
    python, tag, data = compiled
    other = python._replace(library="/opt/none/lib/python3.13")
    with pytest.raises(Failure):
        bytecode.in_container(Project(ROOT), BASE, other)("digests", b"[]\n")
    same = data["TIMESTAMP"][:4] == importlib.util.MAGIC_NUMBER
    assert state(other, tag, data["TIMESTAMP"], tmp_path) is (State.EQUAL if same else State.UNVERIFIED)
