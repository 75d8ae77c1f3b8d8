"""`inv deploy-check`: the files in deploy/ are valid, and run the service as docker-compose.yml does."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from prodlock.docker import compose, engine, stages
from prodlock.failure import CANNOT_CHECK, FAILED, Failure
from prodlock.project import Project
from prodlock.proof import expected, services, terms

STACK, KUBERNETES, PROXY = "deploy/stack.yml", "deploy/k8s", "deploy/haproxy.cfg"
BASE, PROXIED = "docker-compose.yml", "deploy/proxy.yml"
# Where no IMAGE is set: only its form is judged.
_EXAMPLE = "registry.example/quotes@sha256:" + "0" * 64


class Facts(NamedTuple):
    """What the files say, resolved."""

    reference: terms.Terms
    others: Mapping[str, terms.Terms]
    images: Mapping[str, str]
    objects: list[Mapping[str, Any]]
    # What no schema allows, a sentence each.
    invalid: list[str]
    # Settings of the service that docker-compose.yml drops, a sentence each.
    dropped: list[str]


def check(project: Project) -> int:
    """Print what is wrong with the files in deploy/, and return 1, or 0 where nothing is.

    Raises Failure, code 2, where that can't be told.
    """
    try:
        facts = obtained(project)
        wrong = [
            *facts.invalid,
            *facts.dropped,
            *terms.differing(facts.reference, facts.others),
            *terms.unpinned(facts.images),
            *terms.unrestricted(facts.objects),
            *terms.unselected(facts.objects),
        ]
    except Failure as failure:
        raise Failure(str(failure), CANNOT_CHECK) from None
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise Failure(
            f"deploy/ is not as it is known here ({error!r}): compare it with this project's own.", CANNOT_CHECK
        ) from None
    for sentence in wrong:
        print(sentence)
    if not wrong:
        kinds = ", ".join(sorted(str(one["kind"]) for one in facts.objects))
        print(f"{STACK} and {KUBERNETES} ({kinds}) are valid. They, {PROXIED} and {PROXY} agree with {BASE}.")
    return FAILED if wrong else 0


def obtained(project: Project) -> Facts:
    """Obtain the facts. Raises Failure, or what parsing raises, where they can't be had."""
    settings = {"IMAGE": project.environment.get("IMAGE", _EXAMPLE)}
    composed = expected.resolved(project)["services"][compose.PROD[0]]
    proxied = expected.resolved(project, PROXIED)
    stack = engine.output(project, "stack", "config", f"--compose-file={STACK}", echo=True, env=settings)
    given = (f"--volume={project.root / KUBERNETES}:/k8s:ro", "--interactive", "--network=none")
    validate = (*given, stages.build(project, "deploy"), "python", "/srv/manifests.py")
    said = engine.output(project, "run", "--rm", *validate, given=stack.encode(), echo=True)
    document = json.loads(said)
    service, objects = document["stack"]["services"][compose.PROD[0]], document["objects"]
    built = terms.of_image(_text(project, "Dockerfile"), _text(project, "prodlock/server/healthcheck.py"))
    plain, proxy = terms.of_compose(composed), terms.of_proxy(_text(project, PROXY))
    asked = terms.Terms(ready=proxy.ready, forwarded=terms.PROXYS)
    return Facts(
        terms.merged(plain._replace(forwarded=None), built, asked),
        {
            BASE: terms.Terms(forwarded=plain.forwarded),
            PROXIED: terms.of_proxied(proxied["services"][compose.PROD[0]], _subnets(proxied)),
            PROXY: proxy,
            STACK: terms.of_stack(service, _subnets(document["stack"])),
            KUBERNETES: terms.of_kubernetes(objects),
        },
        {STACK: str(service.get("image", "")), KUBERNETES: terms.image(objects)},
        objects,
        [f"{KUBERNETES}: {sentence}" for sentence in document["invalid"]],
        list(services.unhanded(composed, expected.settings_variables(project))),
    )


def _subnets(project: Mapping[str, Any]) -> list[str]:
    """Return the subnets of the network that a Compose or stack file gives its services."""
    return [str(one["subnet"]) for one in project["networks"]["default"]["ipam"]["config"]]


def _text(project: Project, path: str) -> str:
    return (project.root / path).read_text(encoding="utf-8")
