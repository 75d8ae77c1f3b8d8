"""Resolve the files in deploy/, and what they are compared with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from prodlock import generated_deploy, service
from prodlock.docker import compose, engine, stages
from prodlock.failure import Failure
from prodlock.project import Project
from prodlock.proof.evidence import compose as composed
from prodlock.proof.judges import deployment, kubernetes, variables
from prodlock.proof.judges.deployment import OPEN, PROXIED, PROXY_FILE, RELEASE, STACK, Deployment, RunSettings
from prodlock.proof.judges.kubernetes import KUBERNETES

_VALIDATE = ("python", "/srv/manifests.py")
# Where IMAGE is not set: only the form of the image's name is judged.
_EXAMPLE = "registry.example/quotes@sha256:" + "0" * 64


class Resolved(NamedTuple):
    """The files in deploy/ as their own tools resolve them."""

    # Of Compose: the services alone, the project with the proxy, and the services of a release.
    own: Mapping[str, Any]
    proxied: Mapping[str, Any]
    released: Mapping[str, Any]
    # Of Swarm and Kubernetes: what prodlock/inside/manifests.py prints.
    document: Mapping[str, Any]

    @property
    def invalid(self) -> list[str]:
        """What the schemas do not allow, a sentence each."""
        return [f"{KUBERNETES}: {sentence}" for sentence in self.document["invalid"]]

    @property
    def foreign(self) -> list[str]:
        """The objects of kinds that Kubernetes has no schema of: kind and name."""
        return list(self.document["foreign"])


def resolve(project: Project) -> Resolved:
    """Resolve the files. Raises Failure, or what parsing raises, where they can't be resolved."""
    refuse_absent(project)
    settings = {"IMAGE": project.environment.get("IMAGE", _EXAMPLE)}
    own = composed.resolve(project)["services"]
    proxied = composed.resolve(project, PROXIED)
    released = composed.resolve(project, RELEASE, env=settings)["services"]
    stack = engine.output(project, "stack", "config", f"--compose-file={STACK}", echo=True, env=settings)
    tree = stages.mounted(project.root / generated_deploy.FOLDER, "/deploy", ":ro")
    options = (tree, "--interactive", "--network=none")
    command = ("run", "--rm", *options, stages.build(project, "deploy"), *_VALIDATE)
    document = json.loads(engine.output(project, *command, given=stack.encode(), echo=True))
    if "refused" in document:
        raise Failure(document["refused"])
    return Resolved(own, proxied, released, document)


def collect(project: Project, resolved: Resolved) -> Deployment:
    """Return what the resolved files state. Raises ValueError, LookupError, TypeError or AttributeError for others."""
    own, proxied, released, document = resolved
    alone = own[compose.PROD[0]]
    services, written = document["stack"]["services"], document["written"]["services"]
    if compose.PROD[0] not in services:
        message = f"no service {compose.PROD[0]} in {STACK}"
        raise ValueError(message)
    stacked = services[compose.PROD[0]]
    objects, examples = _without_nulls(document["objects"]), _without_nulls(document["examples"])
    described = project.configuration
    paths = generated_deploy.probed_paths(described)
    image = deployment.of_image(_text(project, described.dockerfile), *paths)
    plain, proxy = deployment.of_compose(alone), deployment.of_proxy(_text(project, PROXY_FILE))
    behind_proxy = RunSettings(forwarded=deployment.PROXY)
    base, read = compose.names(project)[0], composed.settings_variables(project)
    others = {
        base: RunSettings(forwarded=plain.forwarded),
        PROXIED: deployment.of_proxied(proxied["services"][compose.PROD[0]], _subnets(proxied, PROXIED)),
        PROXY_FILE: proxy,
        STACK: deployment.of_stack(stacked, _subnets(document["stack"], STACK)),
        KUBERNETES: deployment.of_kubernetes(objects),
    }
    if described.server:
        # A server of the project's own may not read FORWARDED_ALLOW_IPS, nor the other variables of prodlock.server.
        read = service.variables(project)
        others = {name: one._replace(forwarded=None) if one.forwarded == OPEN else one for name, one in others.items()}
    return Deployment(
        base,
        deployment.merged(plain._replace(forwarded=None), image, behind_proxy),
        others,
        {
            STACK: str(stacked.get("image", "")),
            KUBERNETES: deployment.image(objects),
            RELEASE: str(released[compose.PROD[0]].get("image", "")),
        },
        objects,
        resolved.invalid,
        {name: service.dropped(base, compose.PROD[0], name) for name in service.not_handed_on(alone, read)},
        services,
        [
            deployment.Command(one.name, one.words, one.once, generated_deploy.kubernetes_name(one.name))
            for one in described.commands
        ],
        examples=examples,
        variables=[
            variables.of_compose(base, composed.resolve(project, interpolate=False)["services"][compose.PROD[0]]),
            variables.of_stack(STACK, stacked, written[compose.PROD[0]]),
            variables.of_kubernetes(KUBERNETES, kubernetes.container(kubernetes.service(objects)), objects),
        ],
        secrets=described.environment,
        volumes=document["stack"].get("volumes") or {},
        written=written,
        composed=own,
        proxied=proxied["services"],
        released=released,
    )


def refuse_absent(project: Project) -> None:
    """Raise Failure where deploy/ lacks a file."""
    for path in (STACK, f"{KUBERNETES}/kustomization.yaml", PROXY_FILE, PROXIED, RELEASE):
        if not (project.root / path).is_file():
            raise Failure(f"{path} must exist (got no such file). To fix it: run `prodlock upgrade --deploy`.")


def _without_nulls(value: Any) -> Any:  # noqa: ANN401 - JSON
    """Return JSON without keys that have no value: Kubernetes takes them as absent."""
    if isinstance(value, dict):
        return {key: _without_nulls(one) for key, one in value.items() if one is not None}
    return [_without_nulls(one) for one in value] if isinstance(value, list) else value


def _subnets(document: Mapping[str, Any], file: str) -> list[str]:
    """Return the subnets of the network that a Compose or stack file gives its services."""
    network = (document.get("networks") or {}).get("default") or {}
    found = (network.get("ipam") or {}).get("config") or ()
    if not found:
        message = f"no subnet of the network `default` in {file}"
        raise ValueError(message)
    return [str(one["subnet"]) for one in found]


def _text(project: Project, path: str) -> str:
    try:
        return (project.root / path).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        message = f"{path}, which is not text in UTF-8"
        raise ValueError(message) from None
