"""`inv publish`: against Debian's registry on the loopback interface, and signed by Debian's cosign."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from prodlock.docker import registry as registries_of_docker
from prodlock.docker import signing, stages
from prodlock.docker.registry import Destination, Image
from prodlock.failure import CANNOT_CHECK, FAILED, Failure
from prodlock.origins import images as origins
from prodlock.project import Project
from prodlock.proof import check, publish
from prodlock.tests.engine import registries
from prodlock.tests.engine.conftest import (
    BASE,
    PROD,
    PROJECT,
    ROOT,
    docker,
    git,
    inspected,
    inv,
    planted,
    sentence,
)
from prodlock.tests.engine.registries import Proxy, cut_at, refusing, replaced

NAME = "team/quotes"
PASSWORD = "a password"  # noqa: S105 - of a key that the tests make
ABSENT = "sha256:" + "0" * 64


class Published(NamedTuple):
    """An image that was published: its registry, its reference by digest, what the task printed."""

    registry: str
    reference: str
    printed: str


@pytest.fixture(scope="module")
def registry() -> Iterator[str]:
    """A registry without a login."""
    with registries.image(), registries.running(registries.PLAIN) as address:
        yield address


@pytest.fixture(scope="module")
def proxy(registry: str) -> Iterator[Proxy]:
    """A proxy in front of the registry."""
    with Proxy(registry).serving() as proxy:
        yield proxy


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A private key of cosign; beside it is the public one."""
    folder = tmp_path_factory.mktemp("key: of, cosign")
    script = "cd /tmp && cosign generate-key-pair 2>/dev/null && cat cosign.key cosign.pub"
    image = stages.build(Project(ROOT), "sign")
    made = docker(
        "run",
        "--rm",
        "--env=COSIGN_PASSWORD",
        image,
        "sh",
        "-c",
        script,
        env=os.environ | {"COSIGN_PASSWORD": PASSWORD},
    )
    private, end, public = made.stdout.partition("-----END ENCRYPTED SIGSTORE PRIVATE KEY-----\n")
    (folder / "cosign.key").write_text(private + end, encoding="ascii")
    (folder / "cosign.pub").write_text(public, encoding="ascii")
    return folder / "cosign.key"


@pytest.fixture(scope="module")
def published(registry: str, key: Path) -> Iterator[Published]:
    """The image, published and signed."""
    done = inv("publish", f"--to={registry}/{NAME}:1.0", f"--sign={key}", COSIGN_PASSWORD=PASSWORD)
    assert done.returncode == 0, done.stderr
    reference = done.stdout.splitlines()[-1]
    yield Published(registry, reference, done.stdout + done.stderr)
    docker("image", "rm", reference, check=False)


@pytest.fixture(scope="module")
def image() -> Image:
    """The production image as a proof returns it."""
    facts = inspected(PROD)
    return Image(facts["Id"], facts["Id"], tuple(facts["RootFS"]["Layers"]))


def cosign(published: Published, key: Path, *command: str) -> str:
    """Run cosign as a user of the image does, who has the public key, and return what it prints."""
    public = (key.parent / "cosign.pub").read_text(encoding="ascii")
    options = ("--rm", "--network=host", "--env=PUBLIC", f"{PROJECT}:sign", "cosign")
    verifying = ("--key=env://PUBLIC", "--private-infrastructure", "--allow-http-registry", published.reference)
    return docker("run", *options, *command, *verifying, env=os.environ | {"PUBLIC": public}).stdout


def predicate(printed: str) -> dict[str, Any]:
    """Return what the one attestation that cosign printed states."""
    (line,) = printed.splitlines()
    stated: dict[str, Any] = json.loads(base64.b64decode(json.loads(line)["payload"]))
    return stated


def test_publish_prints_the_reference_by_digest(published: Published) -> None:
    """The registry has the proven configuration and layers under it, and under both tags."""
    name, _, digest = published.reference.partition("@")
    assert name == f"{published.registry}/{NAME}"
    read = docker("buildx", "imagetools", "inspect", "--raw", published.reference).stdout
    identifier = inspected(PROD)["Id"]
    assert json.loads(read)["config"]["digest"] == identifier
    candidate = f"candidate-{identifier.removeprefix('sha256:')[:16]}"
    signatures = {f"{digest.replace(':', '-')}.{kind}" for kind in ("sig", "att")}
    assert registries.tags(published.registry, NAME) == {"1.0", candidate} | signatures


def test_publish_leaves_no_tag_on_the_engine(published: Published) -> None:
    """Neither the tag that was asked for nor the one before it."""
    assert not registries.names(f"{published.registry}/{NAME}")


