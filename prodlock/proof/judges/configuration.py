"""Judge an image's configuration and history: dev tools, secrets, and what the Dockerfile does not declare."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from prodlock.image.records import Declaration, Image
from prodlock.proof import rules
from prodlock.proof.judges.credentials import MASK, found, is_named, masked, shown
from prodlock.proof.judges.forbidden import Forbidden
from prodlock.proof.judges.leaks import started
from prodlock.proof.rules import Finding

# What Compose writes into labels of its own: a pattern for each.
_COMPOSE_LABELS = {
    "com.docker.compose.project": "{project}",
    "com.docker.compose.service": "api-prod",
    "com.docker.compose.version": r"v?\d[\w.+-]{{0,40}}",
}
# What an image's configuration and its history consist of (https://github.com/opencontainers/image-spec/blob/main/config.md).
_DOCUMENT = {"architecture", "config", "created", "history", "os", "os.version", "rootfs", "variant"}
_WORDS = {"architecture", "created", "os", "os.version", "variant"}
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)|")
_ROOTFS = {"diff_ids", "type"}
# The settings that Docker and the specification define; no other may be present, not even empty.
_CONFIG = {
    "ArgsEscaped", "AttachStderr", "AttachStdin", "AttachStdout", "Cmd", "Domainname", "Entrypoint", "Env",
    "ExposedPorts",
    "Healthcheck", "Hostname", "Image", "Labels", "MacAddress", "Memory", "MemorySwap", "NetworkDisabled", "OnBuild",
    "OpenStdin", "CpuShares", "Shell", "StdinOnce", "StopSignal", "StopTimeout", "Tty", "User", "Volumes", "WorkingDir",
}  # fmt: skip
_STEP = {"comment", "created", "created_by", "empty_layer"}
_COMMENTS = {"", "buildkit.dockerfile.v0"}
# Whether an instruction makes a layer; WORKDIR makes one only where it makes a folder.
_MAKES_LAYER = {"ADD": True, "COPY": True, "RUN": True} | dict.fromkeys(
    (
        "ARG", "CMD", "ENTRYPOINT", "ENV", "EXPOSE", "HEALTHCHECK", "LABEL", "MAINTAINER", "ONBUILD", "SHELL",
        "STOPSIGNAL", "USER", "VOLUME",
    ),
    False,
)  # fmt: skip
# Instructions that the configuration repeats.
_REPEATED = re.compile(r"(?:/bin/sh -c #\(nop\)\s+)?(?:CMD|ENTRYPOINT|HEALTHCHECK|ONBUILD|SHELL)\b")
# What the history records before the command of a RUN, where there are build arguments.
_ARGUMENTS = re.compile(r"(?:RUN )?\|\d+ .*? /bin/sh -c ", re.DOTALL)
# An instruction that declares variables, as BuildKit or the legacy builder writes it.
_DECLARES = re.compile(r"(?:/bin/sh -c #\(nop\)\s+)?(?P<instruction>ARG|ENV|LABEL)\s+(?P<given>.*)", re.DOTALL)


def leaks(image: Image, forbidden: Forbidden) -> list[Finding]:
    """Return the dev tools that an image runs, and the secrets in its environment, labels, commands and history."""
    return [
        *(finding for name, words in commands(image).items() for finding in _tools(name, words, forbidden)),
        *_tool_variables(_variables(image), image.history, forbidden),
        *secrets(image),
    ]


def secrets(image: Image) -> list[Finding]:
    """Return the secrets in an image's environment, labels, commands and history."""
    labels = list((image.config.get("Labels") or {}).items())
    found = [*_secrets("ENV", _variables(image)), *_secrets("LABEL", labels)]
    found += [finding for name, words in commands(image).items() for finding in _secrets_in_command(name, words)]
    return [*found, *_secrets_in_history(image.history, {finding.what for finding in found})]


def commands(image: Image) -> dict[str, Sequence[str] | None]:
    """Return the commands that an image starts, or has others start, by their instruction."""
    config = image.config
    return {
        "CMD": config.get("Cmd"),
        "ENTRYPOINT": config.get("Entrypoint"),
        "HEALTHCHECK": (config.get("Healthcheck") or {}).get("Test"),
        "ONBUILD": config.get("OnBuild"),
        "SHELL": config.get("Shell"),
    }


def _variables(image: Image) -> list[tuple[str, str]]:
    return [(name, value) for name, _, value in (text.partition("=") for text in image.config.get("Env") or ())]


