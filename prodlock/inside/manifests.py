"""Resolve and validate the files for deployment: `python manifests.py < STACK`, in the stage deploy, without a network.

Prints JSON: the Swarm stack from standard input, which is YAML, and before the interpolation; the Kubernetes objects
that kustomize builds from /deploy/k8s, those of an example that it does not list, and the violations of their schemas.
Or the message where a file cannot be resolved, as `refused`.

What a cluster's operators define, such as HTTPRoute, has no schema here: it is listed, and not validated.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml

# The newest version of Kubernetes that the library has schemas of.
VERSION = kubernetes_validate.latest_version()
DEPLOY = Path("/deploy")
# It is applied where a user adds it to the kustomization.
EXAMPLE = DEPLOY / "k8s" / "ingress.yaml"
# The groups of Kubernetes' own kinds whose names have a dot; all groups of others do
# (https://kubernetes.io/docs/reference/using-api/#api-groups).
GROUPS = {f"{name}.k8s.io" for name in (
    "admissionregistration", "apiextensions", "apiregistration", "authentication", "authorization", "certificates",
    "coordination", "discovery", "events", "flowcontrol.apiserver", "internal.apiserver", "networking", "node",
    "rbac.authorization", "resource", "scheduling", "storage", "storagemigration",
)}  # fmt: skip


class InvalidError(Exception):
    """A file cannot be resolved. The text is the message."""


def main() -> None:
    """Print the stack, the objects and the violations; where a file cannot be resolved, the message."""
    try:
        found = resolved()
    except InvalidError as error:
        found = {"refused": str(error)}
    json.dump(found, sys.stdout, default=str)


def resolved() -> dict[str, Any]:
    """Return the stack, the objects and the violations. Raises InvalidError."""
    objects = built()
    present = {identity(one) for one in objects}
    try:
        written = parsed(EXAMPLE.read_text(encoding="utf-8")) if EXAMPLE.is_file() else []
    except (OSError, ValueError, LookupError, TypeError, yaml.YAMLError) as error:
        remedy = "To fix it: correct or remove it."
        message = f"{EXAMPLE.relative_to('/')} must have objects of Kubernetes (got: {one_line(str(error))}). {remedy}"
        raise InvalidError(message) from None
    examples = [one for one in written if identity(one) not in present]
    found = [*objects, *examples]
    return {
        "stack": yaml.safe_load(sys.stdin),
        "written": yaml.safe_load((DEPLOY / "stack.yml").read_text(encoding="utf-8")),
        "objects": objects,
        "examples": examples,
        "invalid": violations([one for one in found if is_own(one)]),
        "foreign": [" ".join(identity(one)) for one in found if not is_own(one)],
    }


def built() -> list[dict[str, Any]]:
    """Return the objects that kustomize builds. Raises InvalidError."""
    command = ["/usr/bin/kubectl", "kustomize", str(DEPLOY / "k8s")]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        reason = one_line(done.stderr).removeprefix("error: ")
        message = f"deploy/k8s must be files that kustomize can build (got: {reason}). To fix it: correct them."
        raise InvalidError(message)
    return parsed(done.stdout)


def one_line(text: str) -> str:
    """Return a text in one line."""
    return " ".join(text.split())


def parsed(text: str) -> list[dict[str, Any]]:
    """Return the objects in a text, without documents that have nothing but comments.

    Raises ValueError where a document is not an object of Kubernetes.
    """
    found = [one for one in yaml.safe_load_all(text) if one]
    for one in found:
        if not (isinstance(one, dict) and one.get("kind") and isinstance(one.get("metadata"), dict)):
            message = "each document must have `kind` and `metadata`"
            raise ValueError(message)
    return found


def identity(one: dict[str, Any]) -> tuple[str, str]:
    """Return the kind and name of an object."""
    return one["kind"], one["metadata"].get("name", "")


def is_own(one: dict[str, Any]) -> bool:
    """Return whether an object's group is one of Kubernetes itself."""
    group, slash, _ = str(one.get("apiVersion", "")).partition("/")
    return not slash or "." not in group or group in GROUPS


def violations(objects: list[dict[str, Any]]) -> list[str]:
    """Return a sentence for each object that its schema does not allow."""
    invalid = []
    for one in objects:
        try:
            kubernetes_validate.validate(one, VERSION, strict=True)
        except kubernetes_validate.SchemaNotFoundError:
            got = f"{one.get('apiVersion')} {one['kind']}"
            message = f"version and kind must be ones of Kubernetes {VERSION} (got {got}). To fix it: correct them."
            invalid.append(f"{' '.join(identity(one))}: {message}")
        except kubernetes_validate.ValidationError as error:
            place = ".".join(map(str, error.path))
            invalid.append(f"{' '.join(identity(one))}: {place or 'it'}: {error.message}")
    return invalid


if __name__ == "__main__":
    main()
