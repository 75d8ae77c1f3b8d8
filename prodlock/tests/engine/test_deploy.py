"""The files in deploy/: valid, consistent with docker-compose.yml, and run on a Swarm of one machine."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from prodlock.tests.engine.conftest import (
    PORT,
    PROD,
    PROJECT,
    ROOT,
    Clients,
    answers,
    copied,
    docker,
    edit,
    inspected,
    inv,
    planted,
    python_in,
    sentence,
    until,
)

STACK = PROJECT
SERVICE = f"{STACK}_api-prod"


def test_deploy_check_accepts_the_shipped_files() -> None:
    """Swarm's and Kubernetes' own tools and schemas, without a cluster and without a network."""
    done = inv("deploy-check")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout == (
        "deploy/stack.yml and deploy/k8s (ConfigMap, Deployment, HorizontalPodAutoscaler, Namespace, NetworkPolicy, "
        "PodDisruptionBudget, Service, ServiceAccount) are valid. They, deploy/proxy.yml, deploy/haproxy.cfg and "
        "deploy/release.yml agree with docker-compose.yml.\n"
    )


WRONG = {
    "a grace period": (
        "docker-compose.yml",
        "GRACE_SECONDS:-10}s",
        "GRACE_SECONDS:-20}s",
        "the grace period in seconds must be",
    ),
    "a field that no schema has": ("deploy/k8s/service.yaml", "ports:", "portz: []\n  ports:", "portz"),
    "a type": ("deploy/k8s/disruption.yaml", "maxUnavailable: 1", "maxUnavailable: [1]", "maxUnavailable"),
    "a port": (
        "deploy/k8s/deployment.yaml",
        "containerPort: 8000",
        "containerPort: 80",
        "deploy/k8s: the port must be 8000",
    ),
    "a path": (
        "deploy/haproxy.cfg",
        "httpchk GET /ready",
        "httpchk GET /",
        "haproxy.cfg: the path of the readiness probe must be /ready",
    ),
    "a user": ("deploy/stack.yml", 'user: "10001:10001"', 'user: "0:0"', "(got 0:0)"),
    "a tag": ("deploy/k8s/kustomization.yaml", "digest: sha256:" + "0" * 64, "newTag: latest", "named by its digest"),
    "a selector": (
        "deploy/k8s/disruption.yaml",
        "  selector:\n    matchLabels: {app.kubernetes.io/name: quotes}\n",
        "",
        "PodDisruptionBudget api must select the pods",
    ),
    "a setting that Compose drops": (
        "app/settings.py",
        "    name: str",
        "    new: int = 1\n    name: str",
        "docker-compose.yml: `environment` of api-prod must hand on APP_NEW",
    ),
    "a limit": ("deploy/stack.yml", 'cpus: "1", memory: 256M', 'cpus: "1"', "the memory limit in bytes must be"),
    "any client as a proxy": (
        "deploy/k8s/kustomization.yaml",
        "IPS=10.0.0.0/8",
        "IPS=*",
        "deploy/k8s: the sender of trusted forwarded headers must be",
    ),
    "another network": (
        "deploy/proxy.yml",
        "IPS=${PROXY_SUBNET:-172.31.250.0/24}",
        "IPS=10.0.0.0/8",
        "deploy/proxy.yml: the sender of trusted forwarded headers must be",
    ),
    "less hardening behind the proxy": (
        "deploy/proxy.yml",
        "    ports: !reset []\n",
        "    ports: !reset []\n    read_only: false\n",
        "deploy/proxy.yml: read_only must be that of docker-compose.yml",
    ),
    "no proxy": (
        "docker-compose.yml",
        "FORWARDED_ALLOW_IPS, ",
        "",
        "docker-compose.yml: the sender of trusted forwarded headers must be",
    ),
    "a forged scheme": (
        "deploy/haproxy.cfg",
        "iif(https,http)] unless outer scheme",
        "iif(a,b)]",
        "deploy/haproxy.cfg: the sender of trusted forwarded headers must be",
    ),
    "a path in front": (
        "deploy/stack.yml",
        "PATH: ${UVICORN_ROOT_PATH:-}",
        "PATH: /api",
        "the stripped path must be none",
    ),
    "a variable that Swarm lacks": (
        "deploy/stack.yml",
        "APP_LOG_LEVEL, ",
        "",
        "deploy/stack.yml: APP_LOG_LEVEL must be handed on as with docker-compose.yml",
    ),
    "a variable that only Compose sets": (
        "docker-compose.yml",
        "&environment {<<: *server,",
        "&environment {<<: *server, APP_COLOUR: red,",
        "APP_COLOUR must be handed on as with docker-compose.yml (got no such variable). To fix it: add it with the",
    ),
    "another value": (
        "deploy/k8s/kustomization.yaml",
        "FORMAT=json",
        "FORMAT=text",
        "deploy/k8s: APP_LOG_FORMAT must be json, as with deploy/stack.yml (got text)",
    ),
    "no map of the settings": (
        "deploy/k8s/deployment.yaml",
        "configMapRef: {name: settings}",
        "configMapRef: {name: settings, optional: true}\n            - configMapRef: {name: colours}",
        "Deployment api must name a ConfigMap of these files (got colours)",
    ),
    "a policy for nothing": (
        "deploy/k8s/network.yaml",
        "{app.kubernetes.io/name: quotes}",
        "{app.kubernetes.io/name: other}",
        "NetworkPolicy api must select the pods",
    ),
    "an account with a token": (
        "deploy/k8s/account.yaml",
        "automountServiceAccountToken: false",
        "automountServiceAccountToken: true",
        "of the ServiceAccount api must be false",
    ),
    "replicas that are not spread": (
        "deploy/k8s/deployment.yaml",
        "labelSelector: {matchLabels: {app.kubernetes.io/name: quotes}}",
        "labelSelector: {matchLabels: {app.kubernetes.io/name: other}}",
        "labelSelector of topologySpreadConstraints, kubernetes.io/hostname,",
    ),
    "a port of the Ingress": ("deploy/k8s/ingress.yaml", "{name: http}", "{name: web}", "Ingress api must name a port"),
    "a type of the Ingress": ("deploy/k8s/ingress.yaml", "pathType: Prefix", "pathType: 1", "pathType: 1 is not"),
    "a target of the autoscaler": (
        "deploy/k8s/autoscaler.yaml",
        "kind: Deployment, name: api",
        "kind: Deployment, name: web",
        "HorizontalPodAutoscaler api must name a Deployment",
    ),
    "a release that is built": (
        "deploy/release.yml",
        "    build: !reset null\n",
        "",
        "release.yml: api-prod must not be built",
    ),
    "a privilege": ("deploy/k8s/deployment.yaml", "runAsNonRoot: true", "runAsNonRoot: false", "runAsNonRoot must be"),
}


@pytest.fixture(scope="module")
def sentences() -> tuple[int, list[str]]:
    """The exit code of `inv deploy-check` for files with every mistake at once, and the lines that it prints."""
    with copied() as copy:
        for file, old, new, _ in WRONG.values():
            edit(copy / file, old, new)
        done = inv("deploy-check", cwd=copy)
    assert done.stdout, done.stderr
    return done.returncode, done.stdout.splitlines()


@pytest.mark.parametrize("kind", WRONG)
def test_deploy_check_reports_a_mistake(sentences: tuple[int, list[str]], kind: str) -> None:
    """The mistake is in a line of its own; exit code 1."""
    code, lines = sentences
    assert code == 1
    *_, part = WRONG[kind]
    assert [line for line in lines if part in line], lines


def test_deploy_check_reports_nothing_but_mistakes(sentences: tuple[int, list[str]]) -> None:
    """Each line is about a mistake that was made."""
    _, lines = sentences
    # These are of "no proxy", of "a setting that Compose drops", of the policy and of the zones, too.
    further = (
        "must hand on FORWARDED_ALLOW_IPS",
        "stack.yml: APP_NEW must",
        "must let requests in",
        "topology.kubernetes.io",
    )
    parts = [*(part for *_, part in WRONG.values()), *further]
    assert [line for line in lines if not any(part in line for part in parts)] == []


def test_deploy_check_refuses_a_stack_that_no_schema_allows(copy: Path) -> None:
    """The message of Swarm's own tool is printed; exit code 2."""
    edit(copy / "deploy" / "stack.yml", "cap_drop: [ALL]", "cap_drop: 1")
    done = inv("deploy-check", cwd=copy)
    assert done.returncode == 2
    assert "cap_drop must be a list" in done.stderr


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("kustomization.yaml", "account.yaml, ", "absent.yaml, ", "deploy/k8s must be files that kustomize can build"),
        ("ingress.yaml", "kind: Ingress", "sort: Ingress", "deploy/k8s/ingress.yaml must have objects of Kubernetes"),
    ],
)
def test_deploy_check_refuses_files_of_no_objects(copy: Path, file: str, old: str, new: str, message: str) -> None:
    """One message with the reason; exit code 2."""
    edit(copy / "deploy" / "k8s" / file, old, new)
    done = inv("deploy-check", cwd=copy)
    assert done.returncode == 2
    assert sentence(done).startswith(f"{message} (got: ")


