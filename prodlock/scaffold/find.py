"""Find what `[tool.prodlock]` describes in an existing project, without importing or running its code."""

from __future__ import annotations

import itertools
import platform
import posixpath
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from prodlock import configuration, generated, recipes, variables
from prodlock.failure import Failure
from prodlock.integers import LAST_PORT
from prodlock.scaffold import (
    applications,
    installs,
    jobs,
    layout,
    locks,
    metadata,
    pyprojects,
    pythons,
    reads,
    routes,
    serving,
    shipped,
    sqlite,
    toml,
)
from prodlock.scaffold.declared import Declared, Deployment
from prodlock.scaffold.modules import Modules, binds, module_name
from prodlock.scaffold.shipped import Project, Shipped
from prodlock.scaffold.tree import Tree, is_inside, join
from prodlock.server.requirements import missing

# Keys that are written even where their value is the default: a reader looks for them.
_ALWAYS = ("sources", "application")
# The widest value that the column of the places is behind.
_WIDEST = 44


@dataclass
class Found:
    """The keys of `[tool.prodlock]` that describe a project, the places that decided each, and notes for the user."""

    given: Mapping[str, object] = field(default_factory=dict)
    all: dict[str, object] = field(default_factory=dict)
    where: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    # Keys whose default depends on the project.
    defaults: dict[str, object] = field(default_factory=dict)

    @property
    def keys(self) -> dict[str, object]:
        """Return the keys that are written: those that are not given, and whose value is not the default."""
        return {
            key: value
            for key, value in self._ordered()
            if key not in self.given and (key in _ALWAYS or value != self._default(key))
        }

    @property
    def report(self) -> tuple[str, ...]:
        """Return the lines that print all keys with their places, and the notes."""
        rows = [(key, _line(value), self.where[key] or "not found") for key, value in self._ordered()]
        first = max((len(key) for key, _, _ in rows), default=0)
        second = max((len(value) for _, value, _ in rows if len(value) <= _WIDEST), default=0)
        lines = [f"  {key:<{first}} = {value:<{second}}  # {where}" for key, value, where in rows]
        return ("Found in this project:", *lines, *self.notes)

    def decide(self, key: str, value: object, where: str) -> None:
        """Record the value of a key and the place that decided it, unless it is given."""
        self.all[key] = self.given.get(key, value)
        self.where[key] = "--set" if key in self.given else where

    def texts(self, key: str) -> list[str]:
        """Return the decided texts of a list."""
        value = self.all.get(key)
        return [str(one) for one in value] if isinstance(value, list) else []

    def _ordered(self) -> list[tuple[str, object]]:
        """Return all keys in the order of the reference."""
        return [(key, self.all[key]) for key in configuration.KINDS if key in self.all]

    def _default(self, key: str) -> object:
        default = getattr(configuration.Configuration, key.replace("-", "_"))
        default = self.defaults.get(key, default)
        if key == "server":
            return ""
        if isinstance(default, tuple):
            return {} if key in {"commands", "services"} else list(default)
        return default


