"""What Compose runs, against what the image declares and holds."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from prodlock import recipes, source, variables
from prodlock.image.records import Declaration
from prodlock.project import Project
from prodlock.proof import rules
from prodlock.proof.judges import compose
from prodlock.proof.records import ComposeProject, ExpectedContents
from prodlock.proof.rules import Finding

SERVICE: dict[str, Any] = {
    "profiles": ["prod"],
    "build": {"context": "/w", "dockerfile": "Dockerfile", "target": "prod", "args": {"VERSION": "1"}},
    "command": None,
    "entrypoint": None,
    "environment": {"APP_NAME": None, "UVICORN_TIMEOUT_KEEP_ALIVE": "5", "TZ": "Europe/Rome"},
    "image": "x:prod",
    "read_only": True,
    "tmpfs": ["/tmp:size=16m,noexec,nosuid,nodev"],
    "security_opt": ["no-new-privileges:true"],
    "x-note": {"command": ["sh"]},
}
CONFIG = {
    "Cmd": ["uvicorn", "app"],
    "Env": ["PATH=/opt/venv/bin:/tools/bin", "PYTHONPATH=/plugins", "PYTHONUNBUFFERED=1"],
    "Healthcheck": {"Test": ["CMD", "python", "prodlock/server/healthcheck.py"]},
    "User": "10001:10001",
    "WorkingDir": "/srv",
}
DECLARED = Declaration(CONFIG, (), (), {"os": "linux", "architecture": "amd64"})
PATHS = {
    "/etc": "", "/etc/passwd": "", "/lib": "usr/lib", "/opt": "", "/opt/venv": "", "/opt/venv/lib": "",
    "/opt/venv/lib64": "lib", "/srv": "", "/srv/app": "", "/srv/app/main.py": "", "/tmp": "", "/usr": "",
    "/usr/lib": "", "/usr/lib/libc.so.6": "", "/var": "", "/var/lib": "", "/var/lib/dpkg": "", "/code/data": "",
}  # fmt: skip
EXPECTED = ExpectedContents.from_rows(
    (path, "link" if target else "file", 0o644, target, 0, (0, 0), "x", True) for path, target in PATHS.items()
)
VOLUMES = {
    "data": {"name": "x_data"},
    "folder": {"driver_opts": {"type": "none", "o": "bind", "device": "/w/app"}},
    "layers": {"driver_opts": {"type": "overlay", "o": "lowerdir=/w/app,upperdir=/u", "device": "overlay"}},
    "elsewhere": {"driver_opts": {"type": "nfs", "o": "addr=10.0.0.1,rw", "device": ":/export"}},
}
FILES = {"app": {"file": "/w/app/main.py"}, "key": {"file": "/w/key"}, "text": {"content": "x"}}
# What the working tree is seen by, and what it is.
REAL = {"/link": "/w", "/link/app": "/w/app"}


# Of the settings of a service.
SHIPPED = ("app", "prodlock/__init__.py", "prodlock/server")
VARIABLES = frozenset({"APP_NAME", "FORWARDED_ALLOW_IPS", "UVICORN_TIMEOUT_KEEP_ALIVE"})


def project(composed: dict[str, Any], **document: Any) -> ComposeProject:  # noqa: ANN401
    """Return a project of these compose."""
    whole = {"services": composed, "volumes": VOLUMES, "configs": FILES, "secrets": FILES} | document
    return ComposeProject(whole, "x", "/w", REAL, frozenset({"0123456789ab"}), VARIABLES, SHIPPED)


def found(more: dict[str, Any], *, environment: tuple[str, ...] = (), **services_too: Any) -> list[Finding]:  # noqa: ANN401
    """Return what is found in a project whose production service has these keys as well."""
    return compose.judge(project({"api-prod": SERVICE | more} | services_too), DECLARED, EXPECTED, environment)


HARMLESS: dict[str, Any] = {
    "annotations": {},
    "attach": False,
    "blkio_config": {"weight": 5},
    "cap_drop": ["ALL"],
    "cgroup": "private",
    "cgroup_parent": "m.slice",
    "command": CONFIG["Cmd"],
    "configs": [{"source": "text"}, {"source": "text", "target": "/run/x"}],
    "container_name": "x",
    "cpu_count": 1,
    "cpu_percent": 1,
    "cpu_period": 1,
    "cpu_quota": 1,
    "cpu_rt_period": 1,
    "cpu_rt_runtime": 1,
    "cpu_shares": 1,
    "cpus": 1,
    "cpuset": "0",
    "depends_on": {"db": {"condition": "service_healthy"}},
    "deploy": {
        "replicas": 2, "mode": "replicated", "labels": {"a": "b"}, "update_config": {"order": "start-first"},
        "resources": {"limits": {"cpus": 1, "memory": "1", "pids": 5}}, "placement": {}, "endpoint_mode": "vip",
        "rollback_config": {"order": "stop-first"}, "restart_policy": {"condition": "any"},
    },
    "dns": ["1.1.1.1"],
    "dns_opt": ["ndots:1"],
    "dns_search": ["x"],
    "domainname": "x",
    "expose": ["1"],
    "extends": {"service": "y"},
    "external_links": ["y"],
    "extra_hosts": ["y=10.0.0.1"],
    "healthcheck": {"interval": "5s", "timeout": "1s", "test": ["CMD", "python", "prodlock/server/healthcheck.py"]},
    "hostname": "x",
    "init": False,
    "ipc": "private",
    "label_file": ["x"],
    "labels": {"a": "b"},
    "links": ["db"],
    "logging": {"driver": "json-file"},
    "mac_address": "02:42:ac:11:00:02",
    "mem_limit": "1",
    "mem_reservation": "1",
    "mem_swappiness": 1,
    "memswap_limit": 1,
    "network_mode": "service:db",
    "networks": {"default": None},
    "oom_kill_disable": True,
    "oom_score_adj": 1,
    "pids_limit": 64,
    "platform": "linux/amd64",
    "ports": [{"target": 8000}],
    "privileged": False,
    "profiles": [],
    "pull_policy": "never",
    "restart": "always",
    "runtime": "runc",
    "scale": 2,
    "secrets": [{"source": "key"}, {"source": "key", "target": "a/b"}, {"source": "key", "target": "/run/secrets/c"}],
    "security_opt": ["no-new-privileges", "seccomp=builtin"],
    "shm_size": "1",
    "stdin_open": True,
    "stop_grace_period": "10s",
    "stop_signal": "SIGTERM",
    "storage_opt": {"size": "1G"},
    "sysctls": {"net.core.somaxconn": "5"},
    "tmpfs": ["/tmp", "/run", "/var/cache/x:size=1m"],
    "tty": True,
    "ulimits": {"nofile": 5},
    "user": "10001:10001",
    "volumes": [
        {"type": "bind", "source": "/data", "target": "/data"},
        {"type": "bind", "source": "/etc/my-hosts", "target": "/etc/hosts"},
        {"type": "bind", "source": "/workshop", "target": "/mnt/x"},
        {"type": "tmpfs", "target": "/tmp/x"},
        {"type": "volume", "source": "data", "target": "/var/lib/data"},
        {"type": "volume", "source": "elsewhere", "target": "/data"},
        {"type": "volume", "target": "/var/log"},
    ],
    "working_dir": "/srv",
    "x-anything": {"a": 1},
}  # fmt: skip


def test_a_service_that_runs_the_image_is_not_a_finding() -> None:
    """As docker-compose.yml has it."""
    assert found({}) == []


@pytest.mark.parametrize("key", HARMLESS)
def test_a_key_that_does_not_change_the_image_is_not_a_finding(key: str) -> None:
    """Limits, networks, hardening; and settings with the image's value."""
    assert found({key: HARMLESS[key]}) == []


