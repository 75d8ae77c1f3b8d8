"""The files in deploy/ run the service with the same settings."""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from prodlock import service
from prodlock.proof.judges import deployment, variables

DOCKERFILE = "FROM x AS y\nUSER root\nEXPOSE 1\nFROM scratch AS prod\nUSER 10001:10001\nEXPOSE 8000\n"
PROXY = (
    "frontend public\n    http-request set-header x-forwarded-proto %[ssl_fc,iif(https,http)]\n"
    "backend service\n    option httpchk GET /ready\n    server-template replica 4 api-prod:8000\n"
)
SUBNETS = ["10.250.0.0/24"]
FORWARDED = {"FORWARDED_ALLOW_IPS": "10.250.0.0/24,192.0.2.1"}
COMPOSE: dict[str, Any] = {
    "ports": [{"target": 8000}], "stop_grace_period": "10s", "mem_limit": "268435456", "cpus": 1, "read_only": True,
    "cap_drop": ["ALL"], "environment": {"FORWARDED_ALLOW_IPS": None},
}  # fmt: skip
STACK: dict[str, Any] = {
    "user": "10001:10001", "stop_grace_period": "10s", "read_only": True, "cap_drop": ["ALL"],
    "environment": FORWARDED,
    "deploy": {"resources": {"limits": {"cpus": "1", "memory": "268435456"}}},
}  # fmt: skip
DIGEST = "registry.example/x@sha256:" + "0" * 64
OBJECTS: list[dict[str, Any]] = [
    {"kind": "Service", "metadata": {"name": "api"}, "spec": {"selector": {"name": "x"}}},
    {
        "kind": "Deployment",
        "metadata": {"name": "api"},
        "spec": {
            "template": {
                "metadata": {"labels": {"name": "x", "more": "y"}},
                "spec": {
                    "automountServiceAccountToken": False,
                    "securityContext": {
                        "runAsNonRoot": True, "runAsUser": 10001, "runAsGroup": 10001,
                        "seccompProfile": {"type": "RuntimeDefault"},
                    },
                    "terminationGracePeriodSeconds": 15,
                    "volumes": [{"name": "tmp", "emptyDir": {}}],
                    "containers": [
                        {
                            "image": DIGEST,
                            "env": [{"name": "FORWARDED_ALLOW_IPS", "value": "10.0.0.0/8"}],
                            "ports": [{"containerPort": 8000}],
                            "livenessProbe": {"httpGet": {"path": "/health"}},
                            "readinessProbe": {"httpGet": {"path": "/ready"}},
                            "lifecycle": {"preStop": {"sleep": {"seconds": 5}}},
                            "resources": {"limits": {"cpu": "1000m", "memory": "256Mi"}},
                            "securityContext": {
                                "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
                                "capabilities": {"drop": ["ALL"]},
                            },
                        }
                    ],
                }
            }
        },
    },
    {
        "kind": "PodDisruptionBudget", "metadata": {"name": "api"},
        "spec": {"selector": {"matchLabels": {"name": "x"}}},
    },
]  # fmt: skip
# A container beside that of the service, with a port for its pod alone.
SIDECAR: dict[str, Any] = {
    "name": "sidecar", "image": "collector:1", "ports": [{"containerPort": 4317}],
    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
}  # fmt: skip
REFERENCE = deployment.RunSettings(
    8000, "10001:10001", "/health", "/ready", 10, 256 << 20, 1, read_only=True, dropped=("ALL",), added=(),
    forwarded=deployment.PROXY, root_path="", command=(), once=False,
)  # fmt: skip


