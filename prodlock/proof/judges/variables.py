"""Judge variables by their names: which the service reads, and which decide the code that runs."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

# Time zone and language: they change how text is shown.
LOCALE = ("LANG", "LC_ALL", "TZ")
# Variables that decide which code runs; pyproject.toml must not allow them: search paths and options of the
# interpreter (https://docs.python.org/3/using/cmdline.html), the loader (ld.so(8)), the C library's modules (iconv(1),
# locale(7)), OpenSSL's configuration and modules (openssl-env(7)), shells, and what the server imports by name.
_DECIDING = re.compile(
    r"PATH|PYTHON\w*|LD_\w+|GLIBC_TUNABLES|GCONV_PATH|LOCPATH|NLSPATH|OPENSSL_\w+|BASH_ENV|ENV"
    r"|UVICORN_(?:APP|APP_DIR|ENV_FILE|FACTORY|HTTP|INTERFACE|LIFESPAN|LOG_CONFIG|LOOP|RELOAD\w*|WS)"
)
# The form of a variable's name.
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def decides_code(variable: str) -> bool:
    """Return whether a variable decides which code runs."""
    return bool(_DECIDING.fullmatch(variable))


def of_settings(source: str) -> frozenset[str]:
    """Return the variables that the fields of the class `Settings` are read from, by the module's source.

    Each is PREFIX and the field's name in capitals. Raises ValueError where the source is not of this form.
    """
    prefix, classes = None, {}
    for node in ast.parse(source).body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
        if isinstance(target, ast.Name) and target.id == "PREFIX" and value:
            prefix = ast.literal_eval(value)
        if isinstance(node, ast.ClassDef):
            classes[node.name] = node
    fields = list(_fields("Settings", classes))
    if not fields or not isinstance(prefix, str):
        message = "no class `Settings` with fields, or no string PREFIX"
        raise ValueError(message)
    return frozenset(prefix + field.upper() for field in fields)


def _fields(name: str, classes: Mapping[str, ast.ClassDef]) -> Iterator[str]:
    """Yield the fields of a pydantic model, also those that it inherits from classes of the same module."""
    if name not in classes:
        return
    for base in classes[name].bases:
        if isinstance(base, ast.Name) and base.id != name:
            yield from _fields(base.id, classes)
    for node in classes[name].body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            field = node.target.id
            if not field.startswith("_") and field != "model_config" and "ClassVar" not in ast.unparse(node.annotation):
                yield field


def missing(service: Mapping[str, Any], variables: Iterable[str]) -> list[str]:
    """Return the variables of the service's settings that a Compose service does not pass on."""
    return sorted(set(variables) - set(service.get("environment") or ()))
