"""Read the service's settings from their source: the variables that its container must be given."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping

from prodlock.project import Project


def variables(project: Project) -> frozenset[str]:
    """Return the variables that the service reads: those of its settings, and those that pyproject.toml lists.

    Raises OSError, SyntaxError or ValueError where the module of the settings is missing or not of the expected form.
    """
    settings = project.configuration.settings
    read = of_settings((project.root / settings).read_text(encoding="utf-8")) if settings else frozenset()
    return read.union(project.configuration.environment)


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


def not_handed_on(service: Mapping[str, object], variables: frozenset[str]) -> list[str]:
    """Return the variables that a resolved Compose service does not hand on to its container."""
    environment = service.get("environment")
    return sorted(variables - set(environment if isinstance(environment, Mapping) else ()))


def dropped(file: str, service: str, name: str) -> str:
    """Return the sentence about a variable that a service of the Compose file does not hand on: the line to add."""
    return (
        f"{file}: `environment` of {service} must hand on {name}, which the service reads (got no such name). To fix "
        f"it: run `prodlock upgrade`, or add `{name}` to it (`{name}:` where each variable has a line)."
    )
