"""Run Deployments by `podman kube play`, and print what each process is allowed: `python kube.py`, in a container.

Reads JSON from standard input: lists of objects of Kubernetes, a port, and paths to ask. Needs Podman, privileges, and
an image in /image.tar. Podman executes probes by a shell and curl in the container, which production lacks, so that the
paths are asked from here.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request

PODMAN = ("podman", "--storage-driver=vfs", "--cgroup-manager=cgroupfs", "--log-level=error")
# What a test compares, of process 1 (proc_pid_status(5)) and of the paths that it may write to.
LOOK = """
import json, os
fields = dict(line.rstrip().split(":\\t", 1) for line in open("/proc/1/status") if ":\\t" in line)
found = {name: fields[name] for name in ("CapBnd", "CapEff", "Gid", "NoNewPrivs", "Seccomp", "Uid")}
for path in ("/srv", "/tmp"):
    try:
        open(f"{path}/written", "w").close()
        found[path] = "written"
    except OSError as error:
        found[path] = error.strerror
names = ("APP_LOG_FORMAT", "FORWARDED_ALLOW_IPS", "UVICORN_ROOT_PATH")
print(json.dumps(found | {name: os.environ.get(name) for name in names}))
"""


def podman(*args: str, given: str = "") -> str:
    """Return what `podman ARGS` prints."""
    done = subprocess.run([*PODMAN, *args], check=False, input=given, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"podman {args[0]}: {done.stderr}{done.stdout}")
    return done.stdout


def status(port: int, path: str) -> int:
    """Return the status of an answer, or 0 without one."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=2) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def main() -> None:
    """Play each list of objects, and print what was found."""
    given = json.load(sys.stdin)
    podman("load", "--quiet", "--input=/image.tar")
    json.dump([played(objects, given["port"], given["paths"]) for objects in given["lists"]], sys.stdout)


def played(listed: list[object], port: int, paths: list[str]) -> dict[str, object]:
    """Play objects, and return what the service's container is allowed and answers."""
    objects = "\n---\n".join(map(json.dumps, listed))
    podman("kube", "play", "--network=host", "-", given=objects)
    (container,) = podman("ps", "--quiet", "--filter=name=api-pod-api").split()
    deadline = time.monotonic() + 30
    while not (statuses := {path: status(port, path) for path in paths})[paths[0]]:
        if time.monotonic() > deadline:
            sys.exit(podman("logs", container))
        time.sleep(0.1)
    (inspected,) = json.loads(podman("inspect", container))
    found = {
        **json.loads(podman("exec", container, "python", "-c", LOOK)),
        "memory": inspected["HostConfig"]["Memory"],
        "cpus": inspected["HostConfig"]["NanoCpus"] / 1e9,
        "image": inspected["Image"],
        "statuses": statuses,
    }
    podman("kube", "down", "-", given=objects)
    return found | {"left": podman("ps", "--all", "--quiet").split()}


if __name__ == "__main__":
    main()