def undeclared(image: Image, declaration: Declaration, project: str) -> list[Finding]:
    """Return the settings and the history of an image that the Dockerfile does not declare.

    Takes the declaration, which a bare `docker build .` of the same commit gives, and the name of the Compose project:
    Compose adds labels of its own.
    """
    return [
        *_settings_undeclared(image, declaration, project),
        *_steps_undeclared(image, declaration),
        *_fields_undeclared(image, declaration),
    ]


def _settings_undeclared(image: Image, declaration: Declaration, project: str) -> Iterator[Finding]:
    names = {name for name, value in (*image.config.items(), *declaration.config.items()) if value}
    for name in sorted(names):
        held, declared = _settings(image.config.get(name)), _settings(declaration.config.get(name))
        for setting in sorted(held.keys() | declared.keys()):
            value = held.get(setting)
            compose = name == "Labels" and _COMPOSE_LABELS.get(setting)
            if _same(value, declared.get(setting)) or (
                compose and re.fullmatch(compose.format(project=re.escape(project)), str(value))
            ):
                continue
            value_shown = shown(setting, f"{value}") if setting else masked(f"{value}")
            why = f"{name} is {value_shown}" if value is not None else f"{name} lacks {setting or 'what is declared'}"
            why += ", which the Dockerfile does not declare"
            yield Finding(rules.SETTING, setting or name, "configuration", "", why)
        value = image.config.get(name)
        if isinstance(value, list) and held == declared and value != declaration.config.get(name):
            why = f"{name} is in another order than the Dockerfile declares"
            yield Finding(rules.SETTING, name, "configuration", "", why)


def _steps_undeclared(image: Image, declaration: Declaration) -> Iterator[Finding]:
    missing = list(declaration.history)
    for step in image.history:
        if step in missing:
            missing.remove(step)
        else:
            yield _step(step, "the Dockerfile does not have it")
    for step in missing:
        yield _step(step, "the Dockerfile has it, the image does not")
    if sorted(image.history) == sorted(declaration.history):
        for step, declared in zip(image.history, declaration.history, strict=True):
            if step != declared:
                yield _step(step, "it is not in the place where the Dockerfile has it")
    created = declaration.document.get("created")
    for entry in image.document.get("history") or ():
        if why := _recorded_otherwise(entry, created):
            yield _step(str(entry.get("created_by", "")), why)


def _recorded_otherwise(entry: Mapping[str, Any], created: str | None) -> str:
    """Return how an entry of the history differs from what a build at a time records, or ``."""
    empty = entry.get("empty_layer", False)
    if set(entry) - _STEP or entry.get("comment", "") not in _COMMENTS or not isinstance(empty, bool):
        return "it holds more than a build writes"
    if not _is_time(entry.get("created", ""), created):
        return f"its time is {str(entry.get('created'))[:100]}, which must be {created or 'a time'}"
    makes_layer = _MAKES_LAYER.get(str(entry.get("created_by", "")).split(" ")[0], not empty)
    return "" if makes_layer is not empty else "it is recorded " + ("without" if makes_layer else "with") + " a layer"


def _fields_undeclared(image: Image, declaration: Declaration) -> Iterator[Finding]:
    for name in sorted(set(image.document) - _DOCUMENT):
        yield Finding(rules.UNKNOWN_FIELD, name, "configuration", "", "an image has no such field by the specification")
    for name in sorted(set(image.config) - _CONFIG):
        why = "a configuration has no such setting by the specification"
        yield Finding(rules.UNKNOWN_FIELD, name, "configuration", "", why)
    for name in sorted(_WORDS - {"created"}):
        held, declared = image.document.get(name) or "", declaration.document.get(name) or ""
        if held != declared:
            why = f"{name} is {masked(str(held))[:100] or 'not set'}, which must be {declared or 'unset'}"
            yield Finding(rules.PLATFORM, name, "configuration", "", why)
    created = declaration.document.get("created")
    if "created" in image.document and not _is_time(image.document["created"], created):
        why = f"created is {str(image.document['created'])[:100]}, which must be {created or 'a time'}"
        yield Finding(rules.PLATFORM, "created", "configuration", "", why)
    rootfs = image.document.get("rootfs") or {}
    if set(rootfs) - _ROOTFS or rootfs.get("type", "layers") != "layers":
        yield Finding(rules.UNKNOWN_FIELD, "rootfs", "configuration", "", "it holds more than a build writes")


