"""`inv audit` against vulnerability services on loopback: complete, incomplete and broken ones."""

from __future__ import annotations

import json
import re
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from prodlock import site
from prodlock.failure import CANNOT_CHECK
from prodlock.project import Project
from prodlock.tests.engine.conftest import ROOT, edit, inv, sentence

CONTROL = "pycrypto"
# What is known of the control, of a distribution of production, and of one that only dev has.
ADVISORIES: dict[str, list[dict[str, Any]]] = {
    CONTROL: [{"id": "PYSEC-2017-94", "aliases": ["CVE-2013-7459"], "fixed": []}],
    "click": [{"id": "GHSA-vqfr-h8mv-ghfj", "aliases": ["CVE-2025-43859"], "fixed": ["99.1", "98.2"]}],
    "pluggy": [{"id": "PYSEC-2026-1", "aliases": [], "fixed": []}],
}
Answer = tuple[int, str]
Service = Callable[[str], Answer]


def known(name: str, advisories: dict[str, list[dict[str, Any]]]) -> Answer:
    """Return what OSV answers about a distribution: an empty object where nothing is known."""
    vulnerabilities = [
        {
            "schema_version": "1.7.0",
            "id": one["id"],
            "aliases": one["aliases"],
            "summary": f"A fault of {name}.",
            "affected": [
                {
                    "package": {"name": name, "ecosystem": "PyPI"},
                    "ranges": [
                        {
                            "type": "ECOSYSTEM",
                            "events": [{"introduced": "0"}, *({"fixed": version} for version in one["fixed"])],
                        }
                    ],
                }
            ],
        }
        | one.get("more", {})
        for one in advisories.get(name, [])
    ]
    return 200, json.dumps({"vulns": vulnerabilities} if vulnerabilities else {})


