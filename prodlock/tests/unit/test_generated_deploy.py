"""The files of deploy/ are rendered from `[tool.prodlock]`, by `prodlock init --deploy` and `prodlock upgrade`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from prodlock import __version__, cli, generated, generated_deploy, service, vendored
from prodlock.configuration import Command, Configuration
from prodlock.failure import CANNOT_CHECK, FAILED, Failure
from prodlock.project import Project
from prodlock.proof import deploy
from prodlock.proof.evidence import deployment
from prodlock.scaffold import init
from prodlock.tests.unit.moving import KEYS, edit, moved_in, texts, upgrade

REPOSITORY = Path(__file__).parents[3]
WORKER = Command("worker", ("celery", "-A", "x", "worker"), once=False)
MIGRATE = Command("migrate", ("alembic", "-x", "a b", "upgrade"), once=True)
PLAIN = Configuration(lock="poetry.lock")
OWN_SERVER = Configuration(lock="poetry.lock", server=("gunicorn", "main:app"), health="", ready="")
SETTINGS, NETWORK, RELEASE = "deploy/k8s/kustomization.yaml", "deploy/k8s/network.yaml", "deploy/release.yml"
STACK, K8S, PROXY, PROXIED = "deploy/stack.yml", "deploy/k8s/deployment.yaml", "deploy/haproxy.cfg", "deploy/proxy.yml"
Captured = pytest.CaptureFixture[str]


def rendered(configuration: Configuration, name: str = "shop", variables: Iterable[str] = ()) -> dict[str, str]:
    """Return the texts of the files by their paths."""
    return {path: one.text for path, one in generated_deploy.files(configuration, name, variables).items()}


# Rendering


@pytest.mark.parametrize("path", generated_deploy.FILES)
def test_the_files_of_this_repository_are_rendered(path: str) -> None:
    """Byte for byte, from its own configuration."""
    project = Project(REPOSITORY, {})
    files = rendered(project.configuration, "quotes", service.variables(project))
    assert (REPOSITORY / path).read_text(encoding="utf-8") == files[path]


def test_this_repository_has_no_other_files() -> None:
    """Each file of deploy/ has a template."""
    present = {path.relative_to(REPOSITORY).as_posix() for path in (REPOSITORY / "deploy").rglob("*") if path.is_file()}
    assert present == set(generated_deploy.FILES)


@pytest.mark.parametrize("configuration", [PLAIN, OWN_SERVER, Configuration(commands=(WORKER, MIGRATE))])
def test_no_placeholder_is_left(configuration: Configuration) -> None:
    """No name of the example is left either."""
    for text in rendered(configuration).values():
        assert "{{" not in text
        assert not re.search(r"quotes|\bNone\b", text)


def test_values_of_the_configuration_are_rendered() -> None:
    """Name, port, paths and memory."""
    found = rendered(
        Configuration(port=9000, health="/live", ready="/up", memory="1g", compose="prodlock.compose.yml"), "my_shop"
    )
    assert "api-prod:9000" in found[PROXY]
    assert "option httpchk GET /up\n" in found[PROXY]
    assert "${PORT:-9000}" in found[PROXIED]
    assert "-f prodlock.compose.yml " in found[PROXIED]
    assert "memory: 1G," in found[STACK]
    for part in ("containerPort: 9000", "path: /live", "path: /up", "memory: 1Gi}", "memory: 512Mi}", "image: my-shop"):
        assert part in found[K8S]
    assert "namespace: my-shop\n" in found["deploy/k8s/kustomization.yaml"]


@pytest.mark.parametrize(
    ("memory", "stack", "limit", "requested"),
    [("256m", "256M", "256Mi", "128Mi"), ("1g", "1G", "1Gi", "512Mi"), ("5m", "5M", "5Mi", "2560Ki"),
     ("900000k", "900000K", "900000Ki", "450000Ki")],
)  # fmt: skip
def test_memory_has_the_units_of_each_system(memory: str, stack: str, limit: str, requested: str) -> None:
    """Kubernetes guarantees half of the limit."""
    found = rendered(Configuration(memory=memory))
    assert f'limits: {{cpus: "1", memory: {stack}, pids: 64}}' in found[STACK]
    assert f'limits: {{cpu: "1", memory: {limit}}}' in found[K8S]
    assert f"requests: {{cpu: 250m, memory: {requested}}}" in found[K8S]


def test_variables_of_the_server_are_those_of_prodlock_server_only() -> None:
    """Another server may not read them. The proxy asks it for a connection where it has no path."""
    names = generated.SERVER_VARIABLES
    plain, own = ("".join(rendered(one).values()) for one in (PLAIN, OWN_SERVER))
    assert all(name in plain and name not in own for name in names)
    assert own.count("tcpSocket: {port: http}") == 3
    assert not re.search("httpchk|httpGet", own)
    with_path = rendered(Configuration(server=("x",), health="/live", ready=""))
    assert "option httpchk GET /live" in with_path[PROXY]


def test_declared_variables_are_handed_on() -> None:
    """Swarm takes them from the environment, Kubernetes from a Secret, for commands as well."""
    configuration = Configuration(environment=("DATABASE_URL", "APP_LOG_FORMAT"), commands=(WORKER,), server=("x",))
    found = rendered(configuration)
    assert "x-settings: &settings {APP_LOG_FORMAT, DATABASE_URL}\n" in found[STACK]
    line = "valueFrom: {secretKeyRef: {name: shop, key: DATABASE_URL, optional: true}}"
    assert found[K8S].count(line) == found[K8S].count("configMapRef: {name: settings}") == 2
    # prodlock.server's own line is the only one.
    plain = rendered(Configuration(environment=("APP_LOG_FORMAT",)))
    assert plain[STACK].count("APP_LOG_FORMAT") == plain[SETTINGS].count("APP_LOG_FORMAT") == 1
    assert "APP_LOG_FORMAT" not in plain[K8S]


def test_settings_of_the_service_are_handed_on() -> None:
    """Swarm takes those from the environment that the files do not set."""
    found = rendered(PLAIN, variables=("SHOP_COLOUR", "UVICORN_ROOT_PATH"))[STACK]
    settings = re.search(r"^x-settings: &settings \{([^}]*)\}", found, re.MULTILINE)
    assert settings
    names = re.findall(r"\w+", settings[1])
    assert "SHOP_COLOUR" in names
    assert sorted({*names, "APP_LOG_FORMAT", "FORWARDED_ALLOW_IPS", "UVICORN_ROOT_PATH"}) == sorted(
        {"SHOP_COLOUR", *generated.SERVER_VARIABLES}
    )
    assert len(names) == len(generated.SERVER_VARIABLES) - 2


def test_policies_open_the_ports_of_known_services() -> None:
    """And DNS. The port of another image is the user's to add."""
    services = (("db", "postgres:17"), ("cache", "valkey/valkey:8"), ("mail", "axllent/mailpit:1"))
    opened = re.findall(r"port: (\w+)", rendered(Configuration(services=services))[NETWORK])
    assert opened == ["53", "53", "5432", "6379", "http"]
    assert re.findall(r"port: (\w+)", rendered(PLAIN)[NETWORK]) == ["53", "53", "http"]


