"""Settings of the service, read from environment variables and validated before the first request."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

PREFIX = "APP_"


class Settings(BaseModel):
    """Each field is read from the variable of its name in capitals behind PREFIX: APP_NAME."""

    model_config = ConfigDict(frozen=True)

    name: str = Field(default="quotes", min_length=1)
    # Documentation pages. They need fastapi-offline, which production has only where it is in the main group.
    docs: bool = False

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Return the settings of the environment. Raises SystemExit naming each variable that is wrong."""
        names = {field: PREFIX + field.upper() for field in cls.model_fields}
        try:
            return cls.model_validate(
                {field: environment[name] for field, name in names.items() if name in environment}
            )
        except ValidationError as error:
            raise SystemExit("\n".join(cls._message(names, problem) for problem in error.errors())) from None

    @staticmethod
    def _message(names: Mapping[str, str], problem: ErrorDetails) -> str:
        """Return the sentence about a variable that is wrong. Where one is missing, the input is all the others."""
        name = names[str(problem["loc"][0])]
        if problem["type"] == "missing":
            return f"{name} must be set (got nothing). To fix it: set the variable, or give its field a default."
        return (
            f"{name} must be valid: {problem['msg']} (got {problem['input']!r}). To fix it: correct the variable, or "
            "unset it for its default."
        )
