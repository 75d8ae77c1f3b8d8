"""Objects of Kubernetes that refer to nothing are findings."""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable
from typing import Any

import pytest

from prodlock.proof.judges import kubernetes

LABELS = {"name": "shop"}
# A selector of other pods.
OTHER = {"matchLabels": {"name": "z"}}
Objects = dict[str, dict[str, Any]]


def workload(name: str, labels: dict[str, str]) -> dict[str, Any]:
    """Return a Deployment."""
    pod = {
        "serviceAccountName": "api",
        "automountServiceAccountToken": False,
        "topologySpreadConstraints": [{"topologyKey": "zone", "labelSelector": {"matchLabels": labels}}],
        "containers": [
            {"ports": [{"name": "http", "containerPort": 8000}], "envFrom": [{"configMapRef": {"name": "settings"}}]}
        ],
    }
    template = {"metadata": {"labels": labels}, "spec": pod}
    return {"kind": "Deployment", "metadata": {"name": name}, "spec": {"template": template}}


def an_object(kind: str, spec: dict[str, Any], name: str = "api") -> dict[str, Any]:
    """Return an object that has a specification."""
    return {"kind": kind, "metadata": {"name": name}, "spec": spec}


def backend(name: str = "api", **port: object) -> dict[str, Any]:
    """Return the specification of an Ingress with one path."""
    return {"rules": [{"http": {"paths": [{"backend": {"service": {"name": name, "port": port}}}]}}]}


OBJECTS: Objects = {
    "deployment": workload("api", LABELS),
    "service": an_object(
        "Service", {"selector": LABELS, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]}
    ),
    "budget": an_object("PodDisruptionBudget", {"selector": {"matchLabels": LABELS}}),
    "scaler": an_object("HorizontalPodAutoscaler", {"scaleTargetRef": {"kind": "Deployment", "name": "api"}}),
    "account": an_object("ServiceAccount", {}) | {"automountServiceAccountToken": False},
    "settings": {"kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {}},
    "default": an_object("NetworkPolicy", {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}, "default"),
    "policy": an_object(
        "NetworkPolicy", {"podSelector": {"matchLabels": LABELS}, "ingress": [{"ports": [{"port": "http"}]}]}
    ),
    "ingress": an_object("Ingress", backend(name="api", number=80)),
}


def pod(objects: Objects) -> dict[str, Any]:
    """Return the pod of the Deployment."""
    found: dict[str, Any] = objects["deployment"]["spec"]["template"]["spec"]
    return found


def judged(objects: Objects) -> list[str]:
    """Return the findings."""
    given = tuple(objects.values())
    ours = [kubernetes.service(given)]
    return [*kubernetes.unfit_references(given, ours), *kubernetes.mounted_tokens(given, ours)]


def changed(change: Callable[[Objects], object]) -> list[str]:
    """Return the findings after a change."""
    objects = copy.deepcopy(OBJECTS)
    change(objects)
    return judged(objects)