REFUSED: dict[str, Any] = {
    "annotations": {"a": "b"},
    "cap_add": ["CHOWN"],
    "cgroup": "host",
    "command": ["pytest"],
    "credential_spec": {"file": "x"},
    "develop": {"watch": [{"action": "sync"}]},
    "device_cgroup_rules": ["a"],
    "devices": [{"source": "/dev/kvm"}],
    "entrypoint": ["sh"],
    "env_file": [{"path": "x"}],
    "gpus": [{"count": -1}],
    "group_add": ["0"],
    "healthcheck": {"disable": True},
    "init": True,
    "ipc": "host",
    "isolation": "hyperv",
    "models": {"m": None},
    "network_mode": "host",
    "pid": "host",
    "post_start": [{"command": ["sh"]}],
    "pre_stop": [{"command": ["sh"]}],
    "privileged": True,
    "provider": {"type": "x"},
    "pull_policy": "always",
    "pull_refresh_after": "1h",
    "runtime": "other",
    "security_opt": ["seccomp=unconfined"],
    "stop_signal": "SIGKILL",
    "use_api_socket": True,
    "user": "0:0",
    "userns_mode": "host",
    "uts": "host",
    "volumes_from": ["other"],
    "working_dir": "/tmp",
    "a_key_of_tomorrow": 1,
}


