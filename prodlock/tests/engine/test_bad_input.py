"""Malformed and hostile requests: they are refused, and the service answers other clients meanwhile and afterwards."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import httpx
import pytest

from prodlock.docker import stages
from prodlock.project import Project
from prodlock.tests.engine.conftest import PORT, ROOT, answers, docker, inspected, memory, served

MIB = 1 << 20
HOST = b"Host: x\r\n"
CLOSE = b"Connection: close\r\n"
KEPT = b"GET /health HTTP/1.1\r\n" + HOST
GET = KEPT + CLOSE
POST = b"POST /quotes HTTP/1.1\r\n" + HOST + CLOSE + b"Content-Type: application/json\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\n" + HOST + b"\r\n"
BODY = b'{"lines": [{"article": "bolt", "pieces": 2, "price": "1.05"}]}'


@pytest.fixture(scope="module", autouse=True)
def service() -> Iterator[str]:
    """The production container of all these tests, which must not restart."""
    with served() as container:
        yield container
        assert inspected(container)["RestartCount"] == 0


def exchange(*sent: bytes, chunks: Iterable[bytes] = ()) -> bytes:
    """Send bytes, then chunks until the service closes the connection, and return all that it answers."""
    with socket.create_connection(("127.0.0.1", PORT), timeout=15) as connection:
        try:
            for part in (*sent, *chunks):
                connection.sendall(part)
        except OSError:
            # The service has closed the connection.
            pass
        try:
            return b"".join(iter(partial(connection.recv, 65536), b""))
        except OSError:
            return b""


def statuses(answer: bytes) -> list[int]:
    """Return the status of each response."""
    return [int(number) for number in re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)]


MALFORMED = {
    "a TLS handshake": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "no method": b" /health HTTP/1.1\r\n\r\n",
    "an unknown method": b"BREW /pot HTTP/1.1\r\n\r\n",
    "an unknown version": b"GET / HTTP/9.9\r\n\r\n",
    "no host": b"GET /health HTTP/1.1\r\n" + CLOSE + b"\r\n" + SMUGGLED,
    "two hosts": GET + HOST + b"\r\n" + SMUGGLED,
    "a header without a name": GET + b": x\r\n\r\n",
    "a header without a colon": GET + b"nothing\r\n\r\n",
    "a space before the colon": POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "a NUL": GET + b"X: a\0b\r\n\r\n",
    "length and chunks": POST + b"Content-Length: 4\r\n" + CHUNKED + b"\r\n0\r\n\r\n" + SMUGGLED,
    "chunks and length": POST + CHUNKED + b"Content-Length: 4\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "two lengths": POST + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\n{}  " + SMUGGLED,
    "a list of lengths": POST + b"Content-Length: 4, 5\r\n\r\n{}  " + SMUGGLED,
    "a signed length": POST + b"Content-Length: +4\r\n\r\n{}  " + SMUGGLED,
    "a negative length": POST + b"Content-Length: -1\r\n\r\n" + SMUGGLED,
    "a length that overflows": POST + b"Content-Length: 99999999999999999999999\r\n\r\n" + SMUGGLED,
    "a coding after chunked": POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "two transfer codings": POST + CHUNKED + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "a chunk with an invalid size": POST + CHUNKED + b"\r\nx\r\n\r\n" + SMUGGLED,
    "a chunk with a size that overflows": POST + CHUNKED + b"\r\nfffffffffffffffff\r\n\r\n",
    "a chunk with a negative size": POST + CHUNKED + b"\r\n-1\r\n\r\n",
    "a chunk longer than its size": POST + CHUNKED + b"\r\n2\r\n{}{}{}\r\n0\r\n\r\n" + SMUGGLED,
    "a lone line feed in a chunk's size": POST + CHUNKED + b"\r\n2\n{}\r\n0\r\n\r\n" + SMUGGLED,
}


@pytest.mark.parametrize("kind", MALFORMED)
def test_malformed_requests_are_refused(kind: str) -> None:
    """The answer is 400 and the connection is closed, so that no request can be smuggled behind a malformed one."""
    assert statuses(exchange(MALFORMED[kind])) == [400]
    assert answers()


UNUSUAL = {
    "two requests": (KEPT + b"\r\n" + GET + b"\r\n", [200, 200]),
    "a hundred pipelined requests": ((KEPT + b"\r\n") * 99 + GET + b"\r\n", [200] * 100),
    "HTTP/1.0": (b"GET /health HTTP/1.0\r\n\r\n", [200]),
    "an absolute target": (b"GET http://x/health HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n", [200]),
    "single bytes": (POST + CHUNKED + b"\r\n" + b"".join(b"1\r\n%c\r\n" % byte for byte in BODY) + b"0\r\n\r\n", [200]),
    "a trailer": (POST + CHUNKED + b"\r\n%x\r\n%s\r\n0\r\nX: y\r\n\r\n" % (len(BODY), BODY), [200]),
    "an unsupported upgrade": (KEPT + b"Connection: upgrade, close\r\nUpgrade: websocket\r\n\r\n", [200]),
    "an asterisk as target": (b"OPTIONS * HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n", [404]),
    "a tunnel": (b"CONNECT x:443 HTTP/1.1\r\n" + HOST + b"\r\n", [400]),
}


@pytest.mark.parametrize("kind", UNUSUAL)
def test_unusual_requests_are_answered(kind: str) -> None:
    """The control: requests that are unusual, but valid, are not refused."""
    sent, expected = UNUSUAL[kind]
    assert statuses(exchange(sent)) == expected
    assert answers()


def endless(part: bytes) -> Iterator[bytes]:
    """Yield 64 MiB of repetitions of a part."""
    block = part * max(1, 65536 // len(part))
    yield from (block for _ in range(1024))


ENDLESS = {
    "a target": (b"GET /", b"x"),
    "a header": (GET + b"X: ", b"x"),
    "headers": (GET, b"X: yyyyyyyyyy\r\n"),
    "a trailer": (POST + CHUNKED + b"\r\n2\r\n{}\r\n0\r\nX: ", b"x"),
    "a chunk's extension": (POST + CHUNKED + b"\r\n2;x=", b"x"),
}


@pytest.mark.parametrize("kind", ENDLESS)
def test_an_endless_head_is_refused(service: str, kind: str) -> None:
    """The answer is 431 or 400 after some dozens of KiB, and memory stays bounded."""
    start, part = ENDLESS[kind]
    assert statuses(exchange(start, chunks=endless(part))) in ([431], [400], [])
    assert answers()
    assert memory(service) < 100 * MIB


def test_a_body_that_is_too_large_is_not_read() -> None:
    """The head alone is answered with 413, before the client sends any of the body and without `100 Continue`."""
    with socket.create_connection(("127.0.0.1", PORT), timeout=5) as connection:
        connection.sendall(POST + b"Expect: 100-continue\r\nContent-Length: 1048577\r\n\r\n")
        answer = connection.recv(4096)
    assert statuses(answer) == [413]


def test_a_client_that_sends_a_large_body_gets_the_answer() -> None:
    """The service reads and discards the body, so that the connection serves the next request."""
    with httpx.Client(base_url=f"http://127.0.0.1:{PORT}") as client:
        answer = client.post("/quotes", content=bytes(8 * MIB))
        assert (answer.status_code, answer.text) == (413, '{"detail":"Content Too Large"}')
        assert client.get("/health").is_success


def test_a_chunked_body_that_is_too_large_is_refused() -> None:
    """Its head states no length."""
    answer = httpx.post(f"http://127.0.0.1:{PORT}/quotes", content=(bytes(65536) for _ in range(128)))
    assert (answer.status_code, answer.json()) == (413, {"detail": "Content Too Large"})


def test_endless_pipelined_requests_take_no_memory(service: str) -> None:
    """The service delays or refuses an endless sequence of requests on one connection."""
    exchange(chunks=endless(KEPT + b"\r\n"))
    assert answers()
    assert memory(service) < 100 * MIB


@pytest.mark.parametrize("path", [b"/quotes", b"/health"])
def test_an_endless_body_is_refused(service: str, path: bytes) -> None:
    """The answer is 413 where the service reads the body and 405 where it does not; memory stays bounded."""
    head = b"POST " + path + b" HTTP/1.1\r\n" + HOST + CLOSE + CHUNKED + b"\r\n"
    found = statuses(exchange(head, chunks=endless(b"10000\r\n" + b" " * 65536 + b"\r\n")))
    assert found in ([413], []) if path == b"/quotes" else [405]
    assert answers()
    assert memory(service) < 100 * MIB


@pytest.mark.parametrize("sent", [b"", GET, POST + b"Content-Length: 9\r\n\r\n", POST + b"Content-Length: 9\r\n\r\n{"])
def test_clients_that_reset_connections_do_not_disturb_others(service: str, sent: bytes) -> None:
    """A hundred clients reset their connections in the middle of a request."""
    for _ in range(100):
        with socket.create_connection(("127.0.0.1", PORT)) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            connection.sendall(sent)
    assert answers()
    assert "Traceback" not in docker("logs", service).stdout


def fuzz(image: str, container: str, examples: int, seed: int) -> int:
    """Send generated requests from the service's network and return their number; each must get a documented answer."""
    command = [
        "schemathesis", "run", "http://127.0.0.1:8000/openapi.json", f"--max-examples={examples}", f"--seed={seed}",
        # FastAPI accepts "3" as an integer, which is not an error.
        "--mode=all", "--checks=all", "--exclude-checks=negative_data_rejection",
    ]  # fmt: skip
    place = (f"--network=container:{container}", "--env=HOME=/tmp", "--workdir=/tmp")
    done = docker("run", "--rm", *place, image, *command, check=False)
    assert done.returncode == 0, done.stdout[-5000:]
    made = re.search(r"(\d+) generated, (\d+) passed", done.stdout)
    assert made, done.stdout[-2000:]
    assert made[1] == made[2]
    return int(made[1])


def test_generated_requests_get_documented_answers_only(service: str, full_length: bool) -> None:  # noqa: FBT001
    """300 valid and invalid requests are generated from the OpenAPI document, or 10,000 with `--all`."""
    examples, seeds = (2000, range(5)) if full_length else (300, range(1))
    image = stages.build(Project(ROOT), "fuzz")
    try:
        with ThreadPoolExecutor(2) as pool:
            cases = sum(pool.map(partial(fuzz, image, service, examples), seeds))
    finally:
        docker("rmi", "--force", image)
    print(f"{cases} cases")
    assert cases >= examples * len(seeds)
    assert answers()
