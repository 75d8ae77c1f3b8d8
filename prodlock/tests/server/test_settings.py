"""Settings are read from environment variables and options, and a wrong one stops the start."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from prodlock.server.settings import VARIABLES, BadSettings, Settings, ineffective_variables


def test_unset_variables_leave_the_defaults() -> None:
    """An empty environment is valid; other variables are ignored."""
    assert Settings.read({"PATH": "/bin", "APPLE": "x"}) == Settings()


def test_variables_set_the_fields() -> None:
    """Each field is read from its variable."""
    environment = {"APP_LOG_FORMAT": "json", "APP_LOG_LEVEL": "debug", "APP_MAX_BODY_BYTES": "7"}
    assert Settings.read(environment) == Settings(log_format="json", log_level="debug", max_body_bytes=7)


def test_an_option_takes_precedence_over_its_variable() -> None:
    """An option that is not given leaves the variable."""
    environment = {"UVICORN_HOST": "::1", "UVICORN_ROOT_PATH": "/variable"}
    options = {"host": None, "root_path": "/option", "port": "65535", "factory": None}
    assert Settings.read(environment, options) == Settings(host="::1", root_path="/option", port=65_535)


@pytest.mark.parametrize("port", ["0", "65536", "-1", "", "http", "8_000", "８０", "1e3", "9" * 5000])  # noqa: RUF001
def test_a_port_out_of_range_is_refused(port: str) -> None:
    """The message names the option."""
    with pytest.raises(BadSettings, match=r"^--port must be a whole number from 1 to 65535 \(got '.*'\)\. To fix"):
        Settings.read({}, {"port": port})


@pytest.mark.parametrize(
    "path", ["/health", "/", "/api/v1/utils/health-check/", "/healthz", "/.well-known/up", "/a.b_c~d"]
)
def test_a_path_of_a_probe_is_accepted(path: str) -> None:
    """Also one that ends with a slash, as frameworks have them."""
    settings = Settings.read({}, {"health": path})
    assert (settings.health, settings.ready) == (path, "/ready")


@pytest.mark.parametrize("option", ["health", "ready"])
@pytest.mark.parametrize(
    "path", ["", "health", "//", "/a//b", "/a b", "/ä", "/a?b=1", "/a#b", "/..", "/a/./b", "/a%20b", "http://x/a"]
)
def test_a_path_that_is_not_valid_is_refused(option: str, path: str) -> None:
    """It could never be requested, or has another meaning."""
    with pytest.raises(BadSettings, match=rf"^--{option} must be a path such as /health.*\(got .*To fix it: "):
        Settings.read({}, {option: path})


@pytest.mark.parametrize("options", [{"health": "/up", "ready": "/up"}, {"health": "/ready"}, {"ready": "/health"}])
def test_one_path_for_both_probes_is_refused(options: dict[str, str]) -> None:
    """During the drain one is 200 and the other is 503."""
    with pytest.raises(BadSettings, match=r"^--health and --ready must be different paths \(got '/"):
        Settings.read({}, options)


def test_a_wrong_option_is_named_instead_of_its_variable() -> None:
    """The variable is not what is wrong."""
    with pytest.raises(BadSettings, match=r"^--host must be an IP address.* \(got 'localhost'\)"):
        Settings.read({"UVICORN_HOST": "::1"}, {"host": "localhost"})


def test_every_wrong_variable_is_reported() -> None:
    """A line for each."""
    with pytest.raises(BadSettings) as raised:
        Settings.read({"APP_LOG_LEVEL": "loud", "APP_LOG_FORMAT": "xml"})
    lines = str(raised.value).splitlines()
    assert [line.split()[0] for line in lines] == ["APP_LOG_FORMAT", "APP_LOG_LEVEL"]
    assert lines[0] == (
        "APP_LOG_FORMAT must be text or json (got 'xml'). "
        "To fix it: correct it, or leave it out for the default 'text'."
    )


def test_the_variables_can_be_listed_with_the_standard_library_alone() -> None:
    """The proof imports the list on machines without the server's dependencies."""
    script = "from prodlock.server.settings import VARIABLES; import prodlock.server.healthcheck; print(*VARIABLES)"
    done = subprocess.run([sys.executable, "-S", "-c", script], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == VARIABLES
    assert len(VARIABLES) == 10


@pytest.mark.parametrize(
    ("variable", "value"),
    [
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
        ("FORWARDED_ALLOW_IPS", "*, 10.0.0.0/8"),
        ("FORWARDED_ALLOW_IPS", "*,*"),
        ("FORWARDED_ALLOW_IPS", "10.0.0.0/8,"),
    ],
)
def test_a_wrong_value_is_reported(variable: str, value: str) -> None:
    """The message names the variable and repeats the value."""
    with pytest.raises(BadSettings, match=rf"^{variable} must be .* \(got {re.escape(repr(value))}\)\. To fix it: "):
        Settings.read({variable: value})


@pytest.mark.parametrize(
    ("variable", "field", "value"),
    [
        ("UVICORN_HOST", "host", "::"),
        ("UVICORN_HOST", "host", ""),
        ("UVICORN_ROOT_PATH", "root_path", "/api/v1"),
        ("FORWARDED_ALLOW_IPS", "forwarded_allow_ips", "10.0.0.0/8, 2001:db8::1"),
        ("FORWARDED_ALLOW_IPS", "forwarded_allow_ips", "*"),
        ("FORWARDED_ALLOW_IPS", "forwarded_allow_ips", ""),
    ],
)
def test_the_servers_variables_set_the_fields(variable: str, field: str, value: str) -> None:
    """They have uvicorn's names."""
    assert getattr(Settings.read({variable: value}), field) == value


def test_a_space_beside_the_asterisk_has_no_meaning() -> None:
    """Uvicorn would take it for the name of a host, and trust none."""
    assert Settings.read({"FORWARDED_ALLOW_IPS": " * "}).forwarded_allow_ips == "*"


def test_a_variable_of_uvicorn_that_is_not_read_is_found() -> None:
    """It is logged at the start: uvicorn's own command would read it."""
    environment = {"UVICORN_WORKERS": "4", "UVICORN_ROOT_PATH": "/api", "PATH": "/bin"}
    assert ineffective_variables(environment) == ["UVICORN_WORKERS"]


@pytest.mark.parametrize(
    ("drain", "graceful", "grace"), [("2", "7", "10"), ("0", "9.5", "10"), ("2.5", "7", "10"), ("20", "9", "30")]
)
def test_a_stop_within_the_grace_period_is_accepted(drain: str, graceful: str, grace: str) -> None:
    """Among them the defaults."""
    environment = {
        "APP_DRAIN_SECONDS": drain, "APP_STOP_GRACE_SECONDS": grace, "UVICORN_TIMEOUT_GRACEFUL_SHUTDOWN": graceful,
    }  # fmt: skip
    assert Settings.read(environment).drain_seconds == float(drain)


def test_a_drain_alone_that_is_too_long_stops_the_start() -> None:
    """The other time has a default."""
    with pytest.raises(BadSettings, match=r"\(got 20 \+ 7 = 27 s, and 10 s\)"):
        Settings.read({"APP_DRAIN_SECONDS": "20"})


@pytest.mark.parametrize(("drain", "graceful"), [("3", "7"), ("20", "1"), ("0", "10"), ("2.6", "7")])
def test_a_stop_beyond_the_grace_period_stops_the_start(drain: str, graceful: str) -> None:
    """Requests would be lost without a message."""
    environment = {"APP_DRAIN_SECONDS": drain, "UVICORN_TIMEOUT_GRACEFUL_SHUTDOWN": graceful}
    with pytest.raises(BadSettings, match=rf"APP_STOP_GRACE_SECONDS.*\(got {drain} \+ {graceful} = "):
        Settings.read(environment)
