"""Judge that each system hands the same variables on to the service: Compose, Swarm and Kubernetes."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from prodlock.proof.judges import credentials
from prodlock.variables import decides_code

# Those whose values are compared by what they mean: the trusted proxies and the stripped path.
JUDGED = frozenset({"FORWARDED_ALLOW_IPS", "UVICORN_ROOT_PATH"})
_GRACE = "APP_STOP_GRACE_SECONDS"
# A value that Compose and Swarm take from their environment; `$$` is a dollar sign.
_INTERPOLATED = re.compile(r"(?<!\$)(?:\$\$)*\$(?!\$)")
# A reference to another variable of the container in Kubernetes, where `$$` is a dollar sign as well.
_EXPANDED = re.compile(r"(?<!\$)(?:\$\$)*\$\(")
# The sources of values that describe a pod (https://kubernetes.io/docs/concepts/workloads/pods/downward-api/).
_OWN = {"fieldRef", "resourceFieldRef"}


class Variables(NamedTuple):
    """The variables that a file hands on to a container: constants, and None where the site sets the value."""

    file: str
    values: Mapping[str, str | None]
    # Whether the file has a place where a site sets any other variable, and any other secret.
    has_settings: bool = False
    has_secrets: bool = False
    # Those that no other system can have, such as the address of a pod.
    own: Collection[str] = ()


def of_compose(file: str, service: Mapping[str, Any]) -> Variables:
    """Return the variables of a service that was resolved without interpolation."""
    return Variables(file, {name: _constant(value) for name, value in _pairs(service.get("environment"))})


def of_stack(file: str, service: Mapping[str, Any], written: Mapping[str, Any]) -> Variables:
    """Return the variables of a service of a stack, resolved and before the interpolation of its text."""
    constants = {name: _constant(value) for name, value in _pairs(written.get("environment"))}
    resolved = _pairs(service.get("environment"))
    return Variables(
        file, {name: value if constants.get(name, value) is not None else None for name, value in resolved}
    )


def of_kubernetes(file: str, container: Mapping[str, Any], objects: Sequence[Mapping[str, Any]]) -> Variables:
    """Return the variables of a container, with those of the ConfigMaps and Secrets that it takes as a whole.

    Of a Secret the names are read, and no value.
    """
    maps = {one["metadata"]["name"]: one.get("data") or {} for one in objects if one["kind"] == "ConfigMap"}
    kept = {
        one["metadata"]["name"]: (*(one.get("data") or ()), *(one.get("stringData") or ()))
        for one in objects
        if one["kind"] == "Secret"
    }
    values: dict[str, str | None] = {}
    sources = container.get("envFrom") or ()
    for source in sources:
        prefix = source.get("prefix") or ""
        given = maps.get((source.get("configMapRef") or {}).get("name"), {})
        values |= {f"{prefix}{name}": str(value) for name, value in given.items()}
        values |= {f"{prefix}{name}": None for name in kept.get((source.get("secretRef") or {}).get("name"), ())}
    own = set()
    for one in container.get("env") or ():
        if _OWN & (one.get("valueFrom") or {}).keys():
            own.add(one["name"])
        reference = (one.get("valueFrom") or {}).get("configMapKeyRef") or {}
        # Without a value and a source it is empty.
        value = "" if "valueFrom" not in one else maps.get(reference.get("name"), {}).get(reference.get("key"))
        values[one["name"]] = _expanded(str(one["value"])) if "value" in one else value
    has_settings, has_secrets = (any(key in source for source in sources) for key in ("configMapRef", "secretRef"))
    return Variables(file, values, has_settings, has_secrets, frozenset(own))


def differences(reference: Variables, others: Sequence[Variables], secrets: Collection[str]) -> Iterator[str]:
    """Yield a sentence for each variable that a file lacks or gives another constant, or that decides which code runs.

    The first file with a constant is the example of the others. Takes the variables that a Secret has by default.
    """
    files = (reference, *others)
    for name in sorted({name for one in files for name in one.values}):
        given = [one for one in files if name in one.values]
        if decides_code(name) and name not in reference.values:
            yield from (_deciding(one.file, name) for one in given)
            continue
        if all(name in one.own for one in given):
            continue
        constants = [one for one in given if one.values[name] is not None]
        example = (constants or given)[0]
        for one in files:
            if name not in one.values:
                place = one.has_secrets if name in secrets else one.has_settings or one.has_secrets
                if constants or not place:
                    yield _missing(one.file, name, example)
            # What Compose leaves open, a deployment may set.
            elif (
                name not in JUDGED
                and one.values[name] != example.values[name]
                and (one.values[name] is not None or example is reference)
            ):
                yield _other(one, name, example)


def missing(service: Variables, command: Variables) -> Iterator[str]:
    """Yield a sentence for each variable that a file hands on to the service, and not as well to a command."""
    for name, value in sorted(service.values.items()):
        if name in service.own:
            continue
        if name not in command.values:
            yield _missing(command.file, name, service)
        elif command.values[name] != value:
            yield _other(command, name, service)
    for name in sorted(command.values.keys() - service.values.keys()):
        if decides_code(name):
            yield _deciding(command.file, name)


def changed(base: Variables, given: Variables, judged: Collection[str] = ()) -> Iterator[str]:
    """Yield a sentence for each variable that a file changes which is added to the Compose file.

    It may set what that leaves open, other than the trusted proxies and the stripped path, unless these are judged.
    """
    for name in sorted((base.values.keys() | given.values.keys()) - {*judged}):
        if name not in base.values:
            yield _deciding(given.file, name) if decides_code(name) else _missing(base.file, name, given)
        elif name not in given.values:
            yield _missing(given.file, name, base)
        elif given.values[name] != base.values[name] and (base.values[name] is not None or name in JUDGED):
            yield _other(given, name, base)


def wrong_grace(files: Sequence[Variables], seconds: object) -> Iterator[str]:
    """Yield a sentence for each file that gives the service another grace period than the orchestrator."""
    for one in files:
        if (given := one.values.get(_GRACE)) is not None and _number(given) != seconds:
            yield (
                f"{one.file}: {_GRACE} must be {seconds}, the grace period of the files (got {given}). To fix it: "
                "change both alike."
            )


def _deciding(file: str, name: str) -> str:
    return (
        f"{file}: {name} must not be set, because it decides which code runs (got a value). To fix it: remove it, or "
        "set it in the Dockerfile."
    )


def _missing(file: str, name: str, example: Variables) -> str:
    remedy = "add it, or run `prodlock upgrade`"
    if example.values[name] is not None:
        remedy = f"add it with the value of {example.file}, {_shown(name, example)}"
    return f"{file}: {name} must be handed on as with {example.file} (got no such variable). To fix it: {remedy}."


def _other(given: Variables, name: str, example: Variables) -> str:
    return (
        f"{given.file}: {name} must be {_shown(name, example)}, as with {example.file} (got {_shown(name, given)}). To "
        "fix it: change one of the two."
    )


def _shown(name: str, given: Variables) -> str:
    """Return the value of a variable for a message, without a password."""
    value = given.values[name]
    return "left open" if value is None else credentials.shown(name, value).removeprefix(f"{name}=") or "empty"


def _pairs(environment: object) -> Iterator[tuple[str, str | None]]:
    """Yield the names and values of an environment, which is a mapping or a list."""
    if isinstance(environment, Mapping):
        for name, value in environment.items():
            text = str(value).lower() if isinstance(value, bool) else str(value)
            yield str(name), None if value is None else text
    elif isinstance(environment, list):
        for one in environment:
            name, sign, value = str(one).partition("=")
            yield name, value if sign else None


def _constant(value: str | None) -> str | None:
    return None if value is None or _INTERPOLATED.search(value) else value.replace("$$", "$")


def _expanded(value: str) -> str | None:
    """Return a value of a container's variable, or None where it depends on another one."""
    return None if _EXPANDED.search(value) else value.replace("$$(", "$(")


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
