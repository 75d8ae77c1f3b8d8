"""Find the files of Debian packages in an image by dpkg's own records, which are the image's word and no proof."""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from prodlock.image.records import File
from prodlock.origins.records import Package, Subject

_DPKG = "/var/lib/dpkg/"
# The records of a package: its files, and their MD5 sums. Those of images without dpkg are in status.d.
_INFO = re.compile(r"/var/lib/dpkg/(?:info|status\.d)/(?P<package>[^/]+)\.(?P<kind>list|md5sums)")
_STATUS = re.compile(r"/var/lib/dpkg/(?:status|status\.d/[^/]+(?<!\.md5sums)(?<!\.list))")
# Where Debian's packages install: no code of Python's other than of Debian's own interpreter, and nothing that a
# system's owner installs (https://www.debian.org/doc/debian-policy/ch-opersys.html).
PLACES = re.compile(
    r"(?s)/(?:bin|boot|lib\w*|sbin|usr(?!/local)|var)/(?!.*/python3\.\d+t?/(?:site|dist)-packages/).*"
    r"|/etc/(?!ld\.so\.preload$).*|/opt/(?!.*/(?:lib(?:64)?/python3|s?bin/(?:python|pip|activate))).*"
)
# What a package's script does not write, though its folder is one of `_WRITTEN`.
_CODE = re.compile(r"(?s).*\.(?:pyc?|pth|so(?:\.[\d.]+)?|sh|bash|jar|zip)")
_CODE_HEADS = (b"#!", b"\x7fELF", b"PK\x03\x04")
_TARGETS = re.compile(r"(?s)/(?:bin|etc|lib\w*|sbin|usr(?!/local)|var)/.*")
# Folders that are links into /usr (https://wiki.debian.org/UsrMerge).
_MERGED = re.compile(r"/(?=(?:bin|sbin|lib|lib32|lib64|libx32)/)")
# What dpkg and apt write, and what packages' scripts write in nearly every installation, with the package.
_WRITERS = (
    (r"/var/lib/dpkg/(?:alternatives/.+|arch(?:-native)?|available(?:-old)?|cmethopt|diversions(?:-old)?"
     r"|lock(?:-frontend)?|statoverride(?:-old)?|status(?:-old)?|triggers/.+)", "dpkg"),
    (r"/var/log/(?:dpkg|alternatives)\.log|/etc/alternatives/.+", "dpkg"),
    (r"/var/log/apt/(?:history\.log|term\.log|eipp\.log\.xz)|/var/lib/apt/extended_states|"
     r"/var/(?:lib/apt/lists|cache/apt/archives)/lock", "apt"),
    (r"/etc/ld\.so\.cache|/var/cache/ldconfig/aux-cache", "libc-bin"),
    (r"/etc/ssl/certs/(?:ca-certificates\.crt|[0-9a-f]{8}\.\d+|[^/]+\.pem)|/etc/ca-certificates\.conf"
     r"|/etc/ssl/certs/java/cacerts", "ca-certificates"),
    (r"/var/cache/debconf/.+", "debconf"),
    (r"/var/cache/fontconfig/.+|/var/log/fontconfig\.log", "fontconfig"),
    (r"/etc/fonts/conf\.d/[^/]+\.conf", "fontconfig-config"),
    (r"/etc/inputrc", "readline-common"),
    (r"/usr/lib/locale/(?:locale-archive|[\w.@-]+/(?:LC_MESSAGES/)?(?:SYS_)?LC_[A-Z]+)|/etc/locale\.(?:conf|gen)"
     r"|/etc/default/locale", "locales"),
    (r"/etc/(?:timezone|localtime)", "tzdata"),
    (r"/etc/networks", "netbase"),
    (r"/etc/python3/debian_config|/var/lib/python/python3\.\d+_installed", "python3-minimal"),
    (r"/usr/share/mime/.+", "shared-mime-info"),
    (r"/usr/lib/[^/]+/gconv/gconv-modules\.cache", "libc6"),
    (r"/var/lib/systemd/deb-systemd-(?:user-)?helper-(?:enabled|masked)/.+|/etc/systemd/system/.+\.wants/.+",
     "init-system-helpers"),
)  # fmt: skip
_WRITTEN = re.compile("|".join(f"({pattern})" for pattern, _ in _WRITERS))
# The records of a package in an image without dpkg, where they are files of their own.
_SEPARATE = re.compile(r"/var/lib/dpkg/status\.d/([^/]+?)(?:\.md5sums|\.list)?")
# dpkg's records of a package.
_RECORD = re.compile(
    r"/var/lib/dpkg/info/([^/]+)\.(?:conffiles|config|list|md5sums|p(?:ost|re)(?:inst|rm)|shlibs|symbols|templates"
    r"|triggers)"
)


