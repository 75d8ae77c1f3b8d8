"""What the environment may set, validated before the first request."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

PREFIX = "APP_"


class BadSettings(SystemExit):
    """A setting that the service can't start with. Uncaught, it ends the process with its sentence and code 1."""


class Settings(BaseModel):
    """The settings, each read from the variable of its name in capitals behind `APP_`."""

    model_config = ConfigDict(frozen=True)

    name: str = Field(default="lockstep", min_length=1)
    log_format: Literal["text", "json"] = "text"
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Return the settings that `environment` gives; raise BadSettings naming each variable that is wrong."""
        variables = {field: PREFIX + field.upper() for field in cls.model_fields}
        given = {field: environment[variable] for field, variable in variables.items() if variable in environment}
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            wrong = [
                f"{variables[str(problem['loc'][0])]}={problem['input']!r} is not valid: {problem['msg']}."
                for problem in error.errors()
            ]
            raise BadSettings(" ".join(wrong)) from None
