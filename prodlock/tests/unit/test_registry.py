"""References to registries, and the messages for what these and the programs that talk to them print."""

from __future__ import annotations

import signal

import pytest

from prodlock.docker import engine, registry
from prodlock.docker.registry import Destination
from prodlock.failure import Failure
from prodlock.project import Project

TO = Destination("registry.example", "team/quotes", "1")
NAMED = f"team/quotes@sha256:{'0' * 64}"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("registry.example/quotes", ("registry.example", "quotes", "")),
        ("registry.example:5000/team/a.b__c-d--e:v1.0_X-y", ("registry.example:5000", "team/a.b__c-d--e", "v1.0_X-y")),
        ("localhost/quotes:1", ("localhost", "quotes", "1")),
        ("localhost:5000/quotes", ("localhost:5000", "quotes", "")),
        ("docker.io/team/quotes:latest", ("docker.io", "team/quotes", "latest")),
        ("Registry.Example/quotes", ("Registry.Example", "quotes", "")),
    ],
)
def test_a_reference_has_a_registry_a_name_and_maybe_a_tag(text: str, parts: tuple[str, str, str]) -> None:
    """A colon before the first slash belongs to a port."""
    assert registry.parse(text) == parts


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "it is empty"),
        ("quotes", "it has no registry"),
        ("quotes:1.0", "it has no registry"),
        ("team/quotes", "it has no registry"),
        ("/quotes", "it has no registry"),
        ("localhost:5000", "it has no registry"),
        ("registry.example/", "it has no registry"),
        ("https://registry.example/quotes", "it is an address"),
        ("registry.example/quotes 1", "it has a space"),
        ("registry.example/quotes\n", "it has a space"),
        (f"registry.example/quotes@sha256:{'0' * 64}", "it has a digest"),
        ("registry.example/quotes:sha256:0", "the tag has other characters"),
        ("docker.io/quotes:1.0", "must begin with a user or team"),
        ("index.docker.io/quotes", "must begin with a user or team"),
        ("registry.example/Quotes", "upper-case letters"),
        ("registry.example/quotes:", "the tag is missing"),
        ("registry.example/quotes:-x", "the tag has other characters"),
        (f"registry.example/quotes:{'x' * 129}", "the tag has more than 128 characters"),
        ("registry.example/quotes:ä", "the tag has other characters"),
        ("registry.example/a//b", "the name has other characters"),
        ("registry.example/a/", "the name has other characters"),
        ("registry.example/a..b", "the name has other characters"),
        ("registry.example/--file=x", "the name has other characters"),
        ("-registry.example/a", "the registry is not a host"),
        ("registry.example:port/a", "the registry is not a host"),
        ("registry.example:0/a", "the port is not between"),
        ("registry.example:65536/a", "the port is not between"),
        (f"registry.example/{'a' * 250}", "more than 255 characters"),
    ],
)
def test_another_reference_is_refused_with_its_reason(text: str, reason: str) -> None:
    """Docker would take some of them for other images."""
    with pytest.raises(Failure, match=r"--to must be REGISTRY/NAME or REGISTRY/NAME:TAG \(got ") as raised:
        registry.parse(text)
    assert reason in str(raised.value)


@pytest.mark.parametrize(
    ("name", "is_loopback"),
    [
        ("localhost", True),
        ("localhost:5000", True),
        ("127.0.0.1:5000", True),
        ("127.1.2.3", True),
        ("127.0.0.1.example", False),
        ("localhost.example:5000", False),
        ("10.0.0.1:5000", False),
    ],
)
def test_only_a_registry_on_this_machine_needs_no_tls(name: str, *, is_loopback: bool) -> None:
    """A name that begins like a loopback address is another host."""
    assert Destination(name, "a", "").is_loopback == is_loopback


