"""Read the commands and ports that a project's own files of deployment declare."""

from __future__ import annotations

import configparser
import contextlib
import itertools
import json
import posixpath
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from prodlock.scaffold import pyprojects, yaml
from prodlock.scaffold.tree import Tree, is_inside, is_test, join
from prodlock.scaffold.yaml import Value

DOCKERFILES = r"(?:.*[._-])?(?:[Dd]ockerfile|Containerfile)(?:\.(?!py$|md$).*|[_-][\w-]*)?"
COMPOSE = r"(?:docker-)?compose(?:[.-][^/]*)?\.ya?ml"
SERVERS = frozenset({"uvicorn", "gunicorn", "hypercorn", "granian", "daphne", "fastapi"})
_RUNNERS = (
    ("poetry", "run"), ("uv", "run"), ("pipenv", "run"), ("pdm", "run"), ("hatch", "run"), ("rye", "run"), ("exec",),
)  # fmt: skip
# Instruments, which prodlock.server does not start.
_INSTRUMENTS = frozenset({"opentelemetry-instrument", "ddtrace-run", "newrelic-admin"})
# Programs that start another one, behind options and names of their own.
_LAUNCHERS = _INSTRUMENTS | {
    "env", "nice", "nohup", "stdbuf", "tini", "dumb-init", "catatonit", "gosu", "su-exec", "setpriv", "conda",
    "doppler",
}  # fmt: skip
# Programs that `python -m` starts as well.
_MODULES = SERVERS | {
    "celery",
    "arq",
    "rq",
    "dramatiq",
    "taskiq",
    "saq",
    "procrastinate",
    "alembic",
    "aerich",
    "litestar",
}
_SHELLS = frozenset({"sh", "bash", "dash", "ash"})
# Words of a shell before a command, and the label of a case.
_KEYWORD = re.compile(r"then|do|else|!|\{|\(|[\w*|-]+\)")
_PYTHON = re.compile(r"python3?(?:\.\d+)?")
_SEPARATORS = "&|;\n"
_COMMENT = re.compile(r"(?m)(?:^|(?<=\s))#.*$")
_ASSIGNED = re.compile(r"""(\w+)=("[^"]*"|'[^']*'|\S+)""")
# Compose hands `$$` on as `$`.
_VARIABLE = re.compile(r"\$\$?(?:\{(\w+)(?::?-([^{}$]*))?\}|(\w+))")
_HEREDOC = re.compile(r"""(?<!<)<<-?["']?([A-Za-z_][\w.-]*)""")
# The address in a configuration of Gunicorn or Hypercorn.
_BIND = re.compile(r"""^\s*bind\s*=\s*\[?\s*["'][^"'\s]*:(\d+)["']""", re.MULTILINE)
# The application in a configuration of Gunicorn.
_APPLICATION = re.compile(r"""^\s*wsgi_app\s*=\s*["']([^"'\s]+)["']""", re.MULTILINE)
# Images of frontends and proxies.
_OTHERS = re.compile(
    r"^\s*FROM\s+(?:--\S+\s+)?(?:\S*/)?(?:node|bun|deno|nginx[\w-]*|caddy|httpd|haproxy|traefik)(?:[:@\s]|$)",
    re.IGNORECASE | re.MULTILINE,
)
# Folders whose files describe something else than the service.
ASIDE = re.compile(r"(?:^|/)(?:docs?|examples?|samples?|demos|benchmarks?)/")
# Compose reads an override without an option, on the machine of a developer.
_DEVELOPMENT = re.compile(r"(?:^|[._-])(?:override|dev\w*|local|tests?|testing|ci|debug)(?:[._-]|$)", re.IGNORECASE)
# Files of commands that developers run.
_OF_DEVELOPERS = r"(?:GNU)?[Mm]akefile|\.?[Jj]ustfile|Taskfile\.ya?ml|[^/]*\.sh"
# A script that a script starts.
_DEEPEST = 3


