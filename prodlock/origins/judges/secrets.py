"""Find the secrets in an image's configuration and history, and in the project's files."""

from __future__ import annotations

from collections.abc import Iterator

from prodlock.origins.attribution import Key
from prodlock.origins.judges.case import Case
from prodlock.origins.records import Kind
from prodlock.proof import rules
from prodlock.proof.judges import configuration, credentials
from prodlock.proof.rules import Finding

# How much of a file is searched for credentials.
_SEARCHED_BYTES = 1 << 20
_OWN = {Kind.REPOSITORY, Kind.UNEXPLAINED}


def judge(case: Case, claims: set[Key]) -> Iterator[Finding]:
    """Yield a finding for each secret."""
    yield from configuration.secrets(case.image)
    for file, origin in case.attribution.files:
        if origin.kind not in _OWN or not 0 < file.size <= _SEARCHED_BYTES or (file.layer, file.path) in claims:
            continue
        content = case.evidence.subject.content(file) if file.sha256 else b""
        if b"\0" in content[:1024]:
            continue
        kinds = credentials.formatted(content)
        if credentials.SETTINGS.search(file.path):
            kinds = credentials.found(content.decode(errors="replace"))
        for kind in kinds:
            why = "everyone who has the image can read it"
            yield case.finding((rules.SECRET, kind, file.path, why), file.layer)
