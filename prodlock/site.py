"""Find this machine's certificate authorities, its package indexes and their logins.

Docker builds have no access to them, so all are build secrets (docker-compose.yml): CA_BUNDLE and NETRC name files,
INDEX_URL is an address and EXTRA_INDEX_URL a list of addresses, which may hold passwords. Nothing of them stays in an
image.
"""

from __future__ import annotations

import configparser
import contextlib
import netrc
import os
import re
import ssl
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from prodlock import integers
from prodlock.failure import Failure
from prodlock.project import Project, is_file

# In a folder with a .gitignore of its own, which needs no line in the project's.
EXPORTED = Path(".prodlock", "ca-bundle.pem")
# The bundles of Debian, Fedora, Alpine and macOS, for a Python whose default is none of them.
_BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")

# The database of known vulnerabilities that `inv audit` asks (https://google.github.io/osv.dev/post-v1-query/).
OSV = "https://api.osv.dev/v1/query"
_ADDRESS = re.compile(r"https?://[!-~]+")
# The end of the year 9999: no date in an image's configuration can be later.
LAST_SECOND = 253402300799


def environment(project: Project) -> dict[str, str]:
    """Return CA_BUNDLE, INDEX_URL, EXTRA_INDEX_URL and NETRC: the user's settings, or else this machine's defaults.

    Raises Failure where one of them is not valid, or SOURCE_DATE_EPOCH, which Docker reads in every build.
    """
    epoch(project)
    bundle = project.environment.get("CA_BUNDLE") or ca_bundle(project)
    check_bundle(bundle)
    index = project.environment.get("INDEX_URL") or index_url(project)
    # The address may hold a password: no message repeats it.
    if index and not _ADDRESS.fullmatch(index):
        raise Failure(
            "The package index must be an address that begins with http:// or https://, without spaces (got another). "
            "To fix it: set INDEX_URL, or correct index-url in pip's configuration."
        )
    more = (project.environment.get("EXTRA_INDEX_URL") or extra_index_url(project)).split()
    if not all(map(_is_address, more)):
        raise Failure(
            "Further package indexes must be addresses that begin with http:// or https://, separated by spaces (got "
            "another). To fix it: set EXTRA_INDEX_URL, or correct extra-index-url in pip's configuration."
        )
    logins = project.environment.get("NETRC") or netrc_file()
    if logins:
        check_netrc(logins)
        logins = str(Path(logins).absolute())
    return {
        "CA_BUNDLE": str(Path(bundle).absolute()),
        "INDEX_URL": index,
        "EXTRA_INDEX_URL": " ".join(more),
        "NETRC": logins,
    }


def audit_url(project: Project) -> str:
    """Return the address of the vulnerability service: AUDIT_URL, or else OSV's.

    Raises Failure where it is not an address. It may hold a password: no message repeats it.
    """
    address = project.environment.get("AUDIT_URL") or OSV
    if _is_address(address):
        return address
    raise Failure(
        "AUDIT_URL must be an address that begins with http:// or https://, without spaces (got another). To fix it: "
        "set the address of a service with OSV's interface, such as https://osv.example/v1/query, or unset it."
    )


def _is_address(text: str) -> bool:
    """Return whether a text is an address of the web."""
    with contextlib.suppress(ValueError):
        parts = urlsplit(text)
        return bool(_ADDRESS.fullmatch(text) and parts.hostname and parts.port != 0)
    return False


def secrets(settings: Mapping[str, str]) -> tuple[str, ...]:
    """Return the options of `docker build` for the settings; addresses are named, not repeated."""
    files = {"ca_bundle": settings["CA_BUNDLE"], "netrc": settings["NETRC"]}
    options = [file_secret(name, file) for name, file in files.items() if file]
    return (*options, "--secret=id=index_url,env=INDEX_URL", "--secret=id=extra_index_url,env=EXTRA_INDEX_URL")


def file_secret(name: str, file: str) -> str:
    """Return the option of `docker build` for a secret that a file has: a line of CSV."""
    source = f"src={file}"
    if re.search('[,"]', source):
        source = '"{}"'.format(source.replace('"', '""'))
    return f"--secret=id={name},{source}"


def login(settings: Mapping[str, str], address: str) -> tuple[str, str] | None:
    """Return user and password for an address: those of the index in EXTRA_INDEX_URL on the same host, or None.

    NETRC is not read: the programs that ask an index read it.
    """
    wanted = urlsplit(address)
    for one in map(urlsplit, settings["EXTRA_INDEX_URL"].split()):
        if one.username is not None and (one.hostname, one.port) == (wanted.hostname, wanted.port):
            return unquote(one.username), unquote(one.password or "")
    return None


def export(project: Project, certificates: bytes) -> None:
    """Write certificates to EXPORTED."""
    file = project.root / EXPORTED
    file.parent.mkdir(exist_ok=True)
    ignore(file.parent)
    file.write_bytes(certificates)


def create(folder: Path) -> None:
    """Create a folder that git ignores, where there is none. Raises OSError where that is not possible."""
    with contextlib.suppress(FileExistsError):
        folder.mkdir()
        ignore(folder)


def ignore(folder: Path) -> None:
    """Make git ignore a folder that a task has created, by a .gitignore in it."""
    (folder / ".gitignore").write_text("*\n", encoding="ascii")


def epoch(project: Project) -> int | None:
    """Return SOURCE_DATE_EPOCH in seconds since 1970, or None where it is not set."""
    text = project.environment.get("SOURCE_DATE_EPOCH")
    if not text:
        return None
    return integers.parse(text, "SOURCE_DATE_EPOCH", 0, LAST_SECOND, "set seconds since 1970, or unset it")


