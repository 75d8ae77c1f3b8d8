"""What an image is configured to be, and what Compose runs, against what is declared."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from prodlock.image.records import Declaration, Image
from prodlock.proof import rules
from prodlock.proof.judges import configuration
from prodlock.proof.rules import Rule
from prodlock.tests.unit.proof.examples import RULES, image

CONFIG: dict[str, Any] = {
    "Env": ["PATH=/opt/venv/bin", "PYTHONUNBUFFERED=1"],
    "Cmd": ["uvicorn", "app"],
    "User": "10001:10001",
    "WorkingDir": "/srv",
    "ExposedPorts": {"8000/tcp": {}},
    "Labels": {"org.opencontainers.image.version": "1", "com.docker.compose.project": "x"},
    "Healthcheck": {"Test": ["CMD", "python", "prodlock/server/healthcheck.py"], "Interval": 30},
    "OnBuild": None,
}
HISTORY = ("COPY /out/tree / # buildkit", "ENV PATH=/opt/venv/bin", 'CMD ["uvicorn"]')
PLATFORM = {"architecture": "amd64", "created": "2026-01-02T03:04:05Z", "os": "linux"}
DECLARED = Declaration(CONFIG | {"Hostname": "", "AttachStdin": False}, HISTORY, ("sha256:0",), PLATFORM)


def undeclared(config: dict[str, Any] | None = None, history: tuple[str, ...] = HISTORY, **document: Any) -> list[str]:  # noqa: ANN401
    """Return what is found in an image whose configuration differs so."""
    image = Image("x:1", (), PLATFORM | document, CONFIG | (config or {}), history, ())
    return [f"{one.what}: {one.instruction or one.why}" for one in configuration.undeclared(image, DECLARED, "x")]


def test_declared_settings_are_not_findings() -> None:
    """Nor is what Compose adds, or what an Engine writes for an empty setting."""
    labels = CONFIG["Labels"] | {"com.docker.compose.version": "2.26.1", "com.docker.compose.service": "api-prod"}
    step = {"created_by": "CMD", "created": PLATFORM["created"], "comment": "buildkit.dockerfile.v0"}
    assert undeclared({"Labels": labels, "OnBuild": [], "Domainname": ""}) == []
    assert undeclared(rootfs={}, history=HISTORY) == []
    image = Image("x:1", (), PLATFORM | {"history": [step | {"empty_layer": True}]}, CONFIG, HISTORY, ())
    assert configuration.undeclared(image, DECLARED, "x") == []


def test_any_time_is_accepted_without_a_declared_one() -> None:
    """Without a commit, two builds have two times; a text that is not a time is a finding."""
    undated = replace(DECLARED, document={"architecture": "amd64", "os": "linux"})
    for created, codes in (("2026-05-06T07:08:09.123456789Z", []), ("a token", ["LS304", "LS302"])):
        document = PLATFORM | {
            "created": created,
            "history": [{"created_by": "CMD", "empty_layer": True, "created": created}],
        }
        image = Image("x:1", (), document, CONFIG, HISTORY, ())
        assert sorted(one.rule.code for one in configuration.undeclared(image, undated, "x")) == sorted(codes)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"Env": [*CONFIG["Env"], "PYTHONPATH=/opt/x"]}, "PYTHONPATH: Env is PYTHONPATH=/opt/x"),
        ({"Env": ["PATH=/opt/x", "PYTHONUNBUFFERED=1"]}, "PATH: Env is PATH=/opt/x"),
        ({"Env": ["PATH=/opt/x", *CONFIG["Env"]]}, "PATH: Env is PATH=/opt/x, /opt/venv/bin"),
        ({"Env": CONFIG["Env"][::-1]}, "Env: Env is in another order than the Dockerfile declares"),
        ({"Labels": {**CONFIG["Labels"], "com.docker.compose.project": "a note"}}, "com.docker.compose.project: "),
        ({"Env": ["PATH=/opt/venv/bin"]}, "PYTHONUNBUFFERED: Env lacks PYTHONUNBUFFERED"),
        ({"Env": [*CONFIG["Env"], "INDEX=https://u:secret@x/"]}, "INDEX: Env is INDEX=https://***@x/"),
        ({"Env": [*CONFIG["Env"], "DB_PASS=a secret"]}, "DB_PASS: Env is DB_PASS=***"),
        ({"Env": [*CONFIG["Env"], "X=curl -H 'Authorization: Bearer secret'"]}, "X: Env is X=curl -H 'Authorization: "),
        ({"Cmd": ["sh", "--token", "secret"]}, "Cmd: Cmd is ['sh', '--token', '***']"),
        ({"Cmd": ["sh", "--token=secret"]}, "Cmd: Cmd is ['sh', '--token=***']"),
        ({"Cmd": ["sh"]}, "Cmd: Cmd is ['sh']"),
        ({"Entrypoint": ["false"]}, "Entrypoint: Entrypoint is ['false']"),
        ({"User": "root"}, "User: User is root"),
        ({"User": ""}, "User: User lacks what is declared"),
        ({"WorkingDir": "/"}, "WorkingDir: WorkingDir is /"),
        ({"ExposedPorts": {"22/tcp": {}}}, "ExposedPorts: "),
        ({"Volumes": {"/data": {}}}, "Volumes: "),
        (
            {"Labels": CONFIG["Labels"] | {"org.opencontainers.image.version": "2"}},
            "org.opencontainers.image.version: Labels is ",
        ),
        ({"Labels": {**CONFIG["Labels"], "note": "x"}}, "note: Labels is note=x"),
        ({"Labels": {**CONFIG["Labels"], "com.docker.compose.note": "x"}}, "com.docker.compose.note: Labels is "),
        ({"Healthcheck": {"Test": ["NONE"]}}, "Healthcheck: "),
        ({"OnBuild": ["RUN true"]}, "OnBuild: OnBuild is ['RUN true']"),
        ({"Labels": {**CONFIG["Labels"], "com.docker.compose.project": "y"}}, "com.docker.compose.project: Labels is "),
        ({"Labels": {**CONFIG["Labels"], "com.docker.compose.service": "y"}}, "com.docker.compose.service: Labels is "),
        ({"ArgsEscaped": 1}, "ArgsEscaped: ArgsEscaped is 1"),
        ({"Shell": ["/bin/x"]}, "Shell: "),
        ({"StopSignal": "SIGKILL"}, "StopSignal: "),
    ],
)
def test_a_setting_that_is_not_declared_is_found(config: dict[str, Any], expected: str) -> None:
    """By its name, with its value but for a secret."""
    (found,) = undeclared(config)
    assert found.startswith(expected)
    assert "secret" not in found


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        ((*HISTORY, "ARG LEVEL=1"), "an instruction: ARG LEVEL=1"),
        ((*HISTORY, HISTORY[0]), f"an instruction: {HISTORY[0]}"),
        (HISTORY[1:], f"an instruction: {HISTORY[0]}"),
    ],
    ids=["one more", "one twice", "one less"],
)
def test_another_history_is_found(history: tuple[str, ...], expected: str) -> None:
    """Instruction by instruction."""
    assert undeclared(history=history) == [expected]


def test_a_history_in_another_order_is_found() -> None:
    """Each instruction that is not in its place."""
    assert len(undeclared(history=(HISTORY[1], HISTORY[0], HISTORY[2]))) == 2


STEP = {"created_by": "CMD", "created": PLATFORM["created"], "empty_layer": True}


@pytest.mark.parametrize(
    ("document", "rule"),
    [
        ({"author": "x"}, rules.UNKNOWN_FIELD),
        ({"container_config": {}}, rules.UNKNOWN_FIELD),
        ({"rootfs": {"type": "layers", "note": "x"}}, rules.UNKNOWN_FIELD),
        ({"rootfs": {"type": "a token of mine"}}, rules.UNKNOWN_FIELD),
        ({"architecture": "arm64"}, rules.PLATFORM),
        ({"architecture": ""}, rules.PLATFORM),
        ({"os": "linux, and a token of mine"}, rules.PLATFORM),
        ({"os.version": "10"}, rules.PLATFORM),
        ({"variant": "v8"}, rules.PLATFORM),
        ({"created": "2027-01-02T03:04:05Z"}, rules.PLATFORM),
        ({"history": [STEP | {"author": "x"}]}, rules.INSTRUCTION),
        ({"history": [STEP | {"comment": "TOKEN=1"}]}, rules.INSTRUCTION),
        ({"history": [STEP | {"created": "2027-01-02T03:04:05Z"}]}, rules.INSTRUCTION),
        ({"history": [STEP | {"empty_layer": False}]}, rules.INSTRUCTION),
        ({"history": [{"created_by": "CMD", "created": PLATFORM["created"]}]}, rules.INSTRUCTION),
        ({"history": [STEP | {"created_by": "COPY a b"}]}, rules.INSTRUCTION),
        ({"history": [STEP | {"empty_layer": "a token of mine"}]}, rules.INSTRUCTION),
        ({"history": [STEP | {"empty_layer": ["a token of mine"]}]}, rules.INSTRUCTION),
    ],
    ids=str,
)
def test_a_field_with_another_value_is_found(document: dict[str, Any], rule: Rule) -> None:
    """By value: a form that looks harmless may still be another one."""
    image = Image("x:1", (), PLATFORM | document, CONFIG, HISTORY, ())
    assert [one.rule for one in configuration.undeclared(image, DECLARED, "x")] == [rule]


@pytest.mark.parametrize("name", ["env", "A secret of mine"])
def test_a_setting_outside_the_specification_is_found(name: str) -> None:
    """Whatever it is set to: Go reads names in any case."""
    image = Image("x:1", (), PLATFORM, CONFIG | {name: ""}, HISTORY, ())
    (finding,) = configuration.undeclared(image, DECLARED, "x")
    assert finding.what == name


@pytest.mark.parametrize(
    ("config", "what"),
    [
        ({"Cmd": ["sh", "-c", "pytest -x"]}, "pytest"),
        ({"Entrypoint": ["/opt/venv/bin/py.test"]}, "pytest"),
        ({"Healthcheck": {"Test": ["CMD", "pytest"]}}, "pytest"),
        ({"OnBuild": ["RUN pip install pytest"]}, "pytest"),
        ({"Cmd": ["python", "-mpytest"]}, "pytest"),
        ({"Env": ["REDIS_URL=redis://:hunter2@redis:6379"]}, "REDIS_URL"),
        ({"Env": ["SOURCE=https://ghp_abc@git.example/x"]}, "SOURCE"),
        ({"Labels": {"com.example.api-key": "x"}}, "com.example.api-key"),
        ({"Env": ["PIP_INDEX_URL=https://u:p@index.example/simple"]}, "PIP_INDEX_URL"),
        ({"Env": ["DEPLOY_TOKEN=x"]}, "DEPLOY_TOKEN"),
        ({"Labels": {"source": "https://u:p@git.example"}}, "source"),
        ({"Env": ["DB_PASS=hunter2"]}, "DB_PASS"),
        ({"Env": ["GITHUB_PAT=ghp_abc"]}, "GITHUB_PAT"),
        ({"Env": ["SIGNING_KEY=abc"]}, "SIGNING_KEY"),
        ({"Env": ["NOTE=ghp_" + "a1" * 18]}, "NOTE"),
        ({"Env": ["DSN=host=x password=hunter2"]}, "DSN"),
        ({"Env": ["PEM=-----BEGIN PRIVATE " + "KEY-----\nMIIEowIBAAKCAQEA0123456789"]}, "PEM"),
        ({"Cmd": ["serve", "--password", "hunter2"]}, "password"),
        ({"Healthcheck": {"Test": ["CMD-SHELL", "curl -H 'Authorization: Bearer abc' x"]}}, "a secret in a header"),
        ({"OnBuild": ["ENV DB_PASS=x"]}, "DB_PASS"),
        ({"Env": ["PYTEST_ADDOPTS=-x"]}, "pytest"),
        ({"Env": ["PYTEST_ADDOPTS="]}, "pytest"),
        ({"Env": ["PY_TEST_X=1"]}, "pytest"),
        ({"Env": ["MYPYPATH=/x"]}, "mypy"),
        ({"Env": ["PYTHONBREAKPOINT=pytest.set_trace"]}, "pytest"),
    ],
)
def test_dev_tools_and_secrets_in_the_configuration_are_found(config: dict[str, object], what: str) -> None:
    """What a container would run, and what everyone can read."""
    assert [one.what for one in configuration.leaks(image(config=config), RULES)] == [what]


@pytest.mark.parametrize(
    "config",
    [
        {"Cmd": ["uvicorn", "app.main:create_app"], "Env": ["PATH=/opt/venv/bin", "GPG_KEY=ABC", "PYTHON_SHA256=1"]},
        {"Env": ["TOKENIZERS_PARALLELISM=false", "ACCESS_TOKEN_EXPIRE_MINUTES=30", "DB_PASSWORD_FILE=/run/secrets/db"]},
        {"Env": ["COVERAGE_LIMIT=1", "BLACK_LIST=x", "PACKAGING_LEVEL=1", "PYTHONBREAKPOINT=0", "PYTESTING=1"]},
        {"Env": ["COMPASS=n", "SECRET=/run/secrets/x"], "Cmd": ["serve", "--token", "$TOKEN"]},
        {"Env": ["SERVICE=packaging", "TOKEN=", "PROXY=http://proxy.example:3128", "MAIL=mailto:a@b.example"]},
        {"Labels": {"org.opencontainers.image.source": "https://git.example/x"}},
        {"Cmd": None, "Entrypoint": None, "Env": None, "Labels": None, "OnBuild": None, "Healthcheck": None},
    ],
)
def test_an_ordinary_configuration_is_clean(config: dict[str, object]) -> None:
    """The official image's own variables, an address without a password, nothing at all."""
    assert configuration.leaks(image(config=config), RULES) == []


