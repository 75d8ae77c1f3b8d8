"""Judge that the files in deploy/ run the service with the same settings as the Compose file.

The settings are read from resolved documents: of Compose (`docker compose config`), of Swarm (`docker stack config`),
of Kubernetes (`kubectl kustomize`), of the proxy.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from prodlock.proof import rules
from prodlock.proof.judges import kubernetes, replaced, variables
from prodlock.proof.judges.compose import PRODUCTION
from prodlock.proof.judges.kubernetes import KUBERNETES, Object
from prodlock.proof.rules import Rule

STACK, PROXY_FILE, PROXIED = "deploy/stack.yml", "deploy/haproxy.cfg", "deploy/proxy.yml"
RELEASE = "deploy/release.yml"
_DIGEST_REFERENCE = re.compile(r".+@sha256:[0-9a-f]{64}")
_SETS_SCHEME = re.compile(
    r"^\s*http-request\s+set-header\s+x-forwarded-proto\s+%\[ssl_fc,iif\(https,http\)\]"
    r"(?:\s+unless\s+outer\s+scheme)?\s*(?:#.*)?$",
    re.MULTILINE | re.IGNORECASE,
)
# The two forms of a check by a request; the first one takes precedence. Without a method it is OPTIONS.
_ASKS = (
    re.compile(r"^\s*http-check\s+send\s+(?=.*\bmeth\s+(?:GET|HEAD)(?:\s|$)).*\buri\s+(\S+)", re.MULTILINE),
    re.compile(r"^\s*option\s+httpchk\s+(?:GET|HEAD)\s+(\S+)", re.MULTILINE),
)
# Units of quantities (https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/).
_UNITS = {"": Decimal(1), "m": Decimal("0.001"), "u": Decimal("0.000001"), "n": Decimal("0.000000001")}
_UNITS |= {unit: Decimal(1000) ** power for power, unit in enumerate("kMGTPE", 1)}
_UNITS |= {f"{unit}i": Decimal(1024) ** power for power, unit in enumerate("KMGTPE", 1)}

# What the restricted Pod Security Standard allows: kernel parameters, types of SELinux, kinds of volumes, a capability.
_SYSCTLS = {
    "kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start", "net.ipv4.ping_group_range", "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl", "net.ipv4.tcp_keepalive_probes", "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem", "net.ipv4.tcp_syncookies", "net.ipv4.tcp_wmem",
}  # fmt: skip
_SELINUX = {"", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"}
_VOLUMES = {
    "name", "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret",
}  # fmt: skip
_BINDS_PORTS = "NET_BIND_SERVICE"
# The keys by which deploy/release.yml runs an image instead of a build.
_OF_RELEASE = ("build", "image", "pull_policy")
# The annotations that set a container's profile before Kubernetes 1.30, and the profiles that the standard allows.
_APPARMOR, _PROFILES = "container.apparmor.security.beta.kubernetes.io/", ("runtime/default", "localhost/")

# A setting; None where a document does not have such a setting at all.
Value = str | float | tuple[str, ...] | None
# It has one, and leaves it open.
OPEN = "left open"
# Without a port, or without a check; a check that asks for no path.
NONE, CONNECTION = "none", "a connection"
# The senders whose X-Forwarded-For and X-Forwarded-Proto are trusted.
PROXY, EVERYONE = "the proxy's network", "every client"


class RunSettings(NamedTuple):
    """How a document runs the service."""

    port: Value = None
    # Numbers of user and group, as USER:GROUP.
    user: Value = None
    # The paths of the probes.
    health: Value = None
    ready: Value = None
    # Seconds from the signal to stop until the service is killed.
    grace: Value = None
    # Bytes, and cores.
    memory: Value = None
    cpus: Value = None
    read_only: Value = None
    dropped: Value = None
    added: Value = None
    # Who is trusted with a client's address and scheme, and the path that a proxy strips.
    forwarded: Value = None
    root_path: Value = None
    # The words that replace the image's own command, and whether they run to their end.
    command: Value = None
    once: Value = None
    # The image, where another workload has the same one.
    image: Value = None


# How messages name each of them.
LABELS = RunSettings(
    port="the port",
    user="the user and group",
    health="the path of the liveness probe",
    ready="the path of the readiness probe",
    grace="the grace period in seconds",
    memory="the memory limit in bytes",
    cpus="the limit of CPU cores",
    read_only="the read-only root",
    dropped="the dropped capabilities",
    added="the added capabilities",
    forwarded="the sender of trusted forwarded headers",
    root_path="the stripped path",
    command="the command",
    once="`once`",
    image="the image",
)


class Command(NamedTuple):
    """A further command that pyproject.toml declares, and the name of its workload in Kubernetes."""

    name: str
    words: tuple[str, ...]
    once: bool
    workload: str


class Deployment(NamedTuple):
    """What the files in deploy/ state, resolved."""

    # The name of the Compose file, and how it runs the service.
    base: str
    reference: RunSettings
    # How each other file does, by its name.
    others: Mapping[str, RunSettings]
    images: Mapping[str, str]
    objects: list[Mapping[str, Any]]
    # What the schemas do not allow, a sentence each.
    invalid: list[str]
    # Variables of the service's settings that the Compose file does not hand on, a sentence each.
    dropped: Mapping[str, str]
    # The services of the stack, and the further commands that pyproject.toml declares.
    services: Mapping[str, Any] = {}
    commands: Sequence[Command] = ()
    # Objects that are not applied before a user adds their file to the kustomization.
    examples: Sequence[Mapping[str, Any]] = ()
    # The variables that each file hands on to the service, that of Compose first, and those that a Secret has.
    variables: Sequence[variables.Variables] = ()
    secrets: Collection[str] = ()
    # The named volumes of the stack.
    volumes: Mapping[str, Any] = {}
    # The services of the stack before their variables are interpolated.
    written: Mapping[str, Any] = {}
    # The services of the Compose file, and of it with deploy/proxy.yml and with deploy/release.yml.
    composed: Mapping[str, Any] = {}
    proxied: Mapping[str, Any] = {}
    released: Mapping[str, Any] = {}


class Mistake(NamedTuple):
    """A rule that a file breaks, and what must be otherwise: file, requirement, what was found, remedy."""

    rule: Rule
    sentence: str


def judge(evidence: Deployment) -> list[Mistake]:
    """Return each setting that is not valid, or not as the Compose file has it."""
    objects, commands = evidence.objects, evidence.commands
    ours, all_objects = _ours(evidence), (*objects, *evidence.examples)
    judged: tuple[tuple[Rule, Iterable[str]], ...] = (
        (rules.DEPLOY_SCHEMA, evidence.invalid),
        (rules.DEPLOY_VARIABLE, evidence.dropped.values()),
        (rules.DEPLOY_SETTING, differences(evidence.reference, evidence.others, evidence.base)),
        (rules.DEPLOY_TAG, unpinned_images(evidence.images)),
        (rules.DEPLOY_RESTRICTED, unmet_restrictions(objects, commands)),
        (rules.DEPLOY_REFERENCE, kubernetes.unfit_references(all_objects, ours)),
        (rules.DEPLOY_TOKEN, kubernetes.mounted_tokens(all_objects, ours)),
        (rules.DEPLOY_VARIABLE, other_variables(evidence)),
        (rules.DEPLOY_PROGRAM, other_programs(evidence)),
        (rules.DEPLOY_SETTING, wrong_startup(evidence)),
        (rules.DEPLOY_LAYER, changed_services(evidence)),
        (rules.DEPLOY_RELEASE, built_releases(evidence.released, commands)),
        (rules.DEPLOY_COMMAND, wrong_commands(evidence)),
        (rules.DEPLOY_UNDECLARED, undeclared_services(STACK, evidence.services, commands)),
        (rules.DEPLOY_UNDECLARED, undeclared_workloads(objects, commands)),
    )
    return [Mistake(rule, sentence) for rule, sentences in judged for sentence in sentences]


def of_image(dockerfile: str, health: str, ready: str) -> RunSettings:
    """Return the settings of the image: from the Dockerfile's last stage, and the paths of the probes, if any."""
    last = re.split(r"^\s*FROM\s", dockerfile, flags=re.MULTILINE | re.IGNORECASE)[-1]
    return RunSettings(
        port=int(_found(r"^\s*EXPOSE\s+(\d+)", last, "EXPOSE with a port in the Dockerfile's last stage")),
        user=_found(r"^\s*USER\s+(\S+)", last, "USER in the Dockerfile's last stage"),
        health=health or CONNECTION,
        ready=ready or CONNECTION,
    )