@pytest.mark.parametrize("key", REFUSED)
def test_a_key_that_may_change_what_runs_is_found(key: str) -> None:
    """By an allow-list: a key that is not known is one of these."""
    (finding,) = found({key: REFUSED[key]})
    assert (finding.rule, finding.what, finding.path) == (rules.COMPOSE_KEY, key, "docker-compose.yml")
    assert finding.why.startswith("the service api-prod ")


def test_each_listed_key_is_tested() -> None:
    """Each key of the table is in a test, and each text refuses."""
    assert compose.KEYS.keys() <= HARMLESS.keys() | REFUSED.keys() | SERVICE.keys() | {"build", "image"}
    assert {key for key, judge in compose.KEYS.items() if isinstance(judge, str)} <= REFUSED.keys()
    assert {key for key, judge in compose.KEYS.items() if judge is None} - {"build", "image"} <= (
        HARMLESS.keys() | SERVICE.keys()
    )


@pytest.mark.parametrize(
    ("more", "what"),
    [
        ({"healthcheck": {"test": ["CMD", "true"]}}, "healthcheck"),
        ({"healthcheck": {"test": ["NONE"]}}, "healthcheck"),
        ({"healthcheck": {"a_key_of_tomorrow": 1}}, "healthcheck"),
        ({"network_mode": "container:other"}, "network_mode"),
        ({"ipc": "service:other"}, "ipc"),
        ({"pid": "service:other"}, "pid"),
        ({"security_opt": ["no-new-privileges:false"]}, "security_opt"),
        ({"security_opt": ["apparmor:unconfined"]}, "security_opt"),
        ({"security_opt": ["systempaths=unconfined"]}, "security_opt"),
        ({"tmpfs": ["/tmp:exec"]}, "tmpfs /tmp"),
        ({"tmpfs": "/tmp:size=1m,suid"}, "tmpfs /tmp"),
        ({"deploy": {"resources": {"reservations": {"devices": [{}]}}}}, "deploy.resources.reservations.devices"),
        ({"deploy": {"a_key_of_tomorrow": 1}}, "deploy.a_key_of_tomorrow"),
        ({"pull_policy": "daily"}, "pull_policy"),
        ({"command": ["uvicorn", "app", "--reload"]}, "command"),
    ],
)
def test_a_value_that_may_change_what_runs_is_found(more: dict[str, Any], what: str) -> None:
    """Where the key may have others."""
    (finding,) = found(more)
    assert (finding.rule, finding.what) == (rules.COMPOSE_KEY, what)


@pytest.mark.parametrize("network", [{"name": "host", "external": True}, {"name": "x_web", "driver": "host"}])
def test_the_machines_own_network_is_found(network: dict[str, Any]) -> None:
    """As with `network_mode: host`, the service reaches what listens on the machine alone; other networks are free."""
    given = SERVICE | {"networks": {"default": None, "web": None}}
    for networks, expected in (({"web": network}, ["networks.web"]), ({"web": {"name": "x_web"}}, []), ({}, [])):
        judged = compose.judge(project({"api-prod": given}, networks=networks), DECLARED, EXPECTED, ())
        assert [one.what for one in judged] == expected


def test_an_empty_entrypoint_replaces_the_images() -> None:
    """Where the image has one; an empty command does not."""
    assert found({"entrypoint": [], "command": []}) == []
    declared = replace(DECLARED, config=CONFIG | {"Entrypoint": ["init"]})
    judged = compose.judge(project({"api-prod": SERVICE | {"entrypoint": []}}), declared, EXPECTED, ())
    assert [one.what for one in judged] == ["entrypoint"]


BUILT: dict[str, Any] = SERVICE["build"]