def test_publish_writes_the_bill_of_materials(published: Published) -> None:
    """Of the image that was published; git ignores its folder."""
    document = json.loads((ROOT / "reports" / "sbom.json").read_text(encoding="utf-8"))
    hashes = document["metadata"]["component"]["hashes"]
    assert hashes[0]["content"] == inspected(PROD)["Id"].removeprefix("sha256:")
    assert "reports" in published.printed
    assert git(ROOT, "status", "--porcelain") == ""


def test_signature_and_attestations_verify_with_the_public_key(published: Published, key: Path) -> None:
    """The verdict names image, commit and lock; the bill of materials is the file's."""
    assert published.reference.rpartition("@")[2] in cosign(published, key, "verify")
    verdict = predicate(cosign(published, key, "verify-attestation", f"--type={signing.VERDICT}"))
    stated = verdict["predicate"]
    assert verdict["predicateType"] == signing.VERDICT
    assert stated["image"] == published.reference
    assert stated["configuration"] == inspected(PROD)["Id"]
    assert stated["commit"] == git(ROOT, "rev-parse", "HEAD")
    assert (stated["exitCode"], stated["rebuilt"]) == (0, True)
    assert len(stated["lock"]["sha256"]) == 64
    bill = predicate(cosign(published, key, "verify-attestation", "--type=cyclonedx"))
    assert bill["predicate"] == json.loads((ROOT / "reports" / "sbom.json").read_text(encoding="utf-8"))


def test_no_password_and_no_key_is_in_a_command(published: Published, key: Path) -> None:
    """They are passed by the names of variables."""
    assert "--env=COSIGN_PASSWORD" in published.printed
    assert PASSWORD not in published.printed
    assert key.read_text(encoding="ascii").splitlines()[1] not in published.printed


def test_a_published_image_is_proven_again(published: Published) -> None:
    """It is pulled by its digest where the Engine does not have it."""
    docker("image", "rm", published.reference, check=False)
    done = inv("check-prod", f"--image={published.reference}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"$ docker pull {published.reference}" in done.stderr
    # The positive control of test_publish_leaves_no_tag_on_the_engine.
    assert registries.names(f"{published.registry}/{NAME}") == {published.reference}
    docker("image", "rm", published.reference)
    with origins.open_image(Project(ROOT), published.reference, "scratch") as subject:
        assert subject.image.identifier == inspected(PROD)["Id"]


def prove_by_check(reference: str) -> None:
    """Prove an image as `inv check-prod --image` does."""
    check.prove(Project(ROOT), reference)


def prove_by_verify(reference: str) -> None:
    """Open an image as `prodlock verify` does."""
    with origins.open_image(Project(ROOT), reference, "scratch"):
        pass


@pytest.mark.parametrize("prove", [prove_by_check, prove_by_verify])
def test_an_image_that_the_registry_does_not_have_is_reported(
    published: Published, prove: Callable[[str], None]
) -> None:
    """In one message, with code 2."""
    missing = f"{published.registry}/{NAME}@{ABSENT}"
    with pytest.raises(Failure, match=rf"{published.registry} must have {missing} \(got: ") as raised:
        prove(missing)
    assert raised.value.code == CANNOT_CHECK


def test_a_tag_is_not_pulled(published: Published) -> None:
    """It may name another image by now."""
    with pytest.raises(Failure, match="The Engine must have the image") as raised:
        check.prove(Project(ROOT), f"{published.registry}/{NAME}:1.0")
    assert raised.value.code == CANNOT_CHECK


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--to=127.0.0.1:1/a", "127.0.0.1:1 must be a registry that answers (got: "),
        ("--to=registry.invalid/a", "registry.invalid must be the name of a host (got: "),
        ("--to=a", "--to must be REGISTRY/NAME or REGISTRY/NAME:TAG (got 'a': it has no registry)"),
        ("--sign={key}", "COSIGN_PASSWORD must be the password of "),
        ("--sign=none://x", "--sign must be a key that cosign can use (got none://x: "),
    ],
)
def test_invalid_options_are_refused_before_the_proof(registry: str, key: Path, option: str, message: str) -> None:
    """In one message; nothing is published."""
    to = [] if option.startswith("--to") else [f"--to={registry}/refused/quotes"]
    done = inv("publish", *to, option.format(key=key), COSIGN_PASSWORD="wrong")  # noqa: S106 - of no key
    assert sentence(done).startswith(message)
    assert done.stdout == ""
    assert "docker save" not in done.stderr
    assert registries.tags(registry, "refused/quotes") == set()


def test_a_registry_without_tls_is_refused(registry: str) -> None:
    """Only `localhost` and addresses of the loopback interface need none."""
    name, address = socket.gethostname(), ""
    with contextlib.suppress(OSError):
        address = socket.gethostbyname(name)
    if not address.startswith("127."):
        pytest.skip("the name of this machine has no address of the loopback interface")
    done = inv("publish", f"--to={name}:{registry.rpartition(':')[2]}/{NAME}")
    assert sentence(done).startswith(f"{name}:{registry.rpartition(':')[2]} must answer over TLS")


