"""Judge the distributions of an image against the lock: others, missing ones, incomplete ones, two versions of one."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from functools import cached_property

from prodlock.inside.lock.selection import Requirement
from prodlock.origins import installers, wheels
from prodlock.origins.attribution import Key
from prodlock.origins.environments import SITE, is_same, moved, prefix, source_path
from prodlock.origins.judges import leftovers
from prodlock.origins.judges.case import Case
from prodlock.origins.records import Installed, Kind
from prodlock.proof import rules
from prodlock.proof.rules import Finding, Rule

# Distributions that only a build needs.
TOOLS = frozenset(
    {
        "build", "cython", "flit", "flit-core", "hatch", "hatchling", "meson-python", "pdm", "pdm-backend", "pip",
        "pip-tools", "pipenv", "pipx", "poetry", "poetry-core", "scikit-build-core", "setuptools", "setuptools-scm",
        "twine", "uv", "uv-build", "virtualenv", "wheel",
    }
)  # fmt: skip
# The standard library of Debian's own interpreter.
_DEBIAN_LIBRARY = "/usr/lib/python3"
# Where uv unpacks wheels and sources in its cache.
_UNPACKED = re.compile(r".*/(?:archive|sdists)-v\d+/.*")


def judge(case: Case) -> tuple[list[Finding], set[Key]]:
    """Return the findings about distributions, and the files that one of them stands for, by layer and path."""
    judgement = _Judgement(case)
    found = list(judgement.distributions())
    return [*found, *judgement.missing(), *judgement.incomplete(), *judgement.two_versions()], judgement.claims


class _Judgement:
    """What judging the distributions needs."""

    def __init__(self, case: Case) -> None:
        self.case, self.evidence, self.origins = case, case.evidence, case.origins
        # Without those that another one vendors, and those in uv's cache.
        vendored = set(self._vendored())
        self.installed = [
            one
            for one in case.evidence.installed
            if (one.layer, one.info) not in vendored and not _UNPACKED.fullmatch(one.info)
        ]
        # The folders of the base image's metadata.
        self.infos_of_base = {
            posixpath.dirname(file.path)
            for file in case.evidence.base_files
            if file.path.endswith(("/METADATA", "/PKG-INFO"))
        }
        # The files that a distribution with a finding claims by its own record: that finding stands for them.
        self.claims: set[Key] = set()

    def _vendored(self) -> Iterator[Key]:
        """Yield layer and folder of the metadata that is a part of another distribution.

        That one's record lists it; where its wheel is locked, it must be in the wheel.
        """
        for one in self.evidence.installed:
            is_locked = (one.layer, one.info) in self.evidence.wheels
            for path in one.record if one.name not in self.evidence.own else ():
                folder, _, name = path.rpartition("/")
                if name not in {"METADATA", "PKG-INFO"} or folder == one.info:
                    continue
                origin = self.origins.get((one.layer, path))
                if not is_locked or (origin and origin.kind is Kind.WHEEL):
                    yield one.layer, folder

    def distributions(self) -> Iterator[Finding]:
        """Yield a finding for each distribution that is not what the lock has, with the files that it claims."""
        for one in self.installed:
            verdict = self.distribution(one)
            if not verdict:
                continue
            count = self.claim(one)
            rule, why = verdict
            by = self.evidence.layers.deletion(one.info, one.layer)
            if by is not None and rule is not rules.STILL_SHIPS:
                why += f"; layer {by + 1} deletes it, and it still ships"
            yield self.case.finding((rule, f"{one.name} {one.version}", one.info, why), one.layer, count)

    def distribution(self, one: Installed) -> tuple[Rule, str] | None:
        """Return the rule that a distribution breaks, and how."""
        main = self.evidence.locked.main.get(one.name)
        in_base = self._is_of_base(one)
        is_judged = not (one.name in self.evidence.own or self._is_of_system(one, main))
        if not is_judged or (in_base and not self._is_imported(one, main)):
            return None
        if not main:
            return self._beside_lock(one)
        if main.version and not is_same(one.version, main.version):
            return rules.OTHER_VERSION, f"the lock has {main.version}"
        if in_base or (one.layer, one.info) in self.evidence.wheels:
            return self._for_another_platform(one) or self._deleted(one)
        if one.editable:
            return rules.EDITABLE, f"imported from {one.address}"
        return (
            rules.NOT_FROM_WHEEL,
            "it is not a wheel of the lock: it was built from source, or elsewhere",
        )

    @cached_property
    def _is_musl(self) -> bool:
        """Whether the image's C library is musl."""
        return wheels.is_musl(self.evidence.seen)

    def _for_another_platform(self, one: Installed) -> tuple[Rule, str] | None:
        """Return the finding about a distribution whose wheel the image's interpreter can't import."""
        wheel, place = self.evidence.wheels.get((one.layer, one.info)), SITE.fullmatch(one.site)
        python = self.evidence.python
        if place and "." in place["version"]:
            # An image may have further interpreters.
            python = python._replace(version=place["version"])
        if not wheel or wheels.fits(wheel.file, python, is_musl=self._is_musl):
            return None
        return rules.NOT_FROM_WHEEL, f"{wheel.file} is for another Python or platform than the image's"

    def _is_of_base(self, one: Installed) -> bool:
        """Return whether the base image has a distribution; a later layer may have it again, at the same place."""
        origins = (self.origins.get((one.layer, f"{one.info}/{name}")) for name in ("METADATA", "PKG-INFO"))
        is_copy = any(origin and origin.kind is Kind.BASE for origin in origins) and one.info in self.infos_of_base
        return one.layer < self.evidence.subject.base_layers or is_copy

    def _is_imported(self, one: Installed, main: Requirement | None) -> bool:
        """Return whether a distribution of the base image is the one that the image has of a locked name."""
        same = [other for other in self.installed if other.name == one.name]
        return main is not None and not any(is_same(other.version, main.version) for other in same)

    def _beside_lock(self, one: Installed) -> tuple[Rule, str] | None:
        """Return the rule that a distribution outside the lock's main group breaks."""
        lock = self.evidence.locked.file
        if one.name in self.evidence.locked.dev:
            return rules.DEVELOPMENT, f"{lock} has it for development only"
        if self._is_of_debian(one):
            return None
        if one.editable:
            return rules.EDITABLE, f"imported from {one.address}, and {lock} does not have it"
        if one.name in TOOLS:
            return rules.BUILD_TOOL, "a tool for builds, which the lock does not have"
        return rules.NOT_LOCKED, f"{lock} does not have it"

    def _deleted(self, one: Installed) -> tuple[Rule, str] | None:
        """Return the finding about a locked distribution that a later layer deletes, and that is in no other place."""
        by = self.evidence.layers.deletion(one.info, one.layer)
        if by is None or any(other.name == one.name and not other.deleted for other in self.installed):
            return None
        return rules.STILL_SHIPS, f"layer {by + 1} deletes it"

    def _is_of_debian(self, one: Installed) -> bool:
        origins = [self.origins.get((one.layer, f"{one.info}/{name}")) for name in ("METADATA", "PKG-INFO")]
        origins.append(self.origins.get((one.layer, one.info)))
        return any(origin and origin.kind is Kind.DEBIAN for origin in origins)

    def claim(self, one: Installed) -> int:
        """Claim the files that a distribution lists, with their bytecode and its metadata; return their number."""
        count = 0
        record = {place: digest for path, digest in one.record.items() for place in (path, moved(path, one.site))}
        for file, origin in self.case.attribution.files:
            key = (file.layer, file.path)
            if key in self.claims or origin.kind is Kind.BASE:
                continue
            if file.layer != one.layer:
                # One instruction may copy the modules, and another one the commands.
                listed = file.sha256 != "" and record.get(file.path) == installers.encoded(file.sha256)
            else:
                listed = file.path in record or file.path.startswith(f"{one.info}/") or file.path == one.info
                if not listed and file.path.endswith(".pyc"):
                    listed = source_path(file.path, self.evidence.subject.bytecode_folder) in record
            if listed:
                self.claims.add(key)
                count += 1
        return count or 1

    def _is_of_system(self, one: Installed, main: Requirement | None) -> bool:
        """Return whether a distribution is a Debian package's, and a locked one of its name is not affected by it.

        That is so for one that another package vendors, and where the service does not run in Debian's interpreter.
        """
        is_vendored = not SITE.fullmatch(one.site)
        is_apart = main is not None and not self.evidence.python.library.startswith(_DEBIAN_LIBRARY)
        return (is_vendored or is_apart) and self._is_of_debian(one)

    def missing(self) -> Iterator[Finding]:
        """Yield a finding for each locked distribution that the image does not have in any version."""
        present = {
            one.name
            for one in self.installed
            if not one.deleted and not self._is_of_system(one, self.evidence.locked.main.get(one.name))
        }
        for name, locked in self.evidence.locked.main.items():
            if name not in present and name not in self.evidence.own:
                why = f"{self.evidence.locked.file} has it, and no environment of the image does"
                gone = next((one for one in self.installed if one.name == name), None)
                if gone:
                    why += f"; layer {gone.layer + 1} has it, and a later one removes it"
                yield Finding(rules.NOT_INSTALLED, f"{name} {locked.version}", name, "", why)

    def incomplete(self) -> Iterator[Finding]:
        """Yield a finding for the missing files of a distribution, and one for each of its changed files."""
        for one in self.installed:
            wheel = self.evidence.wheels.get((one.layer, one.info))
            if not wheel or one.deleted:
                continue
            found: dict[int, list[str]] = {}
            for path, member, _ in installers.places(wheel, one.site, self.evidence.python):
                # A header may be at one of several places. Files of one content are members of their own.
                found.setdefault(id(member), []).append(path)
            absent = [paths[0] for paths in found.values() if not any(path in self.evidence.seen for path in paths)]
            absent += [
                path
                for name, entry in wheel.commands.items()
                for path in (f"{prefix(one.site)}/bin/{name}",)
                if entry and path not in self.evidence.seen
            ]
            if absent:
                what = f"{one.name} {one.version}"
                why = f"the wheel has it, and the image does not: {', '.join(map(posixpath.basename, absent[:3]))}"
                later = {self.evidence.layers.deletion(path, one.layer) for path in absent}
                if deleting := sorted(number + 1 for number in later if number is not None):
                    why += f"; deleted by layer {' and '.join(map(str, deleting))}"
                yield self.case.finding((rules.MISSING_FILE, what, absent[0], why), one.layer, len(absent))

    def two_versions(self) -> Iterator[Finding]:
        """Yield a finding for each distribution of which a container sees two versions."""
        seen: dict[str, dict[str, Installed]] = {}
        for one in self.installed:
            is_apart = self._is_of_system(one, self.evidence.locked.main.get(one.name))
            if not one.deleted and one.name not in TOOLS and not leftovers.cache(one.info) and not is_apart:
                seen.setdefault(one.name, {})[one.version] = one
        for name, versions in seen.items():
            if len(versions) > 1:
                last = list(versions.values())[-1]
                places = "; ".join(f"{version} in {one.site}" for version, one in versions.items())
                yield self.case.finding((rules.TWO_VERSIONS, name, last.info, places), last.layer)
