"""Judge the origins of an image's files: one finding for a distribution, or for the files of a folder."""

from __future__ import annotations

import io
import posixpath
import re
from collections.abc import Iterator, Mapping

from prodlock.image import archives
from prodlock.image.records import File
from prodlock.inside.lock.selection import Requirement, normalized
from prodlock.origins import installers
from prodlock.origins.attribution import ARCHIVE, CACHED, COMMANDS, Evidence, Key, resolved
from prodlock.origins.environments import LIBRARY, is_same, moved, prefix, source_path
from prodlock.origins.records import Attribution, Bytecode, Installed, Kind, Origin, State
from prodlock.origins.visible import WHITEOUT, is_whiteout
from prodlock.proof import rules
from prodlock.proof.judges import configuration, credentials
from prodlock.proof.rules import Finding, Rule

# Distributions that only a build needs.
TOOLS = frozenset(
    {
        "build", "cython", "flit", "flit-core", "hatch", "hatchling", "meson-python", "pdm", "pdm-backend", "pip",
        "pip-tools", "pipenv", "pipx", "poetry", "poetry-core", "scikit-build-core", "setuptools", "setuptools-scm",
        "twine", "uv", "uv-build", "virtualenv", "wheel",
    }
)  # fmt: skip
_TOOL_PROGRAMS = re.compile(r"(?s).*/(?:uv|uvx|pdm|poetry|pipenv|hatch|pip[\d.]*)")
_CACHE = re.compile(
    r"(?P<top>/tmp|/var/tmp|/var/cache/(?!debconf|fontconfig|ldconfig)[^/]+|/var/lib/apt/lists|(?:/[^/]+)*?/\.cache(?:/[^/]+)?"
    r"|(?:/[^/]+)*?/(?:\.mypy_cache|\.pytest_cache|\.ruff_cache|\.hypothesis|\.tox|\.nox)"
    # The cache of uv, in any folder.
    r"|(?:/[^/]+)*?(?=/(?:archive|sdists|simple|wheels)-v\d+/))(?:/|$)"
)
# Where uv unpacks wheels and sources in its cache.
_UNPACKED = re.compile(r".*/(?:archive|sdists)-v\d+/.*")
_PROJECT_DATA = re.compile(
    r".*/(?:\.git|\.hg|\.svn|\.github|\.idea|\.vscode)(?:/.*|$)"
    r"|.*/\.env(?:\.(?!example$|sample$|template$|dist$)[^/]*)?"
    r"|.*/(?:\.netrc|_netrc|\.pypirc|\.pgpass|\.npmrc|\.htpasswd|id_(?:rsa|dsa|ecdsa|ed25519)|credentials(?:\.json)?"
    r"|secrets?\.(?:json|toml|ya?ml|env))|.*\.(?:p12|pfx|jks)"
)
_TESTS = re.compile(r"(?:.*/)?(?:tests?/.*|conftest\.py|test_[^/]+\.py|[^/]+_test\.py)")
_CODE_NAME = re.compile(r"(?s).*\.(?:py[cdowx]?|_?pth|pyz|zip|so(?:\.[\d.]+)?|egg|whl|sh|bash|js|jar|exe|dll)")
# What decides which libraries a program loads (ld.so(8)).
_LOADER = re.compile(r"/etc/ld\.so\.(?:preload|conf(?:\.d/.*)?)")
_CODE_HEADS = (b"#!", b"\x7fELF", b"\xca\xfe\xba\xbe", b"\0asm")
# The magic number of bytecode, which Python runs under any name (importlib/_bootstrap_external.py).
_BYTECODE_HEAD = re.compile(rb"[\0-\xff][\x0c-\x0f]\r\n")
# Variables that name what an interpreter, a shell or the loader runs.
_RUN_BY_VARIABLE = re.compile(r"(?:PYTHON|LD_|PERL5|GUNICORN_|UVICORN_)\w*|BASH_ENV|ENV|NODE_OPTIONS|JAVA_TOOL_OPTIONS")
# What a command does that runs code which no layer has.
_LOADS = re.compile(
    r"\b(?:curl|wget)\b[^|;&]*\|\s*(?:sudo\s+)?(?:\S*/)?(?:\w*sh|python[\d.]*|perl)\b"
    r"|\b(?:\w*sh\s+-c|eval)\s+[\"']?\$\(\s*(?:curl|wget)\b|<\(\s*(?:curl|wget)\b"
    r"|\bbase64\s+(?:-d|-D|--decode)\b|\bb64decode\b|\bexec\(|\b__import__\("
    r"|\b(?:pip[\d.]*|uv|apt|apt-get|apk|npm)\s(?:[^|;&]*\s)?install\b|\b(?:poetry\s+install|uv\s+sync)\b"
)
# How much of a file is searched for credentials.
_SEARCHED_BYTES = 1 << 20
# What a finding stands for: its rule, what was found, where, why.
_Group = tuple[Rule, str, str, str]


