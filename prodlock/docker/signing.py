"""Sign an image in a registry and attest documents about it, with cosign in the stage `sign`."""

from __future__ import annotations

import base64
import getpass
import io
import json
import re
import shutil
import sys
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prodlock import site
from prodlock.docker import engine, registry, stages
from prodlock.docker.failures import RUN_FAILED, describe, last_lines, printable
from prodlock.docker.registry import Destination
from prodlock.failure import Failure
from prodlock.project import Project

# The type of the verdict (https://github.com/in-toto/attestation/blob/main/spec/v1/predicate.md), whose fields
# docs/how-to/publish.md explains.
VERDICT = "urn:prodlock:verdict:1"
# The variables that a program may hand on to cosign.
_PASSWORD, _KEY = "COSIGN_PASSWORD", "PRODLOCK_SIGNING_KEY"
_PRIVATE = re.compile(r"-----BEGIN ENCRYPTED (?:SIGSTORE|COSIGN) PRIVATE KEY-----")
# How a key in a variable begins, for users and for cosign.
_VARIABLE = "env://"
# The prefixes of the variables with the login of a key service, by the scheme of its addresses.
_SERVICES = {"awskms": "AWS_", "azurekms": "AZURE_", "gcpkms": "GOOGLE_", "hashivault": "VAULT_", "gitlab": "GITLAB_"}
# What cosign prints for a key that it can't use.
_WRONG_PASSWORD = re.compile(r"decrypt|password", re.IGNORECASE)
# Docker Hub's name in config.json.
_HUB = "index.docker.io"
# What a credential helper prints for a registry without a login, and the user that stands for a token
# (https://github.com/docker/docker-credential-helpers).
_NO_LOGIN = "credentials not found"
_TOKEN = "<token>"  # noqa: S105 - a name


@dataclass(frozen=True)
class Signer:
    """A key as cosign takes it, the variables that it needs, and its public part."""

    # How the user has named it.
    name: str
    key: str
    variables: Mapping[str, str] = field(repr=False)
    image: str
    public: str
    # The login for the registry, as config.json has it.
    login: Mapping[str, Mapping[str, str]] = field(repr=False)


def prepare(project: Project, key: str, host: str) -> Signer:
    """Return the signer of a key for a registry: a file of cosign, `env://NAME`, or the address of a key service.

    Builds the stage, and has cosign open the key. Raises Failure where it can't: nothing has been published then.
    """
    argument, variables = _key(project, key)
    login = logins(project, host)
    image = stages.build(project, "sign")
    options = () if _is_service(key) else ("--network=none",)
    code, out, err = _cosign(project, image, options, variables, "cosign", "public-key", f"--key={argument}")
    if code:
        if _PASSWORD in variables and _WRONG_PASSWORD.search(err):
            raise Failure(
                f"{_PASSWORD} must be the password of {key} (got another). To fix it: set the password that the key "
                "was made with."
            )
        raise Failure(
            f"--sign must be a key that cosign can use (got {key}{_last(err)}). To fix it: name the private key that "
            "`cosign generate-key-pair` wrote, env://NAME, or a key service that cosign supports."
        )
    return Signer(key, argument, variables, image, out, login)


def sign(project: Project, signer: Signer, to: Destination, digest: str, documents: Mapping[str, bytes]) -> None:
    """Sign an image by its digest, attest `sbom.json` and `verdict.json`, and verify all three with the public key.

    Raises Failure where cosign fails.
    """
    reference = f"{to.repository}@{digest}"
    bundle = Path(site.environment(project)["CA_BUNDLE"]).read_bytes()
    login = json.dumps({"auths": signer.login}).encode()
    files = _tar({**documents, "key.pub": signer.public.encode(), "ca.pem": bundle, "config.json": login})
    # This machine's loopback interface is another one in a container.
    network, plain = (("--network=host",), ("--allow-http-registry",)) if to.is_loopback else ((), ())
    script = ("sh", "/srv/sign.sh", signer.key, VERDICT, reference, *plain)
    code, _, err = _cosign(project, signer.image, ("--interactive", *network), signer.variables, *script, given=files)
    if code:
        found = registry.failure(to, reference, err)
        message = str(found) if found else f"cosign could not sign {reference}{_last(err)}"
        raise Failure(f"{message} The image is there without a valid signature, under no tag that was asked for.")


