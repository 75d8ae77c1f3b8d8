"""Settings of the server: environment variables and command-line options, validated before the first request.

Standard library only: the tool imports `VARIABLES` on machines without the server's dependencies.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

# Time from the end of the graceful period to the end of the process: the server checks ten times a second whether it
# is to end, then the application's lifespan ends and the interpreter cleans up.
MARGIN_SECONDS = 0.5
MOST_SECONDS = 86_400


class BadSettings(SystemExit):
    """Settings that the server cannot start with. Uncaught, it ends the process with its message and exit code 1."""


class Kind(NamedTuple):
    """Values that a setting takes: a description, and a function that converts text or raises ValueError."""

    requirement: str
    convert: Callable[[str], Any]


def _number(text: str, pattern: str, most: float) -> float:
    """Convert a number in ASCII digits: `float()` and `int()` accept signs, spaces, exponents and other scripts."""
    # Python refuses to convert thousands of digits, with an error of its own.
    if not re.fullmatch(pattern, text) or not (number := float(text)) <= most:
        raise ValueError
    return number


def _address(text: str) -> str:
    return str(ipaddress.ip_address(text)) if text else text


def _networks(text: str) -> str:
    # uvicorn trusts every address only where this is the whole text.
    if text.strip() == "*":
        return "*"
    for item in text.split(",") if text else ():
        ipaddress.ip_network(item.strip())
    return text


def _path(text: str) -> str:
    if not re.fullmatch(r"(/[A-Za-z0-9._~-]+)*", text):
        raise ValueError
    return text


def _probe(text: str) -> str:
    # Clients resolve the segments `.` and `..` before they send a path.
    segments = text.removeprefix("/").removesuffix("/").split("/")
    if text != "/" and not (re.fullmatch(r"(/[A-Za-z0-9._~-]+)+/?", text) and {".", ".."}.isdisjoint(segments)):
        raise ValueError
    return text


def _port(text: str) -> int:
    port = int(_number(text, "[0-9]{1,20}", 65_535))
    if not port:
        raise ValueError
    return port


def _one_of(*words: str) -> Kind:
    def convert(text: str) -> str:
        if text not in words:
            raise ValueError
        return text

    return Kind(f"{', '.join(words[:-1])} or {words[-1]}", convert)


SECONDS = Kind(
    # At most a day, so that neither Compose nor a timer gets a number that it cannot represent.
    f"a number of seconds from 0 to {MOST_SECONDS} in the digits 0 to 9 with at most a decimal point",
    lambda text: _number(text, r"[0-9]{1,20}(\.[0-9]{1,20})?", MOST_SECONDS),
)
BYTES = Kind("a whole number in the digits 0 to 9", lambda text: int(_number(text, "[0-9]{1,18}", 1e18)))
PORT = Kind("a whole number from 1 to 65535", _port)
ADDRESS = Kind("an IP address, or empty for all addresses of this machine", _address)
NETWORKS = Kind("IP addresses and networks, separated by commas, or *", _networks)
PROBE = Kind("a path such as /health, in ASCII letters, digits and . _ ~ -", _probe)
PATH = Kind("empty or a path such as /api, without a slash at its end", _path)


def _setting(default: object, kind: Kind, variable: str = "", option: str = "") -> Any:  # noqa: ANN401 - as `field`
    return field(default=default, metadata={"kind": kind, "variable": variable, "option": option})


@dataclass(frozen=True)
class Settings:
    """Settings of the server, each read from an option or from an environment variable. The option takes precedence.

    Variables named UVICORN_* and FORWARDED_ALLOW_IPS have uvicorn's names and meaning (https://uvicorn.dev/settings/).
    """

    log_format: str = _setting("text", _one_of("text", "json"), "APP_LOG_FORMAT")
    log_level: str = _setting("info", _one_of("debug", "info", "warning", "error"), "APP_LOG_LEVEL")
    max_body_bytes: int = _setting(1 << 20, BYTES, "APP_MAX_BODY_BYTES")
    # From the signal to stop: how long new requests are still answered, how long requests in flight may then take, and
    # when the orchestrator kills the process. Docker's default is 10 s.
    drain_seconds: float = _setting(2.0, SECONDS, "APP_DRAIN_SECONDS")
    graceful_seconds: float = _setting(7.0, SECONDS, "UVICORN_TIMEOUT_GRACEFUL_SHUTDOWN")
    stop_grace_seconds: float = _setting(10.0, SECONDS, "APP_STOP_GRACE_SECONDS")
    # How long an idle connection is kept: longer than proxies keep theirs, so that none closes while a proxy uses it.
    keep_alive_seconds: float = _setting(75.0, SECONDS, "UVICORN_TIMEOUT_KEEP_ALIVE")
    host: str = _setting("", ADDRESS, "UVICORN_HOST", "--host")
    port: int = _setting(8000, PORT, option="--port")
    # The path that a proxy in front strips (https://asgi.readthedocs.io/en/latest/specs/www.html#http-connection-scope).
    root_path: str = _setting("", PATH, "UVICORN_ROOT_PATH", "--root-path")
    # The paths of the probes.
    health: str = _setting("/health", PROBE, option="--health")
    ready: str = _setting("/ready", PROBE, option="--ready")
    # Proxies whose X-Forwarded-For and X-Forwarded-Proto are trusted.
    forwarded_allow_ips: str = _setting("127.0.0.1,::1", NETWORKS, "FORWARDED_ALLOW_IPS")

    @classmethod
    def read(
        cls, environment: Mapping[str, str] = os.environ, options: Mapping[str, str | None] | None = None
    ) -> Settings:
        """Return the settings of the environment and of the options, by field name.

        Raises BadSettings with a line for each value that is wrong.
        """
        values, wrong = {}, []
        for one in fields(cls):
            kind, name = one.metadata["kind"], one.metadata["variable"]
            given = environment.get(name)
            if options and options.get(one.name) is not None:
                given, name = options[one.name], one.metadata["option"]
            if given is None:
                continue
            try:
                values[one.name] = kind.convert(given)
            except ValueError:
                remedy = f"correct it, or leave it out for the default {one.default!r}"
                wrong.append(f"{name} must be {kind.requirement} (got {given!r}). To fix it: {remedy}.")
        if wrong:
            raise BadSettings("\n".join(wrong))
        settings = cls(**values)
        settings.check_probes()
        settings.check_grace_period()
        return settings

    def check_probes(self) -> None:
        """Raise BadSettings where one path would be both probes."""
        if self.health == self.ready:
            raise BadSettings(
                f"--health and --ready must be different paths (got {self.health!r} for both). To fix it: change one."
            )

    def check_grace_period(self) -> None:
        """Raise BadSettings where the orchestrator would kill the process while it may still answer."""
        stopping = self.drain_seconds + self.graceful_seconds
        if stopping + MARGIN_SECONDS > self.stop_grace_seconds:
            raise BadSettings(
                f"APP_DRAIN_SECONDS + UVICORN_TIMEOUT_GRACEFUL_SHUTDOWN must be at least {MARGIN_SECONDS:g} s less "
                f"than APP_STOP_GRACE_SECONDS, after which the process is killed (got {self.drain_seconds:g} + "
                f"{self.graceful_seconds:g} = {stopping:g} s, and {self.stop_grace_seconds:g} s). To fix it: lower one "
                "of the two, or raise APP_STOP_GRACE_SECONDS and the orchestrator's grace period alike."
            )


# The environment variables that the server reads: the proof allows these in Compose.
VARIABLES = frozenset(one.metadata["variable"] for one in fields(Settings)) - {""}


def ineffective_variables(environment: Mapping[str, str] = os.environ) -> list[str]:
    """Return uvicorn's variables in the environment that this server does not read."""
    return sorted(name for name in environment if name.startswith("UVICORN_") and name not in VARIABLES)
