"""What an image is configured to be, and what Compose runs, against what is declared."""

from __future__ import annotations

from typing import Any

import pytest

from ops import configuration
from ops.records import Declaration, Image

CONFIG: dict[str, Any] = {
    "Env": ["PATH=/opt/venv/bin", "PYTHONUNBUFFERED=1"],
    "Cmd": ["uvicorn", "app"],
    "User": "10001:10001",
    "WorkingDir": "/srv",
    "ExposedPorts": {"8000/tcp": {}},
    "Labels": {"org.opencontainers.image.version": "1", "com.docker.compose.project": "x"},
    "Healthcheck": {"Test": ["CMD", "python", "app/healthcheck.py"], "Interval": 30},
    "OnBuild": None,
}
HISTORY = ("COPY /out/tree / # buildkit", "ENV PATH=/opt/venv/bin", 'CMD ["uvicorn"]')
DECLARED = Declaration(CONFIG | {"Hostname": "", "AttachStdin": False}, HISTORY, ("sha256:0",))


def undeclared(config: dict[str, Any] | None = None, history: tuple[str, ...] = HISTORY, **document: Any) -> list[str]:  # noqa: ANN401
    """Return what is found in an image whose configuration differs so."""
    image = Image("x:1", (), document, CONFIG | (config or {}), history, ())
    return [f"{one.what}: {one.instruction or one.why}" for one in configuration.undeclared(image, DECLARED)]


def test_what_is_declared_is_no_finding() -> None:
    """Nor is what Compose adds, or what an Engine writes for nothing."""
    labels = CONFIG["Labels"] | {"com.docker.compose.version": "2"}
    step = {"created_by": "CMD", "created": "x", "comment": "buildkit.dockerfile.v0", "empty_layer": True}
    assert undeclared({"Labels": labels, "OnBuild": [], "Domainname": ""}, os="linux", history=HISTORY) == []
    assert undeclared(architecture="amd64", rootfs={}) == []
    image = Image("x:1", (), {"history": [step]}, CONFIG, HISTORY, ())
    assert configuration.undeclared(image, DECLARED) == []


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"Env": [*CONFIG["Env"], "PYTHONPATH=/opt/x"]}, "PYTHONPATH: Env is PYTHONPATH=/opt/x"),
        ({"Env": ["PATH=/opt/x", "PYTHONUNBUFFERED=1"]}, "PATH: Env is PATH=/opt/x"),
        ({"Env": ["PATH=/opt/x", *CONFIG["Env"]]}, "PATH: Env is PATH=/opt/x, /opt/venv/bin"),
        ({"Labels": {**CONFIG["Labels"], "com.docker.compose.project": "a note"}}, "com.docker.compose.project: "),
        ({"Env": ["PATH=/opt/venv/bin"]}, "PYTHONUNBUFFERED: Env lacks PYTHONUNBUFFERED"),
        ({"Env": [*CONFIG["Env"], "INDEX=https://u:secret@x/"]}, "INDEX: Env is INDEX=https://***@x/"),
        ({"Cmd": ["sh"]}, "Cmd: Cmd is ['sh']"),
        ({"Entrypoint": ["false"]}, "Entrypoint: Entrypoint is ['false']"),
        ({"User": "root"}, "User: User is root"),
        ({"User": ""}, "User: User lacks what is declared"),
        ({"WorkingDir": "/"}, "WorkingDir: WorkingDir is /"),
        ({"ExposedPorts": {"22/tcp": {}}}, "ExposedPorts: "),
        ({"Volumes": {"/data": {}}}, "Volumes: "),
        ({"Labels": {"org.opencontainers.image.version": "2"}}, "org.opencontainers.image.version: Labels is "),
        ({"Labels": {**CONFIG["Labels"], "note": "x"}}, "note: Labels is note=x"),
        ({"Labels": {**CONFIG["Labels"], "com.docker.compose.note": "x"}}, "com.docker.compose.note: Labels is "),
        ({"Healthcheck": {"Test": ["NONE"]}}, "Healthcheck: "),
        ({"OnBuild": ["RUN true"]}, "OnBuild: OnBuild is ['RUN true']"),
        ({"Shell": ["/bin/x"]}, "Shell: "),
        ({"StopSignal": "SIGKILL"}, "StopSignal: "),
    ],
)
def test_a_setting_that_is_not_declared_is_found(config: dict[str, Any], told: str) -> None:
    """By its name, with its value but for a secret."""
    (found,) = undeclared(config)
    assert found.startswith(told)
    assert "secret" not in found


