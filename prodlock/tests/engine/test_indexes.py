"""Private package indexes: two with a login each, whose passwords stay in no image, cache, lock or log."""

from __future__ import annotations

import hashlib
import http.server
import io
import json
import os
import shutil
import ssl
import subprocess
import threading
import zipfile
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from prodlock import site
from prodlock.project import Project
from prodlock.tests.engine.conftest import BASE, COPY, ROOT, docker, edit, inv, sentence
from prodlock.tests.engine.test_failures import unpacked

pytestmark = pytest.mark.skipif(not shutil.which("openssl"), reason="openssl makes the certificate")


@dataclass(frozen=True)
class Index:
    """A package index with one wheel, and its login."""

    distribution: str
    address: str
    password: str
    wheel: bytes

    @property
    def with_login(self) -> str:
        """Return the address with user and password."""
        return self.address.replace("://", f"://user:{self.password}@")


def wheel(distribution: str) -> bytes:
    """Return a wheel with one module."""
    info = f"{distribution}-1.0.dist-info"
    members = {
        f"{distribution}.py": f"NAME = '{distribution}'\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{name},,\n" for name in (*members, f"{info}/RECORD"))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, text in (members | {f"{info}/RECORD": record}).items():
            archive.writestr(name, text)
    return packed.getvalue()


@contextmanager
def served(distribution: str, host: str, certificate: Path) -> Iterator[Index]:
    """Serve an index that has a distribution and demands a login (PEP 503)."""
    content, password = wheel(distribution), uuid4().hex
    name = f"{distribution}-1.0-py3-none-any.whl"
    authorization = f"Basic {b64encode(f'user:{password}'.encode()).decode()}"
    page = f"<a href='/{name}#sha256={hashlib.sha256(content).hexdigest()}'>{name}</a>".encode()
    pages = {f"/simple/{distribution.replace('_', '-')}/": page, f"/{name}": content}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            allowed = self.headers.get("Authorization") == authorization
            body = pages.get(self.path, b"") if allowed else b""
            self.send_response((200 if body else 404) if allowed else 401)
            if not allowed:
                self.send_header("WWW-Authenticate", "Basic realm=x")
            kind = "application/octet-stream" if self.path.endswith(".whl") else "text/html"
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    with http.server.ThreadingHTTPServer((host, 0), Handler) as server:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Index(distribution, f"https://{host}:{server.server_port}/simple", password, content)
        server.shutdown()


@pytest.fixture
def indexes(tmp_path: Path) -> Iterator[tuple[Index, Index, dict[str, str]]]:
    """Two indexes on the Engine's bridge, which builds reach, and the settings that let a build in."""
    host = docker("network", "inspect", "bridge", "--format={{(index .IPAM.Config 0).Gateway}}").stdout.strip()
    certificate, public = tmp_path / "certificate.pem", tmp_path / "public.pem"
    configuration = tmp_path / "openssl.cnf"
    # uv accepts no certificate of an authority as that of a server.
    extensions = f"subjectAltName=IP:{host}\nbasicConstraints=critical,CA:FALSE\n"
    configuration.write_text(
        f"[req]\ndistinguished_name=dn\nx509_extensions=x\n[dn]\n[x]\n{extensions}", encoding="utf-8"
    )
    options = ("-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x", "-config", str(configuration))
    command = ["openssl", "req", *options, "-keyout", str(certificate), "-out", str(public)]
    subprocess.run(command, check=True, capture_output=True)
    certificate.write_bytes(certificate.read_bytes() + public.read_bytes())
    bundle = tmp_path / "bundle.pem"
    known = Path(site.environment(Project(ROOT))["CA_BUNDLE"]).read_bytes()
    bundle.write_bytes(known + public.read_bytes())
    with served("private_one", host, certificate) as one, served("private_two", host, certificate) as two:
        logins = tmp_path / "logins"
        logins.write_text(f"machine {host} login user password {one.password}\n", encoding="utf-8")
        without_proxy = ",".join(filter(None, (os.environ.get("NO_PROXY"), host)))
        settings = {"CA_BUNDLE": str(bundle), "NETRC": str(logins), "EXTRA_INDEX_URL": two.with_login}
        yield one, two, settings | {"NO_PROXY": without_proxy, "no_proxy": without_proxy}


def lock(folder: Path, index: Index, *, named: bool) -> None:
    """Add an index's distribution to the main group of a lock, which names the index's address or does not."""
    file = f"{index.distribution}-1.0-py3-none-any.whl"
    digest = hashlib.sha256(index.wheel).hexdigest()
    package = (
        f'[[package]]\nname = "{index.distribution.replace("_", "-")}"\nversion = "1.0"\ndescription = ""\n'
        f'optional = false\npython-versions = "*"\ngroups = ["main"]\n'
        f'files = [{{file = "{file}", hash = "sha256:{digest}"}}]\n'
    )
    if named:
        package += f'\n[package.source]\ntype = "legacy"\nurl = "{index.address}"\nreference = "x"\n'
    path = folder / "poetry.lock"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("[metadata]\n", f"{package}\n[metadata]\n", 1), encoding="utf-8")


