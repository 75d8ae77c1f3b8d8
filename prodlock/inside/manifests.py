"""Resolve and validate the files for deployment: `python manifests.py < STACK`, in the stage deploy, without a network.

Prints JSON: the Swarm stack from standard input, which is YAML, the Kubernetes objects that kustomize builds from /k8s,
and the violations of their schemas.
"""

from __future__ import annotations

import json
import subprocess
import sys

import kubernetes_validate
import yaml

# The newest version of Kubernetes that the library has schemas of.
VERSION = kubernetes_validate.latest_version()


def main() -> None:
    """Print the stack, the objects and the violations."""
    built = subprocess.run(["/usr/bin/kubectl", "kustomize", "/k8s"], check=False, capture_output=True, text=True)
    if built.returncode:
        sys.exit(f"kustomize: {built.stderr.strip()}")
    objects = list(yaml.safe_load_all(built.stdout))
    invalid = []
    for one in objects:
        try:
            kubernetes_validate.validate(one, VERSION, strict=True)
        except kubernetes_validate.SchemaNotFoundError:
            invalid.append(
                f"{one['kind']} {one['metadata']['name']}: Kubernetes {VERSION} has no such kind of its own."
            )
        except kubernetes_validate.ValidationError as error:
            place = ".".join(map(str, error.path))
            invalid.append(f"{one['kind']} {one['metadata']['name']}: {place or 'it'}: {error.message}")
    json.dump({"stack": yaml.safe_load(sys.stdin), "objects": objects, "invalid": invalid}, sys.stdout, default=str)


if __name__ == "__main__":
    main()
