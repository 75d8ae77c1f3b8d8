"""Judge what `docker compose --profile prod up` would run, by allow-lists: pure functions, as in audit.py.

The image is a closed world; so is what Compose adds to it. Each key of a service that runs the image must be one that
leaves the image's program as it is, each mount must be where the image has no code, and each variable must be known to
the service. Images of others, a database say, are not judged, but may not reach production's code.

The keys are those of https://github.com/compose-spec/compose-spec/blob/main/schema/compose-spec.json, as Compose 2.26
to 2.40 resolves them.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from prodlock.image.records import Declaration
from prodlock.project import SOURCES
from prodlock.proof import rules
from prodlock.proof.rules import Finding, Rule
from prodlock.proof.world import World

FILE = "docker-compose.yml"
# The service that must run the image, and the target that it is built from.
PRODUCTION = "api-prod"
TARGET = "prod"
# What a folder of the working tree must be in to be code.
# What the Dockerfile's last stage declares as arguments, and the time that BuildKit knows.
ARGUMENTS = ("CREATED", "REVISION", "SOURCE", "SOURCE_DATE_EPOCH", "VERSION")
# Time zone and language: they change how text is shown.
LOCALE = ("LANG", "LC_ALL", "TZ")
# Variables that decide which code runs, so that pyproject.toml can't allow them: search paths and options of the
# interpreter (https://docs.python.org/3/using/cmdline.html), the loader (ld.so(8)), the C library's modules (iconv(1),
# locale(7)), OpenSSL's configuration and modules (openssl-env(7)), shells, and what the server imports by name.
_DECIDING = re.compile(
    r"PATH|PYTHON\w*|LD_\w+|GLIBC_TUNABLES|GCONV_PATH|LOCPATH|NLSPATH|OPENSSL_\w+|BASH_ENV|ENV"
    r"|UVICORN_(?:APP|APP_DIR|ENV_FILE|FACTORY|HTTP|INTERFACE|LIFESPAN|LOG_CONFIG|LOOP|RELOAD\w*|WS)"
)
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

# Where a container has code, or configuration that decides which code runs, whether or not the image has anything
# there: programs, libraries, settings, homes, the kernel's interfaces.
_CODE = frozenset(
    ("bin", "boot", "dev", "etc", "home", "lib", "lib32", "lib64", "libx32", "opt", "proc", "root", "sbin", "srv",
     "sys", "usr")
)  # fmt: skip
# Where the image has folders, but no code.
_DATA = frozenset({"mnt", "run", "tmp", "var"})
# What the Engine itself mounts into each container.
_ENGINES = frozenset({"/etc/hosts", "/etc/hostname", "/etc/resolv.conf"})
# By these the Engine can be controlled, and so what every container runs.
_CONTROL = ("/run/docker.sock", "/run/containerd", "/var/lib/containerd", "/var/lib/docker")
_SOCKETS = frozenset({"containerd.sock", "docker.sock", "docker_engine", "podman.sock"})
# How many links a path may lead through, as with Linux.
_MOST_LINKS = 40


@dataclass(frozen=True)
class Composed:
    """The Compose project, resolved: what `docker compose --profile prod config` returns, and what it refers to."""

    document: Mapping[str, Any]
    # Its images are called `NAME:TARGET`.
    name: str
    # The working tree, without symlinks.
    root: str
    # Each place of this machine that is mounted, without symlinks.
    real: Mapping[str, str]
    # References to images of this project by another name.
    aliases: frozenset[str]
    # The variables of the service's settings.
    variables: frozenset[str]

    @property
    def services(self) -> Mapping[str, Mapping[str, Any]]:
        """The services that are started with the profile, by name."""
        return self.document.get("services") or {}

    def volume(self, name: str) -> Mapping[str, Any]:
        """Return what is said of a named volume."""
        return (self.document.get("volumes") or {}).get(name) or {}


class _Wrong(NamedTuple):
    """The rule that a service breaks, what breaks it, and how, as the end of a sentence about the service."""

    rule: Rule
    what: str
    why: str


@dataclass(frozen=True)
class _Around:
    """What the judgement of one key needs to know beside its value."""

    project: Composed
    declaration: Declaration
    # Every path of the image, and the target of each that is a link.
    paths: frozenset[str]
    links: Mapping[str, str]
    # Where the image's variables have programs, libraries and modules looked for.
    searched: frozenset[str]
    variables: frozenset[str]


# What is wrong with a key's value.
_Judge = Callable[[Any, _Around], Iterator[_Wrong]]
# How keys are judged. None: whatever the value is, nothing changes which code runs. A text: it does, and how.
_Table = Mapping[str, _Judge | str | None]


def judged(project: Composed, declaration: Declaration, world: World, environment: Iterable[str]) -> list[Finding]:
    """Return where the services run something else than the image, or may.

    Takes what the Dockerfile declares, what the image must hold, and the variables that pyproject.toml allows.
    """
    links = {one.path: one.content for choices in world.promised.values() for one in choices if one.kind == "link"}
    variables = project.variables.union(LOCALE, environment)
    set_here = (str(one).partition("=") for one in declaration.config.get("Env") or ())
    searched = frozenset(place for name, _, value in set_here if decides_code(name) for place in value.split(":"))
    around = _Around(project, declaration, frozenset(world.promised), links, searched, variables)
    found = []
    for name, service in sorted(project.services.items()):
        wrong = _as_image(service, around) if _is_own(name, project) else _as_foreign(service, around)
        found += [Finding(rule, what, FILE, "", f"the service {name} {why}") for rule, what, why in wrong]
    return found


def unjudged(project: Composed) -> dict[str, str]:
    """Return the image of each service that is not built here, and so is not judged, by the service's name."""
    services = sorted(project.services.items())
    return {name: str(one.get("image") or "no image") for name, one in services if not _is_own(name, project)}