@pytest.mark.parametrize(
    "step",
    [
        "ARG TOKEN",
        "ARG LEVEL=1 TOKEN=abc",
        "/bin/sh -c #(nop)  ARG API_KEY=x",
        "RUN |1 DEPLOY_TOKEN=abc /bin/sh -c make # buildkit",
        "|2 A=1 DB_PASSWORD=abc /bin/sh -c make",
        "RUN /bin/sh -c pip install --index-url https://u:p@index.example/simple x # buildkit",
        "RUN /bin/sh -c curl -H 'Authorization: Bearer abc' https://x # buildkit",
        "RUN /bin/sh -c DB_PASS=x make # buildkit",
        "ENV DB_PASS=x",
        "ARG DB_PASS",
        "ARG PYTEST_ADDOPTS=-x",
        "COPY x /y # ghp_" + "a1" * 18,
    ],
)
def test_a_secret_in_the_history_is_found(step: str) -> None:
    """Every user of the image can read its history."""
    assert len(configuration.leaks(image(history=(step,)), RULES)) == 1


@pytest.mark.parametrize("step", ["ARG BASE=python:3.13", "RUN |1 LEVEL=2 /bin/sh -c true", "ENV GPG_KEY=7169"])
def test_an_ordinary_history_is_clean(step: str) -> None:
    """Arguments without secrets."""
    assert configuration.leaks(image(history=(step,)), RULES) == []