def test_objects_that_refer_to_each_other_are_not_findings() -> None:
    """An Ingress may also name its port, and a policy the port's number or a range."""
    assert judged(OBJECTS) == []
    for ports in ([{"port": 8000}], [{"port": 7000, "endPort": 9000}], [{"protocol": "TCP"}], None):
        objects = copy.deepcopy(OBJECTS)
        objects["policy"]["spec"]["ingress"] = [{"ports": ports} if ports else {}]
        assert judged(objects) == []
    assert changed(lambda objects: objects["ingress"].update(spec=backend(name="http"))) != []
    assert changed(lambda objects: objects["ingress"].update(spec={"defaultBackend": {"resource": {}}})) == []


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            lambda objects: objects["policy"]["spec"].update(podSelector={"matchLabels": {"name": "other"}}),
            "the NetworkPolicy api must select the pods of a workload (got none).",
        ),
        (
            lambda objects: objects["policy"]["spec"]["podSelector"].update(
                matchExpressions=[{"key": "name", "operator": "DoesNotExist"}]
            ),
            "the NetworkPolicy api must select the pods of a workload (got none).",
        ),
        (
            lambda objects: objects["account"].pop("automountServiceAccountToken"),
            "automountServiceAccountToken of the ServiceAccount api must be false (got",
        ),
        (
            lambda objects: pod(objects)["topologySpreadConstraints"][0]["labelSelector"].update(
                matchLabels={"a": "b"}
            ),
            "the labelSelector of topologySpreadConstraints, zone, must match the labels of its own pods",
        ),
        (
            lambda objects: pod(objects)["topologySpreadConstraints"][0].pop("labelSelector"),
            "the labelSelector of topologySpreadConstraints, zone, must match the labels of its own pods",
        ),
        (
            lambda objects: objects["ingress"].update(spec=backend("web", number=80)),
            "the Ingress api must name a Service of these files (got web).",
        ),
        (
            lambda objects: objects["ingress"].update(spec=backend("api", number=8000)),
            "the Ingress api must name a port of the Service api of these files (got 8000).",
        ),
        (
            lambda objects: objects["ingress"].update(
                spec={"defaultBackend": {"service": {"name": "api", "port": {"name": "web"}}}}
            ),
            "the Ingress api must name a port of the Service api of these files (got web).",
        ),
        (
            lambda objects: objects["service"]["spec"]["ports"][0].update(targetPort="web"),
            "the Service api must name a port of the Deployment api of these files (got web).",
        ),
        (
            lambda objects: objects["scaler"]["spec"]["scaleTargetRef"].update(name="web"),
            "the HorizontalPodAutoscaler api must name a Deployment of these files (got web).",
        ),
        (
            lambda objects: objects["settings"]["metadata"].update(name="other"),
            "the Deployment api must name a ConfigMap of these files (got settings).",
        ),
        (
            lambda objects: pod(objects).update(serviceAccountName="web"),
            "the Deployment api must name a ServiceAccount of these files (got web).",
        ),
        (
            lambda objects: pod(objects).update(serviceAccountName="", serviceAccount="web"),
            "the Deployment api must name a ServiceAccount of these files (got web).",
        ),
        (
            lambda objects: pod(objects)["containers"][0].update(volumeMounts=[{"name": "tmp", "mountPath": "/tmp"}]),
            "the Deployment api must name a volume of these files (got tmp).",
        ),
        (
            lambda objects: pod(objects)["containers"][0].update(livenessProbe={"httpGet": {"port": "web"}}),
            "a probe of the Deployment api must name a port of these files (got web).",
        ),
        (
            lambda objects: pod(objects)["containers"][0].update(startupProbe={"tcpSocket": {"port": 8080}}),
            "a probe of the Deployment api must name a port of these files (got 8080).",
        ),
        (
            lambda objects: objects["deployment"]["spec"].update(selector={"matchLabels": {"name": "web"}}),
            "deploy/k8s, api: the selector of the Deployment must match the labels of its own pods",
        ),
    ],
)
def test_an_object_that_refers_to_nothing_is_a_finding(change: Callable[[Objects], object], sentence: str) -> None:
    """Kubernetes accepts it."""
    findings = changed(change)
    assert [one for one in findings if sentence in one], findings
    # A pod whose account is not there has no account that mounts no token, either: its own key decides.
    assert len(findings) == (2 if "must select" in sentence else 1)


