"""Read the answer of a vulnerability service, and refuse one that is incomplete."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from prodlock import site
from prodlock.docker import stages
from prodlock.docker.failures import printable
from prodlock.failure import CANNOT_CHECK, Failure
from prodlock.project import Project
from prodlock.proof.judges.vulnerabilities import Answer, Vulnerability
from prodlock.proof.records import normalized

# What pip-audit exits with without and with vulnerabilities.
_CODES = (0, 1)
# The line of a traceback that states why a request failed; pip-audit's own error behind it repeats no reason.
_REQUEST = re.compile(r"^requests\.exceptions\.(?:\w+): (.*)$", re.MULTILINE)
_NOT_JSON = re.compile(r"^requests\.exceptions\.JSONDecodeError: ", re.MULTILINE)
_USER = re.compile(r"//[^/\s]*@")


def collect(project: Project) -> Answer:
    """Return what the service answers about the locked distributions. Raises Failure where it does not answer."""
    host = urlsplit(site.audit_url(project)).hostname or ""
    lock = PurePosixPath(project.configuration.lock).name
    return read(json.loads(stages.audit(project)), host, lock)


def read(document: Mapping[str, Any], service: str, lock: str) -> Answer:
    """Return the answer in what inside/audit.py printed. Raises Failure, code 2, where it is not complete.

    It must have each distribution that the lock has, none of them skipped, and vulnerabilities of the control.
    """
    messages = str(document["messages"])
    if document["code"] not in _CODES or not document["answer"].strip():
        raise _unanswered(_reason(messages))
    # pip-audit leaves out what it can't read of an answer, with a warning alone.
    if warning := re.search(r"^(?:WARNING|ERROR|CRITICAL):.*$", messages, re.MULTILINE):
        raise _unanswered(warning[0])
    try:
        answered = {normalized(one["name"]): one for one in json.loads(document["answer"])["dependencies"]}
        groups: Mapping[str, Mapping[str, str]] = document["groups"]
        locked = {normalized(name): version for group in groups.values() for name, version in group.items()}
        for name in (*locked, document["control"]):
            if name not in answered:
                raise _unanswered(f"no answer about {name}")
            if reason := answered[name].get("skip_reason"):
                raise _unanswered(f"{name} was skipped: {reason}")
        if not answered[document["control"]]["vulns"]:
            raise _unanswered(f"no vulnerability of {document['control']}, which has known ones")
        vulnerabilities = [
            Vulnerability(
                name,
                version,
                printable(found["id"]),
                tuple(sorted(map(printable, found["aliases"]))),
                tuple(map(printable, found["fix_versions"])),
                " ".join(printable(found["description"]).split()),
                tuple(sorted(group for group, names in groups.items() if name in set(map(normalized, names)))),
                lock,
            )
            for name, version in sorted(locked.items())
            for found in answered[name]["vulns"]
        ]
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise _unanswered(f"an answer of another form: {error!r}") from None
    return Answer(service, {group: len(names) for group, names in groups.items()}, len(locked), vulnerabilities)


def _reason(messages: str) -> str:
    """Return the reason in pip-audit's messages, which are a traceback for most faults."""
    if _NOT_JSON.search(messages):
        return "an answer that is not JSON"
    lines = _REQUEST.findall(messages) or [line for line in messages.splitlines() if line.strip()]
    return lines[-1].partition("(Caused by ")[2].removesuffix(")") or lines[-1] if lines else "no answer"


def _unanswered(reason: str) -> Failure:
    # An address in the reason may have a password.
    text = _USER.sub("//", printable(reason)).strip().rstrip(".")
    return Failure(
        f"The vulnerability service must answer about every locked distribution (got: {text}). To fix it: check the "
        "network, or name a service with OSV's interface that this machine reaches with AUDIT_URL=ADDRESS.",
        CANNOT_CHECK,
    )
