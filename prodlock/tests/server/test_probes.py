"""The probes that orchestrators request, and the image's health check."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from fastapi import FastAPI, Response
from starlette.testclient import TestClient

from prodlock.server import healthcheck
from prodlock.server.lifecycle import Lifecycle
from prodlock.server.server import layered
from prodlock.server.settings import Settings

pytestmark = pytest.mark.usefixtures("undeferred")


def test_the_server_answers_the_probes_of_an_application_without_probes(client: TestClient) -> None:
    """Both answer 200 between start and stop."""
    assert (client.get("/health").status_code, client.get("/health").json()) == (200, {"status": "ok"})
    assert (client.get("/ready").status_code, client.get("/ready").json()) == (200, {"status": "ready"})


def test_readiness_is_503_before_the_start_and_from_the_stop_on(app: FastAPI) -> None:
    """Liveness is not readiness: `/health` is 200 throughout. A start does not revoke a stop."""
    lifecycle = Lifecycle()
    client = TestClient(layered(app, lifecycle, Settings()))
    found = []
    for change in (list, lifecycle.start, lifecycle.stop, lifecycle.start):
        change()
        found.append((client.get("/ready").status_code, client.get("/health").status_code))
    assert found == [(503, 200), (200, 200), (503, 200), (503, 200)]
    assert client.get("/ready").json() == {"status": "not ready"}


@pytest.mark.parametrize("status", [200, 204, 401, 500])
@pytest.mark.parametrize("path", ["/health", "/ready"])
def test_an_applications_own_probe_takes_precedence(app: FastAPI, path: str, status: int) -> None:
    """Whatever it answers but 404. It is not asked for readiness while the server stops."""
    asked = []

    @app.get(path)
    async def probe() -> Response:
        asked.append(path)
        return Response(status_code=status, headers={"own": "yes"})

    lifecycle = Lifecycle()
    lifecycle.start()
    client = TestClient(layered(app, lifecycle, Settings()))
    answer = client.get(path)
    assert (answer.status_code, answer.headers["own"]) == (status, "yes")
    lifecycle.stop()
    assert client.get("/ready").status_code == 503
    assert asked == [path]


@pytest.mark.parametrize(("method", "status"), [("POST", 404), ("DELETE", 404), ("HEAD", 200)])
def test_only_get_and_head_are_probes(client: TestClient, method: str, status: int) -> None:
    """Any other method is the application's to answer."""
    assert client.request(method, "/health").status_code == status


def test_probes_are_found_below_the_path_that_a_proxy_strips(app: FastAPI) -> None:
    """UVICORN_ROOT_PATH is part of the path that an application receives."""
    lifecycle = Lifecycle()
    lifecycle.start()
    client = TestClient(layered(app, lifecycle, Settings()), root_path="/api")
    assert client.get("/api/ready").json() == {"status": "ready"}


def test_probes_have_the_paths_of_the_settings(app: FastAPI, caplog: pytest.LogCaptureFixture) -> None:
    """The default paths are the application's then, and the request log treats them as any other path."""

    @app.get("/{item}")
    async def item(item: str) -> str:
        return item

    lifecycle = Lifecycle()
    lifecycle.start()
    client = TestClient(layered(app, lifecycle, Settings(health="/api/health-check/", ready="/api/ready")))
    caplog.set_level("INFO", "prodlock.request")
    assert client.get("/api/health-check/").json() == {"status": "ok"}
    assert client.get("/api/ready").json() == {"status": "ready"}
    assert caplog.messages == []
    assert client.get("/api/health-check", follow_redirects=False).status_code == 404
    assert client.get("/health").json() == "health"
    lifecycle.stop()
    assert client.get("/ready").json() == "ready"
    assert client.get("/api/ready").status_code == 503
    assert [message.split()[1] for message in caplog.messages] == ["'/api/health-check'", "'/health'", "'/ready'"]


def answer_once(answer: bytes, address: str = "127.0.0.1", requests: list[bytes] | None = None) -> int:
    """Answer the next connection on a free port with these bytes, and record its request; return the port."""
    listener = socket.create_server((address, 0), family=socket.AF_INET6 if ":" in address else socket.AF_INET)

    def serve() -> None:
        with listener, listener.accept()[0] as connection:
            request = connection.recv(1024)
            if requests is not None:
                requests.append(request)
            connection.sendall(answer)

    threading.Thread(target=serve).start()
    port: int = listener.getsockname()[1]
    return port


