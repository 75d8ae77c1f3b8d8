"""Judge facts: pure functions, records in, findings out. Nothing is read, run or printed here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from ops.image import File, Image

# Where the Dockerfile puts things.
VENV = "/opt/venv"
HOME = "/srv"
APP = "/srv/app"

# Shorter content says too little to be traced to an owner.
_TELLING_BYTES = 64
_IMPORTABLE = (".py", ".pyc", ".so", ".pyd")
_SECRET = re.compile(
    r"\w*(?:TOKEN|SECRET|PASSW(?:OR)?D|API_?KEY|ACCESS_?KEY|PRIVATE_?KEY|CREDENTIAL)\w*", re.IGNORECASE
)
_PASSWORD_IN_URL = re.compile(r"\w+://[^/\s:@\"']+:[^/\s@\"']+@")


@dataclass(frozen=True)
class Finding:
    """A leak: what it is, where it is, which instruction brought it, and why it may not be there."""

    what: str
    path: str
    instruction: str
    why: str
    files: int = 1


@dataclass(frozen=True)
class Lock:
    """The versions that poetry.lock allows of each distribution, by normalized name."""

    main: Mapping[str, frozenset[str]]
    dev: Mapping[str, frozenset[str]]
    # The distributions that some platform leaves out.
    optional: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Forbidden:
    """What the dev image has and production may not have. Each maps to the distribution that owns it."""

    distributions: frozenset[str]
    imports: Mapping[str, str]
    scripts: Mapping[str, str]
    contents: Mapping[str, str]
    # What main's own wheels brought, as (path, sha256): never a leak, whatever it is called.
    allowed: frozenset[tuple[str, str]] = field(repr=False)


def normalized(name: str) -> str:
    """Return a distribution's name as the name normalization rules have it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def lock_from(document: Mapping[str, Any]) -> Lock:
    """Return what a parsed poetry.lock allows in the main and the dev group."""
    groups: dict[str, dict[str, set[str]]] = {"main": {}, "dev": {}}
    optional = set()
    for package in document.get("package", []):
        name = normalized(package["name"])
        for group in package.get("groups", ["main"]):
            groups.setdefault(group, {}).setdefault(name, set()).add(package["version"])
        if package.get("markers") or package.get("optional"):
            optional.add(name)
    main, dev = ({name: frozenset(found) for name, found in groups[group].items()} for group in ("main", "dev"))
    return Lock(main, dev, frozenset(optional))


def forbidden(dev: Iterable[File], lock: Lock) -> Forbidden:
    """Return what must not be in production: all that dev's distributions outside the lock's main group own.

    Takes the files of the dev image's virtual environment and home folder. Ownership is what each
    distribution's RECORD says (https://packaging.python.org/en/latest/specifications/recording-installed-packages/).
    """
    files = {file.path: file for file in dev}
    owners = dict(_owners(files.values()))
    in_main = {path for path, name in owners.items() if name in lock.main}
    main_contents = {files[path].sha256 for path in in_main if path in files}
    main_imports = {_import_name(path) for path in in_main}
    contents, imports, scripts = {}, {}, {}
    for path, name in owners.items():
        if path in in_main or path not in files:
            continue
        if f"{VENV}/bin/" in path:
            scripts[PurePosixPath(path).name] = name
        elif ".dist-info/" not in path:
            module = _import_name(path)
            if module not in main_imports:
                imports[module] = name
            if files[path].size >= _TELLING_BYTES and files[path].sha256 not in main_contents:
                contents[files[path].sha256] = name
    app_contents = {file.sha256 for file in files.values() if _within(file.path, APP)}
    for file in files.values():
        own = _within(file.path, HOME) and not _within(file.path, APP)
        if own and file.size >= _TELLING_BYTES and file.sha256 not in app_contents:
            contents[file.sha256] = f"{file.path.removeprefix(HOME + '/')} of this project"
    return Forbidden(
        distributions=frozenset(owners.values()) - set(lock.main),
        imports=imports,
        scripts=scripts,
        contents=contents,
        allowed=frozenset((path, file.sha256) for path, file in files.items() if _source(path) in in_main),
    )