def test_deploy_check_accepts_kinds_of_a_clusters_operators(copy: Path) -> None:
    """They are named as not validated; a kind that Kubernetes should have is a finding."""
    edit(copy / "deploy" / "k8s" / "kustomization.yaml", "account.yaml, ", "account.yaml, further.yaml, ")
    route = "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: api}\nspec: {}\n"
    further = copy / "deploy" / "k8s" / "further.yaml"
    further.write_text(route, encoding="utf-8")
    done = inv("deploy-check", cwd=copy)
    assert (done.returncode, done.stderr.count("Traceback")) == (0, 0), done.stdout
    assert "Not validated, because Kubernetes has no schema of its kind: HTTPRoute api.\n" in done.stdout
    assert "HTTPRoute" not in done.stdout.splitlines()[-1]
    further.write_text(route.replace("gateway.", ""), encoding="utf-8")
    done = inv("deploy-check", cwd=copy)
    assert done.returncode == 1
    assert "(got networking.k8s.io/v1 HTTPRoute). To fix it: correct them." in done.stdout


# Two commands, added to this repository's own configuration.
COMMANDS = """
[tool.prodlock.commands]
worker = "python -m http.server --directory=/tmp 8001"
migrate = "python -m platform"
"""
MISTAKES = {
    "other words": (
        "deploy/stack.yml",
        '"python", "-m", "platform"',
        '"python", "-V"',
        "stack.yml, migrate: the command must be",
    ),
    "more privileges": (
        "deploy/k8s/deployment.yaml",
        "- name: worker\n          image: quotes",
        "- name: worker\n          ports: [{containerPort: 80}]\n          image: quotes",
        "deploy/k8s, worker: the port must be none",
    ),
    "other variables": (
        "deploy/k8s/deployment.yaml",
        '          command: ["python", "-m", "http.server", "--directory=/tmp", "8001"]\n          envFrom:\n'
        "            - configMapRef: {name: settings}\n",
        '          command: ["python", "-m", "http.server", "--directory=/tmp", "8001"]\n',
        "k8s, worker: APP_LOG_FORMAT must be handed on",
    ),
    "none": ("deploy/k8s/deployment.yaml", "  name: migrate\n", "  name: other\n", "k8s: the command migrate of"),
    "another name": (
        "deploy/stack.yml",
        "  proxy:\n",
        "  beat: *prod\n  proxy:\n",
        "stack.yml: beat, which runs the production",
    ),
}