def test_what_a_command_needs_before_an_update_has_a_label() -> None:
    """One selector finds these objects and the command's Job."""
    found = rendered(Configuration(commands=(MIGRATE,)))
    for path in ("namespace", "account", "network"):
        assert "app.kubernetes.io/name: shop-settings" in found[f"deploy/k8s/{path}.yaml"]
    assert "options: {labels: {app.kubernetes.io/name: shop-settings}}" in found[SETTINGS]
    assert "--selector 'app.kubernetes.io/name in (shop-migrate,shop-settings)'" in found[K8S]
    assert "shop-settings" not in "".join(rendered(Configuration(commands=(WORKER,))).values())


def test_a_release_takes_its_image_from_the_environment() -> None:
    """So do the commands, which Compose otherwise never pulls."""
    found = rendered(Configuration(commands=(WORKER, MIGRATE), compose="prod.yml"))[RELEASE]
    assert found.endswith("    build: !reset null\n  worker: *release\n  migrate: *release\n")
    assert "-f prod.yml -f deploy/release.yml" in found


def test_commands_have_counterparts() -> None:
    """A long-running one and one that runs to its end, with the same words and hardening."""
    found = rendered(Configuration(commands=(WORKER, MIGRATE)))
    worker, migrate = (
        re.search(rf"^  {name}:\n(    .*\n)+", found[STACK], re.MULTILINE) for name in ("worker", "migrate")
    )
    assert worker
    assert migrate
    for one, command in ((worker[0], WORKER), (migrate[0], MIGRATE)):
        shared = ("<<: *prod", "healthcheck: {disable: true}", "resources: *resources")
        assert all(part in one for part in (*shared, f"command: {json.dumps(command.words)}"))
        assert "ports" not in one
    assert "mode: replicated-job" in migrate[0]
    assert "mode" not in worker[0]
    api, deployment_, job = found[K8S].split("\n---\n")
    assert "kind: Deployment\n" in deployment_
    assert "kind: Job\n" in job
    assert "restartPolicy: Never" in job
    for one, command in ((deployment_, WORKER), (job, MIGRATE)):
        assert f"command: {json.dumps(command.words)}" in one
        assert not re.search(r"Probe|ports:|restartPolicy: A", one)
        hardened = ("runAs", "seccomp", "Privilege", "readOnly", "drop", "limits", "requests", "sizeLimit")
        for line in api.splitlines():
            if any(part in line for part in hardened):
                assert line in one
    # No Service selects their pods.
    assert "app.kubernetes.io/name: shop-worker}" in deployment_
    assert "app.kubernetes.io/name: shop}" not in deployment_ + job
    assert "worker" not in found[PROXIED]
    assert 'docker service update --image "$IMAGE" shop_migrate\n' in found[STACK]