def pod(objects: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the Deployment's pod."""
    found: dict[str, Any] = objects[1]["spec"]["template"]["spec"]
    return found


def container(objects: list[dict[str, Any]]) -> dict[str, Any]:
    """Return its container."""
    found: dict[str, Any] = pod(objects)["containers"][0]
    return found


def label(field: str) -> str:
    """Return the name of a setting in a message."""
    return str(getattr(deployment.LABELS, field, field))


def test_equal_settings_are_not_findings() -> None:
    """Settings that Compose does not have are the image's; the proxy's path is that of its check."""
    found = deployment.merged(
        deployment.of_compose(COMPOSE),
        deployment.of_image(DOCKERFILE, "/health", "/ready"),
        deployment.RunSettings(ready="/ready"),
    )
    assert found == REFERENCE
    assert deployment.of_kubernetes(OBJECTS) == REFERENCE
    others = {
        "stack": deployment.of_stack(STACK, SUBNETS),
        "k8s": deployment.of_kubernetes(OBJECTS),
        "proxy": deployment.of_proxy(PROXY),
    }
    assert list(deployment.differences(REFERENCE, others, "docker-compose.yml")) == []


def test_settings_of_a_config_map_are_those_of_the_container() -> None:
    """Its own variables take precedence."""
    objects = copy.deepcopy(OBJECTS)
    container(objects).update(env=[], envFrom=[{"configMapRef": {"name": "settings"}}])
    objects.append(
        {
            "kind": "ConfigMap", "metadata": {"name": "settings"},
            "data": {"FORWARDED_ALLOW_IPS": "*", "UVICORN_ROOT_PATH": "/api"},
        }
    )  # fmt: skip
    found = deployment.of_kubernetes(objects)
    assert (found.forwarded, found.root_path) == (deployment.EVERYONE, "/api")
    container(objects)["env"] = [{"name": "FORWARDED_ALLOW_IPS", "value": "10.0.0.0/8"}]
    assert deployment.of_kubernetes(objects).forwarded == deployment.PROXY


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda objects: container(objects)["ports"][0].update(containerPort=80), "port"),
        (lambda objects: pod(objects)["securityContext"].update(runAsUser=0), "user"),
        (lambda objects: container(objects)["livenessProbe"]["httpGet"].update(path="/"), "health"),
        (lambda objects: container(objects).pop("readinessProbe"), "ready"),
        (lambda objects: pod(objects).pop("terminationGracePeriodSeconds"), "grace"),
        (lambda objects: container(objects).pop("lifecycle"), "grace"),
        (lambda objects: container(objects)["resources"]["limits"].update(memory="1Gi"), "memory"),
        (lambda objects: container(objects)["resources"]["limits"].update(cpu="500m"), "cpus"),
        (lambda objects: container(objects)["resources"]["limits"].pop("memory"), "memory"),
        (lambda objects: container(objects)["resources"]["limits"].pop("cpu"), "cpus"),
        (lambda objects: container(objects)["securityContext"].pop("readOnlyRootFilesystem"), "read_only"),
        (lambda objects: container(objects)["securityContext"].pop("capabilities"), "dropped"),
        (lambda objects: container(objects).pop("env"), "forwarded"),
        (lambda objects: container(objects)["env"][0].update(value="*"), "forwarded"),
        (lambda objects: container(objects)["env"].append({"name": "UVICORN_ROOT_PATH", "value": "/x"}), "root_path"),
        (lambda objects: container(objects).pop("ports"), "port"),
        (lambda objects: container(objects).update(readinessProbe={"tcpSocket": {}}), "ready"),
        (lambda objects: container(objects).update(args=["x"]), "command"),
        (lambda objects: container(objects).update(command=["x"]), "command"),
    ],
)
def test_another_setting_is_a_finding(change: Callable[[list[dict[str, Any]]], object], field: str) -> None:
    """With the file, its value, and the required value."""
    objects = copy.deepcopy(OBJECTS)
    change(objects)
    (sentence,) = deployment.differences(
        REFERENCE, {"deploy/k8s": deployment.of_kubernetes(objects)}, "docker-compose.yml"
    )
    assert sentence.startswith(f"deploy/k8s: {label(field)} must be ")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"user": "0"}, "user"),
        ({"user": None}, "user"),
        ({"stop_grace_period": None}, "grace"),
        ({"deploy": {"resources": {"limits": {"cpus": "1"}}}}, "memory"),
        ({"deploy": {"resources": {"limits": {"memory": "268435456"}}}}, "cpus"),
        ({"stop_grace_period": "1m30s"}, "grace"),
        ({"read_only": False}, "read_only"),
        ({"cap_drop": []}, "dropped"),
        ({"cap_add": ["SYS_ADMIN"]}, "added"),
        ({"deploy": {"resources": {"limits": {"cpus": "1", "memory": "1G"}}}}, "memory"),
        ({"environment": {}}, "forwarded"),
        ({"environment": {"FORWARDED_ALLOW_IPS": "0.0.0.0/0"}}, "forwarded"),
        ({"environment": {"FORWARDED_ALLOW_IPS": "10.0.0.0/24"}}, "forwarded"),
        ({"environment": FORWARDED | {"UVICORN_ROOT_PATH": "/api"}}, "root_path"),
        ({"command": ["x"]}, "command"),
        ({"entrypoint": ["x"]}, "command"),
        ({"deploy": STACK["deploy"] | {"mode": "replicated-job"}}, "once"),
    ],
)
def test_another_setting_of_a_stack_is_a_finding(change: dict[str, Any], field: str) -> None:
    """The same for Swarm."""
    (sentence,) = deployment.differences(
        REFERENCE, {"deploy/stack.yml": deployment.of_stack(STACK | change, SUBNETS)}, "docker-compose.yml"
    )
    assert f": {label(field)} must be " in sentence


def test_limits_of_the_compose_file_have_two_forms() -> None:
    """Of the service, and of its deployment. Without one the files in deploy/ must have none either."""
    bare = {key: value for key, value in COMPOSE.items() if key not in {"mem_limit", "cpus"}}
    limits = {"memory": "268435456", "cpus": 1}
    assert deployment.of_compose(bare | {"deploy": {"resources": {"limits": limits}}}) == deployment.of_compose(COMPOSE)
    found = deployment.of_compose(bare)
    assert (found.memory, found.cpus) == (deployment.OPEN, deployment.OPEN)


@pytest.mark.parametrize(
    ("context", "got"),
    [({}, "left open"), ({"runAsUser": 10001}, "10001"), ({"runAsGroup": 10001}, ":10001"), ({"runAsUser": 0}, "0")],
)
def test_a_user_that_kubernetes_is_not_given_is_named_in_the_message(context: dict[str, int], got: str) -> None:
    """As `docker run --user` takes it."""
    objects = copy.deepcopy(OBJECTS)
    pod(objects)["securityContext"] = context
    (sentence,) = deployment.differences(REFERENCE, {"k8s": deployment.of_kubernetes(objects)}, "compose.yaml")
    assert f"the user and group must be 10001:10001, as with compose.yaml (got {got})." in sentence


def test_capabilities_are_compared_as_docker_reads_them() -> None:
    """In any case, with or without the prefix."""
    assert deployment.of_stack(STACK | {"cap_drop": ["all"]}, SUBNETS) == deployment.of_stack(STACK, SUBNETS)
    assert deployment.of_stack({"cap_add": ["cap_chown"]}, SUBNETS).added == ("CHOWN",)


def test_another_backend_of_the_proxy_is_not_compared() -> None:
    """Only the one with the replicas is the service's."""
    other = "backend files\n    option httpchk GET /\n    server files 10.0.0.1:80\n"
    assert deployment.of_proxy(other + PROXY) == deployment.of_proxy(PROXY + other) == deployment.of_proxy(PROXY)


def test_instructions_of_the_dockerfile_are_read_in_any_case() -> None:
    """Of its last stage. One that lacks is named."""
    other = DOCKERFILE.lower().replace("expose 8000", "  expose  8000/tcp")
    assert deployment.of_image(other, "/", "/") == deployment.of_image(DOCKERFILE, "/", "/")
    for text, what in ((DOCKERFILE.replace("EXPOSE 8000", "EXPOSE $PORT"), "EXPOSE"), ("FROM x\nEXPOSE 1\n", "USER")):
        with pytest.raises(ValueError, match=f"^no {what} .*in the Dockerfile's last stage$"):
            deployment.of_image(text, "/", "/")
    with pytest.raises(ValueError, match=r"^no server with a port in deploy/haproxy\.cfg$"):
        deployment.of_proxy("backend service\n")