@dataclass
class _Records:
    """What dpkg's records state as of one layer."""

    # By the package's name, with its architecture where dpkg adds it.
    lists: dict[str, frozenset[str]] = field(default_factory=dict)
    sums: dict[str, dict[str, str]] = field(default_factory=dict)
    versions: dict[str, Package] = field(default_factory=dict)
    # The MD5 sums of configuration files, which are in the status file.
    settings: dict[str, str] = field(default_factory=dict)

    def add(self, path: str, text: str) -> None:
        """Add what one of dpkg's files states."""
        match = _INFO.fullmatch(path)
        if match and match["kind"] == "list":
            self.lists[match["package"]] = frozenset(map(_merged, text.splitlines()))
        elif match:
            rows = (line.partition(" ") for line in text.splitlines())
            self.sums[match["package"]] = {_merged(f"/{name.strip()}"): digest for digest, _, name in rows}
        else:
            for paragraph in text.split("\n\n"):
                self._add_status(dict(_fields(paragraph)))

    def _add_status(self, fields: Mapping[str, str]) -> None:
        """Add a package of the status file (deb-control(5)), unless it has been removed."""
        name, state = fields.get("Package", ""), fields.get("Status", "")
        # Without dpkg there is no state.
        if not name or state.endswith((" not-installed", " config-files")):
            return
        package = Package(name, fields.get("Version", ""))
        self.versions |= {name: package, f"{name}:{fields.get('Architecture', '')}": package}
        for line in fields.get("Conffiles", "").splitlines():
            path, _, rest = line.strip().partition(" ")
            self.settings[_merged(path)] = rest.partition(" ")[0]

    def owners(self) -> Mapping[str, str]:
        """Return the package of each path."""
        found = {path: package for package, paths in self.lists.items() for path in paths}
        return found | {path: package for package, sums in self.sums.items() for path in sums}

    def package(self, name: str) -> Package:
        """Return a package by the name of its records."""
        plain = name.partition(":")[0]
        return self.versions.get(name) or self.versions.get(plain) or Package(plain, "")


def files(subject: Subject) -> Mapping[tuple[int, str], Package]:
    """Return the package of each file and link above the base image that dpkg's records name, by layer and path.

    The records are those of the file's layer or the nearest one below. A file that is not what its MD5 sum states is
    left out; so is one without an MD5 sum, of a package that has sums. What dpkg, apt and the packages' scripts write
    counts as the package's that the script belongs to.
    """
    found: dict[tuple[int, str], Package] = {}
    records = _Records()
    owners: Mapping[str, str] = {}
    layers: dict[int, list[File]] = {}
    for file in subject.image.stored:
        layers.setdefault(file.layer, []).append(file)
    for layer, entries in sorted(layers.items()):
        if recorded := [file for file in entries if _is_record(file)]:
            for file in recorded:
                records.add(file.path, subject.content(file).decode(errors="surrogateescape"))
            owners = records.owners()
        if layer < subject.base_layers or not records.versions:
            continue
        for file in entries:
            if package := _package(file, subject, records, owners):
                found[layer, file.path] = package
    return found


def _is_record(file: File) -> bool:
    return bool(
        file.sha256 and file.path.startswith(_DPKG) and (_INFO.fullmatch(file.path) or _STATUS.fullmatch(file.path))
    )


def _fields(paragraph: str) -> Iterator[tuple[str, str]]:
    """Yield name and value of each field of a paragraph."""
    for match in re.finditer(r"^([!-9;-~]+):[ \t]*(.*(?:\n[ \t].*)*)", paragraph, re.MULTILINE):
        yield match[1], match[2]


def _package(file: File, subject: Subject, records: _Records, owners: Mapping[str, str]) -> Package | None:
    """Return the package of a file, or None."""
    if record := _RECORD.fullmatch(file.path):
        return records.package(record[1]) if record[1] in records.lists else None
    if record := _SEPARATE.fullmatch(file.path):
        return records.versions.get(record[1]) if _may_be_written(file) else None
    path = _merged(file.path)
    owner = owners.get(path)
    if owner is None:
        match = _WRITTEN.fullmatch(file.path)
        # Each writer has a group.
        written = _WRITERS[match.lastindex - 1][1] if match and match.lastindex else ""
        return records.versions.get(written) if written and _may_be_written(file) else None
    if not file.sha256:
        return records.package(owner) if file.target else None
    expected = records.sums.get(owner, {}).get(path) or records.settings.get(path)
    if expected is None:
        return None if owner in records.sums else records.package(owner)
    # No safeguard: dpkg has no better sum.
    found = hashlib.md5(subject.content(file), usedforsecurity=False).hexdigest()
    return records.package(owner) if found == expected else None


def _may_be_written(file: File) -> bool:
    """Return whether a file is data, and a link leads to where packages install."""
    if file.target:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(file.path), file.target))
        return _TARGETS.fullmatch(target) is not None
    return not (_CODE.fullmatch(file.path) or file.head.startswith(_CODE_HEADS))


def _merged(path: str) -> str:
    """Return the path of a file in a system whose folders such as /lib are links into /usr."""
    return posixpath.normpath(_MERGED.sub("/usr/", path, count=1) if _MERGED.match(path) else path)
