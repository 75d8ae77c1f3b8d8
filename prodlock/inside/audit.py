"""Ask a vulnerability service about the locked distributions: `python audit.py`, in the stage audit.

pip-audit asks the service at AUDIT_URL, which has OSV's interface. This program prints JSON: the distributions of each
group, the control, and what pip-audit returned. pip-audit's exit code alone proves nothing: it is 1 for vulnerabilities
and for most faults, and 0 for every answer that is empty.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

SELECTION = Path(__file__).with_name("selection.json")
# A distribution whose every version has known vulnerabilities (CVE-2013-7459), and that is no longer developed. A
# service that reports none has no data, whatever it answers about the others.
CONTROL = {
    "name": "pycrypto",
    "version": "2.6.1",
    "sha256": ["f2ce1e989b272cfcb677616763e0a2e7ec659effa67a88aa92b3a65528f60a3c"],
}
# How long one answer may take, and all of them.
ANSWER_SECONDS = 15
SECONDS = 300
PROGRAM = ("pip-audit", "--disable-pip", "--progress-spinner=off", "--vulnerability-service=osv")
FORMAT = ("--format=json", "--desc=on", "--aliases=on")


def listed(groups: dict[str, list[dict[str, Any]]]) -> str:
    """Return the distributions of all groups and the control as a list of requirements.

    pip-audit refuses one without a hash, and prints a warning only where an answer is incomplete.
    """
    chosen = {CONTROL["name"]: CONTROL} | {one["name"]: one for group in groups.values() for one in group}
    lines = (
        f"{one['name']}=={one['version']}{''.join(f' --hash=sha256:{digest}' for digest in one['sha256'])}\n"
        for one in chosen.values()
    )
    return "".join(lines)


def ask(requirements: str, address: str) -> dict[str, Any]:
    """Return exit code, answer and messages of pip-audit; the code is None where it took too long."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "locked.txt")
        file.write_text(requirements, encoding="utf-8")
        options = [f"--cache-dir={folder}", f"--timeout={ANSWER_SECONDS}", f"--osv-url={address}"]
        command = [*PROGRAM, *FORMAT, *options, f"--requirement={file}"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)
        except subprocess.TimeoutExpired:
            return {"code": None, "answer": "", "messages": f"no answer within {SECONDS} s"}
    return {"code": done.returncode, "answer": done.stdout, "messages": done.stderr}


def main() -> None:
    """Print the groups, the control and pip-audit's answer."""
    groups = json.loads(SELECTION.read_text(encoding="utf-8"))["groups"]
    names = {group: {one["name"]: one["version"] for one in chosen} for group, chosen in groups.items()}
    answer = ask(listed(groups), os.environ["AUDIT_URL"])
    json.dump({"groups": names, "control": CONTROL["name"]} | answer, sys.stdout)


if __name__ == "__main__":
    main()