@pytest.mark.parametrize(
    ("more", "what"),
    [
        ({"image": "x:dev"}, "image x:dev"),
        ({"image": None}, "image None"),
        ({"image": "x"}, "image x"),
        ({"image": "registry.example/x:prod"}, "image registry.example/x:prod"),
        ({"image": "x@sha256:0"}, "image x@sha256:0"),
        ({"image": "nginx", "build": None}, "image nginx"),
        ({"build": BUILT | {"target": "dev"}}, "target dev"),
        ({"build": {"context": "/w"}}, "target None"),
        ({"build": BUILT | {"context": "/other"}}, "build.context /other"),
        ({"build": BUILT | {"dockerfile": "bench/Dockerfile"}}, "build.dockerfile bench/Dockerfile"),
        ({"build": BUILT | {"args": {"BASE": None}}}, "build.args BASE"),
        ({"build": BUILT | {"platforms": ["linux/arm64"]}}, "platform linux/arm64"),
        ({"platform": "linux/arm64"}, "platform linux/arm64"),
        *(
            ({"build": BUILT | {key: value}}, f"build.{key}")
            for key, value in {
                "additional_contexts": {"prod": "/other"},
                "cache_from": ["other"],
                "dockerfile_inline": "FROM other",
                "entitlements": ["security.insecure"],
                "isolation": "hyperv",
                "labels": {"a": "b"},
                "privileged": True,
                "ssh": ["default"],
                "tags": ["python:3.13-slim-trixie"],
                "a_key_of_tomorrow": 1,
            }.items()
        ),
    ],
)
def test_another_image_is_found(more: dict[str, Any], what: str) -> None:
    """By its name, or by what it is built of."""
    (finding,) = found(more)
    assert (finding.rule, finding.what) == (rules.COMPOSE_IMAGE, what)


def test_build_keys_that_do_not_change_the_content_are_not_findings() -> None:
    """Its network, its secrets, its limits; the folder by another path; no build at all."""
    more = {
        "cache_to": ["type=local"], "extra_hosts": ["a=1.2.3.4"], "network": "host", "no_cache": True,
        "no_cache_filter": ["main"], "provenance": "false", "pull": True, "sbom": "false",
        "secrets": [{"source": "key"}], "shm_size": "1", "ulimits": {"nofile": 5}, "platforms": ["linux/amd64"],
        "context": "/link",
        "args": dict.fromkeys(compose.ARGUMENTS),
    }  # fmt: skip
    assert found({"build": BUILT | more}) == []
    assert found({"build": None, "image": "docker.io/library/x:prod"}) == []


@pytest.mark.parametrize("name", ["amd64", "linux/x86_64", "Linux/AMD64", "linux/x86-64", "x86_64", "linux/amd64/v1"])
def test_a_platform_may_have_any_name_that_docker_takes(name: str) -> None:
    """Of the service, and of its build."""
    assert found({"platform": name, "build": BUILT | {"platforms": [name]}}) == []


@pytest.mark.parametrize("name", ["linux/aarch64", "arm64", "windows/amd64", "linux/amd64/v3", "linux/386"])
def test_another_platform_is_found(name: str) -> None:
    """With each of its names."""
    (finding,) = found({"platform": name})
    assert (finding.what, finding.why[-30:]) == (f"platform {name}", "runs that instead of linux/amd64"[-30:])


def test_the_allowed_build_arguments_are_those_of_inv_build() -> None:
    """One list in two files."""
    given = source.arguments(Project(), source.Commit("0" * 40, 0, 0))
    assert set(compose.ARGUMENTS) == set(given)


@pytest.mark.parametrize(
    ("service", "expected"),
    [
        ({"image": "x:dev"}, ["image x:dev"]),
        ({"image": "x"}, ["image x"]),
        ({"image": "0123456789ab"}, ["image 0123456789ab"]),
        ({"build": {"context": "/w", "target": "dev"}, "image": "y"}, ["image y", "target dev"]),
        ({"build": {"context": "/elsewhere"}}, ["image None", "build.context /elsewhere", "target None"]),
        (SERVICE | {"command": ["python", "worker.py"]}, ["command"]),
        (SERVICE, []),
    ],
)
def test_every_service_that_is_built_here_is_judged(service: dict[str, Any], expected: list[str]) -> None:
    """A second one must run the unchanged production image as well."""
    findings = found({}, worker=service)
    assert [one.what for one in findings] == expected
    assert all(one.why.startswith("the service worker ") for one in findings)