# As Docker 26.1 and 28.2, Buildx 0.13 and cosign 2.5 print them.
PRINTED = {
    'Get "https://x.invalid/v2/": dial tcp: lookup x.invalid on 10.0.0.1:53: no such host': "the name of a host",
    'Get "https://x/v2/": tls: failed to verify certificate: x509: certificate signed by unknown authority': "over TLS",
    'Get "https://x/v2/": http: server gave HTTP response to HTTPS client': "over TLS",
    'Get "http://127.0.0.1:1/v2/": dial tcp 127.0.0.1:1: connect: connection refused': "a registry that answers",
    'Get "https://x/v2/": net/http: request canceled while waiting for connection (Client.Timeout exceeded)': "answers",
    "no basic auth credentials": "docker login registry.example",
    "unauthorized: authentication required": "A login at registry.example must be valid",
    "ERROR: unexpected status from HEAD request to http://x/v2/a/manifests/1: 401 Unauthorized": "must be valid",
    "denied: requested access to the resource is denied": "must have the right to write to",
    "ERROR: pull access denied, repository does not exist or may require authorization: server message: "
    "insufficient_scope: authorization failed": "must have the right",
    "unknown: Method not allowed": "must accept images",
    "tag invalid: The image tag '1' already exists and cannot be overwritten because it is immutable.": "another tag",
    'Put "http://x/v2/a/manifests/1": EOF': "must stay open",
    "write tcp 127.0.0.1:1->127.0.0.1:2: write: connection reset by peer": "must stay open",
    "Error response from daemon: manifest for x/a@sha256:0 not found: manifest unknown": "check the name and",
    "name unknown: The repository with name 'team/quotes' does not exist in the registry with id '1'": "create the",
    "NAME_UNKNOWN: repository name not known to registry": "must have the repository registry.example/team/quotes (got",
    "received unexpected HTTP status: 503 Service Unavailable": "try again later",
}


@pytest.mark.parametrize(("printed", "message"), PRINTED.items(), ids=range(len(PRINTED)))
def test_a_refusal_gets_one_message_with_its_remedy(printed: str, message: str) -> None:
    """The registry and what was printed are in it, without a prefix of the program."""
    found = str(registry.failure(TO, "registry.example/team/quotes:1", f"progress\n{printed}\n"))
    assert message in found
    assert "registry.example" in found
    assert printed.removeprefix("ERROR: ").removeprefix("Error response from daemon: ").rstrip(".") in found
    assert "(got: E" not in found or "EOF" in found


@pytest.mark.parametrize(
    ("printed", "got"), [("", "nothing"), ("progress\n\x1b[31mERROR: something else\x1b[0m\n", "something else")]
)
def test_a_manifest_that_is_not_returned_is_reported(monkeypatch: pytest.MonkeyPatch, printed: str, got: str) -> None:
    """With the last line that docker printed."""
    monkeypatch.setattr(engine, "result", lambda *_, **__: (1, "", printed))
    with pytest.raises(
        Failure, match=rf"must return what was pushed to x, with its digest \(got {got}\)\. To fix it: "
    ):
        registry._read(Project(), TO, "x", "--raw")


def test_an_unknown_line_has_no_message_of_its_own() -> None:
    """It is repeated as the program printed it."""
    assert registry.failure(TO, "x", "something else") is None


def test_a_missing_plugin_is_reported_before_the_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    """Buildx reads from registries."""
    printed = "docker: unknown command: docker buildx\n"
    monkeypatch.setattr(engine, "result", lambda *_, **__: (1, "", printed))
    with pytest.raises(Failure, match="Buildx must be installed"):
        registry.digest_of(Project(), TO, "1")


@pytest.mark.parametrize("printed", ["insufficient_scope: authorization failed", "not found", "denied"])
def test_a_registry_that_hides_a_missing_repository_is_accepted(monkeypatch: pytest.MonkeyPatch, printed: str) -> None:
    """Before the first push, there is no repository."""
    monkeypatch.setattr(engine, "result", lambda *_, **__: (1, "", printed))
    assert not registry.digest_of(Project(), TO, "1")