def test_a_leak_is_not_published(registry: str) -> None:
    """The report is printed, with code 1."""
    identifier = inspected(PROD)["Id"]
    with planted("RUN echo leak > /srv/leak.txt", "-") as leaking:
        docker("tag", leaking, PROD)
        try:
            done = inv("publish", f"--to={registry}/leak/quotes:1.0")
        finally:
            docker("tag", identifier, PROD)
    assert done.returncode == FAILED
    assert "LEAK" in done.stderr
    assert "/srv/leak.txt" in done.stderr
    assert done.stdout == ""
    assert registries.tags(registry, "leak/quotes") == set()


def test_a_stale_image_and_one_of_uncommitted_sources_are_not_published(registry: str) -> None:
    """The first can't be judged; the second has what no commit has."""
    file = ROOT / "app" / "main.py"
    file.write_text(f"{file.read_text(encoding='utf-8')}\n# A change.\n", encoding="utf-8")
    try:
        done = inv("publish", f"--to={registry}/stale/quotes:1.0")
        assert "must not be stale" in sentence(done)
        assert done.returncode == CANNOT_CHECK
        assert inv("build").returncode == 0
        done = inv("publish", f"--to={registry}/stale/quotes:1.0")
        assert "LEAK" in done.stderr
        assert done.returncode == FAILED
    finally:
        git(ROOT, "checkout", "--quiet", ".")
        assert inv("build").returncode == 0
    assert registries.tags(registry, "stale/quotes") == set()


