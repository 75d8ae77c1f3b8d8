"""Install locked distributions in a build step, from wheels alone.

    python install.py uv                  download uv, as uv.txt pins it, to this program's folder
    python install.py wheels VENV LIST    add what a list of requirements names to a virtual environment, and compile it

Building a source distribution would run code that no hash in the lock covers. The site's certificate authorities, its
package indexes and their logins come in as build secrets. uv is downloaded here because pip takes two seconds longer.
"""

from __future__ import annotations

import gzip
import hashlib
import html
import io
import netrc
import os
import re
import shutil
import ssl
import subprocess
import sys
import time
import urllib.error
import zipfile
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit
from urllib.request import HTTPSHandler, Request, build_opener

HERE = Path(__file__).parent
SECRETS = Path("/run/secrets")
_TRIES = 3
_SECONDS = 60
# HTTP status codes: access is refused; a fault that may pass.
_REFUSED = (401, 403)
_ABSENT = 404
_PASSING = (408, 429, 500, 502, 503, 504)


def secret(name: str) -> str:
    """Return a build secret, or `` where it is not set."""
    file = SECRETS / name
    return file.read_text(encoding="utf-8").strip() if file.exists() else ""


def index() -> str:
    """Return the address of the package index: the site's own, or else pip's default."""
    if address := secret("index_url"):
        return address
    from pip._internal.models.index import PyPI  # noqa: PLC0415 - takes a quarter of a second

    return str(PyPI.simple_url)


def extra_indexes() -> list[str]:
    """Return the addresses of the site's further package indexes."""
    return secret("extra_index_url").split()


class Client:
    """Downloads from a package index, with the user and password in its address, or else in the site's netrc file."""

    def __init__(self, address: str, bundle: Path, logins: Path) -> None:
        parts = urlsplit(address)
        user, _, self._host = parts.netloc.rpartition("@")
        self.address = urlunsplit(parts._replace(netloc=self._host))
        self._authorization = basic(unquote(user)) if user else ""
        self._logins = netrc.netrc(logins) if logins.exists() and logins.stat().st_size else None
        trusted = ssl.create_default_context(cafile=bundle if bundle.exists() and bundle.stat().st_size else None)
        # As pip and uv do: the certificates of many companies' authorities are not what this flag demands.
        trusted.verify_flags &= ~ssl.VERIFY_X509_STRICT
        self._opener = build_opener(HTTPSHandler(context=trusted))

    def get(self, address: str) -> tuple[bytes, str]:
        """Return what is at an address, and the address that redirections led to."""
        request = Request(address, headers={"Accept": "text/html", "Accept-Encoding": "gzip"})  # noqa: S310 - of the index
        if authorization := self.authorization(address):
            # Not for the host that a redirection leads to.
            request.add_unredirected_header("Authorization", authorization)
        with self._opener.open(request, timeout=_SECONDS) as response:
            content = response.read()
            packed = response.headers.get("Content-Encoding") == "gzip"
            return gzip.decompress(content) if packed else content, response.url

    def authorization(self, address: str) -> str:
        """Return the header for an address, or `` where neither the index's address nor the netrc file has a login."""
        parts = urlsplit(address)
        if self._authorization and parts.netloc == self._host:
            return self._authorization
        found = self._logins.authenticators(parts.hostname or "") if self._logins else None
        return basic(f"{found[0]}:{found[2]}") if found else ""

    def fetch(self, address: str, *, absent: bool = False) -> tuple[bytes, str]:
        """Return the same after further tries where the index has a passing fault. Ends the step where all fail.

        Where `absent`, return an empty page for HTTP status 404: a further index may have the distribution.
        """
        fault: object = None
        for number in range(1, _TRIES + 1):
            try:
                return self.get(address)
            except urllib.error.HTTPError as error:
                error.close()
                fault = f"HTTP status {error.code}"
                if error.code in _REFUSED:
                    sys.exit(
                        f"The package index must let the build in (got {fault}). To fix it: give it a user and a "
                        "password with INDEX_URL=https://USER:PASSWORD@HOST/PATH, or in the file that NETRC names."
                    )
                if absent and error.code == _ABSENT:
                    return b"", address
                if error.code not in _PASSING:
                    break
            except OSError as error:
                fault = getattr(error, "reason", error)
                if isinstance(fault, ssl.SSLCertVerificationError):
                    sys.exit(
                        "The package index must show a certificate that the build trusts (got: "
                        f"{fault.verify_message}). To fix it: name your company's bundle of certificate authorities "
                        "with CA_BUNDLE=FILE."
                    )
            if number < _TRIES:
                time.sleep(number)
        sys.exit(
            f"The package index must be reachable and have {PurePosixPath(urlsplit(address).path).name} "
            f"(got: {fault}). To fix it: check the network, or name another index with INDEX_URL=ADDRESS."
        )


def basic(login: str) -> str:
    """Return the header's value for a user and a password."""
    return f"Basic {b64encode(login.encode()).decode()}"


def links(page: str, address: str) -> dict[str, str]:
    """Return the address of each file on a page of a package index, by the file's name (PEP 503)."""
    references = re.findall(r"<a\s[^>]*?href\s*=\s*[\"']([^\"']+)", page, re.IGNORECASE)
    found = (urljoin(address, html.unescape(reference)).partition("#")[0] for reference in references)
    return {unquote(urlsplit(one).path.rpartition("/")[2]): one for one in found}


