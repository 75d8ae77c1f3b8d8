"""Settings come from the environment, and a bad one stops the start."""

from __future__ import annotations

import re

import pytest

from app.main import create_app
from prodlock.server.settings import BadSettings, Settings, without_effect


def test_unset_variables_leave_the_defaults() -> None:
    """An empty environment is a valid one; foreign variables are none of ours."""
    assert Settings.from_environment({"PATH": "/bin", "APPLE": "x"}) == Settings()


def test_variables_set_the_fields() -> None:
    """Each field is read from its name in capitals behind APP_."""
    environment = {"APP_NAME": "prices", "APP_LOG_FORMAT": "json", "APP_LOG_LEVEL": "debug"}
    assert Settings.from_environment(environment) == Settings(name="prices", log_format="json", log_level="debug")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("APP_NAME", ""),
        ("APP_LOG_FORMAT", "xml"),
        ("APP_LOG_LEVEL", "INFO"),
        ("APP_MAX_BODY_BYTES", "-1"),
        ("APP_DRAIN_SECONDS", "soon"),
        ("APP_DRAIN_SECONDS", "nan"),
        ("APP_DRAIN_SECONDS", "inf"),
        ("APP_DRAIN_SECONDS", "1e9"),
        ("APP_DRAIN_SECONDS", "２"),  # noqa: RUF001
        ("APP_DRAIN_SECONDS", ""),
        ("APP_DRAIN_SECONDS", "1_0"),
        ("APP_DRAIN_SECONDS", " 2"),
        ("APP_DRAIN_SECONDS", "+2"),
        ("APP_MAX_BODY_BYTES", "1_000"),
        ("UVICORN_TIMEOUT_KEEP_ALIVE", "7_5"),
        ("APP_STOP_GRACE_SECONDS", "1e400"),
        ("APP_MAX_BODY_BYTES", "１"),  # noqa: RUF001
        ("UVICORN_TIMEOUT_GRACEFUL_SHUTDOWN", "x"),
        ("UVICORN_TIMEOUT_KEEP_ALIVE", "-1"),
        ("UVICORN_HOST", "localhost"),
        ("UVICORN_HOST", "1.2.3"),
        ("UVICORN_ROOT_PATH", "api"),
        ("UVICORN_ROOT_PATH", "/api/"),
        ("UVICORN_ROOT_PATH", "/ä"),
        ("FORWARDED_ALLOW_IPS", "10.0.0.1/8"),
        ("FORWARDED_ALLOW_IPS", "10.0.0.0/8,proxy"),
    ],
)
def test_a_bad_value_is_named(variable: str, value: str) -> None:
    """The sentence names the variable and repeats the value."""
    with pytest.raises(BadSettings, match=re.escape(f"{variable}={value!r} is not valid: ")):
        Settings.from_environment({variable: value})


@pytest.mark.parametrize(
    ("variable", "field", "value"),
    [
        ("UVICORN_HOST", "host", "::"),
        ("UVICORN_HOST", "host", ""),
        ("UVICORN_ROOT_PATH", "root_path", "/api/v1"),
        ("FORWARDED_ALLOW_IPS", "forwarded_allow_ips", "10.0.0.0/8, 2001:db8::1"),
        ("FORWARDED_ALLOW_IPS", "forwarded_allow_ips", "*"),
    ],
)
def test_the_servers_variables_set_the_fields(variable: str, field: str, value: str) -> None:
    """By uvicorn's names."""
    assert getattr(Settings.from_environment({variable: value}), field) == value


def test_a_variable_of_uvicorns_that_is_not_read_is_found() -> None:
    """It is logged at the start: uvicorn's own command would read it."""
    environment = {"UVICORN_WORKERS": "4", "UVICORN_ROOT_PATH": "/api", "PATH": "/bin"}
    assert without_effect(environment) == ["UVICORN_WORKERS"]


def test_a_bad_value_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """The factory that uvicorn calls ends the process instead of building a service."""
    monkeypatch.setenv("APP_LOG_LEVEL", "loud")
    with pytest.raises(SystemExit, match="APP_LOG_LEVEL='loud'"):
        create_app()


@pytest.mark.parametrize(
    ("drain", "graceful", "grace"), [("2", "7", "10"), ("0", "9.5", "10"), ("2.5", "7", "10"), ("20", "9", "30")]
)
def test_a_stop_within_the_grace_period_is_accepted(drain: str, graceful: str, grace: str) -> None:
    """The defaults among them."""
    environment = {
        "APP_DRAIN_SECONDS": drain, "APP_STOP_GRACE_SECONDS": grace, "UVICORN_TIMEOUT_GRACEFUL_SHUTDOWN": graceful,
    }  # fmt: skip
    assert Settings.from_environment(environment).drain_seconds == float(drain)


def test_a_drain_alone_that_is_too_long_stops_the_start() -> None:
    """The graceful time has a default."""
    with pytest.raises(BadSettings, match="make 27 s; less than APP_STOP_GRACE_SECONDS=10"):
        Settings.from_environment({"APP_DRAIN_SECONDS": "20"})


@pytest.mark.parametrize(("drain", "graceful"), [("3", "7"), ("20", "1"), ("0", "10"), ("2.6", "7")])
def test_a_stop_beyond_the_grace_period_stops_the_start(drain: str, graceful: str) -> None:
    """Else requests would be cut off, and nobody would know why."""
    environment = {"APP_DRAIN_SECONDS": drain, "UVICORN_TIMEOUT_GRACEFUL_SHUTDOWN": graceful}
    with pytest.raises(BadSettings, match=rf"APP_DRAIN_SECONDS={drain} and .*={graceful} make .* s; less than"):
        Settings.from_environment(environment)
