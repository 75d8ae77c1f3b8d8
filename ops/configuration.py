"""Judge what an image is configured to run and what its history tells: pure functions, as in audit.py."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from ops.audit import Finding, Forbidden, started
from ops.records import Image

_SECRET = re.compile(
    r".*(?:TOKEN|SECRET|PASSWORD|PASSWD|API_?KEY|ACCESS_?KEY|SECRET_?KEY|PRIVATE_?KEY|CREDENTIALS?)", re.IGNORECASE
)
# A password, or on its own a token, before the host of an address (RFC 3986, 3.2.1).
_IN_URL = re.compile(r"(?<=://)(?:[^/\s:@\"']*:[^/\s@\"']+|(?<=https://)[^/\s@\"']+)(?=@)")
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
