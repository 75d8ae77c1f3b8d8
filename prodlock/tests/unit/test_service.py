"""The variables of the service's settings, and a Compose file that does not hand one of them on."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from prodlock import configuration, generated, service
from prodlock.docker import compose, engine, images
from prodlock.failure import Failure
from prodlock.project import Project
from prodlock.proof.evidence import compose as evidence
from prodlock.server import settings as server_settings

ROOT = Path(__file__).parents[3]
SETTINGS = """\
PREFIX = "APP_"
class Common(BaseModel):
    shared: int = 1
class Settings(Common):
    model_config = ConfigDict(frozen=True)
    kind: ClassVar[str] = "x"
    _own: int = 1
    name: str = "x"
    grace: float
    def method(self): ...
"""


def test_variables_are_read_from_the_source_of_the_settings() -> None:
    """Only fields are read, inherited ones included."""
    assert service.of_settings(SETTINGS) == {"APP_NAME", "APP_SHARED", "APP_GRACE"}


@pytest.mark.parametrize(
    "text", ["", 'PREFIX = "APP_"', SETTINGS.replace("PREFIX", "OTHER"), SETTINGS.replace('"APP_"', 'f("APP_")')]
)
def test_settings_of_another_form_are_refused(text: str) -> None:
    """An empty list would make every variable a finding, or none."""
    with pytest.raises(ValueError, match=r"Settings|malformed"):
        service.of_settings(text)


def test_the_allowed_variables_are_those_of_the_service_and_of_the_server() -> None:
    """The class of the service and the list of the server agree with the sources."""
    settings = pytest.importorskip("app.settings")
    names = {settings.PREFIX + field.upper() for field in settings.Settings.model_fields}
    assert names
    assert evidence.settings_variables(Project()) == names | server_settings.VARIABLES


def test_a_variable_that_compose_does_not_hand_on_is_a_finding() -> None:
    """With the file and the line that it lacks."""
    (name,) = service.not_handed_on({"environment": {"APP_NAME": None}}, frozenset({"APP_NAME", "APP_NEW"}))
    sentence = service.dropped("docker-compose.yml", "api-prod", name)
    assert sentence.startswith("docker-compose.yml: `environment` of api-prod must hand on APP_NEW, ")
    assert "run `prodlock upgrade`, or add `APP_NEW` to it" in sentence
    assert service.not_handed_on({}, frozenset({"APP_NAME"})) == ["APP_NAME"]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project whose settings have two fields; Compose hands on the first in `production`, none in `tests`."""
    (tmp_path / "pyproject.toml").write_text('[tool.prodlock]\nsettings = "app/settings.py"\n', encoding="utf-8")
    for name, rendered in generated.files(
        configuration.read(tmp_path), generated.Facts("shop", ("APP_NAME",), is_own=False)
    ).items():
        (tmp_path / name).write_text(rendered.text, encoding="utf-8")
    (tmp_path / "app").mkdir()
    (tmp_path / "app/settings.py").write_text(
        'PREFIX = "APP_"\nclass Settings:\n    name: str\n    new: int = 1\n', encoding="utf-8"
    )
    document = {"services": {"api-prod": {"environment": {"APP_NAME": None}}, "api-tests": {}}}
    monkeypatch.setattr(engine, "output", lambda *_, **__: json.dumps(document))
    return Project(tmp_path, {})


def test_a_dropped_variable_stops_the_build_of_production(project: Project) -> None:
    """Before anything is built; the message is one line."""
    with pytest.raises(
        Failure, match=r"^docker-compose\.yml: .*api-prod must hand on APP_NEW, [^\n]*`APP_NEW:`[^\n]*$"
    ):
        images.build(project, compose.DEV, compose.PROD, made_from=None)


def test_a_build_asks_compose_only_where_a_name_is_in_no_file(project: Project) -> None:
    """`inv serve` and `inv dev` always ask: the name may be that of another service."""
    with (project.root / "docker-compose.yml").open("a", encoding="utf-8") as file:
        file.write("# APP_NEW\n")
    compose.check_settings(project, compose.PROD, quickly=True)
    with pytest.raises(Failure, match="must hand on APP_NEW"):
        compose.check_settings(project, compose.PROD)


def test_a_dropped_variable_does_not_stop_the_tests(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests set their own environment."""
    built: list[tuple[str, ...]] = []
    monkeypatch.setattr(engine, "build", lambda _, *args, **__: built.append(args))
    images.build(project, compose.DEV, made_from=None)
    assert built


@pytest.mark.parametrize("text", [None, "class Settings(BaseSettings): ...", "def broken(:"])
def test_settings_of_another_form_are_not_checked(project: Project, text: str | None) -> None:
    """A service that was moved in may read its variables in another way."""
    file = project.root / "app/settings.py"
    file.unlink()
    if text:
        file.write_text(text, encoding="utf-8")
    compose.check_settings(project, compose.PROD)


def test_the_example_lists_every_setting() -> None:
    """.env.example has the variables of service, server and Compose with their defaults, each with a comment."""
    text = (ROOT / ".env.example").read_text(encoding="utf-8")
    example = dict(re.findall(r"^# .+\n#(\w+)=(.*)$", text, re.MULTILINE))
    assert set(example) == evidence.settings_variables(Project(ROOT)) | {"PORT", "RESTART"}
    assert server_settings.Settings.read(example) == server_settings.Settings()
    file = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    for name in ("PORT", "RESTART"):
        assert f"${{{name}:-{example[name]}}}" in file
    # Every other line is a comment: a copy of the file changes nothing.
    assert all(line.startswith("#") for line in text.splitlines() if line)
