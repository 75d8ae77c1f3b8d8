"""What the environment may set, validated before the first request."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

PREFIX = "APP_"
# What the server reads from the environment for itself (https://uvicorn.dev/settings/).
SERVERS = {"graceful_seconds": "UVICORN_TIMEOUT_GRACEFUL_SHUTDOWN"}
# What ending takes beside that: the server looks ten times a second, then the interpreter cleans up.
MARGIN_SECONDS = 0.5


class BadSettings(SystemExit):
    """A setting that the service can't start with. Uncaught, it ends the process with its sentence and code 1."""


class Settings(BaseModel):
    """The settings, each read from the variable of its name in capitals behind `APP_`, but for those in SERVERS."""

    model_config = ConfigDict(frozen=True)

    name: str = Field(default="lockstep", min_length=1)
    log_format: Literal["text", "json"] = "text"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    max_body_bytes: int = Field(default=1 << 20, ge=0)
    # From the signal to stop: how long requests are still answered, how long those in flight may then take, and when
    # the process will be killed. Docker kills after 10 s where nobody says otherwise.
    drain_seconds: float = Field(default=2, ge=0)
    graceful_seconds: float | None = Field(default=None, ge=0)
    stop_grace_seconds: float = Field(default=10, ge=0)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Return the settings that `environment` gives; raise BadSettings naming each variable that is wrong."""
        variables = {field: SERVERS.get(field, PREFIX + field.upper()) for field in cls.model_fields}
        given = {field: environment[variable] for field, variable in variables.items() if variable in environment}
        try:
            settings = cls.model_validate(given)
        except ValidationError as error:
            wrong = [
                f"{variables[str(problem['loc'][0])]}={problem['input']!r} is not valid: {problem['msg']}."
                for problem in error.errors()
            ]
            raise BadSettings(" ".join(wrong)) from None
        settings.check_stop()
        return settings

    def check_stop(self) -> None:
        """Raise BadSettings where the process would be killed while it may still answer."""
        stopping = self.drain_seconds + (self.graceful_seconds or 0)
        if self.graceful_seconds is not None and stopping + MARGIN_SECONDS > self.stop_grace_seconds:
            raise BadSettings(
                f"APP_DRAIN_SECONDS={self.drain_seconds:g} and {SERVERS['graceful_seconds']}={self.graceful_seconds:g} "
                f"make {stopping:g} s; less than APP_STOP_GRACE_SECONDS={self.stop_grace_seconds:g}, after which the "
                f"service is killed, by {MARGIN_SECONDS:g} s or more would do: lower one, or raise this and the "
                "orchestrator's grace period alike."
            )