def of_proxy(configuration: str) -> RunSettings:
    """Return the settings that HAProxy's configuration expects of its servers."""
    # Another backend may have other servers.
    sections = re.split(r"^(?=[a-z])", configuration, flags=re.MULTILINE)
    server = re.compile(rf"^\s*server\S* .*\b{PRODUCTION}:", re.MULTILINE)
    backend = next(filter(server.search, sections), configuration)
    asked = next(filter(None, (form.search(backend) for form in _ASKS)), None)
    return RunSettings(
        port=int(_found(r"^\s*server\S* .*:(\d+)", backend, f"server with a port in {PROXY_FILE}")),
        ready=asked[1] if asked else CONNECTION,
        # Then the header that a client sends is replaced.
        forwarded=PROXY if _SETS_SCHEME.search(configuration) else EVERYONE,
    )


def of_compose(service: Mapping[str, Any]) -> RunSettings:
    """Return the settings of the Compose file. It passes the proxy's network on as a variable."""
    environment = service.get("environment") or {}
    # Compose takes limits in either form, and none that differ.
    limits = ((service.get("deploy") or {}).get("resources") or {}).get("limits") or {}
    ports = [port["target"] for port in service.get("ports") or ()]
    return RunSettings(
        port=ports[0] if ports else None,
        user=service.get("user"),
        # Docker's default.
        grace=_seconds(service.get("stop_grace_period") or "10s"),
        memory=_limit(service.get("mem_limit") or limits.get("memory")),
        cpus=_limit(service.get("cpus") or limits.get("cpus")),
        read_only=bool(service.get("read_only")),
        dropped=_capabilities(service.get("cap_drop")),
        added=_capabilities(service.get("cap_add")),
        forwarded=PROXY if "FORWARDED_ALLOW_IPS" in environment else OPEN,
        root_path=environment.get("UVICORN_ROOT_PATH") or "",
        command=_words(service),
        once=False,
    )