@dataclass(frozen=True)
class Declared:
    """A command, its file and its place, and the Compose service or the process type that it belongs to."""

    words: tuple[str, ...]
    path: str
    where: str
    name: str = ""
    # Whether a deployment runs it: other commands are those of development.
    is_deployed: bool = True
    # The instrument that starts it.
    instrument: str = ""

    @property
    def program(self) -> str:
        """Return the name of the program."""
        return PurePosixPath(self.words[0]).name

    @property
    def serves(self) -> bool:
        """Return whether the program is a server."""
        return self.program in SERVERS or (
            self.program == "litestar" and "run" in self.words and "workers" not in self.words
        )


class Deployment:
    """The commands and the ports that the files of a project declare."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        # Those of development last.
        self.dockerfiles, compose = (
            sorted(filter(_is_of_service, tree.named(pattern)), key=is_of_development)
            for pattern in (DOCKERFILES, COMPOSE)
        )
        self.compose = {path: yaml.services(tree.text(path)) for path in compose}
        # The scripts that here-documents of Dockerfiles write, by their names.
        self._written = {
            PurePosixPath(text.split("\n")[0].split()[-1]).name: text.partition("\n")[2]
            for path in self.dockerfiles
            for kind, text in instructions(self._tree.text(path))
            if kind in {"COPY", "ADD"} and "\n" in text
        }
        self._variables = {
            name: value.strip("\"'")
            for path in self.dockerfiles
            for kind, text in instructions(tree.text(path))
            if kind in {"ENV", "ARG"}
            for name, value in _assigned(kind, text)
        }
        listed = [
            *self._of_dockerfiles(), *self._of_procfiles(), *self._of_supervisors(), *self._of_compose()
        ]  # fmt: skip
        deployed = [one for one in listed if not is_of_development(one.path)]
        commands = [one for command in deployed for one in self._followed(command, 0)]
        developed = [one for one in listed if one not in deployed]
        commands += [replace(one, is_deployed=False) for one in (*developed, *self._of_development())]
        self.commands: list[Declared] = [*map(self._completed, commands)]

    def convert(self, word: Callable[[str], str]) -> None:
        """Convert the words behind the program of each command."""
        self.commands = [replace(one, words=(one.words[0], *map(word, one.words[1:]))) for one in self.commands]

    def servers(self) -> list[Declared]:
        """Return the commands that start a server, those of a deployment first."""
        return [one for one in self.commands if one.serves]

    def ports(self, served: Declared | None, application: str) -> Iterator[tuple[int, str]]:
        """Yield the ports of the service with their places, the most certain one first.

        Takes the command that serves it, and the file of its application.
        """
        last = list(self._bound(served)) if served else []
        # The one of a developer's machine is a guess.
        if served and served.is_deployed:
            yield from last
        # The image that has the command, or else each one that may be of Python.
        own = [path for path in self.dockerfiles if served and served.where.endswith(f" of {path}")]
        for path in own or (path for path in self.dockerfiles if not _is_of_others(self._tree.text(path))):
            for kind, text in _deployed(self._tree.text(path)):
                if kind == "EXPOSE" and (number := re.match(r"(\d+)(?:/tcp)?(?:\s|$)", self.expanded(text))):
                    yield int(number[1]), f"EXPOSE of {path}"
        for path, services in self.compose.items():
            for name, keys in services.items():
                if self._builds(path, keys, application) or (served and (served.path, served.name) == (path, name)):
                    yield from self._published(keys.get("ports", Value(items=())), f"ports of {name} in {path}")
        yield from last

    def _bound(self, served: Declared) -> Iterator[tuple[int, str]]:
        """Yield the port that a serving command names: an option, a configuration, or a variable of the image."""
        option = r"\s(?:--port[= ]|-p ?|(?:--bind[= ]|-b[= ]?)\S*?:)(\d+)\b"
        value = self._variables.get(f"{served.program.upper()}_PORT", "")
        if found := re.search(option, " ".join(served.words)):
            yield int(found[1]), served.where
        elif (path := self._configuration(served)) and (found := _BIND.search(self._tree.text(path))):
            yield int(found[1]), path
        elif value.isdecimal():
            yield int(value), served.where

    def variables(self, application: str) -> Iterator[tuple[str, str]]:
        """Yield the variables that Compose files give to what they build of an application, with the files.

        Those of development are left out.
        """
        for path, services in self.compose.items():
            for keys in services.values():
                if self._builds(path, keys, application) and not is_of_development(path):
                    yield from ((one.partition("=")[0], path) for one in keys.get("environment", Value(items=())))

    def constants(self) -> Iterator[tuple[str, str]]:
        """Yield the variables that images of Dockerfiles have, with the files; not those of development."""
        for path in self.dockerfiles:
            for kind, text in () if is_of_development(path) else _deployed(self._tree.text(path)):
                if kind == "ENV":
                    yield from ((name, path) for name, _ in _assigned(kind, text))

    def _builds(self, path: str, keys: Mapping[str, Value], application: str) -> bool:
        """Return whether a service of a Compose file may build the image of an application, by the folder."""
        folder = join(posixpath.dirname(path), self.expanded(keys["build"].text)) if "build" in keys else ""
        return bool(folder) and (is_inside(application, folder) or not self._tree.has_folder(folder))

    def _configuration(self, served: Declared) -> str:
        """Return the file that Gunicorn or Hypercorn reads its address from, or an empty string."""
        named = re.search(r"(?:--config[= ]|-c )(?:file:)?(?:\S*/)?(\S+)", " ".join(served.words))
        name = named[1] if named else "gunicorn.conf.py" if served.program == "gunicorn" else ""
        return next(iter(self._tree.named(re.escape(name))), "") if name else ""

    def _completed(self, command: Declared) -> Declared:
        """Return a command with the application that Gunicorn's configuration or LITESTAR_APP names."""
        application = self._variables.get("LITESTAR_APP")
        if command.program == "litestar" and application and not any(one.startswith("--app") for one in command.words):
            return replace(command, words=("litestar", "--app", application, *command.words[1:]))
        if command.program != "gunicorn" or any(re.match(r"[A-Za-z_][\w.]*:[A-Za-z_]", word) for word in command.words):
            return command
        path = self._configuration(command)
        named = _APPLICATION.search(self._tree.text(path)) if path else None
        return replace(command, words=(*command.words, named[1])) if named else command

    def _published(self, ports: Value, where: str) -> Iterator[tuple[int, str]]:
        """Yield the ports in a container that a Compose file publishes."""
        for item in ports:
            if number := re.fullmatch(r"(?:target:\s*|.*:)?(\d+)(?:/tcp)?", self.expanded(item)):
                yield int(number[1]), where

    def expanded(self, text: str) -> str:
        """Return a text with the variables that have a value, or a default."""

        def value(found: re.Match[str]) -> str:
            name, default = found[1] or found[3], found[2]
            return str(self._variables.get(name, found[0] if default is None else default))

        return _VARIABLE.sub(value, text)

    def _of_dockerfiles(self) -> Iterator[Declared]:
        for path in self.dockerfiles:
            last = {kind: text for kind, text in _deployed(self._tree.text(path)) if kind in {"CMD", "ENTRYPOINT"}}
            entry, command = (_listed(last.get(kind, "")) for kind in ("ENTRYPOINT", "CMD"))
            if len(joined := _joined(Value(items=tuple(entry)), Value(items=tuple(command)))) == 1:
                last = {"ENTRYPOINT": json.dumps([*joined[0]])}
            for kind, text in last.items():
                listed = _listed(text)
                value = Value(items=tuple(listed)) if listed else Value(text)
                yield from self._split(value, Declared((), path, f"{kind} of {path}"))

    def _of_procfiles(self) -> Iterator[Declared]:
        for path in self._tree.named(r"Procfile(?:\..*)?"):
            for line in self._tree.text(path).splitlines():
                name, colon, text = line.partition(":")
                if colon and not name.strip().startswith("#"):
                    yield from self._split(Value(text), Declared((), path, path, name.strip()))

    def _of_supervisors(self) -> Iterator[Declared]:
        for path in self._tree.named(r"supervisor[^/]*\.(?:conf|ini)"):
            parser = configparser.RawConfigParser(strict=False)
            with contextlib.suppress(configparser.Error):
                parser.read_string(self._tree.text(path))
            for section in parser.sections():
                kind, _, name = section.partition(":")
                if kind == "program":
                    command = parser.get(section, "command", fallback="").replace("\n", " ")
                    yield from self._split(Value(command), Declared((), path, path, name))

    def _of_compose(self) -> Iterator[Declared]:
        for path, services in self.compose.items():
            for name, keys in services.items():
                entry, command = (keys.get(key, Value()) for key in ("entrypoint", "command"))
                for value in _joined(entry, command):
                    yield from self._split(value, Declared((), path, path, name))

    def _of_development(self) -> Iterator[Declared]:
        for path in self._tree.named(_OF_DEVELOPERS):
            if _is_of_service(path):
                yield from self._lines(self._tree.text(path), Declared((), path, path))
        for path in self._tree.named(r"pyproject\.toml"):
            tool = pyprojects.table(pyprojects.read(self._tree, path), "tool")
            for name in ("poe", "taskipy", "pdm", "hatch"):
                for text in _strings(tool.get(name)):
                    yield from self._split(Value(text), Declared((), path, path))

    def _followed(self, command: Declared, depth: int) -> Iterator[Declared]:
        """Yield a command, or the commands of the script that it starts."""
        words = command.words[1:] if command.program in _SHELLS else command.words
        name = PurePosixPath(words[0]).name if words else ""
        scripts = self._tree.named(re.escape(name)) if name else []
        near = [path for path in scripts if join(posixpath.dirname(command.path), words[0].lstrip("/")) == path]
        path = next(iter([*near, *scripts]), "")
        if name in self._written and depth < _DEEPEST:
            for one in self._lines(self._written[name], replace(command, where=f"{name}, {command.where}")):
                yield from self._followed(one, depth + 1)
        elif path and depth < _DEEPEST and (path.endswith(".sh") or self._tree.text(path).startswith("#!")) and not (
            path.endswith(".py")
        ):  # fmt: skip
            place = replace(command, path=path, where=f"{path}, {command.where}")
            for one in self._lines(self._tree.text(path), place):
                yield from self._followed(one, depth + 1)
        else:
            yield command

    def _lines(self, text: str, place: Declared) -> Iterator[Declared]:
        for line in re.sub(r"\\\r?\n", " ", text).splitlines():
            yield from self._split(Value(line.strip().lstrip("@-")), place)

    def _split(self, value: Value, place: Declared) -> Iterator[Declared]:
        """Yield the commands of a list of words, or of a line of a shell."""
        pieces = [list(value.items)] if value.items is not None else list(_words(value.text))
        for piece in pieces:
            expanded = [self.expanded(word) for word in piece]
            words = _bare(expanded)
            launchers = (PurePosixPath(word).name for word in expanded[: len(expanded) - len(words)])
            place = replace(place, instrument=next(filter(_INSTRUMENTS.__contains__, launchers), place.instrument))
            shell = next((word for word in words[1:] if not word.startswith("-")), "")
            if words and PurePosixPath(words[0]).name in _SHELLS and any(
                re.fullmatch(r"-[a-z]*c", word) for word in words[1:-1]
            ):  # fmt: skip
                yield from self._split(Value(shell), place)
            elif words and words[0]:
                name = PurePosixPath(words[0]).name
                # The environment has the programs of the lock at another place.
                yield replace(place, words=(name if name in _MODULES else words[0], *words[1:]))


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """Yield the instructions of a Dockerfile with their arguments."""
    joined = re.sub(r"\\[ \t]*\r?\n(?:\s*#.*\n)*", " ", text)
    lines = iter(joined.splitlines())
    for line in lines:
        if found := re.match(r"\s*([A-Za-z]+)\s+(.*)", line):
            kind, arguments = found[1].upper(), found[2].strip()
            # The lines of a here-document, which RUN executes and COPY writes.
            for end in _HEREDOC.findall(arguments) if kind in {"RUN", "COPY", "ADD"} else ():
                body = "\n".join(_until(lines, end))
                arguments += f"\n{body}"
            yield kind, arguments


