"""What the environment may set, validated before the first request."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

PREFIX = "APP_"
# Variables of the server, with uvicorn's names for them (https://uvicorn.dev/settings/). It reads no others.
SERVERS = {
    "graceful_seconds": "UVICORN_TIMEOUT_GRACEFUL_SHUTDOWN",
    "keep_alive_seconds": "UVICORN_TIMEOUT_KEEP_ALIVE",
    "host": "UVICORN_HOST",
    "root_path": "UVICORN_ROOT_PATH",
    "forwarded_allow_ips": "FORWARDED_ALLOW_IPS",
}
# What ending takes beside that: the server looks ten times a second, then the interpreter cleans up.
MARGIN_SECONDS = 0.5


def _address(value: str) -> str:
    """Return an IP address, or `` for all. Raises ValueError."""
    return str(ipaddress.ip_address(value)) if value else value


def _networks(value: str) -> str:
    """Return a list of IP addresses and networks, or `*` for all. Raises ValueError."""
    for item in value.split(",") if value else ():
        if item.strip() != "*":
            ipaddress.ip_network(item.strip())
    return value


def _number(value: object) -> object:
    """Return a value that is to be a number. Raises ValueError for text that not every program takes for one."""
    if isinstance(value, str) and not re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", value):
        message = "a number must be written in the digits 0 to 9, with a decimal point at most"
        raise ValueError(message)
    return value


# A day at most, so that neither Compose nor a timer gets a number that it can't hold.
Seconds = Annotated[float, BeforeValidator(_number), Field(ge=0, le=86_400, allow_inf_nan=False)]


class BadSettings(SystemExit):
    """A setting that the service can't start with. Uncaught, it ends the process with its sentence and code 1."""


class Settings(BaseModel):
    """The settings, each read from the variable of its name in capitals behind `APP_`, but for those in SERVERS."""

    model_config = ConfigDict(frozen=True)

    name: str = Field(default="quotes", min_length=1)
    log_format: Literal["text", "json"] = "text"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    max_body_bytes: Annotated[int, BeforeValidator(_number)] = Field(default=1 << 20, ge=0)
    # From the signal to stop: how long requests are still answered, how long those in flight may then take, and when
    # the process will be killed. Docker kills after 10 s where nobody says otherwise.
    drain_seconds: Seconds = 2
    graceful_seconds: Seconds = 7
    stop_grace_seconds: Seconds = 10
    # How long an idle connection is kept: longer than proxies keep theirs, so that none closes as it is used again.
    keep_alive_seconds: Seconds = 75
    # The address to listen on; without one, all of IPv4 and IPv6.
    host: Annotated[str, AfterValidator(_address)] = ""
    # The path that a proxy in front strips (https://asgi.readthedocs.io/en/latest/specs/www.html#http-connection-scope).
    root_path: str = Field(default="", pattern=r"^(/[A-Za-z0-9._~-]+)*$")
    # Proxies whose word on a client's address and scheme is taken.
    forwarded_allow_ips: Annotated[str, AfterValidator(_networks)] = "127.0.0.1,::1"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Return the settings that `environment` gives; raise BadSettings naming each variable that is wrong."""
        names = variables()
        given = {field: environment[name] for field, name in names.items() if name in environment}
        try:
            settings = cls.model_validate(given)
        except ValidationError as error:
            wrong = [
                f"{names[str(problem['loc'][0])]}={problem['input']!r} is not valid: {problem['msg']}."
                for problem in error.errors()
            ]
            raise BadSettings(" ".join(wrong)) from None
        settings.check_stop()
        return settings

    def check_stop(self) -> None:
        """Raise BadSettings where the process would be killed while it may still answer."""
        stopping = self.drain_seconds + self.graceful_seconds
        if stopping + MARGIN_SECONDS > self.stop_grace_seconds:
            raise BadSettings(
                f"APP_DRAIN_SECONDS={self.drain_seconds:g} and {SERVERS['graceful_seconds']}={self.graceful_seconds:g} "
                f"make {stopping:g} s; less than APP_STOP_GRACE_SECONDS={self.stop_grace_seconds:g}, after which the "
                f"service is killed, by {MARGIN_SECONDS:g} s or more would do: lower one, or raise this and the "
                "orchestrator's grace period alike."
            )


def without_effect(environment: Mapping[str, str] = os.environ) -> list[str]:
    """Return uvicorn's variables in the environment that this server does not read."""
    return sorted(name for name in environment if name.startswith("UVICORN_") and name not in SERVERS.values())


def variables() -> dict[str, str]:
    """Return the variable of each setting, by its field."""
    return {field: SERVERS.get(field, PREFIX + field.upper()) for field in Settings.model_fields}
