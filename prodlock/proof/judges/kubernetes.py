"""Judge how Kubernetes' objects refer to each other: what they select, connect to, mount and run as.

The API accepts an object that refers to nothing. Objects are as `kubectl kustomize` prints them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

KUBERNETES = "deploy/k8s"
# The name of the service's Deployment.
DEPLOYMENT = "api"
Object = Mapping[str, Any]
# What asks a container.
_PROBES, _HOOKS = ("livenessProbe", "readinessProbe", "startupProbe"), ("postStart", "preStop")
# The ConfigMaps that Kubernetes and OpenShift put into each namespace.
_OF_NAMESPACE = {"kube-root-ca.crt", "openshift-service-ca.crt"}
# How the message about a mounted token ends.
_FALSE = "false (got another value, or none). To fix it: set it to false."


class Workload(NamedTuple):
    """An object of Kubernetes that runs pods."""

    kind: str
    name: str
    labels: Mapping[str, str]
    pod: Mapping[str, Any]
    annotations: Mapping[str, str] = {}
    # How it finds its pods; a Job and a Pod need none.
    selector: Mapping[str, Any] = {}


def unfit_references(objects: Sequence[Object], ours: Sequence[Workload]) -> Iterator[str]:
    """Yield a sentence for each selector, name and port that leads nowhere. Takes the service's and its commands'."""
    yield from unselected_pods(objects)
    yield from unspread_pods(objects)
    yield from closed_ports(objects)
    yield from unknown_references(objects, ours)


def workloads(objects: Sequence[Object]) -> Iterator[Workload]:
    """Yield the objects that run pods."""
    for one in objects:
        kind, spec = one["kind"], one.get("spec") or {}
        if kind == "CronJob" and _is_of_kubernetes(one):
            spec = spec["jobTemplate"]["spec"]
        template = one if kind == "Pod" else spec.get("template") or {}
        # A kind that is not Kubernetes' own may have a template of something else, such as a Secret.
        if "containers" in (template.get("spec") or {}):
            given, selector = template.get("metadata", {}), spec.get("selector") or {}
            labels, annotations = given.get("labels") or {}, given.get("annotations") or {}
            yield Workload(kind, name(one), labels, template["spec"], annotations, selector)


def service(objects: Sequence[Object]) -> Workload:
    """Return the Deployment of the service: by its name where there are several. Raises ValueError where it lacks."""
    found = [one for one in workloads(objects) if one.kind == "Deployment"]
    named = [one for one in found if one.name == DEPLOYMENT] or found
    if len(named) != 1:
        message = f"{len(found)} Deployments, none of which is called {DEPLOYMENT}"
        raise ValueError(message)
    return named[0]


def container(workload: Workload) -> Mapping[str, Any]:
    """Return the container that a workload is about: by the workload's name where sidecars run beside it.

    Raises ValueError where none of several has that name.
    """
    found: Sequence[Mapping[str, Any]] = workload.pod["containers"]
    named = [one for one in found if one.get("name") == workload.name] or found
    if len(named) != 1:
        message = f"{len(found)} containers in the {workload.kind} {workload.name}, none of which is called so"
        raise ValueError(message)
    return named[0]


def containers(workload: Workload) -> tuple[Mapping[str, Any], ...]:
    """Return all containers of a pod, also those that run before the others, and those that a user adds later."""
    further = (workload.pod.get(kind) or () for kind in ("initContainers", "ephemeralContainers"))
    return (*workload.pod["containers"], *(one for each in further for one in each))


def handlers(container: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the probes and hooks of a container."""
    yield from (container.get(name) or {} for name in _PROBES)
    yield from ((container.get("lifecycle") or {}).get(name) or {} for name in _HOOKS)


def name(one: Object) -> str:
    """Return the name of an object."""
    return str(one.get("metadata", {}).get("name", ""))


def of_kind(objects: Sequence[Object], kind: str) -> Iterator[Object]:
    """Yield the objects of a kind of Kubernetes' own."""
    return (one for one in objects if one["kind"] == kind and _is_of_kubernetes(one))


def _is_of_kubernetes(one: Object) -> bool:
    """Return whether the kind of an object is Kubernetes' own: an operator may define another one of this name."""
    group, slash, _ = str(one.get("apiVersion", "")).rpartition("/")
    return not slash or "." not in group or group.endswith(".k8s.io")