WORKER: dict[str, Any] = {
    "command": ["celery", "worker"],
    "depends_on": {"db": {"condition": "service_healthy"}},
    "healthcheck": {"disable": True},
    "image": "x:prod",
    "pull_policy": "never",
    "restart": "no",
}
DATABASE: dict[str, Any] = {
    "cap_add": ["CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID"],
    "environment": {"POSTGRES_PASSWORD_FILE": "/run/secrets/key"},
    "healthcheck": {"test": ["CMD", "pg_isready"]},
    "image": "registry.example/postgres:17",
    "secrets": [{"source": "key"}],
    "volumes": [{"type": "volume", "source": "data", "target": "/var/lib/postgresql"}],
}


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, []),
        ({"command": ["celery", "worker", "--pool=solo"]}, ["command"]),
        ({"command": ["celery"]}, ["command"]),
        ({"command": ["sh", "-c", "celery worker"]}, ["command"]),
        ({"entrypoint": ["sh"]}, ["entrypoint"]),
        ({"image": "x:dev"}, ["image x:dev"]),
        ({"healthcheck": {"test": ["CMD", "python", "-S", "-c", ""]}}, []),
        ({"healthcheck": {"test": ["CMD", "python", "-S", "-c", "import x"]}}, ["healthcheck"]),
        ({"healthcheck": {"test": ["CMD", "sh"]}}, ["healthcheck"]),
        ({"pull_policy": "always"}, ["pull_policy"]),
        ({"user": "root"}, ["user"]),
        ({"environment": {"PYTHONPATH": "/x"}}, ["PYTHONPATH"]),
        ({"volumes": [{"type": "bind", "source": "/w/app", "target": "/srv/app"}]}, ["/w/app:/srv/app"]),
    ],
)
def test_a_declared_command_runs_the_image_with_its_exact_words(more: dict[str, Any], expected: list[str]) -> None:
    """The words are those of pyproject.toml; the service may have no health check, and everything else is judged."""
    services = {"api-prod": SERVICE, "worker": WORKER | more, "db": DATABASE}
    declared = replace(project(services), commands={"worker": ("celery", "worker")})
    assert [one.what for one in compose.judge(declared, DECLARED, EXPECTED, ())] == expected


def test_the_allowed_health_check_of_commands_is_the_generated_one() -> None:
    """One list in two files."""
    assert compose.RUNNING == recipes.RUNNING


def test_a_command_that_is_not_declared_is_a_finding() -> None:
    """So is the missing health check of a service without declared words."""
    services = {"api-prod": SERVICE, "worker": WORKER}
    declared = replace(project(services), commands={"other": ("celery", "worker")})
    assert [one.what for one in compose.judge(declared, DECLARED, EXPECTED, ())] == ["command", "healthcheck"]


def test_databases_are_listed_as_not_judged() -> None:
    """Neither their settings nor their capabilities are findings."""
    declared = project({"api-prod": SERVICE, "db": DATABASE})
    assert compose.judge(declared, DECLARED, EXPECTED, ()) == []
    assert compose.unjudged(declared) == {"db": "registry.example/postgres:17"}


