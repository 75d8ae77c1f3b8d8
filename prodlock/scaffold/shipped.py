"""Find the files and folders that production has, and those that only tests need."""

from __future__ import annotations

import configparser
import posixpath
import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from prodlock import configuration, generated
from prodlock.failure import Failure
from prodlock.scaffold import layout, pyprojects
from prodlock.scaffold.declared import ASIDE
from prodlock.scaffold.folders import Folders
from prodlock.scaffold.modules import Modules
from prodlock.scaffold.tree import Tree, is_inside, is_test, join

_TESTS = ("tests", "test", "conftest.py")
# The files that have pytest's configuration, in its order, with the section that makes them one
# (https://docs.pytest.org/en/stable/reference/customize.html).
_CONFIGURATIONS = (
    ("pytest.toml", ""), (".pytest.toml", ""), ("pytest.ini", ""), (".pytest.ini", ""),
    ("pyproject.toml", "tool.pytest"), ("tox.ini", "pytest"), ("setup.cfg", "tool:pytest"),
)  # fmt: skip
# The options of Alembic that name its files.
_CONFIGURATION = re.compile(r"(?:^|\s)(?:-c|--config)[= ]*(\S+)")
# The absolute path of a file, in no folder that has the system's files alone.
_IN_AN_IMAGE = re.compile(
    r"(?P<option>(?:--?[\w-]+=)?(?:file:)?)/(?!(?:dev|etc|proc|run|sys|tmp)/)(?P<path>[^\s:]*\.\w+)"
)
# A source folder with more files beside its tests is named as a whole.
_MOST = 40


@dataclass(frozen=True)
class Migrations:
    """A command that changes the schema of a database, with the place that decided, and the files that it needs."""

    command: str
    where: str
    sources: tuple[str, ...]
    # The distribution that the command needs.
    distribution: str


@dataclass
class Shipped:
    """What ships, and the modules that run of it."""

    modules: list[str]
    sources: list[str] = field(default_factory=list)
    generated: dict[str, str] = field(default_factory=dict)
    # Data that is named, whose path has a character that is not allowed, with the places.
    unnamed: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Project:
    """A project's modules, the folders that they are imported from, and the one that commands run in."""

    modules: Modules
    folders: list[str]
    place: str

    @property
    def tree(self) -> Tree:
        """Return the project's files."""
        return self.modules.tree

    def file(self, word: str) -> str:
        """Return the file of the project that a word of a command names, or an empty string."""
        path = join(self.place, word)
        return path if self.tree.has(path) else ""

    def relative(self, word: str) -> str:
        """Return a word of a command, in which the path that a file of the project has in another image is its own."""
        named = _IN_AN_IMAGE.fullmatch(word)
        parts = named["path"].split("/") if named else []
        for first in range(len(parts)):
            end = "/".join(["", *parts[first:]])
            if named and len(found := [one for one in self.tree.files if f"/{one}".endswith(end)]) == 1:
                return f"{named['option']}{posixpath.relpath(found[0], self.place)}"
        return word


def find(project: Project, starts: Iterable[str], files: Iterable[str]) -> Shipped:
    """Return what ships: all that modules import and name, with files that commands need."""
    tree, files = project.tree, list(files)
    scripts = [one for one in tree.python if any(is_inside(one, file) for file in files)]
    started = [*starts, *scripts]
    # An import of a module runs the packages that it is in.
    packages = [
        file
        for one in started
        for parent in PurePosixPath(one).parents
        if not any(is_inside(folder, parent.as_posix()) for folder in project.folders)
        and tree.has(file := join(parent.as_posix(), "__init__.py"))
    ]
    found = Shipped(project.modules.closure([*started, *packages], project.folders))
    outside = [one for one in found.modules if not any(is_inside(one, file) for file in files)]
    sources = {*files, *layout.tops(outside, project.folders)}
    for path, where in Folders(project.modules, found.modules, project.folders, project.place).named().items():
        if not _is_path(path):
            if tree.has_folder(path) or tree.has(path):
                found.unnamed[path] = where
        elif tree.has_folder(path) or tree.has(path):
            sources.add(path)
        elif tree.ignored(path):
            found.generated[path] = where
    # A link needs the file that it leads to.
    inside = [path for path in tree.files if any(is_inside(path, one) for one in sources)]
    sources |= {tree.target(path) for path in inside}.difference(inside)
    found.sources = outermost(sources)
    found.generated = {
        path: where
        for path, where in found.generated.items()
        if not any(is_inside(path, one) for one in found.sources)
    }  # fmt: skip
    return found


