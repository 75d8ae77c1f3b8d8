"""What cosign is given: the login for one registry, the key and its password, none of them in a command line."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

from prodlock.docker import engine, signing, stages
from prodlock.failure import Failure
from prodlock.project import Project

KEY = "-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\nx\n-----END ENCRYPTED SIGSTORE PRIVATE KEY-----\n"
HELPER = """\
#!/bin/sh
read -r registry
case $registry in
    user.example) echo '{"ServerURL": "x", "Username": "me", "Secret": "s3cret"}' ;;
    token.example) echo '{"ServerURL": "x", "Username": "<token>", "Secret": "s3cret"}' ;;
    text.example) echo "s3cret" ;;
    list.example) echo '["s3cret"]' ;;
    none.example) echo "credentials not found in native keychain"; exit 1 ;;
    *) echo "s3cret"; exit 1 ;;
esac
"""


def project(folder: Path, document: object, **environment: str) -> Project:
    """Return a project whose user has a configuration of Docker, and a credential helper `x`."""
    helper = folder / "docker-credential-x"
    helper.write_text(HELPER, encoding="ascii")
    helper.chmod(0o755)
    text = document if isinstance(document, str) else json.dumps(document)
    (folder / "config.json").write_text(text, encoding="utf-8")
    return Project(folder, {"PATH": f"{folder}:/usr/bin:/bin", "DOCKER_CONFIG": str(folder)} | environment)


LOGIN = {"auth": "dTpw"}
IN_BASIC = {"auth": "bWU6czNjcmV0"}


@pytest.mark.parametrize(
    ("document", "registry", "found"),
    [
        ({}, "a.example", {}),
        ({"auths": {"a.example": LOGIN, "b.example": {"auth": "x"}}}, "a.example", {"a.example": LOGIN}),
        ({"auths": {"https://a.example/v2/": LOGIN}}, "a.example", {"https://a.example/v2/": LOGIN}),
        ({"auths": {"a.example:5000": LOGIN}}, "a.example", {}),
        (
            {"auths": {"https://index.docker.io/v1/": LOGIN}},
            "docker.io",
            {"https://index.docker.io/v1/": LOGIN},
        ),
        ({"auths": {"user.example": {}}, "credsStore": "x"}, "user.example", {"user.example": IN_BASIC}),
        ({"credsStore": "x"}, "user.example", {"user.example": IN_BASIC}),
        ({"credHelpers": {"token.example": "x"}}, "token.example", {"token.example": {"identitytoken": "s3cret"}}),
        ({"auths": {"none.example": {}}, "credsStore": "x"}, "none.example", {}),
        ({"auths": {"a.example": LOGIN}, "credsStore": "absent"}, "a.example", {"a.example": LOGIN}),
    ],
)
def test_cosign_gets_the_login_of_one_registry(
    tmp_path: Path, document: object, registry: str, found: dict[str, dict[str, str]]
) -> None:
    """Of the configuration, or of the credential helper that it names; no other login."""
    assert signing.logins(project(tmp_path, document), registry) == found


@pytest.mark.parametrize("registry", ["other.example", "text.example", "list.example"])
def test_a_helper_that_returns_no_login_is_named(tmp_path: Path, registry: str) -> None:
    """Not the configuration, which is valid. What a helper prints may be a password."""
    with pytest.raises(Failure, match=f"`docker-credential-x` must return the login for {registry} ") as raised:
        signing.logins(project(tmp_path, {"credsStore": "x"}), registry)
    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("{", "config.json must be Docker's configuration"),
        ({"auths": 1}, "config.json must be Docker's configuration"),
        ({"credsStore": "absent"}, "`docker-credential-absent`, which Docker's configuration names, must be a program"),
    ],
)
def test_a_login_that_can_not_be_read_is_reported(tmp_path: Path, document: object, message: str) -> None:
    """The message names the file or the program."""
    with pytest.raises(Failure, match=message):
        signing.logins(project(tmp_path, document), "other.example")


def test_there_may_be_no_configuration_of_docker(tmp_path: Path) -> None:
    """Then there is no login."""
    assert signing.logins(Project(tmp_path, {"DOCKER_CONFIG": str(tmp_path / "none")}), "a.example") == {}


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("", "got '': nothing"),
        ("none", "No such file"),
        (".", "Is a directory"),
        ("binary", "it is not a text"),
        ("public", "which has none"),
        ("env://NONE", "must name a variable"),
        ("env://", "must name a variable"),
        ("env://MY-KEY", "must name a variable"),
        ("env://PUBLIC", "which has none"),
    ],
)
def test_a_key_that_is_not_a_private_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, reason: str
) -> None:
    """Before a stage is built."""
    monkeypatch.chdir(tmp_path)
    public = "-----BEGIN PUBLIC KEY-----\n"
    (tmp_path / "public").write_text(public, encoding="ascii")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(Failure, match="--sign must ") as raised:
        signing.prepare(project(tmp_path, {}, PUBLIC=public, COSIGN_PASSWORD="x"), key, "a.example")  # noqa: S106 - of no key
    assert reason in str(raised.value)


def test_a_key_and_its_password_are_passed_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As variables of the process, whatever the path of the key is."""
    commands: list[tuple[str, ...]] = []
    variables: list[dict[str, str]] = []

    def result(_: Project, *args: str, env: dict[str, str], **__: object) -> tuple[int, str, str]:
        commands.append(args)
        variables.append(env)
        return 0, "public", ""

    monkeypatch.setattr(engine, "result", result)
    monkeypatch.setattr(stages, "build", lambda *_: "image")
    file = tmp_path / "a key: of, mine"
    file.write_text(KEY, encoding="ascii")
    given = project(tmp_path, {}, COSIGN_PASSWORD="s3cret", MINE=KEY, AWS_REGION="r", AWS_CA_BUNDLE=str(file))  # noqa: S106
    for key in (str(file), "env://MINE"):
        assert signing.prepare(given, key, "a.example").public == "public"
        assert variables[-1] == {"PRODLOCK_SIGNING_KEY": KEY, "COSIGN_PASSWORD": "s3cret"}
        assert "--network=none" in commands[-1]
    signing.prepare(given, "awskms:///alias/x", "a.example")
    assert variables[-1] == {"AWS_REGION": "r"}
    assert "--network=none" not in commands[-1]
    assert not any("s3cret" in word or "SIGSTORE" in word for command in commands for word in command)