def find(root: Path, given: Mapping[str, object] | None = None) -> Found:
    """Return what a project's files describe; `given` has keys that are decided already.

    Raises Failure, with the candidates and the key that decides, for what can't be decided.
    """
    found = Found(given or {})
    configuration.parse(found.given)
    tree = Tree(root)
    pyprojects.check(tree, pyprojects.NAME)
    deployment = Deployment(tree)
    application, project = _application(tree, deployment, found)
    pyprojects.check(tree, join(project.place, pyprojects.NAME))
    deployment.convert(project.relative)
    lock = _lock(project, application, deployment, found)
    served = next((one for one in deployment.servers() if serving.serves(one, application)), None)
    listed = itertools.chain(deployment.ports(served, application.path), applications.run_ports(tree))
    ports = (one for one in listed if 0 < one[0] <= LAST_PORT)
    port, where = next(ports, (configuration.Configuration.port, "the default"))
    found.decide("port", port, where)
    _server(application, lock, deployment, found)
    if served and served.instrument:
        found.notes.append(
            f"The command of production has no {served.instrument} (got one, {served.where}). To fix it: start it in "
            "the code of the service."
        )
    if not found.all["server"]:
        _not_repeated(tree, application, deployment, served, found)
    further = _commands(project, lock, deployment, found)
    paths = _sources(project, application, further, found)
    _probes(project, paths, deployment, found)
    # A given base image may have a version of Python that this tool does not list.
    found.decide("base", *(("", "") if "base" in found.given else pythons.base(tree, project.place, deployment)))
    commands = {name: command for name, (command, _) in further.commands.items()}
    found.decide("commands", commands, _places(where for _, where in further.commands.values()))
    found.decide("services", *jobs.services(deployment, commands))
    _environment(tree, paths, deployment.variables(application.path), found)
    handed_on = found.texts("environment")
    if constants := {name: path for name, path in deployment.constants() if name in handed_on}:
        found.notes.append(
            f"Images do not have the values that Dockerfiles give to variables (got {', '.join(constants)}, "
            f"{_places(constants.values())}). To fix it: set them in .env and where the service is deployed."
        )
    if packages := installs.packages(tree, deployment):
        found.notes.append(
            f"Not installed, because most are needed in a build alone: the Debian packages {', '.join(packages)} "
            f"({_places(packages.values())}). Name those that the service or its tests need in ARG PACKAGES of "
            "Prodlock's Dockerfile."
        )
    if steps := installs.steps(tree, deployment):
        listed_steps = ", ".join(f"`{one}`" for one in steps)
        found.notes.append(
            f"Not run, because images have what the lock and the sources give: {listed_steps} "
            f"({_places(steps.values())}). To fix it: lock what such a command installs, or write its files into a "
            "folder of the project before a build, and name that in `generated`."
        )
    if places := list(metadata.reads(tree, paths)):
        found.notes.append(
            "Images have the sources of the project, not its installed distribution, whose metadata is read at "
            f"{', '.join(places)}. To fix it: catch PackageNotFoundError there, or read the version from a module."
        )
    if databases := dict(sqlite.files(tree, paths)):
        found.notes.append(
            f"Production can write to /tmp alone, which its container loses: not the SQLite database "
            f"{', '.join(databases)} ({_places(databases.values())}). To fix it: use a database of `services`, or a "
            "path in /tmp if nothing has to be kept."
        )
    if tree.folders_aside:
        found.notes.append(
            "Not read, because they are submodules of git or symbolic links to folders: "
            f"{', '.join(tree.folders_aside)}. To fix it: name submodules that the service needs in `generated`, and "
            "import what is in a linked folder by the folder's own name."
        )
    if unparsed := [path for path in paths if path in tree.unparsed]:
        version = platform.python_version()
        found.notes.append(
            f"Read for their imports alone, because Python {version} can't parse them: {', '.join(unparsed)}. If they "
            "are valid, run `prodlock init` with the Python of the project, or add the variables that they read to "
            "`environment`."
        )
    return found


