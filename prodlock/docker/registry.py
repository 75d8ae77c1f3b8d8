"""Push an image to a registry and read it back, or pull one: with the logins that `docker` has."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from prodlock.docker import engine
from prodlock.docker.failures import Cause, describe, known_cause, printable
from prodlock.docker.saved import MISSING
from prodlock.failure import Failure
from prodlock.integers import LAST_PORT
from prodlock.project import Project

# The parts of a reference (https://pkg.go.dev/github.com/distribution/reference).
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::(\d{1,5}))?")
_PATH = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_LONGEST_NAME, _LONGEST_TAG = 255, 128
_BY_DIGEST = re.compile(r"[^@]+@sha256:[0-9a-f]{64}")
# Docker Hub, where a name without a team is that of an official image.
_HUBS = {"docker.io", "index.docker.io"}
# The hosts that Docker and cosign use without TLS.
_LOOPBACK = re.compile(r"(?:localhost|127\.\d+\.\d+\.\d+)(?::\d+)?")
# How a refusal is printed by `docker push`, `docker pull`, `docker buildx imagetools` and cosign; the first cause that
# matches counts. These are certain whatever is asked of the registry.
_UNREACHABLE = (
    Cause(
        r"no such host|server misbehaving|name resolution|no address associated",
        "{registry} must be the name of a host (got: {line}). To fix it: correct the name, or check the network.",
    ),
    Cause(
        r"x509:|tls:|HTTP response to HTTPS client|HTTP request to an HTTPS server",
        "{registry} must answer over TLS with a certificate that Docker trusts (got: {line}). To fix it: serve it over "
        "TLS, and add its certificate authority to this machine and to /etc/docker/certs.d/{registry}/ca.crt.",
    ),
    Cause(
        r"connection refused|no route to host|network is unreachable|i/o timeout|deadline exceeded|Client\.Timeout"
        r"|TLS handshake timeout",
        "{registry} must be a registry that answers (got: {line}). To fix it: check the address and the network, or "
        "start the registry.",
    ),
    Cause(
        r"no basic auth credentials|authentication required|401 unauthorized",
        "A login at {registry} must be valid (got: {line}). To fix it: run `docker login {registry}`.",
    ),
)
# A registry may refuse to name what it does not have yet.
_REFUSED = (
    Cause(
        r"immutable|cannot be overwritten",
        "{reference} must not exist yet where its registry lets no tag move (got: {line}). To fix it: publish under "
        "another tag.",
    ),
    Cause(
        r"denied|forbidden|insufficient_scope|unauthorized",
        "Your login at {registry} must have the right to {right} {repository} (got: {line}). To fix it: have the "
        "right granted, name another repository, or log in as another user with `docker login {registry}`.",
    ),
    Cause(
        r"method not allowed|read-only|readonly|\bunsupported\b|maintenance",
        "{registry} must accept images (got: {line}). To fix it: have its read-only mode ended, or name another "
        "registry.",
    ),
    Cause(
        r"\bEOF\b|connection reset|broken pipe|closed network connection|stream error|server closed",
        "The connection to {registry} must stay open (got: {line}). To fix it: try again.",
    ),
    Cause(
        r"name[ _]unknown",
        "{registry} must have the repository {repository} (got: {line}). To fix it: check the name, or create the "
        "repository there, if that registry does not do so at a push.",
    ),
    Cause(
        r"not found|manifest unknown|does not exist",
        "{registry} must have {reference} (got: {line}). To fix it: check the name and the digest.",
    ),
    Cause(
        r"too ?many ?requests|internal server error|bad gateway|service unavailable|gateway time-?out"
        r"|unexpected (?:HTTP )?status",
        "{registry} must accept the request (got: {line}). To fix it: try again later.",
    ),
)
_CAUSES = (*_UNREACHABLE, *_REFUSED)


class Destination(NamedTuple):
    """Where an image is published: `REGISTRY/NAME`, and a tag that may be empty."""

    registry: str
    path: str
    tag: str

    @property
    def repository(self) -> str:
        """The name without a tag."""
        return f"{self.registry}/{self.path}"

    @property
    def is_loopback(self) -> bool:
        """Whether the registry is on this machine, where it needs no TLS."""
        return bool(_LOOPBACK.fullmatch(self.registry))

    def reference(self, tag: str) -> str:
        """Return the reference with a tag."""
        return f"{self.repository}:{tag}"


class Image(NamedTuple):
    """An image of the Engine that is pushed: its id there, the digest of its configuration, those of its layers."""

    identifier: str
    configuration: str
    diff_ids: tuple[str, ...]


def parse(text: str) -> Destination:
    """Return the parts of `REGISTRY/NAME[:TAG]`. Raises Failure where it is not such a reference."""
    # The last part may have a tag; a registry may have a port.
    first, _, rest = text.partition("/")
    path, colon, tag = rest.partition(":")
    if wrong := _wrong(text, first, path, tag if colon else None):
        # It may have a password.
        shown = re.sub(r"(^|//)[^/@\s]*:[^/@\s]*@", r"\1***@", text)
        raise Failure(
            f"--to must be REGISTRY/NAME or REGISTRY/NAME:TAG (got {shown!r}: {wrong}). To fix it: name one such as "
            "registry.example.org/team/quotes:1.0."
        )
    return Destination(first, path, tag)


def _wrong(text: str, first: str, path: str, tag: str | None) -> str:
    """Return what is wrong with a reference, or an empty string."""
    host = _HOST.fullmatch(first)
    for is_wrong, reason in (
        (not text, "it is empty"),
        (re.search(r"\s", text), "it has a space"),
        ("://" in text, "it is an address; leave out what is before the registry's name"),
        ("@" in text, "it has a digest or a login; the digest results from the push"),
        (not path or not _is_registry(first), "it has no registry"),
        (not host, "the registry is not a host or HOST:PORT"),
        (host and host[1] and not 1 <= int(host[1]) <= LAST_PORT, f"the port is not between 1 and {LAST_PORT}"),
        (first in _HUBS and "/" not in path, "a name on Docker Hub must begin with a user or team"),
        (path != path.lower(), "the name has upper-case letters"),
        (not _PATH.fullmatch(path), "the name has other characters than a-z, 0-9 and single separators . _ - /"),
        (len(first) + 1 + len(path) > _LONGEST_NAME, f"the name has more than {_LONGEST_NAME} characters"),
        (tag == "", "the tag is missing behind the colon"),
        (tag and len(tag) > _LONGEST_TAG, f"the tag has more than {_LONGEST_TAG} characters"),
        (tag and not _TAG.fullmatch(tag), "the tag has other characters than A-Z, a-z, 0-9 and . _ -"),
    ):
        if is_wrong:
            return reason
    return ""


def _is_registry(first: str) -> bool:
    """Return whether the first part of a name is a registry. Docker takes any other one for a folder on Docker Hub."""
    return first == "localhost" or bool(re.search(r"[.:]", first))


def push(project: Project, image: Image, to: Destination, tag: str) -> str:
    """Push an image under a tag, read it back, and return the digest of its manifest.

    Raises Failure where the registry does not return, under the tag, the manifest that was pushed, with the image's
    configuration and layers. The Engine's own tags are afterwards those of before.
    """
    reference = to.reference(tag)
    with tagged(project, image.identifier, reference):
        args = ("push", reference)
        code, err = engine.shown(project, *args)
        if code:
            raise _refusal(to, reference, args, code, err) or Failure(describe(args, code, err))
        # What the Engine has computed, not what the registry has answered.
        pushed = {one.rpartition("@")[2] for one in _inspected(project, reference).get("RepoDigests") or ()}
    manifest = _read(project, to, reference, "--raw").encode(errors="surrogateescape")
    digest = f"sha256:{hashlib.sha256(manifest).hexdigest()}"
    if digest not in pushed:
        raise _other(reference, f"a manifest {digest}", " or ".join(sorted(pushed)))
    document = _parsed(reference, manifest)
    if (configuration := _at(document, "config", "digest")) != image.configuration:
        raise _other(reference, f"a configuration {configuration}", image.configuration)
    # By the digest, as every user of the image will: its configuration as the registry has it.
    answer = _read(project, to, f"{to.repository}@{digest}", "--format={{json .Image}}")
    diff_ids = _at(_parsed(reference, answer.encode(errors="surrogateescape")), "rootfs", "diff_ids")
    if diff_ids != list(image.diff_ids):
        raise _other(reference, f"layers {diff_ids}", f"{list(image.diff_ids)}")
    return digest


def digest_of(project: Project, to: Destination, tag: str) -> str:
    """Return the digest of the manifest that a tag names in the registry, or an empty string where it names none.

    Raises Failure where the registry can't be reached, or asks for a login.
    """
    args = ("buildx", "imagetools", "inspect", "--raw", to.reference(tag))
    code, out, err = engine.result(project, *args)
    if code:
        if found := _refusal(to, to.reference(tag), args, code, err, causes=_UNREACHABLE):
            raise found
        return ""
    return f"sha256:{hashlib.sha256(out.encode(errors='surrogateescape')).hexdigest()}"


def pull_missing(project: Project, reference: str, *, program: str = "docker", platform: str = "") -> None:
    """Pull an image that a reference names by its digest, where the Engine does not have it.

    A tag is not pulled: it may name another image than the one that a user has in mind.
    """
    if not _BY_DIGEST.fullmatch(reference):
        return
    code, _, err = engine.result(project, "image", "inspect", "--format={{.Id}}", reference, program=program)
    if not code or not MISSING.search(err):
        return
    args = ("pull", *([f"--platform={platform}"] if platform else []), reference)
    engine.print_command(*args, program=program)
    code, _, err = engine.result(project, *args, program=program)
    if code:
        name = reference.partition("@")[0]
        first, _, path = name.partition("/")
        at = Destination(first, path, "") if path and _is_registry(first) else Destination("docker.io", name, "")
        refusal = _refusal(at, reference, args, code, err, right="read")
        raise refusal or Failure(describe(args, code, err, program))


def failure(
    to: Destination,
    reference: str,
    printed: str,
    *,
    right: str = "write to",
    causes: tuple[Cause, ...] = _CAUSES,
) -> Failure | None:
    """Return the failure for what a program printed about a registry, or None for an unknown cause."""
    lines = [line.strip() for line in printable(printed).splitlines() if line.strip()]
    for cause in causes:
        # Progress comes first.
        if found := [line for line in lines if re.search(cause.line, line, re.IGNORECASE)]:
            line = re.sub(
                r"^(?:Error response from daemon|ERROR|Error|error during command execution): ", "", found[-1]
            )
            names = {"registry": to.registry, "repository": to.repository, "reference": reference, "right": right}
            return Failure(cause.message.format(line=line.rstrip(". "), **names))
    return None


def _refusal(  # noqa: PLR0913 - a failed command
    to: Destination,
    reference: str,
    args: Sequence[str],
    code: int,
    err: str,
    *,
    right: str = "write to",
    causes: tuple[Cause, ...] = _CAUSES,
) -> Failure | None:
    """Return the failure of a docker command that talks to a registry, or None for an unknown cause.

    An Engine that is not running refuses connections as well.
    """
    cause = known_cause(args, code, err)
    return Failure(cause) if cause else failure(to, reference, err, right=right, causes=causes)


def _other(reference: str, got: str, wanted: str) -> Failure:
    return Failure(
        f"The registry must return what was pushed to {reference}, {wanted} (got {got}). To fix it: look for what "
        "changes images between this machine and the registry; do not deploy what the tag names."
    )


def _read(project: Project, to: Destination, reference: str, form: str) -> str:
    """Return what the registry has under a reference. Raises Failure where it does not return it."""
    args = ("buildx", "imagetools", "inspect", form, reference)
    code, out, err = engine.result(project, *args)
    if code:
        last = printable(err).strip().rpartition("\n")[2].removeprefix("ERROR: ") or "nothing"
        raise _refusal(to, reference, args, code, err) or _other(reference, last, "with its digest")
    return out


def _parsed(reference: str, content: bytes) -> Any:  # noqa: ANN401
    try:
        return json.loads(content)
    except ValueError:
        raise _other(reference, "no JSON", "a manifest") from None


def _at(document: Any, *names: str) -> Any:  # noqa: ANN401
    """Return the value of a parsed document at a path of keys, or None where it has none."""
    for name in names:
        document = document.get(name) if isinstance(document, dict) else None
    return document


def _inspected(project: Project, reference: str) -> dict[str, Any]:
    (facts,) = json.loads(engine.output(project, "image", "inspect", reference))
    return dict(facts)


@contextlib.contextmanager
def tagged(project: Project, identifier: str, reference: str) -> Iterator[None]:
    """Tag an image of the Engine for a block; a tag of that name that was there before is restored."""
    code, before, _ = engine.result(project, "image", "inspect", "--format={{.Id}}", reference)
    if not code and before.strip() == identifier:
        yield
        return
    with engine.undisturbed():
        engine.output(project, "tag", identifier, reference, echo=True, shielded=True)
    try:
        yield
    finally:
        with engine.undisturbed():
            # Removing the tag also removes the digest that the Engine has recorded for it.
            undo = [("image", "rm", reference)] + ([] if code else [("tag", before.strip(), reference)])
            for command in undo:
                try:
                    engine.output(project, *command, shielded=True)
                except Failure as failed:
                    engine.notify(f"Not restored: the tag {reference} ({failed})")