def of_proxied(service: Mapping[str, Any], subnets: Iterable[str]) -> RunSettings:
    """Return the settings that deploy/proxy.yml changes. Takes the subnets of the proxy's network."""
    environment = service.get("environment") or {}
    return RunSettings(forwarded=_forwarded(environment, subnets), root_path=environment.get("UVICORN_ROOT_PATH") or "")


def of_stack(service: Mapping[str, Any], subnets: Iterable[str]) -> RunSettings:
    """Return the settings of deploy/stack.yml. Takes the subnets of the proxy's network."""
    environment = service.get("environment") or {}
    limits = service.get("deploy", {}).get("resources", {}).get("limits", {})
    return RunSettings(
        user=service.get("user") or OPEN,
        grace=_seconds(service.get("stop_grace_period")) or OPEN,
        memory=_limit(limits.get("memory")),
        cpus=_limit(limits.get("cpus")),
        read_only=bool(service.get("read_only")),
        dropped=_capabilities(service.get("cap_drop")),
        added=_capabilities(service.get("cap_add")),
        forwarded=_forwarded(environment, subnets),
        root_path=environment.get("UVICORN_ROOT_PATH") or "",
        command=_words(service),
        once=service.get("deploy", {}).get("mode", "") in {"replicated-job", "global-job"},
    )