@contextmanager
def copied_with_commands() -> Iterator[Path]:
    """Yield a copy of the project with two commands, upgraded."""
    with copied() as copy:
        with (copy / "pyproject.toml").open("a", encoding="utf-8") as file:
            file.write(COMMANDS)
        upgrade(copy)
        yield copy


@pytest.fixture(scope="module")
def with_commands() -> Iterator[Path]:
    """A copy of the project with two commands, upgraded."""
    with copied_with_commands() as copy:
        yield copy


def upgrade(project: Path) -> None:
    """Run `prodlock upgrade`."""
    subprocess.run([sys.executable, "-m", "prodlock", "upgrade"], cwd=project, check=True)


def test_deploy_check_judges_commands(with_commands: Path) -> None:
    """Their counterparts are valid for Swarm and Kubernetes; each mistake in them is reported."""
    done = inv("deploy-check", cwd=with_commands)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "HorizontalPodAutoscaler, Job, Namespace, NetworkPolicy" in done.stdout
    for file, old, new, _ in MISTAKES.values():
        edit(with_commands / file, old, new)
    done = inv("deploy-check", cwd=with_commands)
    upgrade(with_commands)
    assert done.returncode == 1, done.stderr
    for *_, part in MISTAKES.values():
        assert part in done.stdout


