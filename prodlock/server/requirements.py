"""The distributions that the server needs, and the versions of them that it supports.

The one statement of both: the server checks them when it starts, and the tool in a lock. Standard library only, because
the tool runs on machines that have neither distribution.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping

# uvicorn: any other minor release may change the internals that `uvicorn_internals` lists; the tests of the server pass
# with the first and the last of these, and with those between. Older releases than 0.31 read no networks in
# FORWARDED_ALLOW_IPS.
# httptools: older releases than 0.6.3 cannot accept data after `Connection: close`.
SUPPORTED: Mapping[str, str] = {"httptools": ">=0.6.3", "uvicorn": ">=0.31,<0.55"}
_VERSION = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9}){0,9}")


class Unsupported(SystemExit):
    """The environment lacks what the server needs. Uncaught, it ends the process with its message and exit code 1."""


def missing(versions: Mapping[str, str]) -> list[str]:
    """Return a sentence for each distribution that the server needs and that is missing or not supported.

    `versions` are the versions of an environment or of a lock by the normalized names of the distributions; it may have
    others as well.
    """
    return [
        f"{name} must be {supported} (got {versions.get(name) or 'none'})"
        for name, supported in SUPPORTED.items()
        if not _is_supported(versions.get(name, ""), supported)
    ]


def check() -> None:
    """Raise Unsupported where the installed distributions are missing or not supported."""
    if wrong := missing({name: _installed(name) for name in SUPPORTED}):
        remedy = "install a supported version, or run the application with another server"
        raise Unsupported(f"{' and '.join(wrong)}. To fix it: {remedy}.")


def _installed(name: str) -> str:
    """Return the version of an installed package, without a search of the metadata, which an image may lack."""
    try:
        return str(getattr(importlib.import_module(name), "__version__", ""))
    except ModuleNotFoundError as error:
        # A package that this one imports is another error.
        if error.name != name:
            raise
        return ""


def _is_supported(version: str, supported: str) -> bool:
    """Return whether a version is within a range. A pre-release counts as its release, an epoch is never supported."""
    release = _VERSION.match(version)
    if not release or version[release.end() :].startswith("!"):
        return False
    found = _key(release[0])
    lowest, _, limit = supported.partition(",")
    return _key(lowest) <= found and (not limit or found < _key(limit))


def _key(version: str) -> list[int]:
    """Return what versions are compared by: `0.31.0` is `0.31`."""
    numbers = [int(number) for number in re.findall("[0-9]+", version)]
    while numbers and not numbers[-1]:
        numbers.pop()
    return numbers
