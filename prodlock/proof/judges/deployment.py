"""Judge that the files in deploy/ run the service with the same settings as the Compose file.

The settings are read from resolved documents: of Compose (`docker compose config`), of Swarm (`docker stack config`),
of Kubernetes (`kubectl kustomize`), of the proxy.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

_DIGEST_REFERENCE = re.compile(r".+@sha256:[0-9a-f]{64}")
_SETS_SCHEME = r"^\s*http-request set-header x-forwarded-proto %\[ssl_fc,iif\(https,http\)\]( unless outer scheme)?$"
_UNITS = {"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40, "k": 10**3, "M": 10**6, "G": 10**9}


# A setting; None where a document does not have such a setting at all.
Value = str | float | tuple[str, ...] | None
# It has one, and leaves it open.
OPEN = "left open"
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
    # Who is trusted with a client's address and scheme, and the path that a proxy strips.
    forwarded: Value = None
    root_path: Value = None


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
    dropped: list[str]


def judge(evidence: Deployment) -> list[str]:
    """Return a sentence for each setting that is not valid, or not as the Compose file has it."""
    return [
        *evidence.invalid,
        *evidence.dropped,
        *differences(evidence.reference, evidence.others, evidence.base),
        *unpinned_images(evidence.images),
        *unmet_restrictions(evidence.objects),
        *unselected_pods(evidence.objects),
    ]


def of_image(dockerfile: str, health: str, ready: str) -> RunSettings:
    """Return the settings of the image: from the Dockerfile's last stage, and the configured paths of the probes."""
    last = re.split(r"^FROM ", dockerfile, flags=re.MULTILINE)[-1]
    return RunSettings(
        port=int(_found(r"^EXPOSE (\d+)", last)),
        user=_found(r"^USER (\S+)", last),
        health=health,
        ready=ready,
    )


def of_proxy(configuration: str) -> RunSettings:
    """Return the settings that HAProxy's configuration expects of its servers."""
    return RunSettings(
        port=int(_found(r"^\s*server\S* .*:(\d+)", configuration)),
        ready=_found(r"^\s*option httpchk GET (\S+)", configuration),
        # Then the header that a client sends is replaced.
        forwarded=PROXY if re.search(_SETS_SCHEME, configuration, re.MULTILINE) else EVERYONE,
    )


def of_compose(service: Mapping[str, Any]) -> RunSettings:
    """Return the settings of the Compose file. It passes the proxy's network on as a variable."""
    environment = service.get("environment") or {}
    ports = [port["target"] for port in service.get("ports") or ()]
    return RunSettings(
        port=ports[0] if ports else None,
        user=service.get("user"),
        grace=_seconds(service.get("stop_grace_period")),
        memory=_number(service.get("mem_limit")),
        cpus=_number(service.get("cpus")),
        read_only=bool(service.get("read_only")),
        dropped=tuple(service.get("cap_drop") or ()),
        forwarded=PROXY if "FORWARDED_ALLOW_IPS" in environment else OPEN,
        root_path=environment.get("UVICORN_ROOT_PATH") or "",
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
        memory=_number(limits.get("memory")) or OPEN,
        cpus=_number(limits.get("cpus")) or OPEN,
        read_only=bool(service.get("read_only")),
        dropped=tuple(service.get("cap_drop") or ()),
        forwarded=_forwarded(environment, subnets),
        root_path=environment.get("UVICORN_ROOT_PATH") or "",
    )


