"""Recognize what installers write beside the files of a wheel: scripts, records, virtual environments."""

from __future__ import annotations

import ast
import base64
import configparser
import hashlib
import json
import posixpath
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from prodlock.origins.environments import prefix
from prodlock.origins.records import Installed, Member, Python, Wheel

PYTHON_NAME = re.compile(r"(?:python|pypy)[\d.]*")
_PYTHON_NAME = PYTHON_NAME.pattern.encode()
# Options of the interpreter that run no code.
_OPTIONS = rb"(?:[ \t]+-[BEIOPRSbdqsuv]+)?"
# What a shell takes for a text: without quotes, and between quotes.
_PLAIN, _BETWEEN = rb"[\w\x80-\xff./@+:,-]*", rb"[\w\x80-\xff ./@+:,()-]*"
# The first line of a script; where the path is too long for one, a shell starts the interpreter (distlib, uv).
_SHEBANG = re.compile(
    rb"#![ \t]*(?:/usr/bin/env[ \t]+|/(?:\S*/)?)" + _PYTHON_NAME + _OPTIONS + rb"[ \t]*\r?\n"
    rb"|#!/bin/sh\r?\n'''exec' (?:/(?:%(plain)s/)?%(name)s|\"/(?:%(between)s/)?%(name)s\"|'/(?:%(between)s/)?%(name)s'"
    rb"|\"\$\(dirname -- \"\$\(realpath -- \"\$0\"\)\"\)\"/'?%(name)s'?)%(options)s"
    rb" \"\$0\" \"\$@\"\r?\n' '''\r?\n"
    % {b"plain": _PLAIN, b"between": _BETWEEN, b"name": _PYTHON_NAME, b"options": _OPTIONS}
)
# The scripts that installers write for an entry point, with the module, what is imported of it, and the function
# (https://packaging.python.org/en/latest/specifications/entry-points/). They are compared as syntax trees.
_SCRIPTS = (
    # uv
    """
import sys
from {module} import {name}
if __name__ == "__main__":
    if sys.argv[0].endswith("-script.pyw"):
        sys.argv[0] = sys.argv[0][:-11]
    elif sys.argv[0].endswith(".exe"):
        sys.argv[0] = sys.argv[0][:-4]
    sys.exit({function}())
""",
    # pip since 25.1
    """
import sys
from {module} import {name}
if __name__ == "__main__":
    if sys.argv[0].endswith(".exe"):
        sys.argv[0] = sys.argv[0][:-4]
    sys.exit({function}())
""",
    """
import sys
from {module} import {name}
if __name__ == "__main__":
    sys.argv[0] = sys.argv[0].removesuffix(".exe")
    sys.exit({function}())
""",
    # pip before, and Poetry
    """
import re
import sys
from {module} import {name}
if __name__ == "__main__":
    sys.argv[0] = re.sub(r"(-script\\.pyw|\\.exe)?$", "", sys.argv[0])
    sys.exit({function}())
""",
    # Poetry, for the project's own commands
    """
import sys
from {module} import {name}
if __name__ == "__main__":
    sys.exit({function}())
""",
)
# What an installer writes into the metadata of a distribution, and the form of its content.
_WRITTEN = {
    "INSTALLER": re.compile(rb"[A-Za-z][A-Za-z-]*(?: \d[\w.]*)?\n?"),
    "REQUESTED": re.compile(rb""),
}
# What the build backends of Python write into the metadata of a distribution.
_METADATA = re.compile(
    r"METADATA|PKG-INFO|WHEEL|RECORD|(?:dependency_links|entry_points|namespace_packages|requires|SOURCES|top_level)\.txt"
    r"|(?:not-)?zip-safe|(?:AUTHORS|COPYING|LICEN[CS]ES?|NOTICE)(?:[.-](?:md|rst|txt|[A-Z0-9.-]+))?"
)
_CONFIGURATION = {
    "base-executable", "base-exec-prefix", "base-prefix", "command", "executable", "extends-environment", "home",
    "implementation", "include-system-site-packages", "prompt", "python-version", "relocatable", "uv", "version",
    "version_info", "virtualenv",
}  # fmt: skip
_ACTIVATION = re.compile(r"(?:[Aa]ctivate(?:_this)?|deactivate|pydoc)(?:\.(?:bat|csh|fish|nu|ps1|py|sh|xsh))?")
_QUOTED = re.compile(rb"([\"'])[\w .()/@+-]*\1")
_MINOR = re.compile(rb"python3\.\d+")
_PROMPT = re.compile(rb"(?<=VIRTUAL_ENV_PROMPT=)[\w./@+-]*(?=[\s\"']|$)")
# How the activation scripts of `uv venv --relocatable` find their environment, and what other ones have there.
_RELOCATABLE = (
    (b"""''"$(dirname -- "$(dirname -- "$(realpath -- "$SCRIPT_PATH")")")"''""", b"''"),
    (b"""''"$(dirname -- "$(CDPATH= cd -- "$(dirname -- "$SCRIPT_PATH")" > /dev/null && echo "$PWD")")"''""", b"''"),
    (b"""''(dirname -- (dirname -- (realpath -- (status -f))))''""", b"''"),
    (b"""''"$(dirname -- "$(cd "$(dirname -- "$(status -f)")"; and pwd)")"''""", b"''"),
    (b"virtual_env = (path self | path dirname | path dirname)", b"virtual_env = ''"),
    (b'@for %%i in ("%~dp0..") do', b'@for %%i in ("") do'),
    (b'if [ "true" = "true" ]; then', b'if [ "false" = "true" ]; then'),
)
# Where an activation script has the path of the environment that it was made in, which may be moved since.
_STATED = re.compile(
    rb"(?m)^[ \t]*(?:(?:const|let|set|setenv|set -gx)[ \t]+)?(?:\$?VIRTUAL_ENV|virtual_env|_virtualenv_dir)"
    rb"(?:[ \t]*=)?[ \t]*(?:r#)?[\"']?(/[\w./@+-]+)|_fs_path\('(/[\w./@+-]+)'|^@for %%i in \(\"(/[\w./@+-]+)\"\)"
)
# A variable of the environment of a process that activate_this.py may not set.
_VARIABLE = re.compile(rb"environ\[[\"'](?!VIRTUAL_ENV)")
# The module by which setuptools makes packages editable that a folder alone does not: what differs in it, and the
# .pth file that installs it.
_FINDER_FOLDERS = re.compile(rb"(?m)^((?:MAPPING|NAMESPACES)(?:: dict\[str, (?:str|list\[str\])\])?) = (\{.*\})$")
_FINDER_NAME = re.compile(rb"(?m)^(PATH_PLACEHOLDER = )'[\w.+-]*'")
_INSTALLS_FINDER = re.compile(rb"import (__editable___\w+_finder); \1\.install\(\)\n?")
# The newest versions of which SKELETONS has the scripts.
_NEWEST = {b"uv": (0, 13), b"virtualenv": (21, 15)}
# What uv, virtualenv and setuptools write into an environment.
SKELETONS = frozenset(
    line.partition(" ")[0]
    for line in Path(__file__).with_name("skeletons.txt").read_text(encoding="ascii").splitlines()
    if not line.startswith("#")
)


