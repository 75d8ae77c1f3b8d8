"""deploy/k8s without a cluster: a scanner reads the manifests, and Podman runs the Deployment."""

from __future__ import annotations

import copy
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from prodlock.docker import stages
from prodlock.project import Project
from prodlock.tests.engine.conftest import PROD, PROJECT, ROOT, docker, edit, inspected, secrets
from prodlock.tests.engine.test_deploy import copied_with_commands

KUSTOMIZATION = "deploy/k8s/kustomization.yaml"
Object = dict[str, Any]


def resolved(project: Path) -> list[Object]:
    """Return the objects that kustomize makes of a project's files."""
    image = stages.build(Project(project), "deploy")
    script = (
        "import json, subprocess, sys, yaml; "
        "made = subprocess.run(['kubectl', 'kustomize', '/k8s'], stdout=-1, check=True); "
        "json.dump(list(yaml.safe_load_all(made.stdout)), sys.stdout)"
    )
    mount = f"--volume={project / 'deploy' / 'k8s'}:/k8s:ro"
    found: list[Object] = json.loads(
        docker("run", "--rm", "--network=none", mount, image, "python", "-c", script).stdout
    )
    return found


@pytest.fixture(scope="module")
def objects() -> list[Object]:
    """What a user applies who has commands and an Ingress."""
    with copied_with_commands() as project:
        edit(project / KUSTOMIZATION, "resources: [", "resources: [ingress.yaml, ")
        return resolved(project)


def deployment(objects: list[Object]) -> Object:
    """Return the Deployment of the service."""
    return next(one for one in objects if (one["kind"], one["metadata"]["name"]) == ("Deployment", "api"))


def checks(objects: list[Object]) -> tuple[int, set[str], set[str]]:
    """Return the number of Checkov's checks that pass, those that fail, and those that an annotation skips."""
    image = stages.build(Project(ROOT), "checkov")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        Path(folder, "objects.yaml").write_text("\n---\n".join(map(json.dumps, objects)), encoding="utf-8")
        command = ("checkov", "--framework=kubernetes", "--file=/k8s/objects.yaml", "--output=json", "--skip-download")
        done = docker("run", "--rm", "--network=none", f"--volume={folder}:/k8s:ro", image, *command, check=False)
    report = json.loads(done.stdout)
    assert not report["results"]["parsing_errors"]
    failed, skipped = (
        {f"{one['check_id']} {one['resource'].rpartition('.')[2]}" for one in report["results"][f"{kind}_checks"]}
        for kind in ("failed", "skipped")
    )
    return report["summary"]["passed"], failed, skipped


def test_a_scanner_finds_nothing_wrong(objects: list[Object]) -> None:
    """No check of Checkov fails, and only a command has no probes. A Deployment without limits, the control, fails."""
    assert {one["kind"] for one in objects} >= {"Deployment", "Ingress", "Job", "NetworkPolicy", "ServiceAccount"}
    weak = copy.deepcopy(deployment(objects))
    weak["metadata"]["name"] = "weak"
    del weak["spec"]["template"]["spec"]["containers"][0]["resources"]
    passed, failed, skipped = checks([*objects, weak])
    assert passed > 200
    assert failed == {f"CKV_K8S_{number} weak" for number in (10, 11, 12, 13)}
    assert skipped == {"CKV_K8S_8 worker", "CKV_K8S_9 worker"}


@pytest.fixture(scope="module")
def podman_image() -> Iterator[str]:
    """Podman from Debian's packages, beside Python."""
    if sys.platform != "linux":
        pytest.skip("Podman in a container needs Linux")
    tag = f"{PROJECT}:podman"
    package = "--build-arg=PACKAGES=podman crun catatonit"
    docker("build", "--quiet", f"--tag={tag}", "--target=base", package, *secrets(), ".")
    yield tag
    docker("rmi", "--force", tag)


def played(image: str, archive: Path, lists: list[list[Object]], port: int, paths: list[str]) -> list[Object]:
    """Return what Podman's container of each Deployment is allowed, and what it answers."""
    mounts = (f"--volume={Path(__file__).with_name('kube.py')}:/kube.py:ro", f"--volume={archive}:/image.tar:ro")
    given = json.dumps({"lists": lists, "port": port, "paths": paths})
    variable = "--env=PODMAN_IGNORE_CGROUPSV1_WARNING=1"
    options = ("--rm", "--interactive", "--privileged", "--network=none", variable, *mounts)
    done = docker("run", *options, image, "python", "/kube.py", input=given, check=False)
    assert done.returncode == 0, done.stderr
    found: list[Object] = json.loads(done.stdout)
    return found


def test_the_deployment_runs_as_declared(podman_image: str, objects: list[Object], tmp_path: Path) -> None:
    """With the user, rights, limits and settings of the manifests, and the probes' paths answer.

    Without its security contexts, the control, it has capabilities, may gain others, and writes.
    """
    docker("save", f"--output={tmp_path / 'image.tar'}", PROD)
    ours = copy.deepcopy(deployment(objects))
    settings = next(one for one in objects if one["kind"] == "ConfigMap")
    pod = ours["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    # A digest is the registry's, and Podman has none here.
    container |= {"image": f"docker.io/library/{PROD}", "imagePullPolicy": "Never"}
    port = container["ports"][0]["containerPort"]
    paths = [container[probe]["httpGet"]["path"] for probe in ("readinessProbe", "livenessProbe", "startupProbe")]
    weak = copy.deepcopy(ours)
    for one in (weak["spec"]["template"]["spec"], *weak["spec"]["template"]["spec"]["containers"]):
        del one["securityContext"]
    lists = [[settings, ours], [settings, weak]]
    found, control = played(podman_image, tmp_path / "image.tar", lists, port, [*paths, "/none"])
    assert found == {
        "CapBnd": "0000000000000000", "CapEff": "0000000000000000", "NoNewPrivs": "1", "Seccomp": "2",
        "Uid": "\t".join(["10001"] * 4), "Gid": "\t".join(["10001"] * 4),
        "/srv": "Read-only file system", "/tmp": "written",
        "APP_LOG_FORMAT": "json", "FORWARDED_ALLOW_IPS": "10.0.0.0/8", "UVICORN_ROOT_PATH": "",
        "memory": 256 << 20, "cpus": 1, "image": inspected(PROD)["Id"].removeprefix("sha256:"),
        "statuses": {"/ready": 200, "/health": 200, "/none": 404}, "left": [],
    }  # fmt: skip
    assert int(control["CapBnd"], 16) > 0
    assert control["NoNewPrivs"] == "0"
    assert control["/srv"] != "Read-only file system"