def test_a_password_is_required_without_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty one counts; at a terminal it is asked for."""
    (tmp_path / "key").write_text(KEY, encoding="ascii")
    # Without any standard input, there is no object for it.
    for given in (None, io.StringIO()):
        monkeypatch.setattr("sys.stdin", given)
        with pytest.raises(Failure, match="COSIGN_PASSWORD must be set where there is no terminal"):
            signing.prepare(project(tmp_path, {}), str(tmp_path / "key"), "a.example")
    monkeypatch.setattr(engine, "result", lambda *_, env, **__: (0, env["COSIGN_PASSWORD"], ""))
    monkeypatch.setattr(stages, "build", lambda *_: "image")
    empty = project(tmp_path, {}, COSIGN_PASSWORD="")
    assert not signing.prepare(empty, str(tmp_path / "key"), "a.example").public
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("getpass.getpass", lambda _: "typed")
    assert signing.prepare(project(tmp_path, {}), str(tmp_path / "key"), "a.example").public == "typed"


def test_a_failure_of_cosign_has_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong password, or what cosign printed last."""
    (tmp_path / "key").write_text(KEY, encoding="ascii")
    monkeypatch.setattr(stages, "build", lambda *_: "image")
    given = project(tmp_path, {}, COSIGN_PASSWORD="x")  # noqa: S106 - of no key
    wrong = "Error: decrypt: encrypted: decryption failed\nerror during command execution: decrypt\n"
    for printed, message in ((wrong, "COSIGN_PASSWORD must be the password of "), ("Error: odd\n", r"\(got .*: odd\)")):
        monkeypatch.setattr(engine, "result", lambda *_, printed=printed, **__: (1, "", printed))
        with pytest.raises(Failure, match=message):
            signing.prepare(given, str(tmp_path / "key"), "a.example")


def test_the_files_for_cosign_are_readable_by_their_owner_alone() -> None:
    """They are sent through the standard input: no folder of this machine is mounted."""
    with tarfile.open(fileobj=io.BytesIO(signing._tar({"a": b"1", "b": b""}))) as archive:
        assert {(one.name, one.mode) for one in archive} == {("a", 0o600), ("b", 0o600)}