@pytest.mark.parametrize(
    "check",
    [
        "option  httpchk GET /ready HTTP/1.1",
        "option httpchk HEAD /ready",
        "option httpchk\n    http-check send meth GET uri /ready ver HTTP/1.1 hdr Host x",
        "option httpchk GET /\n    http-check send uri /ready meth HEAD",
        "option httpchk GET /ready\n    http-check send hdr Host x",
    ],
)
def test_each_form_of_haproxys_check_is_read(check: str) -> None:
    """GET and HEAD: the service refuses OPTIONS, the method by default."""
    assert deployment.of_proxy(PROXY.replace("option httpchk GET /ready", check)) == deployment.of_proxy(PROXY)
    assert deployment.of_proxy(PROXY.replace("GET /ready", "/ready")).ready == deployment.CONNECTION


@pytest.mark.parametrize(
    "line",
    [
        "http-request set-header X-Forwarded-Proto %[ssl_fc,iif(https,http)]",
        "http-request  set-header x-forwarded-proto %[ssl_fc,iif(https,http)] unless outer scheme  # ours",
    ],
)
def test_the_header_of_the_scheme_is_read_as_haproxy_does(line: str) -> None:
    """In any case, with any spaces. Where it is replaced under another condition, clients may forge it."""
    start = "http-request set-header x-forwarded-proto %[ssl_fc,iif(https,http)]"
    assert deployment.of_proxy(PROXY.replace(start, line)).forwarded == deployment.PROXY
    assert deployment.of_proxy(PROXY.replace(start, f"{start} if x")).forwarded == deployment.EVERYONE
    assert deployment.of_proxy(PROXY.replace(start, f"# {start}")).forwarded == deployment.EVERYONE


def test_another_port_of_the_proxy_is_a_finding() -> None:
    """And another question."""
    other = deployment.of_proxy(PROXY.replace("8000", "80").replace("/ready", "/"))
    assert len(list(deployment.differences(REFERENCE, {"proxy": other}, "docker-compose.yml"))) == 2


def test_a_proxy_that_trusts_any_scheme_is_a_finding() -> None:
    """The control is in the first test."""
    (sentence,) = deployment.differences(
        REFERENCE, {"proxy": deployment.of_proxy(PROXY.replace("set-header", "add-header"))}, "docker-compose.yml"
    )
    assert "must be the proxy's network, as with docker-compose.yml (got every client)" in sentence


@pytest.mark.parametrize(
    ("listed", "forwarded"), [("10.250.0.0/24", deployment.PROXY), ("", deployment.OPEN), ("::/0", "every client")]
)
def test_the_compose_file_of_the_proxy_names_its_network(listed: str, forwarded: str) -> None:
    """No other network is trusted."""
    assert deployment.of_proxied({"environment": {"FORWARDED_ALLOW_IPS": listed}}, SUBNETS).forwarded == forwarded


@pytest.mark.parametrize("name", ["", "prodlock", "prodlock:1.0", "x@sha256:0"])
def test_an_image_without_a_digest_is_a_finding(name: str) -> None:
    """One with a digest is not."""
    assert list(deployment.unpinned_images({"k8s": deployment.image(OBJECTS)})) == []
    (sentence,) = deployment.unpinned_images({"k8s": name})
    assert "must be named by its digest" in sentence


@pytest.mark.parametrize(
    "change",
    [
        lambda objects: pod(objects)["securityContext"].pop("runAsNonRoot"),
        lambda objects: pod(objects)["securityContext"].pop("seccompProfile"),
        lambda objects: container(objects)["securityContext"].pop("allowPrivilegeEscalation"),
        lambda objects: container(objects)["securityContext"].update(capabilities={"drop": ["KILL"]}),
        lambda objects: container(objects)["securityContext"]["capabilities"].update(add=["SYS_ADMIN"]),
        lambda objects: container(objects)["securityContext"].update(privileged=True),
        lambda objects: container(objects)["securityContext"].update(procMount="Unmasked"),
        lambda objects: container(objects)["securityContext"].update(runAsNonRoot=False),
        lambda objects: container(objects)["securityContext"].update(runAsUser=0),
        lambda objects: container(objects)["securityContext"].update(seccompProfile={"type": "Unconfined"}),
        lambda objects: container(objects)["securityContext"].update(appArmorProfile={"type": "Unconfined"}),
        lambda objects: container(objects)["ports"][0].update(hostPort=80),
        lambda objects: pod(objects).update(hostNetwork=True),
        lambda objects: pod(objects).update(hostPID=True),
        lambda objects: pod(objects).update(hostIPC=True),
        lambda objects: pod(objects)["volumes"].append({"name": "host", "hostPath": {"path": "/"}}),
        lambda objects: pod(objects)["containers"].append({**SIDECAR, "securityContext": {}}),
        lambda objects: pod(objects).update(initContainers=[{**SIDECAR, "securityContext": {}}]),
        lambda objects: pod(objects).update(ephemeralContainers=[{**SIDECAR, "securityContext": {}}]),
        lambda objects: pod(objects)["securityContext"].update(sysctls=[{"name": "kernel.msgmax", "value": "1"}]),
        lambda objects: pod(objects)["securityContext"].update(seLinuxOptions={"type": "spc_t"}),
        lambda objects: pod(objects)["securityContext"].update(seLinuxOptions={"role": "system_r"}),
        lambda objects: container(objects)["securityContext"].update(seLinuxOptions={"user": "system_u"}),
        lambda objects: container(objects)["securityContext"].update(windowsOptions={"hostProcess": True}),
        lambda objects: container(objects)["livenessProbe"]["httpGet"].update(host="127.0.0.1"),
        lambda objects: container(objects).update(startupProbe={"tcpSocket": {"host": "10.0.0.1"}}),
        lambda objects: container(objects)["lifecycle"].update(postStart={"httpGet": {"host": "x"}}),
        lambda objects: objects[1]["spec"]["template"]["metadata"].update(
            annotations={"container.apparmor.security.beta.kubernetes.io/api": "unconfined"}
        ),
        *(
            lambda objects, key=key, loose=loose, strict=strict: (
                pod(objects)["securityContext"].update({key: loose}),
                container(objects)["securityContext"].update({key: strict}),
            )
            for key, loose, strict in (
                ("runAsUser", 0, 10001),
                ("runAsNonRoot", False, True),
                ("seccompProfile", {"type": "Unconfined"}, {"type": "RuntimeDefault"}),
                ("appArmorProfile", {"type": "Unconfined"}, {"type": "RuntimeDefault"}),
            )
        ),
    ],
)
def test_an_unmet_restriction_is_a_finding(change: Callable[[list[dict[str, Any]]], object]) -> None:
    """Of the restricted standard."""
    assert list(deployment.unmet_restrictions(OBJECTS)) == []
    objects = copy.deepcopy(OBJECTS)
    container(objects)["name"] = "api"
    change(objects)
    sentences = list(deployment.unmet_restrictions(objects))
    assert {one.partition(": ")[0] for one in sentences} in ({"deploy/k8s"}, {"deploy/k8s, sidecar"})
    assert len(sentences) == len({*sentences})


