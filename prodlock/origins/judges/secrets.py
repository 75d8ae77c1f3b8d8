"""Find the secrets in an image's configuration and history, and in the project's files."""

from __future__ import annotations

import re
from collections.abc import Iterator

from prodlock.origins.attribution import ACCOUNTS, Key
from prodlock.origins.judges.case import Case
from prodlock.origins.records import Kind
from prodlock.proof import rules
from prodlock.proof.judges import configuration, credentials
from prodlock.proof.rules import Finding

# How much of a file is searched for credentials.
_SEARCHED_BYTES = 1 << 20
_OWN = {Kind.REPOSITORY, Kind.UNEXPLAINED}
# An account with a password, of shadow(5) and gshadow(5).
_HASHED = re.compile(rb"(?m)^[^:\n]+:!?\$[^:\n]+:")


def judge(case: Case, claims: set[Key]) -> Iterator[Finding]:
    """Yield a finding for each secret."""
    yield from configuration.secrets(case.image)
    for file, origin in case.attribution.files:
        is_changed = file.path in ACCOUNTS and file.sha256 and origin.kind is not Kind.BASE
        if is_changed and _HASHED.search(case.evidence.subject.content(file)):
            why = "everyone who has the image can search for the password"
            yield case.finding((rules.SECRET, "the hash of a password", file.path, why), file.layer)
        if origin.kind not in _OWN or not 0 < file.size <= _SEARCHED_BYTES or (file.layer, file.path) in claims:
            continue
        content = case.evidence.subject.content(file) if file.sha256 else b""
        kinds = credentials.formatted(content)
        if credentials.SETTINGS.search(file.path):
            kinds = credentials.found(credentials.decoded(content))
        for kind in kinds:
            why = "everyone who has the image can read it"
            yield case.finding((rules.SECRET, kind, file.path, why), file.layer)