def wheel(names: list[str], version: str) -> str:
    """Return the wheel of uv that this interpreter prefers of the files of an index, or `` where none fits."""
    from pip._vendor.packaging.tags import sys_tags  # noqa: PLC0415 - takes a tenth of a second
    from pip._vendor.packaging.utils import parse_wheel_filename  # noqa: PLC0415

    ranks = {str(tag): rank for rank, tag in enumerate(sys_tags())}
    found: list[tuple[int, str]] = []
    for name in names:
        if name.startswith(f"uv-{version}-") and name.endswith(".whl"):
            tags = map(str, parse_wheel_filename(name)[3])
            found += [(ranks[tag], name) for tag in tags if tag in ranks]
    return min(found, default=(0, ""))[1]


def uv() -> None:
    """Download uv's wheel and write its program to this folder."""
    text = (HERE / "uv.txt").read_text(encoding="utf-8")
    version = re.findall(r"^uv==(\S+)", text, re.MULTILINE)[0]
    for number, one in enumerate(addresses := [index(), *extra_indexes()], 1):
        client = Client(one, SECRETS / "ca_bundle", SECRETS / "netrc")
        page, address = client.fetch(f"{client.address.rstrip('/')}/uv/", absent=number < len(addresses))
        files = links(page.decode(), address)
        if name := wheel([*files], version):
            break
    else:
        sys.exit(
            f"The package index must have a wheel of uv=={version} for {os.uname().machine} (got none). "
            "To fix it: name an index that has it with INDEX_URL=ADDRESS."
        )
    content, _ = client.fetch(files[name])
    if hashlib.sha256(content).hexdigest() not in re.findall(r"--hash=sha256:([0-9a-f]{64})", text):
        sys.exit(
            f"The package index must serve uv=={version} with a sha256 in prodlock/inside/uv.txt (got another). To fix "
            "it: find out why before you change the file."
        )
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        program = HERE / "uv"
        program.write_bytes(archive.read(f"uv-{version}.data/scripts/uv"))
        program.chmod(0o755)


def wheels(environment: str, listed: str) -> None:
    """Install what a list names, and compile it."""
    refused = re.findall(r"^# (.*has no wheel .*)$", Path(listed).read_text(encoding="utf-8"), re.MULTILINE)
    if refused:
        sys.exit("\n".join(refused))
    if not Path(environment).exists():
        create(Path(environment))
    settings = {
        # From whichever index has the locked version: the hashes prove that it is the right one.
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_LINK_MODE": "copy",
    }
    if address := secret("index_url"):
        settings["UV_DEFAULT_INDEX"] = address
    if more := extra_indexes():
        settings["UV_INDEX"] = " ".join(more)
    if secret("netrc"):
        settings["NETRC"] = str(SECRETS / "netrc")
    if secret("ca_bundle"):
        settings["SSL_CERT_FILE"] = str(SECRETS / "ca_bundle")
    command = [str(HERE / "uv"), "pip", "install", "--only-binary", ":all:", "--no-deps", "--require-hashes"]
    done = subprocess.run([*command, "--python", environment, "-r", listed], env=os.environ | settings, check=False)
    if done.returncode:
        for refusal in refusals(Path(listed).read_text(encoding="utf-8")):
            print(refusal, file=sys.stderr)
        sys.exit(done.returncode)
    Path(environment, ".lock").unlink()
    # In a process of its own: see bytecode.py.
    os.execv(sys.executable, [sys.executable, "-S", str(HERE / "bytecode.py"), "venv", environment])  # noqa: S606


def refusals(text: str) -> list[str]:
    """Return a line, as uv prints it for a single index, for each further index that refuses the build.

    Where there are several indexes, uv reports only that none of them has a distribution.
    """
    names = re.findall(r"^([\w.-]+)==", text, re.MULTILINE)[:1]
    addresses = extra_indexes()
    hosts = {urlsplit(one).netloc.rpartition("@")[2] for one in addresses}
    # uv uses the login in an address for all indexes on its host.
    listed = re.findall(r"^--extra-index-url (\S+)", text, re.MULTILINE)
    addresses += [one for one in listed if urlsplit(one).netloc not in hosts]
    found: list[str] = []
    for address in addresses if names else ():
        client = Client(address, SECRETS / "ca_bundle", SECRETS / "netrc")
        try:
            client.get(f"{client.address.rstrip('/')}/{re.sub('[-_.]+', '-', names[0]).lower()}/")
        except urllib.error.HTTPError as error:
            error.close()
            if error.code in _REFUSED:
                found.append(
                    f"hint: An index ({client.address}) could not be queried due to a lack of valid authentication "
                    f"credentials (HTTP status {error.code})."
                )
        except (OSError, ValueError):
            # uv has reported its own error.
            continue
    return found


def create(environment: Path) -> None:
    """Create a virtual environment, without what an image has no use for."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    for script in (environment / "bin").glob("[Aa]ctivate*"):
        script.unlink()
    shutil.rmtree(environment / "include")


COMMANDS: dict[str, Callable[..., None]] = {"uv": uv, "wheels": wheels}

if __name__ == "__main__":
    COMMANDS[sys.argv[1]](*sys.argv[2:])
