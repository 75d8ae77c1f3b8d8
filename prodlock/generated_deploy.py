"""Render the files of deploy/ from `[tool.prodlock]`: HAProxy, Swarm and Kubernetes.

The templates are in prodlock/templates/deploy. No line of them must stay: `inv deploy-check` compares what they mean.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterable, Iterator

from prodlock import generated, recipes
from prodlock.configuration import YAML_WORDS, Command, Configuration
from prodlock.failure import Failure
from prodlock.generated import Rendered

FOLDER = "deploy"
# The Deployment of the service, and the proxy's service.
DEPLOYMENT, PROXY = "api", "proxy"
FILES = (
    f"{FOLDER}/haproxy.cfg",
    f"{FOLDER}/proxy.yml",
    f"{FOLDER}/release.yml",
    f"{FOLDER}/stack.yml",
    *(
        f"{FOLDER}/k8s/{name}.yaml"
        for name in (
            "account",
            "autoscaler",
            "deployment",
            "disruption",
            "ingress",
            "kustomization",
            "namespace",
            "network",
            "service",
        )
    ),
)
_COMMAND = f"{FOLDER}/k8s/command.yaml"
_LABEL = "app.kubernetes.io/name"
# The end of the label of what pods need to start: namespace, account, settings.
_SHARED = "-settings"
# The most characters of a name and of a command's, which make a label of 63 together
# (https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set).
_NAME, _COMMAND_NAME = 32, 30
_UNITS = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


def files(configuration: Configuration, name: str, variables: Iterable[str]) -> dict[str, Rendered]:
    """Return the rendered files by their paths, for a Compose project's name and the variables that its service reads.

    Raises Failure where two workloads would have one name.
    """
    _check_names(configuration)
    values = _values(configuration, name, variables)
    return {path: _filled(path, values) for path in FILES}


def probed_paths(configuration: Configuration) -> tuple[str, str]:
    """Return the paths of health and readiness, each empty where a connection is the check."""
    if configuration.server:
        return configuration.health, configuration.ready or configuration.health
    return configuration.health or Configuration.health, configuration.ready or Configuration.ready


def kubernetes_name(name: str, most: int = _COMMAND_NAME) -> str:
    """Return a name in the form that Kubernetes allows (RFC 1035), of at most so many characters, and a string in YAML.

    https://kubernetes.io/docs/concepts/overview/working-with-objects/names/
    """
    found = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    if not found[:1].isalpha() or found in YAML_WORDS:
        found = f"service-{found}"
    return found[:most].strip("-")


def _check_names(configuration: Configuration) -> None:
    names = [kubernetes_name(one.name) for one in configuration.commands]
    wrong = {name for name in names if names.count(name) > 1 or name in {DEPLOYMENT, PROXY}}
    # deploy/proxy.yml adds the proxy to the services of the Compose file.
    wrong |= {name for name, _ in configuration.services if name == PROXY}
    if found := sorted(wrong):
        raise Failure(
            f"`commands` and `services` must have names that differ in their first {_COMMAND_NAME} letters and digits, "
            f"and are not those of {FOLDER}/: {DEPLOYMENT}, {PROXY} (got {', '.join(found)}). To fix it: rename it in "
            "[tool.prodlock]."
        )


def _filled(path: str, values: dict[str, str | Iterable[str]]) -> Rendered:
    return generated.fill((generated.TEMPLATES / path).read_text(encoding="utf-8"), values)


def _values(configuration: Configuration, name: str, variables: Iterable[str]) -> dict[str, str | Iterable[str]]:
    health, ready = probed_paths(configuration)
    number, unit = int(configuration.memory[:-1]), configuration.memory[-1]
    own = bool(configuration.server)
    passed = {*variables, *configuration.environment}
    if not own:
        passed = (passed | {*generated.SERVER_VARIABLES}) - {*_SET}
    # What a command needs that runs before an update, in Kubernetes.
    once = any(one.once for one in configuration.commands)
    shared = f"{_LABEL}: {kubernetes_name(name, _NAME)}{_SHARED}"
    values: dict[str, str | Iterable[str]] = {
        "compose": configuration.compose or "docker-compose.yml",
        "name": kubernetes_name(name, _NAME),
        "port": str(configuration.port),
        "memory": f"{number}{unit.upper()}i",
        "requested memory": _quantity(number * _UNITS[unit] // 2),
        "stack memory": f"{number}{unit.upper()}",
        "health probe": _probe(health),
        "readiness probe": _probe(ready),
        "readiness": list(_readiness(ready, own=own)),
        "body limit": [
            "    # Raise it where the service takes larger bodies."
            if own
            else "    # The service limits bodies as well (APP_MAX_BODY_BYTES); what is refused here does not reach it."
        ],
        "idle connections": [
            "    # Idle connections must end here before they do there: choose less than the service's keep-alive time."
            if own
            else "    # Idle connections end here before they do there (UVICORN_TIMEOUT_KEEP_ALIVE is 75 s)."
        ],
        "purge delay": "2s" if own else "30s",
        "trusted proxies": [] if own else _TRUSTED,
        "grace": "10s" if own else "${APP_STOP_GRACE_SECONDS:-10}s",
        "stack settings": list(_stack_settings(sorted(passed))),
        "stack environment": list(_stack_environment(passed, own=own)),
        "environment": list(_environment(configuration, name)),
        "settings": [] if own else _SETTINGS,
        "ports of services": list(_ports(configuration)),
        "stack commands": [line for one in configuration.commands for line in _stack_command(one)],
        "released commands": [f"  {one.name}: *release" for one in configuration.commands],
        "before an update": list(_before_an_update(configuration, name)),
        "shared label": [f"  labels: {{{shared}}}"] if once else [],
        "shared entry": [f"    {shared}"] if once else [],
        "shared options": [f"    options: {{labels: {{{shared}}}}}"] if once else [],
    }
    return values | {"commands": [line for one in configuration.commands for line in _command(one, name, values)]}


_TRUSTED = (
    "    environment:",
    "      # Trusted to state a client's address and scheme: this network, never every client.",
    "      - FORWARDED_ALLOW_IPS=${PROXY_SUBNET:-172.31.250.0/24},${OUTER_PROXY:-255.255.255.255}",
)
_SETTINGS = (
    "    literals:",
    "      - APP_LOG_FORMAT=json",
    "      # Where the ingress controller's pods are: narrow it down to your cluster's network. Never `*`.",
    "      - FORWARDED_ALLOW_IPS=10.0.0.0/8",
    "      # The path that a proxy strips, such as /api.",
    "      - UVICORN_ROOT_PATH=",
)
_SET = ("APP_LOG_FORMAT", "FORWARDED_ALLOW_IPS", "UVICORN_ROOT_PATH")
_STACK_SERVER = (
    "    APP_LOG_FORMAT: json",
    "    FORWARDED_ALLOW_IPS: ${PROXY_SUBNET:-10.250.0.0/24},${OUTER_PROXY:-255.255.255.255}",
    "    UVICORN_ROOT_PATH: ${UVICORN_ROOT_PATH:-}",
)


def _quantity(count: int) -> str:
    """Return a number of bytes in the largest unit of which it is a whole number."""
    for unit, size in (("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)):
        if count % size == 0:
            return f"{count // size}{unit}"
    return str(count)


def _probe(path: str) -> str:
    return f"httpGet: {{path: {path}, port: http}}" if path else "tcpSocket: {port: http}"


def _readiness(path: str, *, own: bool) -> Iterator[str]:
    if not own:
        yield from textwrap.wrap(
            f"{path} is 503 from the first moment of a stop, and the drain goes on for longer than two of these "
            "checks: nothing is sent to a replica that stops. What is on its way is answered.",
            120, initial_indent="    # ", subsequent_indent="    # ",
        )  # fmt: skip
    elif path:
        yield "    # Nothing is sent to a replica that does not answer this with 2xx or 3xx."
    else:
        yield "    # A replica that accepts connections is in use: `ready` in [tool.prodlock] is a path to ask instead."
    if path:
        yield f"    option httpchk GET {path}"


def _handed_on(configuration: Configuration) -> list[str]:
    """Return the variables of `environment`, without those that the ConfigMap sets."""
    return [name for name in configuration.environment if configuration.server or name not in _SET]


def _stack_settings(names: Iterable[str]) -> Iterator[str]:
    if names:
        yield "# Of the environment of `docker stack deploy`, where they are set."
        yield from recipes.flow(f"x-settings: &settings {{{', '.join(names)}}}")
        yield ""


def _stack_environment(names: Iterable[str], *, own: bool) -> Iterator[str]:
    if names:
        yield "  environment:"
        yield "    <<: *settings"
    if not own:
        yield from _STACK_SERVER


def _environment(configuration: Configuration, name: str) -> Iterator[str]:
    """Yield the variables of a container that `environment` lists, which a Secret has."""
    names, secret = _handed_on(configuration), kubernetes_name(name, _NAME)
    if names:
        yield "          env:"
        yield (
            f"            # kubectl create secret generic {secret} --namespace {secret} --from-literal={names[0]}=..."
        )
    for one in names:
        yield f"            - name: {one}"
        yield f"              valueFrom: {{secretKeyRef: {{name: {secret}, key: {one}, optional: true}}}}"


def _ports(configuration: Configuration) -> Iterator[str]:
    """Yield the rules for connections to the services whose port is known."""
    for name, image in configuration.services:
        if recipe := recipes.known(image):
            yield f"    # {name}, at any address: narrow it down with `to`."
            yield f"    - ports: [{{port: {recipe.port}}}]"


def _stack_command(command: Command) -> Iterator[str]:
    yield f"  {command.name}:"
    yield "    <<: *prod"
    yield f"    command: {json.dumps(command.words, ensure_ascii=False)}"
    yield "    healthcheck: {disable: true}"
    yield "    deploy:"
    if command.once:
        yield "      mode: replicated-job"
        yield "      restart_policy: {condition: none}"
    else:
        # As with Compose, never two at once.
        yield "      replicas: 1"
        yield "      update_config: {order: stop-first, failure_action: rollback, monitor: 15s}"
    yield "      resources: *resources"
    yield ""


def _before_an_update(configuration: Configuration, name: str) -> Iterator[str]:
    once = [one.name for one in configuration.commands if one.once]
    if once:
        yield "# It starts all services at once. Before an update run these alone, each until it prints `job complete`:"
    for one in once:
        yield f'#   docker service update --image "$IMAGE" {kubernetes_name(name, _NAME)}_{one}'


def _command(command: Command, name: str, values: dict[str, str | Iterable[str]]) -> Iterator[str]:
    """Yield the lines of the Deployment of a command, or of the Job of one that runs to its end."""
    given, space = kubernetes_name(command.name), kubernetes_name(name, _NAME)
    # No Service of the service selects it.
    label = f"{space}-{given}"
    own: dict[str, str | Iterable[str]] = {
        "command": given,
        "label": label,
        "words": json.dumps(command.words, ensure_ascii=False),
    }
    if command.once:
        own |= {
            "explanation": [
                "# A Job can't be changed, and nothing waits for it. Before an update run it alone:",
                f"#   kubectl delete job --namespace {space} --ignore-not-found {given}",
                f"#   kubectl apply --kustomize {FOLDER}/k8s --selector '{_LABEL} in ({label},{space}{_SHARED})'",
                f"#   kubectl wait --namespace {space} --for condition=complete --timeout 10m job/{given}",
            ],
            "version": "batch/v1",
            "kind": "Job",
            "form": ["  backoffLimit: 0"],
            "restart": ["      restartPolicy: Never"],
            "annotations": [],
        }
    else:
        own |= {
            "explanation": [],
            "version": "apps/v1",
            "kind": "Deployment",
            "form": [
                "  replicas: 1",
                "  # Never two at once: a scheduler would do all twice.",
                "  strategy: {type: Recreate}",
                "  selector:",
                f"    matchLabels: {{{_LABEL}: {label}}}",
            ],
            "restart": [],
            "annotations": [
                "  annotations:",
                "    # Checkov asks for probes. A command answers no client, and is started again when it ends.",
                "    checkov.io/skip1: CKV_K8S_8=The container is started again when the command ends.",
                "    checkov.io/skip2: CKV_K8S_9=No client sends requests to a command.",
            ],
        }
    yield from _filled(_COMMAND, values | own).text.splitlines()