def test_what_the_restricted_standard_allows_is_not_a_finding() -> None:
    """Kernel parameters that are the pod's own, types of SELinux, profiles of AppArmor."""
    objects = copy.deepcopy(OBJECTS)
    pod(objects)["securityContext"].update(
        sysctls=[{"name": "net.ipv4.tcp_keepalive_time", "value": "60"}],
        seLinuxOptions={"type": "container_t", "level": "s0:c1,c2", "user": ""},
    )
    container(objects)["livenessProbe"]["httpGet"]["host"] = ""
    objects[1]["spec"]["template"]["metadata"]["annotations"] = {
        "container.apparmor.security.beta.kubernetes.io/api": "runtime/default",
        "prometheus.io/scrape": "true",
    }
    assert list(deployment.unmet_restrictions(objects)) == []


@pytest.mark.parametrize(
    "kind", ["csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"]
)
def test_a_volume_that_the_restricted_standard_allows_is_not_a_finding(kind: str) -> None:
    """Such as one for uploads, or one with secrets of a cloud."""
    objects = copy.deepcopy(OBJECTS)
    pod(objects)["volumes"].append({"name": "more", kind: {}})
    assert list(deployment.unmet_restrictions(objects)) == []


def test_a_container_may_have_the_security_context_of_its_pod() -> None:
    """Its own keys take precedence: then the user is another one."""
    objects = copy.deepcopy(OBJECTS)
    container(objects)["securityContext"].update(pod(objects).pop("securityContext"))
    assert list(deployment.unmet_restrictions(objects)) == []
    assert deployment.of_kubernetes(objects) == REFERENCE
    pod(objects)["securityContext"] = {"runAsUser": 1}
    assert deployment.of_kubernetes(objects) == REFERENCE
    container(objects)["securityContext"]["runAsUser"] = 2
    assert deployment.of_kubernetes(objects).user == "2:10001"


def test_every_setting_has_a_name_for_messages() -> None:
    """A difference names it."""
    assert None not in deployment.LABELS
    (sentence,) = deployment.differences(
        deployment.RunSettings(added=()), {"x": deployment.RunSettings(added=("SYS_ADMIN",))}, "y"
    )
    assert sentence.startswith("x: the added capabilities must be none, as with y (got SYS_ADMIN).")


def test_sidecars_are_not_compared_with_the_service() -> None:
    """The container with the name of its workload is the service's."""
    for place in (0, 1):
        objects = copy.deepcopy(OBJECTS)
        container(objects)["name"] = "api"
        pod(objects)["containers"].insert(place, SIDECAR)
        assert deployment.of_kubernetes(objects) == REFERENCE
        assert deployment.image(objects) == DIGEST
        assert list(deployment.unmet_restrictions(objects)) == []
        assert list(deployment.undeclared_workloads(objects, ())) == []
        pod(objects)["containers"][place] = {**SIDECAR, "image": DIGEST}
        (sentence,) = deployment.undeclared_workloads(objects, ())
        assert sentence.startswith("deploy/k8s: Deployment api, sidecar, which runs the production image")
        pod(objects)["containers"][1 - place]["name"] = "quotes"
        with pytest.raises(ValueError, match="2 containers in the Deployment api, none of which is called so"):
            deployment.image(objects)


@pytest.mark.parametrize(("text", "seconds"), [("10s", 10), ("1m30s", 90), ("1h", 3600), ("500ms", 0.5), (None, 10)])
def test_a_duration_is_read(text: str | None, seconds: float) -> None:
    """As Compose writes it. Without one it is 10 s."""
    assert deployment.of_compose({"stop_grace_period": text}).grace == seconds


# Commands

COMMANDS = (
    deployment.Command("a_worker", ("celery", "worker"), once=False, workload="a-worker"),
    deployment.Command("migrate", ("alembic", "up"), once=True, workload="migrate"),
)


def job(name: str, words: list[str], kind: str = "Deployment") -> dict[str, Any]:
    """Return the workload of a command."""
    template = copy.deepcopy(OBJECTS[1]["spec"]["template"])
    template["metadata"]["labels"] = {"name": name[2:3]}
    template["spec"]["terminationGracePeriodSeconds"] = 10
    (given,) = template["spec"]["containers"]
    for key in ("ports", "env", "livenessProbe", "readinessProbe", "lifecycle"):
        del given[key]
    given |= {"name": name, "command": words}
    return {"kind": kind, "metadata": {"name": name}, "spec": {"template": template}}


def all_objects() -> list[dict[str, Any]]:
    """Return the objects of a service with commands."""
    return [*copy.deepcopy(OBJECTS), job("a-worker", ["celery", "worker"]), job("migrate", ["alembic", "up"], "Job")]


def services() -> dict[str, Any]:
    """Return the services of a stack with commands."""
    common = STACK | {"image": DIGEST, "healthcheck": {"disable": True}}
    return {
        "api-prod": STACK | {"image": DIGEST},
        "a_worker": common | {"command": ["celery", "worker"]},
        "migrate": common | {"command": ["alembic", "up"], "deploy": STACK["deploy"] | {"mode": "replicated-job"}},
        "proxy": {"image": "haproxy:3.2"},
    }


