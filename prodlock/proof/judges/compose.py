"""Judge what `docker compose --profile prod up` would run, by allow-lists.

The image is a closed world; so is what Compose adds to it. Each key of a service that runs the image must be one that
does not change the image's program, each mount must be where the image has no code, and each variable must be one that
the service reads. Other images, such as a database, are not judged, but must not reach production's code.

The keys are those of https://github.com/compose-spec/compose-spec/blob/main/schema/compose-spec.json, as Compose 2.26
to 2.40 resolves them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from prodlock import variables
from prodlock.image.records import Declaration, matches, platform_of
from prodlock.proof import rules
from prodlock.proof.judges import mounts
from prodlock.proof.records import ComposeProject, ExpectedContents
from prodlock.proof.rules import Finding, Rule

# The service that must run the image, and the target that it is built from.
PRODUCTION = "api-prod"
TARGET = "prod"
# What the Dockerfile's last stage declares as arguments, and the time that BuildKit reads.
ARGUMENTS = ("CREATED", "REVISION", "SOURCE", "SOURCE_DATE_EPOCH", "VERSION")
# The health check that a further command may have: its container runs.
RUNNING = ("CMD", "python", "-S", "-c", "")


class _Violation(NamedTuple):
    """The rule that a service breaks, what breaks it, and how, as the end of a sentence about the service."""

    rule: Rule
    what: str
    why: str


@dataclass(frozen=True)
class _Context:
    """Facts that the judgement of one key depends on."""

    project: ComposeProject
    declaration: Declaration
    image: mounts.FileSystem
    # The names of allowed variables.
    variables: frozenset[str]
    # The further command of the image that the service runs, as pyproject.toml declares it.
    words: tuple[str, ...] = ()


# Yields what is wrong with a key's value.
_Judge = Callable[[Any, _Context], Iterator[_Violation]]
# How keys are judged. None: no value of the key changes the code that runs. A text: every value does, and how.
_Table = Mapping[str, _Judge | str | None]


def judge(
    project: ComposeProject, declaration: Declaration, expected: ExpectedContents, environment: Iterable[str]
) -> list[Finding]:
    """Return where the services run something else than the image, or may.

    Takes what the Dockerfile declares, what the image must contain, and the variables that pyproject.toml allows. A
    finding names the override file where the Compose file alone does not have it.
    """
    links = {one.path: one.content for entries in expected.entries.values() for one in entries if one.kind == "link"}
    settings = (str(one).partition("=") for one in declaration.config.get("Env") or ())
    searched = (value.split(":") for name, _, value in settings if variables.decides_code(name))
    image = mounts.FileSystem(frozenset(expected.entries), links, frozenset(place for one in searched for place in one))
    allowed = project.variables.union(variables.LOCALE, environment)
    base = project.without_override
    known = set(_violations(_Context(base, declaration, image, allowed))) if base else set()
    return [
        Finding(
            violation.rule,
            violation.what,
            base.file if base and (name, violation) in known else project.file,
            "",
            f"the service {name} {violation.why}",
        )
        for name, violation in _violations(_Context(project, declaration, image, allowed))
    ]


def _violations(context: _Context) -> Iterator[tuple[str, _Violation]]:
    """Yield each violation with the name of its service."""
    for name, service in sorted(context.project.services.items()):
        judged = _as_image if _is_own(name, context.project) else _as_foreign
        own = replace(context, words=context.project.commands.get(name, ()))
        yield from ((name, violation) for violation in judged(service, own))


def unjudged(project: ComposeProject) -> dict[str, str]:
    """Return the images that are not built here, and so are not judged, by the name of their service."""
    services = sorted(project.services.items())
    return {name: str(one.get("image") or "no image") for name, one in services if not _is_own(name, project)}


def _is_own(name: str, project: ComposeProject) -> bool:
    """Return whether a service is production's, is built here, or runs an image of this project."""
    service = project.services[name]
    image = str(service.get("image") or "")
    repository = re.sub(r"@.*|:[^/]*$", "", image)
    named = repository.rpartition("/")[2] == project.name
    return name == PRODUCTION or service.get("build") is not None or named or image in project.aliases


