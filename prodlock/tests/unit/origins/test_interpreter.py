"""The interpreter of an image, from its files and its configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import packaging.markers
import pytest

from prodlock.failure import CANNOT_CHECK, Failure
from prodlock.origins import interpreter
from prodlock.origins.records import Python
from prodlock.tests.unit.origins.subjects import Contents, subject

LINUX = {"architecture": "amd64", "os": "linux"}
LOCAL = {
    "/usr/local/lib/python3.13/os.py": b"",
    "/usr/local/include/python3.13/patchlevel.h": b'#define PY_MINOR_VERSION 13\n#define PY_VERSION      "3.13.5"\n',
}
DEBIAN = {
    "/usr/lib/python3.11/os.py": b"",
    "/var/lib/dpkg/status": (
        b"Package: libpython3.11-minimal\nStatus: install ok installed\nVersion: 3.11.2-6+deb12u6\n\n"
        b"Package: python3.13-doc\nVersion: 3.13.1-1\n"
    ),
}
PATH = "PATH=/usr/local/bin:/usr/bin"


def find(
    *layers: Contents, env: tuple[str, ...] = (PATH,), base: int = 0, document: Mapping[str, Any] = LINUX
) -> Python:
    """Return the interpreter of an image with these layers."""
    one = subject(*layers, base_layers=base)
    return interpreter.find(replace(one, image=replace(one.image, document=document, config={"Env": list(env)})))


def test_the_variables_are_those_of_markers() -> None:
    """All of them, so that none is that of the host."""
    found = find(LOCAL)
    assert found.version == "3.13.5"
    assert found.library == "/usr/local/lib/python3.13"
    assert found.environment.keys() == packaging.markers.default_environment().keys()
    assert found.environment["python_version"] == "3.13"
    assert found.environment["python_full_version"] == found.environment["implementation_version"] == "3.13.5"
    assert (found.environment["sys_platform"], found.environment["platform_machine"]) == ("linux", "x86_64")


@pytest.mark.parametrize(
    ("document", "machine"),
    [
        ({"architecture": "arm64", "os": "linux"}, "aarch64"),
        ({"architecture": "arm64", "os": "linux", "variant": "v8"}, "aarch64"),
        ({"architecture": "arm", "os": "linux", "variant": "v6"}, "armv6l"),
        ({"architecture": "arm", "os": "linux"}, "armv7l"),
        ({"architecture": "386", "os": "linux"}, "i686"),
        ({"architecture": "s390x", "os": "linux"}, "s390x"),
    ],
)
def test_the_machine_has_the_name_that_the_kernel_uses(document: Mapping[str, Any], machine: str) -> None:
    """The configuration has Docker's name."""
    assert find(LOCAL, document=document).environment["platform_machine"] == machine


PREFIX = "/root/.local/share/uv/python/cpython-3.12.7-linux-x86_64-gnu"


@pytest.mark.parametrize(
    ("files", "env", "version"),
    [
        (DEBIAN, (PATH,), "3.11.2"),
        # The header comes first.
        (LOCAL, (PATH, "PYTHON_VERSION=3.13.1"), "3.13.5"),
        ({"/usr/local/lib/python3.13/os.py": b""}, (PATH, "PYTHON_VERSION=3.13.1"), "3.13.1"),
        # One of another interpreter does not count.
        (
            {
                "/usr/local/lib/python3.13/os.py": b"",
                "/app/.venv/pyvenv.cfg": b"home = /usr/local/bin\nversion = 3.13.7\n",
            },
            ("PYTHON_VERSION=3.12.1",),
            "3.13.7",
        ),
        (
            {
                "/usr/local/lib/python3.13/os.py": b"",
                "/app/.venv/pyvenv.cfg": b"home = /usr/local/bin\nversion_info = 3.13.7.final.0\n",
            },
            (),
            "3.13.7",
        ),
        ({f"{PREFIX}/lib/python3.12/os.py": b""}, (), "3.12.7"),
        (
            {
                "/opt/conda/lib/python3.12/os.py": b"",
                "/opt/conda/conda-meta/python-3.12.4-h5148396_1.json": b"{}",
            },
            (),
            "3.12.4",
        ),
        (
            {
                "/usr/lib/python3.14/os.py": b"",
                "/usr/lib/python3.14/build-details.json": (
                    b'{"language": {"version": "3.14"}, "implementation": {"name": "cpython", "version": '
                    b'{"major": 3, "minor": 14, "micro": 2, "releaselevel": "final", "serial": 0}}}'
                ),
            },
            (),
            "3.14.2",
        ),
        (
            {"/usr/lib/python3.12/os.py": b"", "/lib/apk/db/installed": b"C:x\nP:python3\nV:3.12.11-r0\nA:x86_64\n"},
            (),
            "3.12.11",
        ),
        (
            {
                "/usr/lib/python3.11/os.py": b"",
                "/var/lib/dpkg/status.d/python3.11-minimal": b"Package: python3.11-minimal\nVersion: 3.11.2-6\n",
            },
            (),
            "3.11.2",
        ),
        (
            {
                "/usr/local/lib/python3.13/os.py": b"",
                "/usr/local/lib/libpython3.13.so.1.0": b"\x7fELF\0x\x003.12.1\0\x003.13.9\0y",
            },
            (),
            "3.13.9",
        ),
        ({"/usr/local/lib/python3.13/os.py": b"", "/usr/local/bin/python3.13": b"\0003.13.0rc2\0"}, (), "3.13.0rc2"),
        (
            {
                "/usr/lib/python3.13/os.py": b"",
                "/var/lib/dpkg/status": b"Package: python3.13\nVersion: 3.13.0~rc2-1\n",
            },
            (),
            "3.13.0rc2",
        ),
        # The build with free threading has folders of its own.
        (
            {
                "/usr/local/lib/python3.14t/os.py": b"",
                "/usr/local/include/python3.14t/patchlevel.h": b'#define PY_VERSION "3.14.0+"',
            },
            (),
            "3.14.0",
        ),
    ],
)
def test_the_version_is_found(files: Contents, env: tuple[str, ...], version: str) -> None:
    """By the headers, packages, variables, environments, folders and binaries of an image."""
    assert find(files, env=env).version == version