def _application(tree: Tree, deployment: Deployment, found: Found) -> tuple[applications.Candidate, Project]:
    """Decide `application`, `import-from` and `directory`."""
    modules = Modules(tree)
    named = applications.references(tree, deployment)
    candidates = applications.candidates(tree)
    folders = _texts(found.given.get("import-from"))
    if wanted := str(found.given.get("application", "")):
        chosen = _given(modules, wanted, folders or ["."], candidates)
        name, place = wanted, chosen.where
        folders = folders or [_above(chosen.path, wanted.partition(":")[0])]
    else:
        chosen, place = applications.choose(tree, candidates, named)
        names = [one.module for one in named if one.attribute in {"", chosen.attribute}]
        folders = folders or [layout.import_folder(modules, chosen.path, names)]
        folder = next((one for one in folders if is_inside(chosen.path, one)), "")
        if not folder:
            raise Failure(
                f"`import-from` must have a folder that the application is in (got {', '.join(folders)}, and the "
                f"application is in {chosen.path}). To fix it: correct the path, or leave the key out."
            )
        name = f"{module_name(chosen.path, folder)}:{chosen.attribute}"
    found.decide("application", name, place)
    found.defaults["import-from"] = ["."]
    if "import-from" not in found.given:
        folders = layout.with_members(modules, chosen.path, folders)
    found.decide("import-from", folders, "imports of the project's modules" if folders != ["."] else "the default")
    place = layout.directory(tree, folders[0])
    where = "the folder of its pyproject.toml, lock or alembic.ini" if place != "." else "the default"
    found.decide("directory", place, where)
    return chosen, Project(modules, folders, str(found.all["directory"]))


def _given(
    modules: Modules, wanted: str, folders: list[str], candidates: Sequence[applications.Candidate]
) -> applications.Candidate:
    """Return the application that an option names. Raises Failure where the project does not have its module."""
    name, _, attribute = wanted.partition(":")
    options = applications.named_files(modules.tree.python, name)
    path = modules.find(name, folders) or (options[0] if len(options) == 1 else "")
    if not path:
        raise Failure(
            f"`application` must name a module of the project (got {wanted}, and {', '.join(options) or 'none'} of "
            "this name). To fix it: correct it, or set `import-from` as well, for example "
            "`--set 'import-from=[\"src\"]'`."
        )
    same = (one for one in candidates if (one.path, one.attribute) == (path, attribute))
    if found := next(same, None):
        return found
    module = modules.tree.module(path)
    if path not in modules.tree.unparsed and not binds(module, attribute.partition(".")[0]):
        have = ", ".join(f"{name}:{one.attribute}" for one in candidates if one.path == path)
        raise Failure(
            f"`application` must name an attribute that its module has (got {wanted}; the applications of {path} are: "
            f"{have or 'none'}). To fix it: correct it."
        )
    return applications.Candidate(path, attribute, is_factory=False, where=path)


def _lock(project: Project, application: applications.Candidate, deployment: Deployment, found: Found) -> locks.Lock:
    """Decide the lock, and what is installed of it."""
    tree = project.tree
    path = locks.path(tree, project.place, str(found.given.get("lock", "")))
    lock = locks.read(tree, path, application.path, installs.find(tree, deployment), found.given)
    found.defaults["lock"] = next(
        # A build reads a lock that git ignores as well.
        (name for name in configuration.LOCKS if (tree.root / name).is_file()),
        "",
    )
    found.decide("lock", path, "its name")
    found.decide("package", lock.package, "the members of the workspace" if lock.package else "the default")
    for key, names, default in (
        ("groups", lock.groups, ("main",)),
        ("extras", lock.extras, ()),
        ("dev-groups", lock.dev_groups, ("dev",)),
    ):
        where = "the default" if names == default else f"{pyprojects.NAME}, Dockerfiles and the lock"
        found.decide(key, list(names), where)
    if lock.without_wheels:
        found.notes.append(
            f"No wheel is locked of {', '.join(lock.without_wheels)}, and a build installs nothing from source. To "
            "fix it: lock versions that have one, or other distributions."
        )
    for key, names in (("groups", lock.further_groups), ("extras", lock.further_extras)):
        for_tests = [name for name in names if locks.is_development(name)]
        others = [name for name in names if name not in for_tests]
        if others and key not in found.given:
            found.notes.append(
                f"Not installed, because no Dockerfile installs them: the {key} {', '.join(others)}. Add those that "
                f"production needs to `{key}`."
            )
        if for_tests:
            found.notes.append(
                f"The dev image installs groups, not extras (got {', '.join(for_tests)}). If tests need them, move "
                "them to [dependency-groups], and lock again."
            )
    if "pytest" in lock.versions:
        found.notes.append(
            "Production has pytest, which `inv check-prod-has-no-pytest` reports. To fix it: move it, and what needs "
            "it, to a group of development, and lock again."
        )
    elif not lock.has_pytest:
        of_member = f" in {join(project.place, pyprojects.NAME)}" if lock.package else ""
        found.notes.append(
            "The groups of development lack pytest, which `inv test` and the checks need in the dev image. To fix it: "
            f"add it to one of them{of_member}, and lock again{_beside(tree, path)}."
        )
    return lock