def test_a_secret_in_configuration_and_history_is_one_finding() -> None:
    """The history repeats variables and labels."""
    config: dict[str, object] = {"Env": ["DB_PASS=x"], "Cmd": ["--token", "abc"]}
    facts = image(config=config, history=('CMD ["--token" "abc"]', "ENV DB_PASS=x", "RUN |1 DB_PASS=x /bin/sh -c true"))
    found = configuration.leaks(facts, RULES)
    assert [(one.path, one.instruction) for one in found] == [
        ("configuration", "ENV DB_PASS=***"),
        ("configuration", "CMD --token ***"),
        ("history", "RUN |1 DB_PASS=*** /bin/sh -c true"),
    ]


def test_a_build_argument_is_found_once_for_all_steps_that_record_it() -> None:
    """Each RUN records the arguments that are given; what a step itself contains is found in each."""
    arguments = "RUN |1 DB_PASSWORD=hunter2 /bin/sh -c "
    history = (f"{arguments}true", f"{arguments}false", f"{arguments}echo API_TOKEN=abc123", f"{arguments}ls")
    image = Image("x:1", (), {}, {}, history, ())
    assert [(one.what, one.instruction.split()[-1]) for one in configuration.secrets(image)] == [
        ("DB_PASSWORD", "true"), ("API_TOKEN", "API_TOKEN=***"),
    ]  # fmt: skip