OK = b"HTTP/1.1 200 OK\r\n\r\n"


def test_the_health_check_accepts_only_200() -> None:
    """Another status, or data that is not HTTP, is unhealthy."""
    assert healthcheck.is_healthy(answer_once(OK))
    assert not healthcheck.is_healthy(answer_once(b"HTTP/1.1 503 Service Unavailable\r\n\r\n"))
    assert not healthcheck.is_healthy(answer_once(b"200"))


def test_the_health_check_connects_to_the_address_that_the_server_listens_on() -> None:
    """To IPv6 alone, or to one address."""
    assert healthcheck.is_healthy(answer_once(OK, "127.0.0.2"), ["127.0.0.2"])
    try:
        port = answer_once(OK, "::1")
    except OSError:
        pytest.skip("this machine has no IPv6")
    assert healthcheck.is_healthy(port)


def test_the_health_check_takes_port_and_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """By default the host is that of UVICORN_HOST; an argument takes precedence."""
    assert healthcheck.main([str(answer_once(OK))]) == 0
    monkeypatch.setenv("UVICORN_HOST", "127.0.0.3")
    assert healthcheck.main([str(answer_once(OK, "127.0.0.3"))]) == 0
    assert healthcheck.main([str(answer_once(OK, "127.0.0.2")), "127.0.0.2"]) == 0


@pytest.mark.parametrize("arguments", [["{port}", "/api/health/"], ["/api/health/", "{port}", "127.0.0.1"]])
def test_the_health_check_requests_the_given_path(arguments: list[str]) -> None:
    """A word that begins with a slash is the path, wherever it stands."""
    requests: list[bytes] = []
    port = answer_once(OK, requests=requests)
    assert healthcheck.main([word.format(port=port) for word in arguments]) == 0
    assert requests[0].startswith(b"GET /api/health/ HTTP/1.1\r\nHost: localhost\r\n")


def test_the_health_check_requests_health_by_default() -> None:
    """The path of the server's own probe."""
    requests: list[bytes] = []
    assert healthcheck.main([str(answer_once(OK, requests=requests))]) == 0
    assert requests[0].startswith(b"GET /health HTTP/1.1\r\n")


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (b"HTTP/1.1 200 OK", 0),
        (b"HTTP/1.0 302 Found", 0),
        (b"HTTP/1.1 404 Not Found", 0),
        (b"HTTP/1.1 404", 0),
        (b"HTTP/1.1 500 Internal Server Error", 1),
        (b"HTTP/1.1 503 Service Unavailable", 1),
        (b"HTTP/1.1 no", 1),
        (b"SSH-2.0-OpenSSH 200 ", 1),
        (b"", 1),
    ],
)
def test_any_answer_but_an_error_of_the_server_is_healthy(status: bytes, code: int) -> None:
    """The argument `any` is for a service without a health path."""
    requests: list[bytes] = []
    assert healthcheck.main([str(answer_once(status + b"\r\n\r\n", requests=requests)), "any"]) == code
    assert requests[0].startswith(b"GET / HTTP/1.1\r\n")


@pytest.mark.parametrize(("answer", "code"), [(OK, 0), (b"HTTP/1.1 404 Not Found\r\n\r\n", 1)])
def test_the_health_check_runs_in_any_folder_without_packages(tmp_path: Path, answer: bytes, code: int) -> None:
    """The image's command is `python -S` and the absolute path of the file."""
    command = [sys.executable, "-S", healthcheck.__file__, str(answer_once(answer)), "127.0.0.1", "/x"]
    assert subprocess.run(command, cwd=tmp_path, check=False).returncode == code


@pytest.mark.parametrize("port", ["health", "\uff18\uff10\uff10\uff10", "\u0663", "\u00b2", "+8000", "8_000", "8000 "])
def test_the_health_check_reports_a_wrong_port(port: str) -> None:
    """A path without its slash, for example: it must not be taken for an unhealthy service."""
    with pytest.raises(SystemExit, match=rf"^The port must be a number \(got {re.escape(repr(port))}\)\. To fix it: "):
        healthcheck.main([port])


def test_the_health_check_reports_a_closed_port_as_unhealthy() -> None:
    """Without an exception."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    assert not healthcheck.is_healthy(port)
    assert healthcheck.main([str(port)]) == 1