def of_stack_command(service: Mapping[str, Any]) -> RunSettings:
    """Return the settings of a further command in deploy/stack.yml."""
    ports, check = service.get("ports") or (), service.get("healthcheck") or {}
    return of_stack(service, ())._replace(
        port=ports[0].get("target", OPEN) if ports else NONE,
        health=NONE if check.get("disable") or check.get("test") == ["NONE"] else "the image's or another one",
        ready=None,
        forwarded=None,
        root_path=None,
        image=service.get("image"),
    )


def of_kubernetes(objects: Sequence[Object]) -> RunSettings:
    """Return the settings of the service's Deployment."""
    return _of_workload(kubernetes.service(objects), objects)


def of_kubernetes_command(workload: kubernetes.Workload) -> RunSettings:
    """Return the settings of a further command in deploy/k8s."""
    image = kubernetes.container(workload).get("image")
    return _of_workload(workload, ())._replace(forwarded=None, root_path=None, image=image)


def _of_workload(workload: kubernetes.Workload, objects: Sequence[Mapping[str, Any]]) -> RunSettings:
    """Return the settings of a pod. Its grace period begins before the signal, with `preStop`."""
    pod, container = workload.pod, kubernetes.container(workload)
    context = _security(pod, container)
    limits = container.get("resources", {}).get("limits", {})
    environment = variables.of_kubernetes(KUBERNETES, container, objects).values
    before = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    return RunSettings(
        port=_port(container),
        user=f"{context.get('runAsUser', '')}:{context.get('runAsGroup', '')}".rstrip(":") or OPEN,
        health=_probed(container, "livenessProbe"),
        ready=_probed(container, "readinessProbe"),
        grace=pod.get("terminationGracePeriodSeconds", 30) - before,
        memory=_limit(limits.get("memory")),
        cpus=_limit(limits.get("cpu")),
        read_only=bool(context.get("readOnlyRootFilesystem")),
        dropped=_capabilities(context.get("capabilities", {}).get("drop")),
        added=_capabilities(context.get("capabilities", {}).get("add")),
        # The cluster's networks are not in its files.
        forwarded=_forwarded(environment, ()),
        root_path=environment.get("UVICORN_ROOT_PATH") or "",
        command=(*(container.get("command") or ()), *(container.get("args") or ())),
        once=workload.kind in {"Job", "CronJob"},
    )


def _forwarded(environment: Mapping[str, Any], subnets: Iterable[str]) -> str:
    named = [item.strip() for item in str(environment.get("FORWARDED_ALLOW_IPS") or "").split(",") if item.strip()]
    if not named:
        return OPEN
    if any(item == "*" or item.endswith("/0") for item in named):
        return EVERYONE
    return PROXY if set(subnets) <= set(named) else ",".join(named)


def merged(*settings: RunSettings) -> RunSettings:
    """Return for each setting the first value that is given."""
    return RunSettings(*(next((one for one in each if one is not None), None) for each in zip(*settings, strict=True)))


def differences(reference: RunSettings, others: Mapping[str, RunSettings], base: str) -> Iterator[str]:
    """Yield a sentence for each setting in which a file, by its name, differs from the Compose file's."""
    for name, settings in others.items():
        for label, wanted, given in zip(LABELS, reference, settings, strict=True):
            if given is not None and given != wanted:
                yield (
                    f"{name}: {label} must be {_shown(wanted)}, as with {base} (got {_shown(given)}). To fix it: "
                    "change one of the two."
                )


