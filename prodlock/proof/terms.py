"""Judge that whatever runs the service runs it on the same terms as docker-compose.yml: pure functions.

Terms are read out of resolved documents: of Compose (`docker compose config`), of Swarm (`docker stack config`), of
Kubernetes (`kubectl kustomize`), of the proxy.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

_BY_DIGEST = re.compile(r".+@sha256:[0-9a-f]{64}")
_SETS_SCHEME = r"^\s*http-request set-header x-forwarded-proto %\[ssl_fc,iif\(https,http\)\]( unless outer scheme)?$"
_UNITS = {"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40, "k": 10**3, "M": 10**6, "G": 10**9}


# What a document says of a term; None where it is none of the document's business.
Said = str | float | tuple[str, ...] | None
# It would be, and the document does not say.
UNSAID = "left open"
# Whose X-Forwarded-For and X-Forwarded-Proto are believed.
PROXYS, EVERYBODYS = "the proxy's network", "every client"


class Terms(NamedTuple):
    """On what terms the service is run."""

    port: Said = None
    # Number of user and of group, as USER:GROUP.
    user: Said = None
    # Where it is asked whether it is alive, and whether it is ready.
    health: Said = None
    ready: Said = None
    # Seconds from the signal to stop until it is killed.
    grace: Said = None
    # Bytes, and cores.
    memory: Said = None
    cpus: Said = None
    read_only: Said = None
    dropped: Said = None
    # Whose word on a client's address and scheme is taken, and the path that a proxy in front strips.
    forwarded: Said = None
    root_path: Said = None


def of_image(dockerfile: str, healthcheck: str) -> Terms:
    """Return what the image says: its Dockerfile's last stage, and its health check's source."""
    last = re.split(r"^FROM ", dockerfile, flags=re.MULTILINE)[-1]
    return Terms(
        port=int(_found(r"^EXPOSE (\d+)", last)),
        user=_found(r"^USER (\S+)", last),
        health=_found(r"GET (\S+) HTTP", healthcheck),
    )


def of_proxy(configuration: str) -> Terms:
    """Return what HAProxy's configuration says of the servers behind it."""
    return Terms(
        port=int(_found(r"^\s*server\S* .*:(\d+)", configuration)),
        ready=_found(r"^\s*option httpchk GET (\S+)", configuration),
        # What a client has sent itself is replaced.
        forwarded=PROXYS if re.search(_SETS_SCHEME, configuration, re.MULTILINE) else EVERYBODYS,
    )


def of_compose(service: Mapping[str, Any]) -> Terms:
    """Return what docker-compose.yml says. Which proxy there is, its user knows: the variable is handed on."""
    environment = service.get("environment") or {}
    ports = [port["target"] for port in service.get("ports") or ()]
    return Terms(
        port=ports[0] if ports else None,
        user=service.get("user"),
        grace=_seconds(service.get("stop_grace_period")),
        memory=_number(service.get("mem_limit")),
        cpus=_number(service.get("cpus")),
        read_only=bool(service.get("read_only")),
        dropped=tuple(service.get("cap_drop") or ()),
        forwarded=PROXYS if "FORWARDED_ALLOW_IPS" in environment else UNSAID,
        root_path=environment.get("UVICORN_ROOT_PATH") or "",
    )


def of_proxied(service: Mapping[str, Any], subnets: Iterable[str]) -> Terms:
    """Return what deploy/proxy.yml changes. Takes the subnets of the network that the proxy is in as well."""
    environment = service.get("environment") or {}
    return Terms(forwarded=_forwarded(environment, subnets), root_path=environment.get("UVICORN_ROOT_PATH") or "")


def of_stack(service: Mapping[str, Any], subnets: Iterable[str]) -> Terms:
    """Return what deploy/stack.yml says. Takes the subnets of the network that the proxy is in as well."""
    environment = service.get("environment") or {}
    limits = service.get("deploy", {}).get("resources", {}).get("limits", {})
    return Terms(
        user=service.get("user") or UNSAID,
        grace=_seconds(service.get("stop_grace_period")) or UNSAID,
        memory=_number(limits.get("memory")) or UNSAID,
        cpus=_number(limits.get("cpus")) or UNSAID,
        read_only=bool(service.get("read_only")),
        dropped=tuple(service.get("cap_drop") or ()),
        forwarded=_forwarded(environment, subnets),
        root_path=environment.get("UVICORN_ROOT_PATH") or "",
    )


def of_kubernetes(objects: Iterable[Mapping[str, Any]]) -> Terms:
    """Return what the Deployment says; its grace period begins before the signal, with `preStop`."""
    pod = _pod(objects)
    (container,) = pod["containers"]
    security, context = pod.get("securityContext", {}), container.get("securityContext", {})
    limits = container.get("resources", {}).get("limits", {})
    environment = {one["name"]: one.get("value") for one in container.get("env") or ()}
    before = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    return Terms(
        port=container["ports"][0]["containerPort"],
        user=f"{security.get('runAsUser')}:{security.get('runAsGroup')}",
        health=_probed(container, "livenessProbe"),
        ready=_probed(container, "readinessProbe"),
        grace=pod.get("terminationGracePeriodSeconds", 30) - before,
        memory=_number(limits.get("memory")) or UNSAID,
        cpus=_number(limits.get("cpu")) or UNSAID,
        read_only=bool(context.get("readOnlyRootFilesystem")),
        dropped=tuple(context.get("capabilities", {}).get("drop", ())),
        # Which network that is, only the cluster knows.
        forwarded=_forwarded(environment, ()),
        root_path=environment.get("UVICORN_ROOT_PATH") or "",
    )


def _forwarded(environment: Mapping[str, Any], subnets: Iterable[str]) -> str:
    named = [item.strip() for item in str(environment.get("FORWARDED_ALLOW_IPS") or "").split(",") if item.strip()]
    if not named:
        return UNSAID
    if any(item == "*" or item.endswith("/0") for item in named):
        return EVERYBODYS
    return PROXYS if set(subnets) <= set(named) else ",".join(named)


def merged(*terms: Terms) -> Terms:
    """Return what the first of them says that says anything, for each term."""
    return Terms(*(next((said for said in each if said is not None), None) for each in zip(*terms, strict=True)))


def differing(reference: Terms, others: Mapping[str, Terms]) -> Iterator[str]:
    """Give a sentence for each term on which a file, by its name, does not agree with the reference."""
    for name, terms in others.items():
        for field, wanted, said in zip(Terms._fields, reference, terms, strict=True):
            if said is not None and said != wanted:
                yield f"{name}: {field} is {said}, and must be {wanted} as with docker-compose.yml."


def unpinned(images: Mapping[str, str]) -> Iterator[str]:
    """Give a sentence for each file whose image is not named by its digest: a tag may be another image tomorrow."""
    for name, image in images.items():
        if not _BY_DIGEST.fullmatch(image):
            yield f"{name}: the image is {image or 'not named'}, and must be named by its digest (NAME@sha256:...)."


def unrestricted(objects: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Give a sentence for each demand of the restricted standard that the Deployment does not meet.

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
    for demand, is_met in met.items():
        if not is_met:
            yield f"deploy/k8s: {demand} is not what the restricted Pod Security Standard demands."


def unselected(objects: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Give a sentence for each object that selects pods, and not the Deployment's."""
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
    """Return what a pattern's group finds. Raises ValueError where it finds nothing."""
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