def judged(objects: list[dict[str, Any]], stacked: dict[str, Any]) -> list[str]:
    """Return the findings about a service with commands."""
    images = {"deploy/stack.yml": DIGEST, "deploy/k8s": DIGEST}
    given: list[Mapping[str, Any]] = [*objects]
    volumes = {"socket": {"driver_opts": {"type": "none", "o": "bind", "device": "/run/docker.sock"}}, "x": None}
    found = deployment.judge(
        deployment.Deployment("compose.yaml", REFERENCE, {}, images, given, [], {}, stacked, COMMANDS, volumes=volumes)
    )
    return [one.sentence for one in found]


def test_counterparts_of_commands_are_not_findings() -> None:
    """Also of one whose name Kubernetes does not allow. The service is found by its name."""
    assert judged(all_objects(), services()) == []
    assert deployment.of_kubernetes(all_objects()[::-1]) == REFERENCE
    assert deployment.image(all_objects()[::-1]) == DIGEST


def test_a_command_without_a_counterpart_is_a_finding() -> None:
    """In each of the two places."""
    sentences = judged(OBJECTS, {"api-prod": STACK | {"image": DIGEST}})
    assert [one.partition(" of ")[0] for one in sentences] == [
        f"{file}: the command {name}" for name in ("a_worker", "migrate") for file in ("deploy/stack.yml", "deploy/k8s")
    ]
    assert all("`prodlock upgrade`" in one for one in sentences)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"command": ["celery", "beat"]}, "command"),
        ({"command": None}, "command"),
        ({"ports": [{"target": 80}]}, "port"),
        ({"healthcheck": None}, "health"),
        ({"healthcheck": {"test": ["CMD", "x"]}}, "health"),
        ({"read_only": False}, "read_only"),
        ({"cap_drop": []}, "dropped"),
        ({"user": "0"}, "user"),
        ({"stop_grace_period": "1s"}, "grace"),
        ({"deploy": {"resources": {"limits": {"cpus": "1"}}}}, "memory"),
        ({"deploy": STACK["deploy"] | {"mode": "replicated-job"}}, "once"),
        ({"image": "x@sha256:" + "1" * 64}, "image"),
    ],
)
def test_another_setting_of_a_command_in_the_stack_is_a_finding(change: dict[str, Any], field: str) -> None:
    """It has the words that are declared, and is as hardened as the service."""
    stacked = services()
    stacked["a_worker"] |= change
    (sentence,) = judged(all_objects(), stacked)
    assert sentence.startswith(f"deploy/stack.yml, a_worker: {label(field)} must be ")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda pod, _: pod["containers"][0].update(command=["celery"]), "command"),
        (lambda pod, _: pod["containers"][0].update(args=["--beat"]), "command"),
        (lambda pod, _: pod["containers"][0].update(ports=[{"containerPort": 80}]), "port"),
        (lambda pod, _: pod["containers"][0].update(livenessProbe={"exec": {}}), "health"),
        (lambda pod, _: pod["containers"][0].update(readinessProbe={"httpGet": {"path": "/"}}), "ready"),
        (lambda pod, _: pod["containers"][0].update(image="x@sha256:" + "1" * 64), "image"),
        (lambda pod, _: pod["containers"][0]["resources"]["limits"].pop("memory"), "memory"),
        (lambda pod, _: pod["containers"][0]["securityContext"].pop("readOnlyRootFilesystem"), "read_only"),
        (lambda pod, _: pod["securityContext"].pop("runAsNonRoot"), "runAsNonRoot"),
        (lambda pod, _: pod.pop("terminationGracePeriodSeconds"), "grace"),
        (lambda _, one: one.update(kind="Job"), "once"),
    ],
)
def test_another_setting_of_a_command_in_kubernetes_is_a_finding(
    change: Callable[[dict[str, Any], dict[str, Any]], object], field: str
) -> None:
    """It also meets the restricted standard."""
    objects = all_objects()
    change(objects[3]["spec"]["template"]["spec"], objects[3])
    (sentence,) = judged(objects, services())
    assert sentence.startswith(f"deploy/k8s, a_worker: {label(field)} must be ")


@pytest.mark.parametrize("name", ["api-prod", "a_worker"])
@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"volumes": [{"type": "bind", "source": "/x", "target": "/srv/app"}]}, "(got /srv/app, below /srv"),
        ({"configs": [{"source": "x", "target": "/opt/venv/x.pth"}]}, "(got /opt/venv/x.pth, below /opt"),
        ({"configs": [{"source": "etc"}]}, "(got /etc, below /etc"),
        ({"secrets": [{"source": "x", "target": "/etc/ld.so.preload"}]}, "(got /etc/ld.so.preload, below /etc"),
        ({"tmpfs": "/usr/lib:size=1m"}, "(got /usr/lib, below /usr"),
        *(
            ({"volumes": [one | {"target": "/data"}]}, ": no mount must give control of the Engine (got /")
            for one in (
                {"type": "bind", "source": "/var/run/docker.sock"},
                {"type": "bind", "source": "/var/run"},
                {"type": "bind", "source": "/"},
                {"type": "volume", "source": "socket"},
            )
        ),
        ({"init": True}, ": init must be what the image declares"),
        ({"working_dir": "/tmp"}, ": working_dir must be what the image declares"),
        ({"stop_signal": "SIGKILL"}, ": stop_signal must be what the image declares"),
    ],
)
def test_a_stack_that_does_not_run_the_image_unchanged_is_a_finding(
    name: str, change: dict[str, Any], part: str
) -> None:
    """By a mount over code, or by a key."""
    stacked = services()
    stacked[name] |= change
    (sentence,) = judged(all_objects(), stacked)
    assert sentence.startswith("deploy/stack.yml" if name == "api-prod" else f"deploy/stack.yml, {name}")
    assert part in sentence


