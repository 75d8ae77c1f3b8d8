"""Package indexes on the loopback interface, and wheels."""

from __future__ import annotations

import base64
import hashlib
import http.server
import io
import json
import threading
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from prodlock.inside.lock.selection import Requirement

TYPES = {"json": "application/vnd.pypi.simple.v1+json", "html": "text/html; charset=utf-8"}


def packed(members: Mapping[str, str]) -> bytes:
    """Return a zip archive."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return content.getvalue()


def wheel(name: str, version: str = "1.0", members: Mapping[str, str] | None = None) -> bytes:
    """Return a wheel with a module and further members."""
    info = f"{name}-{version}.dist-info"
    return packed(
        {
            f"{name}.py": f"NAME = '{name}'\n",
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
            f"{info}/WHEEL": "Wheel-Version: 1.0\nTag: py3-none-any\n",
        }
        | dict(members or {})
    )


def sha256(content: bytes) -> str:
    """Return the sha256 of a content."""
    return hashlib.sha256(content).hexdigest()


def requirement(name: str, content: bytes, file: str | None = None, address: str = "") -> Requirement:
    """Return the requirement of a lock that has a wheel."""
    named = f"{name}-1.0-py3-none-any.whl" if file is None else file
    return Requirement(name, "1.0", ((named, f"sha256:{sha256(content)}"),), address=address)


@dataclass
class Served:
    """An index: what it has, what it demands, and what it was asked."""

    # By the name of the project: file names with their contents.
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    form: str = "json"
    has_hashes: bool = True
    # What a file is instead.
    changed: dict[str, bytes] = field(default_factory=dict)
    # Where files are, instead of on this server.
    elsewhere: str = ""
    redirected: str = ""
    login: str = ""
    # The codes of the next answers, before those that the files give.
    codes: list[int] = field(default_factory=list)
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    address: str = ""

    @property
    def with_login(self) -> str:
        """The address with user and password."""
        return self.address.replace("://", f"://{self.login}@")

    def add(self, name: str, content: bytes, file: str = "") -> None:
        """Add a file to a project."""
        self.files.setdefault(name, {})[file or f"{name}-1.0-py3-none-any.whl"] = content

    def page(self, name: str) -> tuple[bytes, str]:
        """Return the page of a project, and its type."""
        at = self.elsewhere or ".."
        listed = {file: sha256(content) if self.has_hashes else "" for file, content in self.files[name].items()}
        if self.form == "json":
            files = [
                {"filename": file, "url": f"{at}/files/{file}", "hashes": {"sha256": digest} if digest else {}}
                for file, digest in listed.items()
            ]
            return json.dumps({"meta": {"api-version": "1.0"}, "name": name, "files": files}).encode(), TYPES["json"]
        links = [
            f"<a href='{at}/files/{file}{f'#sha256={digest}' if digest else ''}'>{file}</a><br>"
            for file, digest in listed.items()
        ]
        return f"<!DOCTYPE html><html><body>{''.join(links)}".encode(), TYPES["html"]


@contextmanager
def served(host: str = "127.0.0.1") -> Iterator[Served]:
    """Serve an index."""
    index = Served()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            index.asked.append((self.path, self.headers.get("Authorization")))
            expected = f"Basic {base64.b64encode(index.login.encode()).decode()}"
            body, kind, code = b"", "application/octet-stream", 404
            folder, _, name = self.path.strip("/").rpartition("/")
            if index.codes:
                code = index.codes.pop(0)
            elif index.login and self.headers.get("Authorization") != expected:
                code = 401
            elif index.redirected:
                code = 302
            elif folder == "simple" and name in index.files:
                code, (body, kind) = 200, index.page(name)
            elif folder.endswith("files") and (found := {k: v for one in index.files.values() for k, v in one.items()}):
                body = index.changed.get(name, found.get(name, b""))
                code = 200 if body else 404
            self.send_response(code)
            if code == 302:
                self.send_header("Location", index.redirected + self.path)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    with http.server.ThreadingHTTPServer((host, 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        index.address = f"http://{host}:{server.server_port}/simple"
        yield index
        server.shutdown()