def _shown(value: Value) -> str:
    """Return a setting for a message."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return " ".join(value) or NONE
    return f"{value:.15g}" if isinstance(value, float) else str(value) or NONE


def unpinned_images(images: Mapping[str, str]) -> Iterator[str]:
    """Yield a sentence for each file that does not name its image by digest: a tag may be another image tomorrow."""
    for name, image in images.items():
        if not _DIGEST_REFERENCE.fullmatch(image):
            yield (
                f"{name}: the image must be named by its digest, NAME@sha256:... (got {image or NONE}). To fix it: "
                "take the name that `inv publish` prints."
            )


def unmet_restrictions(objects: Sequence[Object], commands: Iterable[Command] = ()) -> Iterator[str]:
    """Yield a sentence for each requirement of the restricted standard that a judged workload does not meet.

    https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
    """
    service, others = kubernetes.service(objects), _commands(objects, commands)
    for place, workload in ((KUBERNETES, service), *((f"{KUBERNETES}, {name}", one) for name, one in others.items())):
        own = kubernetes.container(workload)
        found = [(place, name) for name in _unmet_by_pod(workload)]
        for one in kubernetes.containers(workload):
            holder = place if one is own else f"{place}, {one.get('name')}"
            found += [(holder, name) for name in _unmet_by_container(workload.pod, one)]
        yield from (_unmet(*one) for one in dict.fromkeys(found))


def _unmet(place: str, requirement: str) -> str:
    return (
        f"{place}: {requirement} must be what the restricted Pod Security Standard demands (got another value, or "
        "none). To fix it: see https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted."
    )


def _unmet_by_pod(workload: kubernetes.Workload) -> Iterator[str]:
    """Yield the requirements that a pod does not meet, whatever its containers are."""
    pod = workload.pod
    context = pod.get("securityContext", {})
    yield from (name for name in ("hostIPC", "hostNetwork", "hostPID") if pod.get(name))
    if not all(set(volume) <= _VOLUMES for volume in pod.get("volumes", ())):
        yield "volumes"
    if not all(one.get("name") in _SYSCTLS for one in context.get("sysctls", ())):
        yield "sysctls"
    profiles = (value for name, value in workload.annotations.items() if name.startswith(_APPARMOR))
    if not all(str(one).startswith(_PROFILES) for one in profiles):
        yield "the annotation of AppArmor"
    yield from _unmet_by_context(context)


def _unmet_by_context(context: Mapping[str, Any]) -> Iterator[str]:
    """Yield what the security context of a pod, or of a container, must not set, even where nothing inherits it."""
    selinux = context.get("seLinuxOptions", {})
    met = {
        "runAsNonRoot": context.get("runAsNonRoot") is not False,
        "runAsUser": context.get("runAsUser") != 0,
        "seccompProfile": context.get("seccompProfile", {}).get("type") != "Unconfined",
        "appArmorProfile": context.get("appArmorProfile", {}).get("type") != "Unconfined",
        "seLinuxOptions": selinux.get("type", "") in _SELINUX and not selinux.get("user") and not selinux.get("role"),
        "windowsOptions": not context.get("windowsOptions", {}).get("hostProcess"),
    }
    yield from (requirement for requirement, is_met in met.items() if not is_met)


def _unmet_by_container(pod: Mapping[str, Any], container: Mapping[str, Any]) -> Iterator[str]:
    """Yield the requirements that a container of a pod does not meet."""
    context, capabilities = _security(pod, container), container.get("securityContext", {}).get("capabilities", {})
    met = {
        "runAsNonRoot": context.get("runAsNonRoot") is True,
        "seccompProfile": context.get("seccompProfile", {}).get("type") in {"Localhost", "RuntimeDefault"},
        "allowPrivilegeEscalation": context.get("allowPrivilegeEscalation") is False,
        "privileged": not context.get("privileged"),
        "procMount": context.get("procMount", "Default") == "Default",
        "capabilities": "ALL" in capabilities.get("drop", ()) and {*capabilities.get("add", ())} <= {_BINDS_PORTS},
        "hostPort": not any(port.get("hostPort") for port in container.get("ports", ())),
        "the host of a probe or a hook": not any(map(_asked_host, kubernetes.handlers(container))),
    }
    yield from (requirement for requirement, is_met in met.items() if not is_met)
    yield from _unmet_by_context(container.get("securityContext", {}))


def _asked_host(handler: Mapping[str, Any]) -> bool:
    """Return whether a probe or a hook names a host: the node would connect to it."""
    return any(handler.get(kind, {}).get("host") for kind in ("httpGet", "tcpSocket"))


def _security(pod: Mapping[str, Any], container: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the security context of a container: its own keys take precedence over those of its pod."""
    return {**pod.get("securityContext", {}), **container.get("securityContext", {})}


