"""Settings of the service, read from environment variables and validated before the first request."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

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
            wrong = [
                f"{names[str(problem['loc'][0])]} must be valid: {problem['msg']} (got {problem['input']!r}). "
                "To fix it: correct the variable, or unset it for its default."
                for problem in error.errors()
            ]
            raise SystemExit("\n".join(wrong)) from None
