"""Resolve and validate what is deployed: `python manifests.py < STACK`, in the stage deploy, without a network.

Prints JSON: the Swarm stack that standard input has as YAML, the Kubernetes objects that kustomize makes of /k8s, and
what their schemas do not allow.
"""

from __future__ import annotations

import json
import subprocess
import sys

import kubernetes_validate
import yaml

# The newest whose schemas the library has.
VERSION = kubernetes_validate.latest_version()


def main() -> None:
    """Print it."""
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
