"""Resolve the files in deploy/, and what they are compared with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from prodlock import service
from prodlock.docker import compose, engine, stages
from prodlock.failure import Failure
from prodlock.project import Project
from prodlock.proof.evidence import compose as composed
from prodlock.proof.judges import deployment
from prodlock.proof.judges.deployment import Deployment, RunSettings

STACK, KUBERNETES, PROXY, PROXIED = "deploy/stack.yml", "deploy/k8s", "deploy/haproxy.cfg", "deploy/proxy.yml"
_VALIDATE = ("python", "/srv/manifests.py")
# Where IMAGE is not set: only the form of the image's name is judged.
_EXAMPLE = "registry.example/quotes@sha256:" + "0" * 64


def collect(project: Project) -> Deployment:
    """Return what the files state. Raises Failure, or what parsing raises, where they can't be resolved."""
    if not (project.root / "deploy").is_dir():
        raise Failure(
            "deploy/ must have the files that roll the service out (got no such folder). To fix it: copy the folder of "
            "Prodlock's repository, and put the service's name and port in."
        )
    settings = {"IMAGE": project.environment.get("IMAGE", _EXAMPLE)}
    own = composed.resolve(project)["services"][compose.PROD[0]]
    proxied = composed.resolve(project, PROXIED)
    stack = engine.output(project, "stack", "config", f"--compose-file={STACK}", echo=True, env=settings)
    options = (f"--volume={project.root / KUBERNETES}:/k8s:ro", "--interactive", "--network=none")
    printed = engine.output(
        project, "run", "--rm", *options, stages.build(project, "deploy"), *_VALIDATE, given=stack.encode(), echo=True
    )
    document = json.loads(printed)
    stacked, objects = document["stack"]["services"][compose.PROD[0]], document["objects"]
    described = project.configuration
    image = deployment.of_image(_text(project, described.dockerfile), described.health, described.ready)
    plain, proxy = deployment.of_compose(own), deployment.of_proxy(_text(project, PROXY))
    behind_proxy = RunSettings(forwarded=deployment.PROXY)
    base, read = compose.files(project)[0].name, composed.settings_variables(project)
    return Deployment(
        base,
        deployment.merged(plain._replace(forwarded=None), image, behind_proxy),
        {
            base: RunSettings(forwarded=plain.forwarded),
            PROXIED: deployment.of_proxied(proxied["services"][compose.PROD[0]], _subnets(proxied)),
            PROXY: proxy,
            STACK: deployment.of_stack(stacked, _subnets(document["stack"])),
            KUBERNETES: deployment.of_kubernetes(objects),
        },
        {STACK: str(stacked.get("image", "")), KUBERNETES: deployment.image(objects)},
        objects,
        [f"{KUBERNETES}: {sentence}" for sentence in document["invalid"]],
        [service.dropped(base, compose.PROD[0], name) for name in service.not_handed_on(own, read)],
    )


def _subnets(document: Mapping[str, Any]) -> list[str]:
    """Return the subnets of the network that a Compose or stack file gives its services."""
    return [str(one["subnet"]) for one in document["networks"]["default"]["ipam"]["config"]]


def _text(project: Project, path: str) -> str:
    return (project.root / path).read_text(encoding="utf-8")