@pytest.mark.parametrize(
    ("change", "missing"),
    [
        ({"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "COLOUR"}}}]}, "COLOUR"),
        ({"volumes": [{"name": "x", "configMap": {"name": "settings", "items": [{"key": "b", "path": "x"}]}}]}, "b"),
        (
            {"volumes": [{"name": "x", "projected": {"sources": [
                {"configMap": {"name": "settings", "items": [{"key": "b", "path": "x"}]}}
            ]}}]},
            "b",
        ),
    ],
)  # fmt: skip
def test_a_key_that_a_config_map_lacks_is_a_finding(change: dict[str, Any], missing: str) -> None:
    """The pod does not start, unless the key is optional."""
    objects = copy.deepcopy(OBJECTS)
    place = pod(objects)["containers"][0] if "env" in change else pod(objects)
    place.update(copy.deepcopy(change))
    assert judged(objects) == [
        f"deploy/k8s: the Deployment api must name a key of the ConfigMap settings of these files (got {missing}). To "
        "fix it: correct the name."
    ]
    for kind in ("data", "binaryData"):
        objects["settings"] = {"kind": "ConfigMap", "metadata": {"name": "settings"}, kind: {missing: ""}}
        assert judged(objects) == []
    objects["settings"] = OBJECTS["settings"]
    reference = ast.literal_eval(repr(change).replace("'name': 'settings'", "'name': 'settings', 'optional': True"))
    place.update(reference)
    assert judged(objects) == []
    place.update(ast.literal_eval(repr(change).replace("settings", "kube-root-ca.crt")))
    assert judged(objects) == []
    place.update(ast.literal_eval(repr(change).replace("settings", "other")))
    (sentence,) = judged(objects)
    assert sentence.startswith("deploy/k8s: the Deployment api must name a ConfigMap of these files (got other).")


def test_references_within_a_pod_are_not_findings() -> None:
    """Its labels, its volumes, its ports, also those of a container that starts before the others."""
    objects = copy.deepcopy(OBJECTS)
    objects["deployment"]["spec"]["selector"] = {"matchLabels": LABELS}
    pod(objects)["volumes"] = [{"name": "tmp", "emptyDir": {}}]
    pod(objects)["containers"][0] |= {
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
        "livenessProbe": {"httpGet": {"port": "http"}},
        "readinessProbe": {"tcpSocket": {"port": 8000}},
        "lifecycle": {"preStop": {"sleep": {"seconds": 5}}},
    }
    pod(objects)["initContainers"] = [
        {"name": "sidecar", "ports": [{"name": "login", "containerPort": 4180}]},
        {"name": "other", "startupProbe": {"grpc": {"port": 9000}}},
    ]
    objects["service"]["spec"]["ports"].append({"port": 81, "targetPort": "login"})
    assert judged(objects) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda objects: objects.pop("policy"),
        lambda objects: objects["policy"]["spec"].update(ingress=[]),
        lambda objects: objects["policy"]["spec"].update(policyTypes=["Egress"]),
        lambda objects: objects["policy"]["spec"].update(ingress=[{"ports": [{"port": 80}]}]),
        lambda objects: objects["policy"]["spec"].update(ingress=[{"ports": [{"port": "web"}]}]),
        lambda objects: objects["policy"]["spec"].update(ingress=[{"ports": [{"port": 8000, "protocol": "UDP"}]}]),
    ],
)
def test_policies_that_let_no_request_in_are_a_finding(change: Callable[[Objects], object]) -> None:
    """The policy of all pods closes what no other one opens. Without any policy all is open."""
    (sentence,) = changed(change)
    assert sentence == (
        "deploy/k8s: a NetworkPolicy must let requests in to the port 8000 of api (got none that does). To fix it: add "
        "the port to its `ingress`."
    )
    assert changed(lambda objects: (objects.pop("policy"), objects.pop("default"))) == []


def test_a_pod_that_mounts_a_token_is_a_finding() -> None:
    """By its own key, which takes precedence, or with the account that every namespace has."""
    assert changed(lambda objects: pod(objects).pop("automountServiceAccountToken")) == []
    sentence = (
        "deploy/k8s, api: automountServiceAccountToken must be false (got another value, or none). To fix it: set it "
        "to false."
    )
    assert changed(lambda objects: pod(objects).update(automountServiceAccountToken=True)) == [sentence]
    default = {"serviceAccountName": "default", "automountServiceAccountToken": None}
    assert changed(lambda objects: pod(objects).update(default)) == [sentence]