@pytest.mark.parametrize(
    ("target", "place"),
    [
        ("/srv/app", "/srv/app"),
        ("/srv/app/", "/srv/app"),
        ("/srv", "/srv"),
        ("/", "/"),
        ("/srv/app/main.py", "/srv/app/main.py"),
        ("/srv/plugins", "/srv"),
        ("/srv/sitecustomize.py", "/srv"),
        ("/opt/venv/lib/x.pth", "/opt"),
        ("/opt/venv/lib64/x.pth", "/opt"),
        ("/data/../srv/app", "/srv/app"),
        ("//srv//./app", "/srv/app"),
        ("/lib", "/usr/lib"),
        ("/lib/x.so", "/usr"),
        ("/var/lib/../../usr", "/usr"),
        ("/etc/ld.so.preload", "/etc"),
        ("/etc/passwd", "/etc/passwd"),
        ("/var", "/var"),
        ("/var/lib", "/var/lib"),
        ("/code", "/code"),
        ("/code/more", "/code"),
        ("/bin/sh", "/bin"),
        ("/lib32/x", "/lib32"),
        ("/proc/sys", "/proc"),
        ("/sys", "/sys"),
        ("/dev/shm", "/dev"),
        ("/root/.local", "/root"),
        ("/tmp/../srv", "/srv"),
        ("/tools", "/tools"),
        ("/tools/bin/x", "/tools/bin/x"),
        ("/plugins/x", "/plugins/x"),
        ("srv/app", "not absolute"),
        (r"C:\srv", "not absolute"),
        ("", "not absolute"),
    ],
)
@pytest.mark.parametrize("kind", ["bind", "volume", "tmpfs", "a tmpfs of its own"])
def test_a_mount_is_judged_by_its_target(kind: str, target: str, place: str) -> None:
    """Whatever its source: at, above or below what the image has."""
    mounts: dict[str, Any] = {
        "volumes": [{"type": kind, "target": target} | ({"source": "/data"} if kind == "bind" else {})]
    }
    if kind == "a tmpfs of its own":
        if ":" in target:
            return
        mounts = {"tmpfs": [f"{target}:size=1m"]}
    (finding,) = found(mounts)
    assert (finding.rule, finding.what.split(":", 1)[1]) == (rules.COMPOSE_MOUNT, target)
    assert re.search(rf"{re.escape(place)}(,|$)", finding.why)


@pytest.mark.parametrize(
    ("mount", "what"),
    [
        ({"type": "bind", "source": "/w", "target": "/x"}, "/w:/x"),
        ({"type": "bind", "source": "/w/app", "target": "/x"}, "/w/app:/x"),
        ({"type": "bind", "source": "/link/app", "target": "/x"}, "/w/app:/x"),
        ({"type": "bind", "source": "/", "target": "/x"}, "/:/x"),
        ({"type": "volume", "source": "folder", "target": "/x"}, "/w/app:/x"),
        ({"type": "volume", "source": "layers", "target": "/x"}, "/w/app:/x"),
    ],
)
def test_a_mount_of_the_working_tree_is_found(mount: dict[str, Any], what: str) -> None:
    """Wherever it is mounted: by its path, by a link, through a named volume."""
    (finding,) = found({"volumes": [mount]})
    assert (finding.rule, finding.what) == (rules.COMPOSE_MOUNT, what)
    assert finding.why == "the service api-prod mounts it from the working tree"


@pytest.mark.parametrize(
    "place",
    [
        "/run/docker.sock",
        "/run",
        "/var/lib/docker/overlay2",
        "/run/user/1000/docker.sock",
        "/run/user/1000",
        "/run/user/",
        "/home/x/.docker/run",
        "/home/x/.docker",
        "/var/run/docker.sock.raw",
        "/run/podman",
        "/run/buildkit/buildkitd.sock",
        "/run/crio",
        "/home/x/.colima/default",
        "/home/x/.orbstack/run",
        "/run/host-services/docker.proxy.sock",
        "/run/cri-dockerd.sock",
        "/home/x/.local/share/docker",
        "/home/x/.local/share/containers/storage",
        "/var/lib/containers",
    ],
)
def test_a_mount_that_controls_the_engine_is_found(place: str) -> None:
    """In a service of this project and in one of others."""
    mount = {"volumes": [{"type": "bind", "source": place, "target": "/x"}]}
    (finding,) = found(mount)
    assert (finding.rule, finding.what) == (rules.COMPOSE_MOUNT, f"{place}:/x")
    (finding,) = found({}, proxy={"image": "proxy"} | mount)
    assert (finding.rule, finding.what) == (rules.COMPOSE_REACH, f"{place}:/x")


@pytest.mark.parametrize(
    ("more", "what"),
    [
        ({"secrets": [{"source": "key", "target": "/srv/app/main.py"}]}, "key:/srv/app/main.py"),
        ({"secrets": [{"source": "key", "target": "../../srv/x.py"}]}, "key:/run/secrets/../../srv/x.py"),
        ({"secrets": [{"source": "key", "target": "/etc/ld.so.preload"}]}, "key:/etc/ld.so.preload"),
        ({"configs": [{"source": "text", "target": "/srv/app/x.py"}]}, "text:/srv/app/x.py"),
        ({"configs": [{"source": "text", "target": "usr/lib/x.pth"}]}, "text:/usr/lib/x.pth"),
        ({"configs": [{"source": "srv"}]}, "srv:/srv"),
    ],
)
def test_a_secret_or_a_config_that_changes_code_is_found(more: dict[str, Any], what: str) -> None:
    """By its target: absolute, relative to the folder of its kind, or named by its source."""
    (finding,) = found(more)
    assert (finding.rule, finding.what) == (rules.COMPOSE_MOUNT, what)