def _beside(tree: Tree, lock: str) -> str:
    """Return the names that the lock of development may have, where a lock needs one and has none."""
    names = generated.development_locks(lock)
    if not names or len(generated.locks(tree.root, lock)) > 1:
        return ""
    return f"; what development adds to {posixpath.basename(lock)} is read from {' or '.join(names)} beside it"


def _server(application: applications.Candidate, lock: locks.Lock, deployment: Deployment, found: Found) -> None:
    """Decide the serving command."""
    lacking = missing(lock.versions)
    text, where = "", "the lock has what prodlock.server needs"
    if lacking and "server" not in found.given:
        service = serving.Service(
            str(found.all["application"]), application, int(str(found.all["port"])), lock.versions
        )  # fmt: skip
        text, where = serving.command(service, deployment.servers())
    found.decide("server", text, where)
    if found.all["server"]:
        reason = f"the lock lacks what prodlock.server needs: {' and '.join(lacking)}" if lacking else "it is given"
        found.notes.append(f"The service starts with its own command, because {reason}. {serving.LOST}")


def _not_repeated(
    tree: Tree, application: applications.Candidate, deployment: Deployment, served: Declared | None, found: Found
) -> None:
    """Note what the project's own serving command has and prodlock.server's has not."""
    if served and served.is_deployed and (root_path := re.search(r"--root-path[= ](\S+)", " ".join(served.words))):
        found.notes.append(
            f"The command of production has no --root-path (got {root_path[1]}, {served.where}). If a proxy strips "
            f"this path, set UVICORN_ROOT_PATH={root_path[1]} where the service is deployed."
        )
    if application.is_factory and (calls := list(applications.calls(tree, deployment, application))):
        found.notes.append(
            f"The server calls {found.all['application']} without arguments (the project has {_places(calls)}). To fix "
            "it: give it the arguments in a module, such as `app = ...`, and name that with `--set application=...`."
        )


def _environment(tree: Tree, paths: Sequence[str], given: Iterable[tuple[str, str]], found: Found) -> None:
    """Decide the variables that Compose hands on."""
    read = reads.environment(tree, paths)
    names = {name: one.where for name, one in read.items() if not variables.decides_code(name)}
    if withheld := [f"{name} ({one.where})" for name, one in read.items() if name not in names]:
        found.notes.append(
            f"Not handed on, because such variables decide which code runs: {', '.join(withheld)}. Production has the "
            "default, or needs another name."
        )
    unread = {name: path for name, path in given if name not in read and reads.is_variable(name)}
    if unread and "environment" not in found.given:
        found.notes.append(
            f"Not handed on, because no module reads them: {', '.join(sorted(unread))} ({_places(unread.values())}). "
            "Add those that a library reads to `environment`."
        )
    found.decide("environment", list(names), _places(one.rpartition(":")[0] for one in names.values()))
    services = _services(found)
    given_by_services = recipes.addresses(services, "")
    is_tracked = tree.tracked(".env")
    without = [name for name in names if read[name].is_required and name not in given_by_services]
    if without:
        found.notes.append(
            f"Without a default: {', '.join(without)} ({_places(names[one] for one in without)}). The service may not "
            f"start without them: set them in .env{'' if is_tracked else ', which git ignores,'} and where it is "
            "deployed. Tests have those that `environment` of api-tests in the Compose file names."
        )
    if is_tracked:
        found.notes.append(
            "git tracks .env, which a line of .gitignore does not change, and Compose hands its values on to "
            "production. To fix it: `git rm --cached .env`, if a value is a secret or one of development."
        )
    for name, image in services.items():
        recipe = recipes.known(image)
        secret = recipes.secret(name)
        if (
            recipe
            and recipe.password
            and recipe.variable in names
            and not any(secret in tree.text(path) for path in paths)
        ):
            found.notes.append(
                f"Production's {name} has a password, which the address that Compose hands on does not have. To fix "
                f"it: read /run/secrets/{secret} in the service, or set {recipe.variable} in .env with the password "
                f"that the first `inv serve` writes to {recipes.SECRETS}/{secret}."
            )