def outermost(paths: Iterable[str]) -> list[str]:
    """Return paths without those that are in another one of them."""
    listed = sorted(set(paths))
    return [one for one in listed if not any(one != other and is_inside(one, other) for other in listed)]


def inner_tests(tree: Tree, shipped: Shipped) -> list[str]:
    """Return the files and folders of tests in the sources: those that no shipped module imports."""
    used = set(shipped.modules)
    inside = [
        one
        for one in tree.files
        if is_test(one) and one not in used and any(is_inside(one, source) for source in shipped.sources)
    ]
    found = set()
    for path in inside:
        folder = next(
            (
                parent.as_posix()
                for parent in reversed(PurePosixPath(path).parents)
                if is_test(f"{parent.as_posix()}/") and not any(is_inside(one, parent.as_posix()) for one in used)
            ),
            path,
        )
        found.add(folder)
    return outermost(found)


def without(tree: Tree, sources: Iterable[str], tests: list[str]) -> list[str]:
    """Return sources without tests: in the place of a folder that has some, its other files and folders.

    Returns the sources where these are too many to be named.
    """
    sources = list(sources)
    found = [part for one in sources for part in _parts(tree, one, tests)]
    return sorted(found) if len(found) - len(sources) <= _MOST else sources


def tests(tree: Tree, place: str, sources: Iterable[str]) -> list[str]:
    """Return the files and folders that only tests need."""
    sources = list(sources)
    found = []
    for folder in dict.fromkeys((".", place)):
        names = [join(folder, name) for name in _TESTS]
        found += [one for one in names if tree.has(one) or tree.has_folder(one)]
        found += [
            one for one in tree.files if (posixpath.dirname(one) or ".") == folder and is_test(one) and one not in found
        ]
    found += list(_configured(tree, place))
    return outermost(one for one in found if not any(is_inside(one, source) for source in sources))


def migrations(project: Project, declared: str, where: str) -> Migrations | None:
    """Return the command that migrates a database, where the project has what it needs.

    Takes the command that the project's files declare, and its place; both may be empty.
    """
    if declared.startswith("aerich"):
        return _aerich(project, declared, where)
    if is_of_django(shlex.split(declared)):
        return _django(project, declared, where)
    named = _CONFIGURATION.findall(declared)
    # Alembic reads both, and what alembic.ini lacks from pyproject.toml (since 1.16).
    ini, toml = (
        project.file(next((one for one in named if (posixpath.basename(one) == pyprojects.NAME) is is_toml), usual))
        for is_toml, usual in ((False, "alembic.ini"), (True, pyprojects.NAME))
    )
    table = pyprojects.table(pyprojects.read(project.tree, toml), "tool", "alembic") if toml else {}
    if not ini and not named and not table and (other := configuration_of_alembic(project)):
        declared = f"alembic -c {posixpath.relpath(other, project.place)} upgrade head"
        ini, where = other, other
    files = tuple(path for path in (ini, toml if table else "") if path)
    locations = ((ini, _of_ini(project.tree, ini)), (toml, table.get("script_location")))
    path, location = next(((path, one) for path, one in locations if one and isinstance(one, str)), ("", ""))
    base = project.place
    if location.startswith("%(here)s"):
        location, base = location.removeprefix("%(here)s").lstrip("/") or ".", posixpath.dirname(path)
    elif ":" in location:
        package, _, rest = location.partition(":")
        location = f"{package.replace('.', '/')}/{rest}"
    folder = join(base, location)
    if not location or not project.tree.has_folder(folder):
        return None
    return Migrations(declared or "alembic upgrade head", where or path, (*files, folder), "alembic")


def configuration_of_alembic(project: Project) -> str:
    """Return the project's only alembic.ini, which may be in a folder, or an empty string."""

    def is_own(path: str) -> bool:
        folders = [one.as_posix() for one in PurePosixPath(path).parents if is_inside(one.as_posix(), project.place)]
        others = [one for one in folders if one not in {".", project.place}]
        return bool(folders) and not any(project.tree.has(join(one, pyprojects.NAME)) for one in others)

    found = [
        one for one in project.tree.named(r"alembic\.ini") if is_own(one) and not (ASIDE.search(one) or is_test(one))
    ]
    return found[0] if len(found) == 1 else ""