def places(document: Mapping[str, Any]) -> frozenset[str]:
    """Return the places of this machine that a resolved project mounts."""
    found: set[str] = set()
    for service in (document.get("services") or {}).values():
        found |= {str(mount.get("source") or "") for mount in service.get("volumes") or () if mount["type"] == "bind"}
        found.add(str((service.get("build") or {}).get("context") or ""))
    for volume in (document.get("volumes") or {}).values():
        found.update(_devices(volume or {}))
    for kind in ("configs", "secrets"):
        found |= {str((one or {}).get("file") or "") for one in (document.get(kind) or {}).values()}
    return frozenset(found - {""})


def settings_variables(source: str) -> frozenset[str]:
    """Return the variables that the fields of the class `Settings` are read from, by the module's source.

    Each is PREFIX and the field's name in capitals. Raises ValueError where the source is not of this form.
    """
    prefix, classes = None, {}
    for node in ast.parse(source).body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
        if isinstance(target, ast.Name) and target.id == "PREFIX" and value:
            prefix = ast.literal_eval(value)
        if isinstance(node, ast.ClassDef):
            classes[node.name] = node
    fields = list(_fields("Settings", classes))
    if not fields or not isinstance(prefix, str):
        message = "no class `Settings` with fields, or no string PREFIX"
        raise ValueError(message)
    return frozenset(prefix + field.upper() for field in fields)


def _fields(name: str, classes: Mapping[str, ast.ClassDef]) -> Iterator[str]:
    """Give the fields of a pydantic model, those of the classes of the same module that it inherits from included."""
    if name not in classes:
        return
    for base in classes[name].bases:
        if isinstance(base, ast.Name) and base.id != name:
            yield from _fields(base.id, classes)
    for node in classes[name].body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            field = node.target.id
            if not field.startswith("_") and field != "model_config" and "ClassVar" not in ast.unparse(node.annotation):
                yield field


def unhanded(service: Mapping[str, Any], variables: Iterable[str]) -> Iterator[str]:
    """Give a sentence for each variable of the service's settings that Compose does not hand on."""
    for name in sorted(set(variables) - set(service.get("environment") or ())):
        yield (
            f"{FILE}: `environment` of {PRODUCTION} must hand on {name}, a field of `Settings` (got no such name). "
            f"To fix it: add `- {name}`."
        )


