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
from typing import Any, NamedTuple

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


class Message(NamedTuple):
    """A request, or the response to one, whose status is then not 0."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    status: int = 0


# Changes a message. None closes the connection.
Change = Callable[[Message], Message | None]


@contextmanager
def image() -> Iterator[str]:
    """Build the image of the registry, from Debian's package."""
    arguments = ("--target=base", f"--build-arg=PACKAGES={_PACKAGES}")
    docker("build", "--quiet", f"--tag={IMAGE}", *arguments, *secrets(), ".", cwd=ROOT)
    yield IMAGE
    docker("image", "rm", "--force", IMAGE)


@contextmanager
def running(settings: dict[str, Any]) -> Iterator[str]:
    """Run a registry on a free port of the loopback interface, and yield its address.

    The Engine gives the same ports again: no name of an image with this address stays.
    """
    script = f"echo '{_HTPASSWD}' >/tmp/htpasswd; echo '{json.dumps(settings)}' >/tmp/config.yml; "
    options = ("--detach", "--rm", "--publish=127.0.0.1::5000", "--tmpfs=/tmp:mode=1777")
    script += "exec docker-registry serve /tmp/config.yml"
    container = docker("run", *options, IMAGE, "sh", "-c", script).stdout.strip()
    try:
        address = docker("port", container, "5000/tcp").stdout.split()[0]
        until(lambda: answers(address), 20)
        try:
            # Of a run that was killed.
            _untag(address)
            yield address
        finally:
            _untag(address)
    finally:
        docker("rm", "--force", container)


def names(repository: str) -> set[str]:
    """Return the names, by tag and by digest, that images of a repository or of a registry have on the Engine."""
    both = "{{.Repository}}:{{.Tag}} {{.Repository}}@{{.Digest}}"
    listed = docker("image", "ls", "--digests", f"--format={both}").stdout.split()
    return {one for one in listed if one.startswith(repository) and not one.endswith("<none>")}


def _untag(address: str) -> None:
    if found := names(f"{address}/"):
        docker("image", "rm", *found)


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

            def log_message(self, *_: object) -> None:
                """Print nothing: Docker tries TLS first."""

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
        given = Message(client.command, client.path, dict(client.headers.items()), _body(client))
        request = self.request(given) if self.request else given
        if request is None:
            return
        kept = {name: value for name, value in request.headers.items() if name != "Transfer-Encoding"}
        connection = http.client.HTTPConnection(self.registry, timeout=30)
        connection.request(
            request.method, request.path, request.body, kept | {"Content-Length": str(len(request.body))}
        )
        answer = connection.getresponse()
        answered = Message(client.command, client.path, dict(answer.headers.items()), answer.read(), answer.status)
        connection.close()
        response = self.response(answered) if self.response else answered
        if response is None:
            return
        # The answer to HEAD states the length of a body that it does not have.
        changed = {} if response.body == answered.body else {"Content-Length": str(len(response.body))}
        headers = response.headers | changed | {"Connection": "close"}
        lines = [f"HTTP/1.1 {response.status} X", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
        client.wfile.write("\r\n".join(lines).encode() + response.body)


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
    return lambda one: None if one.method == method and re.search(pattern, one.path) else one


def refusing(pattern: str, status: int, code: str, message: str) -> Change:
    """Return a change that replaces the response to a PUT for paths of a pattern by a refusal."""
    body = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
    headers = {"Content-Type": "application/json"}

    def change(one: Message) -> Message:
        is_meant = one.method == "PUT" and re.search(pattern, one.path)
        return one._replace(headers=headers, status=status, body=body) if is_meant else one

    return change


def replaced(pattern: str, new: Callable[[bytes], bytes]) -> Change:
    """Return a change that replaces a content at paths of a pattern, and states the new content's digest."""

    def change(one: Message) -> Message:
        if not re.search(pattern, one.path) or not one.body:
            return one
        content = new(one.body)
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        stated = {name: digest for name in one.headers if name.lower() == "docker-content-digest"}
        return one._replace(headers=one.headers | stated, body=content)

    return change