def selects(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    """Return whether a label selector matches labels. An empty one matches all, and none at all matches nothing.

    https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors
    """
    if selector is None:
        return False
    wanted = selector.get("matchLabels") or {}
    return wanted.items() <= labels.items() and all(
        _meets(labels.get(one["key"]), one["operator"], one.get("values") or ())
        for one in selector.get("matchExpressions") or ()
    )


def _meets(value: str | None, operator: str, values: Sequence[str]) -> bool:
    return {
        "In": value in values,
        "NotIn": value not in values,
        "Exists": value is not None,
        "DoesNotExist": value is None,
    }[operator]


def unselected_pods(objects: Sequence[Object]) -> Iterator[str]:
    """Yield a sentence for each object that selects the pods of no workload, or of several.

    Those of the service must be selected by one of each kind that there is.
    """
    ours, all_workloads = service(objects), tuple(workloads(objects))
    for workload in all_workloads:
        if workload.selector and not selects(workload.selector, workload.labels):
            yield (
                f"{_place(workload)}: the selector of the {workload.kind} must match the labels of its own pods (got "
                "others). To fix it: correct it."
            )
    without_pods = _with_addresses(objects)
    # It may make pods that are in no file, such as those of a database.
    has_operator = not all(map(_is_of_kubernetes, objects))
    for kind in ("NetworkPolicy", "PodDisruptionBudget", "Service"):
        chosen = []
        for one in of_kind(objects, kind):
            if (one.get("spec") or {}).get("type") == "ExternalName" or name(one) in without_pods:
                # It leads out of the cluster, for example to a database.
                continue
            selected = [each for each in all_workloads if selects(_selector(one), each.labels)]
            chosen.append(selected)
            if not selected and not has_operator:
                yield (
                    f"{KUBERNETES}: the {kind} {name(one)} must select the pods of a workload (got none). To fix it: "
                    "correct its selector."
                )
            if len(selected) > 1 and kind != "NetworkPolicy":
                names = ", ".join(each.name for each in selected)
                yield (
                    f"{KUBERNETES}: the {kind} {name(one)} must select the pods of one workload (got {names}). To fix "
                    "it: correct its selector."
                )
        if chosen and (all(chosen) or has_operator) and not any(ours in selected for selected in chosen):
            yield (
                f"{KUBERNETES}: a {kind} must select the pods of the Deployment {ours.name} (got none). To fix it: "
                "correct its selector."
            )


def _with_addresses(objects: Sequence[Object]) -> set[str]:
    """Return the Services whose addresses are listed, since no pods have them."""
    slices = of_kind(objects, "EndpointSlice")
    labels = (one["metadata"].get("labels") or {} for one in slices)
    listed = {str(one.get("kubernetes.io/service-name")) for one in labels}
    return {*map(name, of_kind(objects, "Endpoints")), *listed}


def _selector(one: Object) -> Mapping[str, Any] | None:
    """Return the label selector of an object that has one."""
    spec = one.get("spec") or {}
    if one["kind"] == "NetworkPolicy":
        # An empty one is that of all pods.
        return spec.get("podSelector") or {}
    selector: Mapping[str, Any] = spec.get("selector") or {}
    if one["kind"] == "Service":
        return {"matchLabels": selector} if selector else None
    if spec.get("selector") == {}:
        # That of all pods (https://kubernetes.io/docs/reference/kubernetes-api/policy-resources/pod-disruption-budget-v1/).
        return selector
    return selector if selector.get("matchLabels") or selector.get("matchExpressions") else None


def unspread_pods(objects: Sequence[Object]) -> Iterator[str]:
    """Yield a sentence for each topology constraint that does not count the pods that it is to spread."""
    for workload in workloads(objects):
        for one in workload.pod.get("topologySpreadConstraints") or ():
            if not selects(one.get("labelSelector"), workload.labels):
                yield (
                    f"{_place(workload)}: the labelSelector of topologySpreadConstraints, {one.get('topologyKey')}, "
                    "must match the labels of its own pods (got others). To fix it: correct it."
                )


def mounted_tokens(objects: Sequence[Object], ours: Iterable[Workload]) -> Iterator[str]:
    """Yield a sentence for each account and each pod that mounts a token, which gives access to the cluster's API.

    Takes the workloads of the service and its commands: others may have an account from elsewhere, with a token.
    """
    accounts = {name(one): one for one in of_kind(objects, "ServiceAccount")}
    reported = set()
    for workload in ours:
        used, own = _account(workload), workload.pod.get("automountServiceAccountToken")
        if used in accounts and accounts[used].get("automountServiceAccountToken") is not False:
            if used not in reported:
                yield f"{KUBERNETES}: automountServiceAccountToken of the ServiceAccount {used} must be {_FALSE}"
            reported.add(used)
        # The pod's own key takes precedence over that of its account.
        if own or (own is None and used not in accounts):
            yield f"{_place(workload)}: automountServiceAccountToken must be {_FALSE}"
        # Without an audience it is the API's; with one it is for another system, such as a cloud's.
        if any(
            "serviceAccountToken" in one and not one["serviceAccountToken"].get("audience")
            for volume in workload.pod.get("volumes") or ()
            for one in (volume.get("projected") or {}).get("sources") or ()
        ):
            yield (
                f"{_place(workload)}: a projected serviceAccountToken must have an audience (got none, which gives "
                "access to the cluster's API). To fix it: name its audience, or remove it."
            )


def closed_ports(objects: Sequence[Object]) -> Iterator[str]:
    """Yield a sentence where the policies that select the service's pods do not let a request in to a port of it.

    https://kubernetes.io/docs/concepts/services-networking/network-policies/
    """
    ours = service(objects)
    # Ingress is implied where the types are not listed.
    specs = [
        one["spec"]
        for one in of_kind(objects, "NetworkPolicy")
        if selects(_selector(one), ours.labels) and "Ingress" in (one["spec"].get("policyTypes") or ("Ingress",))
    ]
    rules = [rule for spec in specs for rule in spec.get("ingress") or ()]
    # A rule without ports opens all.
    opened: list[Mapping[str, Any]] = [port for rule in rules for port in rule.get("ports") or [{}]]
    # A sidecar may serve the pod alone.
    for port in container(ours).get("ports") or () if specs else ():
        if not any(_opens(one, port) for one in opened):
            yield (
                f"{KUBERNETES}: a NetworkPolicy must let requests in to the port {port['containerPort']} of "
                f"{ours.name} (got none that does). To fix it: add the port to its `ingress`."
            )


def _opens(given: Mapping[str, Any], port: Mapping[str, Any]) -> bool:
    """Return whether an entry of a policy's rule opens a container's port."""
    wanted, number = given.get("port"), port["containerPort"]
    if given.get("protocol", "TCP") != port.get("protocol", "TCP"):
        return False
    if isinstance(wanted, int):
        return bool(wanted <= number <= given.get("endPort", wanted))
    return wanted in {None, port.get("name")}


def unknown_references(objects: Sequence[Object], ours: Collection[Workload]) -> Iterator[str]:
    """Yield a sentence for each name that no object has: of a port, Service, workload, account, volume or ConfigMap."""
    yield from _of_services(objects, ours)
    yield from _of_ingresses(objects)
    runs = {(one.kind, one.name) for one in workloads(objects)}
    for one in of_kind(objects, "HorizontalPodAutoscaler"):
        target = one["spec"]["scaleTargetRef"]
        if (target["kind"], target["name"]) not in runs:
            yield _unknown(f"the HorizontalPodAutoscaler {name(one)}", f"a {target['kind']}", target["name"])
    accounts = {name(one) for one in of_kind(objects, "ServiceAccount")}
    maps = {name(one): {*one.get("data", ()), *one.get("binaryData", ())} for one in of_kind(objects, "ConfigMap")}
    for workload in ours:
        holder = f"the {workload.kind} {workload.name}"
        if (account := _account(workload)) not in {"default", *accounts}:
            yield _unknown(holder, "a ServiceAccount", account)
        for given in _config_maps(workload):
            yield from _of_config_map(holder, given, maps)
        yield from (_unknown(holder, "a volume", one) for one in _unknown_volumes(workload))
        own = container(workload)
        for one in containers(workload):
            for port in _unknown_ports(one, is_own=one is own):
                yield _unknown(f"a probe of {holder}", "a port", port)


def _of_config_map(holder: str, given: Mapping[str, Any], maps: Mapping[str, Collection[str]]) -> Iterator[str]:
    """Yield a sentence for a reference to a ConfigMap that is not there, or for each key that it lacks."""
    named = given.get("name", "")
    if given.get("optional") or named in _OF_NAMESPACE:
        return
    if named not in maps:
        yield _unknown(holder, "a ConfigMap", named)
        return
    # Of a variable, and of a volume's files.
    for key in filter(None, (given.get("key"), *(one["key"] for one in given.get("items") or ()))):
        if key not in maps[named]:
            yield _unknown(holder, f"a key of the ConfigMap {named}", key)


def _unknown_volumes(workload: Workload) -> list[str]:
    """Return the volumes that a pod's containers mount, and that it does not have."""
    if workload.kind == "StatefulSet":
        # It may have templates of volumes.
        return []
    have = {one["name"] for one in workload.pod.get("volumes") or ()}
    mounted = (mount["name"] for one in containers(workload) for mount in one.get("volumeMounts") or ())
    return sorted({*mounted} - have)


def _unknown_ports(one: Mapping[str, Any], *, is_own: bool) -> Iterator[object]:
    """Yield the ports that a container's probes and hooks ask, and that it does not have.

    A sidecar need not list the ports that it has, other than by a name.
    """
    listed = one.get("ports") or ()
    ports = {value for port in listed for value in (port["containerPort"], port.get("name"))}
    for handler in handlers(one):
        for kind in ("httpGet", "tcpSocket", "grpc"):
            port = (handler.get(kind) or {}).get("port")
            if port is not None and port not in ports and ((is_own and listed) or isinstance(port, str)):
                yield port


def _of_services(objects: Sequence[Object], ours: Collection[Workload]) -> Iterator[str]:
    for one in of_kind(objects, "Service"):
        for workload in workloads(objects):
            ports = {value for port in _ports(workload) for value in (port["containerPort"], port.get("name"))}
            for port in one["spec"].get("ports") or () if selects(_selector(one), workload.labels) else ():
                target = port.get("targetPort", port["port"])
                # Another image need not list what is named by its number.
                if target not in ports and (workload in ours or isinstance(target, str)):
                    yield _unknown(f"the Service {name(one)}", f"a port of the {workload.kind} {workload.name}", target)


def _of_ingresses(objects: Sequence[Object]) -> Iterator[str]:
    ports = {
        name(one): [value for port in one["spec"].get("ports") or () for value in (port["port"], port.get("name"))]
        for one in of_kind(objects, "Service")
    }
    for one in of_kind(objects, "Ingress"):
        spec, holder = one["spec"], f"the Ingress {name(one)}"
        paths = (path for rule in spec.get("rules") or () for path in (rule.get("http") or {}).get("paths") or ())
        for backend in (*(path["backend"] for path in paths), spec.get("defaultBackend") or {}):
            if not (given := backend.get("service")):
                continue
            port = next(iter((given.get("port") or {}).values()), None)
            if given["name"] not in ports:
                yield _unknown(holder, "a Service", given["name"])
            elif port not in ports[given["name"]]:
                yield _unknown(holder, f"a port of the Service {given['name']}", port)


def _unknown(holder: str, kind: str, given: object) -> str:
    return f"{KUBERNETES}: {holder} must name {kind} of these files (got {given}). To fix it: correct the name."


def _config_maps(workload: Workload) -> Iterator[Mapping[str, Any]]:
    """Yield the references of a pod to ConfigMaps: of variables, and of volumes."""
    for one in containers(workload):
        sources = [given.get("configMapRef") for given in one.get("envFrom") or ()]
        sources += [(given.get("valueFrom") or {}).get("configMapKeyRef") for given in one.get("env") or ()]
        yield from filter(None, sources)
    for volume in workload.pod.get("volumes") or ():
        projected = (volume.get("projected") or {}).get("sources") or ()
        yield from filter(None, (one.get("configMap") for one in (volume, *projected)))


def _account(workload: Workload) -> str:
    """Return the name of the account that a pod runs as. The second key is the older one."""
    return str(workload.pod.get("serviceAccountName") or workload.pod.get("serviceAccount") or "default")


def _ports(workload: Workload) -> Iterator[Mapping[str, Any]]:
    # A sidecar may be among the containers that start before the others.
    for one in containers(workload):
        yield from one.get("ports") or ()


def _place(workload: Workload) -> str:
    return f"{KUBERNETES}, {workload.name}"
