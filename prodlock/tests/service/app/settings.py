"""The settings of the service."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Self

from pydantic import BaseModel

PREFIX = "APP_"


class Settings(BaseModel):
    """Each field is read from a variable: APP_NAME."""

    name: str = "quotes"
    docs: bool = True

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Return the settings of the environment."""
        names = {field: PREFIX + field.upper() for field in cls.model_fields}
        return cls.model_validate({field: environment[name] for field, name in names.items() if name in environment})