def test_the_image_that_was_proven_is_published_where_its_tag_moves(
    registry: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Also a platform is refused that it does not have; without a tag, the commit is the tag."""
    identifier, prove = inspected(PROD)["Id"], check.prove
    proof = prove(Project(ROOT))

    def moved(_: Project) -> check.Proof:
        docker("tag", BASE, PROD)
        return proof

    monkeypatch.setattr(check, "prove", moved)
    arguments = (Project(ROOT), f"{registry}/moved/quotes", None)
    try:
        with pytest.raises(Failure, match=r"Each platform must be proven \(got linux/riscv64; "):
            publish.publish(*arguments, ["linux/riscv64"], str(tmp_path / "sbom.json"))
        assert publish.publish(*arguments, [], str(tmp_path / "sbom.json")) == 0
    finally:
        # The same id: without a tag, the Engine has removed the image.
        assert inv("build").returncode == 0
        assert inspected(PROD)["Id"] == identifier
    reference = capfd.readouterr().out.splitlines()[-1]
    manifest = json.loads(docker("buildx", "imagetools", "inspect", "--raw", reference).stdout)
    assert manifest["config"]["digest"] == identifier
    assert git(ROOT, "rev-parse", "HEAD") in registries.tags(registry, "moved/quotes")


def other_configuration(manifest: bytes) -> bytes:
    """Return a manifest with another configuration."""
    document = json.loads(manifest)
    document["config"]["digest"] = ABSENT
    return json.dumps(document).encode()


def without_a_layer(document: bytes) -> bytes:
    """Return a manifest or a configuration without its last layer."""
    parsed = json.loads(document)
    (parsed.get("layers") or parsed["rootfs"]["diff_ids"]).pop()
    return json.dumps(parsed).encode()


@pytest.mark.parametrize(
    ("pattern", "new"),
    [
        ("/manifests/", other_configuration),
        ("/manifests/", without_a_layer),
        ("/manifests/", lambda _: b"{}"),
        ("/manifests/", lambda _: b"no JSON"),
        ("/blobs/", without_a_layer),
    ],
    ids=["configuration", "layers", "nothing", "no JSON", "another configuration's content"],
)
def test_a_registry_that_returns_another_image_is_refused(
    proxy: Proxy, image: Image, pattern: str, new: Callable[[bytes], bytes]
) -> None:
    """Whatever digest it states for it; no tag stays on the Engine."""
    to = Destination(proxy.address, NAME, "")
    # The positive control.
    digest = registries_of_docker.push(Project(ROOT), image, to, "control")
    assert digest.startswith("sha256:")
    with proxy.changing(response=replaced(pattern, new)), pytest.raises(Failure, match="must"):
        registries_of_docker.push(Project(ROOT), image, to, "control")
    assert not registries.names(f"{proxy.address}/{NAME}")


def test_a_manifest_that_is_changed_on_its_way_is_refused(proxy: Proxy, image: Image) -> None:
    """Although the registry returns what it has received."""
    to = Destination(proxy.address, NAME, "")
    shorter = replaced("/manifests/changed", without_a_layer)
    with proxy.changing(request=shorter), pytest.raises(Failure, match="must"):
        registries_of_docker.push(Project(ROOT), image, to, "changed")


def test_a_push_that_is_cut_off_is_reported_and_leaves_no_tag(proxy: Proxy, image: Image) -> None:
    """Neither in the registry nor on the Engine."""
    to = Destination(proxy.address, NAME, "")
    with proxy.changing(request=cut_at("PUT", "/manifests/")), pytest.raises(Failure, match="must stay open") as raised:
        registries_of_docker.push(Project(ROOT), image, to, "cut")
    assert raised.value.code == FAILED
    assert "cut" not in registries.tags(proxy.registry, NAME)
    assert not registries.names(f"{proxy.address}/{NAME}")


@pytest.mark.full_length
def test_a_registry_that_ends_during_a_push_is_reported(proxy: Proxy, image: Image) -> None:
    """Docker tries each layer again for more than a minute."""
    to = Destination(proxy.address, "never/pushed", "")
    uploads = cut_at("PATCH", "/uploads/")
    with proxy.changing(request=uploads), pytest.raises(Failure, match="must stay open"):
        registries_of_docker.push(Project(ROOT), image, to, "1")
    assert registries.tags(proxy.registry, "never/pushed") == set()


def test_a_tag_of_the_user_is_restored(proxy: Proxy, image: Image) -> None:
    """It names the image that it named before."""
    reference = f"{proxy.address}/{NAME}:mine"
    docker("tag", BASE, reference)
    try:
        registries_of_docker.push(Project(ROOT), image, Destination(proxy.address, NAME, ""), "mine")
        assert inspected(reference)["Id"] == inspected(BASE)["Id"]
        assert not [one for one in inspected(image.identifier)["RepoDigests"] if one.startswith(proxy.address)]
    finally:
        docker("image", "rm", reference)


@pytest.mark.full_length
def test_a_read_only_registry_is_reported(registry: str, image: Image) -> None:
    """In one message. Docker tries each layer again for most of a minute."""
    assert registry
    with registries.running(registries.READ_ONLY) as address, pytest.raises(Failure, match="must accept images"):
        registries_of_docker.push(Project(ROOT), image, Destination(address, NAME, ""), "1")


@pytest.mark.parametrize(
    ("status", "code", "text", "message"),
    [
        (405, "UNSUPPORTED", "The operation is unsupported.", "must accept images"),
        (403, "DENIED", "requested access to the resource is denied", "must have the right to write to"),
        (400, "TAG_INVALID", "The image tag is immutable", "must not exist yet"),
        (429, "TOOMANYREQUESTS", "too many requests", "must accept the request"),
        (503, "UNAVAILABLE", "service unavailable", "must accept the request"),
    ],
)
def test_a_registry_that_refuses_a_manifest_is_reported(  # noqa: PLR0913, PLR0917 - parameters
    proxy: Proxy, image: Image, status: int, code: str, text: str, message: str
) -> None:
    """In one message; no tag stays on the Engine."""
    to, refusal = Destination(proxy.address, NAME, ""), refusing("/manifests/", status, code, text)
    with proxy.changing(response=refusal), pytest.raises(Failure, match=message):
        registries_of_docker.push(Project(ROOT), image, to, "refused")
    assert not registries.names(f"{proxy.address}/{NAME}")


def test_a_login_is_required_and_handed_to_cosign(registry: str, key: Path, image: Image, tmp_path: Path) -> None:
    """Without one, or with a wrong one, `publish` is refused; with one, image and signature are there."""
    assert registry
    project = Project(ROOT, os.environ | {"COSIGN_PASSWORD": PASSWORD} | {"DOCKER_CONFIG": str(tmp_path)})
    file = tmp_path / "config.json"
    with registries.running(registries.WITH_LOGIN) as address:
        for entry in ({}, {address: {"auth": base64.b64encode(b"user:wrong").decode()}}):
            file.write_text(json.dumps({"auths": entry}), encoding="utf-8")
            done = inv("publish", f"--to={address}/{NAME}", DOCKER_CONFIG=str(tmp_path))
            assert sentence(done).startswith(f"A login at {address} must be valid (got: ")
        entry = {address: {"auth": base64.b64encode(registries.USER.encode()).decode()}}
        file.write_text(json.dumps({"auths": entry}), encoding="utf-8")
        to = Destination(address, NAME, "")
        digest = registries_of_docker.push(project, image, to, "1")
        documents = {"sbom.json": b"{}", "verdict.json": b"{}"}
        signing.sign(project, signing.prepare(project, str(key), address), to, digest, documents)
        file.write_text("{}", encoding="utf-8")
        with pytest.raises(Failure, match=f"A login at {address} must be valid"):
            signing.sign(project, signing.prepare(project, str(key), address), to, digest, documents)
