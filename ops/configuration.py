"""Judge what an image is configured to run and what its history tells: pure functions, as in audit.py."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ops.audit import Finding, Forbidden, started
from ops.records import Declaration, Image

_SECRET = re.compile(
    r".*(?:TOKEN|SECRET|PASSWORD|PASSWD|API_?KEY|ACCESS_?KEY|SECRET_?KEY|PRIVATE_?KEY|CREDENTIALS?)", re.IGNORECASE
)
# A password, or on its own a token, before the host of an address (RFC 3986, 3.2.1).
_IN_URL = re.compile(r"(?<=://)(?:[^/\s:@\"']*:[^/\s@\"']+|(?<=https://)[^/\s@\"']+)(?=@)")
_COMPOSE_LABELS = {f"com.docker.compose.{name}" for name in ("project", "service", "version")}
# What an image's configuration and its history consist of (https://github.com/opencontainers/image-spec/blob/main/config.md).
_DOCUMENT = {"architecture", "config", "created", "history", "os", "os.version", "rootfs", "variant"}
_WORDS = {"architecture", "created", "os", "os.version", "variant"}
_WORD = re.compile(r"[\w.:+/-]{0,40}")
_ROOTFS = {"diff_ids", "type"}
# What Docker and the specification know in a configuration; nothing else may be there, not even empty.
_CONFIG = {
    "ArgsEscaped", "AttachStderr", "AttachStdin", "AttachStdout", "Cmd", "Domainname", "Entrypoint", "Env",
    "ExposedPorts",
    "Healthcheck", "Hostname", "Image", "Labels", "MacAddress", "Memory", "MemorySwap", "NetworkDisabled", "OnBuild",
    "OpenStdin", "CpuShares", "Shell", "StdinOnce", "StopSignal", "StopTimeout", "Tty", "User", "Volumes", "WorkingDir",
}  # fmt: skip
_STEP = {"comment", "created", "created_by", "empty_layer"}
# What a Compose service may say in place of the image.
_REPLACED = (
    "command", "entrypoint", "healthcheck", "post_start", "pre_stop", "user", "volumes_from", "working_dir",
)  # fmt: skip
# Variables that decide which programs and modules run (ld.so(8), https://docs.python.org/3/using/cmdline.html).
_LOADING = re.compile(r"PATH|PYTHON.*|LD_.*")
_COMMENTS = {"", "buildkit.dockerfile.v0"}
_VALUE = re.compile(r"\b(?P<name>\w+)=(?P<value>\"[^\"]*\"|'[^']*'|\S+)")


def leaks(image: Image, rules: Forbidden) -> list[Finding]:
    """Return the dev tools that an image would run, and the secrets in its environment, labels and history."""
    config = image.config
    return [
        *_tools("CMD", config.get("Cmd"), rules),
        *_tools("ENTRYPOINT", config.get("Entrypoint"), rules),
        *_tools("HEALTHCHECK", (config.get("Healthcheck") or {}).get("Test"), rules),
        *_tools("ONBUILD", config.get("OnBuild"), rules),
        *_tools("SHELL", config.get("Shell"), rules),
        *_secrets("ENV", config.get("Env") or ()),
        *_secrets("LABEL", (f"{name}={value}" for name, value in (config.get("Labels") or {}).items())),
        *(finding for step in image.history for finding in _secret_arguments(step)),
    ]


def undeclared(image: Image, declaration: Declaration) -> list[Finding]:
    """Return what an image is configured to be, or says of how it was made, and the Dockerfile does not declare.

    Takes what a bare `docker build .` of the same commit gives. What Compose adds are labels of its own.
    """
    found = []
    names = {name for name, value in (*image.config.items(), *declaration.config.items()) if value}
    for name in sorted(names):
        held, declared = _settings(image.config.get(name)), _settings(declaration.config.get(name))
        for setting in sorted(held.keys() | declared.keys()):
            value = held.get(setting)
            if value == declared.get(setting) or (setting in _COMPOSE_LABELS and _WORD.fullmatch(str(value))):
                continue
            said = masked(f"{setting}={value}" if setting else f"{value}")
            why = f"{name} is {said}" if value is not None else f"{name} lacks {setting or 'what is declared'}"
            found.append(Finding(setting or name, "configuration", "", f"{why}, which the Dockerfile does not declare"))
    steps = list(declaration.history)
    for step in image.history:
        if step in steps:
            steps.remove(step)
        else:
            found.append(Finding("an instruction", "history", masked(step), "the Dockerfile does not have it"))
    found += [
        Finding("an instruction", "history", masked(step), "the Dockerfile has it, the image not") for step in steps
    ]
    found += [
        Finding(name, "configuration", "", "an image has no such setting by the specification")
        for name in sorted(set(image.document) - _DOCUMENT)
    ]
    found += [
        Finding("a comment", "history", masked(step.get("created_by", "")), "it holds more than a build writes")
        for step in image.document.get("history") or ()
        if set(step) - _STEP
        or step.get("comment", "") not in _COMMENTS
        or not _WORD.fullmatch(step.get("created", ""))
        or not isinstance(step.get("empty_layer", True), bool)
    ]
    found += [
        Finding(name, "configuration", "", "it holds more than a build writes")
        for name in sorted(_WORDS & set(image.document))
        if not _WORD.fullmatch(str(image.document[name]))
    ]
    found += [
        Finding(name, "configuration", "", "a configuration has no such setting by the specification")
        for name in sorted(set(image.config) - _CONFIG)
    ]
    rootfs = image.document.get("rootfs") or {}
    if set(rootfs) - _ROOTFS or rootfs.get("type", "layers") != "layers":
        found.append(Finding("rootfs", "configuration", "", "it holds more than a build writes"))
    return found


def composed(service: Mapping[str, Any], volumes: Mapping[str, Any], name: str, root: str) -> list[Finding]:
    """Return where Compose's production service, resolved, runs something else than the image, or the working tree.

    Takes the project's named volumes as well, one may be a folder of this machine; the image's name; and the working
    tree. All paths without symlinks.
    """
    wrong = []
    if service.get("image") != name:
        wrong.append((f"image {service.get('image')}", f"runs that instead of {name}"))
    target = (service.get("build") or {}).get("target")
    if target != "prod":
        wrong.append((f"target {target}", "builds another target"))
    for volume in service.get("volumes") or ():
        place = str(volume.get("source") or "")
        if volume.get("type") == "volume":
            # What the local driver hands to mount(8).
            place = str(((volumes.get(place) or {}).get("driver_opts") or {}).get("device") or "")
        if place and (_within(place, root) or _within(root, place)):
            wrong.append((place, "mounts it from the working tree"))
    for kind in ("configs", "secrets"):
        wrong += [(str(one.get("source")), f"mounts it as one of its {kind}") for one in service.get(kind) or ()]
    wrong += [(key, "runs something else than the image declares") for key in _REPLACED if service.get(key)]
    wrong += [
        (variable, "sets it, and so decides which code runs")
        for variable in service.get("environment") or ()
        if _LOADING.fullmatch(variable)
    ]
    return [Finding(what, "docker-compose.yml", "", f"the production service {why}") for what, why in wrong]


def _within(place: str, folder: str) -> bool:
    """Return whether a path is a folder or below it, by either system's separators."""
    return place == folder or place.startswith((folder.rstrip("/") + "/", f"{folder}\\"))