def check_bundle(bundle: str) -> None:
    """Raise Failure where a file does not hold certificates, before a build step fails far from the cause.

    An empty file is valid: docker-compose.yml names /dev/null where nothing is set. Of the system's bundles, whose
    certificates take time to load, only the form is checked.
    """
    try:
        content = Path(bundle).read_bytes()
        if content and not (bundle in _BUNDLES and b"-----BEGIN CERTIFICATE-----" in content):
            ssl.create_default_context(cafile=bundle)
    except (OSError, ValueError) as error:
        reason = (
            "a file without certificates"
            if isinstance(error, ssl.SSLError)
            else getattr(error, "strerror", None) or error
        )
        raise Failure(
            f"CA_BUNDLE must be a readable file of certificates in PEM format (got {bundle}: {reason}). To fix it: "
            "name such a file, or unset CA_BUNDLE."
        ) from None


def check_netrc(file: str) -> None:
    """Raise Failure where a file is not a netrc file. The message does not repeat its contents."""
    try:
        # The programs in a build read it as UTF-8.
        Path(file).read_text(encoding="utf-8")
        netrc.netrc(file)
    except (OSError, UnicodeDecodeError, netrc.NetrcParseError) as error:
        if isinstance(error, netrc.NetrcParseError):
            reason = f"an error in line {error.lineno}"
        else:
            reason = error.strerror or "unreadable" if isinstance(error, OSError) else "text that is not UTF-8"
    else:
        return
    # Outside of the handler, so that no traceback holds the file's contents.
    raise Failure(
        f"NETRC must be a readable file in the format of netrc (got {file}: {reason}). To fix it: correct the file "
        "(`machine HOST login USER password PASSWORD`), name another one, or set NETRC=/dev/null."
    )


def netrc_file() -> str:
    """Return the user's netrc file, or an empty string where there is none that can be read."""
    names = (".netrc", "_netrc") if sys.platform == "win32" else (".netrc",)
    files = (str(Path.home() / name) for name in names)
    return next((file for file in files if is_file(file) and os.access(file, os.R_OK)), "")


def ca_bundle(project: Project) -> str:
    """Return the file of the certificate authorities that this machine trusts.

    Where there is none, on Windows for example, write the authorities that Python trusts to EXPORTED.
    """
    candidates = (ssl.get_default_verify_paths().cafile, *_BUNDLES)
    for path in candidates:
        if path and is_file(path):
            return path
    trusted = ssl.create_default_context().get_ca_certs(binary_form=True)
    export(project, "".join(map(ssl.DER_cert_to_PEM_cert, trusted)).encode("ascii"))
    return str(project.root / EXPORTED)


def index_url(project: Project) -> str:
    """Return the package index in pip's configuration, or an empty string where pip uses its default."""
    return _pip_setting(project, "index-url")


def extra_index_url(project: Project) -> str:
    """Return the further package indexes in pip's configuration, separated by spaces, or an empty string.

    Folders of this machine are left out: a build can't read them.
    """
    found = _pip_setting(project, "extra-index-url").split()
    return " ".join(one for one in found if not one.lower().startswith(("file:", "/")))


def _pip_setting(project: Project, setting: str) -> str:
    """Return a setting of pip's configuration, or an empty string where there is none.

    Reads pip's files (https://pip.pypa.io/en/stable/topics/configuration/) without pip: starting pip takes half a
    second, and an environment of pipx has no pip.
    """
    variable = setting.replace("-", "_").upper()
    # Pip ignores an empty variable.
    if given := project.environment.get(f"PIP_{variable}"):
        return given
    found = {"global": "", "install": ""}
    for file in _pip_files(project):
        config = configparser.RawConfigParser()
        try:
            # Addresses are ASCII, whatever the encoding of the rest is.
            config.read_string(file.read_text(encoding="utf-8", errors="replace"))
        except OSError:
            # Pip ignores a file that it can't open.
            continue
        except configparser.Error as error:
            # The line may hold a password.
            lines = getattr(error, "errors", None) or [(getattr(error, "lineno", 1), "")]
            raise Failure(
                f"{file} must be a configuration file of pip (got an error in line {lines[0][0]}). To fix it: correct "
                f"it, or set {variable}."
            ) from None
        for section in found:
            for name, value in config.items(section) if config.has_section(section) else ():
                if name.replace("_", "-") == setting:
                    found[section] = value
    return found["install"] or found["global"]


def _pip_files(project: Project) -> list[Path]:
    """Return pip's configuration files by ascending precedence; none where PIP_CONFIG_FILE is the null device."""
    if project.environment.get("PIP_CONFIG_FILE") == os.devnull:
        return []
    home = Path.home()
    if sys.platform == "win32":
        name, shared, user = (
            "pip.ini",
            Path(project.environment.get("PROGRAMDATA", "C:/ProgramData")),
            Path(project.environment.get("APPDATA") or home / "AppData" / "Roaming"),
        )
        files = [shared / "pip" / name, home / "pip" / name, user / "pip" / name]
    elif sys.platform == "darwin":
        name = "pip.conf"
        support = home / "Library/Application Support/pip"
        user = support if support.is_dir() else home / ".config/pip"
        files = [Path("/Library/Application Support/pip") / name, home / ".pip" / name, user / name]
    else:
        name = "pip.conf"
        user = Path(project.environment.get("XDG_CONFIG_HOME") or home / ".config")
        files = [Path("/etc/xdg/pip") / name, Path("/etc") / name, home / ".pip" / name, user / "pip" / name]
    files.append(Path(sys.prefix) / name)
    if "PIP_CONFIG_FILE" in project.environment:
        files.append(Path(project.environment["PIP_CONFIG_FILE"]))
    return files