def leaks(
    files: Iterable[File], rules: Forbidden, lock: Lock, image: Image | None = None, base_layers: int = 0
) -> list[Finding]:
    """Return every leak among the files, those of all layers, and in the configuration of `image`.

    The first `base_layers` are the base image's. It may hold distributions and vendored files of its own, but
    nothing that can be imported or found as a distribution of the dev group.
    """
    files = tuple(files)
    around = _Surroundings(
        packages=frozenset(file.path.rpartition("/")[0] for file in files if "/__init__." in file.path),
        distributions=frozenset(match for file in files if (match := _distribution(file.path))),
        base_layers=base_layers,
    )
    grouped: dict[tuple[int, str, str, str], int] = {}
    for file in files:
        if (file.path, file.sha256) in rules.allowed:
            continue
        hit = _judge(file, rules, lock, around)
        if hit:
            key = (file.layer, *hit)
            grouped[key] = grouped.get(key, 0) + 1
    findings = [
        Finding(what, path, image.layers[layer].instruction if image else "", why, count)
        for (layer, what, path, why), count in grouped.items()
    ]
    return findings + (list(_config_leaks(image, rules)) if image else [])


def declared(lock: Lock) -> list[Finding]:
    """Return the finding that pytest is a production dependency, where the lock has it in the main group."""
    if "pytest" not in lock.main:
        return []
    return [
        Finding(
            "pytest", "poetry.lock", "", "pyproject.toml declares it, or something that needs it, in the main group"
        )
    ]


def staleness(
    files: Iterable[File], groups: Iterable[Mapping[str, frozenset[str]]], lock: Lock, app: Mapping[str, str]
) -> str:
    """Return how an image differs from the lock and from `app/` (paths below it and their sha256), or ``."""
    # Of a path in several layers the last one counts.
    files = {file.path: file for file in files}.values()
    held: dict[str, set[str]] = {}
    for file in files:
        if _within(file.path, VENV) and "!/" not in file.path and (found := _distribution(file.path)):
            held.setdefault(found[0], set()).add(found[1])
    for group in groups:
        for name, versions in group.items():
            if name not in held and name not in lock.optional:
                return f"it lacks {name}, which poetry.lock has"
            if name in held and not held[name] & versions:
                return f"it has {name} {', '.join(sorted(held[name]))}, poetry.lock has {', '.join(sorted(versions))}"
    built = {
        file.path.removeprefix(APP + "/"): file.sha256
        for file in files
        if _within(file.path, APP) and file.sha256 and "/__pycache__/" not in file.path and "!/" not in file.path
    }
    for path, digest in app.items():
        if built.get(path) != digest:
            return f"app/{path} has changed since"
    return ""


def _owners(files: Iterable[File]) -> Iterator[tuple[str, str]]:
    """Give each path in the virtual environment's RECORDs with the normalized name of its distribution."""
    for file in files:
        # Not the metadata of what a distribution carries inside itself: those files are its own.
        found = _distribution(file.path) if _RECORD.fullmatch(file.path) else None
        if not found:
            continue
        site_packages = PurePosixPath(file.path).parent.parent
        for line in file.head.decode().splitlines():
            relative = line.rsplit(",", 2)[0].strip('"')
            yield _joined(site_packages, relative), found[0]


def _joined(folder: PurePosixPath, relative: str) -> str:
    parts = list(folder.parts)
    for part in PurePosixPath(relative).parts:
        if part == "..":
            parts.pop()
        else:
            parts.append(part)
    return str(PurePosixPath(*parts))


def _import_name(path: str) -> str:
    """Return the name by which a file in site-packages is imported: its package's, or the module's own."""
    inside = path.partition("/site-packages/")[2]
    return inside.split("/")[0].split(".")[0]


def _source(path: str) -> str:
    """Return the path of the source of a module's bytecode (PEP 3147); any other path as it is."""
    match = re.fullmatch(r"(.*)/__pycache__/([^/.]+)\.[^/]*\.pyc", path)
    return f"{match[1]}/{match[2]}.py" if match else path