def decides_code(variable: str) -> bool:
    """Return whether a variable decides which code runs."""
    return bool(_DECIDING.fullmatch(variable))


def _is_own(name: str, project: Composed) -> bool:
    """Return whether a service is production's, is built here, or runs an image of this project."""
    service = project.services[name]
    image = str(service.get("image") or "")
    repository = re.sub(r"@.*|:[^/]*$", "", image)
    named = repository.rpartition("/")[2] == project.name
    return name == PRODUCTION or service.get("build") is not None or named or image in project.aliases


def _as_image(service: Mapping[str, Any], around: _Around) -> Iterator[_Wrong]:
    """Judge a service that must run the production image as it is."""
    wanted = f"{around.project.name}:{TARGET}"
    image = service.get("image")
    if re.sub(r"^((index\.)?docker\.io/)?(library/)?", "", str(image)) != wanted:
        yield _Wrong(rules.COMPOSE_IMAGE, f"image {image}", f"runs that instead of {wanted}")
    if service.get("build") is not None:
        yield from _keys(service["build"], BUILD, around, rules.COMPOSE_IMAGE, "build.")
        if (target := service["build"].get("target")) != TARGET:
            yield _Wrong(rules.COMPOSE_IMAGE, f"target {target}", f"builds that instead of {TARGET}")
    yield from _keys(service, KEYS, around, rules.COMPOSE_KEY)


def _as_foreign(service: Mapping[str, Any], around: _Around) -> Iterator[_Wrong]:
    """Judge whether a service with an image of others can reach production's code."""
    yield from _keys({key: service[key] for key in FOREIGN.keys() & service}, FOREIGN, around, rules.COMPOSE_REACH)


def _keys(given: Mapping[str, Any], table: _Table, around: _Around, rule: Rule, of: str = "") -> Iterator[_Wrong]:
    """Judge each key that is set, by a table."""
    for key, value in sorted(given.items()):
        # An empty value is the image's own; but an empty entrypoint is one.
        if key.startswith("x-") or value is None or (not value and key != "entrypoint"):
            continue
        judge = table.get(key, "has this key, which is not on the list of keys that leave the image as it is")
        if isinstance(judge, str):
            yield _Wrong(rule, f"{of}{key}", judge)
        elif judge:
            yield from judge(value, around)


def _context(value: str, around: _Around) -> Iterator[_Wrong]:
    if around.project.real.get(value, value) != around.project.root:
        yield _Wrong(rules.COMPOSE_IMAGE, f"build.context {value}", "is built from another folder")


def _dockerfile(value: str, around: _Around) -> Iterator[_Wrong]:
    if value not in {"Dockerfile", "./Dockerfile", f"{around.project.root}/Dockerfile"}:
        yield _Wrong(rules.COMPOSE_IMAGE, f"build.dockerfile {value}", "is built by another Dockerfile")


def _arguments(value: Mapping[str, Any], _around: _Around) -> Iterator[_Wrong]:
    for name in sorted(set(value) - set(ARGUMENTS)):
        yield _Wrong(rules.COMPOSE_IMAGE, f"build.args {name}", "is built with an argument that production has not")


def _platforms(value: list[str], around: _Around) -> Iterator[_Wrong]:
    for platform in value:
        yield from _platform(platform, around)


def _platform(value: str, around: _Around) -> Iterator[_Wrong]:
    document = around.declaration.document
    parts = [document.get(name) or "" for name in ("os", "architecture", "variant")]
    if value not in {"/".join(parts[:2]), "/".join(parts).rstrip("/")}:
        yield _Wrong(rules.COMPOSE_IMAGE, f"platform {value}", f"runs that instead of {'/'.join(parts[:2])}")


def _as_declared(key: str, setting: str, default: str | list[str]) -> _Judge:
    """Return the judge of a key that replaces a setting of the image: where the image has none, it has a default."""

    def judge(value: object, around: _Around) -> Iterator[_Wrong]:
        if value != (around.declaration.config.get(setting) or default):
            yield _Wrong(rules.COMPOSE_KEY, key, f"replaces what the image declares as its {setting}")

    return judge


