"""Releases by digest, from a registry: the commands of the guide to deployment."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator

import pytest

from prodlock.tests.engine import registries
from prodlock.tests.engine.conftest import (
    PORT,
    PROD,
    PROJECT,
    REPOSITORY,
    ROOT,
    Clients,
    answers,
    docker,
    inspected,
    left_behind,
    planted,
    until,
)
from prodlock.tests.engine.test_deploy import swarm_of_one

PAGE = (REPOSITORY / "docs" / "how-to" / "deploy.md").read_text(encoding="utf-8")
REFERENCE = "registry.example/quotes@sha256:..."


def commands(section: str) -> list[str]:
    """Return the commands in each console block of a section of the guide."""
    found = re.search(rf"^### {section}\n(.*?)^##", PAGE, re.DOTALL | re.MULTILINE)
    assert found
    blocks = re.findall(r"```console\n(.*?)```", found[1], re.DOTALL)
    return ["\n".join(re.findall(r"^\$ (.*)", block, re.MULTILINE)) for block in blocks]


@pytest.fixture(scope="module")
def registry() -> Iterator[str]:
    """The address of a registry."""
    with registries.image(), registries.running(registries.PLAIN) as address:
        yield address


@pytest.fixture(scope="module")
def published(registry: str) -> Iterator[tuple[str, str]]:
    """Two versions of production in a registry, by their digests. The Engine has neither."""
    with planted("LABEL version=2\nUSER 10001:10001", "-") as second:
        yield push(PROD, registry), push(second, registry)


def push(image: str, registry: str) -> str:
    """Push an image to a registry, as `inv publish` does after its proof, and return its name with the digest."""
    name = f"{registry}/quotes:new"
    docker("tag", image, name)
    try:
        pushed = docker("push", name).stdout
    finally:
        docker("rmi", name)
    digest = re.search(r"digest: (sha256:[0-9a-f]{64})", pushed)
    assert digest, pushed
    return f"{registry}/quotes@{digest[1]}"


@pytest.fixture
def environment(proxy_image: str) -> dict[str, str]:
    """The environment of the commands on this machine. `former` is a file in the folder of the project."""
    return {"HAPROXY_IMAGE": proxy_image, "PORT": str(PORT)}


def run(script: str, environment: dict[str, str], reference: str = "") -> str:
    """Run commands of the guide with the digest of an image, and return what they print."""
    script = script.replace(REFERENCE, reference)
    command, given = ["sh", "-ec", script], os.environ | environment
    done = subprocess.run(command, cwd=ROOT, env=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{script}\n{done.stderr}"
    return done.stdout.strip()


def test_a_release_with_compose_loses_no_request(
    registry: str,
    published: tuple[str, str],
    environment: dict[str, str],
    full_length: bool,  # noqa: FBT001
) -> None:
    """Nor do a rollback and an image that does not start.

    What runs is what the registry has; nothing is built, and the former digest is listed.
    """
    first, second = published
    start, release, remove = commands("Compose")
    exported, up = start.split("\n", 1)
    environment |= dict(word.split("=", 1) for word in exported.split()[1:])
    try:
        run(up, environment, first)
        until(lambda: answers("/health"), 10)
        # Until the proxy's checks have found both ready.
        time.sleep(2)
        former = "docker image ls --digests registry.example/quotes"
        assert f"`{former}`" in PAGE
        clients = Clients(100)
        current = first
        with clients.asking():
            for reference in (second, first) if full_length else (second,):
                environment["IMAGE"] = current
                started = time.monotonic()
                run(release, environment, reference)
                print(f"released in {time.monotonic() - started:.0f} s")
                current = reference
                names = run("docker compose ps --quiet api-prod", environment | {"IMAGE": current}).split()
                assert [inspected(name)["Config"]["Image"] for name in names] == [current] * 2
            if full_length:
                with (
                    planted('CMD ["python", "-c", "1/0"]\nUSER 10001:10001', "-") as broken,
                    pytest.raises(AssertionError),
                ):
                    run(release, environment, push(broken, registry))
                run(remove, environment)
                assert run("docker compose ps --all --quiet api-prod", environment).split() == names
        print(f"{clients.answered} requests, {len(clients.lost)} lost")
        assert clients.lost == []
        assert clients.answered > 1_000
        listed = run(former.replace("registry.example/quotes", first.partition("@")[0]), environment)
        assert all(one.partition("@")[2] in listed for one in published)
    finally:
        run("docker compose down; rm -f former", environment | {"IMAGE": first})
    assert left_behind() == []


@pytest.mark.full_length
def test_a_rollback_of_a_stack_loses_no_request(published: tuple[str, str], environment: dict[str, str]) -> None:
    """After an update to another digest the guide's commands print the former one and return to it."""
    first, second = published
    deploy, rollback = (
        re.sub(r"\bquotes(?=_api-prod|$)", PROJECT, one, flags=re.MULTILINE) for one in commands("Swarm")
    )
    service = f"{PROJECT}_api-prod"

    def deployed() -> str:
        template = "--format={{.Spec.TaskTemplate.ContainerSpec.Image}}"
        return docker("service", "inspect", template, service).stdout.strip()

    def is_completed() -> bool:
        return str((inspected(service).get("UpdateStatus") or {}).get("State", "")) == "completed"

    # One after the other takes as long as the files' `delay` and `monitor`.
    with swarm_of_one():
        try:
            run(deploy, environment | {"REPLICAS": "1"}, first)
            until(lambda: answers("/health"), 60)
            time.sleep(3)
            clients = Clients(100)
            with clients.asking():
                run(deploy, environment | {"REPLICAS": "1"}, second)
                until(is_completed, 120)
                assert deployed() == second
                started = time.monotonic()
                printed = run(rollback, environment)
                print(f"rolled back in {time.monotonic() - started:.0f} s")
            assert printed.splitlines()[0] == first
            assert deployed() == first
            print(f"{clients.answered} requests, {len(clients.lost)} lost")
            assert clients.lost == []
            assert clients.answered > 1_000
        finally:
            docker("stack", "rm", PROJECT)
            label = f"--filter=label=com.docker.stack.namespace={PROJECT}"
            until(lambda: not docker("ps", "--all", "--quiet", label).stdout, 30)


def test_the_digest_of_a_release_is_a_line_of_the_kustomization(published: tuple[str, str]) -> None:
    """The guide's command changes it; the image's name is that of the registry."""
    first, _ = published
    (command, *_), *_ = (block.splitlines() for block in commands("Kubernetes"))
    file = ROOT / "deploy" / "k8s" / "kustomization.yaml"
    before = file.read_text(encoding="utf-8")
    try:
        run(command.replace("sha256:.../", f"{first.partition('@')[2]}/"), {})
        after = file.read_text(encoding="utf-8")
    finally:
        file.write_text(before, encoding="utf-8")
    assert after == before.replace("sha256:" + "0" * 64, first.partition("@")[2])
    assert after != before