def _services(found: Found) -> dict[str, str]:
    """Return the decided services with their images."""
    services = found.all["services"]
    return {name: str(image) for name, image in services.items()} if isinstance(services, dict) else {}


def _commands(project: Project, lock: locks.Lock, deployment: Deployment, found: Found) -> jobs.Jobs:
    """Find workers and migrations, and the files that a migration needs."""
    further, notes = jobs.find(project, deployment, lock.versions), list[str]()
    declared, where = further.commands.pop(jobs.MIGRATE, ("", ""))
    migrations = shipped.migrations(project, declared, where)
    if migrations and migrations.distribution in lock.versions:
        further.commands[jobs.MIGRATE] = (migrations.command, migrations.where)
        further.files += migrations.sources
    elif declared or migrations:
        command = declared or "alembic upgrade head"
        lacking = (
            f"the lock lacks {migrations.distribution}" if migrations else "its configuration or scripts are missing"
        )
        notes.append(f"`commands` has no migrate, because {lacking} (got `{command}`).")
    elif "alembic" in lock.versions and (path := shipped.configuration_of_alembic(project)):
        notes.append(
            f"`commands` has no migrate, because the folder that commands run in has no folder that "
            f"`script_location` of {path} names. "
            "To fix it: write it with `%(here)s/`, as the folder of this file, or name the command with "
            "`--set 'commands={migrate = \"...\"}'`."
        )
    elif (
        "django" in lock.versions
        and (folder := shipped.migrations_of_django(project))
        and not any("has no migrate" in one for one in further.notes)
    ):
        notes.append(
            f"`commands` has no migrate, because no file runs the migrations of Django (got {folder}). If production "
            "does, write it with `--set 'commands={migrate = \"python manage.py migrate\"}'`."
        )
    given = found.given.get("commands")
    if not isinstance(given, dict):
        found.notes += [*notes, *further.notes]
        return further
    found.notes += [
        f"`commands` is given without {name} (the project has `{command}`, {where}). If production has it, add it."
        for name, (command, where) in further.commands.items()
        if name not in given
    ]
    return jobs.Jobs({name: (str(command), "--set") for name, command in given.items()}, further.files)