def _as_image(service: Mapping[str, Any], context: _Context) -> Iterator[_Violation]:
    """Judge a service that must run the production image unchanged."""
    wanted = f"{context.project.name}:{TARGET}"
    image = service.get("image")
    if re.sub(r"^((index\.)?docker\.io/)?(library/)?", "", str(image)) != wanted:
        yield _Violation(rules.COMPOSE_IMAGE, f"image {image}", f"runs that instead of {wanted}")
    if service.get("build") is not None:
        yield from _keys(service["build"], BUILD, context, rules.COMPOSE_IMAGE, "build.")
        if (target := service["build"].get("target")) != TARGET:
            yield _Violation(rules.COMPOSE_IMAGE, f"target {target}", f"builds that instead of {TARGET}")
    yield from _keys(service, KEYS, context, rules.COMPOSE_KEY)


def _as_foreign(service: Mapping[str, Any], context: _Context) -> Iterator[_Violation]:
    """Judge whether a service with another image can reach production's code."""
    yield from _keys({key: service[key] for key in FOREIGN.keys() & service}, FOREIGN, context, rules.COMPOSE_REACH)


def _keys(given: Mapping[str, Any], table: _Table, context: _Context, rule: Rule, of: str = "") -> Iterator[_Violation]:
    """Judge each key that is set, by a table."""
    for key, value in sorted(given.items()):
        # Without a value the image's own applies; an empty entrypoint replaces it.
        if key.startswith("x-") or value is None or (not value and key != "entrypoint"):
            continue
        judge = table.get(key, "has this key, which is not on the list of keys that do not change what the image runs")
        if isinstance(judge, str):
            yield _Violation(rule, f"{of}{key}", judge)
        elif judge:
            yield from judge(value, context)


def _context(value: str, context: _Context) -> Iterator[_Violation]:
    if context.project.real.get(value, value) != context.project.root:
        yield _Violation(rules.COMPOSE_IMAGE, f"build.context {value}", "is built from another folder")


def _dockerfile(value: str, context: _Context) -> Iterator[_Violation]:
    name = context.project.dockerfile
    if value not in {name, f"./{name}", f"{context.project.root}/{name}"}:
        yield _Violation(rules.COMPOSE_IMAGE, f"build.dockerfile {value}", "is built by another Dockerfile")


def _arguments(value: Mapping[str, Any], _context: _Context) -> Iterator[_Violation]:
    for name in sorted(set(value) - set(ARGUMENTS)):
        yield _Violation(
            rules.COMPOSE_IMAGE, f"build.args {name}", "is built with an argument that production does not have"
        )


def _platforms(value: list[str], context: _Context) -> Iterator[_Violation]:
    for platform in value:
        yield from _platform(platform, context)


def _platform(value: str, context: _Context) -> Iterator[_Violation]:
    declared = platform_of(context.declaration.document)
    if not matches(declared, value):
        yield _Violation(rules.COMPOSE_IMAGE, f"platform {value}", f"runs that instead of {declared}")


def _as_declared(key: str, setting: str, default: str | list[str]) -> _Judge:
    """Return the judge of a key that replaces a setting of the image; without one, the default applies."""

    def judge(value: object, context: _Context) -> Iterator[_Violation]:
        if value != (context.declaration.config.get(setting) or default):
            yield _Violation(rules.COMPOSE_KEY, key, f"replaces what the image declares as its {setting}")

    return judge


def _command(value: Iterable[str], context: _Context) -> Iterator[_Violation]:
    """Judge a command: the image's own, or the one that pyproject.toml declares for the service."""
    if not context.words:
        yield from _as_declared("command", "Cmd", [])(value, context)
    elif tuple(value) != context.words:
        yield _Violation(rules.COMPOSE_KEY, "command", "replaces what `commands` in [tool.prodlock] has for it")


def _one_of(key: str, *values: str) -> _Judge:
    """Return the judge of a key that may have few values."""

    def judge(value: object, _context: _Context) -> Iterator[_Violation]:
        if value not in values:
            yield _Violation(rules.COMPOSE_KEY, key, f"sets it to {value}, and it must be {' or '.join(values)}")

    return judge


def _network(value: str, _context: _Context) -> Iterator[_Violation]:
    if value not in {"bridge", "default", "none"} and not value.startswith("service:"):
        yield _Violation(
            rules.COMPOSE_KEY, "network_mode", f"sets it to {value}, a network that is not of this project"
        )