def wrong_commands(evidence: Deployment) -> Iterator[str]:
    """Yield a sentence for each setting in which the counterpart of a declared command differs, or where it lacks."""
    stacked = {name: of_stack_command(one) for name, one in evidence.services.items() if name != PRODUCTION}
    workloads = _commands(evidence.objects, evidence.commands)
    for command in evidence.commands:
        reference = evidence.reference._replace(
            port=NONE, health=NONE, ready=NONE, command=command.words, once=command.once
        )
        workload = workloads.get(command.name)
        for file, given in (
            (STACK, stacked.get(command.name)),
            (KUBERNETES, of_kubernetes_command(workload) if workload else None),
        ):
            if given is None:
                yield (
                    f"{file}: the command {command.name} of [tool.prodlock] must have a counterpart (got none). To fix "
                    "it: run `prodlock upgrade`."
                )
            else:
                wanted = reference._replace(image=evidence.images[file])
                yield from differences(wanted, {f"{file}, {command.name}": given}, evidence.base)


def other_variables(evidence: Deployment) -> Iterator[str]:
    """Yield a sentence for each variable that the files do not all hand on, to the service and to its commands."""
    if not evidence.variables:
        return
    reference, *others = evidence.variables
    # What Compose drops has a sentence already.
    values = dict.fromkeys(evidence.dropped) | dict(reference.values)
    yield from variables.differences(reference._replace(values=values), others, evidence.secrets)
    yield from variables.wrong_grace(others, evidence.reference.grace)
    by_file = {one.file: one for one in others}
    workloads = _commands(evidence.objects, evidence.commands)
    for command in evidence.commands:
        if service := evidence.services.get(command.name):
            written = evidence.written.get(command.name) or {}
            yield from variables.missing(
                by_file[STACK], variables.of_stack(f"{STACK}, {command.name}", service, written)
            )
        if workload := workloads.get(command.name):
            given = variables.of_kubernetes(
                f"{KUBERNETES}, {command.name}", kubernetes.container(workload), evidence.objects
            )
            yield from variables.missing(by_file[KUBERNETES], given)


def other_programs(evidence: Deployment) -> Iterator[str]:
    """Yield a sentence for each mount and key by which the service or a command does not run the image unchanged."""
    for name in (PRODUCTION, *(command.name for command in evidence.commands)):
        place = STACK if name == PRODUCTION else f"{STACK}, {name}"
        yield from replaced.of_stack(place, evidence.services.get(name) or {}, evidence.volumes)
    for place, workload in _own_workloads(evidence):
        yield from replaced.of_container(place, kubernetes.container(workload))
        if workload.pod.get("shareProcessNamespace"):
            yield (
                f"{place}: shareProcessNamespace must be false (got true: other containers can change the service's "
                "processes). To fix it: remove the key."
            )
    health = (evidence.services.get(PRODUCTION) or {}).get("healthcheck") or {}
    if health.get("test") or health.get("disable"):
        yield f"{STACK}: healthcheck must be what the image declares (got another one). To fix it: remove the key."


def wrong_startup(evidence: Deployment) -> Iterator[str]:
    """Yield a sentence for a startup probe that asks something else than the other probes: the pod may not start."""
    for place, workload in _own_workloads(evidence):
        is_service = place == KUBERNETES
        paths = [str(evidence.reference.health), str(evidence.reference.ready)] if is_service else [NONE]
        given = _probed(kubernetes.container(workload), "startupProbe")
        if given not in {NONE, *paths} and not (is_service and given == CONNECTION):
            yield (
                f"{place}: the path of the startup probe must be {' or '.join(dict.fromkeys(paths))}, as with the "
                f"other probes (got {given}). To fix it: correct or remove the probe."
            )