SITE = "site-packages/click-8.1.dist-info/METADATA"


@pytest.mark.parametrize(
    ("files", "library"),
    [
        # Without distributions, the first one on PATH.
        ({}, "/usr/local/lib/python3.13"),
        ({f"/usr/local/lib/python3.13/{SITE}": b""}, "/usr/local/lib/python3.13"),
        ({"/usr/lib/python3/dist-packages/click-8.1.dist-info/METADATA": b""}, "/usr/lib/python3.11"),
        ({"/usr/local/lib/python3.11/dist-packages/click-8.1.dist-info/METADATA": b""}, "/usr/lib/python3.11"),
        ({f"/app/.venv/lib/python3.11/{SITE}": b""}, "/usr/lib/python3.11"),
        (
            {f"/app/.venv/lib/python3.11/{SITE}": b"", "/app/.venv/pyvenv.cfg": b"home = /usr/bin\n"},
            "/usr/lib/python3.11",
        ),
        # The folder of a target does not show its interpreter.
        ({"/app/vendor/click-8.1.dist-info/METADATA": b""}, "/usr/local/lib/python3.13"),
        (
            {
                f"/app/.venv/lib/python3.11/{SITE}": b"",
                f"/usr/local/lib/python3.13/{SITE}": b"",
                f"/usr/local/lib/python3.13/{SITE.replace('click', 'idna')}": b"",
            },
            "/usr/local/lib/python3.13",
        ),
    ],
)
def test_of_several_interpreters_the_one_with_distributions_is_chosen(files: Contents, library: str) -> None:
    """The base image's own distributions do not count."""
    base = LOCAL | DEBIAN | {f"/usr/local/lib/python3.13/{SITE.replace('click', 'pip')}": b""}
    assert find(base, files, base=1).library == library


def test_a_virtual_environment_names_its_interpreter_through_links() -> None:
    """Two interpreters of one version: uv's folder without the last part of the version is a link."""
    shared = "/root/.local/share/uv/python"
    uvs = {
        f"{shared}/cpython-3.13-linux-x86_64-gnu": b"-> cpython-3.13.7-linux-x86_64-gnu",
        f"{shared}/cpython-3.13.7-linux-x86_64-gnu/lib/python3.13/os.py": b"",
        "/app/.venv/pyvenv.cfg": f"home = {shared}/cpython-3.13-linux-x86_64-gnu/bin\n".encode(),
        f"/app/.venv/lib/python3.13/{SITE}": b"",
    }
    found = find(LOCAL, uvs, base=1)
    assert found.library == f"{shared}/cpython-3.13.7-linux-x86_64-gnu/lib/python3.13"
    assert found.version == "3.13.7"
    without = {path: content for path, content in uvs.items() if not path.endswith("pyvenv.cfg")}
    assert find(LOCAL, without, base=1).version == "3.13.5"


@pytest.mark.parametrize(
    ("files", "document", "message"),
    [
        ({"/bin/sh": b"x"}, LINUX, "must have CPython"),
        ({"/app/site-packages/lib/python3.13/posix.py": b""}, LINUX, "must have CPython"),
        (
            {"/usr/local/lib/python3.13/os.py": b""},
            LINUX,
            "The version of the interpreter of /usr/local/lib/python3.13",
        ),
        (LOCAL, {"architecture": "amd64", "os": "windows"}, "must be an image for Linux (got windows/amd64)"),
        (LOCAL, {}, "must be an image for Linux"),
    ],
)
def test_an_image_without_an_interpreter_can_not_be_verified(
    files: Contents, document: Mapping[str, Any], message: str
) -> None:
    """One message with its remedy."""
    with pytest.raises(Failure, match="To fix it: ") as failed:
        find(files, document=document)
    assert message in str(failed.value)
    assert failed.value.code == CANNOT_CHECK


def test_links_in_a_circle_end() -> None:
    """A hostile image does not hang the search."""
    circle = {
        "/a": b"-> b",
        "/b": b"-> a",
        "/app/.venv/pyvenv.cfg": b"home = /a/bin\n",
        f"/app/.venv/lib/python3.13/{SITE}": b"",
    }
    assert find(LOCAL, circle).version == "3.13.5"