def _networks(value: Iterable[str], context: _Context) -> Iterator[_Violation]:
    defined = context.project.document.get("networks") or {}
    for name in sorted(value):
        network = defined.get(name) or {}
        if "host" in {network.get("name"), network.get("driver")}:
            yield _Violation(rules.COMPOSE_KEY, f"networks.{name}", "is in the machine's own network")


def _healthcheck(value: Mapping[str, Any], context: _Context) -> Iterator[_Violation]:
    """Judge a health check: its times may differ, its command may not. A further command may have none."""
    if context.words and dict(value) in ({"disable": True}, {"test": list(RUNNING)}):
        return
    declared = context.declaration.config.get("Healthcheck") or {}
    test = value.get("test")
    other = sorted(set(value) - {"disable", "interval", "retries", "start_interval", "start_period", "test", "timeout"})
    if value.get("disable") or (test and list(test) != list(declared.get("Test") or ())) or other:
        yield _Violation(rules.COMPOSE_KEY, "healthcheck", "has another health check than the image declares")


def _security(value: Iterable[str], _context: _Context) -> Iterator[_Violation]:
    for option in value:
        if not re.fullmatch(r"no-new-privileges([:=]true)?|apparmor[:=]docker-default|seccomp[:=]builtin", option):
            yield _Violation(rules.COMPOSE_KEY, "security_opt", f"has {option}, which may loosen what confines it")


def _deploy(value: Mapping[str, Any], context: _Context) -> Iterator[_Violation]:
    yield from _keys(value, DEPLOY, context, rules.COMPOSE_KEY, "deploy.")
    for kind, resources in (value.get("resources") or {}).items():
        for name in sorted(set(resources or {}) - {"cpus", "memory", "pids"}):
            yield _Violation(rules.COMPOSE_KEY, f"deploy.resources.{kind}.{name}", "is given devices")


def _variables(value: Mapping[str, str | None], context: _Context) -> Iterator[_Violation]:
    """Judge variables by their names, set or passed on. Those that the image sets to the same value are allowed."""
    declared = set(context.declaration.config.get("Env") or ())
    for name, text in sorted(value.items()):
        if f"{name}={text}" in declared or (name in context.variables and not variables.decides_code(name)):
            continue
        why = "no field of `Settings`, and not in `environment` under [tool.prodlock]"
        if variables.decides_code(name):
            why = "and so decides which code runs"
        yield _Violation(rules.COMPOSE_VARIABLE, name, f"sets it, {why}")


def _volumes(value: Iterable[Mapping[str, Any]], context: _Context) -> Iterator[_Violation]:
    for mount in value:
        target = str(mount.get("target") or "")
        sources = list(mounts.host_places(mount, context.project))
        what = f"{sources[0] if sources else mount.get('source') or mount.get('type')}:{target}"
        root = context.project.root
        if any(mounts.is_within(source, root) or mounts.is_within(root, source) for source in sources):
            yield _Violation(rules.COMPOSE_MOUNT, what, "mounts it from the working tree")
        elif any(map(mounts.controls_engine, sources)):
            yield _Violation(rules.COMPOSE_MOUNT, what, "mounts it, by which the Engine can be controlled")
        elif not mounts.is_time_zone(mount, sources) and (why := mounts.covers(target, context.image)):
            yield _Violation(rules.COMPOSE_MOUNT, what, f"mounts it {why}")


def _tmpfs(value: str | Iterable[str], context: _Context) -> Iterator[_Violation]:
    for one in [value] if isinstance(value, str) else value:
        target, _, options = one.partition(":")
        if why := mounts.covers(target, context.image):
            yield _Violation(rules.COMPOSE_MOUNT, f"tmpfs:{target}", f"mounts it {why}")
        if loose := {"dev", "exec", "suid"} & set(options.split(",")):
            why = f"lets programs be run from it ({', '.join(sorted(loose))})"
            yield _Violation(rules.COMPOSE_KEY, f"tmpfs {target}", why)


def _files(base: str) -> _Judge:
    """Return the judge of secrets or configs, whose targets are relative to a folder."""

    def judge(value: Iterable[Mapping[str, Any]], context: _Context) -> Iterator[_Violation]:
        for one in value:
            given = str(one.get("target") or one.get("source") or "")
            target = given if given.startswith("/") else base + given
            if why := mounts.covers(target, context.image):
                yield _Violation(rules.COMPOSE_MOUNT, f"{one.get('source')}:{target}", f"mounts it {why}")

    return judge