def logins(project: Project, host: str) -> dict[str, dict[str, str]]:
    """Return the entry for one registry that config.json of `docker` needs in a container, or none without a login.

    A credential helper of this machine is asked here: it can't run in a container.
    """
    folder = project.environment.get("DOCKER_CONFIG") or str(Path.home() / ".docker")
    file = project.root / folder / "config.json"
    try:
        document = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        stored: dict[str, Any] = {_host(name): (name, entry) for name, entry in (document.get("auths") or {}).items()}
        helpers = {_host(name): (name, helper) for name, helper in (document.get("credHelpers") or {}).items()}
        host = _HUB if host == "docker.io" else host
        name, entry = stored.get(host, (host, None))
        if host in helpers:
            return _of_helper(project, helpers[host][1], helpers[host][0])
        if entry and any(entry.get(kind) for kind in ("auth", "identitytoken", "registrytoken")):
            return {name: entry}
        return _of_helper(project, document["credsStore"], name) if document.get("credsStore") else {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        # The document has passwords: only an error of the system is repeated.
        reason = error.strerror if isinstance(error, OSError) else "it is not valid"
        raise Failure(f"{file} must be Docker's configuration (got: {reason}). To fix it: correct it.") from None


def _of_helper(project: Project, helper: str, registry_name: str) -> dict[str, dict[str, str]]:
    """Return the login that a credential helper has for a registry, as an entry of config.json."""
    program = f"docker-credential-{helper}"
    if not shutil.which(program, path=project.environment.get("PATH")):
        raise Failure(
            f"`{program}`, which Docker's configuration names, must be a program on PATH (got none). To fix it: "
            f"install it, or remove it from config.json and run `docker login {registry_name}`."
        )
    code, out, err = engine.result(project, "get", given=registry_name.encode(), program=program)
    if code and _NO_LOGIN in (out + err).lower():
        return {}
    try:
        given = {} if code else json.loads(out)
        user, secret = given["Username"], given["Secret"]
    except (ValueError, KeyError, TypeError):
        got = f"exit code {code}" if code else "another answer"
        raise Failure(
            f"`{program}` must return the login for {registry_name} (got {got}). To fix it: run "
            f"`docker login {registry_name}`."
        ) from None
    if user == _TOKEN:
        return {registry_name: {"identitytoken": secret}}
    return {registry_name: {"auth": base64.b64encode(f"{user}:{secret}".encode()).decode()}}


def _host(name: str) -> str:
    """Return the host of a registry as config.json names it: HOST, or https://HOST/v1/."""
    return re.sub(r"^https?://", "", name).partition("/")[0]


def _key(project: Project, key: str) -> tuple[str, dict[str, str]]:
    """Return how cosign is given a key, and the variables that it needs for that."""
    if _is_service(key):
        prefix = _SERVICES.get(key.partition("://")[0])
        given = project.environment.items()
        # Not the path of a file, which the container does not have.
        return key, {
            name: value for name, value in given if prefix and name.startswith(prefix) and not Path(value).is_file()
        }
    content = _content(project, key)
    if not _PRIVATE.search(content):
        raise Failure(
            f"--sign must be a private key of cosign (got {key}, which has none). To fix it: name the file cosign.key "
            "that `cosign generate-key-pair` wrote beside cosign.pub."
        )
    # By its content, never as a mounted file: its path may have characters that an option of Docker can't.
    return f"{_VARIABLE}{_KEY}", {_KEY: content, _PASSWORD: _password(project, key)}


def _is_service(key: str) -> bool:
    """Return whether a key is the address of a key service, which the network leads to."""
    return "://" in key and not key.startswith(_VARIABLE)


def _content(project: Project, key: str) -> str:
    """Return the content of the variable or the file that a key names. Raises Failure where there is none."""
    if key.startswith(_VARIABLE):
        content = project.environment.get(key.removeprefix(_VARIABLE))
        if content is None:
            raise Failure(f"--sign must name a variable that is set (got {key}). To fix it: set it, or name another.")
        return content
    try:
        return Path(key).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = (error.strerror if key else "nothing") if isinstance(error, OSError) else "it is not a text"
        raise Failure(
            f"--sign must be the file of a private key, env://NAME or the address of a key service (got {key!r}: "
            f"{reason}). To fix it: name one that exists, or make one with `cosign generate-key-pair`."
        ) from None


def _password(project: Project, key: str) -> str:
    """Return the password of a key: of the environment, or of the user at a terminal."""
    given = project.environment.get(_PASSWORD)
    if given is not None:
        return given
    if not (sys.stdin and sys.stdin.isatty()):
        raise Failure(
            f"{_PASSWORD} must be set where there is no terminal to ask for it (got none). To fix it: set it to the "
            f"password of {key}; an empty one counts."
        )
    try:
        return getpass.getpass(f"Password of {key}: ")
    except EOFError:
        raise Failure(
            f"A password must be given for {key} (got none). To fix it: enter it, or set {_PASSWORD}."
        ) from None


def _cosign(
    project: Project,
    image: str,
    options: tuple[str, ...],
    variables: Mapping[str, str],
    *command: str,
    given: bytes | None = None,
) -> tuple[int, str, str]:
    """Run a program in the stage `sign`. Variables are passed by name: passwords are in no command line."""
    named = (f"--env={name}" for name in variables)
    args = ("run", "--rm", "--init", "--env=HOME=/tmp", *named, *options, image, *command)
    engine.print_command(*args)
    code, out, err = engine.result(project, *args, given=given, env=variables)
    if code >= RUN_FAILED:
        raise Failure(describe(args, code, err))
    return code, out, err


def _last(printed: str) -> str:
    """Return the end of a message with what cosign has printed as its reason."""
    lines = [line for line in printable(printed).splitlines() if line.startswith("Error: ")]
    return last_lines([line.removeprefix("Error: ") for line in lines[-1:]])


def _tar(files: Mapping[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o600
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()
