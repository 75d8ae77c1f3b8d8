"""Judge the files of an image: one finding for the files of a folder, a layer and a rule."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator

from prodlock.image.records import File
from prodlock.origins.attribution import Key
from prodlock.origins.judges import leftovers
from prodlock.origins.judges.case import Case, Verdict
from prodlock.origins.judges.code import Code
from prodlock.origins.records import Kind, Origin
from prodlock.proof import rules
from prodlock.proof.judges.paths import is_below
from prodlock.proof.rules import Finding, Rule

# A device or a named pipe, which has nothing else; the value of an extended attribute is not compared.
_NODE = re.compile(r"a (?:character|block) device \d+:\d+|a named pipe")


def judge(case: Case, claims: set[Key], *, strict: bool) -> Iterator[Finding]:
    """Yield the findings about files that no finding about a distribution stands for.

    With `strict`, each file that nothing accounts for is one.
    """
    code = Code(case, claims)
    modes_of_base = {(file.path, file.mode) for file in case.evidence.base_files}
    nodes_of_base = {_node(file) for file in case.evidence.base_files if _NODE.fullmatch(file.extra)}
    groups: dict[tuple[int, Rule, str, str, str], list[File]] = {}
    for file, origin in case.attribution.files:
        verdict = None
        if case.is_above_base(file) and origin.kind is not Kind.DEBIAN and _node(file) not in nodes_of_base:
            verdict = _rights(file, modes_of_base)
        if not verdict and origin.kind is not Kind.BASE and (file.layer, file.path) not in claims:
            verdict = _file(file, origin, case, code, strict=strict)
        if verdict:
            groups.setdefault((file.layer, *verdict), []).append(file)
    for (layer, rule, what, place, why), files in groups.items():
        path = files[0].path if len(files) == 1 else place
        yield case.finding((rule, what, path, why), layer, len(files))


def _node(file: File) -> tuple[str, int, tuple[int, int], str]:
    """Return all that a device or a named pipe consists of."""
    return file.path, file.mode, file.owner, file.extra


def _rights(file: File, modes_of_base: set[tuple[str, int]]) -> Verdict | None:
    """Return the rule that a file breaks which has rights or data that only the base image's files may have."""
    if file.extra:
        return rules.EXTRA_DATA, "entry", file.path, f"it has {file.extra}"
    if file.mode & 0o6000 and file.sha256 and (file.path, file.mode) not in modes_of_base:
        why = f"permissions {file.mode:o}: it runs with the rights of its owner or its group"
        return rules.UNKNOWN_COMMAND, posixpath.basename(file.path), file.path, why
    return None


def _file(file: File, origin: Origin, case: Case, code: Code, *, strict: bool) -> Verdict | None:
    """Return the rule that a file breaks, what it is, the folder that stands for it, and the reason."""
    by = case.attribution.deleted.get((file.layer, file.path))
    subject = case.evidence.subject
    # A cache is used where an environment has links to it, or where Python has all bytecode in it.
    key = (file.layer, file.path)
    mirror = subject.bytecode_folder
    is_bytecode = mirror and key in case.attribution.bytecode and is_below(file.path, mirror)
    is_used = is_bytecode or key in subject.linked
    if not is_used and (verdict := leftovers.judge(file, origin)):
        rule, what, place, why = verdict
        if place in subject.linked_folders:
            why += "; an environment has links to other files of it, which must stay"
        return rule, what, place, why if by is None else f"{why}; layer {by + 1} deletes it, and it still ships"
    held = case.evidence.seen.get(file.path)
    # The layer that deletes a file, or a later one, may have it again, where a step reinstalls a distribution.
    if by is not None and not (held and held.layer >= by and (held.sha256, held.target) == (file.sha256, file.target)):
        folder = posixpath.dirname(file.path)
        return rules.STILL_SHIPS, "deleted files", folder, f"layer {by + 1} deletes what this layer has"
    if origin.kind is not Kind.UNEXPLAINED:
        return None
    verdict = code.judge(file)
    if not verdict and strict:
        verdict = rules.UNKNOWN_FILE, "file", posixpath.dirname(file.path), "nothing accounts for it"
    return verdict