def _foreign_volumes(value: Iterable[Mapping[str, Any]], context: _Context) -> Iterator[_Violation]:
    for mount in value:
        target = str(mount.get("target") or "")
        for source in mounts.host_places(mount, context.project):
            found = list(_reached(source, target, context))
            if not found and not mount.get("read_only") and mounts.is_of_system(source):
                why = "can write to it, by which the machine can be controlled"
                found = [_Violation(rules.COMPOSE_REACH, f"{source}:{target}", why)]
            yield from found


def _foreign_files(kind: str) -> _Judge:
    def judge(value: Iterable[Mapping[str, Any]], context: _Context) -> Iterator[_Violation]:
        declared = context.project.document.get(kind) or {}
        for one in value:
            file = str((declared.get(one.get("source")) or {}).get("file") or "")
            if file:
                target = str(one.get("target") or one.get("source"))
                yield from _reached(context.project.real.get(file, file), target, context)

    return judge


def _reached(source: str, target: str, context: _Context) -> Iterator[_Violation]:
    """Judge a place of this machine that is mounted into another image."""
    shipped = [f"{context.project.root}/{path}" for path in context.project.sources]
    if any(mounts.is_within(source, path) or mounts.is_within(path, source) for path in shipped):
        yield _Violation(rules.COMPOSE_REACH, f"{source}:{target}", "mounts the service's sources into another image")
    elif mounts.controls_engine(source):
        yield _Violation(rules.COMPOSE_REACH, f"{source}:{target}", "mounts it, by which the Engine can be controlled")


def _namespace(key: str) -> _Judge:
    """Return the judge of a key by which a container can be in a namespace of the machine or of another container."""

    def judge(value: str, _context: _Context) -> Iterator[_Violation]:
        if value == "host" or value.startswith(("container:", "service:")):
            yield _Violation(rules.COMPOSE_REACH, key, f"sets it to {value}: it is not in a namespace of its own")

    return judge


def _capabilities(value: Iterable[str], _context: _Context) -> Iterator[_Violation]:
    for name in value:
        if name.upper().removeprefix("CAP_") not in _CAPABILITIES:
            yield _Violation(rules.COMPOSE_REACH, "cap_add", f"has {name}, by which it may leave its container")


def _foreign_security(value: Iterable[str], _context: _Context) -> Iterator[_Violation]:
    for option in value:
        if re.fullmatch(r"systempaths[:=]unconfined", option):
            why = f"has {option}: it can write to settings of the machine's kernel"
            yield _Violation(rules.COMPOSE_REACH, "security_opt", why)


def _hooks(key: str) -> _Judge:
    """Return the judge of commands that are run in a container beside its own, with rights of their own."""

    def judge(value: Iterable[Mapping[str, Any]], _context: _Context) -> Iterator[_Violation]:
        if any(one.get("privileged") for one in value):
            why = "has a privileged command, which may do whatever the machine's administrator may"
            yield _Violation(rules.COMPOSE_REACH, key, why)

    return judge


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

# Every key of a service that runs the image. Other keys are findings.
KEYS: _Table = {
    # Judged by `_as_image`.
    "build": None,
    "image": None,
    # Another program, or another one beside the image's.
    "command": _command,
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
    # Less than the Engine grants by default.
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
    "networks": _networks,
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

# Every key of `build`: what decides the image's content must equal what `inv build` uses.
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
    "labels": "is built with labels that production does not have",
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

# Keys by which a service with another image can reach production's containers or the machine.
FOREIGN: _Table = {
    "cap_add": _capabilities,
    "cgroup": _namespace("cgroup"),
    "configs": _foreign_files("configs"),
    "device_cgroup_rules": _DEVICES,
    "devices": _DEVICES,
    "ipc": _namespace("ipc"),
    "pid": _namespace("pid"),
    "post_start": _hooks("post_start"),
    "pre_stop": _hooks("pre_stop"),
    "privileged": "may do whatever the machine's administrator may",
    "provider": _PROVIDER,
    "secrets": _foreign_files("secrets"),
    "security_opt": _foreign_security,
    "use_api_socket": _SOCKET,
    "userns_mode": _namespace("userns_mode"),
    "volumes": _foreign_volumes,
    "volumes_from": _OTHERS_MOUNTS,
}
