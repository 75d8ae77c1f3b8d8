"""Find the command that serves an application where the lock does not have what prodlock.server needs."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from prodlock.failure import Failure
from prodlock.scaffold import applications, jobs
from prodlock.scaffold.declared import Declared

# What serves on all addresses and on the port of a container: the options of each server that name them already, and
# the one to add.
_ADDRESS, _PORT = ({"--host", "--uds", "--fd"}, "--host=0.0.0.0"), ({"--port"}, "--port={port}")
_BOUND = ({"-b", "--bind"}, "--bind=0.0.0.0:{port}")
_BIND = {
    "uvicorn": (_ADDRESS, _PORT),
    "fastapi": (_ADDRESS, _PORT),
    "granian": (_ADDRESS, _PORT),
    "hypercorn": (_BOUND,),
    "gunicorn": (_BOUND,),
    "litestar": (({"-H", *_ADDRESS[0]}, _ADDRESS[1]), ({"-p", *_PORT[0]}, _PORT[1])),
    "daphne": (({"-b", "--bind"}, "--bind=0.0.0.0"), ({"-p", "--port"}, "--port={port}")),
}
# Those that a lock may have without a declared command, the best one first.
_OWN = {
    "uvicorn": "uvicorn {application} --host=0.0.0.0 --port={port}",
    "granian": "granian {application} --interface=asgi --host=0.0.0.0 --port={port}",
    "hypercorn": "hypercorn {application} --bind=0.0.0.0:{port}",
    "daphne": "daphne {application} --bind=0.0.0.0 --port={port}",
}
# The distribution that has the program, where it has another name.
_DISTRIBUTIONS = {"fastapi": "fastapi-cli"}
LOST = (
    "Without prodlock.server the service has no graceful drain at a stop, no request log with ids, no limits on slow "
    "clients, and no probes other than its own."
)


@dataclass(frozen=True)
class Service:
    """What a serving command depends on: the application and its name, the port, and the locked versions."""

    application: str
    candidate: applications.Candidate
    port: int
    versions: Mapping[str, str]


def command(service: Service, declared: Iterable[Declared]) -> tuple[str, str]:
    """Return the project's own serving command, and its place.

    Raises Failure where it needs a shell, or where the lock has no server.
    """
    refused = ""
    for one in declared:
        distribution = _DISTRIBUTIONS.get(one.program, one.program)
        if not one.is_deployed or distribution not in service.versions or not serves(one, service.candidate):
            continue
        text = _bound(one, service.port)
        if jobs.is_exec(text):
            return text, one.where
        refused = refused or f"`{text}` of {one.where}"
    if refused:
        raise Failure(
            f"The serving command must run without a shell, which production does not have (got {refused}). To fix it: "
            "write it without variables, for example with "
            f"`--set 'server=uvicorn {service.application} --host=0.0.0.0 --port={service.port}'`."
        )
    for name, template in _OWN.items():
        if name in service.versions and not (service.candidate.is_factory and name in {"hypercorn", "daphne"}):
            text = template.format(application=service.application, port=service.port)
            return f"{text} --factory" if service.candidate.is_factory else text, "the lock"
    raise Failure(
        "The lock must have a server: uvicorn and httptools, or another one (got none). To fix it: add "
        "`uvicorn[standard]` to the dependencies, and lock again."
    )


def serves(one: Declared, application: applications.Candidate) -> bool:
    """Return whether a command names an application."""
    named = list(applications.of_command(one))
    if not named and one.program == "fastapi" and one.words[1:2] in {("run",), ("dev",)}:
        # It looks for the application in the usual modules.
        return PurePosixPath(application.path).name in {"main.py", "app.py", "api.py"}
    return any(
        reference.attribute in {"", application.attribute}
        and applications.named_files([application.path], reference.module)
        for reference in named
    )


def _bound(one: Declared, port: int) -> str:
    """Return a command that serves on all addresses, without reload."""
    words = [word for word in one.words if word not in {"--reload", "--debug"}]
    words = [re.sub(r"\$\{?PORT\b(?::?-\d*)?\}?", str(port), word) for word in words]
    if one.program == "fastapi" and words[1:2] == ["dev"]:
        words[1] = "run"
    for options, added in _BIND[one.program]:
        if not any(word.partition("=")[0] in options for word in words):
            words.append(added.format(port=port))
    return shlex.join(words) if not any("$" in word for word in words) else " ".join(words)