def _one_of(key: str, *values: str) -> _Judge:
    """Return the judge of a key that may have few values."""

    def judge(value: object, _around: _Around) -> Iterator[_Wrong]:
        if value not in values:
            yield _Wrong(rules.COMPOSE_KEY, key, f"sets it to {value}, and it must be {' or '.join(values)}")

    return judge


def _network(value: str, _around: _Around) -> Iterator[_Wrong]:
    if value not in {"bridge", "default", "none"} and not value.startswith("service:"):
        yield _Wrong(rules.COMPOSE_KEY, "network_mode", f"sets it to {value}, a network that is not of this project")


def _healthcheck(value: Mapping[str, Any], around: _Around) -> Iterator[_Wrong]:
    """Judge a health check: its times may be others, what it runs may not."""
    declared = around.declaration.config.get("Healthcheck") or {}
    test = value.get("test")
    other = sorted(set(value) - {"disable", "interval", "retries", "start_interval", "start_period", "test", "timeout"})
    if value.get("disable") or (test and list(test) != list(declared.get("Test") or ())) or other:
        yield _Wrong(rules.COMPOSE_KEY, "healthcheck", "has another health check than the image declares")


def _security(value: Iterable[str], _around: _Around) -> Iterator[_Wrong]:
    for option in value:
        if not re.fullmatch(r"no-new-privileges([:=]true)?|apparmor[:=]docker-default|seccomp[:=]builtin", option):
            yield _Wrong(rules.COMPOSE_KEY, "security_opt", f"has {option}, which may loosen what confines it")


def _deploy(value: Mapping[str, Any], around: _Around) -> Iterator[_Wrong]:
    yield from _keys(value, DEPLOY, around, rules.COMPOSE_KEY, "deploy.")
    for kind, resources in (value.get("resources") or {}).items():
        for name in sorted(set(resources or {}) - {"cpus", "memory", "pids"}):
            yield _Wrong(rules.COMPOSE_KEY, f"deploy.resources.{kind}.{name}", "is given devices")


def _variables(value: Mapping[str, str | None], around: _Around) -> Iterator[_Wrong]:
    """Judge variables by their names, whether set or only handed on; what the image sets alike is allowed."""
    declared = set(around.declaration.config.get("Env") or ())
    for name, text in sorted(value.items()):
        if f"{name}={text}" in declared or (name in around.variables and not decides_code(name)):
            continue
        why = "no field of `Settings`, and not in `environment` under [tool.prodlock]"
        if decides_code(name):
            why = "and so decides which code runs"
        yield _Wrong(rules.COMPOSE_VARIABLE, name, f"sets it, {why}")


def _volumes(value: Iterable[Mapping[str, Any]], around: _Around) -> Iterator[_Wrong]:
    for mount in value:
        target = str(mount.get("target") or "")
        sources = list(_sources(mount, around.project))
        what = f"{sources[0] if sources else mount.get('source') or mount.get('type')}:{target}"
        root = around.project.root
        if any(_is_within(source, root) or _is_within(root, source) for source in sources):
            yield _Wrong(rules.COMPOSE_MOUNT, what, "mounts it from the working tree")
        elif any(map(_controls, sources)):
            yield _Wrong(rules.COMPOSE_MOUNT, what, "mounts it, by which the Engine can be controlled")
        elif why := _covers(target, around):
            yield _Wrong(rules.COMPOSE_MOUNT, what, f"mounts it {why}")


def _tmpfs(value: str | Iterable[str], around: _Around) -> Iterator[_Wrong]:
    for one in [value] if isinstance(value, str) else value:
        target, _, options = one.partition(":")
        if why := _covers(target, around):
            yield _Wrong(rules.COMPOSE_MOUNT, f"tmpfs:{target}", f"mounts it {why}")
        if loose := {"dev", "exec", "suid"} & set(options.split(",")):
            why = f"lets programs be run from it ({', '.join(sorted(loose))})"
            yield _Wrong(rules.COMPOSE_KEY, f"tmpfs {target}", why)