def _own_workloads(evidence: Deployment) -> Iterator[tuple[str, kubernetes.Workload]]:
    """Yield how messages name the service and each command in Kubernetes, with its workload."""
    yield KUBERNETES, kubernetes.service(evidence.objects)
    for name, workload in _commands(evidence.objects, evidence.commands).items():
        yield f"{KUBERNETES}, {name}", workload


def changed_services(evidence: Deployment) -> Iterator[str]:
    """Yield a sentence for what deploy/proxy.yml and deploy/release.yml change of the service or a command, or add."""
    composed = evidence.composed
    # What a site may set is left open, whether it is set on this machine or not.
    values = evidence.variables[0].values if evidence.variables else {}
    left_open = {name for name, value in values.items() if value is None} - variables.JUDGED
    for file, services, judged in ((PROXIED, evidence.proxied, ()), (RELEASE, evidence.released, _OF_RELEASE)):
        for name in (PRODUCTION, *(one.name for one in evidence.commands)):
            if name not in composed or name not in services:
                continue
            place = file if name == PRODUCTION else f"{file}, {name}"
            yield from replaced.of_layer(place, evidence.base, composed[name], services[name], judged)
            base = variables.of_compose(evidence.base, composed[name])
            base = base._replace(values={**base.values, **dict.fromkeys(left_open & base.values.keys())})
            # The settings of the proxied service are compared with those of the other files.
            known: Collection[str] = variables.JUDGED if place == PROXIED else ()
            yield from variables.changed(base, variables.of_compose(place, services[name]), known)
        added = {name: one for name, one in services.items() if name == PRODUCTION or name not in composed}
        yield from undeclared_services(file, added, evidence.commands)


def built_releases(services: Mapping[str, Any], commands: Iterable[Command]) -> Iterator[str]:
    """Yield a sentence for each service that deploy/release.yml builds, or that has another image than api-prod."""
    image = str(services.get(PRODUCTION, {}).get("image", ""))
    for name in (PRODUCTION, *(one.name for one in commands)) if services else ():
        given = services.get(name, {})
        if given.get("build") or given.get("pull_policy") == "build":
            yield f"{RELEASE}: {name} must not be built (got a build). To fix it: restore `build: !reset null`."
        if given.get("image") != image:
            yield (
                f"{RELEASE}: the image of {name} must be {image}, as with {PRODUCTION} (got {given.get('image')}). To "
                "fix it: restore `<<: *release`."
            )
        if given.get("pull_policy") == "never":
            yield f"{RELEASE}: {name} must be pulled (got pull_policy: never). To fix it: restore `<<: *release`."


def undeclared_services(file: str, services: Mapping[str, Any], commands: Iterable[Command]) -> Iterator[str]:
    """Yield a sentence for each service of a file that runs the production image and is not declared."""
    production = _repository(services.get(PRODUCTION, {}))
    declared = {PRODUCTION, *(one.name for one in commands)}
    for name, service in services.items():
        if name not in declared and _repository(service) == production:
            yield _undeclared(file, name)


def undeclared_workloads(objects: Sequence[Object], commands: Iterable[Command]) -> Iterator[str]:
    """Yield a sentence for each container that runs the production image and is not that of a declared command."""
    service = kubernetes.service(objects)
    production = _repository(kubernetes.container(service))
    declared = [kubernetes.container(one) for one in (service, *_commands(objects, commands).values())]
    for workload in kubernetes.workloads(objects):
        for container in kubernetes.containers(workload):
            if _repository(container) == production and not any(container is one for one in declared):
                yield _undeclared(KUBERNETES, f"{workload.kind} {workload.name}, {container.get('name')}")


