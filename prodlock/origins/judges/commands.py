"""Judge the commands and variables of an image: what they name, and what they load when they run."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator

from prodlock.image.records import resolved
from prodlock.inside.lock.selection import normalized
from prodlock.origins.attribution import Key
from prodlock.origins.judges.case import Case
from prodlock.origins.judges.code import Code
from prodlock.origins.records import Kind
from prodlock.proof import rules
from prodlock.proof.judges import configuration, credentials
from prodlock.proof.rules import Finding

# Variables that name what an interpreter, a shell or the loader runs.
_RUN_BY_VARIABLE = re.compile(r"(?:PYTHON|LD_|PERL5|GUNICORN_|UVICORN_)\w*|BASH_ENV|ENV|NODE_OPTIONS|JAVA_TOOL_OPTIONS")
# A character of a path in a command, and an address.
_WORD = r"[^\s:=,;|&<>()\"'`]"
_ADDRESS = re.compile(r"\b\w+://\S+")
# What a command does that runs code which no layer has.
_LOADS = re.compile(
    r"\b(?:curl|wget)\b[^|;&]*\|\s*(?:sudo\s+)?(?:\S*/)?(?:\w*sh|python[\d.]*|perl)\b"
    r"|\b(?:\w*sh\s+-c|eval)\s+[\"']?\$\(\s*(?:curl|wget)\b|<\(\s*(?:curl|wget)\b"
    r"|\bbase64\s+(?:-d|-D|--decode)\b|\bb64decode\b|\bexec\(|(?<!\.)\beval\(|\b__import__\("
    r"|\b(?:pip[\d.]*|uv|apt|apt-get|conda|dnf|mamba|microdnf|npm|pnpm|yarn|yum)\s(?:[^|;&]*\s)?install\b"
    r"|\bapk\s(?:[^|;&]*\s)?add\b|\bnpm\s+ci\b|\b(?:pdm|pipenv|poetry|rye|uv)\s+(?:install|sync)\b|\bgit\s+clone\b"
    r"|(?<![\w.-])(?:uvx|npx|pipx\s+run|uv\s+tool\s+run|uv\s+run\s+(?:-\S+\s+)*--with(?:-requirements)?)\s"
)


def judge(case: Case, claims: set[Key]) -> Iterator[Finding]:
    """Yield the findings about the commands of an image, and about the files that its configuration names."""
    commands = {name: " ".join(words or ()) for name, words in configuration.commands(case.image).items()}
    for instruction, text in commands.items():
        yield from _development(instruction, text, case)
    for instruction, text in commands.items():
        yield from _loaded(instruction, text)
    yield from _named(commands, case, claims)


def _development(instruction: str, text: str, case: Case) -> Iterator[Finding]:
    """Yield a finding for each distribution for development that a command names."""
    locked = case.evidence.locked
    # The folders of a path, and an address, start nothing.
    paths = re.findall(rf"{_WORD}+", _ADDRESS.sub(" ", text))
    names = (posixpath.basename(path.removesuffix("/__main__.py")) for path in paths)
    words = {normalized(word) for name in names for word in re.findall(r"[\w.-]+", name)}
    for name in sorted(words & set(locked.dev)):
        why = f"{instruction} names it, and {locked.file} has it for development only"
        yield Finding(rules.DEV_PROCESS, name, "configuration", credentials.masked(f"{instruction} {text}"), why)


def _loaded(instruction: str, text: str) -> Iterator[Finding]:
    """Yield a finding where a command downloads, installs or decodes code when it runs."""
    if match := _LOADS.search(text):
        why = f"{instruction} loads code that is in no layer: {credentials.masked(match[0])}"
        shown = credentials.masked(f"{instruction} {text}")
        yield Finding(rules.UNKNOWN_CODE, "code of a command", "configuration", shown, why)


def _named(commands: dict[str, str], case: Case, claims: set[Key]) -> Iterator[Finding]:
    """Yield a finding for each unexplained file that the configuration has a container run or read at its start."""
    code, links = Code(case, claims), case.evidence.links
    found: dict[str, str] = {}
    texts = commands | {name: value for name, value in case.variables.items() if _RUN_BY_VARIABLE.fullmatch(name)}
    folder = str(case.image.config.get("WorkingDir") or "/")
    for instruction, text in texts.items():
        words = re.findall(rf"{_WORD}+", text)
        # A command may change the folder.
        folders = [folder, *(word for word in words if word.startswith("/"))]
        for path in (posixpath.join("/", place, word) for word in words for place in folders):
            found.setdefault(resolved(posixpath.normpath(path), links), instruction)
    for path, instruction in found.items():
        file = case.evidence.seen.get(path)
        if not file or (file.layer, path) in claims or case.origins[file.layer, path].kind is not Kind.UNEXPLAINED:
            continue
        if not code.judge(file):
            why = f"{instruction} names it, and neither the lock, the repository nor the base image has it"
            yield case.finding((rules.UNKNOWN_CODE, "file", path, why), file.layer)