@pytest.mark.parametrize("index", [1, 3])
@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"volumeMounts": [{"name": "tmp", "mountPath": "/srv/app/templates"}]}, "(got /srv/app/templates, below /srv"),
        ({"workingDir": "/tmp"}, ": workingDir must be what the image declares"),
        ({"lifecycle": {"postStart": {"exec": {"command": ["sh"]}}}}, ": lifecycle.postStart must be httpGet or sleep"),
        (
            {"lifecycle": {"preStop": {"exec": {"command": ["sleep", "5"]}}}},
            ": lifecycle.preStop must be httpGet or sleep (got exec: a program that the image does not declare).",
        ),
        ({"lifecycle": {"stopSignal": "SIGKILL"}}, ": lifecycle.stopSignal must be what the image declares"),
    ],
)
def test_a_pod_that_does_not_run_the_image_unchanged_is_a_finding(
    index: int, change: dict[str, Any], part: str
) -> None:
    """The same for Kubernetes, of the service and of a command."""
    objects = all_objects()
    objects[index]["spec"]["template"]["spec"]["containers"][0].update(change)
    (sentence,) = judged(objects, services())
    assert sentence.startswith("deploy/k8s: " if index == 1 else "deploy/k8s, a_worker: ")
    assert part in sentence


@pytest.mark.parametrize("index", [1, 3])
def test_a_pod_whose_containers_share_their_processes_is_a_finding(index: int) -> None:
    """As is the `pid` of another service with Compose."""
    objects = all_objects()
    objects[index]["spec"]["template"]["spec"]["shareProcessNamespace"] = True
    (sentence,) = judged(objects, services())
    assert sentence.startswith("deploy/k8s: " if index == 1 else "deploy/k8s, a_worker: ")
    assert "shareProcessNamespace must be false (got true" in sentence


def test_the_port_of_a_container_with_several_is_the_one_that_is_probed() -> None:
    """By its name or its number; another one may be for metrics."""
    objects = copy.deepcopy(OBJECTS)
    container(objects)["ports"] = [{"name": "metrics", "containerPort": 9090}, {"name": "http", "containerPort": 8000}]
    for port, expected in (("http", 8000), (8000, 8000), ("metrics", 9090), (9090, 9090), (1, 9090)):
        container(objects)["readinessProbe"]["httpGet"]["port"] = port
        assert deployment.of_kubernetes(objects).port == expected


def test_a_startup_probe_asks_a_path_of_the_other_probes() -> None:
    """Or only connects. With another path no pod would become ready. A command has none."""
    objects = all_objects()
    for path in ("/health", "/ready"):
        container(objects)["startupProbe"] = {"httpGet": {"path": path}}
        assert judged(objects, services()) == []
    container(objects)["startupProbe"] = {"tcpSocket": {"port": 8000}}
    assert judged(objects, services()) == []
    for other, got in (({"httpGet": {"path": "/healthz"}}, "/healthz"), ({"exec": {"command": ["x"]}}, "a command")):
        container(objects)["startupProbe"] = other
        (sentence,) = judged(objects, services())
        assert sentence.startswith("deploy/k8s: the path of the startup probe must be /health or /ready, as with")
        assert f"(got {got})" in sentence
    del container(objects)["startupProbe"]
    for probe in ({"httpGet": {"path": "/health"}}, {"tcpSocket": {"port": 8000}}, {"exec": {"command": ["x"]}}):
        objects[3]["spec"]["template"]["spec"]["containers"][0]["startupProbe"] = probe
        (sentence,) = judged(objects, services())
        assert sentence.startswith("deploy/k8s, a_worker: the path of the startup probe must be none, as with the ")


def test_data_and_times_of_checks_are_not_findings() -> None:
    """Mounts where the image has no code; a health check whose command is the image's."""
    objects, stacked = all_objects(), services()
    container(objects)["volumeMounts"] = [{"name": "tmp", "mountPath": path} for path in ("/tmp", "/data", "/run/x")]
    stacked["api-prod"] |= {
        "healthcheck": {"interval": "5s"},
        "volumes": [
            {"type": "tmpfs", "target": "/tmp"},
            {"type": "volume", "source": "x", "target": "/var/lib/x"},
            {"type": "bind", "source": "/mnt/data", "target": "/data"},
        ],
        "secrets": [{"source": "x"}, {"source": "x", "target": "y"}],
    }
    assert judged(objects, stacked) == []
    stacked["api-prod"]["healthcheck"] = {"test": ["CMD", "true"]}
    (sentence,) = judged(objects, stacked)
    assert sentence.startswith("deploy/stack.yml: healthcheck must be what the image declares")


def test_a_service_that_is_not_declared_is_a_finding() -> None:
    """Other images, such as a database, are not."""
    others = {"db": {"image": "postgres:17"}, "beat": {"image": DIGEST.partition("@")[0] + ":1"}}
    (sentence,) = judged(all_objects(), services() | others)
    assert sentence.startswith("deploy/stack.yml: beat, which runs the production image, must be one of `commands`")


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "Job", "CronJob", "Pod"])
def test_a_workload_that_is_not_declared_is_a_finding(kind: str) -> None:
    """Whatever kind it has. Other images are not judged."""
    other = job("b-beat", ["celery", "beat"], kind)
    if kind == "CronJob":
        other["spec"] = {"jobTemplate": {"spec": other["spec"]}}
    if kind == "Pod":
        other["spec"] = other["spec"]["template"]["spec"]
    (sentence,) = judged([*all_objects(), other], services())
    assert sentence.startswith(f"deploy/k8s: {kind} b-beat, b-beat, which runs the production image")
    text = repr(other).replace(DIGEST, "postgres:17")
    assert judged([*all_objects(), ast.literal_eval(text)], services()) == []


def test_a_container_before_the_service_is_a_finding() -> None:
    """A command that no declaration has runs before it."""
    objects = all_objects()
    pod(objects)["initContainers"] = [SIDECAR | {"name": "first", "image": DIGEST}, SIDECAR]
    (sentence,) = judged(objects, services())
    assert sentence.startswith("deploy/k8s: Deployment api, first, which runs the production image")


def test_several_deployments_without_that_of_the_service_are_refused() -> None:
    """Which one it is can't be found out."""
    objects = [job("a-worker", []), job("b-beat", [])]
    with pytest.raises(ValueError, match="2 Deployments, none of which is called api"):
        deployment.image(objects)


