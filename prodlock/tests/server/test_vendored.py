"""The server as other projects have it: a folder `prodlock` that holds `server` alone, without docstrings."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from prodlock import server
from prodlock.tests.program import Program, free_port
from prodlock.tests.server.test_process import ask

SERVER = Path(server.__file__).parent
APPLICATION = """
import prodlock, prodlock.server
print("PACKAGE", prodlock.__file__, prodlock.server.__doc__, flush=True)

async def app(scope, receive, send):
    while scope["type"] == "lifespan":
        await send({"type": (await receive())["type"] + ".complete"})
    await send({"type": "http.response.start", "status": 404, "headers": []})
    await send({"type": "http.response.body"})
"""


def without_docstrings(source: str) -> str:
    """Return a module's source without its comments and docstrings."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if ast.get_docstring(node) is not None:
            node.body[:1] = [] if len(node.body) > 1 or isinstance(node, ast.Module) else [ast.Pass()]
    return ast.unparse(tree)


@pytest.fixture(params=["unchanged", "without docstrings"])
def project(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A project with the files of the server, and an application."""
    folder = tmp_path / "prodlock" / "server"
    folder.mkdir(parents=True)
    for module in SERVER.glob("*.py"):
        source = module.read_text(encoding="utf-8")
        is_stripped = request.param == "without docstrings"
        (folder / module.name).write_text(without_docstrings(source) if is_stripped else source, encoding="utf-8")
    (tmp_path / "service.py").write_text(APPLICATION, encoding="utf-8")
    return tmp_path


def test_the_server_runs_without_the_package_around_it(project: Path) -> None:
    """The folder `prodlock` is a namespace package then. The health check passes, and a signal ends the server."""
    port = free_port()
    environment = {"PYTHONPATH": str(project), "APP_DRAIN_SECONDS": "0"}
    command = ("-m", "prodlock.server", "service:app", f"--port={port}", "--health=/up", "--ready=/up/ready")
    program = Program(*command, cwd=project, environment=environment)
    try:
        program.wait_for("startup complete")
        assert "PACKAGE None " in program.printed
        assert ask(port, "/up", seconds=5).startswith(b"HTTP/1.1 200 ")
        check = [sys.executable, "-S", str(project / "prodlock/server/healthcheck.py"), str(port), "127.0.0.1"]
        assert [subprocess.run([*check, path], check=False).returncode for path in ("/up", "/absent")] == [0, 1]
        assert program.stop()[0] == 0
    finally:
        program.kill()


def test_the_help_needs_no_docstring(project: Path) -> None:
    """It is the same with and without."""
    command = [sys.executable, "-m", "prodlock.server", "--help"]
    environment = os.environ | {"PYTHONPATH": str(project)}
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=True)
    assert "usage: python -m prodlock.server " in done.stdout
    assert "--ready PATH" in done.stdout