def judge(evidence: Evidence, attribution: Attribution, *, strict: bool) -> list[Finding]:
    """Return the findings about an image."""
    return _Judgement(evidence, attribution).findings(strict=strict)


def _is_nested(name: str) -> bool:
    """Return whether a member of an archive is an archive, by its name."""
    return name.endswith((".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst"))


class _Judgement:
    """What the judges share."""

    def __init__(self, evidence: Evidence, attribution: Attribution) -> None:
        self.evidence, self.attribution = evidence, attribution
        self.image = evidence.subject.image
        self.origins: Mapping[Key, Origin] = {(file.layer, file.path): origin for file, origin in attribution.files}
        # Without those that another one vendors, and those in uv's cache.
        vendored = set(self._vendored())
        self.installed = [
            one
            for one in evidence.installed
            if (one.layer, one.info) not in vendored and not _UNPACKED.fullmatch(one.info)
        ]
        # The files that a distribution with a finding claims by its own record: that finding stands for them.
        self.claims: set[Key] = set()
        below = evidence.subject.base_layers
        variables = (str(one).partition("=") for one in self.image.config.get("Env") or ())
        self.variables = {name: value for name, _, value in variables}
        self.path = frozenset(map(posixpath.normpath, self.variables.get("PATH", "").split(":")))
        self.modes_of_base = {(file.path, file.mode) for file in evidence.files if file.layer < below}

    def findings(self, *, strict: bool) -> list[Finding]:
        """Return all findings; those of a distribution cover the files that it claims."""
        distributions = list(self.distributions())
        return [
            *distributions,
            *self.missing(),
            *self.incomplete(),
            *self.two_versions(),
            *self.files(strict=strict),
            *self.commands(),
            *self.loaded(),
            *self.named(),
            *self.hidden(),
            *self.secrets(),
        ]

    def finding(self, group: _Group, layer: int, count: int = 1) -> Finding:
        """Return a finding in a layer."""
        rule, what, path, why = group
        instruction = credentials.masked(self.image.layers[layer].instruction)
        return Finding(rule, what, path, instruction, why, count, layer)

    # Distributions.

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
            if by := self.evidence.layers.deletion(one.info, one.layer):
                why += f"; layer {by + 1} deletes it, and it still ships"
            yield self.finding((rule, f"{one.name} {one.version}", one.info, why), one.layer, count)

    def distribution(self, one: Installed) -> tuple[Rule, str] | None:
        """Return the rule that a distribution breaks, and how."""
        main = self.evidence.locked.main.get(one.name)
        in_base = self._is_of_base(one)
        if one.name in self.evidence.own or (in_base and not self._is_imported(one, main)):
            return None
        if not main:
            return self._beside_lock(one)
        if not is_same(one.version, main.version):
            return rules.OTHER_VERSION, f"the lock has {main.version}"
        if in_base or (one.layer, one.info) in self.evidence.wheels:
            return self._deleted(one)
        if one.editable:
            return rules.EDITABLE, f"imported from {one.address}"
        return (
            rules.NOT_FROM_WHEEL,
            "it is not a wheel of the lock: it was built from source, or elsewhere",
        )

    def _is_of_base(self, one: Installed) -> bool:
        """Return whether the base image has a distribution; a later layer may have it again, at the same place."""
        below = self.evidence.subject.base_layers
        origins = (self.origins.get((one.layer, f"{one.info}/{name}")) for name in ("METADATA", "PKG-INFO"))
        return one.layer < below or (
            any(origin and origin.kind is Kind.BASE for origin in origins)
            and any(other.layer < below and other.info == one.info for other in self.installed)
        )

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
        for file, origin in self.attribution.files:
            key = (file.layer, file.path)
            if key in self.claims or origin.kind is Kind.BASE:
                continue
            if file.layer != one.layer:
                # One instruction may copy the modules, and another one the commands.
                listed = file.sha256 != "" and record.get(file.path) == installers.encoded(file.sha256)
            else:
                listed = file.path in record or file.path.startswith(f"{one.info}/") or file.path == one.info
                if not listed and file.path.endswith(".pyc"):
                    listed = source_path(file.path) in record
            if listed:
                self.claims.add(key)
                count += 1
        return count or 1

    def missing(self) -> Iterator[Finding]:
        """Yield a finding for each locked distribution that the image does not have in any version."""
        present = {one.name for one in self.installed if not one.deleted}
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
            found: dict[str, list[str]] = {}
            for path, member, script in installers.places(wheel, one.site, self.evidence.python):
                # A header may be at one of two places.
                found.setdefault(member.sha256 + path.rpartition("/")[2] * script, []).append(path)
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
                yield self.finding((rules.MISSING_FILE, what, absent[0], why), one.layer, len(absent))

    def two_versions(self) -> Iterator[Finding]:
        """Yield a finding for each distribution of which a container sees two versions."""
        seen: dict[str, dict[str, Installed]] = {}
        for one in self.installed:
            if not one.deleted and one.name not in TOOLS and not _CACHE.match(one.info):
                seen.setdefault(one.name, {})[one.version] = one
        for name, versions in seen.items():
            if len(versions) > 1:
                last = list(versions.values())[-1]
                places = "; ".join(f"{version} in {one.site}" for version, one in versions.items())
                yield self.finding((rules.TWO_VERSIONS, name, last.info, places), last.layer)

    # Files.

    def files(self, *, strict: bool) -> Iterator[Finding]:
        """Yield a finding for the files of one folder, layer and rule."""
        groups: dict[tuple[int, Rule, str, str, str], list[File]] = {}
        for file, origin in self.attribution.files:
            verdict = self.rights(file, origin)
            if not verdict and origin.kind is not Kind.BASE and (file.layer, file.path) not in self.claims:
                verdict = self.file(file, origin, strict=strict)
            if verdict:
                rule, what, place, why = verdict
                groups.setdefault((file.layer, rule, what, place, why), []).append(file)
        for (layer, rule, what, place, why), files in groups.items():
            path = files[0].path if len(files) == 1 else place
            yield self.finding((rule, what, path, why), layer, len(files))

    def rights(self, file: File, origin: Origin) -> _Group | None:
        """Return the rule that a file breaks which has rights or data that only the base image's files may have."""
        if file.layer < self.evidence.subject.base_layers or origin.kind is Kind.DEBIAN:
            return None
        if file.extra:
            return rules.EXTRA_DATA, "entry", file.path, f"it has {file.extra}"
        if file.sha256 and file.mode & 0o6000 and (file.path, file.mode) not in self.modes_of_base:
            why = f"permissions {file.mode:o}: it runs with the rights of its owner or its group"
            return rules.UNKNOWN_COMMAND, posixpath.basename(file.path), file.path, why
        return None

    def file(self, file: File, origin: Origin, *, strict: bool) -> _Group | None:
        """Return the rule that a file breaks, what it is, the folder that stands for it, and the reason."""
        folder = posixpath.dirname(file.path)
        by = self.attribution.deleted.get((file.layer, file.path))
        if group := self.leftover(file, origin):
            rule, what, place, why = group
            return rule, what, place, why if by is None else f"{why}; layer {by + 1} deletes it, and it still ships"
        if by is not None:
            return rules.STILL_SHIPS, "deleted files", folder, f"layer {by + 1} deletes what this layer has"
        if origin.kind is not Kind.UNEXPLAINED:
            return None
        return self.unexplained(file) or (
            (rules.UNKNOWN_FILE, "file", folder, "nothing accounts for it") if strict else None
        )

    def leftover(self, file: File, origin: Origin) -> _Group | None:
        """Return the rule that a file breaks which is not needed to run."""
        path, folder = file.path, posixpath.dirname(file.path)
        if origin.kind is not Kind.INSTALLER and (match := _CACHE.match(path)):
            return rules.LEFT_CACHE, "cache", match["top"], "left by an installer or a build"
        if origin.kind is Kind.WHEEL and origin.what.endswith((ARCHIVE, CACHED)):
            return rules.LEFT_CACHE, "locked wheels", folder, "left by an installer"
        if _PROJECT_DATA.fullmatch(path) and origin.kind in {Kind.REPOSITORY, Kind.UNEXPLAINED}:
            top = re.sub(r"(/\.(?:git|hg|svn|github|idea|vscode))/.*", r"\1", path)
            return rules.PROJECT_DATA, "repository data or secret", top, "not needed to run"
        if origin.kind is Kind.REPOSITORY and _TESTS.fullmatch(origin.what):
            return rules.PROJECT_DATA, "tests", folder, f"the repository's {posixpath.dirname(origin.what)}"
        return None

    def unexplained(self, file: File) -> _Group | None:
        """Return the rule that a file without an origin breaks, for code of any kind."""
        path = file.path
        if path in self.evidence.expected:
            wheel = self.evidence.expected[path][0][0]
            return rules.CHANGED_FILE, f"{wheel.name} {wheel.version}", path, "it differs from what the wheel has"
        if compared := self.attribution.bytecode.get((file.layer, path)):
            return self._bytecode(file, compared)
        return self._code(file, path)

    def _bytecode(self, file: File, compared: Bytecode) -> _Group | None:
        """Return the rule that a bytecode file without an origin breaks: its own, or that of its source."""
        source = compared.source
        if compared.state is State.WITHOUT_SOURCE or not source:
            return rules.OTHER_BYTECODE, "bytecode", file.path, "the image has no source of it"
        if compared.state in {State.DIFFERENT, State.STALE}:
            why = f"it is {compared.state}: not what {source.path} compiles to"
            return rules.OTHER_BYTECODE, "bytecode", file.path, why
        return None if (source.layer, source.path) in self.claims else self._code(file, source.path)

    def _code(self, file: File, path: str) -> _Group | None:
        """Return the rule that code at a path breaks."""
        if site := self.evidence.site_of(path):
            top = "/".join([site, *path.removeprefix(f"{site}/").split("/")[:1]])
            return rules.ADDED_FILE, "file", top, "no locked wheel and no installer has it"
        is_command = COMMANDS.fullmatch(path) or posixpath.dirname(path) in self.path
        if _TOOL_PROGRAMS.fullmatch(path) and is_command:
            return rules.BUILD_TOOL, posixpath.basename(path), path, "a tool for builds"
        if is_command:
            why = f"a link to {file.target}" if file.target else "no distribution declares it"
            return rules.UNKNOWN_COMMAND, posixpath.basename(path), path, why
        if self.is_code(file):
            folder = posixpath.dirname(path)
            return rules.UNKNOWN_CODE, "code", folder, "neither the lock, the repository nor the base image has it"
        return None

    def is_code(self, file: File) -> bool:
        """Return whether a file can be run or imported, by its name, its permissions or its content."""
        if not file.sha256:
            is_package = f"{resolved(file.path, self.evidence.links)}/__init__.py" in self.evidence.seen
            return bool(file.target and (is_package or _CODE_NAME.fullmatch(file.path) or LIBRARY.search(file.path)))
        if _BYTECODE_HEAD.match(file.head):
            return True
        if _CODE_NAME.fullmatch(file.path) or _LOADER.fullmatch(file.path):
            return True
        is_program = bool(file.mode & 0o111) and file.head.startswith(_CODE_HEADS)
        return is_program or file.head.startswith(_CODE_HEADS[1:]) or self._packs_code(file)

    def _packs_code(self, file: File) -> bool:
        """Return whether a file is an archive that has code, or one that is too large to find out."""
        if not archives.looks_packed(file.head):
            return False
        content = io.BytesIO(self.evidence.subject.content(file))
        try:
            members = archives.members(content, file.size, archives.Budget.of(file.size))
            return any(_CODE_NAME.fullmatch(f"/{name}") or _is_nested(name) for name, _, _ in members)
        except archives.TooMuchError:
            return True

    def commands(self) -> Iterator[Finding]:
        """Yield a finding for each command of the image that names a distribution for development."""
        for instruction, words in configuration.commands(self.image).items():
            text = " ".join(words or ())
            for name in sorted(
                {normalized(word) for word in re.findall(r"[\w.-]+", text)} & set(self.evidence.locked.dev)
            ):
                why = f"{instruction} names it, and {self.evidence.locked.file} has it for development only"
                yield Finding(
                    rules.DEV_PROCESS, name, "configuration", credentials.masked(f"{instruction} {text}"), why
                )

    def loaded(self) -> Iterator[Finding]:
        """Yield a finding for each command of the image that downloads, installs or decodes code when it runs."""
        for instruction, words in configuration.commands(self.image).items():
            text = " ".join(words or ())
            if match := _LOADS.search(text):
                why = f"{instruction} loads code that is in no layer: {credentials.masked(match[0])}"
                shown = credentials.masked(f"{instruction} {text}")
                yield Finding(rules.UNKNOWN_CODE, "code of a command", "configuration", shown, why)

    def named(self) -> Iterator[Finding]:
        """Yield a finding for each unexplained file that the configuration has a container run or read at its start."""
        found: dict[str, str] = {}
        texts = {name: " ".join(words or ()) for name, words in configuration.commands(self.image).items()}
        texts |= {name: value for name, value in self.variables.items() if _RUN_BY_VARIABLE.fullmatch(name)}
        folder = str(self.image.config.get("WorkingDir") or "/")
        for instruction, text in texts.items():
            for word in re.findall(r"[^\s:=,;|&<>()\"'`]+", text):
                found.setdefault(
                    resolved(posixpath.normpath(posixpath.join("/", folder, word)), self.evidence.links), instruction
                )
        for path, instruction in found.items():
            file = self.evidence.seen.get(path)
            key = (file.layer, path) if file else (0, "")
            is_open = file and self.origins[key].kind is Kind.UNEXPLAINED and key not in self.claims
            if file and is_open and not self.unexplained(file):
                why = f"{instruction} names it, and neither the lock, the repository nor the base image has it"
                yield self.finding((rules.UNKNOWN_CODE, "file", path, why), file.layer)

    def hidden(self) -> Iterator[Finding]:
        """Yield a finding for each entry that builders of images do not write, and that Engines unpack differently."""
        entries: dict[str, list[File]] = {}
        for file in self.image.files:
            entries.setdefault(file.path, []).append(file)
        for file in self.image.stored:
            if file.layer < self.evidence.subject.base_layers:
                continue
            folder, _, name = file.path.rpartition("/")
            if is_whiteout(file):
                removed = entries.get(f"{folder}/{name.removeprefix(WHITEOUT)}", ())
                if file.size or file.target:
                    yield self.finding((rules.EXTRA_DATA, "entry", file.path, "a deletion has content"), file.layer)
                elif any(one.layer == file.layer and not one.directory for one in removed):
                    why = "its layer has what it deletes"
                    yield self.finding((rules.EXTRA_DATA, "entry", file.path, why), file.layer)
            elif link := self._link_above(folder, file.layer, entries):
                why = f"it is written through the link {link}"
                yield self.finding((rules.EXTRA_DATA, "entry", file.path, why), file.layer)

    def _link_above(self, folder: str, layer: int, entries: Mapping[str, list[File]]) -> str:
        """Return the folder of an entry that is a link in its layer and the layers below, or an empty string."""
        while folder:
            if folder in self.evidence.links:
                below = [one for one in entries[folder] if one.layer <= layer]
                if below and below[-1].target and not below[-1].sha256:
                    return folder
            folder = folder.rpartition("/")[0]
        return ""

    def secrets(self) -> Iterator[Finding]:
        """Yield the secrets in the image's configuration and history, and in the project's files."""
        yield from configuration.secrets(self.image)
        for file, origin in self.attribution.files:
            if origin.kind not in {Kind.REPOSITORY, Kind.UNEXPLAINED} or not 0 < file.size <= _SEARCHED_BYTES:
                continue
            if (file.layer, file.path) in self.claims:
                continue
            content = self.evidence.subject.content(file) if file.sha256 else b""
            if b"\0" in content[:1024] or not any(marker in content for marker in credentials.MARKERS):
                continue
            for kind in credentials.formatted(content):
                yield self.finding(
                    (rules.SECRET, kind, file.path, "everyone who has the image can read it"), file.layer
                )