def _within(path: str, folder: str) -> bool:
    return path.startswith(folder + "/")


_RECORD = re.compile(rf"{VENV}/lib/[^/]+/site-packages/[^/]+\.dist-info/RECORD")
_METADATA_FOLDER = re.compile(r"/([^/!]+?)-([^/!-]+)(?:-py[\d.]+[^/!]*)?\.(?:dist-info|egg-info|egg)(?:/|$)")
_PACKED = re.compile(r"/([A-Za-z0-9][\w.]*?)-(\d[^/!-]*)(?:-[^/!]+)?\.(?:whl|tar\.gz|zip)(?:!|$)")


def _distribution(path: str) -> tuple[str, str] | None:
    """Return the normalized name and the version of the distribution whose metadata or archive this path is in."""
    match = _distribution_part(path)
    return (normalized(match[1]), match[2]) if match else None


def _distribution_part(path: str) -> re.Match[str] | None:
    # Most paths need no regular expression to be told apart.
    if "-info" in path or ".egg" in path:
        return _METADATA_FOLDER.search(path)
    if ".whl" in path or ".tar.gz" in path or ".zip" in path:
        return _PACKED.search(path)
    return None


@dataclass(frozen=True)
class _Surroundings:
    """What the judgement of one file needs to know of all others."""

    packages: frozenset[str]
    distributions: frozenset[tuple[str, str]]
    base_layers: int


def _judge(file: File, rules: Forbidden, lock: Lock, around: _Surroundings) -> tuple[str, str, str] | None:
    """Return what the file is, the path to report and why it is a leak; None where it is not one."""
    if file.directory:
        # What it holds is judged.
        return None
    found = _as_distribution(file, rules, lock, around) or _as_import(file, rules, around)
    if found or file.layer < around.base_layers:
        return found
    return _as_script(file, rules) or _as_own_file(file) or _as_content(file, rules)


def _as_distribution(file: File, rules: Forbidden, lock: Lock, around: _Surroundings) -> tuple[str, str, str] | None:
    metadata = file.path.endswith(("/METADATA", "/PKG-INFO"))
    match = _distribution_part(file.path)
    if not match and not metadata:
        return None
    found = (normalized(match[1]), match[2]) if match else None
    where = file.path[: match.end()].rstrip("/!") if match else file.path
    stated = re.search(rb"^Name: *(\S+)", file.head, re.MULTILINE) if metadata else None
    names = {found[0]} if found else set()
    if stated:
        names.add(normalized(stated[1].decode(errors="replace")))
    for name in sorted(names & rules.distributions):
        return name, where, "a distribution that only the dev group has"
    if file.layer < around.base_layers:
        return None
    for name in sorted(names - set(lock.main)):
        return name, where, "a distribution that poetry.lock does not have in the main group"
    if (
        found
        and not _locked(found, lock)
        and any(_locked(other, lock) for other in around.distributions if other[0] == found[0])
    ):
        versions = ", ".join(sorted(lock.main[found[0]]))
        return found[0], where, f"poetry.lock has version {versions}, which is there as well"
    return None


def _locked(distribution: tuple[str, str], lock: Lock) -> bool:
    name, version = distribution
    return version in lock.main.get(name, ())


def _as_import(file: File, rules: Forbidden, around: _Surroundings) -> tuple[str, str, str] | None:
    """Find what can be imported under a dev distribution's name: below a folder that is no package itself."""
    if not file.path.endswith(_IMPORTABLE):
        return None
    parts = file.path.split("/")
    for number, part in enumerate(parts):
        name = part.split(".")[0] if number == len(parts) - 1 else part
        if name not in rules.imports:
            continue
        parent = parts[:number]
        if parent[-1:] == ["__pycache__"]:
            parent = parent[:-1]
        if "/".join(parent) not in around.packages:
            return rules.imports[name], "/".join(parts[: number + 1]), f"imported as {name}"
    return None