@pytest.mark.parametrize(
    "name",
    [
        "PATH", "PYTHONPATH", "PYTHONSTARTUP", "LD_PRELOAD", "OPENSSL_CONF", "OPENSSL_MODULES", "UVICORN_APP_DIR",
        "UVICORN_RELOAD", "UVICORN_LOG_CONFIG", "GCONV_PATH", "BASH_ENV", "GUNICORN_CMD_ARGS",
        "_PYTHON_SYSCONFIGDATA_NAME",
    ],
)  # fmt: skip
def test_a_variable_that_decides_which_code_runs_is_found(name: str) -> None:
    """Whether it is set or handed on."""
    for value in ("/x", "", None):
        (finding,) = found({"environment": {name: value}}, environment=(name,))
        assert (finding.rule, finding.what) == (rules.COMPOSE_VARIABLE, name)
        assert "decides which code runs" in finding.why


@pytest.mark.parametrize("name", ["APP_OTHER", "app_name", "UVICORN_WORKERS", "DATABASE_URL", "DEBUG", "ENV", ""])
def test_an_unlisted_variable_is_found(name: str) -> None:
    """Unless pyproject.toml allows it."""
    (finding,) = found({"environment": {name: "hidden"}})
    assert (finding.rule, finding.what) == (rules.COMPOSE_VARIABLE, name)
    assert "hidden" not in str(finding)
    assert found({"environment": {name: "hidden"}}, environment=(name,)) == []


def test_a_variable_with_the_images_value_is_not_a_finding() -> None:
    """With the same value."""
    assert found({"environment": {"PYTHONUNBUFFERED": "1", "PATH": "/opt/venv/bin:/tools/bin"}}) == []
    assert len(found({"environment": {"PYTHONUNBUFFERED": "", "PATH": "/opt/venv/bin"}})) == 2


def test_variables_of_settings_and_locale_are_not_findings() -> None:
    """They are documented, and decide nothing of the code."""
    assert found({"environment": dict.fromkeys((*VARIABLES, *variables.LOCALE))}) == []
    assert not any(map(variables.decides_code, (*VARIABLES, *variables.LOCALE)))


FOREIGN: dict[str, tuple[Any, str]] = {
    "cap_add": (["SYS_ADMIN"], "cap_add"),
    "cgroup": ("host", "cgroup"),
    "configs": ([{"source": "app"}], "/w/app/main.py:app"),
    "device_cgroup_rules": (["a"], "device_cgroup_rules"),
    "devices": ([{"source": "/dev/mem"}], "devices"),
    "ipc": ("service:api-prod", "ipc"),
    "pid": ("service:api-prod", "pid"),
    "post_start": ([{"command": ["sh"]}, {"command": ["sh"], "privileged": True}], "post_start"),
    "pre_stop": ([{"command": ["sh"], "privileged": True}], "pre_stop"),
    "privileged": (True, "privileged"),
    "provider": ({"type": "x"}, "provider"),
    "secrets": ([{"source": "app", "target": "/app.py"}], "/w/app/main.py:/app.py"),
    "security_opt": (["no-new-privileges", "systempaths=unconfined"], "security_opt"),
    "use_api_socket": (True, "use_api_socket"),
    "userns_mode": ("host", "userns_mode"),
    "volumes": ([{"type": "bind", "source": "/link", "target": "/x"}], "/w:/x"),
    "volumes_from": (["api-prod"], "volumes_from"),
}


@pytest.mark.parametrize("key", compose.FOREIGN)
def test_another_image_that_reaches_production_is_found(key: str) -> None:
    """The sources, the Engine, the machine, or processes of others."""
    value, what = FOREIGN[key]
    (finding,) = found({}, proxy={"image": "proxy:1", key: value})
    assert (finding.rule, finding.what) == (rules.COMPOSE_REACH, what)