def test_a_projected_token_of_the_api_is_a_finding() -> None:
    """One for another system is not."""

    def project(**token: str) -> Callable[[Objects], object]:
        sources = [{"configMap": {"name": "settings"}}, {"serviceAccountToken": {"path": "token"} | token}]
        return lambda objects: pod(objects).update(volumes=[{"name": "t", "projected": {"sources": sources}}])

    (sentence,) = changed(project())
    assert sentence.startswith("deploy/k8s, api: a projected serviceAccountToken must have an audience (got none")
    assert changed(project(audience="vault")) == []


@pytest.mark.parametrize(
    "one",
    [
        an_object("Service", {"template": {"spec": {"containers": [{"image": "x"}]}}}, "web")
        | {"apiVersion": "serving.knative.dev/v1"},
        an_object("CronJob", {"schedule": "* * * * *"}) | {"apiVersion": "jobs.example.com/v1"},
        an_object("Ingress", {"rules": "x"}) | {"apiVersion": "config.example.com/v1"},
    ],
)
def test_a_kind_of_an_operator_with_the_name_of_another_one_is_not_judged(one: dict[str, Any]) -> None:
    """By the group of its version."""
    assert changed(lambda objects: objects.update(other=one)) == []


@pytest.mark.parametrize(
    ("place", "selector"),
    [
        *(
            (place, one)
            for place in ("service", "budget")
            for one in (None, {"name": "z"}, {"matchLabels": {"a": "z"}})
        ),
        ("service", {}),
    ],
)
def test_an_object_that_selects_no_pod_is_a_finding(place: str, selector: dict[str, Any] | None) -> None:
    """Kubernetes reports no error for it."""
    (sentence,) = changed(lambda objects: objects[place]["spec"].update(selector=selector))
    assert sentence == (
        f"deploy/k8s: the {OBJECTS[place]['kind']} api must select the pods of a workload (got none). To fix it: "
        "correct its selector."
    )


def test_an_empty_selector_of_a_budget_is_that_of_all_pods() -> None:
    """Of its namespace, which has those of the service alone."""
    assert changed(lambda objects: objects["budget"]["spec"].update(selector={})) == []


def test_only_a_template_with_containers_is_a_workload() -> None:
    """A kind that is not Kubernetes' own has a template of a Secret, for example."""
    template = {"metadata": {"name": "x"}, "type": "Opaque"}
    assert judged(OBJECTS | {"sealed": an_object("SealedSecret", {"template": template})}) == []


def test_the_port_of_a_sidecar_may_be_closed() -> None:
    """It serves its pod alone."""
    objects = copy.deepcopy(OBJECTS)
    pod(objects)["containers"][0]["name"] = "api"
    pod(objects)["containers"].append({"name": "sidecar", "ports": [{"containerPort": 4317}]})
    assert judged(objects) == []
    pod(objects)["containers"][0]["ports"] = [{"name": "http", "containerPort": 8000}, {"containerPort": 9000}]
    (sentence,) = judged(objects)
    assert "the port 9000 of api" in sentence


def test_ports_need_not_be_listed_by_other_images() -> None:
    """Kubernetes needs the list for names alone: a probe of a sidecar, a Service of a database."""
    objects = copy.deepcopy(OBJECTS)
    pod(objects)["containers"][0]["name"] = "api"
    sidecar = {"name": "sql-proxy", "ports": [{"containerPort": 5432}], "startupProbe": {"httpGet": {"port": 9090}}}
    pod(objects)["containers"].append(sidecar)
    objects["redis"] = workload("redis", {"name": "redis"})
    del objects["redis"]["spec"]["template"]["spec"]["containers"][0]["ports"]
    objects["redis"]["spec"]["template"]["spec"]["containers"].append({"ports": [{"containerPort": 9121}]})
    service = {"selector": {"name": "redis"}, "ports": [{"port": 6379}]}
    objects["service of redis"] = an_object("Service", service, "redis")
    assert judged(objects) == []
    sidecar["startupProbe"] = {"httpGet": {"port": "health"}}
    service["ports"] = [{"port": 6379, "targetPort": "redis"}]
    assert [one.partition("(got ")[2].partition(")")[0] for one in judged(objects)] == ["redis", "health"]