def _ours(evidence: Deployment) -> tuple[kubernetes.Workload, ...]:
    """Return the workloads of the service and its commands."""
    objects = evidence.objects
    return (kubernetes.service(objects), *_commands(objects, evidence.commands).values())


def _undeclared(file: str, name: str) -> str:
    return (
        f"{file}: {name}, which runs the production image, must be one of `commands` in [tool.prodlock] (got none of "
        "that name). To fix it: declare or remove it."
    )


def image(objects: Sequence[Object]) -> str:
    """Return the image that the service's Deployment runs."""
    return str(kubernetes.container(kubernetes.service(objects)).get("image", ""))


def _commands(objects: Sequence[Object], commands: Iterable[Command]) -> dict[str, kubernetes.Workload]:
    """Return the workloads of the declared commands that have one, by the command's name."""
    service = kubernetes.service(objects)
    by_name = {one.name: one for one in kubernetes.workloads(objects) if one != service}
    return {one.name: by_name[one.workload] for one in commands if one.workload in by_name}


def _repository(container: Mapping[str, Any]) -> str:
    """Return the name of an image, without tag and digest."""
    return re.sub(r"@.*|:[^/]*$", "", str(container.get("image") or ""))


def _capabilities(names: Iterable[str] | None) -> tuple[str, ...]:
    """Return capabilities as Kubernetes writes them."""
    return tuple(name.upper().removeprefix("CAP_") for name in names or ())


def _words(service: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the words that replace what the image declares, as Compose and Swarm resolve them."""
    return (*(service.get("entrypoint") or ()), *(service.get("command") or ()))


def _port(container: Mapping[str, Any]) -> Value:
    """Return the port of a container that its readiness probe asks, such as beside one for metrics, or the first."""
    ports, probe = container.get("ports") or (), container.get("readinessProbe") or {}
    asked = (probe.get("httpGet") or probe.get("tcpSocket") or {}).get("port")
    numbers = [one["containerPort"] for one in ports if asked in {one.get("name", ""), one["containerPort"]}]
    return next(iter([*numbers, *(one["containerPort"] for one in ports)]), NONE)


def _probed(container: Mapping[str, Any], probe: str) -> str:
    """Return the path of a probe."""
    given = container.get(probe) or {}
    if "httpGet" in given:
        return str(given["httpGet"].get("path") or "/")
    return CONNECTION if "tcpSocket" in given else "a command" if given else NONE


def _found(pattern: str, text: str, what: str) -> str:
    """Return the group of a pattern in a text. Raises ValueError, with what it is for, where it does not match."""
    match = re.search(pattern, text, re.MULTILINE | re.IGNORECASE)
    if not match:
        message = f"no {what}"
        raise ValueError(message)
    return match[1]


def _number(text: object) -> float | None:
    """Return a number of bytes or cores, with or without a unit, or None where Kubernetes would refuse it."""
    # An exponent takes the place of a unit; further letters, as in MiB, are refused.
    match = re.fullmatch(rf"\+?(\d+\.?\d*|\.\d+)([eE][+-]?\d{{1,2}}|{'|'.join(_UNITS)})", str(text), re.ASCII)
    if not match:
        return None
    exponent = match[2].lower() if match[2] not in _UNITS else ""
    return float(Decimal(match[1] + exponent) * _UNITS.get(match[2], 1))


def _limit(text: object) -> Value:
    """Return a limit of bytes or cores; a text that is not a quantity is returned unchanged."""
    number = _number(text)
    return (OPEN if text is None else str(text)) if number is None else number or OPEN


def _seconds(text: object) -> float | None:
    """Return the seconds of a duration as Compose writes it: 1m30s."""
    parts = re.findall(r"([\d.]+)(ms|h|m|s)", str(text or ""))
    return (
        sum(float(count) * {"h": 3600, "m": 60, "s": 1, "ms": 0.001}[unit] for count, unit in parts) if parts else None
    )