def cached() -> bytes:
    """Return the cache of the step that installs, as a tar."""
    dockerfile = (
        f"FROM {BASE} AS read\nRUN --mount=type=cache,target=/root/.cache/uv : {uuid4()}"
        " && cp -r /root/.cache/uv /cache\nFROM scratch\nCOPY --from=read /cache /\n"
    )
    built = subprocess.run(
        ["docker", "build", "--quiet", "--output=type=tar,dest=-", "-"],  # noqa: S607
        input=dockerfile.encode(), capture_output=True, check=True,
    )  # fmt: skip
    return built.stdout


def holds(places: Mapping[str, bytes], text: str) -> list[str]:
    """Return the places that have a text."""
    forms = (text.encode(), b64encode(f"user:{text}".encode()))
    return [name for name, content in places.items() if any(form in content for form in forms)]


def test_two_private_indexes_are_used_and_no_password_stays(
    copy: Path, indexes: tuple[Index, Index, dict[str, str]]
) -> None:
    """One login comes from the netrc file, one from an address; both checks pass; each search finds its control."""
    one, two, settings = indexes
    lock(copy, one, named=True)
    lock(copy, two, named=False)
    # pip can't verify the certificate of an address without a name.
    host = str(urlsplit(one.address).hostname)
    edit(copy / "prodlock/inside/online.sh", 'exec "$@"', f'export PIP_TRUSTED_HOST={host}; exec "$@"')
    built = inv("build", cwd=copy, **settings)
    assert built.returncode == 0, built.stderr
    checks = [inv(task, cwd=copy, **settings) for task in ("check-prod-has-no-pytest", "check-prod")]
    assert [done.returncode for done in checks] == [0, 0], [done.stdout + done.stderr for done in checks]
    composed = docker("compose", "--profile=*", "config", cwd=copy, env=os.environ | settings).stdout
    places = {f"log {number}": (done.stdout + done.stderr).encode() for number, done in enumerate([built, *checks])}
    places |= {"the lock": (copy / "poetry.lock").read_bytes(), "Compose": composed.encode(), "the cache": cached()}
    controls = {
        "log 0": "private-one==1.0",
        "the lock": one.address,
        "Compose": "EXTRA_INDEX_URL",
        "the cache": "private_two",
    }
    for target in ("prod", "dev", "golden"):
        image = f"{COPY}:{target}"
        history = docker("history", "--no-trunc", "--format={{.CreatedBy}}", image).stdout
        places |= {
            f"{target}'s history": history.encode(),
            f"{target}'s configuration": json.dumps(docker("inspect", image).stdout).encode(),
        }
        places[f"{target}'s layers"] = b"\n".join(unpacked(image))
        controls |= {f"{target}'s history": "ENV PATH", f"{target}'s layers": "private_one"}
    for place, text in controls.items():
        assert holds({place: places[place]}, text) == [place], place
    for password in (one.password, two.password):
        assert holds({"a control": two.with_login.encode() + one.with_login.encode()}, password)
        assert holds(places, password) == []


def test_a_wrong_password_is_explained_and_not_printed(
    copy: Path, indexes: tuple[Index, Index, dict[str, str]]
) -> None:
    """In an address, or in the netrc file."""
    one, two, settings = indexes
    lock(copy, two, named=False)
    wrong = uuid4().hex
    done = inv("build", cwd=copy, **settings | {"EXTRA_INDEX_URL": two.with_login.replace(two.password, wrong)})
    assert sentence(done).startswith("The package index must let the build in (got a refusal). To fix it: ")
    assert wrong not in done.stdout + done.stderr
    logins = Path(settings["NETRC"])
    logins.write_text(logins.read_text(encoding="utf-8").replace(one.password, wrong), encoding="utf-8")
    done = inv("build", cwd=copy, **settings | {"EXTRA_INDEX_URL": two.address})
    assert sentence(done).startswith("The package index must let the build in (got a refusal). To fix it: ")
    assert wrong not in done.stdout + done.stderr


def test_a_bad_setting_of_the_indexes_is_refused_before_a_build(copy: Path, tmp_path: Path) -> None:
    """One line each, without the setting's secret."""
    for settings in ({"NETRC": str(tmp_path)}, {"EXTRA_INDEX_URL": "user:secret@index.example/simple"}):
        done = inv("build", cwd=copy, **settings)
        assert done.stderr.count("\n") == 1
        assert "To fix it: " in sentence(done)
        assert "secret" not in done.stderr