@pytest.mark.parametrize(
    ("history", "told"),
    [
        ((*HISTORY, "ARG LEVEL=1"), "an instruction: ARG LEVEL=1"),
        ((*HISTORY, HISTORY[0]), f"an instruction: {HISTORY[0]}"),
        (HISTORY[1:], f"an instruction: {HISTORY[0]}"),
    ],
    ids=["one more", "one twice", "one less"],
)
def test_another_history_is_found(history: tuple[str, ...], told: str) -> None:
    """Instruction by instruction."""
    assert undeclared(history=history) == [told]


@pytest.mark.parametrize(
    "document",
    [
        {"author": "x"},
        {"container_config": {}},
        {"history": [{"created_by": "CMD", "author": "x"}]},
        {"history": [{"created_by": "CMD", "comment": "TOKEN=1"}]},
        {"history": [{"created_by": "CMD", "created": "a token of mine"}]},
        {"os": "linux, and a token of mine"},
        {"created": "x" * 41},
        {"rootfs": {"type": "layers", "note": "x"}},
        {"rootfs": {"type": "a token of mine"}},
        {"history": [{"created_by": "CMD", "empty_layer": "a token of mine"}]},
        {"history": [{"created_by": "CMD", "empty_layer": ["a token of mine"]}]},
    ],
    ids=[
        "author",
        "container",
        "step's author",
        "comment",
        "step's time",
        "system",
        "time",
        "layers",
        "layers' type",
        "step's layer",
        "step's layers",
    ],
)
def test_what_else_a_configuration_holds_is_found(document: dict[str, Any]) -> None:
    """Everyone who has the image can read it."""
    image = Image("x:1", (), document, CONFIG, HISTORY, ())
    assert len(configuration.undeclared(image, DECLARED)) == 1


@pytest.mark.parametrize("name", ["env", "A secret of mine"])
def test_a_setting_that_no_specification_has_is_found(name: str) -> None:
    """Whatever it is set to: Go reads names in any case."""
    image = Image("x:1", (), {}, CONFIG | {name: ""}, HISTORY, ())
    (finding,) = configuration.undeclared(image, DECLARED)
    assert finding.what == name


SERVICE: dict[str, Any] = {
    "build": {"target": "prod", "context": "/w"},
    "command": None,
    "entrypoint": None,
    "environment": {"APP_NAME": None, "UVICORN_TIMEOUT_KEEP_ALIVE": "5"},
    "image": "x:prod",
}


VOLUMES: dict[str, Any] = {
    "data": {"name": "x_data"},
    "folder": {"driver_opts": {"type": "none", "o": "bind", "device": "/w/app"}},
}


def test_a_service_that_runs_its_image_is_no_finding() -> None:
    """A volume of its own, or a folder of the machine's, is none of the working tree."""
    mounts = [{"type": "volume", "source": "data"}, {"type": "bind", "source": "/workshop"}, {"type": "tmpfs"}]
    assert configuration.composed(SERVICE | {"volumes": mounts}, VOLUMES, "x:prod", "/w") == []


@pytest.mark.parametrize(
    ("more", "what"),
    [
        ({"volumes": [{"type": "bind", "source": "/w"}]}, "/w"),
        ({"volumes": [{"type": "bind", "source": "/w/app"}]}, "/w/app"),
        ({"volumes": [{"type": "bind", "source": "/"}]}, "/"),
        ({"volumes": [{"type": "volume", "source": "folder"}]}, "/w/app"),
        ({"post_start": [{"command": ["sh"]}]}, "post_start"),
        ({"build": {"target": "dev"}}, "target dev"),
        ({"build": {}}, "target None"),
        ({"command": ["pytest"]}, "command"),
        ({"entrypoint": ["sh"]}, "entrypoint"),
        ({"configs": [{"source": "settings"}]}, "settings"),
        ({"secrets": [{"source": "key"}]}, "key"),
        ({"user": "0:0"}, "user"),
        ({"working_dir": "/tmp"}, "working_dir"),
        ({"volumes_from": ["other"]}, "volumes_from"),
        ({"healthcheck": {"disable": True}}, "healthcheck"),
        ({"image": "x:dev"}, "image x:dev"),
        ({"image": None}, "image None"),
        ({"environment": {"PATH": "/tmp"}}, "PATH"),
        ({"environment": {"PYTHONPATH": "/tmp"}}, "PYTHONPATH"),
        ({"environment": {"LD_PRELOAD": None}}, "LD_PRELOAD"),
    ],
)
def test_a_service_that_runs_something_else_is_found(more: dict[str, Any], what: str) -> None:
    """Whatever the image holds."""
    (found,) = configuration.composed(SERVICE | more, VOLUMES, "x:prod", "/w")
    assert (found.what, found.path) == (what, "docker-compose.yml")