def _files(base: str) -> _Judge:
    """Return the judge of secrets or configs, whose targets are relative to a folder."""

    def judge(value: Iterable[Mapping[str, Any]], around: _Around) -> Iterator[_Wrong]:
        for one in value:
            given = str(one.get("target") or one.get("source") or "")
            target = given if given.startswith("/") else base + given
            if why := _covers(target, around):
                yield _Wrong(rules.COMPOSE_MOUNT, f"{one.get('source')}:{target}", f"mounts it {why}")

    return judge


def _covers(target: str, around: _Around) -> str:
    """Return how a mount at a path of the container changes which code runs, or `` where it does not."""
    if not target.startswith("/"):
        return "at a path that is not absolute"
    path = resolved(target, around.links)
    if any(one.startswith("/") and (_is_within(path, one) or _is_within(one, path)) for one in around.searched):
        return f"over a folder that the image's variables name, at {path}"
    if path == "/tmp" or path.startswith("/tmp/"):  # noqa: S108 - of the container
        return ""
    if path == "/" or path in around.paths or any(one.startswith(f"{path}/") for one in around.paths):
        return f"over what the image has at {path}"
    top = path.split("/")[1]
    has_code = top in _CODE or any(one.split("/")[1] == top for one in around.paths)
    if has_code and top not in _DATA and path not in _ENGINES:
        return f"below /{top}, where code and what decides which code runs is looked for"
    return ""


def resolved(path: str, links: Mapping[str, str]) -> str:
    """Return an absolute path of a container without `.`, `..` and links, as the Engine follows them."""
    left, at, followed = path.split("/")[::-1], "", 0
    while left:
        part = left.pop()
        if part == "..":
            at = at.rpartition("/")[0]
        elif part not in {"", "."}:
            target = links.get(f"{at}/{part}")
            followed += target is not None
            if target is None or followed > _MOST_LINKS:
                at = f"{at}/{part}"
            else:
                at = "" if target.startswith("/") else at
                left += target.split("/")[::-1]
    return at or "/"


def _sources(mount: Mapping[str, Any], project: Composed) -> Iterator[str]:
    """Give the places of this machine that a mount shows, without symlinks."""
    source = str(mount.get("source") or "")
    shown = _devices(project.volume(source)) if mount.get("type") == "volume" else [source] if source else []
    yield from (project.real.get(place, place) for place in shown)


def _devices(volume: Mapping[str, Any]) -> list[str]:
    """Return the paths that the local driver hands to mount(8) for a named volume."""
    options = volume.get("driver_opts") or {}
    named = [str(options.get("device") or ""), *re.split(r"[,=:]", str(options.get("o") or ""))]
    return [place for place in named if place.startswith("/") or re.match(r"[A-Za-z]:\\", place)]


def _controls(place: str) -> bool:
    """Return whether the Engine can be controlled by a place of this machine."""
    return _parts(place)[-1] in _SOCKETS or any(_is_within(place, one) or _is_within(one, place) for one in _CONTROL)


def _is_within(place: str, folder: str) -> bool:
    """Return whether a path of this machine is a folder or below it, by either system's separators."""
    parts = _parts(folder)
    return _parts(place)[: len(parts)] == parts


def _parts(place: str) -> list[str]:
    # Windows knows no case.
    known = place.lower() if re.match(r"[A-Za-z]:", place) else place
    return re.split(r"[\\/]+", known.rstrip("\\/"))


def _foreign_volumes(value: Iterable[Mapping[str, Any]], around: _Around) -> Iterator[_Wrong]:
    for mount in value:
        for source in _sources(mount, around.project):
            yield from _reached(source, str(mount.get("target") or ""), around)


def _foreign_files(kind: str) -> _Judge:
    def judge(value: Iterable[Mapping[str, Any]], around: _Around) -> Iterator[_Wrong]:
        declared = around.project.document.get(kind) or {}
        for one in value:
            file = str((declared.get(one.get("source")) or {}).get("file") or "")
            if file:
                target = str(one.get("target") or one.get("source"))
                yield from _reached(around.project.real.get(file, file), target, around)

    return judge