@contextmanager
def served(service: Service, certificate: Path | None = None) -> Iterator[tuple[str, list[str]]]:
    """Serve a vulnerability service on loopback; give its address, and the requirements that it was asked about."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            name = query["package"]["name"]
            asked.append(f"{name}=={query['version']}")
            status, body = service(name)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body.encode())))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        if certificate:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http{'s' if certificate else ''}://user:geheim@127.0.0.1:{server.server_port}/v1/query", asked
        finally:
            server.shutdown()
            thread.join()


def test_audit_accepts_a_lock_without_vulnerabilities(copy: Path) -> None:
    """Each locked distribution is asked about once, with its version; the control alone has a vulnerability."""
    with served(lambda name: known(name, {CONTROL: ADVISORIES[CONTROL]})) as (address, asked):
        done = inv("audit", cwd=copy, AUDIT_URL=address)
    assert done.returncode == 0, done.stderr
    locked = re.findall(r'^name = "(.*)"\nversion = "(.*)"$', (copy / "poetry.lock").read_text("utf-8"), re.MULTILINE)
    assert set(asked) < {f"{name}=={version}" for name, version in locked} | {f"{CONTROL}==2.6.1"}
    assert len(asked) == len(set(asked)) > 20
    assert re.fullmatch(
        rf"The lock has no known vulnerabilities. 127.0.0.1 answered about {len(asked) - 1} distributions "
        r"\(dev \d+, main \d+\).\n",
        done.stdout,
    )


def test_audit_reports_vulnerabilities_with_their_groups(copy: Path) -> None:
    """Exit code 1; each has its aliases, the versions that fix it in order, its group and a remedy."""
    with served(lambda name: known(name, ADVISORIES)) as (address, _):
        done = inv("audit", "--json", cwd=copy, AUDIT_URL=address)
        text = inv("audit", cwd=copy, AUDIT_URL=address)
    assert (done.returncode, text.returncode) == (1, 1)
    report = json.loads(done.stdout)
    click, pluggy = report["findings"]
    assert not report["clean"]
    assert (click["name"], click["id"], click["aliases"]) == ("click", "CVE-2025-43859", ["GHSA-vqfr-h8mv-ghfj"])
    assert (click["fixed"], click["groups"], click["production"]) == (["98.2", "99.1"], ["main"], True)
    assert click["remedy"] == "`inv poetry -- update --lock click`, then `inv build`."
    assert (pluggy["name"], pluggy["groups"], pluggy["production"]) == ("pluggy", ["dev"], False)
    lines = text.stdout.splitlines()
    assert re.fullmatch(
        r"VULNERABLE click [\d.]+: CVE-2025-43859 \(GHSA-vqfr-h8mv-ghfj\); group main, in production; fixed in 98.2, "
        r"99.1; A fault of click. To fix it: `inv poetry -- update --lock click`, then `inv build`.",
        lines[0],
    )
    assert re.fullmatch(
        r"VULNERABLE pluggy [\d.]+: PYSEC-2026-1; group dev, not in production; no version fixes it; A fault of "
        r"pluggy. To fix it: replace pluggy, or add PYSEC-2026-1 to `audit-ignore` in pyproject.toml.",
        lines[1],
    )
    assert lines[2].startswith("The lock has 2 known vulnerabilities, 1 of them in production. 127.0.0.1 answered")


def test_audit_prints_what_is_ignored(copy: Path) -> None:
    """An entry matches an id or an alias; one that matches nothing is reported, and the rest is still found."""
    entries = '["GHSA-vqfr-h8mv-ghfj", "CVE-2000-1"]'
    edit(copy / "pyproject.toml", "audit-ignore = []", f"audit-ignore = {entries}")
    with served(lambda name: known(name, ADVISORIES)) as (address, _):
        done = inv("audit", cwd=copy, AUDIT_URL=address)
    found, ignored, unused, verdict = done.stdout.splitlines()
    assert done.returncode == 1
    assert found.startswith("VULNERABLE pluggy ")
    assert ignored.startswith("IGNORED click ")
    assert unused.startswith("UNUSED CVE-2000-1 in `audit-ignore`: no locked distribution has it. To fix it: remove")
    assert verdict.startswith("The lock has 1 known vulnerability, 0 of them in production (1 ignored). ")


def broken(name: str, advisory: dict[str, Any], about: str = "click") -> Answer:
    """Return an answer whose advisory about one distribution is changed; all others are complete."""
    changed = ADVISORIES[CONTROL][0] | {"more": advisory}
    return known(name, {CONTROL: ADVISORIES[CONTROL], about: [changed]})


BROKEN: dict[str, tuple[Service, str]] = {
    "an empty object for all": (lambda _: (200, "{}"), "no vulnerability of pycrypto, which has known ones"),
    "an empty list for all": (lambda _: (200, "[]"), "no vulnerability of pycrypto, which has known ones"),
    "an empty body": (lambda _: (200, ""), "an answer that is not JSON"),
    "a page": (lambda _: (200, "<html>Log in</html>"), "an answer that is not JSON"),
    "a page for one": (
        lambda name: (200, "<html>") if name == "click" else known(name, ADVISORIES),
        "an answer that is not JSON",
    ),
    "an error": (lambda _: (500, ""), "500 Server Error: Internal Server Error for url: http://127.0.0.1:"),
    "a refusal": (lambda _: (403, "{}"), "403 Client Error: Forbidden for url: http://127.0.0.1:"),
    "an absent page": (lambda _: (404, "{}"), "404 Client Error: Not Found for url: http://127.0.0.1:"),
    "an error for one": (
        lambda name: (503, "") if name == "click" else known(name, ADVISORIES),
        "503 Server Error: Service Unavailable for url: http://127.0.0.1:",
    ),
    "an object of another form": (lambda _: (200, '{"error": "quota"}'), "KeyError: 'vulns'"),
    "an advisory of a later schema": (
        lambda name: broken(name, {"schema_version": "2.0.0"}),
        "Unsupported OSV schema version: 2.0.0",
    ),
    "an advisory without the affected versions": (
        lambda name: broken(name, {"affected": None}),
        "is missing 'affected' list",
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_audit_refuses_a_broken_answer(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 2, one message with the reason and no password; nothing on standard output."""
    monkeypatch.delenv("CA_BUNDLE", raising=False)
    service, reason = BROKEN[kind]
    with served(service) as (address, _):
        done = inv("audit", AUDIT_URL=address)
    message = sentence(done)
    assert done.returncode == CANNOT_CHECK, done.stdout
    assert message.startswith("The vulnerability service must answer about every locked distribution (got: ")
    assert reason in message
    assert message.endswith("with AUDIT_URL=ADDRESS.")
    assert "geheim" not in done.stdout + done.stderr
    assert done.stdout == ""


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl makes the certificate")
def test_audit_trusts_the_certificates_of_the_site(tmp_path: Path) -> None:
    """A service with a certificate that no public authority has signed needs CA_BUNDLE."""
    certificate = tmp_path / "certificate.pem"
    options = ("-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x", "-addext", "subjectAltName=IP:127.0.0.1")
    command = ["openssl", "req", *options, "-keyout", str(certificate), "-out", str(tmp_path / "public.pem")]
    subprocess.run(command, check=True, capture_output=True)
    public = (tmp_path / "public.pem").read_bytes()
    certificate.write_bytes(certificate.read_bytes() + public)
    # Builds use the bundle as well.
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(Path(site.environment(Project(ROOT))["CA_BUNDLE"]).read_bytes() + public)
    with served(lambda name: known(name, {CONTROL: ADVISORIES[CONTROL]}), certificate) as (address, _):
        untrusted = inv("audit", AUDIT_URL=address)
        trusted = inv("audit", AUDIT_URL=address, CA_BUNDLE=str(bundle))
    assert untrusted.returncode == CANNOT_CHECK
    assert "certificate verify failed" in sentence(untrusted)
    assert trusted.returncode == 0, trusted.stderr