@pytest.mark.parametrize(
    ("reference", "err", "pulled"),
    [
        (NAMED, "Error: No such image: x", True),
        (NAMED, "Error: image not known", True),
        (NAMED, "", False),
        (NAMED, "permission denied", False),
        ("team/quotes:1", "Error: No such image: x", False),
        (f"team/quotes@sha256:{'0' * 63}", "Error: No such image: x", False),
    ],
)
def test_only_a_missing_image_is_pulled_by_its_digest(
    monkeypatch: pytest.MonkeyPatch, reference: str, err: str, *, pulled: bool
) -> None:
    """One that the Engine has is not asked for again, and a tag may name another image."""
    commands = []

    def result(_: Project, *args: str, **__: object) -> tuple[int, str, str]:
        commands.append(args)
        return (1 if err and args[0] == "image" else 0), "", err

    monkeypatch.setattr(engine, "result", result)
    registry.pull_missing(Project(), reference, platform="linux/arm64")
    assert (("pull", "--platform=linux/arm64", reference) in commands) is pulled


def test_a_pull_from_docker_hub_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reference without a registry."""

    def result(_: Project, *args: str, **__: object) -> tuple[int, str, str]:
        return 1, "", "No such image" if args[0] == "image" else "no basic auth credentials"

    monkeypatch.setattr(engine, "result", result)
    with pytest.raises(Failure, match=r"A login at docker\.io must be valid"):
        registry.pull_missing(Project(), NAMED)


def test_an_engine_that_is_not_running_is_not_a_registry_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both refuse connections."""

    def result(_: Project, *args: str, **__: object) -> tuple[int, str, str]:
        stopped = "Cannot connect to the Docker daemon at tcp://x. Is it running? connection refused"
        return 1, "", "No such image" if args[0] == "image" else stopped

    monkeypatch.setattr(engine, "result", result)
    with pytest.raises(Failure, match="The Docker Engine must be running"):
        registry.pull_missing(Project(), NAMED)


def test_a_password_in_a_reference_is_not_repeated() -> None:
    """A login belongs to `docker login`."""
    with pytest.raises(Failure, match=r"got '\*\*\*@registry\.example/a': it has a digest or a login") as raised:
        registry.parse("user:s3cret@registry.example/a")
    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize(("before", "undo"), [("", ["image rm"]), ("sha256:0", ["image rm", "tag sha256:0"])])
def test_an_interrupted_push_leaves_no_tag_of_its_own(monkeypatch: pytest.MonkeyPatch, before: str, undo: str) -> None:
    """A tag of the user is restored. A further Ctrl-C interrupts neither the tag nor its removal."""
    commands: list[str] = []

    def output(_: Project, *args: str, shielded: bool = False, **__: object) -> str:
        assert shielded
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        commands.append(" ".join(args))
        return ""

    def interrupted(*_: object, **__: object) -> tuple[int, str]:
        raise KeyboardInterrupt

    monkeypatch.setattr(engine, "result", lambda *_, **__: ((0 if before else 1), before, ""))
    monkeypatch.setattr(engine, "output", output)
    monkeypatch.setattr(engine, "shown", interrupted)
    with pytest.raises(KeyboardInterrupt):
        registry.push(Project(), registry.Image("sha256:1", "sha256:1", ()), TO, "1")
    assert commands == [f"{command} registry.example/team/quotes:1" for command in ("tag sha256:1", *undo)]


def test_a_tag_that_can_not_be_restored_is_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The push has its own result, and the rest is restored nevertheless."""
    commands: list[str] = []

    def output(_: Project, *args: str, **__: object) -> str:
        commands.append(args[0])
        if args[:2] == ("image", "rm"):
            raise Failure("It is in use.")
        return ""

    monkeypatch.setattr(engine, "result", lambda *_, **__: (0, "sha256:0", ""))
    monkeypatch.setattr(engine, "output", output)
    with registry.tagged(Project(), "sha256:1", "registry.example/quotes:1"):
        pass
    assert capsys.readouterr().err == "Not restored: the tag registry.example/quotes:1 (It is in use.)\n"
    assert commands == ["tag", "image", "tag"]