def test_a_service_selects_the_pods_of_one_workload() -> None:
    """A command's pods do not answer requests; those of the service must be selected."""
    objects = copy.deepcopy(OBJECTS) | {"worker": workload("worker", {"name": "worker"})}
    assert judged(objects) == []
    objects["service"]["spec"]["selector"] = {"name": "worker"}
    assert judged(objects) == [
        "deploy/k8s: a Service must select the pods of the Deployment api (got none). To fix it: correct its selector."
    ]
    objects = copy.deepcopy(OBJECTS) | {"worker": workload("worker", LABELS)}
    sentences = judged(objects)
    assert len(sentences) == 2
    assert "the Service api must select the pods of one workload (got api, worker)." in "".join(sentences)


def test_a_service_that_leads_out_of_the_cluster_is_accepted() -> None:
    """A database outside, for example."""
    outside = an_object("Service", {"type": "ExternalName"}, "db")
    assert judged(OBJECTS | {"outside": outside}) == []
    service = an_object("Service", {"ports": [{"port": 5432}]}, "db")
    labels = {"kubernetes.io/service-name": "db"}
    addresses = {"kind": "EndpointSlice", "metadata": {"name": "db-1", "labels": labels}}
    assert judged(OBJECTS | {"service of addresses": service, "addresses": addresses}) == []
    assert judged(OBJECTS | {"service of addresses": service, "addresses": an_object("Endpoints", {}, "db")}) == []
    assert len(judged(OBJECTS | {"service of addresses": service})) == 1


@pytest.mark.parametrize(
    ("kind", "selector"),
    [("NetworkPolicy", {"podSelector": OTHER}), ("PodDisruptionBudget", {"selector": OTHER}),
     ("Service", {"selector": {"name": "z"}})],
)  # fmt: skip
def test_pods_that_an_operator_makes_may_be_selected(kind: str, selector: dict[str, Any]) -> None:
    """They are in no file. Those of the service must be selected as before."""
    database = {"apiVersion": "postgresql.cnpg.io/v1", "kind": "Cluster", "metadata": {"name": "db"}, "spec": {}}
    of_database = an_object(kind, selector, "db")
    assert len(judged(OBJECTS | {"of database": of_database})) == 1
    assert judged(OBJECTS | {"of database": of_database, "database": database}) == []
    objects = copy.deepcopy(OBJECTS) | {"database": database}
    place = {"NetworkPolicy": "policy", "PodDisruptionBudget": "budget", "Service": "service"}[kind]
    objects[place]["spec"].update(selector)
    (sentence,) = judged(objects)
    wanted = "a NetworkPolicy must let requests in" if kind == "NetworkPolicy" else f"a {kind} must select the pods of"
    assert wanted in sentence


@pytest.mark.parametrize(
    ("expression", "matches"),
    [
        ({"key": "name", "operator": "In", "values": ["shop", "x"]}, True),
        ({"key": "name", "operator": "In", "values": ["x"]}, False),
        ({"key": "name", "operator": "NotIn", "values": ["shop"]}, False),
        ({"key": "other", "operator": "NotIn", "values": ["shop"]}, True),
        ({"key": "name", "operator": "Exists"}, True),
        ({"key": "other", "operator": "Exists"}, False),
        ({"key": "name", "operator": "DoesNotExist"}, False),
        ({"key": "other", "operator": "DoesNotExist"}, True),
    ],
)
def test_an_expression_selects_as_in_kubernetes(expression: dict[str, Any], matches: bool) -> None:  # noqa: FBT001
    """With labels as well, all of them must match."""
    assert kubernetes.selects({"matchExpressions": [expression]}, LABELS) == matches
    assert not kubernetes.selects({"matchExpressions": [expression], "matchLabels": {"a": "b"}}, LABELS)