def _assigned(kind: str, text: str) -> list[tuple[str, str]]:
    """Return the variables of ENV or ARG with their values. ENV has an older form, without a sign."""
    name, _, value = text.partition(" ")
    return [(name, value.strip())] if kind == "ENV" and "=" not in name else _ASSIGNED.findall(text)


def _deployed(text: str) -> Iterator[tuple[str, str]]:
    """Yield the instructions of a Dockerfile, without the stages of development where it has others, by their names."""
    stages: list[list[tuple[str, str]]] = [[]]
    for kind, arguments in instructions(text):
        if kind == "FROM":
            stages.append([])
        stages[-1].append((kind, arguments))
    others = [one for one in stages if one and not is_of_development(re.split(r"\s", one[0][1])[-1])]
    yield from itertools.chain.from_iterable(others or stages)


def _is_of_others(text: str) -> bool:
    """Return whether a Dockerfile is one of a frontend or a proxy, by its images."""
    return bool(_OTHERS.search(text)) and "python" not in text.lower()


def _until(lines: Iterator[str], end: str) -> Iterator[str]:
    """Yield the lines before one with a text."""
    for line in lines:
        if line.strip() == end:
            return
        yield line


def is_of_development(path: str) -> bool:
    """Return whether a Dockerfile or a Compose file is one of development, by its name."""
    return bool(_DEVELOPMENT.search(posixpath.basename(path)))