def _reached(source: str, target: str, around: _Around) -> Iterator[_Wrong]:
    """Judge a place of this machine that an image of others is shown."""
    shipped = [f"{around.project.root}/{path}" for path in SOURCES]
    if any(_is_within(source, path) or _is_within(path, source) for path in shipped):
        yield _Wrong(rules.COMPOSE_REACH, f"{source}:{target}", "mounts the service's sources into an image of others")
    elif _controls(source):
        yield _Wrong(rules.COMPOSE_REACH, f"{source}:{target}", "mounts it, by which the Engine can be controlled")


def _namespace(key: str) -> _Judge:
    """Return the judge of a key by which a container can be in a namespace of the machine or of another container."""

    def judge(value: str, _around: _Around) -> Iterator[_Wrong]:
        if value == "host" or value.startswith(("container:", "service:")):
            yield _Wrong(rules.COMPOSE_REACH, key, f"sets it to {value}: it is not in a namespace of its own")

    return judge


def _capabilities(value: Iterable[str], _around: _Around) -> Iterator[_Wrong]:
    for name in value:
        if name.upper().removeprefix("CAP_") not in _CAPABILITIES:
            yield _Wrong(rules.COMPOSE_REACH, "cap_add", f"has {name}, by which it may leave its container")


# What the Engine grants by default (https://docs.docker.com/engine/containers/run/#runtime-privilege-and-linux-capabilities),
# so that a service may take it back after `cap_drop: [ALL]`, and what stays within the container as well.
_CAPABILITIES = frozenset(
    ("AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "IPC_LOCK", "KILL", "MKNOD", "NET_ADMIN",
     "NET_BIND_SERVICE", "NET_RAW", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT", "SYS_NICE", "SYS_RESOURCE")
)  # fmt: skip

_DEVICES = "is given devices of the machine"
_NAMESPACE = "is not in a namespace of its own"
_OTHERS_MOUNTS = "takes the mounts of other containers, which are not listed here"
_SOCKET = "mounts the Engine's socket, by which the Engine can be controlled"
_PROVIDER = "is started by a program of the machine instead of from an image"

# Every key of a service that runs the image. One that is not here is a finding.
KEYS: _Table = {
    # Judged by `_as_image`.
    "build": None,
    "image": None,
    # Another program, or another one beside the image's.
    "command": _as_declared("command", "Cmd", []),
    "entrypoint": _as_declared("entrypoint", "Entrypoint", []),
    "healthcheck": _healthcheck,
    "init": "runs an init program of the Engine's as process 1 instead of the image's",
    "post_start": "runs commands that the image does not declare",
    "pre_stop": "runs commands that the image does not declare",
    "provider": _PROVIDER,
    "runtime": _one_of("runtime", "runc", "io.containerd.runc.v2"),
    "stop_signal": _as_declared("stop_signal", "StopSignal", "SIGTERM"),
    "user": _as_declared("user", "User", "root"),
    "working_dir": _as_declared("working_dir", "WorkingDir", "/"),
    "platform": _platform,
    "pull_policy": _one_of("pull_policy", "build", "if_not_present", "missing", "never"),
    "pull_refresh_after": "pulls another image than the one that is checked",
    # Other files.
    "configs": _files("/"),
    "develop": "copies files of the working tree into the container",
    "secrets": _files("/run/secrets/"),
    "tmpfs": _tmpfs,
    "volumes": _volumes,
    "volumes_from": _OTHERS_MOUNTS,
    # Variables. Compose resolves `env_file` into `environment`.
    "env_file": "reads variables that Compose has not resolved",
    "environment": _variables,
    "models": "is given variables that are not listed here",
    # Applied by Compose already.
    "extends": None,
    # More than the Engine grants by default.
    "annotations": "is given annotations, which can make a runtime run other programs",
    "cap_add": "is given capabilities, and the service needs none",
    "cgroup": _one_of("cgroup", "private"),
    "credential_spec": "is given credentials of the machine's",
    "device_cgroup_rules": _DEVICES,
    "devices": _DEVICES,
    "gpus": _DEVICES,
    "group_add": "is in more groups than the image declares",
    "ipc": _one_of("ipc", "none", "private", "shareable"),
    "isolation": "has another isolation than the Engine's default",
    "network_mode": _network,
    "pid": _NAMESPACE,
    "privileged": "may do whatever the machine's administrator may",
    "security_opt": _security,
    "use_api_socket": _SOCKET,
    "userns_mode": _NAMESPACE,
    "uts": _NAMESPACE,
    # Less than that.
    "cap_drop": None,
    "read_only": None,
    # Limits. The Engine refuses kernel parameters that are not the container's own.
    "blkio_config": None,
    "cgroup_parent": None,
    "cpu_count": None,
    "cpu_percent": None,
    "cpu_period": None,
    "cpu_quota": None,
    "cpu_rt_period": None,
    "cpu_rt_runtime": None,
    "cpu_shares": None,
    "cpus": None,
    "cpuset": None,
    "mem_limit": None,
    "mem_reservation": None,
    "mem_swappiness": None,
    "memswap_limit": None,
    "oom_kill_disable": None,
    "oom_score_adj": None,
    "pids_limit": None,
    "shm_size": None,
    "storage_opt": None,
    "sysctls": None,
    "ulimits": None,
    # The network.
    "container_name": None,
    "dns": None,
    "dns_opt": None,
    "dns_search": None,
    "domainname": None,
    "expose": None,
    "external_links": None,
    "extra_hosts": None,
    "hostname": None,
    "links": None,
    "mac_address": None,
    "networks": None,
    "ports": None,
    # When and how often it runs, and what is recorded of it.
    "attach": None,
    "depends_on": None,
    "deploy": _deploy,
    "label_file": None,
    "labels": None,
    "logging": None,
    "profiles": None,
    "restart": None,
    "scale": None,
    "stdin_open": None,
    "stop_grace_period": None,
    "tty": None,
}

# Every key of how the image is built: what decides its content must be as `inv build` has it.
BUILD: _Table = {
    "args": _arguments,
    "context": _context,
    "dockerfile": _dockerfile,
    "platforms": _platforms,
    # Judged with its absence.
    "target": None,
    # How the steps run, and what is written beside the image.
    "secrets": None,
    "cache_to": None,
    "extra_hosts": None,
    "network": None,
    "no_cache": None,
    "no_cache_filter": None,
    "provenance": None,
    "pull": None,
    "sbom": None,
    "shm_size": None,
    "ulimits": None,
    "additional_contexts": "is built with stages or folders in place of the Dockerfile's",
    "cache_from": "is built from layers of a cache that others have written",
    "dockerfile_inline": "is built by another Dockerfile",
    "entitlements": "is built with more rights than the Engine's default",
    "isolation": "is built with another isolation than the Engine's default",
    "labels": "is built with labels that production has not",
    "privileged": "is built with more rights than the Engine's default",
    "ssh": "is built with keys of the machine's",
    "tags": "gives the image further names, which others may run or build on",
}

DEPLOY: _Table = {
    "endpoint_mode": None,
    "labels": None,
    "mode": None,
    "placement": None,
    "replicas": None,
    # Judged by `_deploy`.
    "resources": None,
    "restart_policy": None,
    "rollback_config": None,
    "update_config": None,
}

# Keys by which a service with an image of others can reach production's containers or the machine.
FOREIGN: _Table = {
    "cap_add": _capabilities,
    "cgroup": _namespace("cgroup"),
    "configs": _foreign_files("configs"),
    "device_cgroup_rules": _DEVICES,
    "devices": _DEVICES,
    "ipc": _namespace("ipc"),
    "pid": _namespace("pid"),
    "privileged": "may do whatever the machine's administrator may",
    "provider": _PROVIDER,
    "secrets": _foreign_files("secrets"),
    "use_api_socket": _SOCKET,
    "userns_mode": _namespace("userns_mode"),
    "volumes": _foreign_volumes,
    "volumes_from": _OTHERS_MOUNTS,
}
