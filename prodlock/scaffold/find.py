"""Find what `[tool.prodlock]` describes in an existing project, without importing or running its code."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from prodlock import configuration
from prodlock.failure import Failure
from prodlock.scaffold import applications, declared, layout, locks, reads
from prodlock.scaffold.declared import Declared
from prodlock.scaffold.tree import Tree, is_test

_WORKERS = {"celery": "worker", "arq": "worker", "rq": "worker", "dramatiq": "worker", "taskiq": "worker"}
_IMAGES = re.compile(r"(?:docker\.io/)?(?:library/)?(?:postgres|redis|valkey/valkey|mysql|mariadb|rabbitmq|mongo)"
                     r"(?::[\w.-]+)?")  # fmt: skip
_SHELL = re.compile(r"[$`|&;<>*?\n]")
_TESTS = ("tests", "test", "conftest.py", "pytest.ini")
# What serves on all addresses of a container: its options by the name of the server.
_BIND = {"uvicorn": ("--host", "--host=0.0.0.0"), "hypercorn": ("-b", "--bind=0.0.0.0:{port}"),
         "gunicorn": ("-b", "--bind=0.0.0.0:{port}"), "granian": ("--host", "--host=0.0.0.0")}  # fmt: skip

# Records a key, its value and the place that decided.
Decide = Callable[[str, object, str], None]
# Commands and their places, by name.
Commands = dict[str, tuple[str, str]]


@dataclass(frozen=True)
class Found:
    """The keys of `[tool.prodlock]` that a project needs, and the places that decided each."""

    keys: dict[str, object]
    where: Mapping[str, str]
    notes: tuple[str, ...] = ()
    report: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        """Write the report."""
        lines = [f"  {key} = {value!r}  ({self.where.get(key) or 'not found'})" for key, value in self.keys.items()]
        object.__setattr__(self, "report", ("Found in this project:", *lines, *self.notes))


def find(root: Path, given: Mapping[str, object] | None = None) -> Found:
    """Return what a project's files describe; `given` has keys that are decided already.

    Raises Failure, with the candidates and the key that decides, for what can't be decided.
    """
    given = given or {}
    tree = Tree(root)
    commands = declared.commands(tree)
    named = applications.references(tree, commands)
    keys: dict[str, object] = {}
    where: dict[str, str] = {}
    notes: list[str] = []

    def decide(key: str, value: object, place: str) -> None:
        keys[key], where[key] = value, place

    path, folders = _application(tree, named, given, decide)
    folder = folders[0]
    place = str(given.get("directory") or layout.directory(tree, folder))
    if folders != ["."]:
        decide("import-from", folders, "imports of the project's modules")
    if place != ".":
        decide("directory", place, "the folder of its pyproject.toml, lock or alembic.ini")
    further = _commands(tree, commands, folders)
    migrations = layout.migrations(tree, place) or layout.migrations(tree, ".")
    if migrations and "migrate" not in further and posixpath.dirname(migrations[0]) == ("" if place == "." else place):
        further["migrate"] = ("alembic upgrade head", migrations[0])
    paths = _sources(tree, path, folders, place, further, migrations, decide)
    _tests(tree, place, keys["sources"], decide)
    lock = _lock(tree, place, path, given, decide)
    if "alembic" not in lock.names and "migrate" in further and further["migrate"][0].startswith("alembic"):
        further.pop("migrate")
    if "base" not in given:
        decide("base", *locks.base(tree, place))
    served = next(iter(applications.servers(one for one in commands if one.where.startswith(("CMD", "ENTRYPOINT")))),
                  next(iter(applications.servers(commands)), None))  # fmt: skip
    port, port_place = next(declared.ports(tree, served), (configuration.Configuration.port, "the default"))
    decide("port", given.get("port", port), port_place)
    health, ready = reads.probes(tree, paths)
    decide("health", *health)
    decide("ready", *ready)
    if not {"uvicorn", "httptools"} <= lock.names and "server" not in given:
        application = str(given.get("application") or keys["application"])
        decide("server", *_server(commands, lock.names, application, str(keys["port"])))
        notes.append(
            "The lock does not have both uvicorn and httptools: the service starts with its own command, without the "
            "drain, the request log and the probes of prodlock.server."
        )
    if found := reads.environment(tree, paths):
        decide("environment", list(found), ", ".join(sorted({one.rpartition(":")[0] for one in found.values()})))
    if further:
        decide("commands", {name: one for name, (one, _) in further.items()},
               ", ".join(dict.fromkeys(at for _, at in further.values())))  # fmt: skip
    _services(tree, set(further), decide)
    return Found({key: value for key, value in keys.items() if key not in given}, where, tuple(notes))


def _application(
    tree: Tree, named: list[applications.Reference], given: Mapping[str, object], decide: Decide
) -> tuple[str, list[str]]:
    decided = given.get("import-from")
    folders = [str(one) for one in decided] if isinstance(decided, list) else []
    wanted = given.get("application")
    if wanted:
        module = str(wanted).partition(":")[0]
        suffix = module.replace(".", "/")
        options = [one for one in tree.python if f"/{one}".endswith((f"/{suffix}.py", f"/{suffix}/__init__.py"))]
        exact = layout.find(tree, module, folders or ["."])
        path = exact or (options[0] if len(options) == 1 else "")
        if not path:
            raise Failure(
                f"`application` must name a module of the project (got {wanted}, and {', '.join(options) or 'none'} of "
                "this name). To fix it: correct it, or set `import-from` as well, for example "
                "`--set 'import-from=[\"src\"]'`."
            )
        if not folders:
            depth = len(path.split("/")) - len(module.split(".")) - path.endswith("/__init__.py")
            folders = ["/".join(path.split("/")[:depth]) or "."]
        place = path
    else:
        chosen, place = applications.choose(applications.candidates(tree), named)
        path = chosen.path
        if not folders:
            names = [one.module for one in named if one.attribute in {"", chosen.attribute}]
            folders = [layout.import_folder(tree, path, names)]
        wanted = f"{layout.module_name(path, folders[0])}:{chosen.attribute}"
    if folders != ["."] and "import-from" not in given:
        # A module beside the import folder, such as a package of settings at the root.
        before = layout.closure(tree, [path], folders)
        if len(layout.closure(tree, [path], [*folders, "."])) > len(before):
            folders.append(".")
    decide("application", wanted, place)
    return path, folders


def _commands(tree: Tree, commands: Iterable[Declared], folders: list[str]) -> dict[str, tuple[str, str]]:
    """Return further commands with their places: workers and migrations, each where it is unambiguous."""
    found: dict[str, dict[str, str]] = {}
    for one in commands:
        name = _WORKERS.get(one.program)
        if one.program == "celery":
            kinds = [kind for kind in ("worker", "beat") if kind in one.words]
            name = {"worker": "worker", "beat": "scheduler"}[kinds[0]] if kinds else None
        elif (one.program == "alembic" and "upgrade" in one.words) or one.words[:2] == ("aerich", "upgrade"):
            name = "migrate"
        elif one.name and one.words[0] != "python" and layout.find(tree, one.words[0], folders):
            # `python -m tasks_worker`, whose program is removed.
            name = one.name if "worker" in one.name else None
        text = " ".join(one.words)
        if name and name == one.name and layout.find(tree, one.words[0], folders):
            text = f"python -m {text}"
        if name and not _SHELL.search(text) and "'" not in text and '"' not in text:
            found.setdefault(name, {}).setdefault(text, one.where)
    return {name: next(iter(texts.items())) for name, texts in found.items() if len(texts) == 1}


def _sources(  # noqa: PLR0913, PLR0917
    tree: Tree,
    path: str,
    folders: list[str],
    place: str,
    further: Commands,
    migrations: tuple[str, str] | None,
    decide: Decide,
) -> list[str]:
    starts = [path]
    for text, _ in further.values():
        for word in text.split():
            module = word.partition(":")[0].rpartition("=")[2]
            candidates = (module, module.rpartition(".")[0], f"{module}.__main__")
            starts += [one for name in candidates if name and (one := layout.find(tree, name, folders))]
    scripts = ""
    if migrations:
        scripts = migrations[1]
        starts += [one for one in tree.python if one.startswith(f"{scripts}/")]
    paths = layout.closure(tree, starts, folders)
    outside = [one for one in paths if not (scripts and one.startswith(f"{scripts}/"))]
    sources = set(layout.sources(outside, folders))
    if migrations:
        sources |= set(migrations)
    generated, places = [], []
    for one, at in layout.data(tree, paths, place).items():
        if any(file.startswith(f"{one}/") for file in tree.files):
            sources.add(one)
        elif tree.ignored(one):
            generated.append(one)
            places.append(at)
    kept = sorted(one for one in sources if not any(one.startswith(f"{other}/") for other in sources))
    decide("sources", kept, f"imports of {path}" + (f", {migrations[0]}" if migrations else ""))
    generated = [one for one in generated if not any(f"{one}/".startswith(f"{other}/") for other in kept)]
    if generated:
        decide("generated", sorted(generated), ", ".join(places))
    return paths


def _tests(tree: Tree, place: str, sources: object, decide: Decide) -> None:
    shipped = [str(one) for one in sources] if isinstance(sources, list) else []
    found = []
    for folder in dict.fromkeys((".", place)):
        prefix = "" if folder == "." else f"{folder}/"
        for name in _TESTS:
            if tree.has(prefix + name) or any(one.startswith(f"{prefix}{name}/") for one in tree.files):
                found.append(prefix + name)  # noqa: PERF401
        found += [one for one in tree.files if re.fullmatch(re.escape(prefix) + r"(?:test_[^/]*|[^/]*_test)\.py", one)]
        for name, section in (("tox.ini", "[pytest]"), ("setup.cfg", "[tool:pytest]")):
            if section in tree.text(prefix + name):
                found.append(prefix + name)
        if prefix and tree.has(f"{prefix}pyproject.toml"):
            # The configuration of pytest beside the tests.
            found.append(f"{prefix}pyproject.toml")
    kept = [one for one in dict.fromkeys(found) if not any(f"{one}/".startswith(f"{other}/") for other in shipped)]
    inside = [one for one in tree.files if is_test(one) and any(one.startswith(f"{other}/") for other in shipped)]
    decide("tests", kept, "their names" if kept else (f"inside the sources: {inside[0]}" if inside else ""))


def _lock(tree: Tree, place: str, path: str, given: Mapping[str, object], decide: Decide) -> locks.Lock:
    if "lock" in given and not tree.has(str(given["lock"])):
        raise Failure(f"`lock` must be a file of the project (got {given['lock']}). To fix it: correct its path.")
    lock = locks.find(tree, place, path)
    decide("lock", lock.path, "the folder")
    if lock.package:
        decide("package", lock.package, "the members of the workspace")
    if lock.groups != ("main",):
        decide("groups", list(lock.groups), "pyproject.toml")
    if lock.dev_groups != ("dev",):
        decide("dev-groups", list(lock.dev_groups), "pyproject.toml")
    return lock


def _server(commands: list[Declared], names: frozenset[str], application: str, port: str) -> tuple[str, str]:
    """Return the project's own serving command, and its place. Raises Failure where it needs a shell, or is missing."""
    locked = [one for one in applications.servers(commands) if one.program in names or one.program == "fastapi"]
    refused = ""
    for one in locked:
        words = [re.sub(r"\$\{?PORT\b(?::-?\d+)?\}?", port, word) for word in one.words if word != "--reload"]
        text = " ".join(words)
        if _SHELL.search(text) or re.search(r"[\"'\s]", "".join(words)):
            refused = refused or f"`{text}` of {one.where}"
            continue
        option, added = _BIND.get(one.program, ("", ""))
        if option and not re.search(r"(?:^| )(?:--host|--bind|-b|-c|--config|--uds)\b", text):
            text += " " + added.format(port=port)
        return text, one.where
    if refused:
        raise Failure(
            f"The serving command must run without a shell, which production does not have (got {refused}). To fix it: "
            "write it without variables, for example with "
            f"`--set 'server=uvicorn {application} --host=0.0.0.0 --port={port}'`."
        )
    for name, options in (("uvicorn", f"--host=0.0.0.0 --port={port}"), ("hypercorn", f"--bind=0.0.0.0:{port}"),
                          ("granian", f"--interface=asgi --host=0.0.0.0 --port={port}")):  # fmt: skip
        if name in names:
            return f"{name} {application} {options}", "the lock"
    raise Failure(
        "The lock must have a server: uvicorn and httptools, or another one (got none). To fix it: add "
        "`uvicorn[standard]` to the dependencies, and lock again."
    )


def _services(tree: Tree, taken: set[str], decide: Decide) -> None:
    found: dict[str, str] = {}
    place = ""
    for path in tree.named(declared.COMPOSE):
        for name, keys in declared.services(tree.text(path)).items():
            image = keys.get("image", "").strip("\"'")
            if _IMAGES.fullmatch(image) and re.fullmatch(r"[a-z][a-z0-9_-]*", name) and name not in taken:
                found.setdefault(name, image)
                place = place or path
    if found:
        decide("services", found, place)