def _step(step: str, why: str) -> Finding:
    return Finding(rules.INSTRUCTION, "an instruction", "history", masked(step), why)


def _same(one: object, other: object) -> bool:
    """Return whether two values are the same JSON: in Python, 1 and True are equal."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _is_time(text: object, declared: str | None) -> bool:
    """Return whether a time is the declared one; where none is declared, whether it is a time (RFC 3339)."""
    return text == declared if declared else bool(_TIME.fullmatch(str(text)))


def _settings(value: object) -> dict[str, object]:
    """Return the settings of a list of NAME=VALUE or of labels by name; any other value by the name ``."""
    if isinstance(value, list) and all("=" in str(item) for item in value):
        found: dict[str, object] = {}
        for item in value:
            name, _, text = str(item).partition("=")
            # A name that is set twice has both values here.
            found[name] = f"{found[name]}, {text}" if name in found else text
        return found
    if isinstance(value, Mapping) and all(isinstance(one, str) for one in value.values()):
        return dict(value)
    return {"": value} if value else {}


def _tools(instruction: str, words: Iterable[str] | None, forbidden: Forbidden) -> Iterator[Finding]:
    """Find dev tools that a command names as a word, or starts by a shell or by `python -m`."""
    for text in words or ():
        named = [word for word in re.findall(r"[\w.-]+", text) if forbidden.owner(word)]
        for word in named or started(text, forbidden):
            owner = forbidden.owner(word)
            if owner:
                yield Finding(
                    rules.DEV_PROCESS,
                    owner,
                    "configuration",
                    masked(f"{instruction} {text}"),
                    f"{instruction} names {word}",
                )


def _tool_variables(
    variables: Iterable[tuple[str, str]], history: Iterable[str], forbidden: Forbidden
) -> Iterator[Finding]:
    """Find variables and build arguments that a dev tool reads."""
    for name, value in variables:
        if owner := forbidden.variable_owner(name, value):
            instruction = masked(f"ENV {name}={value}")
            yield Finding(rules.TOOL_TRACE, owner, "configuration", instruction, f"{name} is a variable of this tool")
    for step in history:
        match = _DECLARES.match(step)
        for name in re.findall(r"(?<!\S)(\w+)", match["given"]) if match and match["instruction"] == "ARG" else ():
            if owner := forbidden.variable_owner(name, ""):
                yield Finding(rules.TOOL_TRACE, owner, "history", masked(step), f"{name} is a variable of this tool")


def _secrets(instruction: str, settings: Iterable[tuple[str, str]]) -> Iterator[Finding]:
    """Find variables and labels that are a secret by their name, or that contain one."""
    for name, value in settings:
        contained = [] if is_named(name, value) else found(value)
        if contained or is_named(name, value):
            why = "a secret that everyone who has the image can read" + (f": {contained[0]}" if contained else "")
            yield Finding(rules.SECRET, name, "configuration", f"{instruction} {name}={MASK}", why)


def _secrets_in_command(instruction: str, words: Iterable[str] | None) -> Iterator[Finding]:
    """Find secrets in the commands that a container runs."""
    text = " ".join(words or ())
    for what in found(text):
        yield Finding(
            rules.SECRET, what, "configuration", masked(f"{instruction} {text}"), f"{instruction} contains it"
        )


def _secrets_in_history(history: Iterable[str], known: AbstractSet[str]) -> Iterator[Finding]:
    """Find secrets in the instructions that the configuration does not already have."""
    searched = set()
    for step in history:
        match, arguments = _DECLARES.match(step), _ARGUMENTS.match(step)
        # The build arguments are recorded with each RUN: one finding for all of them.
        given_before = arguments is not None and arguments[0] in searched
        names = dict.fromkeys(found(step[arguments.end() :] if arguments and given_before else step))
        if arguments:
            searched.add(arguments[0])
        if match and match["instruction"] == "ARG":
            # Without a value here: a later instruction has the value that it is given.
            declared = [name for name in re.findall(r"(?<!\S)(\w+)(?=\s|$)", match["given"]) if is_named(name, None)]
            names |= dict.fromkeys(declared)
        elif match:
            given = set(re.findall(r"(?<!\S)([\w.-]+)=", match["given"]))
            names = {name: None for name in names if name not in known and not given & known}
        elif _REPEATED.match(step):
            names = {name: None for name in names if name not in known}
        for name in names:
            yield Finding(rules.SECRET, name, "history", masked(step), "the history keeps it")