def test_a_service_without_paths_is_checked_by_connections() -> None:
    """In all files."""
    tcp = {"tcpSocket": {"port": "http"}}
    objects = copy.deepcopy(OBJECTS)
    container(objects).update(livenessProbe=tcp, readinessProbe=tcp)
    reference = REFERENCE._replace(health=deployment.CONNECTION, ready=deployment.CONNECTION)
    assert deployment.of_image(DOCKERFILE, "", "")[2:4] == reference[2:4]
    proxy = deployment.of_proxy(PROXY.replace("    option httpchk GET /ready\n", ""))
    others = {"k8s": deployment.of_kubernetes(objects), "proxy": proxy}
    assert list(deployment.differences(reference, others, "docker-compose.yml")) == []


def test_all_findings_of_a_deployment_are_reported() -> None:
    """One of each kind, in one list."""
    objects = copy.deepcopy(OBJECTS)
    pod(objects)["securityContext"].pop("runAsNonRoot")
    objects[0]["spec"]["selector"] = {"name": "y"}
    evidence = deployment.Deployment(
        "compose.yaml",
        REFERENCE,
        {"deploy/stack.yml": deployment.RunSettings(port=1)},
        {"deploy/stack.yml": "x:1"},
        [*objects],
        ["deploy/k8s: a schema does not allow it."],
        {"APP_NEW": service.dropped("compose.yaml", "api-prod", "APP_NEW")},
        variables=[
            variables.Variables("compose.yaml", {"A": "1"}),
            # What Compose drops is not reported of Compose again.
            variables.Variables("deploy/stack.yml", {"A": "2", "APP_NEW": None}),
        ],
        released={"api-prod": {"image": "x", "build": {}, "pull_policy": "build"}},
    )
    judged = deployment.judge(evidence)
    findings = [one.sentence for one in judged]
    parts = (
        "a schema", "add `APP_NEW`", "the port must be", "x:1", "runAsNonRoot",
        "the Service api must select the pods", "deploy/stack.yml: A must be 1, as with compose.yaml (got 2)",
        "deploy/release.yml: api-prod must not be built",
    )  # fmt: skip
    assert len(findings) == len(parts)
    assert all(part in finding for part, finding in zip(parts, findings, strict=True))
    assert findings[2].endswith("as with compose.yaml (got 1). To fix it: change one of the two.")
    assert [one.rule.code for one in judged] == [
        "LS701", "LS702", "LS703", "LS704", "LS705", "LS706", "LS702", "LS710",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "change", "part"),
    [
        ("api-prod", {"build": {"context": "."}}, "api-prod must not be built"),
        ("worker", {"image": "x:2"}, "the image of worker must be x:1, as with api-prod (got x:2)"),
        ("worker", {"pull_policy": "never"}, "worker must be pulled"),
    ],
)
def test_a_release_that_would_not_run_its_image_is_a_finding(name: str, change: dict[str, Any], part: str) -> None:
    """It runs what was published, with its commands."""
    services = {
        "api-prod": {"image": "x:1", "pull_policy": "missing"},
        "worker": {"image": "x:1"},
        "db": {"image": "y"},
    }
    commands = [deployment.Command("worker", ("x",), once=False, workload="worker")]
    assert list(deployment.built_releases(services, commands)) == []
    services[name] |= change
    (sentence,) = deployment.built_releases(services, commands)
    assert sentence.startswith(f"deploy/release.yml: {part}")


def layered(file: str, change: dict[str, Any], name: str = "api-prod") -> list[str]:
    """Return the findings about a file that is added to the Compose file, and changes a service."""
    environment = {"A": "1", "B": None, "FORWARDED_ALLOW_IPS": None}
    base = COMPOSE | {"image": "x:prod", "build": {"target": "prod"}, "environment": environment}
    composed = {"api-prod": base, "worker": base, "db": {"image": "postgres:17"}}
    # What Compose resolves for the shipped files.
    with_proxy = base | {
        "ports": None, "deploy": {"replicas": 2, "resources": {}, "placement": {}}, "entrypoint": None,
        "environment": environment | {"B": "2", "FORWARDED_ALLOW_IPS": "10.0.0.0/24"},
    }  # fmt: skip
    files = {
        "deploy/proxy.yml": composed | {"api-prod": with_proxy, "proxy": {"image": "haproxy:3.2", "read_only": True}},
        "deploy/release.yml": composed
        | dict.fromkeys(("api-prod", "worker"), base | {"image": DIGEST, "build": None, "pull_policy": "missing"}),
    }
    files[file][name] = files[file].get(name, {}) | change
    reference = variables.Variables("compose.yaml", environment)
    evidence = deployment.Deployment(
        "compose.yaml", REFERENCE, {}, {}, [], [], {}, commands=(COMMANDS[0]._replace(name="worker"),),
        variables=[reference], composed=composed, proxied=files["deploy/proxy.yml"],
        released=files["deploy/release.yml"],
    )  # fmt: skip
    return list(deployment.changed_services(evidence))


@pytest.mark.parametrize("file", ["deploy/proxy.yml", "deploy/release.yml"])
@pytest.mark.parametrize(
    "change",
    [
        {},
        {"labels": {"a": "b"}, "networks": {"outside": None}, "restart": "always", "logging": {"driver": "local"}},
        {"deploy": {"replicas": 5}, "scale": 5, "ports": [{"target": 8000}], "x-note": 1, "privileged": False},
    ],
)
def test_a_file_that_is_added_to_the_compose_file_may_change_where_and_how_often_a_service_runs(
    file: str, change: dict[str, Any]
) -> None:
    """And its variables that are left open; the others are those of docker-compose.yml."""
    assert layered(file, change) == layered(file, change, "worker") == []