def _settings(value: object) -> dict[str, object]:
    """Return the single settings of a list of NAME=VALUE or of labels; of anything else itself, named ``."""
    if isinstance(value, list) and all("=" in str(item) for item in value):
        found: dict[str, object] = {}
        for item in value:
            name, _, said = str(item).partition("=")
            # Of a name that is there twice both values are told.
            found[name] = f"{found[name]}, {said}" if name in found else said
        return found
    if isinstance(value, Mapping) and all(isinstance(one, str) for one in value.values()):
        return dict(value)
    return {"": value} if value else {}


def masked(instruction: str) -> str:
    """Return an instruction without the secrets in it, fit to be printed."""

    def mask(match: re.Match[str]) -> str:
        return f"{match['name']}=***" if _SECRET.fullmatch(match["name"]) else match[0]

    return _VALUE.sub(mask, _IN_URL.sub("***", instruction))


def _tools(instruction: str, words: Iterable[str] | None, rules: Forbidden) -> Iterator[Finding]:
    """Find what is named as a word of its own, or started by a shell or by `python -m`."""
    for text in words or ():
        named = [word for word in re.findall(r"[\w.-]+", text) if rules.owner(word)]
        for word in named or started(text, rules):
            owner = rules.owner(word)
            if owner:
                yield Finding(owner, "configuration", masked(f"{instruction} {text}"), f"{instruction} names {word}")


def _secrets(instruction: str, settings: Iterable[str]) -> Iterator[Finding]:
    for text in settings:
        name, _, value = text.partition("=")
        if _IN_URL.search(value) or (value and _SECRET.fullmatch(re.sub(r"\W", "_", name))):
            why = "a secret that everyone who has the image can read"
            yield Finding(name, "configuration", f"{instruction} {name}=***", why)


def _secret_arguments(step: str) -> Iterator[Finding]:
    """Give the secrets in one instruction of the history, as BuildKit or the legacy builder wrote it."""
    declared = re.match(r"(?:/bin/sh -c #\(nop\) +)?ARG (.*)", step)
    used = re.match(r"(?:RUN )?\|\d+ (.*?) /bin/", step)
    names = re.findall(r"(\w+)(?:=\S*)?", declared[1]) if declared else re.findall(r"(\w+)=", used[1]) if used else []
    for name in names:
        if _SECRET.fullmatch(name):
            yield Finding(name, "history", f"ARG {name}", "the value of a build argument stays in the history")
    if _IN_URL.search(step):
        yield Finding("a secret in an address", "history", masked(step), "the history keeps it")
