"""Judge files without an origin: changed files of distributions, bytecode, commands, and other code."""

from __future__ import annotations

import io
import posixpath
import re
from collections.abc import Mapping
from functools import cached_property

from prodlock.image import archives
from prodlock.image.records import File, resolved
from prodlock.origins.attribution import COMMANDS, Key
from prodlock.origins.environments import LIBRARY, SITE, prefix
from prodlock.origins.judges.case import Case, Verdict
from prodlock.origins.records import Bytecode, Kind, State
from prodlock.proof import rules

_TOOL_PROGRAMS = re.compile(r"(?s).*/(?:uv|uvx|pdm|poetry|pipenv|hatch|pip[\d.]*)")
_CODE_NAME = re.compile(
    r"(?s).*\.(?:py[cdowx]?|_?pth|pyz|zip|so(?:\.[\d.]+)?|egg|whl|(?:ba|c|k|z)?sh|fish|[cm]?js|p[lm]|php|rb|lua|jar|exe|dll)"
)
# What a shell reads when it starts (bash(1), zsh(1)), and what cron and init run (crontab(5), systemd.unit(5)).
_RUN_BY_PLACE = re.compile(
    r"(?s).*/\.(?:bash(?:rc|_profile|_login|_logout|_aliases)|profile|z(?:shrc|shenv|profile|login)|kshrc|t?cshrc|login)"
    r"|/etc/(?:profile|bash\.?bashrc|zsh/.*|cron(?:tab|tabs/.*|\..+/.*)|anacrontab|inittab|rc\.local|(?:init|rc[S\d])\.d/.*)"
    r"|/var/spool/cron/.*|(?:/etc|(?:/usr)?/lib|/usr/local/lib)/systemd/(?:system|user)/.*"
)
# What decides which libraries a program loads (ld.so(8)), and which one Python does (PEP 405).
_LOADER = re.compile(r"(?s)/etc/ld\.so\.(?:preload|conf(?:\.d/.*)?)|/etc/ld-musl-[^/]+\.path|.*/pyvenv\.cfg")
_CODE_HEADS = (b"#!", b"\x7fELF", b"\xca\xfe\xba\xbe", b"\0asm")
# The magic number of bytecode, which Python runs under any name (importlib/_bootstrap_external.py).
_BYTECODE_HEAD = re.compile(rb"[\0-\xff][\x0c-\x0f]\r\n")
# How large a file may be that is searched for a zip behind other content.
_SEARCHED_BYTES = 64 << 20