def _as_script(file: File, rules: Forbidden) -> tuple[str, str, str] | None:
    path = PurePosixPath(file.path)
    if file.target:
        goal = PurePosixPath(file.target)
        names = [name for name in (path.name, goal.name, *goal.parts) if name in rules.scripts or name in rules.imports]
        if names:
            owner = rules.scripts.get(names[0]) or rules.imports[names[0]]
            return owner, file.path, f"a link to {file.target}"
        return None
    if path.name in rules.scripts and (path.parent.name in ("bin", "sbin") or file.mode & 0o111) and file.size:
        return rules.scripts[path.name], file.path, "a script of it"
    if file.head.startswith(b"#!"):
        for name, owner in rules.imports.items():
            word = re.escape(name).encode()
            if re.search(rb"^\s*(?:from|import)\s+" + word + rb"\b|\s-m\s+" + word + rb"\b", file.head, re.MULTILINE):
                return owner, file.path, f"a script that runs {name}"
    return None


def _as_content(file: File, rules: Forbidden) -> tuple[str, str, str] | None:
    owner = rules.contents.get(file.sha256)
    return (owner, file.path, "its content, byte for byte, is a file of it") if owner else None


def _as_own_file(file: File) -> tuple[str, str, str] | None:
    parts = PurePosixPath(file.path).parts
    for number, part in enumerate(parts):
        if part in {".git", ".env"} or part.startswith(".env."):
            return part, str(PurePosixPath(*parts[: number + 1])), "it does not belong in an image"
    if _within(file.path, HOME) and not _within(file.path, APP):
        return parts[2], str(PurePosixPath(*parts[:3])), f"only app/ belongs in {HOME}"
    return None


def _config_leaks(image: Image, rules: Forbidden) -> Iterator[Finding]:
    """Give the leaks in what a container would run, in its environment, and in the image's history."""
    config = image.config
    variables = config.get("Env") or []
    labels = [f"{name}={value}" for name, value in (config.get("Labels") or {}).items()]
    yield from _named_tools("CMD", config.get("Cmd"), rules)
    yield from _named_tools("ENTRYPOINT", config.get("Entrypoint"), rules)
    yield from _named_tools("HEALTHCHECK", (config.get("Healthcheck") or {}).get("Test"), rules)
    yield from _named_tools("ONBUILD", config.get("OnBuild"), rules)
    yield from _named_tools("SHELL", config.get("Shell"), rules)
    yield from _named_tools("ENV", variables, rules)
    yield from _secrets("ENV", variables)
    yield from _secrets("LABEL", labels)
    for step in image.history:
        yield from _secret_arguments(step)


def _named_tools(instruction: str, words: Iterable[str] | None, rules: Forbidden) -> Iterator[Finding]:
    for text in words or ():
        for word in re.findall(r"[\w.-]+", text):
            owner = rules.scripts.get(word) or rules.imports.get(word)
            if not owner and normalized(word) in rules.distributions:
                owner = word
            if owner:
                yield Finding(owner, "configuration", f"{instruction} {text}", f"{instruction} names {word}")


def _secrets(instruction: str, settings: Iterable[str]) -> Iterator[Finding]:
    for text in settings:
        name = text.partition("=")[0]
        if _PASSWORD_IN_URL.search(text) or _SECRET.fullmatch(name):
            why = "a secret that everyone who has the image can read"
            yield Finding(name, "configuration", f"{instruction} {name}=...", why)


def _secret_arguments(step: str) -> Iterator[Finding]:
    """Give the secrets in one instruction of the history, as BuildKit or the legacy builder wrote it."""
    declared = re.match(r"(?:/bin/sh -c #\(nop\) +)?ARG (\w+)", step)
    used = re.match(r"(?:RUN )?\|\d+ (.*?) /bin/", step)
    for name in [declared[1]] if declared else re.findall(r"(\w+)=", used[1]) if used else []:
        if _SECRET.fullmatch(name):
            yield Finding(name, "history", f"ARG {name}", "the value of a build argument stays in the history")
    if _PASSWORD_IN_URL.search(step):
        yield Finding(
            "a password in an address", "history", step.split("://", maxsplit=1)[0] + "://...", "the history keeps it"
        )
