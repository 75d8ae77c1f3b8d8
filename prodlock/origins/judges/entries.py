"""Judge the entries of an image's layers: those that builders do not write, and that Engines unpack differently."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prodlock.image.records import File
from prodlock.origins.judges.case import Case
from prodlock.origins.visible import WHITEOUT, is_whiteout
from prodlock.proof import rules
from prodlock.proof.rules import Finding


def judge(case: Case) -> Iterator[Finding]:
    """Yield a finding for each entry above the base image that Engines may unpack differently."""
    entries: dict[str, list[File]] = {}
    for file in case.image.files:
        entries.setdefault(file.path, []).append(file)
    links = case.evidence.links
    for file in case.image.stored:
        if not case.is_above_base(file):
            continue
        folder, _, name = file.path.rpartition("/")
        if is_whiteout(file):
            removed = entries.get(f"{folder}/{name.removeprefix(WHITEOUT)}", ())
            if file.size or file.target:
                yield case.finding((rules.EXTRA_DATA, "entry", file.path, "a deletion has content"), file.layer)
            elif name == WHITEOUT:
                why = "a deletion without a name, for which some Engines delete the folder"
                yield case.finding((rules.EXTRA_DATA, "entry", file.path, why), file.layer)
            elif any(one.layer == file.layer and not one.directory for one in removed):
                why = "its layer has what it deletes"
                yield case.finding((rules.EXTRA_DATA, "entry", file.path, why), file.layer)
        elif link := _link_above(folder, file.layer, entries, links):
            why = f"it is written through the link {link}"
            yield case.finding((rules.EXTRA_DATA, "entry", file.path, why), file.layer)


def _link_above(folder: str, layer: int, entries: Mapping[str, list[File]], links: Mapping[str, str]) -> str:
    """Return the folder of an entry that is a link in its layer and the layers below, or an empty string."""
    while folder:
        if folder in links:
            below = [one for one in entries[folder] if one.layer <= layer]
            if below and below[-1].target and not below[-1].sha256:
                return folder
        folder = folder.rpartition("/")[0]
    return ""