def test_audit_refuses_an_unreachable_service() -> None:
    """No server listens on the port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    done = inv("audit", AUDIT_URL=f"http://127.0.0.1:{port}/v1/query")
    assert done.returncode == CANNOT_CHECK
    assert "Connection refused" in sentence(done)


def test_audit_does_not_wait_for_a_service_that_hangs() -> None:
    """It accepts the connection and answers nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        done = inv("audit", AUDIT_URL=f"http://127.0.0.1:{server.getsockname()[1]}/v1/query")
    assert done.returncode == CANNOT_CHECK
    assert "Read timed out" in sentence(done)


@pytest.mark.parametrize("address", ["file:///etc/passwd", "osv.example", "https://", "https://user:geheim@h/a b"])
def test_audit_refuses_an_invalid_address(address: str) -> None:
    """Before anything is built; the message does not repeat it."""
    done = inv("audit", AUDIT_URL=address)
    assert done.returncode == CANNOT_CHECK
    assert sentence(done).startswith("AUDIT_URL must be an address that begins with http:// or https://, without spac")
    assert "geheim" not in done.stderr
    assert "$ docker" not in done.stderr


@pytest.mark.parametrize("value", ['"CVE-2026-1"', '["*"]', "[1]", '["fixed later"]'])
def test_audit_refuses_an_invalid_list_of_ignored_ids(copy: Path, value: str) -> None:
    """Before anything is asked."""
    edit(copy / "pyproject.toml", "audit-ignore = []", f"audit-ignore = {value}")
    done = inv("audit", cwd=copy, AUDIT_URL="http://127.0.0.1:9/")
    assert done.returncode == CANNOT_CHECK
    assert "`audit-ignore` must be a list of ids of vulnerabilities (got " in sentence(done)


def test_audit_refuses_a_stale_lock(copy: Path) -> None:
    """As a build does: pyproject.toml has a dependency that the lock lacks."""
    edit(copy / "pyproject.toml", '"fastapi>=0.165",', '"fastapi>=0.165",\n    "certifi",')
    done = inv("audit", cwd=copy, AUDIT_URL="http://127.0.0.1:9/")
    assert done.returncode == CANNOT_CHECK
    assert "poetry.lock must match pyproject.toml" in sentence(done)