def test_deploy_check_accepts_the_files_of_another_server(copy: Path, proxy_image: str) -> None:
    """One without paths for health and readiness. Without deploy/ the message names the command that writes it.

    HAProxy accepts its file as well.
    """
    edit(copy / "pyproject.toml", "[tool.prodlock]\n", '[tool.prodlock]\nserver = "x"\nhealth = ""\nready = ""\n')
    edit(copy / "pyproject.toml", "[tool.prodlock]\n", '[tool.prodlock]\nmemory = "1g"\nport = 9000\n')
    upgrade(copy)
    done = inv("deploy-check", cwd=copy)
    assert done.returncode == 0, done.stdout + done.stderr
    mount = f"--volume={copy}/deploy/haproxy.cfg:/haproxy.cfg:ro"
    docker("run", "--rm", "--network=none", mount, "--entrypoint=haproxy", proxy_image, "-c", "-f", "/haproxy.cfg")
    (copy / "deploy" / "stack.yml").unlink()
    done = inv("deploy-check", cwd=copy)
    assert done.returncode == 2
    assert "`prodlock upgrade --deploy`" in sentence(done)


@contextmanager
def swarm_of_one() -> Iterator[None]:
    """Have the Engine be a Swarm of one."""
    docker("swarm", "init", "--advertise-addr=127.0.0.1")
    try:
        yield
    finally:
        docker("swarm", "leave", "--force")


@pytest.fixture
def swarm() -> Iterator[None]:
    """Have the Engine be a Swarm of one."""
    with swarm_of_one():
        yield


@pytest.fixture
def deploy(proxy_image: str) -> Iterator[Callable[..., None]]:
    """What deploys the stack of a project with an image."""

    def deploy_image(image: str, project: Path = ROOT) -> None:
        given = os.environ | {"IMAGE": inspected(image)["Id"], "HAPROXY_IMAGE": proxy_image, "PORT": str(PORT)}
        # From no registry: the image is here.
        options = ("--compose-file=deploy/stack.yml", "--resolve-image=never")
        docker("stack", "deploy", *options, STACK, cwd=project, env=given)

    yield deploy_image
    docker("stack", "rm", STACK)
    # Its tasks end after the command has.
    until(lambda: not docker("ps", "--all", "--quiet", f"--filter=label=com.docker.stack.namespace={STACK}").stdout, 30)


def state() -> str:
    """Return how far the last update of the service is."""
    found: str = (inspected(SERVICE).get("UpdateStatus") or {}).get("State", "")
    return found


