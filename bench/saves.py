"""Measure the development loop: from a saved file to the new answer."""

from __future__ import annotations

import http.client
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

from bench.contenders import PROJECT, Contender, named
from bench.work import serving
from prodlock.docker import engine, stages
from prodlock.failure import Failure
from prodlock.project import Project

# How the working tree is served: by `inv dev`, and by uvicorn, which uses watchfiles where it is installed.
LOOP = ("python", "-m", "prodlock.loop.serve", "app.main:create_app")
RELOAD = ("python", "-m", "uvicorn", "--factory", "app.main:create_app", "--reload", "--host=0.0.0.0", "--port=8000")
_SAVES = 3
# Between two saves: each of them must find a server that waits.
_PAUSE_SECONDS = 1.5
_ANSWER_SECONDS = 30
_POLL_SECONDS = 0.005

# The least that a save can take: the service's modules are imported, and the application is created, in a fork of a
# process that has imported all others.
_FLOOR = """
import os, time
import fastapi.openapi.utils, prodlock.server.command, pydantic, starlette.testclient
began = time.perf_counter()
child = os.fork()
if not child:
    from app.main import create_app
    create_app()
    os._exit(0)
os.waitpid(child, 0)
print(time.perf_counter() - began)
"""


def to_answer(contender: Contender, command: Sequence[str]) -> float:
    """Return the median of the seconds from a saved version number to the first answer that has it."""
    module = contender.folder / "app" / "__init__.py"
    before = module.read_text(encoding="utf-8")
    try:
        with serving(contender, image=named("reload"), options=_options(contender), command=command) as port:
            return statistics.median(_save(module, f"0.0.{number}", port) for number in range(_SAVES))
    finally:
        module.write_text(before, encoding="utf-8")


def to_answer_floor(contender: Contender) -> float:
    """Return the seconds in which a fork imports the service and creates its application."""
    command = ("run", "--rm", "--network=none", *_options(contender), named("reload"), "python", "-c", _FLOOR)
    return statistics.median(float(engine.output(PROJECT, *command)) for _ in range(_SAVES))


def _options(contender: Contender) -> list[str]:
    """Return the options that mount a contender's tree."""
    return ["--init", "--env=APP_DRAIN_SECONDS=0", *stages.on_working_tree(Project(contender.folder))]


def _save(module: Path, version: str, port: int) -> float:
    """Save a version number, and return the seconds until the service answers with it."""
    time.sleep(_PAUSE_SECONDS)
    module.write_text(f'"""The example service."""\n\n__version__ = "{version}"\n', encoding="utf-8")
    began = time.perf_counter()
    while time.perf_counter() - began < _ANSWER_SECONDS:
        if f'"{version}"' in _answer(port):
            return time.perf_counter() - began
        time.sleep(_POLL_SECONDS)
    raise Failure(f"The service must answer with what was saved within {_ANSWER_SECONDS} s (got the former version).")


def _answer(port: int) -> str:
    """Return the body of `GET /`, or nothing where the server does not answer at once."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
    try:
        connection.request("GET", "/")
        return connection.getresponse().read().decode()
    except (OSError, http.client.HTTPException):
        return ""
    finally:
        connection.close()