def of_kubernetes(objects: Iterable[Mapping[str, Any]]) -> RunSettings:
    """Return the settings of the Deployment. Its grace period begins before the signal, with `preStop`."""
    pod = _pod(objects)
    (container,) = pod["containers"]
    security, context = pod.get("securityContext", {}), container.get("securityContext", {})
    limits = container.get("resources", {}).get("limits", {})
    environment = {one["name"]: one.get("value") for one in container.get("env") or ()}
    before = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    return RunSettings(
        port=container["ports"][0]["containerPort"],
        user=f"{security.get('runAsUser')}:{security.get('runAsGroup')}",
        health=_probed(container, "livenessProbe"),
        ready=_probed(container, "readinessProbe"),
        grace=pod.get("terminationGracePeriodSeconds", 30) - before,
        memory=_number(limits.get("memory")) or OPEN,
        cpus=_number(limits.get("cpu")) or OPEN,
        read_only=bool(context.get("readOnlyRootFilesystem")),
        dropped=tuple(context.get("capabilities", {}).get("drop", ())),
        # The cluster's networks are not in its files.
        forwarded=_forwarded(environment, ()),
        root_path=environment.get("UVICORN_ROOT_PATH") or "",
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
        for field, wanted, given in zip(RunSettings._fields, reference, settings, strict=True):
            if given is not None and given != wanted:
                yield f"{name}: {field} is {given}, and must be {wanted} as with {base}."


def unpinned_images(images: Mapping[str, str]) -> Iterator[str]:
    """Yield a sentence for each file that does not name its image by digest: a tag may be another image tomorrow."""
    for name, image in images.items():
        if not _DIGEST_REFERENCE.fullmatch(image):
            yield f"{name}: the image is {image or 'not named'}, and must be named by its digest (NAME@sha256:...)."


def unmet_restrictions(objects: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield a sentence for each requirement of the restricted standard that the Deployment does not meet.

    https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
    """
    pod = _pod(objects)
    (container,) = pod["containers"]
    security, context = pod.get("securityContext", {}), container.get("securityContext", {})
    met = {
        "runAsNonRoot": security.get("runAsNonRoot") is True,
        "seccompProfile": security.get("seccompProfile", {}).get("type") == "RuntimeDefault",
        "allowPrivilegeEscalation": context.get("allowPrivilegeEscalation") is False,
        "capabilities": "ALL" in context.get("capabilities", {}).get("drop", ()),
        "volumes": all(set(volume) <= {"name", "emptyDir", "configMap", "secret"} for volume in pod.get("volumes", ())),
    }
    for requirement, is_met in met.items():
        if not is_met:
            yield f"deploy/k8s: {requirement} is not what the restricted Pod Security Standard demands."


def unselected_pods(objects: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield a sentence for each object that selects other pods than the Deployment's."""
    objects = tuple(objects)
    (labels,) = (one["spec"]["template"]["metadata"]["labels"] for one in objects if one["kind"] == "Deployment")
    for one in objects:
        selector = one.get("spec", {}).get("selector") or {}
        wanted = selector.get("matchLabels", selector) if one["kind"] == "PodDisruptionBudget" else selector
        selects = one["kind"] in {"PodDisruptionBudget", "Service"}
        if selects and not (wanted and wanted.items() <= labels.items()):
            yield f"deploy/k8s: the {one['kind']} does not select the Deployment's pods."


def image(objects: Iterable[Mapping[str, Any]]) -> str:
    """Return the image that the Deployment runs."""
    return str(_pod(objects)["containers"][0].get("image", ""))


def _pod(objects: Iterable[Mapping[str, Any]]) -> Mapping[str, Any]:
    (deployment,) = (one for one in objects if one["kind"] == "Deployment")
    pod: Mapping[str, Any] = deployment["spec"]["template"]["spec"]
    return pod


def _probed(container: Mapping[str, Any], probe: str) -> str:
    return str(container.get(probe, {}).get("httpGet", {}).get("path", ""))


def _found(pattern: str, text: str) -> str:
    """Return the group of a pattern in a text. Raises ValueError where the pattern does not match."""
    match = re.search(pattern, text, re.MULTILINE)
    if not match:
        message = f"nothing like {pattern}"
        raise ValueError(message)
    return match[1]


def _number(text: object) -> float | None:
    """Return a number of bytes or cores, with or without a unit."""
    match = re.fullmatch(r"([\d.]+)(m|[KMGT]i|[kMG])?B?", str(text))
    if not match:
        return None
    return float(match[1]) / 1000 if match[2] == "m" else float(match[1]) * _UNITS.get(match[2] or "", 1)


def _seconds(text: object) -> float | None:
    """Return the seconds of a duration as Compose writes it: 1m30s."""
    parts = re.findall(r"([\d.]+)(ms|h|m|s)", str(text or ""))
    return (
        sum(float(count) * {"h": 3600, "m": 60, "s": 1, "ms": 0.001}[unit] for count, unit in parts) if parts else None
    )