def _of_ini(tree: Tree, path: str) -> str:
    """Return the folder of the scripts that an alembic.ini names, or an empty string."""
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read_string(tree.text(path) if path else "")
        return parser.get("alembic", "script_location", fallback="").strip()
    except configparser.Error:
        return ""


def _aerich(project: Project, command: str, where: str) -> Migrations | None:
    path = project.file(pyprojects.NAME)
    location = pyprojects.at(pyprojects.read(project.tree, path), "tool", "aerich", "location") if path else None
    folder = join(project.place, location) if isinstance(location, str) else ""
    has_folder = folder and project.tree.has_folder(folder)
    return Migrations(command, where, (path, folder), "aerich") if has_folder else None


def is_of_django(words: Sequence[str]) -> bool:
    """Return whether a command migrates the database of a project of Django."""
    # `python -m django migrate`: Python's options come first.
    return "migrate" in words and any(
        posixpath.basename(one) == "manage.py" or one in {"django", "django-admin"}
        for one in words[: words.index("migrate")]
    )


def _django(project: Project, command: str, where: str) -> Migrations | None:
    words = shlex.split(command)
    script = next((one for one in words if posixpath.basename(one) == "manage.py"), "")
    path = project.file(script) if script else ""
    if script and not path:
        return None
    # Its first line names a program that images do not have.
    started = command if script != words[0] else f"python {shlex.join([posixpath.normpath(script), *words[1:]])}"
    return Migrations(started, where, (path,) if path else (), "django")


def migrations_of_django(project: Project) -> str:
    """Return the first folder of migrations of a project of Django, or an empty string where it has no manage.py."""
    paths = (path for path in project.tree.python if is_inside(path, project.place) and project.file("manage.py"))
    return next((posixpath.dirname(path) for path in paths if re.search(r"/migrations/\d{4}_\w+\.py$", path)), "")


def _parts(tree: Tree, source: str, tests: list[str]) -> Iterator[str]:
    """Yield a source, or the parts of it that are not tests."""
    if source in tests:
        return
    if not any(is_inside(one, source) for one in tests):
        yield source
        return
    depth = source.count("/") + 1
    inside = (path.split("/") for path in tree.files if is_inside(path, source))
    for part in sorted({"/".join(parts[: depth + 1]) for parts in inside}):
        yield from _parts(tree, part, tests)


def _configured(tree: Tree, place: str) -> Iterator[str]:
    """Yield the file that pytest reads its configuration from, started in a folder, and the tests that it names."""
    for folder in dict.fromkeys((place, *(parent.as_posix() for parent in PurePosixPath(place).parents))):
        for name, section in _CONFIGURATIONS:
            path = join(folder, name)
            options = _options(tree, path, section)
            if options is not None:
                # A build has these files in any case.
                if path not in generated.described(tree.root, "") and path != pyprojects.NAME:
                    yield path
                for one in options:
                    if _is_path(one) and (tree.has_folder(join(folder, one)) or tree.has(join(folder, one))):
                        yield join(folder, one)
                return


def _options(tree: Tree, path: str, section: str) -> list[str] | None:
    """Return the `testpaths` of a configuration of pytest, or None where a file is not one."""
    if not tree.has(path):
        return None
    if path.endswith(".toml"):
        keys = section.split(".") if section else ["pytest"]
        content = pyprojects.read(tree, path)
        if section and pyprojects.at(content, *keys) is None:
            return None
        # Either form: [tool.pytest] since pytest 9, or [tool.pytest.ini_options].
        return [
            *pyprojects.texts(content, *keys, "testpaths"),
            *pyprojects.texts(content, *keys, "ini_options", "testpaths"),
        ]
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read_string(tree.text(path))
    except configparser.Error:
        return None if section else []
    if section and not parser.has_section(section):
        return None
    return parser.get(section or "pytest", "testpaths", fallback="").split()


def _is_path(text: str) -> bool:
    try:
        return bool(configuration.KINDS["tests"].convert([text])) and not re.search(r"[*?]", text)
    except (ValueError, Failure):
        return False