class Code:
    """Judges files that nothing accounts for."""

    def __init__(self, case: Case, claims: set[Key]) -> None:
        self.case, self.evidence = case, case.evidence
        # The files that a finding about a distribution stands for.
        self.claims = claims

    @cached_property
    def _path(self) -> frozenset[str]:
        return frozenset(map(posixpath.normpath, self.case.variables.get("PATH", "").split(":")))

    @cached_property
    def _shared(self) -> frozenset[str]:
        """The folders that distributions and the project's sources are in together, as in images for AWS Lambda."""
        sites = [one for one in self.evidence.sites if not SITE.fullmatch(one)]
        own = [file.path for file, origin in self.case.attribution.files if origin.kind is Kind.REPOSITORY]
        return frozenset(site for site in sites if any(path.startswith(f"{site}/") for path in own))

    @cached_property
    def _tops(self) -> frozenset[str]:
        """The packages, modules and metadata of the locked wheels."""
        return frozenset(map(self.evidence.top_of, self.evidence.expected))

    @cached_property
    def _declared(self) -> Mapping[str, str]:
        """The distributions that declare commands, by the paths of these."""
        return {
            f"{prefix(one.site)}/bin/{name}": f"{one.name} {one.version}"
            for one in self.evidence.installed
            if (wheel := self.evidence.wheels.get((one.layer, one.info)))
            for name in wheel.commands
        }

    @cached_property
    def _own(self) -> frozenset[str]:
        """The files that the project's own distributions list."""
        own = (one.record for one in self.evidence.installed if one.name in self.evidence.own)
        return frozenset(path for record in own for path in record)

    def _is_data_beside(self, file: File, top: str) -> bool:
        """Return whether a file is the project's data, in a folder of its sources that has distributions as well."""
        is_shared = self.evidence.site_of(file.path) in self._shared
        return is_shared and top not in self._tops and not self._is_code(file)

    def judge(self, file: File) -> Verdict | None:
        """Return the rule that a file without an origin breaks, for code of any kind."""
        path = file.path
        if path in self.evidence.expected:
            wheel = self.evidence.expected[path][0][0]
            return rules.CHANGED_FILE, f"{wheel.name} {wheel.version}", path, "it differs from what the wheel has"
        if compared := self.case.attribution.bytecode.get((file.layer, path)):
            return self._bytecode(file, compared)
        return self._code(file, path)

    def _bytecode(self, file: File, compared: Bytecode) -> Verdict | None:
        """Return the rule that a bytecode file without an origin breaks: its own, or that of its source."""
        source = compared.source
        if compared.state is State.WITHOUT_SOURCE or not source:
            return rules.OTHER_BYTECODE, "bytecode", file.path, "the image has no source of it"
        if compared.state in {State.DIFFERENT, State.STALE}:
            why = f"it is {compared.state}: not what {source.path} compiles to"
            return rules.OTHER_BYTECODE, "bytecode", file.path, why
        return None if (source.layer, source.path) in self.claims else self._code(file, source.path)

    def _code(self, file: File, path: str) -> Verdict | None:
        """Return the rule that code at a path breaks."""
        if (top := self.evidence.top_of(path)) and not self._is_data_beside(file, top):
            why = "no locked wheel and no installer has it"
            if path in self._own:
                why = "the project's own distribution lists it, and the repository has no file with this content"
            return rules.ADDED_FILE, "file", top, why
        is_command = COMMANDS.fullmatch(path) or posixpath.dirname(path) in self._path
        if _TOOL_PROGRAMS.fullmatch(path) and is_command:
            return rules.BUILD_TOOL, posixpath.basename(path), path, "a tool for builds"
        if is_command:
            why = "no distribution declares it"
            if file.target:
                why = f"a link to {file.target}"
            elif owner := self._declared.get(path):
                why = f"{owner} declares it, and no installer writes this content"
            return rules.UNKNOWN_COMMAND, posixpath.basename(path), path, why
        if self._is_code(file):
            folder = posixpath.dirname(path)
            return rules.UNKNOWN_CODE, "code", folder, "neither the lock, the repository nor the base image has it"
        return None

    def _is_code(self, file: File) -> bool:
        """Return whether a file can be run or imported, by its name, its permissions or its content."""
        if not file.sha256:
            is_package = f"{resolved(file.path, self.evidence.links)}/__init__.py" in self.evidence.seen
            return bool(file.target and (is_package or _CODE_NAME.fullmatch(file.path) or LIBRARY.search(file.path)))
        if _BYTECODE_HEAD.match(file.head):
            return True
        if any(form.fullmatch(file.path) for form in (_CODE_NAME, _LOADER, _RUN_BY_PLACE)):
            return True
        is_program = bool(file.mode & 0o111) and file.head.startswith(_CODE_HEADS)
        return is_program or file.head.startswith(_CODE_HEADS[1:]) or self._packs_code(file)

    def _packs_code(self, file: File) -> bool:
        """Return whether a file is an archive that has code, or one that is too large to find out."""
        if not archives.looks_packed(file.head) and file.size > _SEARCHED_BYTES:
            return False
        content = io.BytesIO(self.evidence.subject.content(file))
        if not archives.is_archive(content, file.size):
            return False
        try:
            members = archives.members(content, file.size, archives.Budget.of(file.size))
            return any(_CODE_NAME.fullmatch(f"/{name}") or _is_nested(name) for name, _, _ in members)
        except archives.TooMuchError:
            return True


def _is_nested(name: str) -> bool:
    """Return whether a member of an archive is an archive, by its name."""
    return name.endswith((".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst"))
