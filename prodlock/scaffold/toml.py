"""Write values of `[tool.prodlock]` as TOML (https://toml.io/en/v1.0.0)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

# As long as a line may be.
_LINE = 120


def value(given: object, key: str = "") -> str:
    """Return a value as TOML: a string, a boolean, a number, a list or an inline table; long lists in lines.

    The key is what stands before it in its line.
    """
    if isinstance(given, bool):
        return str(given).lower()
    if isinstance(given, str):
        # A JSON string is a basic string of TOML; surrogate pairs, which are not, occur in no valid path or name.
        return json.dumps(given)
    if isinstance(given, Mapping):
        return "{" + ", ".join(f"{key} = {value(one)}" for key, one in given.items()) + "}"
    if isinstance(given, Iterable):
        listed = [value(one) for one in given]
        line = f"[{', '.join(listed)}]"
        if len(key) + len(" = ") + len(line) > _LINE:
            line = "[\n" + "".join(f"    {one},\n" for one in listed) + "]"
        return line
    return str(given)


def table(keys: Mapping[str, object]) -> str:
    """Return the lines of `[tool.prodlock]`."""
    return "[tool.prodlock]\n" + "".join(f"{key} = {value(given, key)}\n" for key, given in keys.items())
