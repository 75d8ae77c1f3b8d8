"""Settings on their way to the service: fields of `Settings`, the environment and `.env`."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

from prodlock.tests.engine.conftest import COPY, PORT, docker, edit, inspected, inv, left_behind, python_in, sentence

CONTAINER = f"{COPY}-api-prod-1"
# Quotes, a comment, a reference, `export`, and a line end of Windows.
ENV_FILE = f"""\
PORT="{PORT}" # The published port.
NUMBER=8\r
export APP_DRAIN_SECONDS='0.5'
APP_NAME='shop $NUMBER'
APP_MAX_BODY_BYTES=${{NUMBER}}00
RESTART=unless-stopped
COMPOSE_PROJECT_NAME=other
"""


def test_a_field_that_compose_drops_stops_serve_dev_and_build(copy: Path) -> None:
    """The message has the file and the line. With that name, the variable reaches the service."""
    edit(copy / "app/settings.py", "    docs: bool", "    new: int = 1\n    docs: bool")
    for task in ("serve", "dev", "build"):
        done = inv(task, cwd=copy, APP_NEW="7", PORT=str(PORT))
        message = sentence(done)
        assert message.startswith("docker-compose.yml: `environment` of api-prod must hand on APP_NEW, ")
        assert "#1 " not in done.stderr
    name = re.findall(r"add `(.*?)` to it", message)[0]
    edit(copy / "docker-compose.yml", "APP_NAME}", f"APP_NAME, {name}}}")
    assert inv("serve", "--detach", f"--port={PORT}", cwd=copy, APP_NEW="7").returncode == 0
    try:
        script = "from app.settings import Settings; print(Settings.from_environment().new)"
        assert python_in(CONTAINER, script) == "7"
    finally:
        assert inv("stop", cwd=copy).returncode == 0


def started() -> tuple[Any, ...]:
    """Return how the service was started: its variables, port and restart policy. Then remove it."""
    try:
        facts = inspected(CONTAINER)
        return (
            sorted(one for one in facts["Config"]["Env"] if re.match("APP_.*=", one)),
            facts["HostConfig"]["PortBindings"]["8000/tcp"],
            facts["HostConfig"]["RestartPolicy"]["Name"],
        )
    finally:
        assert docker("rm", "--force", CONTAINER).returncode == 0


@pytest.mark.parametrize("environment", [{}, {"PORT": str(PORT + 1), "APP_NAME": "bakery", "RESTART": "no"}])
def test_an_env_file_means_the_same_to_inv_and_to_compose(copy: Path, environment: dict[str, str]) -> None:
    """The environment takes precedence over it in both."""
    (copy / ".env").write_text(ENV_FILE, encoding="utf-8", newline="")
    done = inv("serve", "--detach", cwd=copy, **environment)
    port = environment.get("PORT", str(PORT))
    assert (done.returncode, done.stdout.splitlines()[0]) == (
        0,
        f"http://localhost:{port} answers. `inv stop` stops it.",
    )
    ours = started()
    docker("compose", "--profile=prod", "up", "--detach", "--wait", cwd=copy, env=os.environ | environment)
    assert started() == ours
    assert inv("stop", cwd=copy).returncode == 0
    docker("network", "rm", f"{COPY}_default", check=False)
    assert left_behind() == []
    name = environment.get("APP_NAME", "shop $NUMBER")
    assert ours == (
        ["APP_DRAIN_SECONDS=0.5", "APP_MAX_BODY_BYTES=800", f"APP_NAME={name}"],
        [{"HostIp": "127.0.0.1", "HostPort": port}],
        environment.get("RESTART", "unless-stopped"),
    )


def test_a_malformed_env_file_gets_a_message(copy: Path) -> None:
    """With the line, and without its value; nothing has been built or started."""
    (copy / ".env").write_text("PORT=8000\nAPP_NAME='hidden\n", encoding="utf-8")
    done = inv("serve", cwd=copy)
    message = sentence(done)
    assert message.startswith(
        f"{copy.resolve()}/.env must have lines NAME=VALUE that Compose can read (got, near line 3: "
    )
    assert "hidden" not in done.stderr
    assert inv("check-prod", cwd=copy).returncode == 2
    assert left_behind() == []


def test_an_invalid_port_in_an_env_file_gets_a_message(copy: Path) -> None:
    """As one in the environment."""
    (copy / ".env").write_text("PORT=0x50\n", encoding="utf-8")
    assert sentence(inv("serve", cwd=copy)).startswith("The port must be a whole number from 1 to 65535 (got '0x50')")