@pytest.mark.parametrize("name", ["api-prod", "worker"])
@pytest.mark.parametrize("file", ["deploy/proxy.yml", "deploy/release.yml"])
@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"command": ["sh"]}, "command"),
        ({"entrypoint": ["sh"]}, "entrypoint"),
        ({"user": "0"}, "user"),
        ({"read_only": False}, "read_only"),
        ({"cap_drop": None}, "cap_drop"),
        ({"privileged": True}, "privileged"),
        ({"mem_limit": "1"}, "mem_limit"),
        ({"volumes": [{"type": "bind", "source": "/w/app", "target": "/srv/app"}]}, "volumes"),
        ({"network_mode": "host"}, "network_mode"),
        ({"healthcheck": {"disable": True}}, "healthcheck"),
        ({"stop_grace_period": "1s"}, "stop_grace_period"),
        ({"deploy": {"resources": {"reservations": {"devices": [{"count": 1}]}}}}, "deploy.resources"),
        ({"a_key_of_tomorrow": 1}, "a_key_of_tomorrow"),
    ],
)
def test_a_file_that_is_added_to_the_compose_file_and_changes_what_runs_is_a_finding(
    name: str, file: str, change: dict[str, Any], key: str
) -> None:
    """By a list of the keys that it may change."""
    (sentence,) = layered(file, change, name)
    place = file if name == "api-prod" else f"{file}, {name}"
    assert sentence.startswith(f"{place}: {key} must be that of compose.yaml (got another value, or none).")


def test_only_a_release_runs_another_image_instead_of_a_build() -> None:
    """Behind the proxy it is the one that docker-compose.yml builds."""
    change = {"image": "x:dev", "build": {"target": "dev"}}
    assert layered("deploy/release.yml", change) == []
    keys = [one.split()[1] for one in layered("deploy/proxy.yml", change)]
    assert keys == ["build", "image"]


@pytest.mark.parametrize("file", ["deploy/proxy.yml", "deploy/release.yml"])
@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"A": "2"}, "{file}: A must be 1, as with compose.yaml (got 2)"),
        ({"C": "3"}, "compose.yaml: C must be handed on as with {file} (got no such variable)"),
        ({"PYTHONPATH": "/x"}, "{file}: PYTHONPATH must not be set, because it decides which code runs"),
    ],
)
def test_a_file_that_is_added_to_the_compose_file_and_changes_a_variable_is_a_finding(
    file: str, change: dict[str, str], part: str
) -> None:
    """Other than one that is left open."""
    environment = {"A": "1", "B": "2", "FORWARDED_ALLOW_IPS": None}
    (sentence,) = layered(file, {"environment": environment | change})
    assert sentence.startswith(part.format(file=file))
    (sentence,) = layered(file, {"environment": {"A": "1", "FORWARDED_ALLOW_IPS": None}})
    assert sentence.startswith(f"{file}: B must be handed on as with compose.yaml")


def test_the_trusted_proxies_are_judged_where_there_is_a_proxy() -> None:
    """`of_proxied` compares them. Without the proxy they are those of docker-compose.yml."""
    change = {"environment": {"A": "1", "B": None, "FORWARDED_ALLOW_IPS": "*"}}
    assert layered("deploy/proxy.yml", change) == []
    (sentence,) = layered("deploy/release.yml", change)
    assert sentence.startswith("deploy/release.yml: FORWARDED_ALLOW_IPS must be left open, as with compose.yaml (got")


def test_a_file_that_adds_a_service_with_the_production_image_is_a_finding() -> None:
    """It must be declared, as in a stack."""
    (sentence,) = layered("deploy/proxy.yml", {"image": "x:prod", "command": ["sh"]}, "beat")
    assert sentence.startswith("deploy/proxy.yml: beat, which runs the production image, must be one of `commands`")


def test_commands_have_the_variables_of_the_service() -> None:
    """A command that a file gives others is a finding. Compose gives all of them the same."""
    objects, stacked = all_objects(), services()
    given = variables.Variables("deploy/k8s", {"A": "1"}, has_settings=True)
    evidence = deployment.Deployment(
        "compose.yaml", REFERENCE, {}, {"deploy/stack.yml": DIGEST, "deploy/k8s": DIGEST}, [*objects], [], {}, stacked,
        COMMANDS, variables=[given._replace(file=file) for file in ("compose.yaml", "deploy/stack.yml", "deploy/k8s")],
    )  # fmt: skip
    expected = [f"{file}, {name}: A" for name in ("a_worker", "migrate") for file in ("deploy/stack.yml", "deploy/k8s")]
    assert [one.partition(" must")[0] for one in deployment.other_variables(evidence)] == expected
    for name in ("a_worker", "migrate"):
        stacked[name]["environment"] = {"A": "1"}
    for one in objects[3:]:
        one["spec"]["template"]["spec"]["containers"][0]["env"] = [{"name": "A", "value": "1"}]
    written = {name: {"environment": ["A=1"]} for name in ("a_worker", "migrate")}
    assert list(deployment.other_variables(evidence._replace(written=written))) == []


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("268435456", 268435456),
        ("256Mi", 268435456),
        ("1500000u", 1.5),
        ("250000000n", 0.25),
        ("1T", 1e12),
        ("1Ei", 2**60),
        ("2e8", 2e8),
        ("1.5Gi", 1610612736),
        ("350m", 0.35),
        (2, 2),
        (".5", 0.5),
        ("+1.", 1),
        ("5E-1", 0.5),
        ("1E", 1e18),
        ("1.2.3", None),
        (".", None),
        ("1Xi", None),
        ("256MiB", None),
        ("1e3Mi", None),
        (None, None),
    ],
)
def test_quantities_have_each_unit_of_kubernetes(text: object, number: float | None) -> None:
    """A number without a unit is one of bytes or cores."""
    assert deployment._number(text) == number


@pytest.mark.parametrize(("given", "got"), [("256MB", "256MB"), ("256 Mi", "256 Mi"), ("0", "left open")])
def test_a_limit_that_is_not_a_quantity_is_a_finding(given: str, got: str) -> None:
    """With its text: Kubernetes refuses it. Zero does not limit."""
    objects = copy.deepcopy(OBJECTS)
    container(objects)["resources"]["limits"]["memory"] = given
    (sentence,) = deployment.differences(REFERENCE, {"k8s": deployment.of_kubernetes(objects)}, "compose.yaml")
    assert sentence.startswith(f"k8s: the memory limit in bytes must be 268435456, as with compose.yaml (got {got}).")