def _sources(project: Project, application: applications.Candidate, further: jobs.Jobs, found: Found) -> list[str]:
    """Decide what ships and what only tests need, and return the modules that run in production."""
    texts = [command for command, _ in further.commands.values()]
    server = str(found.all["server"])
    named = list(jobs.modules(project, [*texts, server]))
    if server.startswith("gunicorn") and (file := project.file("gunicorn.conf.py")):
        named.append(file)
    starts = [application.path, *(one for one in named if one.endswith(".py"))]
    # A configuration ships without the folder that it is in.
    read = {one for word in shlex.split(server) if (one := project.file(word)) and one != application.path}
    files = [*further.files, *(one for one in named if one in read or not one.endswith(".py"))]
    ships = shipped.find(project, starts, files)
    inner = shipped.inner_tests(project.tree, ships)
    parts = shipped.without(project.tree, ships.sources, inner)
    for key, paths in (("sources", parts), ("generated", sorted(ships.generated))):
        _check_names(key, [] if key in found.given else paths)
    where = _places([f"imports of {application.path}", *further.files[:1]])
    found.decide("sources", parts, where)
    found.decide("generated", sorted(ships.generated), _places(ships.generated.values()))
    shipping = [join(".", one) for one in (*found.texts("sources"), *found.texts("generated"))]
    if not any(is_inside(application.path, one) for one in shipping):
        raise Failure(
            f"`sources` must have the module of the application, {application.path} (got "
            f"{', '.join(shipping) or 'none'}). To fix it: add it, or its folder."
        )
    only = shipped.tests(project.tree, project.place, found.texts("sources"))
    only = shipped.outermost([*only, *(inner if parts != ships.sources else [])])
    _check_names("tests", [] if "tests" in found.given else only)
    found.decide("tests", only, "their names" if only else "")
    if only and not any(is_inside(one, project.place) for one in only):
        found.notes.append(
            f"Commands run in {project.place}, where pytest collects no tests. Name their folder: `inv test -- "
            f"{posixpath.relpath(only[0], project.place)}`."
        )
    unnamed = {path: place for path, place in ships.unnamed.items() if not any(is_inside(path, one) for one in parts)}
    if unnamed:
        found.notes.append(
            f"Not shipped, because its name has other characters than letters, digits and `_.@+-`: "
            f"{', '.join(unnamed)} ({_places(unnamed.values())}). To fix it: rename it, or move it into the sources."
        )
    if inner and "sources" not in found.given:
        found.notes.append(_of_tests(ships, parts, inner))
    return ships.modules


def _check_names(key: str, paths: list[str]) -> None:
    """Raise Failure where a path has a character that a Dockerfile or a .dockerignore may read as another one."""
    for path in paths:
        try:
            configuration.PATHS.convert([path])
        except ValueError:
            raise Failure(
                f"The files and folders that ship must have names of letters, digits and `_.@+-` (got {path}). To fix "
                f"it: rename it, or name others with `--set {key}=[...]`."
            ) from None


def first(names: list[str]) -> str:
    """Return the first three of some names, and how many more there are."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if names[3:] else "")


def _of_tests(ships: Shipped, parts: list[str], inner: list[str]) -> str:
    """Return the note on tests in a folder of sources."""
    listed = first(inner)
    folders = ", ".join(one for one in ships.sources if one not in parts) or ships.sources[0]
    if parts == ships.sources:
        return (
            f"Tests are among the sources ({listed}), and production will have them: `check-prod-has-no-pytest` "
            "reports what they import. To fix it: move them to a folder `tests` beside the sources."
        )
    return (
        f"Tests are among the sources ({listed}). Production must not have them, so `sources` names the other files "
        f"and folders of {folders}: add new ones there. With the tests beside {folders}, its name alone is enough."
    )


def _probes(project: Project, paths: list[str], deployment: Deployment, found: Found) -> None:
    """Decide the paths of the probes: prodlock.server answers those that the application does not have."""
    probes = routes.probes(project.modules, paths, project.folders, deployment)
    for key, (path, where) in zip(("health", "ready"), probes, strict=True):
        if path or found.all["server"]:
            found.decide(key, path, where)
        else:
            found.decide(key, getattr(configuration.Configuration, key), "prodlock.server answers it")


def _above(path: str, module: str) -> str:
    """Return the folder that a module is imported from, by its file and its name."""
    parts = posixpath.dirname(path.removesuffix("/__init__.py") if path.endswith("/__init__.py") else path).split("/")
    depth = len(module.split(".")) - 1
    return "/".join(parts[: len(parts) - depth]) or "."


def _texts(value: object) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list) else []


def _places(given: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(given))


def _line(value: object) -> str:
    """Return a value as TOML, in one line."""
    return f"[{', '.join(map(_line, value))}]" if isinstance(value, list) else toml.value(value)
