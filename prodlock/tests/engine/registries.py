"""A registry on the loopback interface, and a proxy in front of it that breaks what passes through."""

from __future__ import annotations

import hashlib
import http.client
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prodlock.tests.engine.conftest import PROJECT, ROOT, docker, secrets, until

IMAGE = f"{PROJECT}:registry"
USER = "user:password"
# The line of htpasswd for USER, and where the registry has it.
_HTPASSWD = "user:$2y$05$wb18R/jT8Gp4aRMBtuH0I.n6hkKP6dGq7hLSkA6udT7IPr1BGvwzW"
_STORAGE = {"filesystem": {"rootdirectory": "/tmp/registry"}}
PLAIN = {"version": "0.1", "storage": _STORAGE, "http": {"addr": ":5000"}}
READ_ONLY = PLAIN | {"storage": _STORAGE | {"maintenance": {"readonly": {"enabled": True}}}}
WITH_LOGIN = PLAIN | {"auth": {"htpasswd": {"realm": "test", "path": "/tmp/htpasswd"}}}
# Debian's registry, on the project's base image.
_PACKAGES = "docker-registry"

# Changes a request or a response: method, path, headers, body. None closes the connection.
Change = Callable[[str, str, dict[str, str], bytes], "tuple[dict[str, str], bytes] | None"]


@contextmanager
def image() -> Iterator[str]:
    """Build the image of the registry, from Debian's package."""
    arguments = ("--target=base", f"--build-arg=PACKAGES={_PACKAGES}")
    docker("build", "--quiet", f"--tag={IMAGE}", *arguments, *secrets(), ".", cwd=ROOT)
    yield IMAGE
    docker("image", "rm", "--force", IMAGE)


@contextmanager
def running(settings: dict[str, Any]) -> Iterator[str]:
    """Run a registry on a free port of the loopback interface, and yield its address."""
    script = f"echo '{_HTPASSWD}' >/tmp/htpasswd; echo '{json.dumps(settings)}' >/tmp/config.yml; "
    options = ("--detach", "--rm", "--publish=127.0.0.1::5000", "--tmpfs=/tmp:mode=1777")
    script += "exec docker-registry serve /tmp/config.yml"
    container = docker("run", *options, IMAGE, "sh", "-c", script).stdout.strip()
    try:
        address = docker("port", container, "5000/tcp").stdout.split()[0]
        until(lambda: answers(address), 20)
        yield address
    finally:
        docker("rm", "--force", container)


def answers(address: str) -> bool:
    """Return whether a registry answers, with or without a login."""
    connection = http.client.HTTPConnection(address, timeout=2)
    try:
        connection.request("GET", "/v2/")
        return connection.getresponse().status in {200, 401}
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def tags(address: str, name: str) -> set[str]:
    """Return the tags that a repository of a registry has."""
    connection = http.client.HTTPConnection(address, timeout=5)
    connection.request("GET", f"/v2/{name}/tags/list")
    found: dict[str, Any] = json.loads(connection.getresponse().read())
    connection.close()
    return set(found.get("tags") or ())


class Proxy:
    """A proxy in front of a registry, which may change requests and responses."""

    def __init__(self, registry: str) -> None:
        self.registry = registry
        self.request: Change | None = None
        self.response: Change | None = None
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            """Passes each request on, and closes the connection."""

            def handle_one_request(self) -> None:
                """Read one request, whatever its method."""
                self.raw_requestline = self.rfile.readline(1 << 16)
                self.close_connection = True
                if self.raw_requestline and self.parse_request():
                    proxy.forward(self)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)

    @contextmanager
    def serving(self) -> Iterator[Proxy]:
        """Serve while a block runs."""
        self._thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()

    @contextmanager
    def changing(self, *, request: Change | None = None, response: Change | None = None) -> Iterator[None]:
        """Change what passes while a block runs."""
        self.request, self.response = request, response
        try:
            yield
        finally:
            self.request = self.response = None

    def forward(self, client: BaseHTTPRequestHandler) -> None:
        """Pass a request on to the registry, and its response back."""
        method, path, headers = client.command, client.path, dict(client.headers.items())
        changed = _applied(self.request, method, path, headers, _body(client))
        if changed is None:
            return
        headers, body = changed
        connection = http.client.HTTPConnection(self.registry, timeout=30)
        headers.pop("Transfer-Encoding", None)
        connection.request(method, path, body, headers | {"Content-Length": str(len(body))})
        answer = connection.getresponse()
        content = answer.read()
        length = answer.headers.get("Content-Length", str(len(content)))
        changed = _applied(self.response, method, path, dict(answer.headers.items()), content)
        connection.close()
        if changed is None:
            return
        headers, new = changed
        headers["Content-Length"] = length if new == content else str(len(new))
        lines = [f"HTTP/1.1 {answer.status} X", *(f"{name}: {value}" for name, value in headers.items())]
        client.wfile.write("\r\n".join([*lines, "Connection: close", "", ""]).encode() + new)


def _applied(
    change: Change | None, method: str, path: str, headers: dict[str, str], body: bytes
) -> tuple[dict[str, str], bytes] | None:
    return change(method, path, headers, body) if change else (headers, body)


def _body(client: BaseHTTPRequestHandler) -> bytes:
    if client.headers.get("Transfer-Encoding") != "chunked":
        return client.rfile.read(int(client.headers.get("Content-Length", "0")))
    found = b""
    while size := int(client.rfile.readline(), 16):
        found += client.rfile.read(size)
        client.rfile.readline()
    client.rfile.readline()
    return found


def cut_at(method: str, pattern: str) -> Change:
    """Return a change that closes the connection at requests of a method for paths of a pattern."""

    def change(asked: str, path: str, headers: dict[str, str], body: bytes) -> tuple[dict[str, str], bytes] | None:
        return None if asked == method and re.search(pattern, path) else (headers, body)

    return change


def replaced(pattern: str, new: Callable[[bytes], bytes]) -> Change:
    """Return a change that replaces a content at paths of a pattern, and states the new content's digest and length."""

    def change(_: str, path: str, headers: dict[str, str], body: bytes) -> tuple[dict[str, str], bytes] | None:
        if not re.search(pattern, path) or not body:
            return headers, body
        content = new(body)
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        return {
            name: digest if name.lower() in {"docker-content-digest", "etag"} else value
            for name, value in headers.items()
        }, content

    return change
