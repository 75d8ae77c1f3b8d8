"""Variables of the service's settings, and variables that decide which code runs."""

from __future__ import annotations

import pytest

from prodlock.project import Project
from prodlock.proof.evidence import compose as evidence
from prodlock.proof.judges import variables
from prodlock.proof.judges.deployment import dropped_variables
from prodlock.server import settings as server_settings

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
    assert variables.of_settings(SETTINGS) == {"APP_NAME", "APP_SHARED", "APP_GRACE"}


@pytest.mark.parametrize(
    "text", ["", 'PREFIX = "APP_"', SETTINGS.replace("PREFIX", "OTHER"), SETTINGS.replace('"APP_"', 'f("APP_")')]
)
def test_settings_of_another_form_are_refused(text: str) -> None:
    """An empty list would make every variable a finding, or none."""
    with pytest.raises(ValueError, match=r"Settings|malformed"):
        variables.of_settings(text)


def test_the_allowed_variables_are_those_of_the_service_and_of_the_server() -> None:
    """The class of the service and the list of the server agree with the sources."""
    settings = pytest.importorskip("app.settings")
    names = {settings.PREFIX + field.upper() for field in settings.Settings.model_fields}
    assert names
    assert evidence.settings_variables(Project()) == names | server_settings.VARIABLES


def test_a_variable_that_compose_does_not_pass_on_is_a_finding() -> None:
    """With the file and the line that it lacks."""
    (sentence,) = dropped_variables(
        "docker-compose.yml", variables.missing({"environment": {"APP_NAME": None}}, {"APP_NAME", "APP_NEW"})
    )
    assert "docker-compose.yml" in sentence
    assert "`- APP_NEW`" in sentence
    assert variables.missing({}, {"APP_NAME"}) == ["APP_NAME"]