def declared(text: str) -> Iterator[tuple[str, str]]:
    """Yield name and reference of each command in an entry_points.txt. Raises configparser.Error.

    https://packaging.python.org/en/latest/specifications/entry-points/
    """
    parser = configparser.ConfigParser(delimiters=("=",), interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(text)
    for group in ("console_scripts", "gui_scripts"):
        for name, reference in parser.items(group) if parser.has_section(group) else ():
            module, _, function = reference.partition("[")[0].partition(":")
            yield name, f"{module.strip()}:{function.strip()}"


def places(wheel: Wheel, site: str, python: Python) -> Iterator[tuple[str, Member, bool]]:
    """Yield the paths that a member of a wheel may be installed at, with the member, and whether it is a script.

    https://packaging.python.org/en/latest/specifications/binary-distribution-format/
    """
    base = prefix(site)
    minor = f"python{python.minor}"
    tops = (name.partition("/")[0] for name in wheel.members if ".data/" in name)
    data = next((top for top in tops if top.endswith(".data")), "")
    # Installers take the name from the lock, a requirement, the metadata or the wheel's file.
    written = (*(wheel.name.replace("-", sign) for sign in "-_."), wheel.file.partition("-")[0], data.partition("-")[0])
    names = dict.fromkeys(filter(None, written))
    # `uv pip install --target` has no folder of a version.
    folders_of_headers = (f"/{minor}", f"/site/{minor}", "/python", "")
    headers = [f"{base}/include{folder}/{name}" for folder in folders_of_headers for name in names]
    folders = {"purelib": [site], "platlib": [site], "data": [base], "headers": headers, "scripts": [f"{base}/bin"]}
    for name, member in wheel.members.items():
        first, _, rest = name.partition("/")
        if not data or first != data:
            yield f"{site}/{name}", member, False
            continue
        scheme, _, inner = rest.partition("/")
        for folder in folders.get(scheme, ()):
            yield f"{folder}/{inner}", member, scheme == "scripts"


def body(script: bytes) -> bytes | None:
    """Return what follows the line of a script that names the interpreter, or None where there is no such line."""
    match = _SHEBANG.match(script)
    return script[match.end() :] if match else None


def is_script_of(script: bytes, member: Member) -> bool:
    """Return whether a file is a wheel's script, whose first line the installer has replaced."""
    rest = body(script)
    return rest is not None and bool(member.body) and hashlib.sha256(rest).hexdigest() == member.body


def starts(script: bytes, entry: str) -> bool:
    """Return whether a script is what an installer writes for an entry point `MODULE:FUNCTION`."""
    match = _SHEBANG.match(script)
    module, _, function = entry.partition("[")[0].strip().partition(":")
    if not match or not function:
        return False
    # As many lines as in the script: one of the first two may declare the encoding, and a later one may not.
    rest = b"#\n" * match[0].count(b"\n") + script[match.end() :]
    values = {"module": module.strip(), "name": function.strip().partition(".")[0], "function": function.strip()}
    try:
        found = ast.dump(ast.parse(rest))
        return any(found == ast.dump(ast.parse(text.format_map(values))) for text in _SCRIPTS)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False


def is_written(name: str, content: bytes, one: Installed) -> bool:
    """Return whether a file in a distribution's metadata is one that its installer writes."""
    if name in {"uv_cache.json", "uv_build.json"} or (name == "direct_url.json" and one.address):
        try:
            return isinstance(json.loads(content), dict)
        except (ValueError, RecursionError):
            return False
    form = _WRITTEN.get(name)
    return form is not None and form.fullmatch(content) is not None


def is_metadata(name: str, content: bytes) -> bool:
    """Return whether a file in a distribution's metadata is a text that build backends write, by its name."""
    return _METADATA.fullmatch(name) is not None and b"\0" not in content and not content.startswith((b"#!", b"PK\3\4"))


def is_record_of(
    record: Mapping[str, str], wheel: Wheel, allowed: Iterable[str], has: Callable[[str, str], bool]
) -> bool:
    """Return whether each row of a RECORD is a file of the wheel, or a file that the image has with this hash.

    `allowed` has the paths of the wheel's files; `has` returns whether the image has a file of a hash at a path.
    """
    members = set(allowed)
    digests = {encoded(member.sha256) for member in wheel.members.values()}
    for path, digest in record.items():
        if digest and digest not in digests and not has(path, digest):
            return False
        if not digest and path not in members and not path.endswith((".pyc", "/RECORD", "/REQUESTED", "/INSTALLER")):
            return False
    return True


def encoded(digest: str) -> str:
    """Return a sha256 as a RECORD has it."""
    return "sha256=" + base64.urlsafe_b64encode(bytes.fromhex(digest)).rstrip(b"=").decode()


def is_configuration(content: bytes) -> bool:
    """Return whether a file is the pyvenv.cfg of a virtual environment (PEP 405), with known settings alone."""
    try:
        lines = [line for line in content.decode().splitlines() if line.strip()]
    except UnicodeDecodeError:
        return False
    return all(line.partition("=")[0].strip() in _CONFIGURATION and "=" in line for line in lines)


def is_activation(name: str) -> bool:
    """Return whether a file in `bin` has the name of a script that activates a virtual environment."""
    return _ACTIVATION.fullmatch(name) is not None


def activation_form(template: bytes) -> re.Pattern[bytes]:
    """Return the form of an activation script, from the template in the standard library's module venv."""
    lines = template.replace(b"\r\n", b"\n").split(b"\n")
    return re.compile(b"\\n".join(map(_form_of_line, lines)))


def _form_of_line(line: bytes) -> bytes:
    """Return the form of a line, in whose placeholders a text may be that no shell takes for code."""
    form, before = b"", b""
    for part in re.split(rb"(__VENV_\w+?__)", line):
        if not part.startswith(b"__VENV_"):
            form += re.escape(part)
            before += part
        elif before.count(b'"') % 2 or before.count(b"'") % 2:
            form += _BETWEEN
        else:
            form += rb"(?:%b|'%b')" % (_PLAIN, _BETWEEN)
    return form


def skeleton_digest(content: bytes, environment: str, prompts: Iterable[str] = ()) -> str:
    """Return the sha256 of a file of a virtual environment, without what differs between environments.

    That is the environment's path, also the one that it was moved from, its prompt, which is one of `prompts` or the
    name of its folder, and the version of Python. A path or a prompt that a shell could take for code is not left out.
    """
    path = environment.encode(errors="surrogateescape")
    plain = content.replace(path, b"") if re.fullmatch(_PLAIN, path) else content
    if stated := _STATED.search(plain):
        before = next(filter(None, stated.groups()))
        plain = re.sub(rb"(?<![\w.@+/-])" + re.escape(before) + rb"(?![\w.@+/-])", b"", plain)
        prompts = [*prompts, posixpath.basename(before).decode()]
    plain = _MINOR.sub(b"python3", plain)
    for relocatable, other in _RELOCATABLE:
        plain = plain.replace(relocatable, other)
    for prompt in (one.encode(errors="surrogateescape") for one in prompts):
        if re.fullmatch(_BETWEEN, prompt):
            plain = re.sub(rb"([\"'])(x?)" + re.escape(prompt) + rb"\1", rb"\1\2\1", plain)
        if re.fullmatch(_PLAIN, prompt):
            plain = re.sub(rb"(?m)(\"x\"|VIRTUAL_ENV_PROMPT=)" + re.escape(prompt) + rb"(?= |$)", rb"\1''", plain)
    lines = (
        _PROMPT.sub(b"", _QUOTED.sub(rb"\1\1", line))
        if b"prompt" in line.lower() and not _VARIABLE.search(line)
        else line
        for line in plain.split(b"\n")
    )
    return hashlib.sha256(b"\n".join(lines)).hexdigest()


def finder_of(path_file: bytes) -> str:
    """Return the name of the module of setuptools that a .pth file installs, and does nothing else, or nothing."""
    match = _INSTALLS_FINDER.fullmatch(path_file)
    return match[1].decode() if match else ""


def editable_folders(finder: bytes) -> list[str]:
    """Return the folders that a module of setuptools imports editable packages from; none for any other module."""
    plain = _FINDER_NAME.sub(rb"\1''", _FINDER_FOLDERS.sub(rb"\1 = {}", finder))
    if hashlib.sha256(plain).hexdigest() not in SKELETONS:
        return []
    try:
        mappings = [ast.literal_eval(literal.decode()) for _, literal in _FINDER_FOLDERS.findall(finder)]
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        return []
    values = [value for mapping in mappings if isinstance(mapping, dict) for value in mapping.values()]
    return [str(one) for value in values for one in (value if isinstance(value, list) else [value])]


def is_newer(configuration: bytes) -> bool:
    """Return whether a pyvenv.cfg states a version of uv or virtualenv whose scripts are not among SKELETONS yet."""
    found = re.findall(rb"(?m)^(uv|virtualenv)\s*=\s*(\d{1,9})\.(\d{1,9})", configuration)
    return any((int(major), int(minor)) > _NEWEST[name] for name, major, minor in found)


def prompt_of(configuration: bytes) -> str:
    """Return the prompt that a pyvenv.cfg states, or an empty string."""
    found = re.search(rb"(?m)^prompt\s*=\s*[\"']?(.*?)[\"']?\s*$", configuration)
    return found[1].decode(errors="surrogateescape") if found else ""