@pytest.mark.parametrize(
    ("name", "expected"),
    [("shop", "shop"), ("my_shop", "my-shop"), ("2024", "service-2024"), ("on", "service-on"), ("_a_", "a")],
)
def test_names_are_those_that_kubernetes_allows(name: str, expected: str) -> None:
    """YAML reads none of them as a number or a boolean."""
    assert generated_deploy.kubernetes_name(name) == expected
    assert len(generated_deploy.kubernetes_name(name * 30)) <= 30


@pytest.mark.parametrize("names", [("api",), ("proxy",), ("a_b", "a-b"), ("x" * 31 + "a", "x" * 31 + "b")])
def test_commands_of_the_same_name_are_refused(names: tuple[str, ...]) -> None:
    """One would replace the other."""
    commands = tuple(Command(name, ("x",), once=False) for name in names)
    with pytest.raises(Failure, match=r"^`commands` and `services` must have names that differ"):
        rendered(Configuration(commands=commands))


def test_a_service_with_the_name_of_the_proxy_is_refused() -> None:
    """deploy/proxy.yml would change it."""
    with pytest.raises(Failure, match=r"\(got proxy\)"):
        rendered(Configuration(services=(("proxy", "nginx:1"),)))


# init and upgrade


def test_deploy_is_written_where_it_is_asked_for(tmp_path: Path, capsys: Captured) -> None:
    """By `init --deploy`, or later by `upgrade --deploy`: the same files. Without the option neither writes them."""
    first, second = tmp_path / "first", tmp_path / "second"
    for folder, with_deploy in ((first, True), (second, False)):
        folder.mkdir()
        moved_in(folder, deploy=with_deploy)
    assert not (second / "deploy").exists()
    assert [upgrade(second), upgrade(first)] == [0, 0]
    assert capsys.readouterr().out == f"All files are those of Prodlock {__version__} already.\n" * 2
    assert upgrade(second, "--deploy") == 0
    assert texts(second) == texts(first)
    assert set(generated_deploy.FILES) <= set(texts(first))