def running() -> list[str]:
    """Return the containers of the replicas that run and are healthy."""
    filters = (f"--filter=label=com.docker.swarm.service.name={SERVICE}", "--filter=health=healthy")
    return docker("ps", "--quiet", *filters).stdout.split()


def images() -> set[str]:
    """Return the images of the replicas that are to run."""
    names = docker("service", "ps", "--filter=desired-state=running", "--format={{.ID}}", SERVICE).stdout.split()
    return {task["Spec"]["ContainerSpec"]["Image"] for task in json.loads(docker("inspect", *names).stdout)}


@pytest.fixture
def updates() -> Iterator[tuple[str, str]]:
    """A new image, and one that does not start."""
    sound, broken = "LABEL version=2\nUSER 10001:10001", 'CMD ["python", "-c", "1/0"]\nUSER 10001:10001'
    with planted(sound, "-") as new, planted(broken, "-") as bad:
        yield new, bad


@pytest.mark.usefixtures("swarm")
def test_update_and_rollback_of_a_stack_lose_no_request(
    updates: tuple[str, str], deploy: Callable[[str], None]
) -> None:
    """A new image is rolled out under load; one that does not start is rolled back. Replicas are hardened."""
    new, bad = updates
    deploy(PROD)
    until(lambda: len(running()) == 2 and answers(), 60)
    for replica in running():
        script = "print(*(line.split()[1] for line in open('/proc/1/status') if line.startswith(('CapBnd', 'Uid'))))"
        assert python_in(replica, f"{script}; open('/tmp/x', 'w')") == "10001 0000000000000000"
        done = docker("exec", replica, "python", "-c", "open('/srv/x', 'w')", check=False)
        assert "Read-only file system" in done.stderr
    # Until the proxy has found both.
    time.sleep(3)
    clients = Clients(100)
    with clients.asking():
        deploy(new)
        updated = until(lambda: state() == "completed", 120)
        assert images() == {inspected(new)["Id"]}
        deploy(bad)
        rolled_back = until(lambda: state() == "rollback_completed", 120)
        assert images() == {inspected(new)["Id"]}
    print(f"updated in {updated:.0f} s, rolled back in {rolled_back:.0f} s")
    print(f"{clients.answered} requests, {len(clients.lost)} lost")
    assert clients.lost == []
    assert clients.answered > 5_000


@pytest.mark.usefixtures("swarm")
def test_a_command_runs_to_its_end_before_an_update(
    updates: tuple[str, str], with_commands: Path, deploy: Callable[..., None]
) -> None:
    """As the stack file documents it: with the new image alone. The other commands keep running."""
    new, _ = updates
    once, worker = f"{STACK}_migrate", f"{STACK}_worker"

    def states(service: str) -> list[str]:
        tasks = docker("service", "ps", "--format={{.Image}} {{.CurrentState}}", service).stdout.splitlines()
        return [task for task in tasks if re.search("Complete|Running", task)]

    deploy(PROD, with_commands)
    until(lambda: bool(states(once) and states(worker)), 60)
    done = docker("service", "update", "--no-resolve-image", f"--image={new}", once)
    assert "job complete" in done.stdout
    assert [one for one in states(once) if one.startswith(f"{new} Complete")]
    assert len(states(worker)) == 1


def test_build_for_the_own_platform_gives_the_same_image() -> None:
    """It gives the same image."""
    platform = docker("version", "--format={{.Server.Os}}/{{.Server.Arch}}").stdout.strip()
    named, usual = (inv("build", *options).stdout.splitlines()[0] for options in ([f"--platform={platform}"], []))
    assert named == usual
    assert inspected(PROD)["Architecture"] == platform.partition("/")[2]


def test_build_explains_a_platform_that_it_cannot_build() -> None:
    """Either its base image is missing, or, where a registry has that, an emulator."""
    said = sentence(inv("build", "--platform=linux/s390x"))
    reasons = ("must be on this Engine or in a registry that can be reached", "able to run programs of that platform")
    assert any(reason in said for reason in reasons)