def _is_of_service(path: str) -> bool:
    return not ASIDE.search(path) and not is_test(path)


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list):
        for one in value.values() if isinstance(value, Mapping) else value:
            yield from _strings(one)


def _joined(entry: Value, command: Value) -> list[Value]:
    """Return an entrypoint and a command, as one where the entrypoint is a program of Python and takes arguments."""
    words, more = ([*one] if one.items is not None else next(_words(one.text), []) for one in (entry, command))
    started = _bare(list(words))
    if words and more and (not started or (_is_program(started[0]) and started[0] not in _SHELLS)):
        return [Value(items=(*words, *more))]
    return [entry, command]


def _listed(text: str) -> list[str]:
    """Return the words of the exec form, and none of another form."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return []
    return [str(one) for one in found] if isinstance(found, list) else []


def _words(text: str) -> Iterator[list[str]]:
    """Yield the words of each command of a line of a shell, or of several lines."""
    lexer = shlex.shlex(_COMMENT.sub("", text.strip()), posix=True, punctuation_chars=_SEPARATORS)
    lexer.whitespace_split, lexer.whitespace, lexer.commenters = True, " \t\r", ""
    try:
        words = list(lexer)
    except ValueError:
        # A quotation mark without its counterpart.
        return
    for is_separator, group in itertools.groupby(words, lambda word: bool(word) and not word.strip(_SEPARATORS)):
        if not is_separator:
            yield list(group)


def _bare(words: list[str]) -> list[str]:
    """Remove assignments of variables, words of a shell, and programs that start another one."""
    while words:
        runner = next((one for one in _RUNNERS if tuple(words[: len(one)]) == one), None)
        name = PurePosixPath(words[0]).name
        module = words.index("-m") if "-m" in words and _PYTHON.fullmatch(name) else 0
        if ("=" in words[0] and not words[0].startswith("-")) or _KEYWORD.fullmatch(words[0]):
            words = words[1:]
        elif runner or name in _LAUNCHERS:
            rest = words[len(runner) if runner else 1 :]
            # A script of the project's own has options as well.
            words = rest if runner and rest and rest[0][:1] != "-" else _launched(rest)
        elif "--" in words and not _is_program(name):
            # As in `wait-for-it.sh db:5432 -- uvicorn`.
            words = words[words.index("--") + 1 :]
        elif module and _MODULES & {*words[module + 1 : module + 2]} and not any(map(_is_script, words[:module])):
            words = words[module + 1 :]
        else:
            break
    return words


def _launched(words: list[str]) -> list[str]:
    """Return what is started behind the options of a program that starts another one, whose values are not known."""
    if not words or _is_program(words[0]):
        return words
    first = next((number for number, word in enumerate(words) if _is_program(word) or _is_script(word)), 0)
    if first:
        return words[first:]
    while words and words[0].startswith("-") and words[0] != "-m":
        words = words[1:]
    return ["python", *words] if words[:1] == ["-m"] else words


def _is_program(word: str) -> bool:
    name = PurePosixPath(word).name
    return name in _MODULES | _SHELLS or bool(_PYTHON.fullmatch(name))


def _is_script(word: str) -> bool:
    return word.endswith((".py", ".sh"))