def test_init_has_the_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In an empty folder as well."""
    monkeypatch.chdir(tmp_path)
    assert cli.main(["init", "shop", "--deploy"]) == 0
    assert "IMAGE=registry.example/shop@" in (tmp_path / STACK).read_text(encoding="utf-8")


def test_edits_of_deploy_are_merged(tmp_path: Path) -> None:
    """An upgrade without the option follows the configuration, and keeps what the user has changed."""
    root = moved_in(tmp_path, deploy=True)
    edit(root / STACK, "{REPLICAS:-2}", "{REPLICAS:-3}")
    edit(root / "pyproject.toml", "[tool.prodlock]\n", '[tool.prodlock]\nmemory = "1g"\ncommands = {worker = "w"}\n')
    assert upgrade(root) == 0
    text = (root / STACK).read_text(encoding="utf-8")
    assert all(part in text for part in ("{REPLICAS:-3}", "memory: 1G", 'command: ["w"]'))
    before = texts(root)
    assert upgrade(root, "--deploy") == 0
    assert texts(root) == before


@pytest.mark.parametrize("line", ["name: 'shop'", 'name:  "shop"', "name: shop  # not the folder's"])
def test_deploy_has_the_name_of_the_compose_project(tmp_path: Path, line: str) -> None:
    """However Compose lets it be written."""
    root = moved_in(tmp_path, deploy=False)
    edit(root / "docker-compose.yml", "name: shop", line)
    assert upgrade(root, "--deploy") == 0
    assert "  name: shop\n" in (root / "deploy/k8s/namespace.yaml").read_text(encoding="utf-8")


def test_removed_files_of_deploy_are_written_again(tmp_path: Path) -> None:
    """Unless all are removed: then the project does without them."""
    root = moved_in(tmp_path, deploy=True)
    (root / K8S).unlink()
    assert upgrade(root) == 0
    assert (root / K8S).is_file()
    for path in generated_deploy.FILES:
        (root / path).unlink()
    assert upgrade(root) == 0
    assert not any((root / path).exists() for path in generated_deploy.FILES)
    assert STACK not in vendored.unpacked((root / vendored.BASE).read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", [STACK, "deploy/k8s/service.yaml"])
def test_files_of_the_user_are_not_overwritten(tmp_path: Path, capsys: Captured, path: str) -> None:
    """Neither by init nor by upgrade; nothing is written. Other files in deploy/ are not in the way."""
    root = moved_in(tmp_path, deploy=False)
    for name in (path, "deploy/terraform/main.tf"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("mine\n", encoding="utf-8")
    before = texts(root)
    assert upgrade(root, "--deploy") == FAILED
    assert f"{path} must not exist yet" in capsys.readouterr().err
    with pytest.raises(Failure, match=f"^{path} must not exist yet"):
        init.plan(root, KEYS, "shop", deploy=True)
    assert texts(root) == before
    (root / path).unlink()
    assert upgrade(root, "--deploy") == 0


def test_the_check_without_deploy_names_the_command(tmp_path: Path) -> None:
    """Before it asks Docker."""
    project = Project(moved_in(tmp_path, deploy=False), {})
    with pytest.raises(Failure, match=r"^deploy/stack\.yml must exist .*`prodlock upgrade --deploy`"):
        deployment.refuse_absent(project)
    with pytest.raises(Failure) as caught:
        deploy.check(project)
    assert caught.value.code == CANNOT_CHECK
    assert upgrade(project.root, "--deploy") == 0
    deployment.refuse_absent(project)