@pytest.mark.parametrize(
    ("place", "writable"),
    [
        ("/", False), ("/etc", True), ("/etc/docker", True), ("/etc/systemd/system", True), ("/usr", True),
        ("/usr/local", True), ("/usr/bin/runc", True), ("/root", True), ("/var/spool", True), ("/proc", True),
        ("/sys/fs/cgroup", True), ("/dev", True), ("/etc/passwd", True), ("/etc/sudoers.d", True),
        ("/etc/crontab", True), ("/etc/ssh/sshd_config", True), ("/run/systemd/private", True),
        ("/etc/profile", True), ("/etc/environment", True), ("/etc/group", True), ("/usr/local/lib", True),
        ("/etc/ld.so.conf", True), ("/etc/modprobe.d", True), ("/etc/polkit-1/rules.d", True),
    ],
)  # fmt: skip
def test_another_image_that_can_write_to_the_system_is_found(place: str, *, writable: bool) -> None:
    """To read it is not a finding, other than where it contains the Engine's socket."""
    mount = {"type": "bind", "source": place, "target": "/x"}
    (finding,) = found({}, proxy={"image": "proxy:1", "volumes": [mount]})
    assert (finding.rule, finding.what) == (rules.COMPOSE_REACH, f"{place}:/x")
    assert bool(found({}, proxy={"image": "proxy:1", "volumes": [mount | {"read_only": True}]})) is not writable


def test_the_machines_time_zone_may_be_mounted() -> None:
    """Read-only, and from its own files alone."""
    mount = {"type": "bind", "source": "/usr/share/zoneinfo/Etc/UTC", "target": "/etc/localtime", "read_only": True}
    assert found({"volumes": [mount]}) == []
    assert found({"volumes": [mount | {"source": "/etc/timezone", "target": "/etc/timezone"}]}) == []
    for other in ({"read_only": False}, {"source": "/data/x"}, {"target": "/etc/passwd"}):
        assert len(found({"volumes": [mount | other]})) == 1, other


@pytest.mark.parametrize(
    "place",
    [
        "/dev/shm",
        "/etc/letsencrypt",
        "/etc/localtime",
        "/home/x/.docker/config.json",
        "/run/user/1000/bus",
        "/srv/data",
        "/usr/share/x",
        "/var/lib/x",
    ],
)
def test_another_image_may_write_to_data(place: str) -> None:
    """Such as certificates that it renews."""
    mount = {"type": "bind", "source": place, "target": "/x"}
    assert found({}, proxy={"image": "proxy:1", "volumes": [mount]}) == []


def test_another_image_is_listed_and_not_a_finding() -> None:
    """A proxy with its configuration, a database with its data: these images are not judged."""
    others: dict[str, Any] = {
        "proxy": {
            "image": "haproxy:3.2",
            "volumes": [{"type": "bind", "source": "/w/deploy/haproxy.cfg", "target": "/usr/local/etc/haproxy.cfg"}],
            "command": ["haproxy"],
            "cap_drop": ["ALL"],
        },
        "db": {
            "image": "postgres:16",
            "environment": {"PATH": "/x"},
            "volumes": [{"type": "volume", "source": "data", "target": "/var/lib/postgresql/data"}],
            "cap_add": ["CHOWN", "CAP_SETUID"],
            "ipc": "private",
            "post_start": [{"command": ["chown", "postgres", "/x"], "user": "root"}],
            "security_opt": ["no-new-privileges:true"],
            "secrets": [{"source": "key"}],
            "configs": [{"source": "text"}],
            "user": "0",
        },
    }
    assert found({}, **others) == []
    whole = project({"api-prod": SERVICE} | others)
    assert compose.unjudged(whole) == {"db": "postgres:16", "proxy": "haproxy:3.2"}


def test_a_finding_names_the_file_that_it_comes_from() -> None:
    """The override file, unless the Compose file alone has it as well."""
    base = replace(project({"api-prod": SERVICE | {"privileged": True}}), file="compose.yaml")
    whole = replace(
        project({"api-prod": SERVICE | {"privileged": True, "pid": "host"}}),
        file="compose.override.yaml",
        without_override=base,
    )
    found = {one.what: one.path for one in compose.judge(whole, DECLARED, EXPECTED, ())}
    assert found == {"privileged": "compose.yaml", "pid": "compose.override.yaml"}
